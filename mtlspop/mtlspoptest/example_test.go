package mtlspoptest_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"testing"

	"github.com/keybound-go/middleware/mtlspop"
	"github.com/keybound-go/middleware/mtlspop/mtlspoptest"
)

// whoAmI is a handler of a service. Its parameter stands for the x5t#S256 of
// the token that came with the request.
func whoAmI(v *mtlspop.Verifier, x5t string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		evidence, err := v.Verify(r, x5t)
		if err != nil {
			http.Error(w, err.Error(), http.StatusUnauthorized)
			return
		}
		io.WriteString(w, evidence.Certificate.Subject.CommonName)
	}
}

// TestWhoAmI is what a test of such a handler may look like.
func TestWhoAmI(t *testing.T) {
	ca := mtlspoptest.NewCA(t, "Test Root")
	alice, mallory := ca.Issue("alice"), ca.Issue("mallory")

	v, err := mtlspop.New(mtlspop.WithRoots(ca.Pool()))
	if err != nil {
		t.Fatal(err)
	}
	server := mtlspoptest.NewServer(t, whoAmI(v, alice.Thumbprint()), mtlspop.RequestClientCert)

	for client, want := range map[*mtlspoptest.Client]int{
		alice:             http.StatusOK,
		mallory:           http.StatusUnauthorized,
		ca.Reissue(alice): http.StatusUnauthorized,
		nil:               http.StatusUnauthorized,
	} {
		resp, err := server.Client(client).Get(server.URL)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != want {
			t.Errorf("got %d, want %d", resp.StatusCode, want)
		}
	}
}

// A test of a service behind nginx. The request comes from where
// httptest.NewRequest says that it does.
func ExampleForward() {
	t := new(testing.T) // the test's own
	alice := mtlspoptest.SelfSigned(t, "alice")
	v, err := mtlspop.New(mtlspop.WithForwardedCertificate(
		"X-Client-Cert", mtlspop.PEM, netip.MustParsePrefix("192.0.2.1/32")))
	if err != nil {
		fmt.Println(err)
	}

	r := httptest.NewRequest("GET", "/", nil)
	mtlspoptest.Forward(r.Header, "X-Client-Cert", mtlspoptest.Nginx(alice))
	w := httptest.NewRecorder()
	whoAmI(v, alice.Thumbprint())(w, r)
	fmt.Println(w.Code, w.Body)
	// Output: 200 alice
}

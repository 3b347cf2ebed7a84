package forwardauth_test

import (
	"crypto/ed25519"
	"crypto/rand"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"
	"net/netip"

	"github.com/keybound-go/middleware"
	"github.com/keybound-go/middleware/dpop"
	"github.com/keybound-go/middleware/forwardauth"
	"github.com/keybound-go/middleware/oidc"
)

func newGuard() *middleware.Guard {
	guard, err := middleware.New(
		middleware.WithTokens(oidc.New("https://issuer.example", "https://api.example")),
		middleware.WithDPoP(dpop.New("https://api.example")),
	)
	if err != nil {
		log.Fatal(err)
	}
	return guard
}

// The guard of services behind nginx. A subrequest tells of the client's request in the
// fields of the dialect; here the client has sent no token.
func ExampleNew() {
	answers, err := forwardauth.New(newGuard(),
		forwardauth.WithProxy(forwardauth.NGINX, netip.MustParsePrefix("192.0.2.1/32")))
	if err != nil {
		log.Fatal(err)
	}

	subrequest := httptest.NewRequest("GET", "http://auth.internal/", nil)
	subrequest.Header.Set("X-Original-Method", "GET")
	subrequest.Header.Set("X-Original-URI", "/orders")
	subrequest.Header.Set("X-Original-Host", "api.example")
	w := httptest.NewRecorder()
	answers.ServeHTTP(w, subrequest)
	fmt.Println(w.Code, w.Header().Get("X-Auth-Outcome"))

	// Any other peer is refused, whatever it says.
	subrequest.RemoteAddr = "198.51.100.7:4711"
	w = httptest.NewRecorder()
	answers.ServeHTTP(w, subrequest)
	fmt.Println(w.Code)
	// Output:
	// 401 refused
	// 403
}

// The answer to the proxy holds an assertion for one service, which lives for seconds.
func ExampleWithAssertion() {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		log.Fatal(err)
	}
	answers, err := forwardauth.New(newGuard(),
		forwardauth.WithProxy(forwardauth.Caddy, netip.MustParsePrefix("10.1.2.3/32")),
		forwardauth.WithAssertion(forwardauth.NewSigner("orders", key)),
	)
	if err != nil {
		log.Fatal(err)
	}
	_ = &http.Server{Addr: "10.1.2.4:9090", Handler: answers}
	fmt.Println("ready")
	// Output: ready
}

// The service behind takes the assertion in the place of a token. The proof was used up
// at the proxy; here the guard checks who was meant, for which request, and the rules.
func ExampleNewReceiver() {
	public, _, err := ed25519.GenerateKey(rand.Reader) // that of the Signer
	if err != nil {
		log.Fatal(err)
	}
	assertions, err := forwardauth.NewReceiver("orders", public,
		forwardauth.WithTrustedPeers(netip.MustParsePrefix("10.1.2.3/32")))
	if err != nil {
		log.Fatal(err)
	}
	guard, err := middleware.New(middleware.WithTokens(assertions, nil), middleware.AllowUnbound())
	if err != nil {
		log.Fatal(err)
	}
	orders := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		credential, _ := middleware.FromContext(r.Context())
		fmt.Fprintln(w, "the orders of", credential.Token.Subject)
	})
	w := httptest.NewRecorder()
	assertions.Wrap(guard.Wrap(orders)).ServeHTTP(w, httptest.NewRequest("GET", "/orders", nil))
	fmt.Println(w.Code) // no assertion, and not from the proxy
	// Output: 401
}

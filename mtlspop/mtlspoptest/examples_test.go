package mtlspoptest_test

import (
	"fmt"
	"testing"

	"github.com/keybound-go/middleware/mtlspop"
	"github.com/keybound-go/middleware/mtlspop/mtlspoptest"
)

// A server that asks for certificates, and clients that show one, another one, and none.
func ExampleNewServer() {
	t := new(testing.T) // the test's own
	ca := mtlspoptest.NewCA(t, "Test Root")
	alice := ca.Issue("alice")
	v, err := mtlspop.New()
	if err != nil {
		fmt.Println(err)
		return
	}
	server := mtlspoptest.NewServer(t, whoAmI(v, alice.Thumbprint()), mtlspop.RequestClientCert)
	for _, client := range []*mtlspoptest.Client{alice, ca.Issue("mallory"), nil} {
		resp, err := server.Client(client).Get(server.URL)
		if err != nil {
			fmt.Println(err)
			return
		}
		resp.Body.Close()
		fmt.Println(resp.StatusCode)
	}
	// Output:
	// 200
	// 401
	// 401
}

// A renewed certificate has the same name and another thumbprint: the token that is bound
// to the old one is not good with it (RFC 8705, section 6.3).
func ExampleCA_Reissue() {
	t := new(testing.T) // the test's own
	ca := mtlspoptest.NewCA(t, "Test Root")
	alice := ca.Issue("alice")
	renewed := ca.Reissue(alice)
	fmt.Println(renewed.Certificate.Subject.CommonName, renewed.Thumbprint() == alice.Thumbprint())
	// Output:
	// alice false
}

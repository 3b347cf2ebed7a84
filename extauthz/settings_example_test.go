package extauthz_test

import (
	"crypto/ed25519"
	"crypto/rand"
	"fmt"
	"log"
	"log/slog"
	"net/netip"

	"github.com/keybound-go/middleware"
	"github.com/keybound-go/middleware/dpop"
	"github.com/keybound-go/middleware/extauthz"
	"github.com/keybound-go/middleware/oidc"
)

func newGuard() *middleware.Guard {
	guard, err := middleware.New(
		middleware.WithTokens(oidc.New("https://issuer.example", "https://api.example")),
		middleware.WithDPoP(dpop.New("https://api.example")),
		middleware.WithCallerAddress(extauthz.CallerAddress), // the client's, and not Envoy's
	)
	if err != nil {
		log.Fatal(err)
	}
	return guard
}

// Envoy on the same machine, over a unix socket.
func ExampleTrustUnixSocket() {
	_, err := extauthz.New(newGuard(), extauthz.TrustUnixSocket(), extauthz.WithLogger(slog.Default()))
	fmt.Println(err)
	// Output: <nil>
}

// The service behind gets a signed assertion, which forwardauth.NewReceiver reads.
func ExampleWithAssertion() {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		log.Fatal(err)
	}
	_, err = extauthz.New(newGuard(),
		extauthz.WithEnvoy(netip.MustParsePrefix("10.1.2.3/32")),
		extauthz.WithAssertion(extauthz.NewSigner("orders", key)))
	fmt.Println(err)
	// Output: <nil>
}

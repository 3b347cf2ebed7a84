package jwks_test

import (
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"

	"github.com/keybound-go/middleware/jwks"
)

// A Source on its own: the code that parses the token asks it for the keys, verifies
// the signature with each, and tells the two kinds of failure apart.
func Example() {
	// The issuer.
	public, private, _ := ed25519.GenerateKey(nil)
	issuer := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, `{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"2026-11","x":%q}]}`,
			base64.RawURLEncoding.EncodeToString(public))
	}))
	message := []byte("header.payload")
	signature := ed25519.Sign(private, message)

	// The service. Without the option, only https will do.
	source, err := jwks.New(issuer.URL, jwks.DangerouslyAllowLoopbackHTTP())
	if err != nil {
		fmt.Println(err) // every mistake, one per line
		return
	}
	defer source.Close()

	verify := func(alg, kid string) {
		keys, err := source.Keys(context.Background(), alg, kid)
		switch {
		case errors.Is(err, jwks.ErrNoKey):
			fmt.Println("401:", err)
			return
		case err != nil:
			fmt.Println("503") // errors.Is(err, jwks.ErrUnavailable)
			return
		}
		for _, key := range keys {
			if ed25519.Verify(key.(ed25519.PublicKey), message, signature) {
				fmt.Println("200")
				return
			}
		}
		fmt.Println("401: bad signature")
	}
	verify("Ed25519", "2026-11")
	verify("Ed25519", "2031-01")
	issuer.Close()
	verify("Ed25519", "2026-11") // the last good set serves on

	// Output:
	// 200
	// 401: jwks: the issuer has no such key
	// 200
}

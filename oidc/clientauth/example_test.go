package clientauth_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"fmt"
	"log"
	"os"
	"strings"

	"github.com/keybound-go/middleware/oidc"
	"github.com/keybound-go/middleware/oidc/clientauth"
	"github.com/keybound-go/middleware/oidc/introspect"
)

// A service that authenticates with a secret at the introspection endpoint.
func ExampleSecretBasic() {
	issuer, err := oidc.NewIssuer("https://issuer.example")
	if err != nil {
		log.Fatal(err)
	}
	defer issuer.Close()
	tokens, err := introspect.New(issuer, "https://api.example", clientauth.SecretBasic("api", os.Getenv("API_SECRET")+"s3cret"))
	if err != nil {
		log.Fatal(err)
	}
	defer tokens.Close()
	fmt.Println(tokens) // a secret is never printed
	// Output: introspect.Introspector(https://issuer.example)
}

// A service that authenticates with a key of its own, which it replaces: the issuer still
// accepts the old one until it has fetched the new key set.
func ExamplePrivateKeyJWT() {
	newKey := func() *ecdsa.PrivateKey {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			log.Fatal(err)
		}
		return key
	}
	keys, err := clientauth.NewKeys(
		clientauth.Key{Signer: newKey(), KeyID: "2026-11"},
		clientauth.WithPreviousKeys(clientauth.Key{Signer: newKey(), KeyID: "2026-05"}),
	)
	if err != nil {
		log.Fatal(err)
	}
	// http.Handle("GET /jwks", keys): what the issuer's registration names as jwks_uri.
	method := clientauth.PrivateKeyJWT("api", keys)
	fmt.Println(strings.Contains(fmt.Sprintf("%+v", method), "PRIVATE"))
	// Output: false
}

// A token that another part of the program renews, such as one of a platform's metadata
// service.
func ExampleBearer() {
	method := clientauth.Bearer("api", func(ctx context.Context) (string, error) {
		token, err := os.ReadFile("/var/run/secrets/tokens/issuer")
		return strings.TrimSpace(string(token)), err
	})
	issuer, err := oidc.NewIssuer("https://issuer.example")
	if err != nil {
		log.Fatal(err)
	}
	defer issuer.Close()
	tokens, err := introspect.New(issuer, "https://api.example", method)
	fmt.Println(tokens != nil, err)
	// Output: true <nil>
}

package introspect_test

import (
	"context"
	"errors"
	"fmt"
	"log"

	"github.com/keybound-go/middleware/oidc"
	"github.com/keybound-go/middleware/oidc/clientauth"
	"github.com/keybound-go/middleware/oidc/introspect"
	"github.com/keybound-go/middleware/oidc/oidctest"
)

func Example() {
	issuer, err := oidc.NewIssuer("https://issuer.example/realms/main")
	if err != nil {
		panic(err)
	}
	defer issuer.Close()
	i, err := introspect.New(issuer, "https://api.example", clientauth.SecretBasic("api", "the secret of this service"))
	if err != nil {
		panic(err)
	}
	_ = i // Give i to middleware.WithTokens.
}

// An opaque token is what the issuer says of it.
func ExampleNew() {
	fake, err := oidctest.Start() // your issuer, which knows this service as "client"
	if err != nil {
		log.Fatal(err)
	}
	defer fake.Close()
	token := fake.Token(oidctest.Scope("orders:read"))

	issuer, err := oidc.NewIssuer(fake.URL, oidc.WithHTTPClient(fake.Client()))
	if err != nil {
		log.Fatal(err)
	}
	defer issuer.Close()
	tokens, err := introspect.New(issuer, oidctest.Audience, clientauth.SecretBasic("client", "secret"))
	if err != nil {
		log.Fatal(err)
	}
	defer tokens.Close()
	// A guard asks it: middleware.WithTokens(tokens, nil).

	known, err := tokens.VerifyToken(context.Background(), token)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(known.Scopes)
	_, err = tokens.VerifyToken(context.Background(), "invented")
	fmt.Println(errors.Is(err, oidc.ErrInactive))
	// Output:
	// [orders:read]
	// true
}

func ExampleNew_mistakes() {
	issuer, err := oidc.NewIssuer("https://issuer.example")
	if err != nil {
		panic(err)
	}
	_, err = introspect.New(issuer, "", clientauth.SecretBasic("api", ""), introspect.WithSkew(-1))
	fmt.Println(err)
	// Output:
	// introspect: WithSkew: -1ns is not between 0s and 5m0s
	// introspect: an audience is empty
	// clientauth: SecretBasic: the client secret is empty
}

// A JWT is verified here, and then the issuer is asked whether it is revoked.
func ExampleThen() {
	fake, err := oidctest.Start() // your issuer, which knows this service as "client"
	if err != nil {
		log.Fatal(err)
	}
	defer fake.Close()
	token := fake.Token()

	issuer, err := oidc.NewIssuer(fake.URL, oidc.WithHTTPClient(fake.Client()))
	if err != nil {
		log.Fatal(err)
	}
	defer issuer.Close()
	jwts, err := issuer.Verifier(oidctest.Audience)
	if err != nil {
		log.Fatal(err)
	}
	asked, err := introspect.New(issuer, oidctest.Audience,
		clientauth.SecretBasic("client", "secret"), introspect.WithAnswerLifetime(0)) // ask for each request
	if err != nil {
		log.Fatal(err)
	}
	both, err := introspect.Then(jwts, asked) // for middleware.WithTokens(both, nil)
	if err != nil {
		log.Fatal(err)
	}

	_, err = both.VerifyToken(context.Background(), token)
	fmt.Println("before:", err)
	fake.Revoke(token)
	_, err = both.VerifyToken(context.Background(), token)
	fmt.Println("after:", errors.Is(err, oidc.ErrInactive))
	// Output:
	// before: <nil>
	// after: true
}

package introspect_test

import (
	"fmt"

	"github.com/keybound-go/middleware/oidc"
	"github.com/keybound-go/middleware/oidc/clientauth"
	"github.com/keybound-go/middleware/oidc/introspect"
)

func ExampleNew() {
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

func ExampleThen() {
	issuer, err := oidc.NewIssuer("https://issuer.example")
	if err != nil {
		panic(err)
	}
	defer issuer.Close()
	v, err := issuer.Verifier("https://api.example")
	if err != nil {
		panic(err)
	}
	i, err := introspect.New(issuer, "https://api.example", clientauth.SecretBasic("api", "the secret of this service"))
	if err != nil {
		panic(err)
	}
	both, err := introspect.Then(v, i)
	if err != nil {
		panic(err)
	}
	_ = both // Give both to middleware.WithTokens.
}

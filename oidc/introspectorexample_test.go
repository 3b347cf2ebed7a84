package oidc_test

import (
	"fmt"

	"github.com/keybound-go/middleware/oidc"
)

func ExampleNewIntrospector() {
	i, err := oidc.NewIntrospector("https://issuer.example/realms/main", "https://api.example",
		oidc.ClientSecretBasic("api", "the secret of this service"))
	if err != nil {
		panic(err)
	}
	defer i.Close()
	// Give i to middleware.WithTokens.
}

func ExampleNewIntrospector_mistakes() {
	_, err := oidc.NewIntrospector("https://issuer.example", "https://api.example",
		oidc.ClientSecretBasic("api", ""), oidc.WithScopes("orders:read"))
	fmt.Println(err)
	// Output:
	// oidc: WithScopes does not apply to NewIntrospector
	// oidc: ClientSecretBasic: the client secret is empty
}

func ExampleVerifyThenIntrospect() {
	v, err := oidc.New("https://issuer.example", "https://api.example")
	if err != nil {
		panic(err)
	}
	defer v.Close()
	i, err := oidc.NewIntrospector("https://issuer.example", "https://api.example",
		oidc.ClientSecretBasic("api", "the secret of this service"))
	if err != nil {
		panic(err)
	}
	defer i.Close()
	both, err := oidc.VerifyThenIntrospect(v, i)
	if err != nil {
		panic(err)
	}
	_ = both // Give both to middleware.WithTokens.
}

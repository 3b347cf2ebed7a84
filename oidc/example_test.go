package oidc_test

import (
	"context"
	"fmt"
	"net/http"

	"github.com/keybound-go/middleware/oidc"
)

func ExampleNew() {
	v, err := oidc.New("http://issuer.example", "", oidc.WithCacheSize(-1))
	fmt.Println(v == nil)
	fmt.Println(err)
	// Output:
	// true
	// oidc: WithCacheSize: -1 is not between 0 and 10000000
	// oidc: the issuer: http://issuer.example: https is required; for development, DangerouslyAllowLoopbackHTTP permits http to this machine
	// oidc: an audience is empty
}

func ExampleAnyOf() {
	eu, err := oidc.New("https://eu.issuer.example", "https://api.example")
	if err != nil {
		panic(err)
	}
	us, err := oidc.New("https://us.issuer.example", "https://api.example", oidc.WithProfile(oidc.Keycloak))
	if err != nil {
		panic(err)
	}
	both, err := oidc.AnyOf(eu, us)
	if err != nil {
		panic(err)
	}
	defer both.Close()
	_, err = both.VerifyToken(context.Background(), "not a token")
	fmt.Println(err == oidc.ErrMalformed)
	// Output: true
}

func ExampleTokenError() {
	var err error = oidc.ErrTypeJWT
	if kind, ok := err.(oidc.TokenError); ok {
		fmt.Println(kind.Code())        // for the client
		fmt.Println(kind.Description()) // for the client
		fmt.Println(kind.Hint())        // for the operator
	}
	// Output:
	// invalid_token
	// The token is not marked as an access token
	// typ JWT refused; for Keycloak use oidc.WithProfile(oidc.Keycloak), for other issuers see oidc.Profile
}

func ExampleStatusHandler() {
	v, err := oidc.New("https://issuer.example", "https://api.example")
	if err != nil {
		panic(err)
	}
	defer v.Close()
	operators := http.NewServeMux() // not the one that the world can reach
	operators.Handle("GET /status/issuers", oidc.StatusHandler(v))
	// Output:
}

package oidctest_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/keybound-go/middleware/oidc"
	"github.com/keybound-go/middleware/oidc/oidctest"
)

// The issuer goes down: tokens stay good under the keys that the verifier has.
func ExampleIssuer_SetDown() {
	t := new(testing.T) // the test's own
	issuer := oidctest.NewIssuer(t)
	defer issuer.Close()
	v, err := oidc.New(issuer.URL, oidctest.Audience, oidc.WithHTTPClient(issuer.Client()))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer v.Close()
	_, err = v.VerifyToken(context.Background(), issuer.Token())
	fmt.Println(err)
	issuer.SetDown(true)
	_, err = v.VerifyToken(context.Background(), issuer.Token())
	fmt.Println(err)
	// Output:
	// <nil>
	// <nil>
}

// The issuer rotates its key, and withdraws the old one.
func ExampleIssuer_Rotate() {
	t := new(testing.T) // the test's own
	issuer := oidctest.NewIssuer(t)
	defer issuer.Close()
	v, err := oidc.New(issuer.URL, oidctest.Audience, oidc.WithHTTPClient(issuer.Client()))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer v.Close()
	before := issuer.Token()
	_, err = v.VerifyToken(context.Background(), before)
	fmt.Println(err)
	issuer.Rotate()
	_, err = v.VerifyToken(context.Background(), issuer.Token()) // an unknown kid is a reason to fetch
	fmt.Println(err)
	// Output:
	// <nil>
	// <nil>
}

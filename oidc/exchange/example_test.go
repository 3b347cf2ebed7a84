package exchange_test

import (
	"context"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"testing"
	"time"

	"github.com/keybound-go/middleware"
	"github.com/keybound-go/middleware/oidc"
	"github.com/keybound-go/middleware/oidc/exchange"
	"github.com/keybound-go/middleware/oidc/oidctest"
)

// A client that can do no more than Basic authentication sends its id and secret. The
// guard gets a token for them, and judges it as any other.
func Example() {
	t := new(testing.T) // a test has its own
	as := oidctest.NewIssuer(t, oidctest.WithClient(oidctest.Registration{ID: "app", Secret: "s3cret"}))
	defer as.Close()

	issuer, err := oidc.NewIssuer(as.URL, oidc.WithHTTPClient(as.Client()))
	if err != nil {
		log.Fatal(err)
	}
	defer issuer.Close()
	guard, err := middleware.New(
		middleware.WithTokens(issuer.Verifier(oidctest.Audience)),
		middleware.WithExchange(exchange.New(issuer, exchange.WithScopes("orders:read"))),
		middleware.AllowUnbound(),
	)
	if err != nil {
		log.Fatal(err)
	}
	orders := guard.Require(middleware.Scopes("orders:read")).Wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		credential, _ := middleware.FromContext(r.Context())
		fmt.Fprint(w, credential.Token.ClientID)
	}))
	for _, secret := range []string{"s3cret", "guess"} {
		r := httptest.NewRequest("GET", "/orders", nil)
		r.SetBasicAuth("app", secret)
		w := httptest.NewRecorder()
		orders.ServeHTTP(w, r)
		fmt.Println(w.Code)
	}
	// Output:
	// 200
	// 401
}

// The token of a client, for a service that has another use for it. Wrong guesses count
// against the address of the caller.
func ExampleExchange_Token() {
	t := new(testing.T) // a test has its own
	as := oidctest.NewIssuer(t, oidctest.WithClient(oidctest.Registration{ID: "app", Secret: "s3cret"}))
	defer as.Close()
	issuer, err := oidc.NewIssuer(as.URL, oidc.WithHTTPClient(as.Client()))
	if err != nil {
		log.Fatal(err)
	}
	defer issuer.Close()
	x, err := exchange.New(issuer)
	if err != nil {
		log.Fatal(err)
	}
	caller := netip.MustParseAddr("192.0.2.7")
	token, err := x.Token(context.Background(), caller, "app", "s3cret")
	fmt.Println(token != "", err)
	_, err = x.Token(context.Background(), caller, "app", "guess")
	fmt.Println(err)
	// Output:
	// true <nil>
	// exchange: The client credentials are not accepted
}

// An issuer that wants the audience as a parameter, and secrets in the body.
func ExampleWithParameter() {
	issuer, err := oidc.NewIssuer("https://tenant.example/")
	if err != nil {
		log.Fatal(err)
	}
	defer issuer.Close()
	x, err := exchange.New(issuer,
		exchange.WithParameter("audience", "https://api.example"),
		exchange.SendSecretInBody(),
		exchange.WithTokenLifetime(5*time.Minute),
	)
	fmt.Println(x, err)
	// Output: exchange.Exchange(https://tenant.example/) <nil>
}

package fiberguard_test

import (
	"fmt"
	"log"
	"net/http/httptest"

	"github.com/gofiber/fiber/v3"

	"github.com/keybound-go/middleware"
	"github.com/keybound-go/middleware/dpop"
	"github.com/keybound-go/middleware/fiberguard"
	"github.com/keybound-go/middleware/oidc"
	"github.com/keybound-go/middleware/oidc/oidctest"
)

func newGuard() *middleware.Guard {
	guard, err := middleware.New(
		middleware.WithTokens(oidc.New("https://issuer.example", "https://api.example")),
		middleware.WithDPoP(dpop.New("https://api.example")),
	)
	if err != nil {
		log.Fatal(err)
	}
	return guard
}

// A guarded route beside a public one.
func ExampleWrap() {
	guard := newGuard()
	app := fiber.New(fiber.Config{ReadBufferSize: 16 << 10})
	app.Get("/health", func(c fiber.Ctx) error { return c.SendStatus(204) })
	app.Get("/orders", fiberguard.Wrap(guard), func(c fiber.Ctx) error {
		credential, _ := middleware.FromContext(c.Context())
		return c.SendString(credential.Token.Subject)
	})
	for _, target := range []string{"/health", "/orders"} {
		resp, err := app.Test(httptest.NewRequest("GET", target, nil))
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(resp.StatusCode)
	}
	// Output:
	// 204
	// 401
}

// A group of routes, and one of them that demands a scope besides.
func ExampleWrap_group() {
	issuer, err := oidctest.Start() // your issuer
	if err != nil {
		log.Fatal(err)
	}
	defer issuer.Close()
	guard, err := middleware.New(
		middleware.WithTokens(oidc.New(issuer.URL, oidctest.Audience, oidc.WithHTTPClient(issuer.Client()))),
		middleware.AllowUnbound(), // bearer tokens pass, until clients know DPoP
	)
	if err != nil {
		log.Fatal(err)
	}
	app := fiber.New(fiber.Config{ReadBufferSize: 16 << 10})
	orders := app.Group("/orders", fiberguard.Wrap(guard))
	orders.Get("/", func(c fiber.Ctx) error {
		credential, _ := middleware.FromContext(c.Context())
		return c.SendString(credential.Token.ClientID)
	})
	orders.Delete("/", fiberguard.Wrap(guard.Require(middleware.Scopes("orders:write"))), func(c fiber.Ctx) error { return c.SendStatus(204) })

	token := issuer.Token(oidctest.Scope("orders:read"))
	for _, method := range []string{"GET", "DELETE"} {
		r := httptest.NewRequest(method, "/orders/", nil)
		r.Header.Set("Authorization", "Bearer "+token)
		resp, err := app.Test(r)
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(method, resp.StatusCode)
	}
	// Output:
	// GET 200
	// DELETE 403
}

// A guard for the whole application stands before unknown routes too: a caller without a
// token does not learn which routes there are.
func ExampleWrap_application() {
	app := fiber.New(fiber.Config{ReadBufferSize: 16 << 10})
	app.Use(fiberguard.Wrap(newGuard()))
	app.Get("/orders", func(c fiber.Ctx) error { return c.SendStatus(204) })
	for _, path := range []string{"/orders", "/unknown"} {
		resp, err := app.Test(httptest.NewRequest("GET", path, nil))
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(path, resp.StatusCode)
	}
	// Output:
	// /orders 401
	// /unknown 401
}

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
)

// A guarded route beside a public one.
func ExampleWrap() {
	guard, err := middleware.New(
		middleware.WithTokens(oidc.New("https://issuer.example", "https://api.example")),
		middleware.WithDPoP(dpop.New("https://api.example")),
	)
	if err != nil {
		log.Fatal(err)
	}
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

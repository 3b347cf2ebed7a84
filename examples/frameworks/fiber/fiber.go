// Package fiber guards a service on Fiber.
package fiber

import (
	"github.com/gofiber/fiber/v3"
	"github.com/gofiber/fiber/v3/middleware/recover"

	"github.com/keybound-go/middleware"
	"github.com/keybound-go/middleware/fiberguard"
)

// New returns the service.
func New(guard *middleware.Guard) *fiber.App {
	app := fiber.New(fiber.Config{ReadBufferSize: 16 << 10}) // 4 KB do not hold a token and a proof
	app.Use(recover.New())
	app.Get("/health", func(c fiber.Ctx) error { return c.SendStatus(204) })

	guarded := app.Group("/orders", fiberguard.Wrap(guard))
	guarded.Get("/", fiberguard.Wrap(guard.Require(middleware.Scopes("orders:read"))), orders)
	guarded.Post("/", fiberguard.Wrap(guard.Require(middleware.Scopes("orders:write"))), orders)
	guarded.Get("/:id", orders)
	return app
}

func orders(c fiber.Ctx) error {
	credential, _ := middleware.FromContext(c.Context()) // not in c itself
	c.Set("X-Subject", credential.Token.Subject)
	return c.SendStatus(204)
}

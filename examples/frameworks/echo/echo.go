// Package echo guards a service on echo.
package echo

import (
	"net/http"

	"github.com/labstack/echo/v5"
	echomiddleware "github.com/labstack/echo/v5/middleware"

	"github.com/keybound-go/middleware"
)

// New returns the service.
func New(guard *middleware.Guard) http.Handler {
	e := echo.New()
	e.Use(echomiddleware.Recover()) // outermost: it answers panics of everything behind it
	e.GET("/health", func(c *echo.Context) error { return c.NoContent(204) })

	guarded := e.Group("/orders", echo.WrapMiddleware(guard.Wrap))
	guarded.GET("", orders, echo.WrapMiddleware(guard.Require(middleware.Scopes("orders:read")).Wrap))
	guarded.POST("", orders, echo.WrapMiddleware(guard.Require(middleware.Scopes("orders:write")).Wrap))
	guarded.GET("/:id", orders)
	return e
}

func orders(c *echo.Context) error {
	credential, _ := middleware.FromContext(c.Request().Context())
	c.Response().Header().Set("X-Subject", credential.Token.Subject)
	return c.NoContent(204)
}

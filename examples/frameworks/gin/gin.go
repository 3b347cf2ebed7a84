// Package gin guards a service on gin.
package gin

import (
	"net/http"

	"github.com/gin-gonic/gin"

	"github.com/keybound-go/middleware"
	"github.com/keybound-go/middleware/ginguard"
)

// New returns the service.
func New(guard *middleware.Guard) http.Handler {
	router := gin.New()
	router.Use(gin.Recovery()) // outermost: it answers panics of everything behind it
	router.GET("/health", func(c *gin.Context) { c.Status(204) })

	guarded := router.Group("/orders", ginguard.Wrap(guard))
	guarded.GET("", ginguard.Wrap(guard.Require(middleware.Scopes("orders:read"))), orders)
	guarded.POST("", ginguard.Wrap(guard.Require(middleware.Scopes("orders:write"))), orders)
	guarded.GET("/:id", orders)
	return router
}

func orders(c *gin.Context) {
	credential, _ := middleware.FromContext(c.Request.Context())
	c.Header("X-Subject", credential.Token.Subject)
	c.Status(204)
}

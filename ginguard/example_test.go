package ginguard_test

import (
	"fmt"
	"log"
	"net/http/httptest"

	"github.com/gin-gonic/gin"

	"github.com/keybound-go/middleware"
	"github.com/keybound-go/middleware/dpop"
	"github.com/keybound-go/middleware/ginguard"
	"github.com/keybound-go/middleware/oidc"
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

// A group whose routes are guarded, and one of them that demands a scope besides.
func ExampleWrap() {
	gin.SetMode(gin.ReleaseMode)
	guard := newGuard()
	router := gin.New()
	router.GET("/health", func(c *gin.Context) { c.Status(204) })
	orders := router.Group("/orders", ginguard.Wrap(guard))
	orders.POST("/", ginguard.Wrap(guard.Require(middleware.Scopes("orders:write"))), func(c *gin.Context) {
		credential, _ := middleware.FromContext(c.Request.Context())
		c.String(200, credential.Token.Subject)
	})
	for _, target := range []string{"/health", "/orders/"} {
		method := map[string]string{"/health": "GET", "/orders/": "POST"}[target]
		w := httptest.NewRecorder()
		router.ServeHTTP(w, httptest.NewRequest(method, target, nil))
		fmt.Println(w.Code)
	}
	// Output:
	// 204
	// 401
}

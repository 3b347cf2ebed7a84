package ginguard_test

import (
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/gin-gonic/gin"

	"github.com/keybound-go/middleware"
	"github.com/keybound-go/middleware/dpop"
	"github.com/keybound-go/middleware/ginguard"
	"github.com/keybound-go/middleware/middlewaretest"
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

// A caller with a token and a proof: the handler learns who it is, and a scope that is
// missing is 403.
func ExampleWrap_scopes() {
	gin.SetMode(gin.ReleaseMode)
	w := middlewaretest.NewWorld(new(testing.T)) // a test gets its own
	guard := w.Guard()
	router := gin.New()
	orders := router.Group("/orders", ginguard.Wrap(guard))
	orders.GET("", func(c *gin.Context) {
		credential, _ := middleware.FromContext(c.Request.Context())
		c.String(200, credential.Token.Subject)
	})
	orders.DELETE("", ginguard.Wrap(guard.Require(middleware.Scopes("orders:write"))), func(c *gin.Context) { c.Status(204) })
	w.Serve(router)

	client := w.Client(oidctest.Scope("orders:read"))
	for _, method := range []string{"GET", "DELETE"} {
		r, _ := http.NewRequest(method, w.URL+"/orders", nil)
		resp, err := client.Do(r)
		if err != nil {
			log.Fatal(err)
		}
		resp.Body.Close()
		fmt.Println(method, resp.StatusCode)
	}
	// Output:
	// GET 200
	// DELETE 403
}

// A guard for the whole engine stands before unknown routes too: a caller without a token
// does not learn which routes there are.
func ExampleWrap_engine() {
	gin.SetMode(gin.ReleaseMode)
	router := gin.New()
	router.Use(gin.Recovery(), ginguard.Wrap(newGuard()))
	router.GET("/orders", func(c *gin.Context) { c.Status(204) })
	for _, path := range []string{"/orders", "/unknown"} {
		w := httptest.NewRecorder()
		router.ServeHTTP(w, httptest.NewRequest("GET", path, nil))
		fmt.Println(path, w.Code)
	}
	// Output:
	// /orders 401
	// /unknown 401
}

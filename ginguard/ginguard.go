// Package ginguard answers: may this request reach its gin handlers?
//
//	router := gin.New()
//	router.Use(gin.Recovery())
//	orders := router.Group("/orders", ginguard.Wrap(guard))
//	orders.GET("", list)
//	orders.POST("", ginguard.Wrap(guard.Require(middleware.Scopes("orders:write"))), create)
//
// A handler finds the credential with middleware.FromContext(c.Request.Context()).
//
// # Order
//
// Recovery and CORS belong before the guard, everything that costs or decides something
// behind it. A request passes only if all its guards agree, and is verified once. A guard
// in [gin.Engine.Use] also stands before the handlers for unknown routes; one in a group
// does not, and gin answers those with its own 404. gin itself redirects a path with a
// slash too many or too few, before any guard.
//
// # What it does not do
//
// The guard reads the target as it came in the request line. It ignores what middleware
// has made of c.Request.URL, and the host and address that gin takes from X-Forwarded
// fields.
package ginguard

import (
	"bufio"
	"io"
	"net"
	"net/http"

	"github.com/gin-gonic/gin"

	"github.com/keybound-go/middleware"
)

// Wrap returns the middleware that calls the handlers behind it for the requests that g
// lets pass, as [middleware.Guard.Wrap] does, and that answers and aborts the others. It
// panics if g is nil.
func Wrap(g *middleware.Guard) gin.HandlerFunc {
	if g == nil {
		panic("ginguard: Wrap: nil guard")
	}
	return func(c *gin.Context) {
		passed := false
		g.Wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			passed = true
			c.Request = r
			if w != http.ResponseWriter(c.Writer) {
				c.Writer = &writer{c.Writer, w}
			}
			c.Next()
		})).ServeHTTP(c.Writer, c.Request)
		if !passed {
			c.Abort()
		}
	}
}

// writer is gin's writer with the fields that the guard sets, such as a nonce and
// Cache-Control: kept restores them when the response begins. In gin that is not at
// WriteHeader, which only notes the status.
type writer struct {
	gin.ResponseWriter
	kept http.ResponseWriter
}

func (w *writer) Write(p []byte) (int, error) { return w.kept.Write(p) }

func (w *writer) WriteString(s string) (int, error) { return io.WriteString(w.kept, s) }

func (w *writer) WriteHeaderNow() {
	if !w.Written() {
		w.kept.WriteHeader(w.Status())
		w.ResponseWriter.WriteHeaderNow()
	}
}

func (w *writer) Flush() { _ = http.NewResponseController(w.kept).Flush() }

func (w *writer) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	return http.NewResponseController(w.kept).Hijack()
}

// Unwrap is for http.ResponseController.
func (w *writer) Unwrap() http.ResponseWriter { return w.kept }

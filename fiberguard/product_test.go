package fiberguard_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gofiber/fiber/v3"
	"github.com/valyala/fasthttp"

	"github.com/keybound-go/middleware"
	"github.com/keybound-go/middleware/fiberguard"
	"github.com/keybound-go/middleware/internal/oracle"
	pt "github.com/keybound-go/middleware/internal/producttest"
)

// requests is the product of requests to a Fiber app.
func requests() *pt.Product {
	return pt.New([]pt.Door{{Name: "fiber", Open: openApp}})
}

// TestEveryPairOccurs holds that TestProduct has each pair of values of two factors,
// except pairs that cannot exist.
func TestEveryPairOccurs(t *testing.T) {
	if testing.Short() {
		t.Skip("with -short, TestProduct changes one value only")
	}
	requests().HoldPairs(t, pt.ModulePlan(t))
}

// TestEveryImportantTripleOccurs is TestEveryPairOccurs for triples of what decides most.
func TestEveryImportantTripleOccurs(t *testing.T) {
	if testing.Short() {
		t.Skip("with -short, TestProduct changes one value only")
	}
	requests().HoldTriples(t, pt.ModulePlan(t), pt.Important())
}

// TestProduct writes combinations of guard and request to connections of a Fiber app, and
// compares with the oracle's word what comes back and what the handler sees.
func TestProduct(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		requests().Run(t, pt.NewWorld(t, pt.RFC9440), pt.ModulePlan(t))
	})
}

const requestID = "X-Situation" // by which the app finds what the request is

var (
	situations sync.Map
	count      atomic.Uint64
)

// openApp puts the guards into an app, before its handler.
func openApp(w *pt.World, guards []*middleware.Guard) func(*http.Request, *pt.Situation) oracle.Verdict {
	app := fiber.New(fiber.Config{ReadBufferSize: 128 << 10})
	app.Use(func(c fiber.Ctx) error {
		s, _ := situations.Load(c.Get(requestID))
		c.SetContext(pt.WithSituation(context.Background(), s.(*pt.Situation)))
		return c.Next()
	})
	for _, g := range guards {
		app.Use(fiberguard.Wrap(g))
	}
	app.Use(func(c fiber.Ctx) error {
		h := make(http.Header)
		for name, value := range c.Request().Header.All() {
			h.Add(string(name), string(value))
		}
		pt.SituationOf(c.Context()).See(c.Context(), h)
		return nil
	})
	server := &fasthttp.Server{Handler: app.Handler(), ReadBufferSize: 128 << 10, NoDefaultServerHeader: true, NoDefaultDate: true, Logger: silent{}}
	return func(r *http.Request, s *pt.Situation) oracle.Verdict {
		id := strconv.FormatUint(count.Add(1), 10)
		situations.Store(id, s)
		defer situations.Delete(id)
		c := &conn{from: r.RemoteAddr, tls: r.TLS}
		c.in.WriteString(r.Method + " " + r.RequestURI + " HTTP/1.1\r\nHost: " + r.Host + "\r\n" + requestID + ": " + id + "\r\nConnection: close\r\n")
		_ = r.Header.Write(&c.in)
		c.in.WriteString("\r\n")
		var over net.Conn = c
		if r.TLS != nil {
			over = tlsConn{c}
		}
		if err := server.ServeConn(over); err != nil {
			s.Problem("the connection fails: %v", err)
		}
		answer, err := http.ReadResponse(bufio.NewReader(&c.out), r)
		if err != nil {
			s.Problem("no response: %v", err)
			return oracle.Verdict{}
		}
		body, _ := io.ReadAll(answer.Body)
		return w.Observe(&pt.Response{Fields: answer.Header, Status: answer.StatusCode, Body: body}, s)
	}
}

type silent struct{}

func (silent) Printf(string, ...any) {}

// conn is a connection in memory, over which one request has come.
type conn struct {
	in, out bytes.Buffer
	from    string
	tls     *tls.ConnectionState
}

func (c *conn) Read(p []byte) (int, error)       { return c.in.Read(p) }
func (c *conn) Write(p []byte) (int, error)      { return c.out.Write(p) }
func (c *conn) Close() error                     { return nil }
func (c *conn) SetDeadline(time.Time) error      { return nil }
func (c *conn) SetReadDeadline(time.Time) error  { return nil }
func (c *conn) SetWriteDeadline(time.Time) error { return nil }

func (c *conn) RemoteAddr() net.Addr {
	return net.TCPAddrFromAddrPort(netip.MustParseAddrPort(c.from))
}

func (c *conn) LocalAddr() net.Addr {
	return net.TCPAddrFromAddrPort(netip.MustParseAddrPort("10.9.9.9:443"))
}

// tlsConn is one with TLS.
type tlsConn struct{ *conn }

func (c tlsConn) Handshake() error                     { return nil }
func (c tlsConn) ConnectionState() tls.ConnectionState { return *c.tls }

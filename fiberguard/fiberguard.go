// Package fiberguard answers: may this request reach its Fiber handlers?
//
//	app := fiber.New(fiber.Config{ReadBufferSize: 16 << 10})
//	orders := app.Group("/orders", fiberguard.Wrap(guard))
//	orders.Get("/", list)
//	orders.Post("/", fiberguard.Wrap(guard.Require(middleware.Scopes("orders:write"))), create)
//
// A handler finds the credential with middleware.FromContext(c.Context()), not in c
// itself.
//
// # Order
//
// Recovery and CORS belong before the guard. Guards of one request add up, and it is
// verified once. The guard adds its fields to the response after the handlers, whatever
// they have set.
//
// # What Fiber does differently
//
// Fiber stands on fasthttp, which has no HTTP/2 and reads no header larger than
// ReadBufferSize: 4 KB by default, which a token with a proof exceeds. Certificates of
// the connection work if Fiber itself terminates TLS. Unless Immutable is set, the
// strings of a request are valid only until its handler returns. The guard keeps some of
// what it has verified, and so judges a copy of the request.
//
// Fiber adds the trailers of a chunked request to the fields of its header, where a
// client could write what only a proxy may. The guard removes from such a request every
// field that was not in the header. So handlers find neither the trailers nor a field
// that middleware before the guard has added. With StreamRequestBody Fiber adds the
// trailers once a handler has read the body: after that, handlers must not trust any
// header field as the proxy's.
//
// The middleware adaptor of Fiber (adaptor.HTTPMiddleware) must not be used with a guard:
// it leaves in the request what the guard has removed, such as a forged certificate
// field, and the guard would keep strings that Fiber overwrites.
package fiberguard

import (
	"bytes"
	"context"
	"iter"
	"maps"
	"net/http"
	"net/url"
	"slices"

	"github.com/gofiber/fiber/v3"
	"github.com/valyala/fasthttp"

	"github.com/keybound-go/middleware"
)

// Wrap returns the middleware that calls the handlers behind it for the requests that g
// lets pass, as [middleware.Guard.Wrap] does, and that answers the others. It panics if g
// is nil.
func Wrap(g *middleware.Guard) fiber.Handler {
	if g == nil {
		panic("fiberguard: Wrap: nil guard")
	}
	return func(c fiber.Ctx) (err error) {
		r := requestOf(c)
		if r == nil {
			return fiber.ErrBadRequest // net/http does not serve such a target either.
		}
		a := &answer{header: make(http.Header)}
		passed := false
		defer func() {
			if passed { // also if a handler panics
				a.update(c)
			}
		}()
		g.Wrap(http.HandlerFunc(func(_ http.ResponseWriter, seen *http.Request) {
			passed = true
			if len(a.header) > 0 { // Otherwise the guard answers for no field.
				defer a.collect(c)
			}
			hide(c, r.Header, seen.Header)
			c.SetContext(seen.Context())
			c.Locals(requestKey{}, seen)
			err = c.Next()
		})).ServeHTTP(a, r)
		if !passed {
			a.send(c)
		}
		return err
	}
}

// requestKey is the key of the request as an outer guard has let it pass.
type requestKey struct{}

// requestOf returns the request of c with all strings copied, or nil if its target is
// invalid.
func requestOf(c fiber.Ctx) *http.Request {
	if r, ok := c.Locals(requestKey{}).(*http.Request); ok {
		return r.WithContext(c.Context())
	}
	ctx := c.RequestCtx()
	target := string(ctx.RequestURI())
	u, err := url.ParseRequestURI(target)
	if err != nil {
		return nil
	}
	r := &http.Request{
		Method: string(ctx.Method()), Host: string(ctx.Host()), RequestURI: target, URL: u,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: header(&ctx.Request.Header), Body: http.NoBody,
		TLS: ctx.TLSConnectionState(), RemoteAddr: ctx.RemoteAddr().String(),
	}
	if ctx.Request.Header.ContentLength() == -1 || len(r.Header["Transfer-Encoding"]) > 0 {
		dropTrailers(&ctx.Request.Header, r.Header)
	}
	delete(r.Header, "Host")
	if r.ContentLength = int64(ctx.Request.Header.ContentLength()); r.ContentLength < 0 || len(r.Header["Transfer-Encoding"]) > 0 {
		r.ContentLength, r.TransferEncoding = -1, []string{"chunked"}
	}
	return r.WithContext(context.WithValue(c.Context(), http.LocalAddrContextKey, ctx.LocalAddr()))
}

// header returns the fields of h, copied.
func header(h *fasthttp.RequestHeader) http.Header {
	n := h.Len()
	fields, values := make(http.Header, n), make([]string, n) // One allocation for all values.
	for name, value := range h.All() {
		key, ok := common[string(name)] // The compiler makes no copy of the name for this.
		if !ok {
			key = http.CanonicalHeaderKey(string(name))
		}
		if before, ok := fields[key]; ok || len(values) == 0 {
			fields[key] = append(before, string(value))
			continue
		}
		values[0] = string(value)
		fields[key], values = values[:1:1], values[1:]
	}
	return fields
}

// common are names that come with many requests, so that they need no copy.
var common = func() map[string]string {
	m := make(map[string]string)
	for _, name := range []string{
		"Accept", "Accept-Encoding", "Accept-Language", "Authorization", "Cache-Control", "Content-Length", "Content-Type", "Cookie", "Dpop",
		"Host", "Origin", "Referer", "Sec-Fetch-Dest", "Sec-Fetch-Mode", "Sec-Fetch-Site", "Traceparent", "Tracestate", "User-Agent",
		"X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Request-Id",
	} {
		m[name] = name
	}
	return m
}()

// dropTrailers removes the trailers from both. Package fasthttp adds the fields after a
// chunked body to the header. There a client's trailer could pass for the field of a
// proxy, which deletes such fields only from the header. A field that has more values
// than the header has lines is removed as a whole: fasthttp reorders the values when one
// is deleted, so that the header's own can no longer be told.
func dropTrailers(h *fasthttp.RequestHeader, fields http.Header) {
	came := make(map[string]int, len(fields)) // how many fields the header has, by name
	for line := range bytes.Lines(h.RawHeaders()) {
		if name, _, ok := bytes.Cut(line, []byte(":")); ok && line[0] != ' ' && line[0] != '\t' {
			came[http.CanonicalHeaderKey(string(name))]++
		}
	}
	for name, values := range fields {
		n := came[name]
		if len(values) <= n || neverTrailer(name) {
			continue
		}
		remove(h, func(other string) bool { return other == name })
		delete(fields, name)
	}
}

// neverTrailer reports whether package fasthttp ignores trailers of that name. It may set
// such a field itself.
func neverTrailer(name string) bool {
	switch name {
	case "Connection", "Content-Length", "Content-Type", "Cookie", "Host", "Trailer", "Transfer-Encoding":
		return true
	}
	return false
}

// fields are the header of a request or of a response.
type fields interface {
	All() iter.Seq2[[]byte, []byte]
	Add(name, value string)
	Del(name string)
}

// remove deletes the fields with the canonical names, however they are spelt. Del of
// package fasthttp puts the last field in the place of the one that it deletes. So the
// fields with several values that stay are written anew, and keep the order of their
// values (RFC 9110, section 5.3).
func remove(h fields, which func(canonical string) bool) {
	var gone []string // as fasthttp has them
	var stay [][2]string
	times := make(map[string]int)
	for name, value := range h.All() {
		key := http.CanonicalHeaderKey(string(name))
		switch {
		case which(key):
			gone = append(gone, string(name))
		case !neverTrailer(key) && key != "Set-Cookie": // which fasthttp keeps apart
			stay = append(stay, [2]string{string(name), string(value)})
			times[key]++
		}
	}
	if len(gone) == 0 {
		return
	}
	stay = slices.DeleteFunc(stay, func(f [2]string) bool { return times[http.CanonicalHeaderKey(f[0])] < 2 })
	for _, f := range stay {
		h.Del(f[0])
	}
	for _, name := range gone {
		h.Del(name)
	}
	for _, f := range stay {
		h.Add(f[0], f[1])
	}
}

// hide repeats on the request of c what the guard has removed and changed.
func hide(c fiber.Ctx, came, seen http.Header) {
	if maps.EqualFunc(came, seen, func(a, b []string) bool { return slices.Equal(a, b) }) {
		return
	}
	h := &c.Request().Header
	remove(h, func(name string) bool { return name != "Host" && !slices.Equal(came[name], seen[name]) })
	for name, values := range seen {
		if slices.Equal(came[name], values) {
			continue
		}
		for _, value := range values {
			h.Add(name, value)
		}
	}
}

// answer is what the guard says to the client.
type answer struct {
	header    http.Header
	status    int
	body      []byte
	collected http.Header // what the handlers have said
}

func (a *answer) Header() http.Header { return a.header }

func (a *answer) WriteHeader(status int) {
	if a.status == 0 {
		a.status = status
	}
}

func (a *answer) Write(p []byte) (int, error) {
	a.WriteHeader(http.StatusOK)
	a.body = append(a.body, p...)
	return len(p), nil
}

// send answers in place of the handlers.
func (a *answer) send(c fiber.Ctx) {
	h := &c.Response().Header
	remove(h, func(name string) bool { return a.header[name] != nil })
	for name, values := range a.header {
		for _, value := range values {
			h.Add(name, value)
		}
	}
	c.Status(a.status)
	c.Response().SetBodyRaw(a.body)
}

// collect copies the handlers' response fields into the header of a. The guard then adds
// its own.
func (a *answer) collect(c fiber.Ctx) {
	clear(a.header)
	for name, value := range c.Response().Header.All() {
		a.header.Add(string(name), string(value))
	}
	a.collected = a.header.Clone()
}

// update copies to the response what the guard has changed since collect.
func (a *answer) update(c fiber.Ctx) {
	h := &c.Response().Header
	remove(h, func(name string) bool { return !slices.Equal(a.header[name], a.collected[name]) })
	for name, values := range a.header {
		if slices.Equal(values, a.collected[name]) {
			continue
		}
		for _, value := range values {
			h.Add(name, value)
		}
	}
}

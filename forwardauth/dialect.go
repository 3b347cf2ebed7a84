package forwardauth

import "fmt"

// A Dialect says in which fields a proxy tells of the request that it asks about. The
// zero Dialect is invalid.
type Dialect uint8

// The dialects. In each, the proxy must be configured as docs/terminators.md shows:
// what a client sends under the names of these fields must not get through.
const (
	_ Dialect = iota

	// NGINX is auth_request, with the fields X-Original-Method, X-Original-Uri and
	// X-Original-Host that its configuration sets. All challenges are in one field,
	// since older versions pass on one alone.
	NGINX

	// Caddy is forward_auth: X-Forwarded-Method, X-Forwarded-Uri, X-Forwarded-Host.
	Caddy

	// Traefik is forwardAuth: the fields of Caddy.
	Traefik

	// HAProxy is the Lua action of interop/terminators: the fields of nginx.
	HAProxy
)

// String returns the name of the proxy.
func (d Dialect) String() string {
	switch d {
	case NGINX:
		return "NGINX"
	case Caddy:
		return "Caddy"
	case Traefik:
		return "Traefik"
	case HAProxy:
		return "HAProxy"
	}
	return fmt.Sprintf("Dialect(%d)", uint8(d))
}

// bodyField says "none" if the client's request has no body, in every dialect. A CORS
// preflight has none, and [middleware.PassPreflights] is for preflights alone: without
// the field, no request counts as one.
const bodyField = "X-Original-Body"

// originals are the names of the fields that tell of the client's request.
type originals struct{ method, uri, host string }

// all are the fields of all dialects: those of another one are a client's.
var all = map[Dialect]originals{
	NGINX:   {"X-Original-Method", "X-Original-Uri", "X-Original-Host"},
	HAProxy: {"X-Original-Method", "X-Original-Uri", "X-Original-Host"},
	Caddy:   {"X-Forwarded-Method", "X-Forwarded-Uri", "X-Forwarded-Host"},
	Traefik: {"X-Forwarded-Method", "X-Forwarded-Uri", "X-Forwarded-Host"},
}

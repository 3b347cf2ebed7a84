// Package openapi answers: what guards an operation of an OpenAPI document?
//
// The security of the document becomes rules of a guard, so that the two cannot differ:
//
//	operations := openapi.New(guard, "oauth2")
//	err := operations.Add("listOrders", []map[string][]string{{"oauth2": {"orders:read"}}})
//	...
//	operations.Wrap("listOrders", next) // demands the scope
//	operations.Wrap("getOrders", next)  // refuses everything: no such operation
//
// docs/frameworks.md has it for huma, oapi-codegen and ogen.
//
// # What security means
//
// An operation without requirements is open: its handler runs unguarded. One requirement
// of the guard's scheme demands the scopes that it lists. An additional empty requirement
// makes credentials optional, as [middleware.Guard.AllowAnonymous] says. Add refuses
// everything else, since the guard cannot decide it: other schemes, alone or together
// with the guard's, and several requirements of the guard's scheme with different scopes.
package openapi

import (
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"

	"github.com/keybound-go/middleware"
)

// Operations holds what guards each operation of a document. All calls of
// [Operations.Add] must come before the first request; [Operations.Wrap] is safe for
// concurrent use. The zero Operations refuses every request.
type Operations struct {
	guard  *middleware.Guard
	scheme string
	wraps  map[string]func(http.Handler) http.Handler
	said   sync.Map // the unknown operations that have been reported
}

// New returns Operations without any operation. The scheme is the name that the document
// gives the security scheme which g checks: of the type oauth2, openIdConnect, or http.
func New(g *middleware.Guard, scheme string) *Operations {
	return &Operations{guard: g, scheme: scheme, wraps: make(map[string]func(http.Handler) http.Handler)}
}

// Add adds an operation under the name by which the service's router knows it, such as
// its operationId, with the security requirements that apply to it: its own or, if it
// has no member security, those of the document. If Add fails, the error names the
// operation, which is then unknown.
func (o *Operations) Add(name string, requirements []map[string][]string) (err error) {
	defer func() {
		if p := recover(); p != nil { // The guard cannot have these rules.
			err = fmt.Errorf("openapi: operation %q: %v", name, p)
		}
	}()
	if _, ok := o.wraps[name]; ok || name == "" {
		return fmt.Errorf("openapi: operation %q: every operation needs a name of its own", name)
	}
	if o.guard == nil || o.scheme == "" {
		return errors.New("openapi: New: there must be a guard and the name of its scheme")
	}
	if len(requirements) == 0 {
		o.wraps[name] = func(next http.Handler) http.Handler { return next }
		return nil
	}
	optional, scopes, err := o.read(requirements)
	if err != nil {
		return fmt.Errorf("openapi: operation %q: %w", name, err)
	}
	g := o.guard
	if len(scopes) > 0 {
		g = g.Require(middleware.Scopes(scopes...))
	} else {
		g = g.Require(withCredentials) // Also a guard that takes anonymous requests takes none now.
	}
	if optional {
		g = g.AllowAnonymous()
	}
	o.wraps[name] = g.Wrap
	return nil
}

// withCredentials is the rule of an operation that demands credentials and no scope.
var withCredentials = middleware.RuleFunc("credentials", func(*http.Request, *middleware.Credential) bool { return true })

// read returns the scopes that requests with credentials need, and whether credentials
// may be missing.
func (o *Operations) read(requirements []map[string][]string) (optional bool, scopes []string, err error) {
	found := false
	for _, r := range requirements {
		if len(r) == 0 {
			optional = true
			continue
		}
		wanted, ok := r[o.scheme]
		if !ok || len(r) > 1 {
			schemes := strings.Join(slices.Sorted(maps.Keys(r)), ", ")
			return false, nil, fmt.Errorf("its security is of %s, and the guard checks %s alone", schemes, o.scheme)
		}
		wanted = slices.Sorted(slices.Values(wanted))
		if found && !slices.Equal(wanted, scopes) {
			return false, nil, errors.New("its security is one of several lists of scopes, and the guard checks one list")
		}
		found, scopes = true, wanted
	}
	if !found {
		return false, nil, errors.New("its security is the empty requirement alone; leave the list empty if it is open")
	}
	return optional, scopes, nil
}

// Wrap returns a handler that passes to next the requests that the operation of that name
// lets pass. If no operation has the name, it answers each request with 503 and reports
// the name, once, on slog.Default(): the document and the router differ.
func (o *Operations) Wrap(name string, next http.Handler) http.Handler {
	if wrap, ok := o.wraps[name]; ok {
		return wrap(next)
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, said := o.said.LoadOrStore(name, true); !said {
			slog.ErrorContext(r.Context(), "openapi: the document has no such operation", "operation", name)
		}
		w.Header().Set("Cache-Control", "no-store")
		w.WriteHeader(http.StatusServiceUnavailable)
	})
}

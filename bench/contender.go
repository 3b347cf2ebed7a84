package bench

import (
	"fmt"
	"net/http"
	"testing"

	"github.com/keybound-go/middleware"
	"github.com/keybound-go/middleware/dpop"
	"github.com/keybound-go/middleware/mtlspop"
	"github.com/keybound-go/middleware/oidc"
	"github.com/keybound-go/middleware/oidc/oidctest"
)

// Contender decides whether a request may pass, on the given path: without an
// error it may.
type Contender interface {
	Name() string
	Modules() []string // whose versions matter
	Decide(p Path, r *http.Request) error
}

// Contenders returns all of them, this module first, set up for the world's issuer.
func Contenders(tb testing.TB, w *World) []Contender {
	tb.Helper()
	ctx := tb.Context()
	return []Contender{
		must(newGuard(w)),
		must(newGolangJWT(ctx, w)),
		must(newGoOIDC(ctx, w)),
		must(newJWX(ctx, w)),
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(fmt.Sprintf("bench: %v", err))
	}
	return v
}

// guard is this module.
type guard struct {
	bound, unbound *middleware.Guard
}

func newGuard(w *World) (*guard, error) {
	make := func(more ...middleware.Option) (*middleware.Guard, error) {
		return middleware.New(append(more,
			middleware.WithTokens(oidc.New(w.Issuer.URL, oidctest.Audience, oidc.WithHTTPClient(w.Issuer.Client()))),
			middleware.WithDPoP(dpop.New(origin)),
			middleware.WithMTLS(mtlspop.New()),
		)...)
	}
	bound, err := make()
	if err != nil {
		return nil, err
	}
	unbound, err := make(middleware.AllowUnbound())
	return &guard{bound, unbound}, err
}

func (*guard) Name() string      { return "keybound" }
func (*guard) Modules() []string { return nil }

func (g *guard) Decide(p Path, r *http.Request) error {
	which := g.bound
	if p == Bearer {
		which = g.unbound
	}
	_, err := which.Check(r)
	return err
}

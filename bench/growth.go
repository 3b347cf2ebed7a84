package bench

import (
	"context"
	"crypto/rand"
	"fmt"
	"net/http"
	"strconv"
	"testing"
	"time"

	"github.com/keybound-go/middleware"
	"github.com/keybound-go/middleware/dpop"
	"github.com/keybound-go/middleware/dpop/dpoptest"
	"github.com/keybound-go/middleware/oidc"
	"github.com/keybound-go/middleware/oidc/oidctest"
)

// A Dimension is something that grows in production, and that a request must not
// notice.
type Dimension struct {
	Name  string
	Sizes []int
	Full  int // a size that takes long to set up

	// Make returns the work of one request at that size.
	Make func(tb testing.TB, size int) Work
}

// Dimensions returns all of them.
func Dimensions() []Dimension {
	return []Dimension{
		{"live proofs", []int{1, 1000, 100_000}, 1_000_000, withProofs},
		{"cached tokens", []int{1, 100, 10_000}, 100_000, withCachedTokens},
		{"issuers, token seen", []int{1, 10, 100}, 0, withIssuers(true)},
		{"issuers, token new", []int{1, 10, 100}, 0, withIssuers(false)},
		{"keys of the issuer, token seen", []int{1, 10, 100}, 0, withKeys(true)},
		{"keys of the issuer, token new", []int{1, 10, 100}, 0, withKeys(false)},
	}
}

// checking is the work of a guard whose requests come from next.
func checking(g *middleware.Guard, next func() *http.Request) Work {
	return Deciding(&guard{g, g}, DPoP, next)
}

func withProofs(tb testing.TB, size int) Work {
	cache := must(dpop.NewMemoryCache(dpop.WithCacheSize(1 << 22)))
	until := time.Now().Add(time.Hour)
	for i := range size {
		var id [32]byte
		rand.Read(id[:])
		if fresh, err := cache.Add(tb.Context(), strconv.Itoa(i%1000), id, until); err != nil || !fresh {
			tb.Fatal(i, fresh, err)
		}
	}
	w := NewWorld(tb)
	g := must(middleware.New(tokensOf(w.Issuer), middleware.WithDPoP(dpop.New(origin, dpop.WithReplayCache(cache, nil)))))
	return checking(g, w.Seen(DPoP))
}

func tokensOf(issuer *oidctest.Issuer, opts ...oidc.Option) middleware.Option {
	return middleware.WithTokens(verifierOf(issuer, opts...))
}

func verifierOf(issuer *oidctest.Issuer, opts ...oidc.Option) (*oidc.Verifier, error) {
	return oidc.New(issuer.URL, oidctest.Audience, append(opts, oidc.WithHTTPClient(issuer.Client()))...)
}

func withCachedTokens(tb testing.TB, size int) Work {
	w := NewWorld(tb)
	v := must(verifierOf(w.Issuer, oidc.WithCacheSize(2*size)))
	tokens := make([]string, size)
	for i := range tokens {
		tokens[i] = w.Token(DPoP)
		if _, err := v.VerifyToken(context.Background(), tokens[i]); err != nil {
			tb.Fatal(err)
		}
		w.Issuer.Forget()
	}
	g := must(middleware.New(middleware.WithTokens(v, nil), middleware.WithDPoP(dpop.New(origin))))
	next := 0
	return checking(g, func() *http.Request {
		next += 7919 // a prime: not the order in which they came
		return w.Request(DPoP, tokens[next%size])
	})
}

func withIssuers(seen bool) func(testing.TB, int) Work {
	return func(tb testing.TB, size int) Work {
		key := dpoptest.NewKey(tb)
		var worlds []*World
		var verifiers []*oidc.Verifier
		for i := range size {
			issuer := oidctest.NewIssuer(tb, oidctest.InMemory(fmt.Sprintf("https://issuer-%d.example", i)))
			worlds = append(worlds, &World{Issuer: issuer, key: key})
			verifiers = append(verifiers, must(verifierOf(issuer)))
		}
		issuers := must(oidc.AnyOf(verifiers...))
		if err := issuers.Prefetch(tb.Context()); err != nil {
			tb.Fatal(err)
		}
		g := must(middleware.New(middleware.WithTokens(issuers, nil), middleware.WithDPoP(dpop.New(origin))))
		last := worlds[size-1] // the worst place in a list
		if seen {
			return checking(g, last.Seen(DPoP))
		}
		return checking(g, last.New(DPoP))
	}
}

func withKeys(seen bool) func(testing.TB, int) Work {
	return func(tb testing.TB, size int) Work {
		w := NewWorld(tb)
		for range size - 1 {
			w.Issuer.Rotate()
		}
		g := must(middleware.New(tokensOf(w.Issuer), middleware.WithDPoP(dpop.New(origin))))
		if seen {
			return checking(g, w.Seen(DPoP))
		}
		return checking(g, w.New(DPoP))
	}
}

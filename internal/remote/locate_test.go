package remote_test

import (
	"context"
	"net/http"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/keybound-go/middleware/internal/remote"
)

func TestADocumentThatMoves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var where atomic.Value
		where.Store("https://issuer.example/old")
		r, s := start(t, func(c *remote.Config[string]) {
			c.Locate = func(context.Context) ([]string, error) { return []string{where.Load().(string)}, nil }
		})
		s.set(func(r *http.Request) (*http.Response, error) { return says(r.URL.Path)(r) })
		require.Equal(t, "/old", get(t, r))
		where.Store("https://other.example/new")
		time.Sleep(15*time.Minute + grain)
		require.Equal(t, "/new", get(t, r))
		require.Equal(t, "https://other.example/new", r.Status().URL)
		where.Store("http://other.example/plain")
		time.Sleep(15*time.Minute + 2*grain)
		require.Equal(t, "/new", get(t, r))
		require.Contains(t, r.Status().LastError, "https is required")
	})
}

func TestTheNextURLIsForADocumentThatIsNotThere(t *testing.T) {
	for _, tt := range []struct {
		code int
		ok   bool
	}{{404, true}, {403, true}, {410, true}, {400, true}, {408, false}, {429, false}, {500, false}, {503, false}, {204, false}} {
		t.Run(http.StatusText(tt.code), func(t *testing.T) {
			r, s := start(t, func(c *remote.Config[string]) {
				c.Locate = remote.At("https://issuer.example/first", "https://issuer.example/second")
			})
			s.set(func(r *http.Request) (*http.Response, error) {
				if r.URL.Path == "/first" {
					return status(tt.code, "no")(r)
				}
				return says("second")(r)
			})
			snapshot, err := r.Get(t.Context())
			if !tt.ok {
				require.Error(t, err)
				require.Equal(t, 1, s.count())
				return
			}
			require.NoError(t, err)
			require.Equal(t, "second", snapshot.Value)
			require.Equal(t, "https://issuer.example/second", snapshot.URL)
		})
	}
	t.Run("every status", func(t *testing.T) {
		for code := 200; code < 600; code++ {
			r, s := start(t, func(c *remote.Config[string]) {
				c.Locate = remote.At("https://issuer.example/first", "https://issuer.example/second")
			})
			s.set(func(r *http.Request) (*http.Response, error) {
				if r.URL.Path == "/first" {
					return status(code, "first")(r) // a redirect without a Location is an answer like any other
				}
				return says("second")(r)
			})
			want := "outage"
			switch {
			case code == http.StatusOK:
				want = "first"
			case code >= 400 && code < 500 && code != http.StatusRequestTimeout && code != http.StatusTooManyRequests:
				want = "second"
			}
			got := "outage"
			if snapshot, err := r.Get(t.Context()); err == nil {
				got = snapshot.Value
			}
			require.Equal(t, want, got, "status %d", code)
			require.NoError(t, r.Close())
		}
	})
	t.Run("all of them", func(t *testing.T) {
		r, s := start(t, func(c *remote.Config[string]) {
			c.Locate = remote.At("https://issuer.example/first", "https://issuer.example/second")
		})
		s.set(status(404, ""))
		_, err := r.Get(t.Context())
		require.ErrorContains(t, err, "https://issuer.example/second: status 404")
		require.ErrorContains(t, err, "https://issuer.example/first: status 404")
	})
}

type later struct{ after time.Duration }

func (later) Error() string               { return "discovery is down" }
func (l later) RetryAfter() time.Duration { return l.after }

func TestLocatingMayFail(t *testing.T) {
	t.Run("its own wait is followed", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			r, _ := start(t, func(c *remote.Config[string]) {
				c.Locate = func(context.Context) ([]string, error) { return nil, later{1700 * time.Millisecond} }
			})
			_, err := r.Get(t.Context())
			require.Equal(t, 1700*time.Millisecond, requireUnavailable(t, err).RetryAfter())
			require.ErrorContains(t, err, "discovery is down")
		})
	})
	t.Run("but not without end", func(t *testing.T) {
		r, _ := start(t, func(c *remote.Config[string]) {
			c.Locate = func(context.Context) ([]string, error) { return nil, later{time.Hour} }
		})
		_, err := r.Get(t.Context())
		require.Equal(t, 30*time.Second, requireUnavailable(t, err).RetryAfter())
	})
	t.Run("with nothing", func(t *testing.T) {
		r, _ := start(t, func(c *remote.Config[string]) { c.Locate = remote.At() })
		require.ErrorContains(t, r.Prefetch(t.Context()), "located nowhere")
	})
	t.Run("with a panic", func(t *testing.T) {
		r, _ := start(t, func(c *remote.Config[string]) {
			c.Locate = func(context.Context) ([]string, error) { panic("lost") }
		})
		require.ErrorContains(t, r.Prefetch(t.Context()), "panic: a value of type")
	})
	t.Run("by taking too long", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			r, _ := start(t, func(c *remote.Config[string]) {
				c.Locate = func(ctx context.Context) ([]string, error) { <-ctx.Done(); return nil, ctx.Err() }
			})
			began := time.Now()
			require.ErrorIs(t, r.Prefetch(t.Context()), context.DeadlineExceeded)
			require.Equal(t, 10*time.Second, time.Since(began))
		})
	})
}

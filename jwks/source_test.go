package jwks_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/keybound-go/middleware/internal/calls"
	"github.com/keybound-go/middleware/internal/josetest"
	"github.com/keybound-go/middleware/jwks"
)

// grain is how late the background schedule may be.
const grain = 2 * time.Second

func TestNewReportsEveryMistakeAtOnce(t *testing.T) {
	_, err := jwks.New("http://issuer.example/jwks",
		nil,
		jwks.WithHTTPClient(nil),
		jwks.WithRefreshInterval(0, time.Minute),
		jwks.WithCooldown(time.Second, -1),
		jwks.WithMaxStale(time.Minute),
		jwks.WithMaxStale(time.Hour),
		jwks.WithMaxKeys(0),
	)
	require.Error(t, err)
	lines := strings.Split(err.Error(), "\n")
	require.Len(t, lines, 8)
	for k, want := range []string{
		"option 1 is nil", "WithHTTPClient: nil", "WithRefreshInterval: 0s", "WithCooldown: -1ns",
		"WithMaxStale is given twice", "WithMaxKeys: 0", "https is required", "data is refused after 1m0s",
	} {
		require.Contains(t, lines[k], want)
		require.True(t, strings.HasPrefix(lines[k], "jwks: "), lines[k])
	}
	_, err = jwks.NewLocated(nil, nil)
	require.ErrorContains(t, err, "NewLocated: locate is nil")
	require.ErrorContains(t, err, "option 1 is nil")
}

func TestURL(t *testing.T) {
	for _, tt := range []struct {
		name, url string
		opts      []jwks.Option
		err       string
	}{
		{"JWKS-08 https", address, nil, ""},
		{"JWKS-08 http", "http://issuer.example/jwks", nil, "https is required"},
		{"JWKS-08 http to loopback", "http://127.0.0.1/jwks", nil, "https is required"},
		{"JWKS-08 http to loopback, permitted", "http://127.0.0.1/jwks", []jwks.Option{jwks.DangerouslyAllowLoopbackHTTP()}, ""},
		{"JWKS-08 http to an address elsewhere, loopback permitted", "http://192.0.2.1/jwks", []jwks.Option{jwks.DangerouslyAllowLoopbackHTTP()}, "https is required"},
		{"JWKS-08 http to 0.0.0.0, loopback permitted", "http://0.0.0.0/jwks", []jwks.Option{jwks.DangerouslyAllowLoopbackHTTP()}, "https is required"},
		{"JWKS-08 http to a name, loopback permitted: judged when it is dialled", "http://keycloak.test/jwks", []jwks.Option{jwks.DangerouslyAllowLoopbackHTTP()}, ""},
		{"JWKS-08 http to a name by a client that is given", "http://keycloak.test/jwks", []jwks.Option{jwks.DangerouslyAllowLoopbackHTTP(), jwks.WithHTTPClient(new(http.Client))}, "https is required"},
		{"JWKS-08 not a URL", "issuer.example", nil, "not an absolute URL"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := jwks.New(tt.url, tt.opts...)
			if tt.err == "" {
				require.NoError(t, err)
			} else {
				require.ErrorContains(t, err, tt.err)
			}
		})
	}
	t.Run("JWKS-08 a located URL is held to the same", func(t *testing.T) {
		s, err := jwks.NewLocated(func(context.Context) (string, error) { return "http://issuer.example/jwks", nil })
		require.NoError(t, err)
		err = s.Prefetch(t.Context())
		requireUnavailable(t, err)
		require.ErrorContains(t, err, "https is required")
	})
}

func TestRedirectsOfTheKeySet(t *testing.T) {
	key := josetest.NewKey("ES256")
	plain := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, document(named(key, "1")))
	}))
	defer plain.Close()
	srv := httptest.NewTLSServer(http.RedirectHandler(plain.URL, http.StatusFound))
	defer srv.Close()
	t.Run("DISC-09 302 to http is an error", func(t *testing.T) {
		s, err := jwks.New(srv.URL, jwks.WithHTTPClient(srv.Client()), jwks.DangerouslyAllowLoopbackHTTP())
		require.NoError(t, err)
		defer s.Close()
		err = s.Prefetch(t.Context())
		requireUnavailable(t, err)
		require.ErrorContains(t, err, "another origin")
	})
}

func TestContentTypeIsNotRequired(t *testing.T) {
	key := josetest.NewKey("ES256")
	for _, media := range []string{"application/jwk-set+json", "application/json; charset=utf-8", "text/plain", "application/octet-stream", ""} {
		t.Run("JWKS-09 "+media, func(t *testing.T) {
			srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if !strings.Contains(r.Header.Get("Accept"), "application/jwk-set+json") {
					w.WriteHeader(http.StatusNotAcceptable)
					return
				}
				w.Header()["Content-Type"] = []string{media}
				fmt.Fprint(w, document(named(key, "1")))
			}))
			defer srv.Close()
			s, err := jwks.New(srv.URL, jwks.DangerouslyAllowLoopbackHTTP())
			require.NoError(t, err)
			defer s.Close()
			requireKeys(t, s, "ES256", "1", key)
		})
	}
}

func TestUnknownKid(t *testing.T) {
	old, next := josetest.NewKey("ES256"), josetest.NewKey("ES256")
	t.Run("JWKS-05 one refresh finds a new key at once", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s, i := start(t, []map[string]any{named(old, "old")})
			requireKeys(t, s, "ES256", "old", old)
			i.publish(named(old, "old"), named(next, "next"))
			requireKeys(t, s, "ES256", "next", next)
			require.Equal(t, 2, i.count())
		})
	})
	t.Run("JWKS-05 no kid, and no key for the algorithm, is an unknown key too", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s, i := start(t, []map[string]any{jwk(old)})
			requireKeys(t, s, "ES256", "", old)
			i.publish(jwk(old), jwk(rsaKey()))
			requireKeys(t, s, "RS256", "", rsaKey())
			require.Equal(t, 2, i.count())
		})
	})
	t.Run("JWKS-05 1,000 random kids in a second are two fetches", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s, i := start(t, []map[string]any{named(old, "old")})
			for k := range 1000 {
				requireNoKey(t, s, "ES256", fmt.Sprintf("random-%d", k))
				time.Sleep(time.Millisecond)
			}
			require.LessOrEqual(t, i.count(), 2)
			time.Sleep(30 * time.Second)
			for k := range 1000 {
				requireNoKey(t, s, "ES256", fmt.Sprintf("random-%d", k))
			}
			require.LessOrEqual(t, i.count(), 3)
			requireKeys(t, s, "ES256", "old", old)
		})
	})
	t.Run("JWKS-05 1,000 random kids at once are two fetches", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s, i := start(t, []map[string]any{named(old, "old")})
			i.delay = time.Second
			var wg sync.WaitGroup
			for k := range 1000 {
				wg.Go(func() { requireNoKey(t, s, "ES256", fmt.Sprintf("random-%d", k)) })
			}
			wg.Wait()
			require.LessOrEqual(t, i.count(), 2)
		})
	})
	t.Run("JWKS-05 algorithms that are not verified are no fetch", func(t *testing.T) {
		s, i := start(t, []map[string]any{named(old, "old")})
		for _, alg := range []string{"none", "HS256", "", "es256", "ES256K"} {
			requireNoKey(t, s, alg, "random")
			requireNoKey(t, s, alg, "old")
		}
		require.Zero(t, i.count())
	})
	t.Run("JWKS-05 a known kid is no fetch, whatever its signatures are worth", func(t *testing.T) {
		s, i := start(t, []map[string]any{named(old, "old")})
		for range 50 {
			requireKeys(t, s, "ES256", "old", old)
		}
		require.Equal(t, 1, i.count())
	})
	t.Run("JWKS-05 two key rotations within the cooldown", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s, i := start(t, []map[string]any{named(old, "old")})
			requireKeys(t, s, "ES256", "old", old)
			last := josetest.NewKey("ES256")
			i.publish(named(next, "next"))
			requireKeys(t, s, "ES256", "next", next)
			time.Sleep(time.Second)
			i.publish(named(last, "last"))
			requireKeys(t, s, "ES256", "last", last)
			requireNoKey(t, s, "ES256", "old")
		})
	})
	t.Run("JWKS-05 a rotation after made-up kids is found when the cooldown ends", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s, i := start(t, []map[string]any{named(old, "old")})
			requireNoKey(t, s, "ES256", "random")
			i.publish(named(next, "next"))
			requireNoKey(t, s, "ES256", "next")
			time.Sleep(30 * time.Second)
			requireKeys(t, s, "ES256", "next", next)
		})
	})
	t.Run("JWKS-05 a caller that leaves does not end the refresh", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s, i := start(t, []map[string]any{named(old, "old")})
			require.NoError(t, s.Prefetch(t.Context()))
			i.publish(named(next, "next"))
			i.delay = 3 * time.Second
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			_, err := s.Keys(ctx, "ES256", "next")
			requireUnavailable(t, err)
			require.ErrorIs(t, err, context.DeadlineExceeded)
			requireKeys(t, s, "ES256", "next", next)
			require.Equal(t, 2, i.count())
		})
	})
}

func TestOutage(t *testing.T) {
	key := josetest.NewKey("ES256")
	t.Run("JWKS-06 down at the start, then up", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s, i := start(t, []map[string]any{named(key, "1")})
			i.down()
			for range 100 {
				_, err := s.Keys(t.Context(), "ES256", "1")
				retry := requireUnavailable(t, err)
				require.True(t, 5*time.Second <= retry && retry < 6*time.Second, "%v", retry)
				require.ErrorContains(t, err, "connection refused")
			}
			require.Equal(t, 1, i.count())
			i.publish(named(key, "1"))
			time.Sleep(6 * time.Second)
			requireKeys(t, s, "ES256", "1", key)
		})
	})
	t.Run("JWKS-06 the last good set serves up to its limit", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s, i := start(t, []map[string]any{named(key, "1")}, jwks.WithMaxStale(3*time.Hour))
			requireKeys(t, s, "ES256", "1", key)
			generation := s.Generation()
			i.down()
			time.Sleep(3 * time.Hour)
			requireKeys(t, s, "ES256", "1", key)
			require.True(t, s.Contains(key.Signer.Public()))
			require.Equal(t, generation, s.Generation())
			require.NotEmpty(t, s.Status().LastError)

			time.Sleep(time.Second)
			_, err := s.Keys(t.Context(), "ES256", "1")
			require.Positive(t, requireUnavailable(t, err))
			require.False(t, s.Contains(key.Signer.Public()), "what depends on the key is asked for again")
			require.Zero(t, s.Generation())
			require.True(t, s.Status().Stale)
			require.Zero(t, s.Status().Keys)

			i.publish(named(key, "1"))
			time.Sleep(time.Minute)
			require.Equal(t, generation, s.Generation(), "the background found it again, and it is the same")
			requireKeys(t, s, "ES256", "1", key)
		})
	})
	t.Run("JWKS-06 an unknown kid during an outage may be the newest key", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s, i := start(t, []map[string]any{named(key, "1")})
			requireKeys(t, s, "ES256", "1", key)
			i.down()
			for range 100 {
				_, err := s.Keys(t.Context(), "ES256", "next")
				require.Positive(t, requireUnavailable(t, err))
				requireKeys(t, s, "ES256", "1", key)
			}
			require.Equal(t, 2, i.count())
			i.publish(named(key, "1"))
			time.Sleep(6 * time.Second)
			requireNoKey(t, s, "ES256", "next")
		})
	})
	for name, body := range map[string]string{
		"empty":  `{"keys":[]}`,
		"broken": `{"keys":[`,
		"null":   `null`,
		"HTML":   `<html>`,
	} {
		t.Run("JWKS-06 "+name+" never replaces a good set", func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, i := start(t, []map[string]any{named(key, "1")})
				requireKeys(t, s, "ES256", "1", key)
				i.say(body)
				time.Sleep(time.Hour)
				requireKeys(t, s, "ES256", "1", key)
				require.NotEmpty(t, s.Status().LastError)
			})
		})
	}
}

func TestRefresh(t *testing.T) {
	old, next := josetest.NewKey("ES256"), josetest.NewKey("ES256")
	for _, tt := range []struct {
		name    string
		control string
		opts    []jwks.Option
		want    time.Duration
	}{
		{"JWKS-07 max-age is honoured", "max-age=1200", nil, 20 * time.Minute},
		{"JWKS-07 but not below the least", "max-age=0", nil, 5 * time.Minute},
		{"JWKS-07 nor above the most", "max-age=31536000", nil, time.Hour},
		{"JWKS-07 the bounds are settings", "max-age=31536000", []jwks.Option{jwks.WithRefreshInterval(time.Second, 2*time.Hour)}, 2 * time.Hour},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, i := start(t, []map[string]any{named(old, "1")}, tt.opts...)
				i.header.Set("Cache-Control", tt.control)
				requireKeys(t, s, "ES256", "1", old)
				before := s.Generation()
				i.publish(named(next, "1"))
				time.Sleep(tt.want - grain)
				require.True(t, s.Contains(old.Signer.Public()))
				time.Sleep(2 * grain)
				require.False(t, s.Contains(old.Signer.Public()), "withdrawn")
				require.True(t, s.Contains(next.Signer.Public()))
				require.NotEqual(t, before, s.Generation())
				requireKeys(t, s, "ES256", "1", next)
			})
		})
	}
	t.Run("a set with the same content keeps its keys, pointer by pointer", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s, i := start(t, []map[string]any{named(old, "1"), named(next, "2")})
			first, err := s.Keys(t.Context(), "ES256", "1")
			require.NoError(t, err)
			i.publish(named(next, "2"), named(old, "1"))
			time.Sleep(time.Hour)
			require.Greater(t, i.count(), 2)
			second, err := s.Keys(t.Context(), "ES256", "1")
			require.NoError(t, err)
			require.Same(t, first[0], second[0])
		})
	})
}

func TestSeveralSourcesOfOneURL(t *testing.T) {
	key := josetest.NewKey("ES256")
	i := &issuer{header: http.Header{}}
	i.publish(named(key, "1"))
	var sources []*jwks.Source
	for range 3 {
		s, err := jwks.New(address, jwks.WithHTTPClient(&http.Client{Transport: i}))
		require.NoError(t, err)
		defer s.Close()
		requireKeys(t, s, "ES256", "1", key)
		sources = append(sources, s)
	}
	require.NoError(t, sources[0].Close())
	next := josetest.NewKey("ES256")
	i.publish(named(next, "2"))
	requireKeys(t, sources[0], "ES256", "1", key)
	requireKeys(t, sources[1], "ES256", "2", next)
	requireKeys(t, sources[2], "ES256", "2", next)
}

func TestNewLocated(t *testing.T) {
	key, next := josetest.NewKey("ES256"), josetest.NewKey("ES256")
	synctest.Test(t, func(t *testing.T) {
		i := &issuer{header: http.Header{}}
		i.publish(named(key, "1"))
		var where atomic.Value
		where.Store("")
		var located atomic.Int32
		s, err := jwks.NewLocated(func(context.Context) (string, error) {
			located.Add(1)
			if where.Load() == "" {
				return "", errors.New("discovery is down")
			}
			return where.Load().(string), nil
		}, jwks.WithHTTPClient(&http.Client{Transport: i}))
		require.NoError(t, err)
		defer s.Close()
		require.Zero(t, located.Load())

		_, err = s.Keys(t.Context(), "ES256", "1")
		require.Positive(t, requireUnavailable(t, err))
		require.ErrorContains(t, err, "discovery is down")
		where.Store(address)
		time.Sleep(6 * time.Second)
		requireKeys(t, s, "ES256", "1", key)
		require.Equal(t, address, s.Status().URL)

		where.Store("https://moved.example/jwks")
		i.publish(named(next, "2"))
		requireKeys(t, s, "ES256", "2", next)
		require.Equal(t, "https://moved.example/jwks", s.Status().URL)
	})
}

func TestZeroSource(t *testing.T) {
	var s jwks.Source
	_, err := s.Keys(t.Context(), "ES256", "1")
	requireUnavailable(t, err)
	requireUnavailable(t, s.Prefetch(t.Context()))
	require.False(t, s.Contains(josetest.NewKey("ES256").Signer.Public()))
	require.Zero(t, s.Generation())
	require.Zero(t, s.Status())
	require.NoError(t, s.Close())
}

func TestTheSliceIsTheCallers(t *testing.T) {
	key := josetest.NewKey("ES256")
	s, _ := start(t, []map[string]any{named(key, "1")})
	keys, err := s.Keys(t.Context(), "ES256", "1")
	require.NoError(t, err)
	keys[0] = nil
	requireKeys(t, s, "ES256", "1", key)
}

func TestCloseOfASource(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // fails if a goroutine of the bubble remains
		key := josetest.NewKey("ES256")
		s, i := start(t, []map[string]any{named(key, "1")})
		requireKeys(t, s, "ES256", "1", key)
		require.NoError(t, s.Close())
		require.NoError(t, s.Close())
		requireKeys(t, s, "ES256", "1", key)
		_, err := s.Keys(t.Context(), "ES256", "2")
		requireUnavailable(t, err)
		require.Equal(t, 1, i.count())
	})
}

// What a request waited for has a name that operators read.
func TestAFetchThatARequestWaitsForIsNamed(t *testing.T) {
	s, _ := start(t, []map[string]any{named(josetest.NewKey("ES256"), "1")})
	ctx := &calls.Context{Context: t.Context()}
	_, err := s.Keys(ctx, "ES256", "1")
	require.NoError(t, err)
	waits := ctx.Log.Take()
	require.Len(t, waits, 1)
	require.Equal(t, calls.Keys, waits[0].Part)
	require.False(t, waits[0].Failed)
}

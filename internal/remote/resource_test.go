package remote_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/keybound-go/middleware/internal/remote"
)

// grain is how late the background schedule may be.
const grain = 2 * time.Second

func TestNewReportsEveryProblemAtOnce(t *testing.T) {
	_, err := remote.New(remote.Config[string]{
		MaxBytes: -1, Timeout: -1, MinRefresh: time.Millisecond, MaxRefresh: time.Microsecond,
		Cooldown: -1, FailureCooldown: -1, MaxStale: -1,
	})
	require.Error(t, err)
	require.Len(t, strings.Split(err.Error(), "\n"), 9)
	for _, want := range []string{"no Locate", "no Decode", "size limit", "time-out", "under a second", "less than least", "cooldown -1", "after a failure -1", "refused after"} {
		require.ErrorContains(t, err, want)
	}
}

func TestDefaultsFollowTheBoundsThatAreSet(t *testing.T) {
	for name, change := range map[string]func(*remote.Config[string]){
		"long least interval":  func(c *remote.Config[string]) { c.MinRefresh = 48 * time.Hour },
		"short most interval":  func(c *remote.Config[string]) { c.MaxRefresh = time.Minute },
		"long most interval":   func(c *remote.Config[string]) { c.MaxRefresh = 30 * 24 * time.Hour },
		"long failure wait":    func(c *remote.Config[string]) { c.FailureCooldown = time.Hour },
		"stale limit at least": func(c *remote.Config[string]) { c.MaxStale = time.Hour },
	} {
		t.Run(name, func(t *testing.T) { start(t, change) })
	}
}

func TestNothingStartsInTheConstructor(t *testing.T) {
	before := runtime.NumGoroutine()
	_, s := start(t, nil)
	require.Equal(t, before, runtime.NumGoroutine())
	require.Zero(t, s.count())
}

func TestTheBackgroundFollowsTheLifetimeOfTheAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, s := start(t, nil)
		require.Equal(t, "one", get(t, r))
		s.set(says("two", "Cache-Control", "max-age=600"))
		time.Sleep(14 * time.Minute)
		require.Equal(t, "one", get(t, r))
		require.Equal(t, 1, s.count())
		time.Sleep(time.Minute + grain)
		require.Equal(t, "two", get(t, r))
		require.Equal(t, 2, s.count())
		time.Sleep(10*time.Minute + grain)
		require.Equal(t, 3, s.count())
		time.Sleep(24 * time.Hour)
		require.InDelta(t, 3+24*6, s.count(), 2, "one poll each, however long it runs")
	})
}

func TestARenewalDoesNotAddAPoll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, s := start(t, func(c *remote.Config[string]) { c.MinRefresh, c.MaxRefresh = time.Hour, time.Hour })
		seen, err := r.Get(t.Context())
		require.NoError(t, err)
		time.Sleep(30 * time.Minute)
		_, err = r.Renew(t.Context(), seen)
		require.NoError(t, err)
		require.Equal(t, 2, s.count())
		time.Sleep(45 * time.Minute)
		require.Equal(t, 2, s.count(), "the renewed answer is good for an hour")
		time.Sleep(15*time.Minute + grain)
		require.Equal(t, 3, s.count())
		time.Sleep(10 * time.Hour)
		require.InDelta(t, 13, s.count(), 1)
	})
}

// JWKS-07: the lifetime that the server states, within the bounds.
func TestLifetime(t *testing.T) {
	date := "Sat, 01 Jan 2000 00:00:00 GMT" // synctest's epoch
	for _, tt := range []struct {
		name   string
		header []string
		want   time.Duration
	}{
		{"JWKS-07 max-age is honoured", []string{"Cache-Control", "public, max-age=1200, must-revalidate"}, 20 * time.Minute},
		{"JWKS-07 max-age under the least interval", []string{"Cache-Control", "max-age=1"}, 5 * time.Minute},
		{"JWKS-07 max-age over the most interval", []string{"Cache-Control", "max-age=86400"}, time.Hour},
		{"JWKS-07 max-age beyond any number", []string{"Cache-Control", "max-age=99999999999999999999999"}, time.Hour},
		{"JWKS-07 negative max-age is none", []string{"Cache-Control", "max-age=-5"}, 15 * time.Minute},
		{"JWKS-07 name in capitals, value quoted", []string{"Cache-Control", `Max-Age="1200"`}, 20 * time.Minute},
		{"JWKS-07 no-store asks as often as allowed", []string{"Cache-Control", "no-store, max-age=1200"}, 5 * time.Minute},
		{"JWKS-07 no-cache in a second field", []string{"Cache-Control", "max-age=1200", "Cache-Control", "no-cache"}, 5 * time.Minute},
		{"JWKS-07 the first max-age counts", []string{"Cache-Control", "max-age=1200, max-age=2400"}, 20 * time.Minute},
		{"JWKS-07 Age is subtracted", []string{"Cache-Control", "max-age=1800", "Age", "600"}, 20 * time.Minute},
		{"JWKS-07 Expires less Date", []string{"Date", "Mon, 05 May 2025 10:00:00 GMT", "Expires", "Mon, 05 May 2025 10:25:00 GMT"}, 25 * time.Minute},
		{"JWKS-07 Expires without Date", []string{"Expires", "Sat, 01 Jan 2000 00:30:00 GMT"}, 30 * time.Minute},
		{"JWKS-07 Expires in the past", []string{"Date", date, "Expires", "Fri, 31 Dec 1999 00:30:00 GMT"}, 5 * time.Minute},
		{"JWKS-07 Expires 0 is no date", []string{"Expires", "0"}, 15 * time.Minute},
		{"JWKS-07 max-age goes before Expires", []string{"Cache-Control", "max-age=1200", "Expires", "Sat, 01 Jan 2000 00:30:00 GMT"}, 20 * time.Minute},
		{"JWKS-07 nothing stated", nil, 15 * time.Minute},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r, s := start(t, nil)
				s.set(says("one", tt.header...))
				get(t, r)
				st := r.Status()
				require.Equal(t, tt.want, st.NextRefresh.Sub(st.FetchedAt))
				time.Sleep(tt.want - grain)
				require.Equal(t, 1, s.count())
				time.Sleep(2 * grain)
				require.Equal(t, 2, s.count())
			})
		})
	}
}

func TestABadAnswerNeverReplacesAGoodOne(t *testing.T) {
	for _, tt := range []struct {
		name   string
		answer func(*http.Request) (*http.Response, error)
		report string
	}{
		{"no connection", fails, "connection refused"},
		{"500 with a good body", status(500, "two"), "status 500"},
		{"404 with a good body", status(404, "two"), "status 404"},
		{"206 with a good body", status(206, "two"), "status 206"},
		{"204", status(204, ""), "status 204"},
		{"redirect without location", status(302, "two"), "issuer.example/doc"},
		{"empty body", says(""), "empty"},
		{"body over the limit", says(strings.Repeat("x", 1<<20+1)), "too large"},
		{"no answer in time", slowly(time.Hour, says("two")), "deadline exceeded"},
		{"panic in the transport", func(*http.Request) (*http.Response, error) { panic("oops") }, "panic: oops"},
		{"panic in Decode", says("panic"), "panic: decode"},
		{"Decode ends the goroutine", says("goexit"), "without a result"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r, s := start(t, func(c *remote.Config[string]) {
					c.Decode = func(b []byte, h http.Header) (string, error) {
						switch string(b) {
						case "panic":
							panic("decode")
						case "goexit":
							runtime.Goexit()
						}
						return text(b, h)
					}
				})
				get(t, r)
				s.set(tt.answer)
				time.Sleep(15*time.Minute + 12*time.Second)
				require.GreaterOrEqual(t, s.count(), 2)
				require.Equal(t, "one", get(t, r))
				require.Contains(t, r.Status().LastError, tt.report)
				require.NotContains(t, r.Status().LastError, "tenant")
				s.set(says("three"))
				time.Sleep(time.Minute)
				require.Equal(t, "three", get(t, r), "and the background goes on")
				require.Empty(t, r.Status().LastError)
			})
		})
	}
}

func TestAnOutageIsAskedAboutEverySoOften(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, s := start(t, nil)
		get(t, r)
		s.set(fails)
		time.Sleep(15*time.Minute + grain)
		before := s.count()
		time.Sleep(time.Hour)
		require.InDelta(t, 110, s.count()-before, 15, "every 30 to 34 s, when the backoff is at its end")
	})
}

func TestStaleAnswersServeUpToTheLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, s := start(t, func(c *remote.Config[string]) { c.MaxStale = 2 * time.Hour })
		get(t, r)
		s.set(fails)
		time.Sleep(2 * time.Hour)
		require.Equal(t, "one", get(t, r))
		require.False(t, r.Status().Stale)
		time.Sleep(time.Second)
		_, err := r.Get(t.Context())
		unavailable := requireUnavailable(t, err)
		require.ErrorContains(t, err, "connection refused")
		require.Positive(t, unavailable.RetryAfter())
		require.LessOrEqual(t, unavailable.RetryAfter(), 34*time.Second)
		require.Nil(t, r.Peek())
		require.True(t, r.Status().Stale)
		s.set(says("two"))
		time.Sleep(35 * time.Second)
		require.Equal(t, "two", get(t, r))
	})
}

func requireUnavailable(t *testing.T, err error) *remote.UnavailableError {
	t.Helper()
	unavailable, ok := errors.AsType[*remote.UnavailableError](err)
	require.True(t, ok, "%v", err)
	return unavailable
}

func TestDownAtTheStartThenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, s := start(t, nil)
		s.set(fails)
		require.Error(t, r.Prefetch(t.Context()))
		for range 1000 {
			_, err := r.Get(t.Context())
			require.ErrorContains(t, err, "connection refused")
			retry := requireUnavailable(t, err).RetryAfter()
			require.True(t, 5*time.Second <= retry && retry <= 5625*time.Millisecond, "%v", retry)
		}
		require.Equal(t, 1, s.count(), "the wait holds without data too")
		s.set(says("one"))
		_, err := r.Get(t.Context())
		require.Error(t, err)
		time.Sleep(6 * time.Second)
		require.Equal(t, "one", get(t, r))
		require.NoError(t, r.Prefetch(t.Context()))
		require.Equal(t, 2, s.count())
	})
}

func TestTheWaitAfterFailuresDoublesUpToTheCooldown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, s := start(t, nil)
		s.set(fails)
		for i, want := range []time.Duration{5, 10, 20, 30, 30, 30} {
			_, err := r.Get(t.Context())
			retry := requireUnavailable(t, err).RetryAfter()
			least := want * time.Second
			require.True(t, least <= retry && retry <= least+least/8, "attempt %d: %v", i, retry)
			time.Sleep(retry - time.Nanosecond)
			_, err = r.Get(t.Context())
			require.Error(t, err)
			require.Equal(t, i+1, s.count())
			time.Sleep(time.Nanosecond)
		}
	})
}

func TestOneFlightForAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, s := start(t, nil)
		s.set(slowly(time.Second, says("one")))
		var wg sync.WaitGroup
		for range 200 {
			wg.Go(func() { require.Equal(t, "one", get(t, r)) })
		}
		wg.Wait()
		require.Equal(t, 1, s.count())
	})
}

func TestACallerThatLeavesTakesNothingAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, s := start(t, nil)
		s.set(slowly(5*time.Second, says("one")))
		gone := errors.New("client gone")
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(time.Second, func() { cancel(gone) })
		began := time.Now()
		_, err := r.Get(ctx)
		require.ErrorIs(t, err, gone)
		require.Zero(t, requireUnavailable(t, err).RetryAfter())
		require.Equal(t, time.Second, time.Since(began))
		require.Equal(t, "one", get(t, r))
		require.Equal(t, 1, s.count())
	})
}

func TestASlowRefreshDelaysNobodyWhoHasData(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, s := start(t, nil)
		seen, err := r.Get(t.Context())
		require.NoError(t, err)
		s.set(slowly(9*time.Second, says("two")))
		go r.Renew(t.Context(), seen)
		synctest.Wait()
		require.Equal(t, 2, s.count())
		began := time.Now()
		require.Equal(t, "one", get(t, r))
		require.NoError(t, r.Prefetch(t.Context()))
		require.Zero(t, time.Since(began))
	})
}

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
	t.Run("all of them", func(t *testing.T) {
		r, s := start(t, func(c *remote.Config[string]) {
			c.Locate = remote.At("https://issuer.example/first", "https://issuer.example/second")
		})
		s.set(status(404, ""))
		_, err := r.Get(t.Context())
		require.ErrorContains(t, err, "https://issuer.example/second: status 404")
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
		require.ErrorContains(t, r.Prefetch(t.Context()), "panic: lost")
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

func TestStatusTellsNoSecret(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, s := start(t, nil)
		require.Zero(t, r.Status())
		get(t, r)
		now := time.Now()
		require.Equal(t, remote.Status{
			URL: "https://issuer.example/doc", FetchedAt: now, LastAttempt: now, NextRefresh: now.Add(15 * time.Minute),
		}, r.Status())
		time.Sleep(time.Minute)
		s.set(fails)
		_, err := r.Renew(t.Context(), r.Peek())
		require.Error(t, err)
		st := r.Status()
		require.Equal(t, now, st.FetchedAt)
		require.Equal(t, time.Now(), st.LastAttempt)
		require.Equal(t, "remote: https://issuer.example/doc: connection refused", st.LastError)
		require.True(t, st.NextAttempt.After(time.Now()))
	})
}

func TestClose(t *testing.T) {
	t.Run("ends the background, and the last answer serves on", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) { // fails if a goroutine of the bubble remains
			r, s := start(t, nil)
			get(t, r)
			synctest.Wait()
			require.NoError(t, r.Close())
			require.NoError(t, r.Close())
			s.set(says("two"))
			time.Sleep(23 * time.Hour)
			require.Equal(t, "one", get(t, r))
			require.Equal(t, 1, s.count())
			_, err := r.Renew(t.Context(), r.Peek())
			require.ErrorContains(t, err, "closed")
			require.Zero(t, r.Status().NextRefresh)
			time.Sleep(2 * time.Hour)
			_, err = r.Get(t.Context())
			requireUnavailable(t, err)
			require.ErrorContains(t, err, "closed")
			require.Equal(t, 1, s.count())
		})
	})
	t.Run("before the first use", func(t *testing.T) {
		r, s := start(t, nil)
		require.NoError(t, r.Close())
		require.ErrorContains(t, r.Prefetch(t.Context()), "closed")
		require.Zero(t, s.count())
	})
	t.Run("during a flight", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			r, s := start(t, nil)
			s.set(slowly(9*time.Second, says("one")))
			result := make(chan error)
			go func() { result <- r.Prefetch(context.Background()) }()
			synctest.Wait()
			began := time.Now()
			require.NoError(t, r.Close())
			require.ErrorIs(t, <-result, context.Canceled)
			require.Zero(t, time.Since(began))
		})
	})
	t.Run("during a refresh in the background", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			r, s := start(t, nil)
			get(t, r)
			s.set(slowly(9*time.Second, says("two")))
			time.Sleep(15*time.Minute + grain)
			require.Equal(t, 2, s.count())
			require.NoError(t, r.Close())
			require.Equal(t, "one", get(t, r))
		})
	})
	t.Run("leaves no goroutine of a real client", func(t *testing.T) {
		srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "one") }))
		defer srv.Close()
		before := runtime.NumGoroutine()
		r, err := remote.New(remote.Config[string]{Locate: remote.At(srv.URL), Decode: text, AllowLoopbackHTTP: true})
		require.NoError(t, err)
		require.NoError(t, r.Prefetch(t.Context()))
		require.Greater(t, runtime.NumGoroutine(), before)
		require.NoError(t, r.Close())
		for range 500 {
			if runtime.NumGoroutine() <= before {
				return
			}
			time.Sleep(10 * time.Millisecond)
		}
		t.Fatalf("%d goroutines, %d before", runtime.NumGoroutine(), before)
	})
}

func TestConcurrentUse(t *testing.T) {
	r, s := start(t, func(c *remote.Config[string]) {
		c.Cooldown, c.FailureCooldown = time.Microsecond, time.Microsecond
	})
	var flying, most atomic.Int32
	s.set(func(r *http.Request) (*http.Response, error) {
		most.Store(max(most.Load(), flying.Add(1)))
		defer flying.Add(-1)
		if time.Now().UnixNano()%3 == 0 {
			return fails(r)
		}
		return says(time.Now().String())(r)
	})
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 200 {
				seen, _ := r.Get(t.Context())
				r.Renew(t.Context(), seen)
				r.Status()
				r.Peek()
			}
		})
	}
	wg.Go(func() { time.Sleep(20 * time.Millisecond); r.Close() })
	wg.Wait()
	require.EqualValues(t, 1, most.Load(), "never two requests at once")
}

func TestGetTakesNoMemory(t *testing.T) {
	r, _ := start(t, nil)
	get(t, r)
	ctx := t.Context()
	require.Zero(t, testing.AllocsPerRun(100, func() { r.Get(ctx) }))
}

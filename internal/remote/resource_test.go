package remote_test

import (
	"context"
	"errors"
	"net/http"
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
		{"panic in the transport", func(*http.Request) (*http.Response, error) { panic("oops") }, "panic: a value of type"},
		{"panic in Decode", says("panic"), "panic: a value of type"},
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

func TestALongCooldownIsNoLongOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, s := start(t, func(c *remote.Config[string]) { c.Cooldown = time.Hour })
		s.set(fails)
		for range 5 {
			_, err := r.Get(t.Context())
			time.Sleep(requireUnavailable(t, err).RetryAfter())
		}
		_, err := r.Get(t.Context())
		require.Less(t, requireUnavailable(t, err).RetryAfter(), 34*time.Second)
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

func TestASlowRefreshDelaysNoCallerThatHasData(t *testing.T) {
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

package remote_test

import (
	"context"
	"errors"
	"net/http"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/keybound-go/middleware/internal/remote"
)

// R14: a transport that ignores its context holds neither callers nor Close.
func TestR14ATransportThatIgnoresItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, s := start(t, nil)
		forever := make(chan struct{})
		defer close(forever)
		s.set(func(*http.Request) (*http.Response, error) {
			<-forever
			return nil, http.ErrServerClosed
		})
		for range 4 {
			began := time.Now()
			require.ErrorIs(t, r.Prefetch(context.Background()), context.DeadlineExceeded)
			require.Equal(t, 10*time.Second, time.Since(began), "the time of one attempt")
			time.Sleep(time.Minute)
		}
		goroutines := runtime.NumGoroutine()
		for range 10 {
			require.ErrorContains(t, r.Prefetch(context.Background()), "does not end its requests")
			time.Sleep(time.Minute)
		}
		require.Equal(t, 4, s.count(), "no more than a few go astray")
		require.LessOrEqual(t, runtime.NumGoroutine(), goroutines)

		began := time.Now()
		require.NoError(t, r.Close())
		require.Zero(t, time.Since(began))
	})
}

func TestR14ABodyThatIgnoresItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, s := start(t, nil)
		forever := make(chan struct{})
		defer close(forever)
		s.set(func(req *http.Request) (*http.Response, error) {
			return &http.Response{StatusCode: 200, Header: http.Header{}, Body: deafBody(forever), Request: req}, nil
		})
		go func() { _ = r.Prefetch(context.Background()) }()
		synctest.Wait()
		began := time.Now()
		require.NoError(t, r.Close())
		require.Zero(t, time.Since(began))
	})
}

type deafBody chan struct{}

func (b deafBody) Read([]byte) (int, error) { <-b; return 0, errors.New("late") }
func (b deafBody) Close() error             { return nil }

func TestWithin(t *testing.T) {
	leash := remote.NewLeash(1)
	n, err := remote.Within(t.Context(), leash, func() (int, error) { return 1, errors.New("mine") })
	require.Equal(t, 1, n)
	require.EqualError(t, err, "mine")
	_, err = remote.Within(t.Context(), leash, func() (int, error) { runtime.Goexit(); return 0, nil })
	require.ErrorContains(t, err, "without a result")
	t.Run("R10 a panic does not show its value", func(t *testing.T) {
		_, err = remote.Within(t.Context(), leash, func() (int, error) { panic("hunter2") })
		require.EqualError(t, err, "remote: panic: a value of type string")
		_, err = remote.Within(t.Context(), leash, func() (int, error) { panic(errors.New("hunter2")) })
		require.NotContains(t, err.Error(), "hunter2")
		_, err = remote.Within(t.Context(), leash, func() (int, error) { var none []int; return none[len(none)], nil })
		require.ErrorContains(t, err, "index out of range")
	})
	t.Run("one that comes back late makes room", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			leash, back := remote.NewLeash(1), make(chan struct{})
			ctx, cancel := context.WithCancelCause(t.Context())
			cancel(errors.New("gone"))
			wait := func() (int, error) { <-back; return 0, nil }
			_, err := remote.Within(ctx, leash, wait)
			require.EqualError(t, err, "gone")
			_, err = remote.Within(t.Context(), leash, wait)
			require.ErrorContains(t, err, "does not end its requests")
			close(back)
			synctest.Wait()
			_, err = remote.Within(t.Context(), leash, wait)
			require.NoError(t, err)
		})
	})
}

func TestAnObserverHearsOfTheFirstFailureAndOfTheRecovery(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var heard []remote.Change
		remote.Observe(func(c remote.Change) { heard = append(heard, c) })
		defer remote.Observe(nil)
		r, s := start(t, nil)
		get(t, r)
		fetched := r.Status().FetchedAt
		synctest.Wait()
		require.Empty(t, heard, "a first success is no news")
		s.set(fails)
		time.Sleep(2 * time.Hour)
		synctest.Wait()
		require.Greater(t, s.count(), 10)
		require.Len(t, heard, 1, "one failure after the other is one")
		require.Equal(t, "https://issuer.example/doc", heard[0].URL, "without the query")
		require.ErrorContains(t, heard[0].Err, "connection refused")
		require.True(t, heard[0].Background)
		require.Equal(t, fetched, heard[0].LastGood)
		s.set(says("two"))
		time.Sleep(2 * time.Hour)
		synctest.Wait()
		require.Len(t, heard, 2)
		require.NoError(t, heard[1].Err)
		s.set(fails)
		time.Sleep(2 * time.Hour)
		synctest.Wait()
		require.Len(t, heard, 3, "the next outage is news again")
		require.NoError(t, r.Close())
		require.Len(t, heard, 3)
	})
	synctest.Test(t, func(t *testing.T) {
		var heard []remote.Change
		remote.Observe(func(c remote.Change) { heard = append(heard, c) })
		defer remote.Observe(nil)
		r, s := start(t, nil)
		s.set(fails)
		require.Error(t, r.Prefetch(t.Context()))
		synctest.Wait()
		require.Len(t, heard, 1, "the very first attempt")
		require.False(t, heard[0].Background)
		require.Zero(t, heard[0].LastGood)
	})
}

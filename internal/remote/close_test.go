package remote_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/keybound-go/middleware/internal/remote"
)

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
	t.Run("waits for what does not look at its context", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			r, _ := start(t, func(c *remote.Config[string]) {
				c.Decode = func(body []byte, h http.Header) (string, error) {
					time.Sleep(3 * time.Second)
					return text(body, h)
				}
			})
			go func() { _ = r.Prefetch(context.Background()) }()
			synctest.Wait()
			began := time.Now()
			require.NoError(t, r.Close())
			require.Equal(t, 3*time.Second, time.Since(began))
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

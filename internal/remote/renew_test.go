package remote_test

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/keybound-go/middleware/internal/remote"
)

func TestRenew(t *testing.T) {
	const cooldown = 30 * time.Second
	renew := func(t *testing.T, r *remote.Resource[string]) *remote.Snapshot[string] {
		t.Helper()
		s, err := r.Renew(t.Context(), r.Peek())
		require.NoError(t, err)
		return s
	}
	t.Run("one fetch per cooldown when there is nothing new", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			r, s := start(t, nil)
			get(t, r)
			for i := range 3 {
				for range 1000 {
					require.Equal(t, "one", renew(t, r).Value)
				}
				require.Equal(t, 2+i, s.count())
				time.Sleep(cooldown)
			}
		})
	})
	t.Run("two changes within the cooldown are both found", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			r, s := start(t, nil)
			get(t, r)
			for _, body := range []string{"two", "three"} {
				s.set(says(body))
				require.Equal(t, body, renew(t, r).Value)
			}
		})
	})
	t.Run("an issuer that always says something else is not asked without end", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			r, s := start(t, nil)
			n := 0
			s.set(func(r *http.Request) (*http.Response, error) { n++; return says(fmt.Sprint(n))(r) })
			get(t, r)
			for range 1000 {
				renew(t, r)
			}
			require.Equal(t, 5, s.count())
			time.Sleep(cooldown)
			for range 1000 {
				renew(t, r)
			}
			require.Equal(t, 9, s.count())
		})
	})
	t.Run("changes that are far apart do not add up", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			r, s := start(t, nil)
			get(t, r)
			for k := range 3 {
				time.Sleep(cooldown)
				s.set(says(fmt.Sprint("apart ", k)))
				renew(t, r)
			}
			time.Sleep(cooldown)
			for k := range 4 {
				s.set(says(fmt.Sprint("in a row ", k)))
				require.Equal(t, fmt.Sprint("in a row ", k), renew(t, r).Value)
			}
		})
	})
	t.Run("what means the same is nothing new, and the older value stays", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			r, s := start(t, func(c *remote.Config[string]) { c.Same = strings.EqualFold })
			get(t, r)
			first := r.Peek()
			s.set(says("ONE"))
			time.Sleep(time.Minute)
			second := renew(t, r)
			require.Equal(t, "one", second.Value)
			require.Equal(t, time.Minute, second.FetchedAt.Sub(first.FetchedAt))
			for range 100 {
				renew(t, r)
			}
			require.Equal(t, 2, s.count())
		})
	})
	t.Run("another caller's renewal counts", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			r, s := start(t, nil)
			get(t, r)
			seen := r.Peek()
			s.set(says("two"))
			renew(t, r)
			newer, err := r.Renew(t.Context(), seen)
			require.NoError(t, err)
			require.Equal(t, "two", newer.Value)
			require.Equal(t, 2, s.count())
		})
	})
	t.Run("a thousand at once are one flight", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			r, s := start(t, nil)
			get(t, r)
			s.set(slowly(time.Second, says("two")))
			var wg sync.WaitGroup
			for range 1000 {
				wg.Go(func() { require.Equal(t, "two", renew(t, r).Value) })
			}
			wg.Wait()
			require.Equal(t, 2, s.count())
		})
	})
	t.Run("a failure is reported, and the wait after it holds", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			r, s := start(t, nil)
			get(t, r)
			s.set(fails)
			for range 100 {
				_, err := r.Renew(t.Context(), r.Peek())
				require.Positive(t, requireUnavailable(t, err).RetryAfter())
				require.Equal(t, "one", get(t, r))
			}
			require.Equal(t, 2, s.count())
			s.set(says("two"))
			time.Sleep(6 * time.Second)
			require.Equal(t, "two", renew(t, r).Value)
		})
	})
	t.Run("without anything seen it is a Get", func(t *testing.T) {
		r, s := start(t, nil)
		newer, err := r.Renew(t.Context(), nil)
		require.NoError(t, err)
		require.Equal(t, "one", newer.Value)
		require.Equal(t, 1, s.count())
	})
}

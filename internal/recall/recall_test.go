package recall_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/keybound-go/middleware/internal/recall"
)

func key(parts ...any) [32]byte { return sha256.Sum256(fmt.Append(nil, parts...)) }

var never = time.Now().Add(time.Hour)

func TestAMemoryHoldsItsBound(t *testing.T) {
	for _, size := range []int{1, 2, 255, 256, 257, 1000, 10_000} {
		m := recall.NewMemory[int](size)
		for n := range 2 * size {
			m.Set(key(n), recall.OwnerOf(fmt.Sprint(n%7), ""), never, n)
			require.LessOrEqual(t, m.Len(), size)
		}
		require.GreaterOrEqual(t, m.Len(), size*9/10)
	}
}

func TestAMemoryRemembersWhatWasSetLast(t *testing.T) {
	m := recall.NewMemory[int](1000)
	model := map[[32]byte]int{}
	owners := []recall.Owner{recall.OwnerOf("a", ""), recall.OwnerOf("b", "1"), {}}
	for n := range 20_000 {
		k := key(rand.IntN(300)) // all of them fit
		switch rand.IntN(3) {
		case 0:
			m.Set(k, owners[rand.IntN(3)], never, n)
			model[k] = n
		case 1:
			m.Delete(k)
			delete(model, k)
		default:
			v, ok := m.Get(k)
			want, known := model[k]
			require.Equal(t, known, ok)
			require.Equal(t, want, v)
		}
	}
	require.Equal(t, len(model), m.Len())
	held := 0
	for _, by := range owners {
		held += m.Held(by)
	}
	require.Equal(t, len(model), held, "what is counted by owner is what there is")
}

func TestAFullMemoryForgetsWhatWasNotUsed(t *testing.T) {
	m := recall.NewMemory[int](200)
	for n := range 100 {
		m.Set(key("used", n), recall.OwnerOf(fmt.Sprint("used", n), ""), never, n)
	}
	for n := range 1000 {
		m.Set(key("new", n), recall.OwnerOf(fmt.Sprint(n), ""), never, n)
		for n := range 100 {
			m.Get(key("used", n))
		}
	}
	kept := 0
	for n := range 100 {
		if _, ok := m.Get(key("used", n)); ok {
			kept++
		}
	}
	require.GreaterOrEqual(t, kept, 95)
}

func TestAFullMemoryForgetsFirstWhatIsOver(t *testing.T) {
	m := recall.NewMemory[int](200)
	for n := range 200 {
		until := never
		if n%2 == 0 {
			until = time.Now()
		}
		m.Set(key(n), recall.OwnerOf(fmt.Sprint(n), ""), until, n)
	}
	for n := range 90 {
		m.Set(key("new", n), recall.OwnerOf(fmt.Sprint("new", n), ""), never, n)
	}
	kept := 0
	for n := 1; n < 200; n += 2 {
		if _, ok := m.Get(key(n)); ok {
			kept++
		}
	}
	require.GreaterOrEqual(t, kept, 90)
}

func TestAClientWithManySubjectsDisplacesItsOwn(t *testing.T) {
	m := recall.NewMemory[int](1000)
	for n := range 200 {
		m.Set(key("victim", n), recall.OwnerOf(fmt.Sprint("victim", n), "s"), never, n)
	}
	for n := range 10_000 {
		m.Set(key(n), recall.OwnerOf("attacker", fmt.Sprint(n)), never, n)
	}
	kept := 0
	for n := range 200 {
		if _, ok := m.Get(key("victim", n)); ok {
			kept++
		}
	}
	require.GreaterOrEqual(t, kept, 195, "R2")
}

func TestAnOwnerDisplacesWhatItHasJustMade(t *testing.T) {
	m := recall.NewMemory[int](1000)
	one := recall.OwnerOf("one", "")
	for n := range 10_000 {
		m.Set(key(n), one, never, n)
	}
	kept := 0
	for n := range 500 {
		if _, ok := m.Get(key(n)); ok {
			kept++
		}
	}
	require.GreaterOrEqual(t, kept, 490, "R2")
}

func TestLookingUpAllocatesNothing(t *testing.T) {
	m := recall.NewMemory[*int](1000)
	k := key("x")
	m.Set(k, recall.Owner{}, never, new(int))
	require.Zero(t, testing.AllocsPerRun(100, func() { m.Get(k) }))
}

func TestLanesTakeTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := recall.NewFlights[int]("room")
		lane := func(n int) recall.Lane {
			return recall.LaneOfCaller(netip.AddrFrom4([4]byte{192, 0, 2, byte(n)}))
		}
		var mu sync.Mutex
		var order []int
		var all sync.WaitGroup
		ask := func(by int, n int) {
			all.Go(func() {
				_, err := f.Do(t.Context(), key(by, n), recall.Question{Lane: lane(by)}, func(context.Context) (int, error) {
					mu.Lock()
					order = append(order, by)
					mu.Unlock()
					time.Sleep(100 * time.Millisecond)
					return 0, nil
				})
				if err != nil {
					t.Error(err)
				}
			})
		}
		for by := range 2 { // two that flood
			for n := range 1000 {
				ask(by, n)
			}
		}
		started := func() []int { // so far, in their order
			mu.Lock()
			defer mu.Unlock()
			return slices.Clone(order)
		}
		synctest.Wait()
		require.Len(t, started(), 160, "of all together")
		for by := 2; by < 5; by++ {
			for n := range 3 {
				ask(by, n)
			}
		}
		synctest.Wait()
		time.Sleep(150 * time.Millisecond)
		late := map[int]int{}
		for _, by := range started()[160:] {
			late[by]++
		}
		for by := 2; by < 5; by++ {
			require.Equal(t, 3, late[by], "the others are served within a turn")
		}
		all.Wait()
		require.Len(t, started(), 2009)
	})
}

func TestAWaiterThatGivesUpKeepsNoSlot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := recall.NewFlights[int]("room")
		slow := func(context.Context) (int, error) { time.Sleep(time.Second); return 1, nil }
		var all sync.WaitGroup
		for n := range 128 {
			all.Go(func() { _, _ = f.Do(t.Context(), key(n), recall.Question{}, slow) })
		}
		synctest.Wait()
		for n := range 500 {
			all.Go(func() {
				// Half of them give up in the very instant in which slots are released.
				ctx, cancel := context.WithTimeout(t.Context(), time.Duration(500+500*(n%2))*time.Millisecond)
				defer cancel()
				_, _ = f.Do(ctx, key("late", n), recall.Question{}, slow)
			})
		}
		all.Wait()
		time.Sleep(10 * time.Second)
		start := time.Now()
		for n := range 128 {
			all.Go(func() { _, _ = f.Do(t.Context(), key("then", n), recall.Question{}, slow) })
		}
		all.Wait()
		require.Equal(t, time.Second, time.Since(start))
	})
}

func TestRefusalsRememberTheReason(t *testing.T) {
	now := time.Now()
	r := recall.NewRefusals[error](16)
	reason := errors.New("a reason")
	r.Add(key(1), reason, now, time.Second)
	got, refused := r.Find(key(1), now.Add(time.Second-1))
	require.True(t, refused)
	require.Equal(t, reason, got)
	_, refused = r.Find(key(1), now.Add(time.Second))
	require.False(t, refused)
	_, refused = r.Find(key(2), now)
	require.False(t, refused)
	require.Equal(t, now, r.LastAsked(key(1)))
	require.Equal(t, 1, r.Len())
}

func BenchmarkMemory(b *testing.B) {
	m := recall.NewMemory[*int](10_000)
	keys := make([][32]byte, 10_000)
	for n := range keys {
		keys[n] = key(n)
		m.Set(keys[n], recall.OwnerOf(fmt.Sprint(n), ""), never, new(int))
	}
	b.Run("Get", func(b *testing.B) {
		for n := 0; b.Loop(); n++ {
			m.Get(keys[n%len(keys)])
		}
	})
	b.Run("Get/parallel, one key", func(b *testing.B) {
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				m.Get(keys[0])
			}
		})
	})
	b.Run("SHA-256 of a token", func(b *testing.B) {
		token := make([]byte, 900)
		for b.Loop() {
			sha256.Sum256(token)
		}
	})
}

// End cancels what is under way and waits for it; later questions are asked as before.
func TestEndEndsTheFlightsUnderWay(t *testing.T) {
	f := recall.NewFlights[int]("test")
	asked, ended := make(chan struct{}), make(chan error, 1)
	go func() {
		_, err := f.Do(context.Background(), [32]byte{1}, recall.Question{}, func(ctx context.Context) (int, error) {
			close(asked)
			<-ctx.Done()
			return 0, context.Cause(ctx)
		})
		ended <- err
	}()
	<-asked
	began := time.Now()
	f.End()
	f.End()
	require.Less(t, time.Since(began), 5*time.Second)
	require.ErrorContains(t, <-ended, "closed while the issuer was asked")
	n, err := f.Do(context.Background(), [32]byte{1}, recall.Question{}, func(context.Context) (int, error) { return 7, nil })
	require.NoError(t, err)
	require.Equal(t, 7, n)

	// What ignores its context is not waited for.
	deaf := make(chan struct{})
	asked = make(chan struct{})
	go func() {
		_, err := f.Do(context.Background(), [32]byte{2}, recall.Question{}, func(context.Context) (int, error) { close(asked); <-deaf; return 0, nil })
		ended <- err
	}()
	<-asked
	began = time.Now()
	f.End()
	require.Less(t, time.Since(began), 5*time.Second)
	close(deaf)
	<-ended
}

package dpoptest

import (
	"context"
	"crypto/rand"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/keybound-go/middleware/dpop"
)

// TestReplayCache finds out whether a [dpop.ReplayCache] keeps what the interface
// promises. newCache returns one that works; it is called for each subtest, and may
// return the same one, or one on a store that holds other proofs already. The test
// takes a few seconds of real time.
func TestReplayCache(t *testing.T, newCache func() dpop.ReplayCache) {
	t.Helper()
	for name, test := range map[string]func(*testing.T, dpop.ReplayCache){
		"a proof passes once":                            passesOnce,
		"every bit of the id counts":                     everyBit,
		"bytes of the id are not text":                   binaryIDs,
		"a later until does not make a proof fresh":      otherUntil,
		"another key does not make a proof fresh":        otherKey,
		"a proof is kept until its very end":             untilTheEnd,
		"of many at the same time exactly one is fresh":  oneOfMany,
		"many proofs of one key are all kept":            manyOfOneKey,
		"a canceled context does not make a proof fresh": canceled,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, newCache())
		})
	}
}

func randomID() (id [32]byte) {
	rand.Read(id[:])
	return id
}

func expectAdd(t *testing.T, c dpop.ReplayCache, jkt string, id [32]byte, until time.Time, want bool) {
	t.Helper()
	fresh, err := c.Add(t.Context(), jkt, id, until)
	if err != nil {
		t.Errorf("Add: unexpected error: %v", err)
	} else if fresh != want {
		t.Errorf("Add(%.8s..., %x..., in %v) says fresh = %t, want %t", jkt, id[:4], time.Until(until).Round(time.Millisecond), fresh, want)
	}
}

func passesOnce(t *testing.T, c dpop.ReplayCache) {
	jkt, id, until := rand.Text(), randomID(), time.Now().Add(time.Minute)
	expectAdd(t, c, jkt, id, until, true)
	expectAdd(t, c, jkt, id, until, false)
	expectAdd(t, c, jkt, id, until, false)
	expectAdd(t, c, jkt, randomID(), until, true)
}

func everyBit(t *testing.T, c dpop.ReplayCache) {
	jkt, id, until := rand.Text(), randomID(), time.Now().Add(time.Minute)
	expectAdd(t, c, jkt, id, until, true)
	// 128 bits are enough to tell proofs apart, so those are what must count.
	for bit := range 128 {
		other := id
		other[bit/8] ^= 1 << (bit % 8)
		expectAdd(t, c, jkt, other, until, true)
	}
	expectAdd(t, c, jkt, id, until, false)
}

func binaryIDs(t *testing.T, c dpop.ReplayCache) {
	jkt, until := rand.Text(), time.Now().Add(time.Minute)
	prefix := randomID()
	for b := range 256 {
		id := prefix
		id[8] = byte(b)
		expectAdd(t, c, jkt, id, until, true)
	}
	for b := range 256 {
		id := prefix
		id[8] = byte(b)
		expectAdd(t, c, jkt, id, until, false)
	}
}

func otherUntil(t *testing.T, c dpop.ReplayCache) {
	jkt, id, now := rand.Text(), randomID(), time.Now()
	expectAdd(t, c, jkt, id, now.Add(time.Minute), true)
	expectAdd(t, c, jkt, id, now.Add(2*time.Minute), false)
	expectAdd(t, c, jkt, id, now.Add(10*time.Second), false)
}

func otherKey(t *testing.T, c dpop.ReplayCache) {
	id, until := randomID(), time.Now().Add(time.Minute)
	expectAdd(t, c, rand.Text(), id, until, true)
	expectAdd(t, c, rand.Text(), id, until, false)
}

// untilTheEnd finds times that are cut to seconds or milliseconds.
func untilTheEnd(t *testing.T, c dpop.ReplayCache) {
	for _, life := range []time.Duration{300 * time.Millisecond, 1700 * time.Millisecond} {
		jkt, id, until := rand.Text(), randomID(), time.Now().Add(life)
		expectAdd(t, c, jkt, id, until, true)
		time.Sleep(time.Until(until) - 100*time.Millisecond)
		fresh, err := c.Add(t.Context(), jkt, id, until)
		switch {
		case time.Now().After(until):
			t.Logf("too slow to see the end of a life of %v", life)
		case err != nil:
			t.Errorf("Add: unexpected error: %v", err)
		case fresh:
			t.Errorf("a proof with a life of %v was forgotten before its end", life)
		}
	}
}

func oneOfMany(t *testing.T, c dpop.ReplayCache) {
	jkt, until := rand.Text(), time.Now().Add(time.Minute)
	for range 20 {
		id := randomID()
		var wg sync.WaitGroup
		var fresh atomic.Int32
		start := make(chan struct{})
		for range 100 {
			wg.Go(func() {
				<-start
				if ok, err := c.Add(t.Context(), jkt, id, until); err != nil {
					t.Errorf("Add: unexpected error: %v", err)
				} else if ok {
					fresh.Add(1)
				}
			})
		}
		close(start)
		wg.Wait()
		if n := fresh.Load(); n != 1 {
			t.Errorf("%d of 100 goroutines were told that the same proof is fresh, want exactly 1", n)
		}
	}
}

func manyOfOneKey(t *testing.T, c dpop.ReplayCache) {
	jkt, until := rand.Text(), time.Now().Add(time.Minute)
	ids := make([][32]byte, 2000)
	for i := range ids {
		ids[i] = randomID()
		expectAdd(t, c, jkt, ids[i], until, true)
	}
	for _, id := range ids {
		expectAdd(t, c, jkt, id, until, false)
	}
}

func canceled(t *testing.T, c dpop.ReplayCache) {
	jkt, id, until := rand.Text(), randomID(), time.Now().Add(time.Minute)
	expectAdd(t, c, jkt, id, until, true)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if fresh, err := c.Add(ctx, jkt, id, until); fresh && err == nil {
		t.Error("with a canceled context, a used proof is fresh again")
	}
}

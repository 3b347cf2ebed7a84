package replayset

import (
	"hash/maphash"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// What only a clock that is set back, or a knowledge of the seed, could bring about.

func TestAClockThatIsSetBackMakesNothingFresh(t *testing.T) {
	c := New(1000)
	now := time.Now()
	c.dropped.Store(now.Add(time.Hour).Unix())
	_, err := c.Add("k", [32]byte{1}, now.Add(time.Minute))
	require.ErrorIs(t, err, ErrPast)
	fresh, err := c.Add("k", [32]byte{1}, now.Add(time.Hour+time.Minute))
	require.NoError(t, err)
	require.True(t, fresh)
}

func TestWhatIsForgottenStaysForgottenWhenTheClockIsSetBack(t *testing.T) {
	c := New(1000)
	now := time.Now().Round(0)
	first := c.rotated(now, now.Unix()+100).end
	later := now.Add(200 * time.Second)
	c.rotated(later, later.Unix()+50)
	require.Equal(t, first, c.dropped.Load())
	// Buckets of an earlier time come and go.
	for range 2 {
		now = now.Add(-1000 * time.Second)
		c.rotated(now, now.Unix()+10)
		c.rotated(now.Add(20*time.Second), now.Unix()+30)
		require.Equal(t, first, c.dropped.Load())
	}
}

// DPOP-11.1-03, DPOP-11.1-06: the trace by which internal/model's replay finds the fault
// NOPAST. Two requests with one proof pass their checks; the wall clock is set forward;
// one is recorded; another proof comes, and the bucket is given up; the second request
// asks. The faulty set forgets which times it has given up.
func TestTheTraceOfASetThatDoesNotKnowWhatItGaveUp(t *testing.T) {
	for _, faulty := range []bool{false, true} {
		s := New(1000)
		now := time.Now()
		until := now.Add(7 * time.Second)
		fresh, err := s.Add("k", [32]byte{1}, until)
		require.NoError(t, err)
		require.True(t, fresh)
		later := now.Add(20 * time.Second)
		s.rotated(later, later.Unix()+50)
		require.NotZero(t, s.dropped.Load())
		if faulty {
			for i := range s.shards {
				s.shards[i].drop(s.dropped.Load())
			}
			s.dropped.Store(0)
		}
		fresh, err = s.Add("k", [32]byte{1}, until)
		if faulty {
			require.True(t, fresh, "or the trace shows nothing")
			continue
		}
		require.ErrorIs(t, err, ErrPast)
		require.False(t, fresh)
	}
}

func TestAClockThatJumpsForwardMakesNothingForgotten(t *testing.T) {
	now := time.Now()
	end := now.Add(time.Minute)
	b := bucket{end: end.Unix(), deadline: end}
	require.False(t, b.expired(now))
	require.False(t, b.expired(now.Round(0).Add(-time.Hour)), "neither clock")
	require.True(t, b.expired(end.Add(time.Second)))

	wallOnly := bucket{end: now.Add(-time.Minute).Unix(), deadline: now.Add(time.Minute)}
	require.False(t, wallOnly.expired(now), "only the wall clock says so")
	monotonicOnly := bucket{end: now.Add(time.Minute).Unix(), deadline: now.Add(-time.Minute)}
	require.False(t, monotonicOnly.expired(now), "only the monotonic clock says so")
}

func TestTheEndsOfBuckets(t *testing.T) {
	start := time.Unix(1_700_000_000, 123456789)
	for ahead := time.Duration(0); ahead <= maxAhead; ahead += 777 * time.Millisecond * (1 + ahead/time.Minute) {
		until := start.Add(ahead)
		end := time.Unix(bucketEnd(until, ahead), 0)
		require.True(t, end.After(until), "%v: a proof stays up to its end", ahead)
		require.LessOrEqual(t, end.Sub(until), max(time.Second, ahead/4), "%v: and not much longer", ahead)
	}
}

func TestATableWithAForeseeableHash(t *testing.T) {
	seed, table := maphash.MakeSeed(), newTable(0)
	ids := map[digest]uint64{}
	for i := 1; len(ids) < 20_000; i++ {
		d := digest{byte(i), byte(i >> 8), byte(i >> 16)}
		ids[d] = maphash.Bytes(seed, d[:])
	}
	for d, hash := range ids {
		require.False(t, table.contains(hash, &d))
		require.True(t, table.add(seed, hash, &d))
	}
	for d, hash := range ids {
		require.True(t, table.contains(hash, &d))
	}
	require.Less(t, len(table.pages), 4096)
	// All in one page, as if an attacker had chosen them.
	full := newTable(0)
	full.pages[0].depth = maxDepthOfPage
	added := 0
	for d := range ids {
		if !full.add(seed, 0, &d) {
			break
		}
		require.True(t, full.contains(0, &d))
		added++
	}
	require.Equal(t, pageSlots, added, "refused, not lost")
	zero := newDigest(&[32]byte{})
	require.NotEqual(t, digest{}, zero)
}

package mtlspop

import (
	"encoding/binary"
	"testing"

	"github.com/stretchr/testify/require"
)

// sumOf returns the i-th of many digests.
func sumOf(i int) (t thumbprint) {
	binary.BigEndian.PutUint64(t[:], uint64(i))
	return t
}

func TestRecentIsBoundedAndKeepsTheLast(t *testing.T) {
	var c recent[int]
	for range 2 {
		_, ok := c.get(sumOf(0))
		require.False(t, ok)
	}
	for i := range 10 * maxRecent {
		c.put(sumOf(i), i)
		require.LessOrEqual(t, len(c.young)+len(c.old), 2*maxRecent)
		oldest := max(0, i-maxRecent+1)
		for _, j := range []int{i, oldest} {
			v, known := c.young[sumOf(j)]
			if !known {
				v, known = c.old[sumOf(j)]
			}
			require.True(t, known)
			require.Equal(t, j, v)
		}
	}
}

func TestRecentKeepsWhatIsUsed(t *testing.T) {
	var c recent[int]
	c.put(sumOf(0), 1)
	for i := range 10 * maxRecent {
		c.put(sumOf(i+1), 0)
		v, ok := c.get(sumOf(0))
		require.True(t, ok)
		require.Equal(t, 1, v)
	}
}

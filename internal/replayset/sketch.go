package replayset

import "sync/atomic"

const (
	sketchRows = 4
	sketchBits = 10
)

// sketch counts proofs by key in a fixed space (a count-min sketch): each row
// spreads the keys over its cells in another way, and a cell counts the proofs of
// all of its keys. No count is too low. It is too high only for a key that meets a
// busy one in every row, and no client can aim at that, since the hash is secret.
type sketch [sketchRows][1 << sketchBits]atomic.Uint32

// cell returns where the key with that hash is in a row.
func cell(key uint64, row int) uint64 {
	return key >> (row * sketchBits) & (1<<sketchBits - 1)
}

func (s *sketch) add(key uint64, delta uint32) {
	for row := range s {
		s[row][cell(key, row)].Add(delta)
	}
}

// share returns how many proofs a key has in all of the buckets, or more.
func share(live []*bucket, key uint64) int64 {
	least := int64(1) << 62
	for row := range sketchRows {
		sum := int64(0)
		for _, b := range live {
			sum += int64(b.sketch[row][cell(key, row)].Load())
		}
		least = min(least, sum)
	}
	return least
}

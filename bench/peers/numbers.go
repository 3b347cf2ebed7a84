package main

import (
	"cmp"
	"slices"
	"time"
)

// median of an odd number of values; of an even number, the lower of the two in the
// middle. Zero of none.
func median[T cmp.Ordered](values []T) T {
	if len(values) == 0 {
		var zero T
		return zero
	}
	sorted := slices.Sorted(slices.Values(values))
	return sorted[(len(sorted)-1)/2]
}

// percentile is the smallest value that p of a hundred do not exceed.
func percentile(values []time.Duration, p int) time.Duration {
	if len(values) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(values))
	return sorted[min((len(sorted)*p+99)/100, len(sorted))-1]
}

// settling watches a cost that falls. The zero value has seen none.
type settling struct {
	best  time.Duration
	since int // looks without a better one
}

// settled takes the next cost, and says whether three in a row were no more than 3 %
// below the best before them.
func (s *settling) settled(cost time.Duration) bool {
	s.since++
	if s.best == 0 || cost < s.best*97/100 {
		s.since = 0
	}
	if s.best == 0 || cost < s.best {
		s.best = cost
	}
	return s.since >= 3
}

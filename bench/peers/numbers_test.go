package main

import (
	"testing"
	"time"
)

func TestMedian(t *testing.T) {
	for _, c := range []struct {
		values []int
		want   int
	}{{nil, 0}, {[]int{7}, 7}, {[]int{9, 1}, 1}, {[]int{9, 1, 5}, 5}, {[]int{4, 3, 2, 1}, 2}, {[]int{100, 2, 3, 2, 1}, 2}} {
		before := append([]int(nil), c.values...)
		if got := median(c.values); got != c.want {
			t.Errorf("%v: %d, want %d", c.values, got, c.want)
		}
		for i, v := range before {
			if c.values[i] != v {
				t.Errorf("%v was sorted in place", before)
			}
		}
	}
}

func TestPercentile(t *testing.T) {
	hundred := make([]time.Duration, 100)
	for i := range hundred {
		hundred[i] = time.Duration(100 - i) // 100 to 1
	}
	for p, want := range map[int]time.Duration{1: 1, 50: 50, 99: 99, 100: 100} {
		if got := percentile(hundred, p); got != want {
			t.Errorf("p%d: %d, want %d", p, got, want)
		}
	}
	if got := percentile([]time.Duration{3, 1, 2}, 99); got != 3 {
		t.Errorf("p99 of three: %d", got)
	}
	if got := percentile(nil, 99); got != 0 {
		t.Errorf("p99 of none: %d", got)
	}
}

func TestSettling(t *testing.T) {
	for _, c := range []struct {
		costs []time.Duration
		want  int // looks until it has settled, 0 for never
	}{
		{[]time.Duration{100, 100, 100, 100, 100}, 4},
		{[]time.Duration{100, 120, 110, 130}, 4},
		{[]time.Duration{100, 90, 80, 70, 60, 50}, 0},
		{[]time.Duration{1000, 900, 890, 880, 700, 695, 690, 691, 600}, 8},
		{[]time.Duration{100, 98, 96, 97}, 4}, // little by little is no fall
		{[]time.Duration{100, 100, 100}, 0},
	} {
		var s settling
		got := 0
		for i, cost := range c.costs {
			if s.settled(cost) {
				got = i + 1
				break
			}
		}
		if got != c.want {
			t.Errorf("%v: settled at %d, want %d", c.costs, got, c.want)
		}
	}
}

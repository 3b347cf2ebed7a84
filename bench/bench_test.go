package bench

import (
	"flag"
	"strconv"
	"testing"
)

var full = flag.Bool("full", false, "also the sizes that take long to set up")

// report runs rounds until the benchmark has enough of them, and reports what
// one run costs instead of one round.
func report(b *testing.B, subject Work, batch int) {
	b.Helper()
	cost, err := Compare(RawVerification(), subject, max(b.N/batch, 1), batch)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64(cost.Time.Nanoseconds()), "ns/op")
	b.ReportMetric(cost.Ratio, "x-raw")
	b.ReportMetric(cost.Allocs, "allocs/op")
	b.ReportMetric(cost.Bytes, "B/op")
}

func BenchmarkContenders(b *testing.B) {
	w := NewWorld(b)
	contenders := Contenders(b, w)
	for _, p := range paths {
		for _, c := range contenders {
			b.Run(string(p)+"/token-seen/"+c.Name(), func(b *testing.B) { report(b, Deciding(c, p, w.Seen(p)), 8) })
			b.Run(string(p)+"/token-new/"+c.Name(), func(b *testing.B) { report(b, Deciding(c, p, w.New(p)), 8) })
		}
	}
}

func BenchmarkGrowth(b *testing.B) {
	for _, d := range Dimensions() {
		sizes := d.Sizes
		if *full && d.Full > 0 {
			sizes = append(sizes, d.Full)
		}
		for _, size := range sizes {
			b.Run(d.Name+"/"+strconv.Itoa(size), func(b *testing.B) {
				subject := d.Make(b, size)
				b.ResetTimer()
				report(b, subject, 8)
			})
		}
	}
}

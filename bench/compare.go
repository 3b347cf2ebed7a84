package bench

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"runtime"
	"slices"
	"time"
)

// Work is something to measure: Prepare makes ready for n runs, outside of what
// is measured, and Run is called with 0 to n-1 then. Prepare may be nil.
type Work struct {
	Prepare func(n int)
	Run     func(i int) error
}

// Cost is what one run takes.
type Cost struct {
	Ratio  float64       // the time by that of the baseline
	Time   time.Duration // of one run
	Allocs float64       // objects
	Bytes  float64       // allocated
}

// Compare measures subject and baseline by turns, in rounds of batch runs each,
// so that both see the same machine. Of either it takes the fastest decile of the
// rounds, since on a busy machine the slower ones have waited for other processes.
// The first error of either ends it.
func Compare(baseline, subject Work, rounds, batch int) (Cost, error) {
	const baselineBatch = 8
	var times, baselines []time.Duration
	var allocs, bytes uint64
	for round := range rounds + 1 {
		one, err := timed(baseline, baselineBatch)
		if err != nil {
			return Cost{}, fmt.Errorf("bench: baseline: %w", err)
		}
		if subject.Prepare != nil {
			subject.Prepare(batch)
		}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		all, err := timed(Work{Run: subject.Run}, batch)
		runtime.ReadMemStats(&after)
		if err != nil {
			return Cost{}, fmt.Errorf("bench: subject: %w", err)
		}
		if round == 0 {
			continue // Caches fill, and keys are fetched.
		}
		baselines = append(baselines, one/baselineBatch)
		times = append(times, all/time.Duration(batch))
		allocs += after.Mallocs - before.Mallocs
		bytes += after.TotalAlloc - before.TotalAlloc
	}
	runs := float64(rounds * batch)
	one, each := decile(baselines), decile(times)
	return Cost{float64(each) / float64(one), each, float64(allocs) / runs, float64(bytes) / runs}, nil
}

func timed(w Work, n int) (time.Duration, error) {
	if w.Prepare != nil {
		w.Prepare(n)
	}
	begin := time.Now()
	for i := range n {
		if err := w.Run(i); err != nil {
			return 0, err
		}
	}
	return time.Since(begin), nil
}

func decile(values []time.Duration) time.Duration {
	slices.Sort(values)
	return values[len(values)/10]
}

// RawVerification is the unit: one signature of P-256, by crypto/ecdsa.
func RawVerification() Work {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic("bench: " + err.Error())
	}
	digest := sha256.Sum256([]byte("message"))
	signature, err := ecdsa.SignASN1(rand.Reader, key, digest[:])
	if err != nil {
		panic("bench: " + err.Error())
	}
	return Work{Run: func(int) error {
		if !ecdsa.VerifyASN1(&key.PublicKey, digest[:], signature) {
			return fmt.Errorf("refused")
		}
		return nil
	}}
}

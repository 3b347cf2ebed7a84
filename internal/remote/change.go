package remote

import (
	"sync/atomic"
	"time"
)

// A Change is what an operator has to know of a document without having asked: that
// it cannot be fetched any more, or that it can again.
type Change struct {
	URL        string    // without query; "" if it is not located
	Err        error     // the failure; nil if the document can be fetched again
	Background bool      // the attempt was the refresh, for which no request waits
	LastGood   time.Time // of the answer that serves on; zero if there is none
}

// observer hears of every Change of the process.
var observer atomic.Pointer[func(Change)]

// Observe has f told of the first failure after a success, or of the very first
// attempt, and of the first success after failures, of each document that this
// process keeps. f may be called concurrently; it holds no lock of this package, and
// the next attempt of the document does not wait for it. nil ends it. The last call
// counts: the hook is the process's, as the logger is that it is for.
func Observe(f func(Change)) {
	if f == nil {
		observer.Store(nil)
		return
	}
	observer.Store(&f)
}

func tell(c Change) {
	if f := observer.Load(); f != nil {
		(*f)(c)
	}
}

// changed returns the Change that an attempt makes, if it makes one. An attempt that
// Close has ended makes none.
//
// Precondition: r.mu is held, and r.last is the attempt before.
func (r *Resource[T]) changed(f *flight, where string, err error) (Change, bool) {
	if r.closed || (err == nil) == (r.last.err == nil) {
		return Change{}, false
	}
	c := Change{URL: where, Err: err, Background: f.purpose == refresh}
	if s := r.current.Load(); s != nil {
		c.LastGood = s.FetchedAt
	}
	return c, true
}

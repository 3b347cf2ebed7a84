package remote

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync/atomic"
)

// errDeaf is the failure of a call that was not made: too many before it have not
// come back.
var errDeaf = errors.New("remote: the HTTP client does not end its requests with their context")

// A Leash ends calls into code that may ignore its context, such as the transport of a
// client that a user has given. Its methods may be called concurrently.
type Leash struct {
	most   int32 // calls that may go on after they were given up
	astray atomic.Int32
}

// NewLeash returns a Leash that gives up no more than most calls at a time; the next
// one fails at once.
func NewLeash(most int) *Leash { return &Leash{most: int32(most)} }

// Within returns what f returns, or the cause of ctx when that has ended first. f then
// goes on in a goroutine of its own and nothing waits for it. A panic of f is an error.
func Within[T any](ctx context.Context, l *Leash, f func() (T, error)) (T, error) {
	type result struct {
		value T
		err   error
	}
	var none T
	if l.astray.Load() >= l.most {
		return none, errDeaf
	}
	done := make(chan result, 1)
	go func() {
		r := result{err: errAborted} // stays if f ends the goroutine
		defer func() {
			if p := recover(); p != nil {
				r = result{err: fmt.Errorf("remote: panic: %s", describe(p))}
			}
			done <- r
		}()
		r.value, r.err = f()
	}()
	select {
	case r := <-done:
		return r.value, r.err
	case <-ctx.Done():
	}
	l.astray.Add(1)
	go func() {
		<-done
		l.astray.Add(-1)
	}()
	return none, context.Cause(ctx)
}

// describe tells about a panic what cannot hold a secret: its type, or the text of the
// runtime.
func describe(p any) string {
	if err, ok := p.(runtime.Error); ok {
		return err.Error()
	}
	return fmt.Sprintf("a value of type %T", p)
}

package remote

import (
	"errors"
	"fmt"
	"net/http"
	"time"
)

// ErrTooLarge is the failure of an answer whose body is over the limit.
var ErrTooLarge = errors.New("remote: answer too large")

var (
	errClosed  = errors.New("remote: closed")
	errStale   = errors.New("remote: the last good answer is too old")
	errNowhere = errors.New("remote: located nowhere")
	errAborted = errors.New("remote: the attempt ended without a result")
)

// An UnavailableError says that there is no answer to give, and why.
type UnavailableError struct {
	cause      error
	retryAfter time.Duration
}

// Error is the cause's text.
func (e *UnavailableError) Error() string { return e.cause.Error() }

// Unwrap returns the cause: the failure of the last attempt, or of the
// caller's context.
func (e *UnavailableError) Unwrap() error { return e.cause }

// RetryAfter is the time until the next attempt may be made; 0 if not known.
func (e *UnavailableError) RetryAfter() time.Duration { return e.retryAfter }

// retryError is an error that knows when it is worth trying again.
type retryError interface {
	error
	RetryAfter() time.Duration
}

// A StatusError is an answer with a status other than 200.
type StatusError struct {
	Status int
	URL    string // without query
}

func (e *StatusError) Error() string {
	return fmt.Sprintf("remote: %s: status %d %s", e.URL, e.Status, http.StatusText(e.Status))
}

// elsewhere reports whether the status says that the document is not here, so
// that another URL may have it.
func (e *StatusError) elsewhere() bool {
	return e.Status >= 400 && e.Status < 500 &&
		e.Status != http.StatusRequestTimeout && e.Status != http.StatusTooManyRequests
}

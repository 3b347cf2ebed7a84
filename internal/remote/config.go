package remote

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"
)

// Defaults for the zero fields of a [Config].
const (
	defaultMaxBytes        = 1 << 20
	defaultTimeout         = 10 * time.Second
	defaultMinRefresh      = 5 * time.Minute
	defaultMaxRefresh      = time.Hour
	defaultCooldown        = 30 * time.Second
	defaultFailureCooldown = 5 * time.Second
	defaultMaxStale        = 24 * time.Hour
)

// A Config says what a [Resource] fetches and how often. A zero field means
// its default; Locate and Decode have none.
type Config[T any] struct {
	// Locate returns the URLs of the document, the preferred one first; the
	// next one is tried only if the one before answers with a 4xx status that
	// says "not here" (so not 408 or 429). It is called before each fetch,
	// never concurrently, with a context that ends with the attempt. If its
	// error has a method RetryAfter() time.Duration, the next attempt follows
	// after that time. See [At].
	Locate func(context.Context) ([]string, error)

	// Decode turns the body of a 200 answer into the value. It is never
	// called concurrently, owns body, and must not keep the header. An answer
	// without content must be an error: it would replace a good one.
	Decode func(body []byte, h http.Header) (T, error)

	// Same reports whether two values mean the same. If so, the older one
	// stays in use. Two answers with the same bytes are always the same.
	Same func(a, b T) bool

	Accept string       // the request's Accept field; default "application/json"
	Client *http.Client // default: one of [NewClient]; a copy of it gets the redirect rule of [Harden]

	MaxBytes int64         // largest body; default 1 MiB
	Timeout  time.Duration // for one attempt, locating included; default 10 s

	// The lifetime that the server states (Cache-Control max-age, Expires) is
	// honoured within these bounds. Defaults: 5 min and 1 h. Without a stated
	// lifetime: 15 min, within the same bounds.
	MinRefresh, MaxRefresh time.Duration

	// Cooldown is the least time between two renewals that brought nothing
	// new, default 30 s. FailureCooldown is the wait after a failure, default
	// 5 s, doubled with each further one, up to Cooldown or 30 s, whichever is
	// less.
	Cooldown, FailureCooldown time.Duration

	// MaxStale is how long the last good answer serves while no newer one can
	// be had, counted from when it was fetched; default 24 h.
	MaxStale time.Duration

	// AllowLoopbackHTTP permits http to loopback addresses, as [PlainFor] says.
	AllowLoopbackHTTP bool

	// Part names the document among what a request waits for; see package calls.
	Part string
}

// At is a Locate for URLs that are known beforehand.
func At(urls ...string) func(context.Context) ([]string, error) {
	return func(context.Context) ([]string, error) { return urls, nil }
}

// complete fills in the defaults, such that a bound that is set moves those that are not.
func (c *Config[T]) complete() {
	c.Accept = cmp.Or(c.Accept, "application/json")
	c.MaxBytes = cmp.Or(c.MaxBytes, defaultMaxBytes)
	c.Timeout = cmp.Or(c.Timeout, defaultTimeout)
	c.MinRefresh = cmp.Or(c.MinRefresh, min(defaultMinRefresh, cmp.Or(c.MaxRefresh, defaultMaxRefresh)))
	c.MaxRefresh = cmp.Or(c.MaxRefresh, max(defaultMaxRefresh, c.MinRefresh))
	c.Cooldown = cmp.Or(c.Cooldown, defaultCooldown)
	c.FailureCooldown = cmp.Or(c.FailureCooldown, defaultFailureCooldown)
	c.MaxStale = cmp.Or(c.MaxStale, max(defaultMaxStale, 2*c.MaxRefresh))
}

// validate reports everything that is wrong with a completed Config.
func (c *Config[T]) validate() error {
	var problems []error
	problem := func(is bool, format string, args ...any) {
		if is {
			problems = append(problems, fmt.Errorf("remote: "+format, args...))
		}
	}
	problem(c.Locate == nil, "no Locate")
	problem(c.Decode == nil, "no Decode")
	problem(c.MaxBytes < 0, "negative size limit %d", c.MaxBytes)
	problem(c.Timeout < 0, "negative time-out %v", c.Timeout)
	problem(c.MinRefresh < time.Second, "least refresh interval %v is under a second", c.MinRefresh)
	problem(c.MaxRefresh < c.MinRefresh, "refresh interval: most (%v) is less than least (%v)", c.MaxRefresh, c.MinRefresh)
	problem(c.Cooldown < 0, "negative cooldown %v", c.Cooldown)
	problem(c.FailureCooldown < 0, "negative cooldown after a failure %v", c.FailureCooldown)
	problem(c.MaxStale < c.MaxRefresh, "data is refused after %v, before it is refreshed (%v)", c.MaxStale, c.MaxRefresh)
	return errors.Join(problems...)
}

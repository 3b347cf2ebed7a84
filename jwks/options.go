package jwks

import (
	"net/http"
	"time"

	"github.com/keybound-go/middleware/internal/options"
	"github.com/keybound-go/middleware/internal/remote"
)

// Option is a setting of a [Source], made by one of this package's functions. Each
// may be given once.
type Option interface{ apply(*config) }

type option func(*config)

func (o option) apply(c *config) { o(c) }

// config is what the options add up to, and every mistake in them.
type config struct {
	*options.Set
	remote  remote.Config[*keySet]
	maxKeys int
}

func newConfig(opts []Option) *config {
	c := &config{Set: options.For("jwks"), maxKeys: defaultMaxKeys}
	options.Each(c.Set, opts, func(o Option) { o.apply(c) })
	return c
}

// positive is an option that sets durations, which must be more than zero.
func positive(name string, set func(*config), durations ...time.Duration) Option {
	return option(func(c *config) {
		if !c.Once(name) {
			return
		}
		for _, d := range durations {
			if d <= 0 {
				c.Problem("%s: %v is not more than zero", name, d)
				return
			}
		}
		set(c)
	})
}

// WithHTTPClient sets the client that fetches, for private roots or a proxy.
// TLS versions and the server check are then the client's. A copy of it is
// used, which follows redirects only within the same origin. The default client
// speaks TLS 1.2 or later, with time-outs. An attempt ends after 10 seconds in
// any case.
func WithHTTPClient(client *http.Client) Option {
	return option(func(c *config) {
		if options.Value(c.Set, "WithHTTPClient", client) {
			c.remote.Client = client
		}
	})
}

// WithRefreshInterval bounds how long a set is used before the next background
// refresh; within the bounds the server's Cache-Control decides. Defaults: 5
// minutes and 1 hour; a server that says nothing is asked every 15 minutes. least
// is at least a second.
//
// most is how long a key that the issuer withdraws may remain in use.
func WithRefreshInterval(least, most time.Duration) Option {
	return positive("WithRefreshInterval", func(c *config) {
		c.remote.MinRefresh, c.remote.MaxRefresh = least, most
	}, least, most)
}

// WithCooldown sets the least time between two fetches for unknown kids,
// default 30 seconds, and the wait after a failed fetch, default 5 seconds,
// which doubles with each further failure, up to d or 30 seconds, whichever is
// less. Fetches that bring new keys do not count, up to four in a row, so that
// two rotations in quick succession are both found.
func WithCooldown(d, afterFailure time.Duration) Option {
	return positive("WithCooldown", func(c *config) {
		c.remote.Cooldown, c.remote.FailureCooldown = d, afterFailure
	}, d, afterFailure)
}

// WithMaxStale sets how long keys serve after they were last fetched while the
// issuer cannot be reached; default 24 hours, at least the longest refresh
// interval. It is also how long an attacker that cuts the service off from its
// issuer can keep a withdrawn key alive.
func WithMaxStale(d time.Duration) Option {
	return positive("WithMaxStale", func(c *config) { c.remote.MaxStale = d }, d)
}

// WithMaxKeys sets how many keys a set may have, default 100. A larger set is
// refused as a whole. (The document is limited to 1 MiB in any case.)
func WithMaxKeys(n int) Option {
	return option(func(c *config) {
		switch {
		case !c.Once("WithMaxKeys"):
		case n <= 0:
			c.Problem("WithMaxKeys: %d is not more than zero", n)
		default:
			c.maxKeys = n
		}
	})
}

// DangerouslyAllowLoopbackHTTP permits http to loopback addresses: for tests, for a
// developer's machine, and for an issuer behind a sidecar. Any program that can
// listen on that port can then issue tokens.
//
// The address that is dialled decides, not the name: http://keycloak.test:8080
// works where that name stands for 127.0.0.1 and is an error at the first fetch
// where it does not. No proxy is asked. 0.0.0.0 and :: are no loopback addresses. With
// [WithHTTPClient] it is not known what is dialled, so the host must be localhost or
// a loopback address as it is written.
func DangerouslyAllowLoopbackHTTP() Option {
	return option(func(c *config) {
		c.Once("DangerouslyAllowLoopbackHTTP")
		c.remote.AllowLoopbackHTTP = true
	})
}

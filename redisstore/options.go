package redisstore

import (
	"bytes"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/keybound-go/middleware/internal/options"
)

const (
	maxPrefix    = 64
	minTimeout   = time.Millisecond
	maxTimeout   = 10 * time.Second
	maxCacheSize = 1 << 24
)

// ReplayOption is a setting of [NewReplayCache]. An option given twice is a mistake.
type ReplayOption interface{ applyReplay(*config) }

// TokenOption is a setting of [NewTokenCache]. An option given twice is a mistake,
// unless its documentation says that it takes a list.
type TokenOption interface{ applyToken(*config) }

// Option is a setting of either.
type Option interface {
	ReplayOption
	TokenOption
}

type (
	option       func(*config)
	replayOption func(*config)
	tokenOption  func(*config)
)

func (f option) applyReplay(c *config)       { f(c) }
func (f option) applyToken(c *config)        { f(c) }
func (f replayOption) applyReplay(c *config) { f(c) }
func (f tokenOption) applyToken(c *config)   { f(c) }

// config is what the options say.
type config struct {
	*options.Set
	prefix    string
	timeout   time.Duration
	cacheSize int
	previous  [][]byte
	report    func(error)
}

func newConfig(prefix string, timeout time.Duration) *config {
	return &config{Set: options.For("redisstore"), prefix: prefix, timeout: timeout}
}

// WithPrefix sets what the keys in the store begin with. The default is "dpop:" for
// proofs and "introspection:" for tokens. It has 1 to 64 visible ASCII characters and no
// braces, which would put all keys on one node of a cluster. Every byte of it is
// in memory once for each proof.
func WithPrefix(prefix string) Option {
	return option(func(c *config) {
		if !c.Once("WithPrefix") {
			return
		}
		bad := func(r rune) bool { return r <= ' ' || r > '~' || r == '{' || r == '}' }
		if prefix == "" || len(prefix) > maxPrefix || strings.ContainsFunc(prefix, bad) {
			c.Problem("WithPrefix: %q is not 1 to %d visible ASCII characters without braces", prefix, maxPrefix)
		}
		c.prefix = prefix
	})
}

// WithTimeout sets how long a call may take, from the wait for a connection to the
// last retry: a request waits for it. The default is 250 ms for proofs and 100 ms
// for tokens. Below the time that the client takes to connect anew, calls fail
// whenever it has to.
func WithTimeout(d time.Duration) Option {
	return option(func(c *config) {
		if !c.Once("WithTimeout") {
			return
		}
		if d < minTimeout || d > maxTimeout {
			c.Problem("WithTimeout: %v is not between %v and %v", d, minTimeout, maxTimeout)
		}
		c.timeout = d
	})
}

// WithCacheSize sets how many used proofs the process remembers too, some 50 bytes
// each. A replay at the process that has seen the proof costs no round trip then.
// Proofs that are not among them are asked for as ever. The default is none.
func WithCacheSize(proofs int) ReplayOption {
	return replayOption(func(c *config) {
		if !c.Once("WithCacheSize") {
			return
		}
		if proofs < 1 || proofs > maxCacheSize {
			c.Problem("WithCacheSize: %d is not between 1 and %d", proofs, maxCacheSize)
		}
		c.cacheSize = proofs
	})
}

// WithPreviousKeys sets keys that entries may be sealed with although new ones are
// not. A list: it can be given several times.
//
// To rotate keys without asking the issuer again for every token, first give the new key
// to every replica as a previous one, then exchange it with the old one on every
// replica, and drop the old one when its entries have expired. Without that, what
// another replica has sealed is a miss, and no more than that.
func WithPreviousKeys(keys ...[]byte) TokenOption {
	copied := make([][]byte, len(keys))
	for i, key := range keys {
		copied[i] = bytes.Clone(key)
	}
	return tokenOption(func(c *config) {
		if len(copied) == 0 {
			c.Problem("WithPreviousKeys: no key given")
		}
		c.previous = append(c.previous, copied...)
	})
}

// WithErrorReport sets a function that is told of every error of a [TokenCache],
// and of every entry that does not open: [ErrForeignEntry]. An [introspect.Introspector]
// does without the cache then and says nothing. report is called on the goroutine of
// the call, by several at the same time, and must not block.
func WithErrorReport(report func(error)) TokenOption {
	return tokenOption(func(c *config) {
		if options.Value(c.Set, "WithErrorReport", report) {
			c.report = report
		}
	})
}

// checkClient finds a client that would not give up in time. Of one that hides its
// options nothing is known.
func (c *config) checkClient(name string, client redis.UniversalClient) {
	if options.IsNil(client) {
		c.Problem("%s: the client is nil", name)
		return
	}
	stopsAtDeadline := true
	switch client := client.(type) {
	case interface{ Options() *redis.Options }:
		stopsAtDeadline = client.Options().ContextTimeoutEnabled
	case interface{ Options() *redis.ClusterOptions }:
		stopsAtDeadline = client.Options().ContextTimeoutEnabled
	case interface{ Options() *redis.RingOptions }:
		stopsAtDeadline = client.Options().ContextTimeoutEnabled
	}
	if !stopsAtDeadline {
		c.Problem("%s: the client does not stop at deadlines: set ContextTimeoutEnabled in its options", name)
	}
}

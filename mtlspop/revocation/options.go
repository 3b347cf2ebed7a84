package revocation

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"strings"
	"time"
)

// Option is a setting of a [Checker]. An option given twice is a mistake.
type Option interface{ apply(*config) }

// Mode says what becomes of a certificate whose status cannot be learned. It is an [Option]; the zero Mode is not valid.
type Mode uint8

const (
	_ Mode = iota

	// Off asks nobody and refuses nothing. It exists for configurations that name a mode; Go code leaves the Checker away.
	Off

	// BestEffort refuses a certificate that is known to be revoked, and lets through one whose status cannot be learned,
	// which [WithObserver] reports. It is the default.
	BestEffort

	// Strict refuses a certificate unless its status is known and good. A chain whose certificates name neither a responder
	// nor a list is refused with [ErrNoSource].
	Strict
)

// String returns the name of m.
func (m Mode) String() string {
	switch m {
	case Off:
		return "Off"
	case BestEffort:
		return "BestEffort"
	case Strict:
		return "Strict"
	}
	return fmt.Sprintf("Mode(%d)", uint8(m))
}

func (m Mode) apply(c *config) {
	c.once("Mode")
	if m < Off || m > Strict {
		c.mistake("%v is not a mode", m)
	}
	c.mode = m
}

type config struct {
	mode      Mode
	ttl       time.Duration
	entries   int
	timeout   time.Duration
	maxList   int64
	roots     *x509.CertPool
	transport http.RoundTripper
	hosts     []string
	observe   func(context.Context, *x509.Certificate, error)

	given    map[string]bool
	mistakes []error
}

func (c *config) mistake(format string, args ...any) {
	c.mistakes = append(c.mistakes, fmt.Errorf("revocation: "+format, args...))
}

func (c *config) once(name string) {
	if c.given[name] {
		c.mistake("%s is given twice", name)
	}
	c.given[name] = true
}

// option is every Option but the modes.
type option struct {
	name string
	set  func(*config)
}

func (o option) apply(c *config) {
	c.once(o.name)
	o.set(c)
}

// listsHeld is how many lists of the largest size the Checker remembers at a time.
const listsHeld = 4

// New returns a Checker, or every mistake in opts joined. It starts nothing and touches no network.
func New(opts ...Option) (*Checker, error) {
	cfg := &config{
		mode:    BestEffort,
		ttl:     time.Minute,
		entries: 10_000,
		timeout: 5 * time.Second,
		maxList: 10 << 20,
		given:   make(map[string]bool),
	}
	for _, opt := range opts {
		if opt == nil {
			cfg.mistake("an option is nil")
			continue
		}
		opt.apply(cfg)
	}
	if cfg.transport != nil && cfg.roots != nil {
		cfg.mistake("WithRootCAs has no effect beside WithTransport")
	}
	if len(cfg.mistakes) > 0 {
		return nil, errors.Join(cfg.mistakes...)
	}
	return &Checker{
		mode:    cfg.mode,
		ttl:     cfg.ttl,
		observe: cfg.observe,
		client:  newClient(cfg),
		answers: newMemo[answerKey, answer](int64(cfg.entries)),
		lists:   newMemo[listKey, *crl](listsHeld * cfg.maxList),
	}, nil
}

// WithCacheTTL sets how long an answer, good or revoked, is used at most; it is used shorter if it expires earlier. It is
// also how long a revocation can go unnoticed while the CA can be asked; while it cannot, that is up to the update which its
// last answer announces. Default one minute; at most a day.
func WithCacheTTL(d time.Duration) Option {
	return option{"WithCacheTTL", func(c *config) {
		if d <= 0 || d > 24*time.Hour {
			c.mistake("WithCacheTTL(%v) is not between 0 and 24h", d)
		}
		c.ttl = d
	}}
}

// WithCacheSize sets how many certificates' answers are remembered, at about 200 bytes each. Default 10,000.
func WithCacheSize(certificates int) Option {
	return option{"WithCacheSize", func(c *config) {
		if certificates < 1 {
			c.mistake("WithCacheSize(%d) is not positive", certificates)
		}
		c.entries = certificates
	}}
}

// WithTimeout sets how long one fetch may take, including the wait for its turn. A certificate can name several responders
// and lists, of which up to three each are asked, one after the other. Default 5 s; at most a minute.
func WithTimeout(d time.Duration) Option {
	return option{"WithTimeout", func(c *config) {
		if d <= 0 || d > time.Minute {
			c.mistake("WithTimeout(%v) is not between 0 and 1m", d)
		}
		c.timeout = d
	}}
}

// WithMaxListSize sets the size in bytes of the largest list that is read; four of that size are remembered, each at about
// twice the memory. Default 10 MiB; at most 1 GiB.
func WithMaxListSize(bytes int64) Option {
	return option{"WithMaxListSize", func(c *config) {
		if bytes < 1 || bytes > 1<<30 {
			c.mistake("WithMaxListSize(%d) is not between 1 and 1 GiB", bytes)
		}
		c.maxList = bytes
	}}
}

// WithRootCAs sets who may have issued the TLS certificate of a responder or distribution point on https. These roots have
// nothing to do with those of the clients' certificates. The default is the system's. The pool must not be modified
// afterwards.
func WithRootCAs(pool *x509.CertPool) Option {
	return option{"WithRootCAs", func(c *config) {
		if pool == nil {
			c.mistake("WithRootCAs(nil)")
		}
		c.roots = pool
	}}
}

// WithHosts names the only hosts, without ports, that are ever asked, whatever certificates say. A host that is named here
// may be on any address, local ones included.
func WithHosts(hosts ...string) Option {
	return option{"WithHosts", func(c *config) {
		if len(hosts) == 0 {
			c.mistake("WithHosts names no host")
		}
		for _, host := range hosts {
			if !isHost(host) {
				c.mistake("WithHosts: %q is not a host without a port", host)
			}
			c.hosts = append(c.hosts, strings.ToLower(host))
		}
	}}
}

func isHost(s string) bool {
	if _, err := netip.ParseAddr(s); err == nil {
		return true
	}
	return s != "" && !strings.ContainsAny(s, ":/@?#[]* ")
}

// WithTransport sets what carries the requests, for a proxy for instance. Time-outs, sizes and [WithHosts] hold all the
// same, redirects are still not followed; but which addresses may be connected to is then up to rt. It must be safe for
// concurrent use. The default is a transport of the Checker's own, without a proxy.
func WithTransport(rt http.RoundTripper) Option {
	return option{"WithTransport", func(c *config) {
		if rt == nil {
			c.mistake("WithTransport(nil)")
		}
		c.transport = rt
	}}
}

// WithObserver sets a function that is told of each certificate that [BestEffort] let through without knowing its
// status, and why. It runs on the request's goroutine, several at a time; it must not modify cert. The text of err can
// hold what a server sent: it is for the operator, not for the client.
func WithObserver(f func(ctx context.Context, cert *x509.Certificate, err error)) Option {
	return option{"WithObserver", func(c *config) {
		if f == nil {
			c.mistake("WithObserver(nil)")
		}
		c.observe = f
	}}
}

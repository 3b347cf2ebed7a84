package revocation

import (
	"context"
	"crypto/fips140"
	"crypto/x509"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"github.com/keybound-go/middleware/internal/options"
)

// Option is a setting of a [Checker]. An option given twice is a mistake.
type Option interface{ apply(*config) }

type optionFunc func(*config)

func (f optionFunc) apply(c *config) { f(c) }

// once makes an option that may be given only once.
func once(name string, set func(*config)) Option {
	return optionFunc(func(c *config) {
		if c.Once(name) {
			set(c)
		}
	})
}

type config struct {
	*options.Set

	passUnknown bool
	listsOnly   bool
	lifetime    time.Duration
	entries     int
	timeout     time.Duration
	maxList     int64
	roots       *x509.CertPool
	http        *http.Client
	proxy       func(*http.Request) (*url.URL, error)
	hosts       []string
	observe     func(context.Context, *x509.Certificate, error)
}

// listsHeld is how many lists of the largest size the Checker remembers at a time.
const listsHeld = 4

// New returns a Checker that refuses a certificate unless its status is known and good,
// or every mistake in opts joined. It starts nothing and touches no network.
func New(opts ...Option) (*Checker, error) {
	cfg := &config{
		Set:      options.For("revocation"),
		lifetime: time.Minute,
		entries:  10_000,
		timeout:  5 * time.Second,
		maxList:  10 << 20,
	}
	options.Each(cfg.Set, opts, func(o Option) { o.apply(cfg) })
	cfg.checkTogether()
	if err := cfg.Err(); err != nil {
		return nil, err
	}
	return &Checker{
		lifetime:     cfg.lifetime,
		passUnknown:  cfg.passUnknown,
		listsOnly:    cfg.listsOnly,
		observe:      cfg.observe,
		client:       newClient(cfg),
		answers:      newMemo[answerKey, answer](int64(cfg.entries)),
		lists:        newMemo[sourceKey, *crl](listsHeld * cfg.maxList),
		unknown:      newFailures[answerKey](),
		unresponsive: newFailures[sourceKey](),
	}, nil
}

// checkTogether checks what no option can by itself.
func (c *config) checkTogether() {
	for _, option := range []string{"WithRootCAs", "WithProxy"} {
		if c.Given("WithHTTPClient") && c.Given(option) {
			c.Problem("%s has no effect beside WithHTTPClient", option)
		}
	}
	if c.Given("WithObserver") && !c.passUnknown {
		c.Problem("WithObserver means nothing without DangerouslyPassUnknown: Check returns the error")
	}
	if fips140.Enforced() && !c.listsOnly {
		c.Problem("OCSP names issuers by SHA-1 digests (RFC 6960, section 4.1.1), which GODEBUG=fips140=only forbids: " +
			"use AskListsOnly, or fips140=on")
	}
}

// DangerouslyPassUnknown lets a certificate through whose status could not be learned:
// an attacker that can cut the service off from the CA can then use a revoked
// certificate, for as long as nothing signed is held that says so. A certificate that is
// known to be revoked is refused all the same. [WithObserver] hears of what passed.
//
// In Kong this is revocation_check_mode: IGNORE_CA_ERROR, and Kong's default; a Checker
// without the option is STRICT.
func DangerouslyPassUnknown() Option {
	return once("DangerouslyPassUnknown", func(c *config) { c.passUnknown = true })
}

// AskListsOnly leaves the OCSP responders out and asks the certificate revocation lists
// alone. It is needed with GODEBUG=fips140=only, under which New refuses OCSP.
func AskListsOnly() Option {
	return once("AskListsOnly", func(c *config) { c.listsOnly = true })
}

// WithAnswerLifetime sets how long an answer, good or revoked, is used before the CA is
// asked again; it is used shorter if it expires earlier. After that, requests are still
// answered from it while the CA takes its time or cannot be asked, but never beyond the
// update that the answer announces. Default one minute; at most a day.
func WithAnswerLifetime(d time.Duration) Option {
	return once("WithAnswerLifetime", func(c *config) {
		if d <= 0 || d > 24*time.Hour {
			c.Problem("WithAnswerLifetime: %v is not between 0 and 24h", d)
		}
		c.lifetime = d
	})
}

// WithCacheSize sets how many certificates' answers are remembered, at about 200 bytes
// each. Default 10,000.
func WithCacheSize(certificates int) Option {
	return once("WithCacheSize", func(c *config) {
		if certificates < 1 {
			c.Problem("WithCacheSize: %d is not positive", certificates)
		}
		c.entries = certificates
	})
}

// WithTimeout sets how long one fetch may take, including the wait for its turn. It is
// measured here, so that it also ends a fetch whose HTTP client ignores its context. A
// certificate can name several responders and lists, of which up to three each are
// asked, one after the other. Default 5 s; at most a minute.
func WithTimeout(d time.Duration) Option {
	return once("WithTimeout", func(c *config) {
		if d <= 0 || d > time.Minute {
			c.Problem("WithTimeout: %v is not between 0 and 1m", d)
		}
		c.timeout = d
	})
}

// WithMaxListSize sets the size in bytes of the largest list that is read; four of that
// size are remembered, each at about twice the memory. A larger list is a failure of its
// source. Default 10 MiB; at most 1 GiB.
func WithMaxListSize(bytes int64) Option {
	return once("WithMaxListSize", func(c *config) {
		if bytes < 1 || bytes > 1<<30 {
			c.Problem("WithMaxListSize: %d is not between 1 and 1 GiB", bytes)
		}
		c.maxList = bytes
	})
}

// WithRootCAs sets the roots for the TLS certificate of a responder or distribution
// point on https. They have nothing to do with those of the clients' certificates. The
// default is the system's. The pool must not be modified afterwards.
func WithRootCAs(pool *x509.CertPool) Option {
	return optionFunc(func(c *config) {
		if options.Value(c.Set, "WithRootCAs", pool) {
			c.roots = pool
		}
	})
}

// WithHosts names the only hosts, without ports, that are ever asked, whatever
// certificates say. A host that is named here may be on any address, local ones
// included.
func WithHosts(hosts ...string) Option {
	return once("WithHosts", func(c *config) {
		if len(hosts) == 0 {
			c.Problem("WithHosts: no host")
		}
		for _, host := range hosts {
			if !isHost(host) {
				c.Problem("WithHosts: %q is not a host without a port", host)
			}
			c.hosts = append(c.hosts, strings.ToLower(host))
		}
	})
}

func isHost(s string) bool {
	if _, err := netip.ParseAddr(s); err == nil {
		return true
	}
	return s != "" && !strings.ContainsAny(s, ":/@?#[]* ")
}

// WithProxy sends a request through the proxy that the function names, such as
// [http.ProxyFromEnvironment], and directly if it names none. On every direct path local
// addresses are refused, as without the option; which addresses a proxy connects to is up
// to the proxy. The function is called from many goroutines.
func WithProxy(proxy func(*http.Request) (*url.URL, error)) Option {
	return optionFunc(func(c *config) {
		if options.Value(c.Set, "WithProxy", proxy) {
			c.proxy = proxy
		}
	})
}

// WithHTTPClient sets the client whose Transport carries the requests. Time-outs, sizes
// and [WithHosts] hold all the same, and redirects are not followed; but which addresses
// may be connected to is then up to the transport: give it a net.Dialer with a Control
// function, or prefer [WithProxy]. The default is a transport of the Checker's own.
func WithHTTPClient(client *http.Client) Option {
	return optionFunc(func(c *config) {
		if options.Value(c.Set, "WithHTTPClient", client) {
			c.http = client
		}
	})
}

// WithObserver sets a function that is told of each certificate that
// [DangerouslyPassUnknown] lets through, and why: once for each attempt to learn its
// status, which is made at most every five to thirty seconds while it fails, and only
// once if the reason is a list that is larger than [WithMaxListSize].
//
// It runs on a goroutine of the Checker's, several at a time, with the values of the
// context of the request that asked first, which waits for it; it must not modify cert.
// The text of err can hold what a server sent: it is for the operator, not for the
// client.
func WithObserver(f func(ctx context.Context, cert *x509.Certificate, err error)) Option {
	return optionFunc(func(c *config) {
		if options.Value(c.Set, "WithObserver", f) {
			c.observe = f
		}
	})
}

package session

import (
	"bytes"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/keybound-go/middleware/internal/options"
)

// Defaults and limits.
const (
	defaultIdle     = 15 * time.Minute
	defaultLifetime = 24 * time.Hour
	minTimeout      = 10 * time.Second // times are kept to the second
	maxLifetime     = 365 * 24 * time.Hour

	clockSkew = 5 * time.Minute // between replicas
)

// Option configures [Sessions]. Unless its documentation says that it takes a
// list, giving an option twice is a mistake that [New] reports.
type Option interface{ apply(*config) }

// config collects what the options say.
type config struct {
	*options.Set
	keys           [][]byte
	name           string
	path, domain   string
	sameSite       http.SameSite
	idle, lifetime time.Duration
	trusted        []string
}

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

// secure reports whether browsers send the cookie over https only.
func (c *config) secure() bool { return !c.Given("DangerouslyAllowPlainHTTP") }

// WithPreviousKeys also reads cookies that were sealed with one of the given keys.
// To rotate keys without ending sessions, first give the new key to every replica
// as a previous one, then exchange it with the old one on every replica, and drop
// the old one after the lifetime of a session.
func WithPreviousKeys(keys ...[]byte) Option {
	copies := make([][]byte, len(keys))
	for i, k := range keys {
		copies[i] = bytes.Clone(k)
	}
	return once("WithPreviousKeys", func(c *config) { c.keys = append(c.keys, copies...) })
}

// WithCookieName sets the name of the cookie. The default is __Host-session, or
// __Secure-session with [WithDomain] or [WithPath]: the prefixes keep other hosts,
// and attackers who write into plain HTTP, from setting it (RFC 6265bis, section 4.1.3).
//
// A client may have sessions of several Sessions on one host, such as those of two
// guards with keys of their own. Where the cookie of that name is another one's, a
// session is kept under the name, a dot, and a short name of the key.
func WithCookieName(name string) Option {
	return once("WithCookieName", func(c *config) {
		if name == "" {
			c.Problem("WithCookieName: empty")
		}
		c.name = name
	})
}

// WithPath sets the path below which browsers send the cookie. The default is "/".
func WithPath(path string) Option {
	return once("WithPath", func(c *config) {
		if !strings.HasPrefix(path, "/") {
			c.Problem("WithPath: %q does not begin with a slash", path)
		}
		c.path = path
	})
}

// WithDomain makes browsers send the cookie to all hosts of a domain. Each of
// those hosts can then set it, too. By default it is for one host.
func WithDomain(domain string) Option {
	return once("WithDomain", func(c *config) {
		if domain == "" {
			c.Problem("WithDomain: empty")
		}
		c.domain = domain
	})
}

// WithSameSite sets the SameSite attribute: Strict, Lax (the default) or None.
func WithSameSite(mode http.SameSite) Option {
	return once("WithSameSite", func(c *config) {
		switch mode {
		case http.SameSiteStrictMode, http.SameSiteLaxMode, http.SameSiteNoneMode:
		default:
			c.Problem("WithSameSite: neither Strict nor Lax nor None")
		}
		c.sameSite = mode
	})
}

// WithIdleTimeout sets after which time without a request a session is over. The
// cookie is written again when half of it has passed. The default is 15 minutes,
// or the lifetime if that is shorter.
func WithIdleTimeout(d time.Duration) Option {
	return once("WithIdleTimeout", func(c *config) {
		if d < minTimeout || d > maxLifetime {
			c.Problem("WithIdleTimeout: %v is not between %v and %v", d, minTimeout, maxLifetime)
		}
		c.idle = d
	})
}

// WithLifetime sets how long a session lasts at most, however busy it is. The
// default is 24 hours. A token that expires earlier ends it earlier.
func WithLifetime(d time.Duration) Option {
	return once("WithLifetime", func(c *config) {
		if d < minTimeout || d > maxLifetime {
			c.Problem("WithLifetime: %v is not between %v and %v", d, minTimeout, maxLifetime)
		}
		c.lifetime = d
	})
}

// WithTrustedOrigins lets pages of other origins ("https://app.example") make
// requests with unsafe methods within a session. An origin is scheme, host and port:
// without this option a page of http://app.example is of another origin than the
// service at https://app.example. A list: it can be given several
// times.
func WithTrustedOrigins(origins ...string) Option {
	origins = slices.Clone(origins)
	return optionFunc(func(c *config) {
		if len(origins) == 0 {
			c.Problem("WithTrustedOrigins: no origin given")
		}
		c.trusted = append(c.trusted, origins...)
	})
}

// DangerouslyAllowPlainHTTP leaves out the Secure attribute, and with it the
// prefix of the default name, so that browsers send the cookie over plain HTTP
// where an attacker on the path can copy it. It is for development.
func DangerouslyAllowPlainHTTP() Option {
	return once("DangerouslyAllowPlainHTTP", func(*config) {})
}

func (c *config) cookieName() string {
	switch {
	case c.name != "":
		return c.name
	case !c.secure():
		return "session"
	case c.domain != "" || c.path != "/":
		return "__Secure-session"
	default:
		return "__Host-session"
	}
}

// checkCookie finds what browsers would not accept.
func (c *config) checkCookie(cookie *http.Cookie) {
	probe := *cookie
	probe.Value = "v"
	if err := probe.Valid(); err != nil {
		c.Problem("the cookie is not valid: %w", err)
	}
	// Browsers compare the prefixes without regard to case.
	switch name := strings.ToLower(cookie.Name); {
	case strings.HasPrefix(name, "__host-") && (!c.secure() || c.domain != "" || c.path != "/"):
		c.Problem("%s: the prefix demands Secure, the path / and no domain", cookie.Name)
	case strings.HasPrefix(name, "__secure-") && !c.secure():
		c.Problem("%s: the prefix demands Secure", cookie.Name)
	}
	if c.sameSite == http.SameSiteNoneMode && !c.secure() {
		c.Problem("SameSite=None demands Secure")
	}
	if c.idle > c.lifetime {
		c.Problem("the idle timeout, %v, is longer than the lifetime, %v", c.idle, c.lifetime)
	}
}

func (c *config) protection() *http.CrossOriginProtection {
	p := http.NewCrossOriginProtection()
	for _, origin := range c.trusted {
		if err := p.AddTrustedOrigin(origin); err != nil {
			c.Problem("WithTrustedOrigins: %w", err)
		}
	}
	return p
}

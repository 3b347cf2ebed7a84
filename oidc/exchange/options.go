package exchange

import (
	"maps"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/keybound-go/middleware/internal/headers"
	"github.com/keybound-go/middleware/internal/issuer"
	"github.com/keybound-go/middleware/internal/options"
)

// Limits and defaults.
const (
	defaultTokenLifetime = time.Hour
	maxTokenLifetime     = 24 * time.Hour
)

// Option is a setting of [New]. One given twice is a mistake, unless it is a list.
type Option interface{ apply(*config) }

type option func(*config)

func (o option) apply(c *config) { o(c) }

// config is what the options of one call add up to, and every mistake in them.
type config struct {
	*options.Set

	endpoint      string // "": from the metadata
	cacheSize     int
	tokenLifetime time.Duration
	scopes        []string
	secretInBody  bool
	parameters    url.Values // audience, resource and whatever else the token request says
}

func newConfig(opts []Option) *config {
	c := &config{
		Set:           options.For("exchange"),
		cacheSize:     issuer.DefaultCacheSize,
		tokenLifetime: defaultTokenLifetime,
		parameters:    make(url.Values),
	}
	options.Each(c.Set, opts, func(o Option) { o.apply(c) })
	return c
}

// form is what every token request says.
func (c *config) form() url.Values {
	form := maps.Clone(c.parameters)
	form.Set("grant_type", "client_credentials")
	if len(c.scopes) > 0 {
		form.Set("scope", strings.Join(c.scopes, " "))
	}
	return form
}

// WithEndpoint sets the URL that tokens are requested from, for an issuer whose
// metadata does not name it.
func WithEndpoint(url string) Option {
	return option(func(c *config) {
		switch {
		case !c.Once("WithEndpoint"):
		case url == "":
			c.Problem("WithEndpoint: the URL is empty")
		default:
			c.endpoint = url
		}
	})
}

// WithCacheSize sets how many tokens are remembered. The default is 10,000. As
// many refusals are remembered besides, which are small.
func WithCacheSize(entries int) Option {
	return option(func(c *config) { issuer.SetCacheSize(c.Set, &c.cacheSize, entries, 1) })
}

// WithScopes sets the scopes that are requested. The default is none, which leaves
// the choice to the issuer.
func WithScopes(scopes ...string) Option {
	return option(func(c *config) {
		if !c.Once("WithScopes") {
			return
		}
		if len(scopes) == 0 {
			c.Problem("WithScopes: no scope given")
		}
		for _, s := range scopes {
			if !headers.IsScope(s) {
				c.Problem("WithScopes: %q is not a scope", s)
			}
		}
		c.scopes = slices.Clone(scopes)
	})
}

// WithParameter adds a parameter to the token request, such as audience, or
// resource (RFC 8707). It may be given more than once, also with the same name.
func WithParameter(name, value string) Option {
	return option(func(c *config) {
		switch name {
		case "":
			c.Problem("WithParameter: the name is empty")
		case "grant_type", "client_id", "client_secret", "client_assertion", "client_assertion_type", "scope":
			c.Problem("WithParameter: %s is not for this option to set", name)
		default:
			c.parameters.Add(name, value)
		}
	})
}

// SendSecretInBody sends the caller's id and secret as client_secret_post does. The
// default is client_secret_basic.
func SendSecretInBody() Option {
	return option(func(c *config) { c.secretInBody = c.Once("SendSecretInBody") || c.secretInBody })
}

// WithTokenLifetime sets for how long a token is used before the next one is
// requested, whatever expires_in says: the longest time for which a secret is good
// here after the issuer has withdrawn it. The default is an hour, the most a day.
func WithTokenLifetime(d time.Duration) Option {
	return option(func(c *config) {
		issuer.SetDuration(c.Set, "WithTokenLifetime", &c.tokenLifetime, d, time.Second, maxTokenLifetime)
	})
}

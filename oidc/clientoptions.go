package oidc

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/keybound-go/middleware/internal/remote"
)

// Limits and defaults of the settings below.
const (
	defaultAnswerLifetime  = time.Minute
	maxAnswerLifetime      = time.Hour
	defaultRefusalLifetime = 10 * time.Second
	maxRefusalLifetime     = time.Minute
	maxStaleAnswers        = 24 * time.Hour
	defaultTokenLifetime   = time.Hour
	maxTokenLifetime       = 24 * time.Hour
)

// clientConfig is what the options of NewIntrospector or NewClientCredentials add up to.
type clientConfig struct {
	*config

	endpoint  string // given URL, "" to discover it
	cacheSize int

	answerLifetime  time.Duration
	refusalLifetime time.Duration
	staleAnswers    time.Duration
	shared          TokenCache
	signed          bool
	missingAudience bool

	tokenLifetime time.Duration
	scopes        []string
	secretInBody  bool
	parameters    url.Values // audience, resource and whatever else the token request says
}

// clientOption is an Option of the functions that call the issuer's endpoints.
type clientOption struct {
	name string
	list bool
	for_ user
	set  func(*clientConfig) error
}

// apply is what a function calls that knows nothing of a clientConfig.
func (o clientOption) apply(c *config) { c.problem("%s does not apply to %s", o.name, c.user) }

func (o clientOption) applyClient(c *clientConfig) {
	switch {
	case o.for_&c.user == 0:
		o.apply(c.config)
		return
	case c.given[o.name] && !o.list:
		c.problem("%s is given twice", o.name)
		return
	}
	c.given[o.name] = true
	if err := o.set(c); err != nil {
		c.problem("%s: %w", o.name, err)
	}
}

func newClientConfig(u user, issuer string, opts []Option) *clientConfig {
	var own []clientOption
	rest := slices.DeleteFunc(slices.Clone(opts), func(o Option) bool {
		client, ok := o.(clientOption)
		if ok {
			own = append(own, client)
		}
		return ok
	})
	c := &clientConfig{
		config:          newConfig(u, issuer, rest),
		cacheSize:       defaultTokenCache,
		answerLifetime:  defaultAnswerLifetime,
		refusalLifetime: defaultRefusalLifetime,
		tokenLifetime:   defaultTokenLifetime,
		parameters:      make(url.Values),
	}
	for _, o := range own {
		o.applyClient(c)
	}
	if c.endpoint != "" {
		if _, err := remote.CheckURL(c.endpoint, c.provider.loopbackHTTP); err != nil {
			c.problem("the endpoint %q: %w", c.endpoint, err)
		}
	}
	return c
}

// setDuration sets to, within bounds.
func setDuration(to *time.Duration, d, least, most time.Duration) error {
	if d < least || d > most {
		return fmt.Errorf("%v is not between %v and %v", d, least, most)
	}
	*to = d
	return nil
}

func setEndpoint(name string, u user, raw string) Option {
	return clientOption{name: name, for_: u, set: func(c *clientConfig) error {
		if raw == "" {
			return errors.New("the URL is empty")
		}
		c.endpoint = raw
		return nil
	}}
}

// WithIntrospectionEndpoint sets the URL that is asked about tokens, for an
// issuer whose discovery document does not name it.
func WithIntrospectionEndpoint(url string) Option {
	return setEndpoint("WithIntrospectionEndpoint", forIntrospector, url)
}

// WithTokenEndpoint sets the URL that tokens are requested from, for an issuer
// whose discovery document does not name it.
func WithTokenEndpoint(url string) Option {
	return setEndpoint("WithTokenEndpoint", forClientCredentials, url)
}

// WithCacheSize sets how many tokens an [Introspector] or [ClientCredentials]
// remembers. The default is 10,000. An Introspector remembers as many refusals
// besides, which are small.
func WithCacheSize(entries int) Option {
	return clientOption{name: "WithCacheSize", for_: forIntrospector | forClientCredentials, set: func(c *clientConfig) error {
		if entries < 1 || entries > maxTokenCache {
			return fmt.Errorf("%d is not between 1 and %d", entries, maxTokenCache)
		}
		c.cacheSize = entries
		return nil
	}}
}

// WithAnswerLifetime sets for how long an [Introspector] believes that a token is
// active: the longest time for which a revoked token is still accepted. The
// default is a minute, the most an hour; with 0 the issuer is asked for each
// request. An answer is never believed beyond the token's exp.
func WithAnswerLifetime(d time.Duration) Option {
	return clientOption{name: "WithAnswerLifetime", for_: forIntrospector, set: func(c *clientConfig) error {
		return setDuration(&c.answerLifetime, d, 0, maxAnswerLifetime)
	}}
}

// WithRefusalLifetime sets for how long an [Introspector] believes that a token
// is not good: the longest time for which a new token is refused that was
// presented before the issuer knew it. The default is 10 seconds, the most a
// minute; with 0 a client can make the issuer be asked with each request.
func WithRefusalLifetime(d time.Duration) Option {
	return clientOption{name: "WithRefusalLifetime", for_: forIntrospector, set: func(c *clientConfig) error {
		return setDuration(&c.refusalLifetime, d, 0, maxRefusalLifetime)
	}}
}

// WithStaleAnswers lets an [Introspector] go on accepting known tokens for d after
// [WithAnswerLifetime] is over, as long as the issuer cannot be asked. It adds d
// to the time for which a revoked token may be accepted, but nothing to the
// token's exp. Without it, the answer to the request is then 503. The most is a day.
func WithStaleAnswers(d time.Duration) Option {
	return clientOption{name: "WithStaleAnswers", for_: forIntrospector, set: func(c *clientConfig) error {
		return setDuration(&c.staleAnswers, d, time.Second, maxStaleAnswers)
	}}
}

// WithSharedCache lets the replicas of a service share the answers of the
// introspection endpoint. The [Introspector]'s own memory stays in front of it.
// A token that this replica was told not to be good is not accepted by an answer that
// another one got before.
func WithSharedCache(cache TokenCache) Option {
	return clientOption{name: "WithSharedCache", for_: forIntrospector, set: func(c *clientConfig) error {
		if cache == nil {
			return errors.New("the cache is nil")
		}
		c.shared = cache
		return nil
	}}
}

// WithSignedAnswers asks for answers that are signed by the issuer (RFC 9701),
// and accepts no others. The keys are those of its key set, the algorithms those
// of [WithAlgorithms]. The client has to be registered for it with the issuer.
func WithSignedAnswers() Option {
	return clientOption{name: "WithSignedAnswers", for_: forIntrospector, set: func(c *clientConfig) error {
		c.signed = true
		return nil
	}}
}

// DangerouslyAllowMissingAudience accepts tokens for which the issuer names no
// aud, as many introspection endpoints do. Such a token may have been made for
// another service, which can then use it here. An aud that is there is checked,
// unless [DangerouslyAcceptAnyAudience] says otherwise; one that names nobody is refused.
//
// Endpoints call refresh tokens active too, and may name no aud for them. So an
// answer without aud must show that it is about an access token: by token_type,
// or by the claim typ or token_use.
func DangerouslyAllowMissingAudience() Option {
	return clientOption{name: "DangerouslyAllowMissingAudience", for_: forIntrospector, set: func(c *clientConfig) error {
		c.missingAudience = true
		return nil
	}}
}

// WithScopes sets the scopes that [ClientCredentials] requests. The default is
// none, which leaves the choice to the issuer.
func WithScopes(scopes ...string) Option {
	return clientOption{name: "WithScopes", for_: forClientCredentials, set: func(c *clientConfig) error {
		if len(scopes) == 0 {
			return errors.New("no scope given")
		}
		for _, s := range scopes {
			if s == "" || strings.ContainsFunc(s, notScopeChar) {
				return fmt.Errorf("%q is not a scope", s)
			}
		}
		c.scopes = slices.Clone(scopes)
		return nil
	}}
}

// notScopeChar is RFC 6749, section 3.3.
func notScopeChar(r rune) bool { return notVisibleASCII(r) || r == '"' || r == '\\' }

// WithTokenParameter adds a parameter to the token request, such as audience, or
// resource (RFC 8707). It may be given more than once, also with the same name.
func WithTokenParameter(name, value string) Option {
	return clientOption{name: "WithTokenParameter", list: true, for_: forClientCredentials, set: func(c *clientConfig) error {
		switch name {
		case "":
			return errors.New("the name is empty")
		case "grant_type", "client_id", "client_secret", "client_assertion", "client_assertion_type", "scope":
			return fmt.Errorf("%s is not for this option to set", name)
		}
		c.parameters.Add(name, value)
		return nil
	}}
}

// WithSecretInBody makes [ClientCredentials] send the caller's id and secret as
// client_secret_post does. The default is client_secret_basic.
func WithSecretInBody() Option {
	return clientOption{name: "WithSecretInBody", for_: forClientCredentials, set: func(c *clientConfig) error {
		c.secretInBody = true
		return nil
	}}
}

// WithTokenLifetime sets for how long [ClientCredentials] uses a token before
// it requests the next one, whatever expires_in says: the longest time for which
// a secret is good here after the issuer has withdrawn it. The default is an hour, the most a day.
func WithTokenLifetime(d time.Duration) Option {
	return clientOption{name: "WithTokenLifetime", for_: forClientCredentials, set: func(c *clientConfig) error {
		return setDuration(&c.tokenLifetime, d, time.Second, maxTokenLifetime)
	}}
}

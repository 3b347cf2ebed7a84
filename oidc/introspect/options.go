package introspect

import (
	"time"

	"github.com/keybound-go/middleware/internal/issuer"
	"github.com/keybound-go/middleware/internal/options"
	"github.com/keybound-go/middleware/oidc"
)

// Limits and defaults.
const (
	defaultAnswerLifetime  = time.Minute
	maxAnswerLifetime      = time.Hour
	defaultRefusalLifetime = 10 * time.Second
	maxRefusalLifetime     = time.Minute
	maxStaleAnswers        = 24 * time.Hour
)

// Option is a setting of [New]. One given twice is a mistake, unless it is a list.
type Option interface{ apply(*config) }

type option func(*config)

func (o option) apply(c *config) { o(c) }

// config is what the options of one call add up to, and every mistake in them.
type config struct {
	*options.Set
	issuer.Checks

	endpoint        string // "": from the metadata
	cacheSize       int
	answerLifetime  time.Duration
	refusalLifetime time.Duration
	staleAnswers    time.Duration
	store           Store
	signed          bool
}

func newConfig(opts []Option) *config {
	c := &config{
		Set:             options.For("introspect"),
		Checks:          issuer.DefaultChecks(),
		cacheSize:       issuer.DefaultCacheSize,
		answerLifetime:  defaultAnswerLifetime,
		refusalLifetime: defaultRefusalLifetime,
	}
	options.Each(c.Set, opts, func(o Option) { o.apply(c) })
	return c
}

// WithProfile sets how the issuer spells the claims of its tokens. The default is
// [oidc.RFC9068].
func WithProfile(p oidc.Profile) Option {
	return option(func(c *config) {
		if !options.Value(c.Set, "WithProfile", p) {
			return
		}
		d, err := issuer.DialectOf(p)
		if err != nil {
			c.Problem("WithProfile: %w", err)
			return
		}
		c.Dialect = d
	})
}

// WithAudiences adds identifiers of this service: a token is accepted if its aud
// contains any of them or the one given to New. It may be given more than once.
func WithAudiences(more ...string) Option {
	return option(func(c *config) { c.AddAudiences(c.Set, more) })
}

// WithAlgorithms sets which signatures of answers are accepted, for
// [RequireSigned]. The default is that of [oidc.WithAlgorithms].
func WithAlgorithms(algs ...string) Option {
	return option(func(c *config) { c.SetAlgorithms(c.Set, algs) })
}

// WithSkew sets by how much the issuer's clock may differ from ours, for exp, nbf
// and iat. The default is 30 seconds, the most is 5 minutes; 0 is allowed.
func WithSkew(d time.Duration) Option {
	return option(func(c *config) { c.SetSkew(c.Set, d) })
}

// WithMaxTokenSize sets how many bytes a token may have; a longer one is
// [oidc.ErrTooLarge]. The default is 16 KiB.
func WithMaxTokenSize(bytes int) Option {
	return option(func(c *config) { c.SetMaxSize(c.Set, bytes) })
}

// WithEndpoint sets the URL that is asked about tokens, for an issuer whose
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

// WithAnswerLifetime sets for how long the issuer's word that a token is active is
// believed: the longest time for which a revoked token is still accepted. The
// default is a minute, the most an hour; with 0 the issuer is asked for each
// request. An answer is never believed beyond the token's exp.
func WithAnswerLifetime(d time.Duration) Option {
	return option(func(c *config) {
		issuer.SetDuration(c.Set, "WithAnswerLifetime", &c.answerLifetime, d, 0, maxAnswerLifetime)
	})
}

// WithRefusalLifetime sets for how long a refusal is believed: the longest time
// for which a new token is refused that was presented before the issuer knew it.
// The default is 10 seconds, the most a minute; with 0 a client can make the issuer
// be asked with each request.
func WithRefusalLifetime(d time.Duration) Option {
	return option(func(c *config) {
		issuer.SetDuration(c.Set, "WithRefusalLifetime", &c.refusalLifetime, d, 0, maxRefusalLifetime)
	})
}

// WithStaleAnswers lets known tokens pass for d after [WithAnswerLifetime] is over,
// as long as the issuer cannot be asked. It adds d to the time for which a revoked
// token may be accepted, but nothing to the token's exp. Without it, the answer to
// the request is then 503. The most is a day.
func WithStaleAnswers(d time.Duration) Option {
	return option(func(c *config) {
		issuer.SetDuration(c.Set, "WithStaleAnswers", &c.staleAnswers, d, time.Second, maxStaleAnswers)
	})
}

// WithStore lets the replicas of a service share the answers of the endpoint. It
// takes what a constructor returns. The [Introspector]'s own memory stays in front
// of the Store. A refusal seen here outweighs an older positive answer in it.
func WithStore(s Store, err error) Option {
	return option(func(c *config) {
		if options.Part(c.Set, "WithStore", s, err) {
			c.store = s
		}
	})
}

// RequireSigned asks for answers that are signed by the issuer (RFC 9701), and
// accepts no others. The keys are those of its key set, the algorithms those of
// [WithAlgorithms]. The client has to be registered for it with the issuer.
func RequireSigned() Option {
	return option(func(c *config) { c.signed = c.Once("RequireSigned") || c.signed })
}

// DangerouslyAllowMissingAudience accepts tokens for which the issuer names no
// aud, as many introspection endpoints do. Such a token may have been made for
// another service, which can then use it here. An aud that is there is checked,
// unless [DangerouslyAcceptAnyAudience] says otherwise; an empty one is refused.
//
// Endpoints call refresh tokens active too, and may name no aud for them. So an
// answer without aud must show that it is about an access token: by token_type,
// or by the claim typ or token_use.
func DangerouslyAllowMissingAudience() Option {
	return option(func(c *config) {
		c.MissingAudience = c.Once("DangerouslyAllowMissingAudience") || c.MissingAudience
	})
}

// DangerouslyAcceptAnyAudience compares aud with nothing: a token that the issuer
// made for any other service is accepted here, and the operator of that service can
// use here what it is sent (RFC 9700, section 2.3). The audience that New is given
// must then be "". A token without any aud is refused all the same (but see
// [DangerouslyAllowMissingAudience]).
//
// ID tokens are refused too, which takes more evidence than usual since their
// audience does not give them away any more: an answer must show by token_type or
// scope, or by the claim typ or token_use, that it is about an access token.
// Without aud, scope is not enough.
//
// With [RequireSigned], the answers themselves are still for this service's client
// id alone (RFC 9701, section 5).
func DangerouslyAcceptAnyAudience() Option {
	return option(func(c *config) {
		c.AnyAudience = c.Once("DangerouslyAcceptAnyAudience") || c.AnyAudience
	})
}

// DangerouslyIgnoreConfirmation names cnf members that are known not to bind the
// token to anything: see [oidc.DangerouslyIgnoreConfirmation].
func DangerouslyIgnoreConfirmation(members ...string) Option {
	return option(func(c *config) { c.IgnoreConfirmation(c.Set, members) })
}

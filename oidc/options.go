package oidc

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/keybound-go/middleware/internal/jose"
)

// Limits and defaults.
const (
	defaultSkew         = 30 * time.Second
	maxSkew             = 5 * time.Minute // RFC 9068, section 4: "usually no more than a few minutes"
	defaultMaxTokenSize = 16 << 10
	minMaxTokenSize     = 256
	maxMaxTokenSize     = 1 << 20 // net/http's own limit for a whole header
	defaultTokenCache   = 10_000
	maxTokenCache       = 10_000_000
	minCooldown         = time.Second
	maxCooldown         = time.Hour // the longest time between two background refreshes
)

// Option is a setting of [New], [NewIntrospector] or [NewClientCredentials].
// One that does not apply to the function that it is given to is a mistake, and
// so is one given twice, unless it is a list.
type Option interface{ apply(*config) }

// user is a set of the functions that take options.
type user uint8

const (
	forVerifier user = 1 << iota
	forIntrospector
	forClientCredentials

	forAll = forVerifier | forIntrospector | forClientCredentials
)

func (u user) String() string {
	switch u {
	case forVerifier:
		return "New"
	case forIntrospector:
		return "NewIntrospector"
	case forClientCredentials:
		return "NewClientCredentials"
	}
	return "unknown"
}

// option is the only implementation of Option.
type option struct {
	name  string
	list  bool // may be given more than once
	users user // of which functions it is an option
	set   func(*config) error
}

func (o option) apply(c *config) {
	if o.users&c.user == 0 {
		c.problem("%s does not apply to %s", o.name, c.user)
		return
	}
	if c.given[o.name] && !o.list {
		c.problem("%s is given twice", o.name)
		return
	}
	c.given[o.name] = true
	if err := o.set(c); err != nil {
		c.problem("%s: %w", o.name, err)
	}
}

// config is what the options of one call add up to, and every mistake in them.
type config struct {
	user     user
	given    map[string]bool
	problems []error

	issuer      string
	audiences   []string
	anyAudience bool
	provider    providerConfig

	profile    Profile
	algorithms []string
	skew       time.Duration
	maxSize    int
	cacheSize  int
	keys       KeySource
	ignoredCnf []string
}

// newConfig applies opts to the defaults. Its caller adds the problems that
// only it can see, and returns c.err().
func newConfig(u user, issuer string, opts []Option) *config {
	c := &config{
		user:       u,
		given:      make(map[string]bool),
		issuer:     issuer,
		algorithms: defaultAlgorithms(),
		skew:       defaultSkew,
		maxSize:    defaultMaxTokenSize,
		cacheSize:  defaultTokenCache,
	}
	for _, o := range opts {
		if o == nil {
			c.problem("an option is nil")
			continue
		}
		o.apply(c)
	}
	if err := checkIssuer(issuer, c.provider.loopbackHTTP); err != nil {
		c.problem("the issuer: %w", err)
	}
	return c
}

func (c *config) problem(format string, args ...any) {
	c.problems = append(c.problems, fmt.Errorf("oidc: "+format, args...))
}

// err is every problem, one per line, or nil.
func (c *config) err() error { return errors.Join(c.problems...) }

// setAudience adds the audience that a constructor was given, or finds that none
// had to be.
func (c *config) setAudience(audience string) {
	switch {
	case !c.anyAudience:
		c.addAudiences(audience)
	case audience != "" || len(c.audiences) > 0:
		c.problem("DangerouslyAcceptAnyAudience and an audience exclude each other")
	}
}

// addAudiences checks and adds audiences.
func (c *config) addAudiences(audiences ...string) {
	for _, a := range audiences {
		switch {
		case a == "":
			c.problem("an audience is empty")
		case slices.Contains(c.audiences, a):
			c.problem("the audience %q is given twice", a)
		default:
			c.audiences = append(c.audiences, a)
		}
	}
}

// defaultAlgorithms are all the signatures that access tokens are known to be
// signed with. FAPI 2.0 leaves out RS256 to RS512; see WithAlgorithms.
func defaultAlgorithms() []string {
	return []string{
		"ES256", "ES384", "ES512", "PS256", "PS384", "PS512", "RS256", "RS384", "RS512", "EdDSA", "Ed25519",
	}
}

// WithProfile sets how the issuer spells its access tokens. The default is [RFC9068].
func WithProfile(p Profile) Option {
	return option{name: "WithProfile", users: forVerifier | forIntrospector, set: func(c *config) error {
		if !p.valid() {
			return errors.New("not a profile of this package")
		}
		c.profile = p
		return nil
	}}
}

// WithAudiences adds identifiers of this service: a token is accepted if its aud
// contains any of them or the one given to New. It may be given more than once.
func WithAudiences(more ...string) Option {
	return option{name: "WithAudiences", list: true, users: forVerifier | forIntrospector, set: func(c *config) error {
		if len(more) == 0 {
			return errors.New("no audience given")
		}
		c.addAudiences(more...)
		return nil
	}}
}

// WithAlgorithms sets which signatures are accepted (RFC 8725, section 3.1). The
// default is ES256, ES384, ES512, PS256, PS384, PS512, RS256, RS384, RS512,
// EdDSA and Ed25519. There is no way to accept none or a MAC.
func WithAlgorithms(algs ...string) Option {
	return option{name: "WithAlgorithms", users: forVerifier | forIntrospector, set: func(c *config) error {
		if len(algs) == 0 {
			return errors.New("no algorithm given")
		}
		for i, alg := range algs {
			if !slices.Contains(jose.Algorithms(), alg) {
				return fmt.Errorf("%q is not supported; one of %s", alg, strings.Join(jose.Algorithms(), " "))
			}
			if slices.Contains(algs[:i], alg) {
				return fmt.Errorf("%s is given twice", alg)
			}
		}
		c.algorithms = slices.Clone(algs)
		return nil
	}}
}

// WithSkew sets by how much the issuer's clock may differ from ours, for exp,
// nbf and iat. The default is 30 seconds, the most is 5 minutes (RFC 9068,
// section 4); 0 is allowed.
func WithSkew(d time.Duration) Option {
	return option{name: "WithSkew", users: forVerifier | forIntrospector, set: func(c *config) error {
		if d < 0 || d > maxSkew {
			return fmt.Errorf("%v is not between 0 and %v", d, maxSkew)
		}
		c.skew = d
		return nil
	}}
}

// WithMaxTokenSize sets how many bytes a token may have; a longer one is
// [ErrTooLarge]. The default is 16 KiB.
func WithMaxTokenSize(bytes int) Option {
	return option{name: "WithMaxTokenSize", users: forVerifier | forIntrospector, set: func(c *config) error {
		if bytes < minMaxTokenSize || bytes > maxMaxTokenSize {
			return fmt.Errorf("%d is not between %d and %d", bytes, minMaxTokenSize, maxMaxTokenSize)
		}
		c.maxSize = bytes
		return nil
	}}
}

// WithTokenCache sets how many verified tokens are kept, so that the next
// request with the same token costs no signature. The default is 10,000; 0
// switches the cache off. An entry takes about 1 KiB plus the claim set.
func WithTokenCache(entries int) Option {
	return option{name: "WithTokenCache", users: forVerifier, set: func(c *config) error {
		if entries < 0 || entries > maxTokenCache {
			return fmt.Errorf("%d is not between 0 and %d", entries, maxTokenCache)
		}
		c.cacheSize = entries
		return nil
	}}
}

// WithKeys sets where the issuer's keys come from, for an issuer without a
// discovery document; nothing is fetched from the issuer then. It takes what
// [github.com/keybound-go/middleware/jwks.New] returns directly, an error
// included. The caller closes the source.
func WithKeys(k KeySource, err error) Option {
	return option{name: "WithKeys", users: forVerifier, set: func(c *config) error {
		if err != nil {
			return err
		}
		if k == nil || isNilPointer(k) {
			return errors.New("the key source is nil")
		}
		c.keys = k
		return nil
	}}
}

// WithMetadataURL sets the URL of the discovery document, for an issuer that
// publishes it elsewhere than RFC 8414 and OpenID Connect Discovery say. The
// issuer that the document names must still be the configured one.
func WithMetadataURL(url string) Option {
	return option{name: "WithMetadataURL", users: forAll, set: func(c *config) error {
		c.provider.metadataURL = url
		return nil
	}}
}

// WithJWKSURI sets the URL of the issuer's key set, so that no discovery document is needed for it.
func WithJWKSURI(url string) Option {
	return option{name: "WithJWKSURI", users: forVerifier | forIntrospector, set: func(c *config) error {
		c.provider.jwksURI = url
		return nil
	}}
}

// WithHTTPClient sets the client for everything that is fetched from the issuer,
// for a proxy, a private CA, or a client certificate. A copy of it is used, which
// follows redirects within one origin only. There are limits on time and size
// whatever the client says.
func WithHTTPClient(client *http.Client) Option {
	return option{name: "WithHTTPClient", users: forAll, set: func(c *config) error {
		if client == nil {
			return errors.New("the client is nil")
		}
		c.provider.client = client
		return nil
	}}
}

// WithCooldown sets the least time between two fetches of the issuer's keys for
// tokens under an unknown key id. The default is 30 seconds; it can be from a
// second, by which made-up key ids cost the issuer as much, to an hour, for
// which tokens under a key that was just rotated in may be refused (with 401, since they cannot be
// told from made-up ones; see package jwks) if the issuer did not publish it before. The wait
// after a failure remains 5 seconds at first and 30 at most.
func WithCooldown(d time.Duration) Option {
	return option{name: "WithCooldown", users: forVerifier | forIntrospector, set: func(c *config) error {
		if d < minCooldown || d > maxCooldown {
			return fmt.Errorf("%v is not between %v and %v", d, minCooldown, maxCooldown)
		}
		c.provider.cooldown = d
		return nil
	}}
}

// DangerouslyAllowLoopbackHTTP accepts http URLs of the issuer whose host is a
// loopback address or localhost. For development only: whoever can answer on
// that port makes the tokens.
func DangerouslyAllowLoopbackHTTP() Option {
	return option{name: "DangerouslyAllowLoopbackHTTP", users: forAll, set: func(c *config) error {
		c.provider.loopbackHTTP = true
		return nil
	}}
}

// DangerouslyAcceptAnyAudience compares aud with nothing: a token that the issuer
// made for any other service is accepted here, and whoever runs one of those can
// use here what it is sent (RFC 9700, section 2.3). The audience that the
// constructor is given must then be "". Every other check remains: a token
// without any aud is refused all the same (RFC 9068, section 2.2; for introspection
// see [DangerouslyAllowMissingAudience]), and so are ID tokens, which takes more
// evidence than usual since their audience does not give them away any more:
//   - [New] refuses the option with the profile [Auth0], by which nothing but aud tells the two
//     apart. By [EntraID], a token without scp is refused if its client is in its aud.
//   - [NewIntrospector] accepts answers that show by token_type or scope, or by the claim typ or
//     token_use, that they are about an access token. Without aud, scope is not enough.
//
// With [WithSignedAnswers], the answers themselves are still for this service's
// client id alone (RFC 9701, section 5).
func DangerouslyAcceptAnyAudience() Option {
	return option{name: "DangerouslyAcceptAnyAudience", users: forVerifier | forIntrospector, set: func(c *config) error {
		c.anyAudience = true
		return nil
	}}
}

// DangerouslyIgnoreConfirmation names cnf members that are known not to bind
// the token to anything. A token whose cnf has only such members is then
// unbound: whoever holds it can use it. Without this option a cnf that names no
// known method is refused. It may be given more than once.
func DangerouslyIgnoreConfirmation(members ...string) Option {
	return option{name: "DangerouslyIgnoreConfirmation", list: true, users: forVerifier | forIntrospector, set: func(c *config) error {
		if len(members) == 0 {
			return errors.New("no member given")
		}
		for _, m := range members {
			if m == "" || m == memberJKT || m == memberX5T {
				return fmt.Errorf("%q cannot be ignored", m)
			}
		}
		c.ignoredCnf = append(c.ignoredCnf, members...)
		return nil
	}}
}

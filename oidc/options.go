package oidc

import (
	"net/http"
	"slices"
	"time"

	"github.com/keybound-go/middleware/internal/issuer"
	"github.com/keybound-go/middleware/internal/options"
	"github.com/keybound-go/middleware/internal/origins"
)

// Limits of the cooldown.
const (
	minCooldown = time.Second
	maxCooldown = time.Hour // the longest time between two background refreshes
)

// Option is a setting of [New] or [Issuer.Verifier]. One given twice is a mistake,
// unless it is a list.
type Option interface{ apply(*config) }

// IssuerOption is a setting of [NewIssuer], and of [New], which makes its Issuer
// itself.
type IssuerOption interface {
	Option
	applyIssuer(*issuerConfig)
}

type option func(*config)

func (o option) apply(c *config) { o(c) }

type issuerOption struct {
	name string
	set  func(*issuerConfig)
}

func (o issuerOption) applyIssuer(c *issuerConfig) { o.set(c) }

func (o issuerOption) apply(c *config) {
	if c.issuer == nil {
		c.Problem("%s is a setting of the Issuer: give it to NewIssuer", o.name)
		return
	}
	o.set(c.issuer)
}

// issuerConfig is what the options of one Issuer add up to, and every mistake in them.
type issuerConfig struct {
	*options.Set
	issuer.Config
}

func newIssuerConfig(s *options.Set, url string) *issuerConfig {
	return &issuerConfig{s, issuer.Config{URL: url}}
}

// setURL sets to. What is wrong with the URL shows when the Issuer is made.
func (c *issuerConfig) setURL(option string, to *string, url string) {
	switch {
	case !c.Once(option):
	case url == "":
		c.Problem("%s: the URL is empty", option)
	default:
		*to = url
	}
}

// check reports what only all options together show.
func (c *issuerConfig) check() {
	if err := c.Check(c.URL); err != nil {
		c.Problem("the issuer: %w", err)
	}
	if c.AlsoNamed != "" {
		if err := c.Check(c.AlsoNamed); err != nil {
			c.Problem("WithMetadataIssuer: %w", err)
		}
		if c.AlsoNamed == c.URL {
			c.Problem("WithMetadataIssuer: %s is the issuer itself", c.AlsoNamed)
		}
	}
	if c.Given("WithKeys") && (c.Given("WithJWKSURI") || c.Given("WithCooldown")) {
		c.Problem("with WithKeys no keys are fetched, so WithJWKSURI and WithCooldown have no meaning")
	}
}

// config is what the options of one Verifier add up to, and every mistake in them.
type config struct {
	*options.Set
	issuer *issuerConfig // nil: the Issuer exists

	issuer.Checks
	cacheSize int

	withoutAudience []string // clients whose tokens may be without aud
	origins         []string // where the tokens are good, in normal form
}

// newConfig applies opts to the defaults.
func newConfig(i *issuerConfig, opts []Option) *config {
	c := &config{issuer: i, Checks: issuer.DefaultChecks(), cacheSize: issuer.DefaultCacheSize}
	if i == nil {
		c.Set = options.For("oidc")
	} else {
		c.Set = i.Set
	}
	options.Each(c.Set, opts, func(o Option) { o.apply(c) })
	return c
}

// WithProfile sets how the issuer spells its access tokens. The default is [RFC9068].
func WithProfile(p Profile) Option {
	return option(func(c *config) {
		if !c.Once("WithProfile") {
			return
		}
		if options.IsNil(p) {
			c.Problem("WithProfile: nil")
			return
		}
		d, err := p.dialect()
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

// WithAlgorithms sets which signatures are accepted (RFC 8725, section 3.1). The
// default is ES256, ES384, ES512, PS256, PS384, PS512, RS256, RS384, RS512,
// EdDSA and Ed25519. There is no way to accept none or a MAC.
func WithAlgorithms(algs ...string) Option {
	return option(func(c *config) { c.SetAlgorithms(c.Set, algs) })
}

// FAPI2 sets what the FAPI 2.0 Security Profile demands of JWT access tokens. It
// makes this setting, which can then not be made again:
//
//	WithAlgorithms("PS256", "ES256", "EdDSA", "Ed25519")   section 5.4
func FAPI2() Option { return WithAlgorithms("PS256", "ES256", "EdDSA", "Ed25519") }

// WithSkew sets by how much the issuer's clock may differ from ours, for exp,
// nbf and iat. The default is 30 seconds, the most is 5 minutes (RFC 9068, section 4); 0
// is allowed.
func WithSkew(d time.Duration) Option {
	return option(func(c *config) { c.SetSkew(c.Set, d) })
}

// WithMaxTokenSize sets how many bytes a token may have; a longer one is
// [ErrTooLarge]. The default is 16 KiB.
func WithMaxTokenSize(bytes int) Option {
	return option(func(c *config) { c.SetMaxSize(c.Set, bytes) })
}

// WithCacheSize sets how many verified tokens are kept, so that the next
// request with the same token costs no signature. The default is 10,000; 0
// switches the cache off. An entry takes about 1 KiB plus the claim set.
func WithCacheSize(entries int) Option {
	return option(func(c *config) { issuer.SetCacheSize(c.Set, &c.cacheSize, entries, 0) })
}

// WithOrigins sets at which origins of this service the issuer's tokens are good: scheme
// and host, and port if it is not the default one ("https://acme.example"). A guard of
// package middleware refuses them elsewhere with [ErrOrigin], bound or not, and compares
// proofs with these origins in the place of those given to dpop.New. The default is every
// origin of the service. It may be given more than once.
//
// The Host of the request must be that of an origin: a proxy in front must pass it on,
// and must not strip a path.
func WithOrigins(more ...string) Option {
	return option(func(c *config) {
		if len(more) == 0 {
			c.Problem("WithOrigins: no origin given")
		}
		for _, s := range more {
			normal, err := origins.Parse(s)
			switch {
			case err != nil:
				c.Problem("WithOrigins: %q: %w", s, err)
			case slices.Contains(c.origins, normal):
				c.Problem("WithOrigins: %q is given twice", s)
			default:
				c.origins = append(c.origins, normal)
			}
		}
	})
}

// WithKeys sets where the issuer's keys come from, for an issuer without a
// discovery document; nothing is fetched from the issuer then. It takes what
// [github.com/keybound-go/middleware/jwks.New] returns directly, an error
// included. The caller closes the source.
func WithKeys(k KeySource, err error) IssuerOption {
	return issuerOption{"WithKeys", func(c *issuerConfig) {
		if options.Part(c.Set, "WithKeys", k, err) {
			c.Keys = k
		}
	}}
}

// WithMetadataURL sets the URL of the discovery document, for an issuer that
// publishes it elsewhere than RFC 8414 and OpenID Connect Discovery say. The
// issuer that the document names must still be the configured one.
func WithMetadataURL(url string) IssuerOption {
	return issuerOption{"WithMetadataURL", func(c *issuerConfig) { c.setURL("WithMetadataURL", &c.MetadataURL, url) }}
}

// WithMetadataIssuer names a second value that the issuer of the discovery document may
// have, for an issuer that services reach under another name than clients do (a
// compose file, a cluster). The document's issuer must equal the configured issuer or
// this value; tokens must name the configured issuer in any case. RFC 8414, section 3.3,
// knows no second name: a server that answers under it makes the tokens.
//
//	oidc.New("https://id.example/realms/main", audience,
//		oidc.WithMetadataURL("https://keycloak.internal/realms/main/.well-known/openid-configuration"),
//		oidc.WithMetadataIssuer("https://keycloak.internal/realms/main"))
//
// With this option jwks_uri must be on the origin of the discovery document, or be set
// by [WithJWKSURI].
func WithMetadataIssuer(issuer string) IssuerOption {
	return issuerOption{"WithMetadataIssuer", func(c *issuerConfig) { c.setURL("WithMetadataIssuer", &c.AlsoNamed, issuer) }}
}

// WithJWKSURI sets the URL of the issuer's key set, so that no discovery document is
// needed for it.
func WithJWKSURI(url string) IssuerOption {
	return issuerOption{"WithJWKSURI", func(c *issuerConfig) { c.setURL("WithJWKSURI", &c.JWKSURI, url) }}
}

// WithHTTPClient sets the client for everything that is fetched from the issuer,
// for a proxy, a private CA, or a client certificate. A copy of it is used, which
// follows redirects within one origin only. There are limits on time and size
// whatever the client says.
func WithHTTPClient(client *http.Client) IssuerOption {
	return issuerOption{"WithHTTPClient", func(c *issuerConfig) {
		if options.Value(c.Set, "WithHTTPClient", client) {
			c.Client = client
		}
	}}
}

// WithCooldown sets the least time between two fetches of the issuer's keys for tokens
// under an unknown key id. The default is 30 seconds; it can be from a second, by which
// made-up key ids cost the issuer as much, to an hour, for which tokens under a key
// that was just rotated in may be refused (with 401, since they cannot be told from
// made-up ones; see package jwks) if the issuer did not publish it before. The wait
// after a failure remains 5 seconds at first and 30 at most.
func WithCooldown(d time.Duration) IssuerOption {
	return issuerOption{"WithCooldown", func(c *issuerConfig) {
		issuer.SetDuration(c.Set, "WithCooldown", &c.Cooldown, d, minCooldown, maxCooldown)
	}}
}

// DangerouslyAllowLoopbackHTTP permits http to loopback addresses, for the URL of the
// issuer and all that its metadata names. For development only: any program that
// can listen on that port can make tokens.
//
// The address that is dialled decides, not the name: http://keycloak.test:8080
// works where that name stands for 127.0.0.1, and where it does not is an error of
// the first request that needs the issuer, and of Ready. No proxy is asked. 0.0.0.0
// and :: are no loopback addresses. With [WithHTTPClient] it is not known what is
// dialled, so the host must be localhost or a loopback address as it is written.
func DangerouslyAllowLoopbackHTTP() IssuerOption {
	return issuerOption{"DangerouslyAllowLoopbackHTTP", func(c *issuerConfig) {
		c.LoopbackHTTP = c.Once("DangerouslyAllowLoopbackHTTP") || c.LoopbackHTTP
	}}
}

// DangerouslyAllowMissingAudience accepts tokens without aud, which
// RFC 9068, section 2.2, forbids, if they are of one of the named clients: Keycloak
// leaves aud out where full scope is off. Such a token is for no service, so that every
// service of the issuer that does the same accepts it, and its operator can use it at the
// others (RFC 9700, section 2.3). A token with an aud must name this service all the
// same, one with an empty aud included. New refuses the option with a profile by which
// only aud tells access tokens from ID tokens.
func DangerouslyAllowMissingAudience(clientIDs ...string) Option {
	return option(func(c *config) {
		if !c.Once("DangerouslyAllowMissingAudience") {
			return
		}
		if len(clientIDs) == 0 || slices.Contains(clientIDs, "") {
			c.Problem("DangerouslyAllowMissingAudience: name the clients, none of them empty")
		}
		c.withoutAudience = slices.Clone(clientIDs)
	})
}

// DangerouslyAcceptAnyAudience compares aud with nothing: a token that the issuer made
// for any other service is accepted here, and the operator of that service can use here
// what it is sent (RFC 9700, section 2.3). The audience that the constructor is given
// must then be "". Every other check remains: a token without any aud is refused all
// the same (RFC 9068, section 2.2), and so are ID tokens, which takes more evidence
// than usual since their audience does not give them away any more: New refuses the
// option with the profile [Auth0], by which nothing but aud tells the two apart. By
// [EntraID], a token without scp is refused if its client is in its aud.
func DangerouslyAcceptAnyAudience() Option {
	return option(func(c *config) { c.AnyAudience = c.Once("DangerouslyAcceptAnyAudience") || c.AnyAudience })
}

// DangerouslyIgnoreConfirmation names cnf members that are known not to bind
// the token to anything. A token whose cnf has only such members is then
// unbound: any client that holds it can use it. Without this option a cnf that names no
// known method is refused. It may be given more than once.
func DangerouslyIgnoreConfirmation(members ...string) Option {
	return option(func(c *config) { c.IgnoreConfirmation(c.Set, members) })
}

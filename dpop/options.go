package dpop

import (
	"slices"
	"time"

	"github.com/keybound-go/middleware/internal/jose"
	"github.com/keybound-go/middleware/internal/options"
	"github.com/keybound-go/middleware/internal/origins"
)

// Defaults and limits.
const (
	defaultLifetime = 60 * time.Second
	defaultSkew     = 30 * time.Second
	defaultMaxSize  = 8 << 10

	// RFC 9449, section 11.1: "on the order of seconds or minutes".
	maxLifetime = time.Hour
	maxSkew     = 10 * time.Minute

	// An RSA-4096 proof with a long URI takes 2 KiB.
	minMaxSize = 1 << 10
	maxMaxSize = 1 << 20
)

// Option configures a [Verifier]. Unless its documentation says that it takes a
// list, giving an option twice is a mistake that [New] reports.
type Option interface{ apply(*config) }

// config collects what the options say.
type config struct {
	*options.Set
	origins       []string
	internalHosts []string
	algorithms    []string
	lifetime      time.Duration
	skew          time.Duration
	maxSize       int
	exactHTU      bool
	plainHTTP     bool
	replay        ReplayCache
	nonces        NonceSource
	failOpen      func(error)
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

// WithOrigins adds external origins, for a service that is reached under several
// names. They have the form of the one given to [New]. The request's Host
// selects the origins that its proof may name. A list: it can be given several
// times.
func WithOrigins(more ...string) Option {
	more = slices.Clone(more)
	return optionFunc(func(c *config) {
		if len(more) == 0 {
			c.Problem("WithOrigins: no origin given")
		}
		c.origins = append(c.origins, more...)
	})
}

// WithInternalHosts names the Host values that a proxy in front writes in the
// place of the client's, as nginx and Apache do unless told otherwise. Requests
// with such a Host are taken as sent to any of the configured origins. Each is a
// host with an optional port, as it stands in the Host field. A list: it can be
// given several times.
func WithInternalHosts(hosts ...string) Option {
	hosts = slices.Clone(hosts)
	return optionFunc(func(c *config) {
		if len(hosts) == 0 {
			c.Problem("WithInternalHosts: no host given")
		}
		c.internalHosts = append(c.internalHosts, hosts...)
	})
}

// WithAlgorithms sets the JWS algorithms that a proof may be signed with, in the
// order in which challenges name them. The default is ES256 ES384 ES512 PS256
// PS384 PS512 EdDSA Ed25519; RS256, RS384 and RS512 can be added here. Neither
// "none" nor an HMAC can (RFC 9449, section 11.6).
func WithAlgorithms(algs ...string) Option {
	algs = slices.Clone(algs)
	return once("WithAlgorithms", func(c *config) {
		if len(algs) == 0 {
			c.Problem("WithAlgorithms: no algorithm given")
		}
		for i, alg := range algs {
			if !slices.Contains(jose.Algorithms(), alg) {
				c.Problem("WithAlgorithms: %q is not an algorithm for proofs", alg)
			}
			if slices.Contains(algs[:i], alg) {
				c.Problem("WithAlgorithms: %s given twice", alg)
			}
		}
		c.algorithms = algs
	})
}

// WithLifetime sets how old a proof may be: by its iat or, with nonces, by its
// nonce. The default is 60 s, the most is one hour.
func WithLifetime(d time.Duration) Option {
	return once("WithLifetime", func(c *config) {
		if d <= 0 || d > maxLifetime {
			c.Problem("WithLifetime: %v is not between 0 and %v", d, maxLifetime)
		}
		c.lifetime = d
	})
}

// WithSkew sets how far ahead of ours a client's clock may be; clocks that are
// behind use up the lifetime instead. The clocks of replicas that share a
// [ReplayCache] or the keys of [Nonces] may differ by as much. The default is
// 30 s, the most is ten minutes; zero is allowed.
func WithSkew(d time.Duration) Option {
	return once("WithSkew", func(c *config) {
		if d < 0 || d > maxSkew {
			c.Problem("WithSkew: %v is not between 0 and %v", d, maxSkew)
		}
		c.skew = d
	})
}

// WithMaxSize sets how many bytes the DPoP field may have. The default is 8 KiB.
func WithMaxSize(bytes int) Option {
	return once("WithMaxSize", func(c *config) {
		if bytes < minMaxSize || bytes > maxMaxSize {
			c.Problem("WithMaxSize: %d is not between %d and %d", bytes, minMaxSize, maxMaxSize)
		}
		c.maxSize = bytes
	})
}

// WithReplayCache sets where used proofs are remembered. It takes what the
// cache's constructor returns:
//
//	dpop.WithReplayCache(redisstore.NewReplayCache(client))
//
// The default is a [MemoryCache] of the Verifier's own, which is right for a service
// that runs as one process. A cache may serve several Verifiers, of different
// requests: a second one that is asked about the same request with a cache that the
// first one has used sees a replay.
//
// Verifiers that share a cache may differ in lifetime, skew and nonces. A [MemoryCache]
// (and the one of redisstore) remembers for the longest of their windows. A proof that
// it could not tell from a used one is refused as too old, and one that another
// Verifier would accept later as too early. So where one of them goes by iat, those
// with nonces no longer serve clients with a clock that is further ahead than the
// skew. Behind another cache, give all of them the same settings.
func WithReplayCache(cache ReplayCache, err error) Option {
	return optionFunc(func(c *config) {
		if options.Part(c.Set, "WithReplayCache", cache, err) {
			c.replay = cache
		}
	})
}

// WithNonces requires every proof to carry a nonce that source has issued within
// the proof lifetime. It takes what [NewNonces] returns:
//
//	dpop.WithNonces(dpop.NewNonces(key))
//
// There is no mode in which nonces are optional: RFC 9449, section 11.3, forbids
// to accept a proof without nonce from a client that was given one, and a
// stateless server cannot tell which clients were.
func WithNonces(source NonceSource, err error) Option {
	return optionFunc(func(c *config) {
		if options.Part(c.Set, "WithNonces", source, err) {
			c.nonces = source
		}
	})
}

// CheckIssuedAt demands an iat in the window of [WithLifetime] and [WithSkew] also
// where [WithNonces] is given. The age of the nonce would do (RFC 9449, section 4.3,
// check 11), but some profiles demand both. A proof with a good nonce and an iat
// outside of the window is refused as invalid_dpop_proof: a new nonce would not help.
func CheckIssuedAt() Option {
	return once("CheckIssuedAt", func(*config) {})
}

// CompareExactly compares htu byte by byte. The query and fragment are dropped
// all the same, but "HTTPS://API.EXAMPLE:443/%7Ea" is no longer what
// "https://api.example/~a" is. RFC 9449, section 4.3, recommends against it.
func CompareExactly() Option {
	return once("CompareExactly", func(c *config) { c.exactHTU = true })
}

// DangerouslyAllowPlainHTTP permits configured origins with the scheme http that
// are not on the loopback interface. An attacker with a view of the traffic
// then reads the access tokens, and can use the proofs of requests that they intercept.
func DangerouslyAllowPlainHTTP() Option {
	return once("DangerouslyAllowPlainHTTP", func(c *config) { c.plainHTTP = true })
}

// DangerouslyAllowReplay keeps no record of used proofs: a proof that leaks can
// be used again, with the token that it was made for, at the URI that it was
// made for, until its lifetime ends.
func DangerouslyAllowReplay() Option {
	return once("DangerouslyAllowReplay", func(*config) {})
}

// DangerouslyFailOpen accepts proofs while the replay cache returns errors, and
// calls report with each of them. An attacker with a way to bring the cache down can
// then replay proofs. report is called on the goroutine of the request, by several at
// the same time, and must not block.
func DangerouslyFailOpen(report func(error)) Option {
	return optionFunc(func(c *config) {
		if options.Value(c.Set, "DangerouslyFailOpen", report) {
			c.failOpen = report
		}
	})
}

// parseOrigins also finds an origin that is given twice.
func (c *config) parseOrigins() []origin {
	var origins []origin
	for _, s := range c.origins {
		o, err := newOrigin(s, c.plainHTTP)
		if err != nil {
			c.Problem("origin %q: %w", s, err)
			continue
		}
		if slices.Contains(origins, o) {
			c.Problem("origin %q given twice", s)
		}
		origins = append(origins, o)
	}
	return origins
}

func (c *config) parseInternalHosts() []string {
	var hosts []string
	for _, s := range c.internalHosts {
		normal, ok := origins.AppendAuthority(nil, "", s)
		if !ok || !origins.HasValidPort(string(normal)) {
			c.Problem("WithInternalHosts: %q is not a host", s)
			continue
		}
		hosts = append(hosts, string(normal))
	}
	return hosts
}

// err checks what only makes sense together and joins all problems.
func (c *config) err() error {
	if c.Given("DangerouslyAllowReplay") && c.Given("WithReplayCache") {
		c.Problem("DangerouslyAllowReplay contradicts WithReplayCache")
	}
	if c.Given("DangerouslyAllowReplay") && c.Given("DangerouslyFailOpen") {
		c.Problem("DangerouslyAllowReplay leaves nothing for DangerouslyFailOpen to do")
	}
	return c.Err()
}

package extauthz

import (
	"crypto"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"

	"github.com/keybound-go/middleware/internal/identity"
	"github.com/keybound-go/middleware/internal/options"
)

// Option is a setting of [New]. Given twice, it is a mistake, unless its comment says
// otherwise.
type Option interface{ apply(*config) }

type optionFunc func(*config)

func (f optionFunc) apply(c *config) { f(c) }

type config struct {
	*options.Set
	prefixes []netip.Prefix
	unix     bool
	sign     *identity.Signer
	logger   *slog.Logger
}

// WithEnvoy trusts the peers with an address in one of the prefixes to ask about
// requests. It may be given several times. The prefixes must be narrow: an attacker that
// can connect from a trusted address can submit any request as if a client had sent it,
// and use up the client's proof.
func WithEnvoy(prefixes ...netip.Prefix) Option {
	prefixes = slices.Clone(prefixes)
	return optionFunc(func(c *config) {
		if len(prefixes) == 0 {
			c.Problem("WithEnvoy: no trusted prefix")
		}
		c.prefixes = append(c.prefixes, prefixes...)
	})
}

// TrustUnixSocket trusts every peer that reaches a unix socket to ask about requests: the
// permissions of the socket's file decide which processes do.
func TrustUnixSocket() Option {
	return optionFunc(func(c *config) { c.unix = c.Once("TrustUnixSocket") || c.unix })
}

// Signer signs assertions for one service. It is safe for concurrent use, and does not
// show its key when it is printed.
type Signer struct{ signer *identity.Signer }

// NewSigner returns a Signer for the service of that name, which its
// forwardauth.Receiver must have as well. The key is the Server's own: RSA of 2048 to
// 4096 bits, P-256, P-384, P-521 or Ed25519, and used for nothing else.
func NewSigner(service string, key crypto.Signer) (*Signer, error) {
	s, err := identity.NewSigner(service, key)
	if err != nil {
		return nil, fmt.Errorf("extauthz: %w", err)
	}
	return &Signer{s}, nil
}

// String names the service and the public key.
func (s *Signer) String() string {
	if s == nil {
		return "extauthz.Signer(none)"
	}
	return fmt.Sprintf("extauthz.Signer(%v)", s.signer)
}

// GoString is String.
func (s *Signer) GoString() string { return s.String() }

// WithAssertion adds to each answer by which a request with a token may pass a signed
// assertion for one service, in the field X-Auth-Assertion. It takes what [NewSigner]
// returns. The assertion is for the path that Envoy has judged: a route that rewrites it
// makes the assertion useless.
func WithAssertion(s *Signer, err error) Option {
	return optionFunc(func(c *config) {
		if !options.Part(c.Set, "WithAssertion", s, err) {
			return
		}
		if c.sign = s.signer; c.sign == nil {
			c.Problem("WithAssertion: the zero Signer signs nothing")
		}
	})
}

// WithLogger sets where the Server reports questions that it cannot understand or that
// come from untrusted peers: at most one line per cause in ten seconds. The default is
// slog.Default(). The Guard reports its own decisions.
func WithLogger(l *slog.Logger) Option {
	return optionFunc(func(c *config) {
		if options.Value(c.Set, "WithLogger", l) {
			c.logger = l
		}
	})
}

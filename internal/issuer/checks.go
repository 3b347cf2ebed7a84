package issuer

import (
	"slices"
	"strings"
	"time"

	"github.com/keybound-go/middleware/internal/dialect"
	"github.com/keybound-go/middleware/internal/jose"
	"github.com/keybound-go/middleware/internal/options"
)

// Limits and defaults of [Checks] and of the memories of its users.
const (
	defaultSkew         = 30 * time.Second
	maxSkew             = 5 * time.Minute // RFC 9068, section 4: "usually no more than a few minutes"
	defaultMaxTokenSize = 16 << 10
	minMaxTokenSize     = 256
	maxMaxTokenSize     = 1 << 20 // net/http's own limit for a whole header

	DefaultCacheSize = 10_000
	maxCacheSize     = 10_000_000
)

// Checks are the settings that an oidc.Verifier and an introspect.Introspector have
// in common: which tokens of an issuer are accepted here. Each room has options of
// its own for them; what a value may be is said once, here.
type Checks struct {
	Dialect     *dialect.Dialect
	ClientID    string // what the issuer calls us, of an Introspector
	Audiences   []string
	AnyAudience bool     // Audiences is empty then
	Algorithms  []string // of signatures
	Skew        time.Duration
	MaxSize     int // of a token, in bytes

	MissingAudience     bool     // an answer may be without aud
	IgnoredConfirmation []string // members of cnf
}

// DefaultChecks are what holds without an option.
func DefaultChecks() Checks {
	return Checks{
		Dialect: &dialect.Vendors[dialect.RFC9068],
		// All the signatures that access tokens are known to be signed with. FAPI 2.0
		// leaves out RS256 to RS512.
		Algorithms: []string{"ES256", "ES384", "ES512", "PS256", "PS384", "PS512", "RS256", "RS384", "RS512", "EdDSA", "Ed25519"},
		Skew:       defaultSkew,
		MaxSize:    defaultMaxTokenSize,
	}
}

// SetFirstAudience adds the audience that a constructor was given, or finds that
// none had to be.
func (c *Checks) SetFirstAudience(s *options.Set, audience string) {
	switch {
	case !c.AnyAudience:
		c.addAudiences(s, audience)
	case audience != "" || len(c.Audiences) > 0:
		s.Problem("DangerouslyAcceptAnyAudience and an audience exclude each other")
	}
}

// AddAudiences is WithAudiences.
func (c *Checks) AddAudiences(s *options.Set, more []string) {
	if len(more) == 0 {
		s.Problem("WithAudiences: no audience given")
	}
	c.addAudiences(s, more...)
}

func (c *Checks) addAudiences(s *options.Set, audiences ...string) {
	for _, a := range audiences {
		switch {
		case a == "":
			s.Problem("an audience is empty")
		case slices.Contains(c.Audiences, a):
			s.Problem("the audience %q is given twice", a)
		default:
			c.Audiences = append(c.Audiences, a)
		}
	}
}

// AcceptsAudience reports whether a token for the stated audiences is for this service:
// one of them is ours or, with AnyAudience, there is one.
func (c *Checks) AcceptsAudience(stated []string) bool {
	return slices.ContainsFunc(stated, func(s string) bool {
		return c.AnyAudience && s != "" || slices.Contains(c.Audiences, s)
	})
}

// SetAlgorithms is WithAlgorithms.
func (c *Checks) SetAlgorithms(s *options.Set, algs []string) {
	if !s.Once("WithAlgorithms") {
		return
	}
	if len(algs) == 0 {
		s.Problem("WithAlgorithms: no algorithm given")
		return
	}
	for i, alg := range algs {
		switch {
		case !slices.Contains(jose.Algorithms(), alg):
			s.Problem("WithAlgorithms: %q is not supported; one of %s", alg, strings.Join(jose.Algorithms(), " "))
			return
		case slices.Contains(algs[:i], alg):
			s.Problem("WithAlgorithms: %s is given twice", alg)
			return
		}
	}
	c.Algorithms = slices.Clone(algs)
}

// SetSkew is WithSkew.
func (c *Checks) SetSkew(s *options.Set, d time.Duration) {
	SetDuration(s, "WithSkew", &c.Skew, d, 0, maxSkew)
}

// SetMaxSize is WithMaxTokenSize.
func (c *Checks) SetMaxSize(s *options.Set, bytes int) {
	setInt(s, "WithMaxTokenSize", &c.MaxSize, bytes, minMaxTokenSize, maxMaxTokenSize)
}

// IgnoreConfirmation is DangerouslyIgnoreConfirmation.
func (c *Checks) IgnoreConfirmation(s *options.Set, members []string) {
	if len(members) == 0 {
		s.Problem("DangerouslyIgnoreConfirmation: no member given")
	}
	for _, m := range members {
		if m == "" || m == "jkt" || m == "x5t#S256" {
			s.Problem("DangerouslyIgnoreConfirmation: %q cannot be ignored", m)
			return
		}
	}
	c.IgnoredConfirmation = append(c.IgnoredConfirmation, members...)
}

// SetCacheSize is WithCacheSize.
func SetCacheSize(s *options.Set, to *int, entries, least int) {
	setInt(s, "WithCacheSize", to, entries, least, maxCacheSize)
}

func setInt(s *options.Set, name string, to *int, n, least, most int) {
	switch {
	case !s.Once(name):
	case n < least || n > most:
		s.Problem("%s: %d is not between %d and %d", name, n, least, most)
	default:
		*to = n
	}
}

// SetDuration sets to, within bounds.
func SetDuration(s *options.Set, name string, to *time.Duration, d, least, most time.Duration) {
	switch {
	case !s.Once(name):
	case d < least || d > most:
		s.Problem("%s: %v is not between %v and %v", name, d, least, most)
	default:
		*to = d
	}
}

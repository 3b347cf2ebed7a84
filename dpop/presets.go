package dpop

import "time"

// FAPI2 sets what the FAPI 2.0 Security Profile demands of proofs, and nothing
// beyond it. It makes these settings, none of which can then be made again:
//
//	WithAlgorithms("PS256", "ES256", "EdDSA", "Ed25519")   section 5.4
//	WithLifetime(60 * time.Second)                         section 5.3.2.1
//	WithSkew(30 * time.Second)
//
// The replay cache is on by default; section 6.2 recommends [WithNonces] too.
func FAPI2() Option {
	return options{
		WithAlgorithms("PS256", "ES256", "EdDSA", "Ed25519"),
		WithLifetime(60 * time.Second),
		WithSkew(30 * time.Second),
	}
}

// MCP sets what clients of Model Context Protocol servers expect (SEP-1932): a
// window of five minutes to both sides. It makes these settings:
//
//	WithLifetime(5 * time.Minute)
//	WithSkew(5 * time.Minute)
func MCP() Option {
	return options{WithLifetime(5 * time.Minute), WithSkew(5 * time.Minute)}
}

// options are several options as one.
type options []Option

func (o options) apply(c *config) {
	for _, opt := range o {
		opt.apply(c)
	}
}

// Settings are what a [Verifier] was told, for those who must know whether it is
// strict enough: presets, and operators.
type Settings struct {
	Algorithms     []string
	Lifetime, Skew time.Duration
	Nonces         bool // proofs must carry one
	ReplayCache    bool // each proof is accepted once
	FailOpen       bool // unless the replay cache fails
	PlainHTTP      bool // an origin is http
}

// Settings returns the settings of v. The slice is the caller's.
func (v *Verifier) Settings() Settings {
	s := Settings{
		Algorithms: v.Algorithms(), Lifetime: v.lifetime, Skew: v.skew,
		Nonces: v.nonces != nil, ReplayCache: v.replay != nil, FailOpen: v.failOpen != nil,
	}
	for _, o := range v.origins {
		s.PlainHTTP = s.PlainHTTP || o.scheme == "http"
	}
	return s
}

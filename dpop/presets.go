package dpop

import (
	"slices"
	"time"
)

// FAPI2 sets what the FAPI 2.0 Security Profile demands of proofs, and nothing
// beyond it. It makes these settings, none of which can then be made again:
//
//	WithAlgorithms("PS256", "ES256", "EdDSA", "Ed25519")   section 5.4
//	WithLifetime(60 * time.Second)                         section 5.3.2.1
//	WithSkew(30 * time.Second)
//
// The replay cache is on by default; section 6.2 recommends [WithNonces] too.
func FAPI2() Option {
	return several{
		WithAlgorithms("PS256", "ES256", "EdDSA", "Ed25519"),
		WithLifetime(60 * time.Second),
		WithSkew(30 * time.Second),
	}
}

// MCP sets what clients of Model Context Protocol servers expect (SEP-1932): a
// window of five minutes to both sides, also with nonces. It makes these settings:
//
//	WithLifetime(5 * time.Minute)
//	WithSkew(5 * time.Minute)
//	CheckIssuedAt()
func MCP() Option {
	return several{WithLifetime(5 * time.Minute), WithSkew(5 * time.Minute), CheckIssuedAt()}
}

// several options as one.
type several []Option

func (o several) apply(c *config) {
	for _, opt := range o {
		opt.apply(c)
	}
}

// Settings are what a [Verifier] was told, for presets and operators that must know
// whether it is strict enough. The Settings of the zero Verifier are zero.
type Settings struct {
	// Origins are the configured external origins in their normal form, path
	// prefix included, the one given to [New] first.
	Origins []string
	// Algorithms are the accepted ones in their configured order, for the algs of
	// a challenge.
	Algorithms     []string
	Lifetime, Skew time.Duration
	MaxSize        int  // of the DPoP field, in bytes
	Nonces         bool // proofs must carry one
	IssuedAt       bool // iat must lie in the window: always without nonces
	ReplayCache    bool // each proof is accepted once
	FailOpen       bool // unless the replay cache fails
	ReplayLocal    bool // the replay cache is this process's alone: a [MemoryCache]
	PlainHTTP      bool // an origin is http
}

// Memory returns the [MemoryCache] in which v remembers used proofs, or nil if they are
// remembered elsewhere or not at all.
func (v *Verifier) Memory() *MemoryCache {
	if v == nil {
		return nil
	}
	cache, _ := v.replay.(*MemoryCache)
	return cache
}

// Settings returns the settings of v. The slices are the caller's.
func (v *Verifier) Settings() Settings {
	if v == nil || len(v.origins) == 0 {
		return Settings{}
	}
	s := Settings{
		Algorithms: slices.Clone(v.algorithms), Lifetime: v.lifetime, Skew: v.skew, MaxSize: v.maxSize,
		Nonces: v.nonces != nil, IssuedAt: v.judgesIssuedAt(), ReplayCache: v.replay != nil, FailOpen: v.failOpen != nil,
	}
	_, s.ReplayLocal = v.replay.(*MemoryCache)
	for _, o := range v.origins {
		s.Origins = append(s.Origins, o.base)
		s.PlainHTTP = s.PlainHTTP || o.scheme == "http"
	}
	return s
}

// Package issuer answers: what is known of one issuer, and how is it asked?
//
// It is the inside of an oidc.Issuer: the metadata, the key set, the hardened HTTP
// client and the endpoints that forms are posted to. oidc/introspect and
// oidc/exchange borrow it through [Inside], and oidc/tenants takes Verifiers over
// through [InsideVerifier], so that package oidc exports nothing for them.
package issuer

import (
	"context"
	"crypto"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/keybound-go/middleware/internal/dialect"
	"github.com/keybound-go/middleware/internal/remote"
	"github.com/keybound-go/middleware/jwks"
)

// Config is how an issuer is reached.
type Config struct {
	URL          string // the issuer identifier
	MetadataURL  string // "": by the rules of RFC 8414 and OpenID Connect Discovery
	AlsoNamed    string // what the metadata may call the issuer besides URL; "": nothing
	JWKSURI      string // "": from the metadata
	Client       *http.Client
	LoopbackHTTP bool
	Cooldown     time.Duration // of the keys; 0: the default
	Keys         Keys          // nil: those of the key set
}

// plain says which http URLs of the issuer may be called.
func (c *Config) plain() remote.Plain { return remote.PlainFor(c.LoopbackHTTP, c.Client) }

func (i *Issuer) plain() remote.Plain { return remote.PlainFor(i.loopback, i.client) }

// Keys is an oidc.KeySource.
type Keys interface {
	Keys(ctx context.Context, alg, kid string) ([]crypto.PublicKey, error)
	Contains(key crypto.PublicKey) bool
}

// Issuer is the inside of an oidc.Issuer. Its methods may be called concurrently.
type Issuer struct {
	URL    string
	Keys   Keys
	Source *jwks.Source // Keys, if they are fetched; nil otherwise

	client   *http.Client // as configured; nil: none
	loopback bool
	also     string // see Config.AlsoNamed
	origin   string // of the metadata
	metadata *remote.Resource[*Metadata]
	fixed    bool // the keys take no metadata
}

// Inside returns the inside of an *oidc.Issuer, or nil for a nil or zero one.
// Package oidc sets it when it is initialised.
var Inside func(outside any) *Issuer

// DialectOf returns the inside of an oidc.Profile, or what is wrong with it. Package oidc
// sets it when it is initialised.
var DialectOf func(profile any) (*dialect.Dialect, error)

// NewToken makes an *oidc.Token of a claim set, by the Dialect of some Checks and the
// cnf members that they ignore. It checks nothing else. The error is an oidc.TokenError.
// Package oidc sets NewToken when it is initialised.
var NewToken func(claims []byte, by *Checks) (token any, r *dialect.Reading, err error)

// failureCooldown is the default of package jwks, which a Cooldown leaves alone.
const failureCooldown = 5 * time.Second

// New starts nothing and touches no network.
//
// Precondition: c.URL has passed [Config.Check].
func New(c Config) (*Issuer, error) {
	i := &Issuer{URL: c.URL, Keys: c.Keys, client: c.Client, loopback: c.LoopbackHTTP, also: c.AlsoNamed}
	var problems []error
	if err := i.makeMetadata(c); err != nil {
		problems = append(problems, err)
	}
	i.fixed = c.Keys != nil || c.JWKSURI != ""
	if c.Keys == nil {
		if err := i.makeKeys(c); err != nil {
			problems = append(problems, err)
		}
	}
	if err := errors.Join(problems...); err != nil {
		return nil, err
	}
	return i, nil
}

// makeKeys makes the source of the issuer's key set.
func (i *Issuer) makeKeys(c Config) (err error) {
	var opts []jwks.Option
	if c.Client != nil {
		opts = append(opts, jwks.WithHTTPClient(c.Client))
	}
	if c.Cooldown > 0 {
		opts = append(opts, jwks.WithCooldown(c.Cooldown, failureCooldown))
	}
	if c.LoopbackHTTP {
		opts = append(opts, jwks.DangerouslyAllowLoopbackHTTP())
	}
	if c.JWKSURI == "" {
		i.Source, err = jwks.NewLocated(i.jwksURI, opts...)
	} else if i.Source, err = jwks.New(c.JWKSURI, opts...); err != nil {
		err = fmt.Errorf("oidc: WithJWKSURI: %w", err)
	}
	i.Keys = i.Source
	return err
}

// PrefetchKeys fetches the key set, and the metadata if that takes it, unless they
// are at hand.
func (i *Issuer) PrefetchKeys(ctx context.Context) error {
	if source, ok := i.Keys.(interface{ Prefetch(context.Context) error }); ok {
		return source.Prefetch(ctx)
	}
	return nil
}

// Close ends the background work. The Issuer may be used afterwards, but what it
// knows grows old.
func (i *Issuer) Close() error {
	var problems []error
	if i.Source != nil {
		problems = append(problems, i.Source.Close())
	}
	return errors.Join(append(problems, i.metadata.Close())...)
}

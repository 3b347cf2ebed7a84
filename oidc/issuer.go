package oidc

import (
	"context"
	"crypto"
	"errors"

	"github.com/keybound-go/middleware/internal/issuer"
	"github.com/keybound-go/middleware/internal/options"
	"github.com/keybound-go/middleware/jwks"
)

// Issuer is one issuer of access tokens: its metadata, its keys, the HTTP client
// for both, and their schedule. Make one with [NewIssuer]. A [Verifier], an
// introspect.Introspector and an exchange.Exchange borrow it, so that a service
// that uses an issuer in several ways fetches its metadata once and its keys once.
//
//	i, err := oidc.NewIssuer("https://issuer.example/realms/main")
//	...
//	defer i.Close()
//	jwts, err := i.Verifier("https://api.example")
//	opaque, err := introspect.New(i, "https://api.example", clientauth.SecretBasic("api", secret))
//
// Its methods may be called concurrently. The zero Issuer, and a nil one, is
// refused by what would borrow it.
type Issuer struct{ inside *issuer.Issuer }

func (i *Issuer) insides() *issuer.Issuer {
	if i == nil {
		return nil
	}
	return i.inside
}

var errNoIssuer = errors.New("oidc: this Issuer was not made by NewIssuer")

// NewIssuer returns the Issuer with the identifier url (RFC 8414, section 2),
// exactly as its tokens and its metadata have it, a slash at the end included.
//
// NewIssuer reports every mistake at once. It starts nothing and touches no
// network: metadata and keys are fetched when the first token needs them (or by
// [Issuer.Prefetch]), so that a service starts, and recovers, while the issuer is
// down.
func NewIssuer(url string, opts ...IssuerOption) (*Issuer, error) {
	c := newIssuerConfig(options.For("oidc"), url)
	options.Each(c.Set, opts, func(o IssuerOption) { o.applyIssuer(c) })
	return c.makeIssuer()
}

// makeIssuer makes the Issuer, or reports every problem of c.
func (c *issuerConfig) makeIssuer() (*Issuer, error) {
	c.check()
	inside, err := issuer.New(c.Config)
	c.Join(err)
	if err := c.Err(); err != nil {
		return nil, err
	}
	return &Issuer{inside}, nil
}

// URL is the issuer identifier.
func (i *Issuer) URL() string {
	if i.insides() == nil {
		return ""
	}
	return i.inside.URL
}

// String is "oidc.Issuer(" and the identifier.
func (i *Issuer) String() string { return "oidc.Issuer(" + i.URL() + ")" }

// Prefetch fetches the keys, and the metadata if that takes it, and returns at once
// if they are at hand: for the start of a service and for its readiness probe. An
// error says what is missing; what borrows the Issuer works all the same as soon
// as the issuer does.
func (i *Issuer) Prefetch(ctx context.Context) error {
	if i.insides() == nil {
		return errNoIssuer
	}
	return i.inside.PrefetchKeys(ctx)
}

// Close ends the background refreshes that the first token started. A key source
// from [WithKeys] is not closed. What borrows the Issuer may be used afterwards,
// but what it knows grows old. Close may be called more than once.
func (i *Issuer) Close() error {
	if i.insides() == nil {
		return nil
	}
	return i.inside.Close()
}

// KeySource is where a [Verifier] gets the keys of its issuer.
// [github.com/keybound-go/middleware/jwks.Source] is one.
//
// Implementations are called concurrently. What they answer decides whose
// tokens are accepted: a source must hold the keys of one issuer only.
//
// A source may also have a method Generation() uint64: as long as it returns the
// same value, and that is not 0, Contains answers the same. It spares the cache
// of verified tokens a call of Contains for each request.
type KeySource interface {
	// Keys returns the keys that may have signed a token with these header members; kid
	// is "" if there is none. At most 16 of them are tried. Both arguments come from
	// the client. If there is no such key, the error is jwks.ErrNoKey, or one that
	// wraps it: the token is refused. With any other error the answer to the request is
	// 503.
	Keys(ctx context.Context, alg, kid string) ([]crypto.PublicKey, error)

	// Contains reports, without waiting for anything, whether the issuer still
	// publishes key. Once it does not, tokens that the key signed are not accepted any
	// more, cached or not.
	Contains(key crypto.PublicKey) bool
}

// maxKeys limits how many signatures one token may cost.
const maxKeys = 16

var _ KeySource = (*jwks.Source)(nil)

// Packages introspect and exchange borrow Issuers.
func init() {
	issuer.Inside = func(outside any) *issuer.Issuer { return outside.(*Issuer).insides() }
}

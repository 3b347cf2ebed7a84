package oidc

import (
	"context"
	"errors"

	"github.com/keybound-go/middleware/internal/issuer"
	"github.com/keybound-go/middleware/internal/options"
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

func init() {
	issuer.Inside = func(outside any) *issuer.Issuer { return outside.(*Issuer).insides() }
}

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

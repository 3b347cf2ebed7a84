package mtlspop

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"time"

	"github.com/keybound-go/middleware/internal/outage"
)

// A RevocationChecker says whether a chain holds a revoked certificate. Package
// mtlspop/revocation has one for OCSP and CRL.
//
// Check must be safe for concurrent use. It is called on the path of the request, with
// the request's context, after everything else about the certificate was found good. A
// checker that asks over a network should remember answers, and failures for seconds at
// most.
//
// The chain starts with the client's certificate and ends with the root, each
// certificate signed by the next; it holds two certificates at least, unless
// the client's certificate is itself a root. It is shared between requests:
// Check must not modify it.
//
// Check returns nil if the chain is good; an error that matches [ErrRevoked]
// by errors.Is if it is revoked, for which the client is refused; and any
// other error if it cannot tell, for which the service answers that it is
// unavailable. A checker that returns nil where it cannot tell lets revoked certificates
// pass whenever its sources are down. That is the operator's choice to make.
type RevocationChecker interface {
	Check(ctx context.Context, chain []*x509.Certificate) error
}

// checkRevocation tells the two families of errors apart.
func checkRevocation(ctx context.Context, c RevocationChecker, chain []*x509.Certificate) error {
	err := c.Check(ctx, chain)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, ErrRevoked):
		return ErrRevoked
	default:
		return outage.As(outage.Revocation, fmt.Errorf("mtlspop: revocation could not be checked: %w", err))
	}
}

// anchors builds chains to a set of roots. It is safe for concurrent use.
type anchors struct {
	roots         func() *x509.CertPool
	intermediates []*x509.Certificate // of the operator, beside those the client sends
	partial       bool                // an intermediate in roots may end a chain
	known         recent[knownChain]
}

// knownChain is a chain that was good under pool. It stays good for as long as
// pool is the set of roots and every certificate is within its validity.
//
// Invariant: pool is held here, so that its address cannot come to mean
// another pool.
type knownChain struct {
	pool  *x509.CertPool
	chain []*x509.Certificate
}

// errNoRoots is the service's trouble. Roots that are nil would mean the
// system's to crypto/x509, and every web site has a chain to those.
var errNoRoots = errors.New("mtlspop: there are no roots: the function of WithRootsFunc returned nil")

// chain returns a chain from leaf to one of the roots. A chain found before is
// found again by sum, leaf's digest, whatever else the client sent this time:
// that the chain exists is what counts.
func (a *anchors) chain(leaf *x509.Certificate, sum thumbprint, others func() ([]*x509.Certificate, error)) ([]*x509.Certificate, error) {
	pool := a.roots()
	if pool == nil {
		return nil, outage.As(outage.Roots, errNoRoots)
	}
	now := time.Now()
	if k, ok := a.known.get(sum); ok && k.pool == pool && allValidAt(k.chain, now) {
		return k.chain, nil
	}
	sent, err := others()
	if err != nil {
		return nil, err
	}
	chain, err := a.build(leaf, sent, pool, now)
	if err != nil {
		return nil, err
	}
	a.known.put(sum, knownChain{pool: pool, chain: chain})
	return chain, nil
}

// build verifies signatures, validity and usage.
func (a *anchors) build(leaf *x509.Certificate, sent []*x509.Certificate, pool *x509.CertPool, now time.Time) ([]*x509.Certificate, error) {
	if !validAt(leaf, now) {
		return nil, ErrExpired
	}
	intermediates := x509.NewCertPool()
	for _, cert := range a.intermediates {
		intermediates.AddCert(cert)
	}
	for _, cert := range sent {
		intermediates.AddCert(cert)
	}
	chains, err := leaf.Verify(x509.VerifyOptions{
		Roots:         pool,
		Intermediates: intermediates,
		CurrentTime:   now,
		KeyUsages:     []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	})
	if err != nil {
		return nil, ErrUntrusted
	}
	for _, chain := range chains {
		if a.partial || selfIssued(chain[len(chain)-1]) {
			return chain, nil
		}
	}
	return nil, ErrUntrusted
}

// selfIssued reports whether cert can be a root. crypto/x509 takes whatever is
// in the pool of roots for one.
func selfIssued(cert *x509.Certificate) bool {
	return bytes.Equal(cert.RawSubject, cert.RawIssuer)
}

func allValidAt(chain []*x509.Certificate, now time.Time) bool {
	for _, cert := range chain {
		if !validAt(cert, now) {
			return false
		}
	}
	return true
}

// validAt has both ends inclusive (RFC 5280, section 4.1.2.5).
func validAt(cert *x509.Certificate, now time.Time) bool {
	return !now.Before(cert.NotBefore) && !now.After(cert.NotAfter)
}

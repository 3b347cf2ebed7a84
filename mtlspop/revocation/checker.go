package revocation

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"
	"time"

	"github.com/keybound-go/middleware/mtlspop"
)

// Checker tells whether certificates are revoked. It is safe for concurrent use. The zero Checker refuses everything; use
// [New].
type Checker struct {
	mode    Mode
	ttl     time.Duration
	observe func(ctx context.Context, cert *x509.Certificate, err error)
	client  *client
	answers *memo[answerKey, answer]
	lists   *memo[listKey, *crl]
}

var _ mtlspop.RevocationChecker = (*Checker)(nil)

// answer is what a CA said about one certificate. Invariant: it was signed by the CA or its delegate.
type answer struct {
	revoked bool
	since   time.Time // thisUpdate: of two answers, the later one counts
	expires time.Time // when the CA is asked again
	ends    time.Time // as signed: it holds until then if the CA cannot be asked
}

func (a answer) until() time.Time { return a.expires }
func (a answer) cost() int64      { return 1 }

type answerKey [sha256.Size]byte

// ErrNoSource is in the error of a certificate that names neither an OCSP responder nor a list that could be asked.
var ErrNoSource = errors.New("revocation: the certificate names no OCSP responder and no CRL over http")

// maxSources is how many responders, and how many lists, are asked about one certificate.
const maxSources = 3

// Check reports whether a certificate of chain is revoked: nil if none is, or if the mode tolerates not knowing;
// [mtlspop.ErrRevoked] if one is, which is the client's fault; any other error means that the status could not be learned.
//
// Precondition: chain is verified, leaf first and trust anchor last, as in [x509.Certificate.Verify]. The anchor is not
// checked. Check asks the network at most once per certificate and cache life, and returns when ctx ends; an error of ctx
// is returned in every mode. It does not modify chain.
func (c *Checker) Check(ctx context.Context, chain []*x509.Certificate) error {
	switch {
	case c.mode == 0:
		return errors.New("revocation: the Checker was not made by New")
	case c.mode == Off:
		return nil
	case len(chain) == 0:
		return errors.New("revocation: the chain is empty")
	}
	for i, cert := range chain[:len(chain)-1] {
		if err := c.checkOne(ctx, cert, chain[i+1]); err != nil {
			return err
		}
	}
	return nil
}

func (c *Checker) checkOne(ctx context.Context, cert, issuer *x509.Certificate) error {
	if !bytes.Equal(cert.RawIssuer, issuer.RawSubject) {
		return errors.New("revocation: the chain is not in order")
	}
	key := keyOf(cert, issuer)
	got, err := c.answers.get(ctx, key, func(ctx context.Context) (answer, error) {
		return c.learn(ctx, key, cert, issuer)
	})
	switch {
	case err == nil && got.revoked:
		return mtlspop.ErrRevoked
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return fmt.Errorf("revocation: %w", context.Cause(ctx))
	case c.mode == Strict:
		return fmt.Errorf("revocation: status of serial %x unknown: %w", cert.SerialNumber, err)
	}
	if c.observe != nil {
		c.observe(ctx, cert, err)
	}
	return nil
}

// keyOf covers the whole of both certificates: the leaf names whom to ask, the issuer who may answer.
func keyOf(cert, issuer *x509.Certificate) answerKey {
	h := sha256.New()
	issuerSum := sha256.Sum256(issuer.Raw)
	h.Write(issuerSum[:])
	h.Write(cert.Raw)
	return answerKey(h.Sum(nil))
}

// learn asks, and falls back on the answer before, which the CA has signed as current until its end: a source that is cut
// off must neither make a revoked certificate good again, nor everybody's unknown.
func (c *Checker) learn(ctx context.Context, key answerKey, cert, issuer *x509.Certificate) (answer, error) {
	held, ok := c.answers.peek(key)
	ok = ok && time.Now().Before(held.ends)
	got, err := c.ask(ctx, cert, issuer)
	switch {
	case !ok:
		return got, err
	case err == nil && got.since.Before(held.since) && !got.revoked:
		// Somebody on the way can send an answer from before the revocation, as with lists. One that says revoked
		// counts whenever it is from: the clocks of a CA's sources differ.
		held.expires = c.ceiling(held.ends)
		return held, nil
	case err == nil:
		return got, nil
	case errors.Is(err, errUnknown) && !held.revoked:
		return answer{}, err // That is news.
	}
	return held, nil // It has expired, so the next request asks again.
}

// ask asks the responders, then the lists, and takes the first answer.
func (c *Checker) ask(ctx context.Context, cert, issuer *x509.Certificate) (answer, error) {
	var failures []error
	for _, url := range c.client.usable(cert.OCSPServer) {
		got, err := c.askResponder(ctx, url, cert, issuer)
		if err == nil {
			return c.limit(got), nil
		}
		failures = append(failures, fmt.Errorf("OCSP %s: %w", url, err))
	}
	for _, url := range c.client.usable(cert.CRLDistributionPoints) {
		got, err := c.askList(ctx, url, cert, issuer)
		if err == nil {
			return c.limit(got), nil
		}
		failures = append(failures, fmt.Errorf("CRL %s: %w", url, err))
	}
	if failures == nil {
		return answer{}, ErrNoSource
	}
	err := errors.Join(failures...)
	// Only now what the lists said before: another source may have known better.
	for _, url := range c.client.usable(cert.CRLDistributionPoints) {
		if held, ok := c.heldList(url, cert, issuer); ok && (held.revoked || !errors.Is(err, errUnknown)) {
			return held, nil
		}
	}
	return answer{}, err
}

// limit applies the operator's ceiling to the life of an answer.
func (c *Checker) limit(a answer) answer {
	a.expires = c.ceiling(a.expires)
	return a
}

func (c *Checker) ceiling(t time.Time) time.Time {
	if latest := time.Now().Add(c.ttl); t.After(latest) {
		return latest
	}
	return t
}

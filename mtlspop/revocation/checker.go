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

// Checker tells whether certificates are revoked. It is safe for concurrent use. The
// zero Checker refuses everything; use [New].
type Checker struct {
	lifetime     time.Duration
	passUnknown  bool // DangerouslyPassUnknown
	listsOnly    bool
	observe      func(ctx context.Context, cert *x509.Certificate, err error)
	client       *client
	answers      *memo[answerKey, answer]
	lists        *memo[sourceKey, *crl]
	unknown      *failures[answerKey] // certificates about which no source could answer
	unresponsive *failures[sourceKey] // sources that could not answer about any
}

var _ mtlspop.RevocationChecker = (*Checker)(nil)

// answer is what a CA said about one certificate. Invariant: it was signed by the CA or
// its delegate.
type answer struct {
	revoked bool
	since   time.Time // thisUpdate: of two answers, the later one counts
	expires time.Time // when the CA is asked again
	ends    time.Time // as signed: it holds until then if the CA cannot be asked
}

func (a answer) until() time.Time { return a.expires }
func (a answer) cost() int64      { return 1 }

type answerKey [sha256.Size]byte

// ErrNoSource is in the error of a certificate that names neither an OCSP responder nor a
// list that could be asked.
var ErrNoSource = errors.New("revocation: the certificate names no OCSP responder and no CRL over http")

// maxSources is how many responders, and how many lists, are asked about one certificate.
const maxSources = 3

// patience is how long a request waits for the CA's news about a certificate, if the
// answer that is held would do.
const patience = 50 * time.Millisecond

// Check reports whether a certificate of chain is revoked: nil if none is;
// [mtlspop.ErrRevoked] if one is, which is the client's fault; any other error means
// that the status could not be learned, unless [DangerouslyPassUnknown] tolerates that.
//
// Precondition: chain is verified, leaf first and trust anchor last, as in
// [x509.Certificate.Verify]. The anchor is not checked. Check returns when ctx ends, and
// then with an error of ctx in every configuration. It does not modify chain.
func (c *Checker) Check(ctx context.Context, chain []*x509.Certificate) error {
	switch {
	case c == nil || c.client == nil:
		return errors.New("revocation: the Checker was not made by New")
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
	got, err := c.status(ctx, cert, issuer)
	switch {
	case err == nil && got.revoked:
		return mtlspop.ErrRevoked
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return fmt.Errorf("revocation: %w", context.Cause(ctx))
	case c.passUnknown:
		return nil
	}
	return fmt.Errorf("revocation: status of serial %x unknown: %w", cert.SerialNumber, err)
}

// status returns what is known about cert, or could be learned now. No request waits for
// a source that has just failed, and none waits long if a signed answer is held.
func (c *Checker) status(ctx context.Context, cert, issuer *x509.Certificate) (answer, error) {
	key := keyOf(cert, issuer)
	if got, ok := c.answers.now(key); ok {
		return got, nil
	}
	failed, inForce := c.unknown.last(key)
	held, ok := c.held(key, cert, issuer, failed.err)
	if inForce {
		if ok {
			return held, nil
		}
		return answer{}, failed.err
	}
	load := func(ctx context.Context) (answer, error) { return c.learn(ctx, key, cert, issuer) }
	if !ok {
		return c.answers.get(ctx, key, load)
	}
	wait := patience
	if failed.err != nil {
		wait = 0 // The CA did not answer the last time either.
	}
	got, inTime, err := c.answers.getSoon(ctx, key, wait, load)
	if !inTime {
		return held, nil
	}
	return got, err
}

// held returns the last answer about cert, or of a list that it is on, that the CA has
// signed as current until now. After a responder's word that it does not know the
// certificate, nothing good that was said before counts.
func (c *Checker) held(key answerKey, cert, issuer *x509.Certificate, last error) (answer, bool) {
	now := time.Now()
	counts := func(a answer, ok bool) bool {
		return ok && now.Before(a.ends) && (a.revoked || !errors.Is(last, errUnknown))
	}
	if a, ok := c.answers.peek(key); counts(a, ok) {
		return a, true
	}
	for _, source := range c.listsOf(cert, issuer) {
		if a, ok := c.heldList(source, cert); counts(a, ok) {
			return a, true
		}
	}
	return answer{}, false
}

// keyOf covers the whole of both certificates: the leaf names the sources, the issuer the
// key that must sign.
func keyOf(cert, issuer *x509.Certificate) answerKey {
	h := sha256.New()
	issuerSum := sha256.Sum256(issuer.Raw)
	h.Write(issuerSum[:])
	h.Write(cert.Raw)
	return answerKey(h.Sum(nil))
}

// learn asks, and falls back on the answer before, which the CA has signed as current
// until its end: a source that is cut off must neither make a revoked certificate good
// again, nor every other one unknown.
func (c *Checker) learn(ctx context.Context, key answerKey, cert, issuer *x509.Certificate) (answer, error) {
	held, ok := c.answers.peek(key)
	ok = ok && time.Now().Before(held.ends)
	got, err := c.ask(ctx, cert, issuer)
	switch {
	case err == nil && ok && got.since.Before(held.since) && !got.revoked:
		// An attacker on the way can send an answer from before the revocation, as with
		// lists. One that says revoked counts whenever it is from: the clocks of a CA's
		// sources differ.
		held.expires = c.ceiling(held.ends)
		got = held
		fallthrough
	case err == nil:
		c.unknown.clear(key)
		return got, nil
	}
	before, _ := c.unknown.last(key)
	c.unknown.note(key, err, firstPause)
	// Only now what the lists said before: another source could have known better.
	if held, ok := c.held(key, cert, issuer, err); ok {
		return held, nil // It has expired, so it is asked about again after the pause.
	}
	c.answers.forget(key)
	// A list that is too large stays so, and is reported once.
	if c.passUnknown && c.observe != nil && !(errors.Is(err, errTooLarge) && errors.Is(before.err, errTooLarge)) {
		c.observe(ctx, cert, err)
	}
	return answer{}, err
}

// listsOf returns the lists that are asked about cert.
func (c *Checker) listsOf(cert, issuer *x509.Certificate) []sourceKey {
	urls := c.client.usable(cert.CRLDistributionPoints)
	if len(urls) == 0 {
		return nil
	}
	lists, sum := make([]sourceKey, len(urls)), sha256.Sum256(issuer.Raw)
	for i, url := range urls {
		lists[i] = sourceKey{url, sum}
	}
	return lists
}

// ask asks the responders, then the lists, and takes the first answer.
func (c *Checker) ask(ctx context.Context, cert, issuer *x509.Certificate) (answer, error) {
	var problems []error
	if !c.listsOnly {
		for _, url := range c.client.usable(cert.OCSPServer) {
			got, err := c.try(sourceKey{url: url}, func() (answer, error) { return c.askResponder(ctx, url, cert, issuer) })
			if err == nil {
				return c.limit(got), nil
			}
			problems = append(problems, fmt.Errorf("OCSP %s: %w", url, err))
		}
	}
	for _, list := range c.listsOf(cert, issuer) {
		got, err := c.try(list, func() (answer, error) { return c.askList(ctx, list, cert, issuer) })
		if err == nil {
			return c.limit(got), nil
		}
		problems = append(problems, fmt.Errorf("CRL %s: %w", list.url, err))
	}
	if problems == nil {
		return answer{}, ErrNoSource
	}
	return answer{}, errors.Join(problems...)
}

// try asks a source, unless it has just failed, and remembers an outage of it.
func (c *Checker) try(source sourceKey, ask func() (answer, error)) (answer, error) {
	if f, inForce := c.unresponsive.last(source); inForce {
		return answer{}, f.err
	}
	got, err := ask()
	switch {
	case err == nil:
		c.unresponsive.clear(source)
	case errors.Is(err, errTooLarge):
		c.unresponsive.note(source, err, maxPause)
	case errors.As(err, new(outage)):
		c.unresponsive.note(source, err, firstPause)
	}
	return got, err
}

// limit applies the operator's ceiling to the life of an answer.
func (c *Checker) limit(a answer) answer {
	a.expires = c.ceiling(a.expires)
	return a
}

func (c *Checker) ceiling(t time.Time) time.Time {
	if latest := time.Now().Add(c.lifetime); t.After(latest) {
		return latest
	}
	return t
}

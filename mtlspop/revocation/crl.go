package revocation

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"time"
)

// crl is a certificate revocation list whose signature and time were checked, without the
// DER.
type crl struct {
	number     *big.Int // nil if the list has none
	thisUpdate time.Time
	nextUpdate time.Time
	expires    time.Time         // nextUpdate, or the operator's ceiling if that comes first
	size       int64             // of the DER, for which the serials stand in
	sum        [sha256.Size]byte // of the DER
	scope      scope
	revoked    map[string]struct{} // serial numbers, big-endian
}

func (l *crl) until() time.Time { return l.expires }
func (l *crl) cost() int64      { return l.size }

// sourceKey is where an answer or a list is found. A list is also known by the issuer
// that must have signed it; a responder speaks for several, and the issuer is zero.
type sourceKey struct {
	url    string
	issuer [sha256.Size]byte
}

func (c *Checker) askList(ctx context.Context, key sourceKey, cert, issuer *x509.Certificate) (answer, error) {
	l, err := c.lists.get(ctx, key, func(ctx context.Context) (*crl, error) {
		return c.fetchList(ctx, key, issuer)
	})
	if err != nil {
		return answer{}, outage{err} // It is one list for all certificates.
	}
	return l.about(cert)
}

// about is what the list says of a certificate of its issuer.
func (l *crl) about(cert *x509.Certificate) (answer, error) {
	if err := l.scope.covers(cert); err != nil {
		return answer{}, err
	}
	_, revoked := l.revoked[string(cert.SerialNumber.Bytes())]
	return answer{revoked: revoked, since: l.thisUpdate, expires: l.expires, ends: l.nextUpdate}, nil
}

// heldList is askList without the network: what the list said that was fetched last, if
// it is still current.
func (c *Checker) heldList(key sourceKey, cert *x509.Certificate) (answer, bool) {
	l, ok := c.lists.peek(key)
	if !ok || !time.Now().Before(l.nextUpdate) {
		return answer{}, false
	}
	said, err := l.about(cert)
	return said, err == nil
}

func (c *Checker) fetchList(ctx context.Context, key sourceKey, issuer *x509.Certificate) (*crl, error) {
	der, err := c.client.get(ctx, key.url)
	if err != nil {
		return nil, err
	}
	now := time.Now()
	held, ok := c.lists.peek(key)
	ok = ok && now.Before(held.nextUpdate)
	sum := sha256.Sum256(der)
	if ok && held.sum == sum { // Parsing a list of some megabytes takes a second.
		return held.renewed(c.ceiling(held.nextUpdate)), nil
	}
	fresh, err := readList(der, issuer, now)
	if err != nil {
		return nil, err
	}
	// The replicas of a distribution point are not updated at once, and an attacker on
	// the way can send an old list that has not expired: a certificate that was revoked
	// must not become good again by either.
	if ok && held.newerThan(fresh) {
		fresh, sum = held, held.sum
	}
	fresh = fresh.renewed(c.ceiling(fresh.nextUpdate))
	fresh.sum = sum
	return fresh, nil
}

func (l *crl) newerThan(other *crl) bool {
	return l.number != nil && other.number != nil && l.number.Cmp(other.number) > 0
}

// renewed returns a copy of l that is remembered until expires. The serials, which are
// never written again, are shared.
func (l *crl) renewed(expires time.Time) *crl {
	renewed := *l
	renewed.expires = expires
	return &renewed
}

// readList makes the checks of RFC 5280, section 6.3.3, that need no certificate but the
// issuer's.
func readList(der []byte, issuer *x509.Certificate, now time.Time) (*crl, error) {
	parsed, err := x509.ParseRevocationList(der)
	if err != nil {
		return nil, err
	}
	switch {
	case len(parsed.Raw) != len(der):
		return nil, errors.New("trailing data after the list")
	case !bytes.Equal(parsed.RawIssuer, issuer.RawSubject):
		return nil, errors.New("list of another CA")
	case !strong(parsed.SignatureAlgorithm):
		return nil, fmt.Errorf("signature algorithm %v", parsed.SignatureAlgorithm)
	}
	if err := parsed.CheckSignatureFrom(issuer); err != nil {
		return nil, err
	}
	switch {
	case parsed.ThisUpdate.After(now.Add(maxSkew)):
		return nil, errors.New("list from the future")
	case !now.Before(parsed.NextUpdate): // Or there is none, against RFC 5280, section 5.1.2.5.
		return nil, errors.New("list has expired")
	}
	scope, err := scopeOf(parsed.Extensions)
	if err != nil {
		return nil, err
	}
	revoked, err := serials(parsed.RevokedCertificateEntries)
	if err != nil {
		return nil, err
	}
	return &crl{
		number: parsed.Number, thisUpdate: parsed.ThisUpdate, nextUpdate: parsed.NextUpdate, size: int64(len(der)),
		scope: scope, revoked: revoked,
	}, nil
}

// serials collects what is revoked, certificates on hold included.
func serials(entries []x509.RevocationListEntry) (map[string]struct{}, error) {
	revoked := make(map[string]struct{}, len(entries))
	for _, entry := range entries {
		// RFC 5280, section 5.3: with a critical extension that is not understood, such
		// as the one that says that the entry is about another CA's certificate, nothing
		// can be learned from the whole list.
		if slices.ContainsFunc(entry.Extensions, isCritical) {
			return nil, errors.New("critical extension in an entry")
		}
		revoked[string(entry.SerialNumber.Bytes())] = struct{}{}
	}
	return revoked, nil
}

func isCritical(e pkix.Extension) bool { return e.Critical }

// scope says which certificates of its issuer a list speaks about; the zero scope is all
// of them.
type scope struct {
	urls     []string // of the distribution point; empty if the list is for all of them
	userOnly bool
	caOnly   bool
}

// covers reports in an error why the absence of cert from a list of this scope would mean
// nothing: RFC 5280, section 6.3.3 (b) (2).
func (s scope) covers(cert *x509.Certificate) error {
	named := func(url string) bool { return slices.Contains(cert.CRLDistributionPoints, url) }
	switch {
	case len(s.urls) > 0 && !slices.ContainsFunc(s.urls, named):
		return errors.New("list for another distribution point")
	case s.userOnly && cert.IsCA:
		return errors.New("list without CA certificates")
	case s.caOnly && !cert.IsCA:
		return errors.New("list of CA certificates only")
	}
	return nil
}

// scopeOf refuses lists that are not complete by themselves: delta lists announce
// themselves by a critical extension (RFC 5280, section 5.2.4), as does everything else
// that changes the meaning of a list.
func scopeOf(extensions []pkix.Extension) (scope, error) {
	var s scope
	issuingDistributionPoint := asn1.ObjectIdentifier{2, 5, 29, 28}
	for _, e := range extensions {
		switch {
		case e.Id.Equal(issuingDistributionPoint):
			var err error
			if s, err = parseScope(e.Value); err != nil {
				return scope{}, err
			}
		case e.Critical:
			return scope{}, fmt.Errorf("critical extension %v", e.Id)
		}
	}
	return s, nil
}

// parseScope reads an IssuingDistributionPoint: RFC 5280, section 5.2.5. DER leaves out
// what is false, so the presence of a flag sets it.
func parseScope(der []byte) (scope, error) {
	var fields []asn1.RawValue
	if rest, err := asn1.Unmarshal(der, &fields); err != nil || len(rest) > 0 {
		return scope{}, errors.New("malformed distribution point")
	}
	var s scope
	for _, field := range fields {
		if field.Class != asn1.ClassContextSpecific {
			return scope{}, errors.New("malformed distribution point")
		}
		switch field.Tag {
		case 0: // distributionPoint
			var err error
			if s.urls, err = parseFullName(field.Bytes); err != nil {
				return scope{}, err
			}
		case 1: // onlyContainsUserCerts
			s.userOnly = true
		case 2: // onlyContainsCACerts
			s.caOnly = true
		default: // onlySomeReasons, indirectCRL, onlyContainsAttributeCerts
			return scope{}, errors.New("indirect or partial list")
		}
	}
	return s, nil
}

// parseFullName returns the URIs of a DistributionPointName; a list named otherwise
// cannot be matched to a certificate.
func parseFullName(der []byte) ([]string, error) {
	var fullName asn1.RawValue
	if rest, err := asn1.Unmarshal(der, &fullName); err != nil || len(rest) > 0 || fullName.Tag != 0 {
		return nil, errors.New("distribution point without a full name")
	}
	const uniformResourceIdentifier = 6
	var urls []string
	for rest := fullName.Bytes; len(rest) > 0; {
		var name asn1.RawValue
		var err error
		if rest, err = asn1.Unmarshal(rest, &name); err != nil {
			return nil, errors.New("malformed distribution point")
		}
		if name.Tag == uniformResourceIdentifier {
			urls = append(urls, string(name.Bytes))
		}
	}
	if urls == nil {
		return nil, errors.New("distribution point without a URL")
	}
	return urls, nil
}

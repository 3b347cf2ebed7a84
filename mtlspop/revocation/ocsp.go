package revocation

import (
	"bytes"
	"context"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"fmt"
	"slices"
	"time"

	"golang.org/x/crypto/ocsp"
)

const (
	// maxResponse bounds an OCSP response: one signed status and a certificate or two.
	maxResponse = 64 << 10

	// maxSkew is how far a CA's clock may be ahead of this machine's.
	maxSkew = 5 * time.Minute

	// maxUndated is how old a response without nextUpdate may be. Such a responder claims
	// to have newer information at any time (RFC 6960, section 2.4), so an old response
	// is a replayed one.
	maxUndated = time.Hour
)

// errUnknown is the responder's answer that it does not know the certificate.
var errUnknown = errors.New("the responder does not know the certificate")

func (c *Checker) askResponder(ctx context.Context, url string, cert, issuer *x509.Certificate) (answer, error) {
	request, err := ocsp.CreateRequest(cert, issuer, nil)
	if err != nil {
		return answer{}, err
	}
	der, err := c.client.post(ctx, url, request)
	if err != nil {
		return answer{}, err
	}
	if err := checkEnvelope(der); err != nil {
		return answer{}, err
	}
	return readResponse(der, cert, issuer, time.Now())
}

// checkEnvelope tells what a responder sends that has no answer (RFC 6960, section 2.3).
// It is unsigned, so it can only say that the next source is to be asked:
//
//	not an OCSP response, such as a web page   an outage
//	internalError, tryLater                    an outage
//	malformedRequest, sigRequired, unauthorized, others   nothing is here for this certificate
func checkEnvelope(der []byte) error {
	var envelope struct {
		Status asn1.Enumerated
		Bytes  asn1.RawValue `asn1:"explicit,tag:0,optional"`
	}
	if rest, err := asn1.Unmarshal(der, &envelope); err != nil || len(rest) > 0 {
		return outage{errors.New("not an OCSP response")}
	}
	switch status := ocsp.ResponseStatus(envelope.Status); status {
	case ocsp.Success:
		return nil
	case ocsp.InternalError, ocsp.TryLater:
		return outage{ocsp.ResponseError{Status: status}}
	default:
		return ocsp.ResponseError{Status: status}
	}
}

// readResponse makes the checks of RFC 6960, section 3.2, on what a responder sent.
func readResponse(der []byte, cert, issuer *x509.Certificate, now time.Time) (answer, error) {
	// Without an issuer, the parser checks the signature against the embedded certificate
	// only, and against nothing if there is none: checkSigner decides on whose signature
	// counts.
	resp, err := ocsp.ParseResponseForCert(der, cert, nil)
	if err != nil {
		return answer{}, err
	}
	// Checks 1 and 4.
	if err := checkSubject(resp, cert, issuer); err != nil {
		return answer{}, err
	}
	// Checks 2 and 3.
	notAfter, err := checkSigner(resp, issuer, now)
	if err != nil {
		return answer{}, err
	}
	// Checks 5 and 6.
	expires, err := currentUntil(resp, now)
	if err != nil {
		return answer{}, err
	}
	if notAfter.Before(expires) {
		expires = notAfter
	}
	switch resp.Status {
	case ocsp.Good:
		return answer{since: resp.ThisUpdate, expires: expires, ends: expires}, nil
	case ocsp.Revoked:
		return answer{revoked: true, since: resp.ThisUpdate, expires: expires, ends: expires}, nil
	}
	return answer{}, errUnknown
}

// responseData is the part of RFC 6960's ResponseData that the ocsp package reads past:
// whose certificates the response is about. encoding/asn1 ignores the members at the end
// that are not listed.
type responseData struct {
	Version     int `asn1:"optional,default:0,explicit,tag:0"`
	ResponderID asn1.RawValue
	ProducedAt  time.Time `asn1:"generalized"`
	Responses   []singleResponse
	Extensions  []pkix.Extension `asn1:"explicit,tag:1,optional"`
}

type singleResponse struct {
	CertID asn1.RawValue
}

// checkSubject reports whether the response is about cert, of issuer, and says one thing
// only. The ocsp package compares serial numbers, which every CA gives out anew, and
// takes the first of several.
func checkSubject(resp *ocsp.Response, cert, issuer *x509.Certificate) error {
	var data responseData
	if _, err := asn1.Unmarshal(resp.TBSResponseData, &data); err != nil {
		return err
	}
	if slices.ContainsFunc(data.Extensions, func(e pkix.Extension) bool { return e.Critical }) {
		return errors.New("critical extension in the response")
	}
	matches := 0
	for _, single := range data.Responses {
		id, err := parseCertID(single.CertID)
		if err != nil {
			return err
		}
		if id.SerialNumber.Cmp(cert.SerialNumber) != 0 {
			continue
		}
		if err := id.checkIssuer(issuer); err != nil {
			return err
		}
		matches++
	}
	if matches != 1 {
		return fmt.Errorf("%d statuses for one certificate", matches)
	}
	return nil
}

// checkSigner reports whether issuer stands behind the response, and until when its
// delegate may speak for it.
func checkSigner(resp *ocsp.Response, issuer *x509.Certificate, now time.Time) (notAfter time.Time, err error) {
	if !strong(resp.SignatureAlgorithm) {
		return time.Time{}, fmt.Errorf("signature algorithm %v", resp.SignatureAlgorithm)
	}
	// Some CAs sign with their own key and embed their own certificate, so the key
	// decides, not the embedding.
	if err = resp.CheckSignatureFrom(issuer); err == nil {
		return issuer.NotAfter, nil
	}
	if resp.Certificate == nil {
		return time.Time{}, err
	}
	return resp.Certificate.NotAfter, checkDelegate(resp.Certificate, issuer, now)
}

// checkDelegate applies RFC 6960, section 4.2.2.2: issued by the CA directly, and for
// this purpose by name; the "any" purpose does not do.
//
// Precondition: delegate's key made the response's signature, which
// ocsp.ParseResponseForCert checks.
func checkDelegate(delegate, issuer *x509.Certificate, now time.Time) error {
	switch {
	case !bytes.Equal(delegate.RawIssuer, issuer.RawSubject):
		return errors.New("responder certificate of another CA")
	case !slices.Contains(delegate.ExtKeyUsage, x509.ExtKeyUsageOCSPSigning):
		return errors.New("responder certificate is not for OCSP signing")
	case delegate.KeyUsage != 0 && delegate.KeyUsage&x509.KeyUsageDigitalSignature == 0:
		return errors.New("responder certificate is not for signatures")
	case len(delegate.UnhandledCriticalExtensions) > 0:
		return errors.New("critical extension in the responder certificate")
	case now.Before(delegate.NotBefore) || now.After(delegate.NotAfter):
		return errors.New("responder certificate is not valid now")
	}
	return delegate.CheckSignatureFrom(issuer)
}

func currentUntil(resp *ocsp.Response, now time.Time) (time.Time, error) {
	switch {
	case resp.ThisUpdate.After(now.Add(maxSkew)):
		return time.Time{}, errors.New("response from the future")
	case resp.NextUpdate.IsZero() && now.Sub(resp.ThisUpdate) > maxUndated:
		return time.Time{}, errors.New("old response without an end")
	case resp.NextUpdate.IsZero():
		return resp.ThisUpdate.Add(maxUndated), nil
	case !now.Before(resp.NextUpdate):
		return time.Time{}, errors.New("response has expired")
	}
	return resp.NextUpdate, nil
}

// strong leaves out SHA-1 and MD5, with which a CA can be brought to sign something else
// than it sees. [x509.Certificate.CheckSignature] accepts SHA-1 for the sake of old
// lists.
func strong(a x509.SignatureAlgorithm) bool {
	switch a {
	case x509.SHA256WithRSA, x509.SHA384WithRSA, x509.SHA512WithRSA,
		x509.SHA256WithRSAPSS, x509.SHA384WithRSAPSS, x509.SHA512WithRSAPSS,
		x509.ECDSAWithSHA256, x509.ECDSAWithSHA384, x509.ECDSAWithSHA512, x509.PureEd25519:
		return true
	}
	return false
}

package revocation

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"math/big"
)

// certID names a certificate by issuer and serial number: RFC 6960, section 4.1.1.
type certID struct {
	HashAlgorithm  pkix.AlgorithmIdentifier
	IssuerNameHash []byte
	IssuerKeyHash  []byte
	SerialNumber   *big.Int
}

func parseCertID(raw asn1.RawValue) (certID, error) {
	var id certID
	rest, err := asn1.Unmarshal(raw.FullBytes, &id)
	if err == nil && len(rest) > 0 {
		err = errors.New("trailing data in a CertID")
	}
	return id, err
}

func (id certID) checkIssuer(issuer *x509.Certificate) error {
	hash, err := hashOf(id.HashAlgorithm.Algorithm)
	if err != nil {
		return err
	}
	var spki struct {
		Algorithm pkix.AlgorithmIdentifier
		PublicKey asn1.BitString
	}
	if _, err := asn1.Unmarshal(issuer.RawSubjectPublicKeyInfo, &spki); err != nil {
		return err
	}
	if !bytes.Equal(id.IssuerNameHash, sum(hash, issuer.RawSubject)) ||
		!bytes.Equal(id.IssuerKeyHash, sum(hash, spki.PublicKey.RightAlign())) {
		return errors.New("response about another CA's certificate")
	}
	return nil
}

// hashOf knows the hashes of CertIDs. SHA-1 is what responders use; it names the issuer
// here and protects nothing.
func hashOf(oid asn1.ObjectIdentifier) (crypto.Hash, error) {
	switch oid.String() {
	case "1.3.14.3.2.26":
		return crypto.SHA1, nil
	case "2.16.840.1.101.3.4.2.1":
		return crypto.SHA256, nil
	case "2.16.840.1.101.3.4.2.2":
		return crypto.SHA384, nil
	case "2.16.840.1.101.3.4.2.3":
		return crypto.SHA512, nil
	}
	return 0, errors.New("unknown hash in a CertID")
}

func sum(hash crypto.Hash, b []byte) []byte {
	h := hash.New()
	h.Write(b)
	return h.Sum(nil)
}

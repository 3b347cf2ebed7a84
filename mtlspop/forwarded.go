package mtlspop

import (
	"crypto/x509"
	"net/http"

	"github.com/keybound-go/middleware/internal/headers"
)

// Sizes of what a terminator may send. net/http bounds all fields together,
// with 431 (RFC 9440, section 3.2); these bound the work on one of them.
const (
	maxLeafField  = 32 << 10 // percent-encoding can triple a certificate of 10 KB
	maxChainField = 96 << 10 // leaf and chain in one field, or a chain
	maxChain      = 10       // certificates of the chain, without the leaf
)

// forwarding reads the certificate that a trusted peer has put into a field. It is one
// dialect.
type forwarding struct {
	names  []string // canonical: the certificate's, then those of chains
	format Format
	chains []chainField
	from   terminators
	parsed recent[*x509.Certificate]
}

// chainField is one field with certificates between the leaf and the root.
type chainField struct {
	name   string
	format Format
}

// presented is what one field says.
type presented struct {
	sum    thumbprint
	leaf   []byte   // DER; nil if the format forwards a thumbprint only
	others [][]byte // what came behind the leaf in its own field: each one or more certificates in DER
}

// read returns what the certificate's field says. If it says that there is
// none, the error is ErrNoCertificate.
func (f *forwarding) read(h http.Header) (presented, error) {
	value, n := headers.Single(h, f.names[0])
	if n > 1 {
		return presented{}, ErrMalformed // RFC 9440, section 2.2; or a forged one beside ours.
	}
	value = trimSpace(value)
	if f.format.saysNone(value) { // so does an absent field: it is empty
		return presented{}, f.none(h)
	}
	if len(value) > f.format.maxSize() {
		return presented{}, ErrMalformed
	}
	p, ok := f.format.parse(value)
	if !ok {
		return presented{}, ErrMalformed
	}
	if p.sum == thumbprintOfNothing {
		return presented{}, f.none(h)
	}
	return p, nil
}

// none is the answer to a field that holds no certificate.
func (f *forwarding) none(h http.Header) error {
	for _, c := range f.chains {
		value, n := headers.Single(h, c.name)
		if n > 1 || !c.format.saysNone(trimSpace(value)) {
			return ErrMalformed // RFC 9440, section 2.3: no chain without its leaf.
		}
	}
	return ErrNoCertificate
}

// certificate parses p's leaf, and is nil if crypto/x509 cannot: it refuses curves,
// serial numbers and names that other TLS libraries accept. A certificate that was
// parsed before is shared.
//
// Precondition: p has been matched against the thumbprint in a verified token,
// so that only such certificates are remembered.
// crypto/x509 does the parsing (RFC 8705, section 7.5).
func (f *forwarding) certificate(p presented) *x509.Certificate {
	if cert, ok := f.parsed.get(p.sum); ok {
		return cert
	}
	cert, err := x509.ParseCertificate(p.leaf)
	if err != nil {
		cert = nil
	}
	f.parsed.put(p.sum, cert)
	return cert
}

// intermediates parses what was sent beside the leaf. What has the outline of a
// certificate and cannot be parsed is left out: a chain that needs it is not found.
func (f *forwarding) intermediates(h http.Header, p presented) ([]*x509.Certificate, error) {
	ders := p.others
	for _, c := range f.chains {
		more, err := c.read(h)
		if err != nil {
			return nil, err
		}
		ders = append(ders, more...)
	}
	var certs []*x509.Certificate
	n := 0
	for _, rest := range ders {
		for len(rest) > 0 {
			size := sequenceSize(rest)
			if n++; size == 0 || n > maxChain {
				return nil, ErrMalformed
			}
			if cert, err := x509.ParseCertificate(rest[:size]); err == nil {
				certs = append(certs, cert)
			}
			rest = rest[size:]
		}
	}
	return certs, nil
}

// read returns the field's certificates, each element one or more in DER.
func (c chainField) read(h http.Header) ([][]byte, error) {
	value, n := headers.Single(h, c.name)
	value = trimSpace(value)
	switch {
	case n > 1 || len(value) > maxChainField:
		return nil, ErrMalformed
	case c.format.saysNone(value):
		return nil, nil
	}
	ders := c.format.parseChain(value)
	if ders == nil {
		return nil, ErrMalformed
	}
	return ders, nil
}

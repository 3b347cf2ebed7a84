package mtlspop

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"

	"github.com/keybound-go/middleware/internal/peers"
)

// terminators says which peers may send the forwarded fields.
type terminators struct {
	peers *peers.Set
	proxy *proxyCertificate // nil: the transport address is enough
}

// trust reports whether a request came straight from one of the terminators.
func (t *terminators) trust(p peers.Peer, cs *tls.ConnectionState) bool {
	return t.peers.Trusts(p) && (t.proxy == nil || t.proxy.presentedOn(cs))
}

// proxyCertificate is what a trusted peer must present on its own TLS
// connection. Just one of the fields is set.
type proxyCertificate struct {
	pinned []thumbprint
	roots  *anchors
}

// presentedOn reports whether the connection came over a certificate of the
// proxy.
func (p *proxyCertificate) presentedOn(cs *tls.ConnectionState) bool {
	if cs == nil || len(cs.PeerCertificates) == 0 {
		return false
	}
	leaf := cs.PeerCertificates[0]
	sum := thumbprint(sha256.Sum256(leaf.Raw))
	if p.roots != nil {
		_, err := p.roots.chain(leaf, sum, func() ([]*x509.Certificate, error) { return cs.PeerCertificates[1:], nil })
		return err == nil
	}
	for _, pin := range p.pinned {
		if pin.equal(sum) {
			return true
		}
	}
	return false
}

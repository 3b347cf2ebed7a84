package mtlspop

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/http"
	"net/netip"
)

// peers says who may send the forwarded fields.
type peers struct {
	prefixes []netip.Prefix
	unix     bool // every peer on a unix socket
	proxy    *proxyCertificate
}

// trust reports whether r comes straight from one of the peers.
func (p *peers) trust(r *http.Request) bool {
	return p.trustAddress(r) && (p.proxy == nil || p.proxy.presentedOn(r.TLS))
}

// trustAddress judges the transport address of the peer.
//
// Which network a request came over is what the listener says. RemoteAddr does
// not tell: whoever connects to a unix socket may bind its own end to a file,
// and that file may be named 10.0.0.1:80.
func (p *peers) trustAddress(r *http.Request) bool {
	if local, ok := r.Context().Value(http.LocalAddrContextKey).(net.Addr); ok && local.Network() == "unix" {
		return p.unix
	}
	// An address without a port is not net/http's: a middleware wrote it there.
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return false
	}
	// A dual-stack listener shows IPv4 peers as ::ffff:a.b.c.d. A zone names
	// an interface of this machine, about which a prefix says nothing:
	// Contains is false for it.
	addr := peer.Addr().Unmap()
	for _, prefix := range p.prefixes {
		if prefix.Contains(addr) {
			return true
		}
	}
	return false
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

package mtlspop

import "crypto/tls"

// RequestClientCert returns a copy of c, or of an empty configuration if c is
// nil, for a server that asks every client for a certificate, accepts any
// valid or self-signed one, and serves clients that have none: what RFC 8705, section 4,
// lets a resource server do. Whether a request needs a certificate is then up to its
// token. (In Kong: the tls-handshake-modifier REQUEST.)
//
// TLS itself proves that the client holds the certificate's key. Trust in the
// issuer of the certificate is another question, for [WithRoots].
//
// ClientCAs of the copy is nil. A server that sets it tells clients the names
// of those authorities, and a client then holds back a certificate of another issuer,
// above all a self-signed one.
//
// A ClientAuth in c that is stricter than [tls.RequestClientCert] is kept,
// with its ClientCAs if it verifies against them. RequestClientCert does not
// reach the configurations that c.GetConfigForClient returns: give it to each
// of them.
func RequestClientCert(c *tls.Config) *tls.Config {
	if c == nil {
		c = new(tls.Config)
	}
	c = c.Clone()
	switch c.ClientAuth {
	case tls.NoClientCert, tls.RequestClientCert:
		c.ClientAuth = tls.RequestClientCert
		c.ClientCAs = nil
	case tls.RequireAnyClientCert:
		c.ClientCAs = nil
	}
	return c
}

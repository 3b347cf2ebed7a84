package mtlspop_test

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/keybound-go/middleware/mtlspop"
	"github.com/keybound-go/middleware/mtlspop/mtlspoptest"
)

func TestAFieldOfTwoDialectsIsNamedOnce(t *testing.T) {
	v := newVerifier(t,
		mtlspop.WithForwardedCertificate("X-Client-Cert", mtlspop.PEM, trusted),
		mtlspop.WithDialect("X-Client-Cert", mtlspop.DER, mtlspop.TrustUnixSocket()))
	require.Equal(t, []string{"X-Client-Cert"}, v.ForwardedHeaders())
}

// Three kinds of terminators in front of one service.
func TestEachPeerIsReadInItsOwnDialectOnly(t *testing.T) {
	ca := mtlspoptest.NewCA(t, "Root")
	alice, mallory, proxy := ca.Issue("alice"), ca.Issue("mallory"), ca.Issue("proxy")
	v := newVerifier(t,
		mtlspop.WithForwardedCertificate("Client-Cert", mtlspop.RFC9440, trusted),
		mtlspop.WithDialect("X-Client-Cert", mtlspop.PEM, mtlspop.WithTrustedPeers(netip.MustParsePrefix("192.0.2.0/24")),
			mtlspop.WithForwardedChain("X-Chain", mtlspop.PEM), mtlspop.WithProxyThumbprints(proxy.Thumbprint())),
		mtlspop.WithDialect("X-Ssl-Cert", mtlspop.DER, mtlspop.TrustUnixSocket()))
	require.Equal(t, []string{"Client-Cert", "Client-Cert-Chain", "X-Client-Cert", "X-Chain", "X-Ssl-Cert"}, v.ForwardedHeaders())

	unix := context.WithValue(context.Background(), http.LocalAddrContextKey, net.Addr(&net.UnixAddr{Net: "unix"}))
	for _, peer := range []struct {
		name   string
		from   func(fields ...string) *http.Request
		reads  string
		names  []string
		encode func(*mtlspoptest.Client) string
	}{
		{"HAProxy", func(f ...string) *http.Request { return forwardedFrom(trustedPeer, f...) },
			"Client-Cert", []string{"Client-Cert", "Client-Cert-Chain"}, mtlspoptest.RFC9440},
		{"nginx, with its certificate", func(f ...string) *http.Request {
			r := forwardedFrom("192.0.2.7:80", f...)
			r.TLS = requestOver(proxy).TLS
			return r
		}, "X-Client-Cert", []string{"X-Client-Cert", "X-Chain"}, mtlspoptest.Nginx},
		{"a unix socket that calls itself HAProxy", func(f ...string) *http.Request { return forwardedFrom(trustedPeer, f...).WithContext(unix) },
			"X-Ssl-Cert", []string{"X-Ssl-Cert"}, mtlspoptest.HAProxy},
	} {
		t.Run(peer.name, func(t *testing.T) {
			forged := map[string]string{"Client-Cert": mtlspoptest.RFC9440(mallory), "X-Client-Cert": mtlspoptest.Nginx(mallory), "X-Ssl-Cert": mtlspoptest.HAProxy(mallory)}
			delete(forged, peer.reads)
			r := peer.from(peer.reads, peer.encode(alice))
			for name, value := range forged {
				r.Header.Set(name, value)
			}
			require.True(t, v.TrustsPeer(r))
			require.Equal(t, peer.names, v.TrustedHeaders(mtlspop.RequestOf(r)))
			e, err := v.Verify(r, alice.Thumbprint())
			require.NoError(t, err)
			require.Equal(t, alice.Certificate.Raw, e.DER)
			e, err = v.Verify(r, mallory.Thumbprint())
			refused(t, mtlspop.ErrMismatch, e, err)

			r.Header.Del(peer.reads)
			for _, c := range []*mtlspoptest.Client{alice, mallory} {
				e, err = v.Verify(r, c.Thumbprint())
				refused(t, mtlspop.ErrNoCertificate, e, err)
			}
		})
	}
	for name, r := range map[string]*http.Request{
		"nginx without its certificate":           forwardedFrom("192.0.2.7:80"),
		"nginx with the certificate of a client":  forwardedFrom("192.0.2.7:80"),
		"HAProxy's certificate from another peer": forwardedFrom(untrustedPeer),
	} {
		t.Run(name, func(t *testing.T) {
			r.TLS = &tls.ConnectionState{}
			if name != "nginx without its certificate" {
				r.TLS = requestOver(mallory).TLS
			}
			for header, value := range map[string]string{"Client-Cert": mtlspoptest.RFC9440(alice), "X-Client-Cert": mtlspoptest.Nginx(alice), "X-Ssl-Cert": mtlspoptest.HAProxy(alice)} {
				r.Header.Set(header, value)
			}
			require.Nil(t, v.TrustedHeaders(mtlspop.RequestOf(r)))
			_, err := v.Verify(r, alice.Thumbprint())
			require.Contains(t, []error{mtlspop.ErrPeerNotTrusted, mtlspop.ErrMismatch}, err)
		})
	}
}

package mtlspop_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/keybound-go/middleware/mtlspop"
	"github.com/keybound-go/middleware/mtlspop/mtlspoptest"
)

const (
	trustedPeer   = "10.1.2.3:4567"
	untrustedPeer = "198.51.100.7:4567"
	anyThumbprint = "A4DtL2JmUMhAsvJj5tKyn64SqzmuXbMrJa0n761y5v0"
)

var trusted = netip.MustParsePrefix("10.1.2.0/24")

// forwardedFrom returns a request from peer with the given names and values of
// fields.
func forwardedFrom(peer string, fields ...string) *http.Request {
	r := httptest.NewRequest("GET", "/", nil)
	r.RemoteAddr = peer
	for i := 0; i < len(fields); i += 2 {
		r.Header.Add(fields[i], fields[i+1])
	}
	return r
}

func TestForwardedCertificate(t *testing.T) {
	ca := mtlspoptest.NewCA(t, "Root")
	alice, mallory, proxy := ca.Issue("alice"), ca.Issue("mallory"), ca.Issue("proxy")
	v := newVerifier(t, mtlspop.WithForwardedCertificate("Client-Cert", mtlspop.RFC9440, trusted))

	t.Run("from a trusted peer", func(t *testing.T) {
		cert, err := v.Verify(forwardedFrom(trustedPeer, "Client-Cert", mtlspoptest.RFC9440(alice)), alice.Thumbprint())
		require.NoError(t, err)
		require.Equal(t, alice.Certificate.Raw, cert.Certificate.Raw)
		again, err := v.Verify(forwardedFrom(trustedPeer, "Client-Cert", mtlspoptest.RFC9440(alice)), alice.Thumbprint())
		require.NoError(t, err)
		require.Same(t, cert.Certificate, again.Certificate, "it is parsed once")
	})
	t.Run("of another client", func(t *testing.T) {
		cert, err := v.Verify(forwardedFrom(trustedPeer, "Client-Cert", mtlspoptest.RFC9440(mallory)), alice.Thumbprint())
		refused(t, mtlspop.ErrMismatch, cert, err)
	})
	t.Run("CC-4-01 without the option the field means nothing", func(t *testing.T) {
		r := forwardedFrom(trustedPeer, "Client-Cert", mtlspoptest.RFC9440(alice))
		cert, err := newVerifier(t).Verify(r, alice.Thumbprint())
		refused(t, mtlspop.ErrNoCertificate, cert, err)
	})
	t.Run("CC-4-02 from an untrusted peer the field means nothing", func(t *testing.T) {
		r := forwardedFrom(untrustedPeer, "Client-Cert", mtlspoptest.RFC9440(alice))
		require.False(t, v.TrustsPeer(r))
		cert, err := v.Verify(r, alice.Thumbprint())
		refused(t, mtlspop.ErrPeerNotTrusted, cert, err)
		require.Equal(t, mtlspop.ErrNoCertificate.Code(), mtlspop.ErrPeerNotTrusted.Code())
		require.Equal(t, mtlspop.ErrNoCertificate.Description(), mtlspop.ErrPeerNotTrusted.Description())

		cert, err = v.Verify(forwardedFrom(untrustedPeer), alice.Thumbprint())
		refused(t, mtlspop.ErrNoCertificate, cert, err)
	})
	t.Run("CC-4-02 from an untrusted peer not even a malformed field matters beside its own certificate", func(t *testing.T) {
		r := forwardedFrom(untrustedPeer, "Client-Cert", "junk", "Client-Cert", mtlspoptest.RFC9440(mallory))
		r.TLS = requestOver(alice).TLS
		_, err := v.Verify(r, alice.Thumbprint())
		require.NoError(t, err)
		cert, err := v.Verify(r, mallory.Thumbprint())
		refused(t, mtlspop.ErrMismatch, cert, err)
	})
	t.Run("CC-4-03 no header can make a peer trusted", func(t *testing.T) {
		for _, name := range []string{"X-Forwarded-For", "X-Real-Ip", "Forwarded", "True-Client-Ip", "X-Client-Ip"} {
			r := forwardedFrom(untrustedPeer, "Client-Cert", mtlspoptest.RFC9440(alice), name, "10.1.2.3")
			require.False(t, v.TrustsPeer(r))
			cert, err := v.Verify(r, alice.Thumbprint())
			refused(t, mtlspop.ErrPeerNotTrusted, cert, err)
		}
	})
	t.Run("CC-2.4-02 the certificate of the terminator's own connection is not the client's", func(t *testing.T) {
		r := forwardedFrom(trustedPeer, "Client-Cert", mtlspoptest.RFC9440(alice))
		r.TLS = requestOver(proxy).TLS
		_, err := v.Verify(r, alice.Thumbprint())
		require.NoError(t, err)
		cert, err := v.Verify(r, proxy.Thumbprint())
		refused(t, mtlspop.ErrMismatch, cert, err)

		for _, none := range [][]string{nil, {"Client-Cert", ""}, {"Client-Cert", "::"}} {
			r := forwardedFrom(trustedPeer, none...)
			r.TLS = requestOver(proxy).TLS
			cert, err := v.Verify(r, proxy.Thumbprint())
			refused(t, mtlspop.ErrNoCertificate, cert, err)
		}
	})
	t.Run("CC-2.2-02 several fields are refused, the good one first or last", func(t *testing.T) {
		mine, forged := mtlspoptest.RFC9440(alice), mtlspoptest.RFC9440(mallory)
		for _, fields := range [][2]string{{mine, forged}, {forged, mine}, {mine, mine}, {mine, ""}, {"", mine}, {"::", mine}} {
			r := forwardedFrom(trustedPeer, "Client-Cert", fields[0], "Client-Cert", fields[1])
			cert, err := v.Verify(r, alice.Thumbprint())
			refused(t, mtlspop.ErrMalformed, cert, err)
		}
		require.Equal(t, "invalid_request", mtlspop.ErrMalformed.Code())
	})
	t.Run("CC-2.2-02 so is a list in one field", func(t *testing.T) {
		for _, value := range []string{
			mtlspoptest.RFC9440(alice) + ", " + mtlspoptest.RFC9440(mallory),
			mtlspoptest.RFC9440(mallory) + "," + mtlspoptest.RFC9440(alice),
		} {
			cert, err := v.Verify(forwardedFrom(trustedPeer, "Client-Cert", value), alice.Thumbprint())
			refused(t, mtlspop.ErrMalformed, cert, err)
		}
	})
	t.Run("CC-2.3-01 a chain without its leaf is malformed", func(t *testing.T) {
		chain := mtlspoptest.RFC9440Chain(ca.Intermediate("Intermediate").Issue("carol"))
		for _, leaf := range [][]string{{}, {"Client-Cert", ""}, {"Client-Cert", "::"}} {
			r := forwardedFrom(trustedPeer, append(leaf, "Client-Cert-Chain", chain)...)
			cert, err := v.Verify(r, alice.Thumbprint())
			refused(t, mtlspop.ErrMalformed, cert, err)
		}
		r := forwardedFrom(trustedPeer, "Client-Cert-Chain", "::", "Client-Cert-Chain", "::")
		cert, err := v.Verify(r, alice.Thumbprint())
		refused(t, mtlspop.ErrMalformed, cert, err)
		// HAProxy with unconditional colons says twice that there is none.
		r = forwardedFrom(trustedPeer, "Client-Cert", "::", "Client-Cert-Chain", "::")
		cert, err = v.Verify(r, alice.Thumbprint())
		refused(t, mtlspop.ErrNoCertificate, cert, err)
	})
	t.Run("CC-X-02 a field of absurd size is refused before it is decoded", func(t *testing.T) {
		huge := ":" + strings.Repeat("A", 1<<20) + ":"
		cert, err := v.Verify(forwardedFrom(trustedPeer, "Client-Cert", huge), alice.Thumbprint())
		refused(t, mtlspop.ErrMalformed, cert, err)
	})
	t.Run("the fields to remove are known", func(t *testing.T) {
		names := v.ForwardedHeaders()
		require.Equal(t, []string{"Client-Cert", "Client-Cert-Chain"}, names)
		names[0] = "changed"
		require.Equal(t, "Client-Cert", v.ForwardedHeaders()[0])
	})
	t.Run("a name is found in whatever case it is configured, and not under another spelling", func(t *testing.T) {
		v := newVerifier(t, mtlspop.WithForwardedCertificate("x-CLIENT-cert", mtlspop.DER, trusted))
		require.Equal(t, []string{"X-Client-Cert"}, v.ForwardedHeaders())
		_, err := v.Verify(forwardedFrom(trustedPeer, "X-Client-Cert", mtlspoptest.HAProxy(alice)), alice.Thumbprint())
		require.NoError(t, err)
		r := forwardedFrom(trustedPeer, "X-Client_Cert", mtlspoptest.HAProxy(alice))
		cert, err := v.Verify(r, alice.Thumbprint())
		refused(t, mtlspop.ErrNoCertificate, cert, err)
	})
}

func TestNoCertificateInEverySpelling(t *testing.T) {
	for _, c := range []struct {
		format mtlspop.Format
		value  string
	}{
		{mtlspop.RFC9440, mtlspoptest.RFC9440(nil)}, {mtlspop.RFC9440, ""},
		{mtlspop.PEM, mtlspoptest.Nginx(nil)}, {mtlspop.PEM, mtlspoptest.Apache(nil)}, {mtlspop.PEM, mtlspoptest.ApacheEscaped(nil)},
		{mtlspop.PEM, " "},
		{mtlspop.Base64PEM, mtlspoptest.ApacheBase64(nil)},
		{mtlspop.DER, mtlspoptest.HAProxy(nil)},
		{mtlspop.PEMChain, mtlspoptest.ALBPassthrough(nil)},
		{mtlspop.DERChain, mtlspoptest.Traefik(nil)},
		{mtlspop.ThumbprintHex, mtlspoptest.CaddyFingerprint(nil)},
		{mtlspop.ThumbprintHex, strings.ToUpper(mtlspoptest.CaddyFingerprint(nil))},
		{mtlspop.ThumbprintBase64URL, "47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU"},
		{mtlspop.XFCC(1), mtlspoptest.Envoy(nil)},
		{mtlspop.XFCCThumbprint(1), "Hash=" + mtlspoptest.CaddyFingerprint(nil)},
		{mtlspop.XFCC(2), mtlspoptest.Envoy(nil, mtlspoptest.SelfSigned(t, "outer envoy"))},
		{mtlspop.XFCCThumbprint(2), mtlspoptest.Envoy(nil, mtlspoptest.SelfSigned(t, "outer envoy"))},
	} {
		t.Run(c.format.String()+" "+c.value, func(t *testing.T) {
			v := newVerifier(t, mtlspop.WithForwardedCertificate("X-Client-Cert", c.format, trusted))
			cert, err := v.Verify(forwardedFrom(trustedPeer, "X-Client-Cert", c.value), anyThumbprint)
			refused(t, mtlspop.ErrNoCertificate, cert, err)
			// Not even a token for a certificate that does not exist gets through.
			cert, err = v.Verify(forwardedFrom(trustedPeer, "X-Client-Cert", c.value), "47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU")
			refused(t, mtlspop.ErrThumbprint, cert, err)
		})
	}
}

func TestPeers(t *testing.T) {
	alice := mtlspoptest.SelfSigned(t, "alice")
	option := mtlspop.WithForwardedCertificate("Client-Cert", mtlspop.RFC9440,
		netip.MustParsePrefix("10.1.2.0/24"), netip.MustParsePrefix("2001:db8::/32"), netip.MustParsePrefix("fe80::/10"))
	v := newVerifier(t, option)
	for peer, want := range map[string]bool{
		"10.1.2.3:4567":          true,
		"10.1.3.3:4567":          false,
		"[2001:db8::1]:4567":     true,
		"[2001:db9::1]:4567":     false,
		"[::ffff:10.1.2.3]:4567": true, // dual-stack listeners
		"[::10.1.2.3]:4567":      false,
		"[fe80::1]:4567":         true,
		"[fe80::1%eth0]:4567":    false, // an interface of this machine is in no prefix
		"10.1.2.3":               false, // written by a middleware: net/http gives a port
		"10.1.2.3:":              false,
		"10.1.2.3:http":          false,
		"010.1.2.3:4567":         false,
		" 10.1.2.3:4567":         false,
		"10.1.2.3:4567, x":       false,
		"localhost:4567":         false,
		"@":                      false,
		"":                       false,
	} {
		t.Run("CC-4-03 RemoteAddr "+peer, func(t *testing.T) {
			r := forwardedFrom(peer, "Client-Cert", mtlspoptest.RFC9440(alice))
			require.Equal(t, want, v.TrustsPeer(r))
			_, err := v.Verify(r, alice.Thumbprint())
			require.Equal(t, want, err == nil)
		})
	}
}

// overNetwork returns r as a server shows it whose listener has the address
// local.
func overNetwork(r *http.Request, local net.Addr) *http.Request {
	return r.WithContext(context.WithValue(r.Context(), http.LocalAddrContextKey, local))
}

func TestUnixSocketPeers(t *testing.T) {
	alice := mtlspoptest.SelfSigned(t, "alice")
	unix := &net.UnixAddr{Name: "/run/api.sock", Net: "unix"}
	tcp := &net.TCPAddr{IP: net.IPv4(10, 1, 2, 1), Port: 443}
	forwarded := mtlspop.WithForwardedCertificate("Client-Cert", mtlspop.RFC9440, trusted)
	with, without := newVerifier(t, forwarded, mtlspop.TrustUnixSocket()), newVerifier(t, forwarded)
	for _, c := range []struct {
		name          string
		peer          string
		local         net.Addr
		with, without bool
	}{
		{"CC-4-03 an unnamed peer", "@", unix, true, false},
		{"CC-4-03 a peer that calls itself like a trusted address", "10.1.2.3:4567", unix, true, false},
		{"CC-4-03 a peer of another network that looks unnamed", "@", tcp, false, false},
		{"CC-4-03 a trusted address", "10.1.2.3:4567", tcp, true, true},
		{"CC-4-03 an untrusted address", untrustedPeer, tcp, false, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := overNetwork(forwardedFrom(c.peer, "Client-Cert", mtlspoptest.RFC9440(alice)), c.local)
			require.Equal(t, c.with, with.TrustsPeer(r))
			require.Equal(t, c.without, without.TrustsPeer(r))
		})
	}
	t.Run("CC-4-03 through a real socket, without any prefix", func(t *testing.T) {
		v := newVerifier(t, mtlspop.WithForwardedCertificate("Client-Cert", mtlspop.RFC9440), mtlspop.TrustUnixSocket())
		socket := filepath.Join(t.TempDir(), "s")
		listener, err := net.Listen("unix", socket)
		require.NoError(t, err)
		server := &httptest.Server{Listener: listener, Config: &http.Server{Handler: answer(v)}}
		server.Start()
		defer server.Close()
		client := &http.Client{Transport: &terminator{
			fields: map[string]string{"Client-Cert": mtlspoptest.RFC9440(alice)},
			next: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
				return new(net.Dialer).DialContext(ctx, "unix", socket)
			}},
		}}
		status, _ := ask(t, client, "http://api.example", alice.Thumbprint())
		require.Equal(t, 204, status)
		status, _ = ask(t, client, "http://api.example", anyThumbprint)
		require.Equal(t, 401, status)
	})
}

// terminator is the side of a proxy that faces the service.
type terminator struct {
	fields map[string]string
	next   http.RoundTripper
}

func (p *terminator) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	for name, value := range p.fields {
		mtlspoptest.Forward(r.Header, name, value)
	}
	return p.next.RoundTrip(r)
}

func TestProxyCertificate(t *testing.T) {
	ca, other := mtlspoptest.NewCA(t, "Proxies"), mtlspoptest.NewCA(t, "Clients")
	proxy, successor := ca.Intermediate("Proxies 2").Issue("proxy"), ca.Issue("successor")
	expired := ca.Expired("proxy")
	server := ca.Issue("proxy", func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth} })
	alice := other.Issue("alice")
	forwarded := mtlspop.WithForwardedCertificate("Client-Cert", mtlspop.RFC9440, trusted)

	for name, v := range map[string]*mtlspop.Verifier{
		"thumbprints": newVerifier(t, forwarded, mtlspop.WithProxyThumbprints(proxy.Thumbprint(), successor.Thumbprint())),
		"roots":       newVerifier(t, forwarded, mtlspop.WithProxyRoots(ca.Pool())),
	} {
		for _, c := range []struct {
			name  string
			peer  string
			proxy *mtlspoptest.Client
			want  bool
		}{
			{"the proxy", trustedPeer, proxy, true},
			{"another one", trustedPeer, successor, true},
			{"the proxy from elsewhere", untrustedPeer, proxy, false},
			{"a client of the same network", trustedPeer, alice, false},
			{"a peer without a certificate", trustedPeer, nil, false},
			{"an expired certificate", trustedPeer, expired, false},
			{"a certificate for servers", trustedPeer, server, false},
		} {
			t.Run("CC-4-03 "+name+" "+c.name, func(t *testing.T) {
				for range 2 { // the second time from memory
					r := forwardedFrom(c.peer, "Client-Cert", mtlspoptest.RFC9440(alice))
					r.TLS = requestOver(c.proxy).TLS
					require.Equal(t, c.want, v.TrustsPeer(r))
				}
			})
		}
		t.Run("CC-4-03 "+name+" not even over plain HTTP", func(t *testing.T) {
			require.False(t, v.TrustsPeer(forwardedFrom(trustedPeer, "Client-Cert", mtlspoptest.RFC9440(alice))))
		})
		t.Run("a peer that is not the proxy is a client, with its own certificate, on "+name, func(t *testing.T) {
			r := forwardedFrom(trustedPeer, "Client-Cert", mtlspoptest.RFC9440(proxy))
			r.TLS = requestOver(alice).TLS
			_, err := v.Verify(r, alice.Thumbprint())
			require.NoError(t, err)
			cert, err := v.Verify(r, proxy.Thumbprint())
			refused(t, mtlspop.ErrMismatch, cert, err)
		})
	}
}

func TestProxyCertificateOverTLS(t *testing.T) {
	ca := mtlspoptest.NewCA(t, "Root")
	proxy, alice := ca.Issue("proxy"), ca.Issue("alice")
	v := newVerifier(t,
		mtlspop.WithForwardedCertificate("Client-Cert", mtlspop.RFC9440, netip.MustParsePrefix("127.0.0.1/32")),
		mtlspop.WithProxyThumbprints(proxy.Thumbprint()))
	server := mtlspoptest.NewServer(t, answer(v), mtlspop.RequestClientCert, func(c *tls.Config) *tls.Config {
		c.MinVersion = tls.VersionTLS13
		return c
	})
	through := func(c *mtlspoptest.Client) *http.Client {
		client := server.Client(c)
		client.Transport = &terminator{map[string]string{"Client-Cert": mtlspoptest.RFC9440(alice)}, client.Transport}
		return client
	}
	status, _ := ask(t, through(proxy), server.URL, alice.Thumbprint())
	require.Equal(t, 204, status)
	status, _ = ask(t, through(mtlspoptest.SelfSigned(t, "mallory")), server.URL, alice.Thumbprint())
	require.Equal(t, 401, status)
	status, _ = ask(t, through(nil), server.URL, alice.Thumbprint())
	require.Equal(t, 401, status)
}

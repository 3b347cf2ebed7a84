package mtlspop_test

import (
	"context"
	"crypto/x509"
	"errors"
	"net/netip"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/keybound-go/middleware/mtlspop"
	"github.com/keybound-go/middleware/mtlspop/mtlspoptest"
)

func TestEveryMistakeIsReported(t *testing.T) {
	ca := mtlspoptest.NewCA(t, "Root")
	prefix := netip.MustParsePrefix
	forwarded := func(trusted ...netip.Prefix) mtlspop.Option {
		return mtlspop.WithForwardedCertificate("Client-Cert", mtlspop.RFC9440, trusted...)
	}
	format := func(f mtlspop.Format) mtlspop.Option {
		return mtlspop.WithForwardedCertificate("X-Client-Cert", f, trusted)
	}
	header := func(name string) mtlspop.Option {
		return mtlspop.WithForwardedCertificate(name, mtlspop.PEM, trusted)
	}
	checker := mtlspop.WithRevocation(checkerFunc(func(context.Context, []*x509.Certificate) error { return nil }), nil)
	good := []mtlspop.Option{forwarded(trusted), mtlspop.WithRoots(ca.Pool())}

	for _, c := range []struct {
		name    string
		options []mtlspop.Option
		want    string // empty: no mistake
	}{
		{"nothing", nil, ""},
		{"everything", []mtlspop.Option{
			forwarded(trusted, prefix("fc00::/7"), prefix("10.0.0.0/8"), prefix("192.0.2.1/32")), mtlspop.TrustUnixSocket(),
			mtlspop.WithForwardedChain("X-More", mtlspop.PEM), mtlspop.WithForwardedChain("X-Still-More", mtlspop.DERChain),
			mtlspop.WithProxyThumbprints(anyThumbprint), mtlspop.WithRoots(ca.Pool()), mtlspop.AllowPartialChains(),
			mtlspop.WithIntermediates(ca.Certificate), mtlspop.WithIntermediates(ca.Certificate), checker, mtlspop.RequireValidity(),
		}, ""},
		{"the standard chain named by hand", append(good, mtlspop.WithForwardedChain("client-cert-chain", mtlspop.RFC9440)), ""},
		{"a nil option", []mtlspop.Option{nil}, "option 1 is nil"},
		{"no peer", []mtlspop.Option{forwarded()}, "no way to trust all peers"},
		{"a unix socket is a peer", []mtlspop.Option{forwarded(), mtlspop.TrustUnixSocket()}, ""},
		{"all addresses", []mtlspop.Option{forwarded(prefix("0.0.0.0/0"))}, "no way to trust all addresses"},
		{"all addresses of IPv6", []mtlspop.Option{forwarded(prefix("::/0"))}, "no way to trust all addresses"},
		{"half of all addresses", []mtlspop.Option{forwarded(prefix("0.0.0.0/1"), prefix("128.0.0.0/1"))}, "128.0.0.0/1 is far too wide"},
		{"all of global unicast", []mtlspop.Option{forwarded(prefix("2000::/3"))}, "far too wide"},
		{"all addresses, mapped", []mtlspop.Option{forwarded(prefix("::ffff:0.0.0.0/96"))}, "as IPv4"},
		{"an address for a network", []mtlspop.Option{forwarded(prefix("10.1.2.3/8"))}, "a network is 10.0.0.0/8, an address has the length 32"},
		{"the zero prefix", []mtlspop.Option{forwarded(netip.Prefix{})}, "is not valid"},
		{"the zero format", []mtlspop.Option{format(0)}, "not a Format"},
		{"an unknown format", []mtlspop.Option{format(99)}, "Format(99)"},
		{"hops where there are none", []mtlspop.Option{format(mtlspop.PEM | 1<<8)}, "not a Format"},
		{"no hops", []mtlspop.Option{format(mtlspop.XFCC(0))}, "at least one hop"},
		{"no hops for a thumbprint", []mtlspop.Option{format(mtlspop.XFCCThumbprint(0))}, "at least one hop"},
		{"no name", []mtlspop.Option{header("")}, "not the name"},
		{"no token", []mtlspop.Option{header("X Client")}, "not the name"},
		{"no token either", []mtlspop.Option{header("X-Client:")}, "not the name"},
		{"a name with another use", []mtlspop.Option{header("authorization")}, "another use"},
		{"the name of the proof", []mtlspop.Option{header("DPoP")}, "another use"},
		{"a chain of the same name", append(good, mtlspop.WithForwardedChain("client-cert", mtlspop.RFC9440)), "named twice"},
		{"a chain named twice", append(good, mtlspop.WithForwardedChain("a", mtlspop.PEM), mtlspop.WithForwardedChain("A", mtlspop.PEM)), "named twice"},
		{"a chain without a name", append(good, mtlspop.WithForwardedChain("", mtlspop.PEM)), "not the name"},
		{"a chain in no format of chains", append(good, mtlspop.WithForwardedChain("a", mtlspop.XFCC(1))), "XFCC(1) is not a format of chains"},
		{"a chain of nothing", []mtlspop.Option{mtlspop.WithForwardedChain("a", mtlspop.PEM)}, "means nothing without WithForwardedCertificate"},
		{"a socket for nothing", []mtlspop.Option{mtlspop.TrustUnixSocket()}, "means nothing without WithForwardedCertificate"},
		{"a proxy for nothing", []mtlspop.Option{mtlspop.WithProxyRoots(ca.Pool())}, "means nothing without WithForwardedCertificate"},
		{"a pinned proxy for nothing", []mtlspop.Option{mtlspop.WithProxyThumbprints(anyThumbprint)}, "means nothing without WithForwardedCertificate"},
		{"proxies known in two ways", append(good, mtlspop.WithProxyRoots(ca.Pool()), mtlspop.WithProxyThumbprints(anyThumbprint)), "exclude each other"},
		{"no thumbprint of a proxy", append(good, mtlspop.WithProxyThumbprints()), "no thumbprint"},
		{"a bad thumbprint of a proxy", append(good, mtlspop.WithProxyThumbprints("ae:03")), `"ae:03" is not a thumbprint`},
		{"no roots of proxies", append(good, mtlspop.WithProxyRoots(nil)), ": nil"},
		{"no roots", []mtlspop.Option{mtlspop.WithRoots(nil)}, ": nil"},
		{"an empty pool", []mtlspop.Option{mtlspop.WithRoots(x509.NewCertPool())}, "the pool is empty"},
		{"a nil function", []mtlspop.Option{mtlspop.WithRootsFunc(nil)}, "WithRootsFunc: nil"},
		{"roots known in two ways", append(good, mtlspop.WithRootsFunc(ca.Pool)), "exclude each other"},
		{"intermediates to nowhere", []mtlspop.Option{mtlspop.WithIntermediates(ca.Certificate)}, "means nothing without WithRoots"},
		{"a nil intermediate", append(good, mtlspop.WithIntermediates(nil)), "a nil one"},
		{"no intermediate", append(good, mtlspop.WithIntermediates()), "no certificate"},
		{"partial chains to nowhere", []mtlspop.Option{mtlspop.AllowPartialChains()}, "means nothing without WithRoots"},
		{"D4 a nil checker", append(good, mtlspop.WithRevocation(nil, nil)), "WithRevocation: nil"},
		{"D4 a nil pointer to a checker", append(good, mtlspop.WithRevocation((*nilChecker)(nil), nil)), "WithRevocation: nil"},
		{"D4 a nil function", append(good, mtlspop.WithRevocation(checkerFunc(nil), nil)), "WithRevocation: nil"},
		{"a checker that could not be made", append(good, mtlspop.WithRevocation(checkerFunc(nil), errors.New("no roots"))), "WithRevocation: no roots"},
		{"a nil option of a dialect", []mtlspop.Option{mtlspop.WithDialect("A", mtlspop.PEM, mtlspop.WithTrustedPeers(trusted), nil)}, "option 2 is nil"},
		{"a dialect without peers", []mtlspop.Option{mtlspop.WithDialect("A", mtlspop.PEM)}, "no trusted prefix for A"},
		{"no prefix of a dialect", []mtlspop.Option{mtlspop.WithDialect("A", mtlspop.PEM, mtlspop.WithTrustedPeers())}, "WithTrustedPeers: no prefix"},
		{"an option for one of several dialects", []mtlspop.Option{forwarded(trusted), mtlspop.WithDialect("A", mtlspop.PEM, mtlspop.WithTrustedPeers(prefix("192.0.2.0/24"))),
			mtlspop.WithProxyRoots(ca.Pool())}, "WithProxyRoots: there are several dialects"},
		{"dialects of the same peers", []mtlspop.Option{forwarded(trusted), mtlspop.WithForwardedCertificate("A", mtlspop.PEM, prefix("10.0.0.0/8"))},
			"10.0.0.0/8 and 10.1.2.0/24 overlap, in the dialects of Client-Cert and A"},
		{"dialects of the same sockets", []mtlspop.Option{mtlspop.WithDialect("A", mtlspop.PEM, mtlspop.TrustUnixSocket()),
			mtlspop.WithDialect("B", mtlspop.PEM, mtlspop.TrustUnixSocket())}, "both trust unix sockets"},
		{"roots for one dialect with thumbprints", []mtlspop.Option{forwarded(trusted), mtlspop.WithRoots(ca.Pool()),
			mtlspop.WithForwardedCertificate("A", mtlspop.ThumbprintHex, prefix("192.0.2.0/24"))}, "WithRoots needs a certificate"},
		{"revocation without a chain", []mtlspop.Option{checker}, "means nothing without WithRoots"},
		{"roots for a thumbprint", []mtlspop.Option{format(mtlspop.ThumbprintHex), mtlspop.WithRoots(ca.Pool())}, "WithRoots needs a certificate"},
		{"validity of a thumbprint", []mtlspop.Option{format(mtlspop.XFCCThumbprint(1)), mtlspop.RequireValidity()}, "RequireValidity needs a certificate"},
		{"a chain above a thumbprint", []mtlspop.Option{format(mtlspop.ThumbprintBase64URL), mtlspop.WithForwardedChain("a", mtlspop.PEM)}, "WithForwardedChain needs a certificate"},
	} {
		t.Run(c.name, func(t *testing.T) {
			v, err := mtlspop.New(c.options...)
			if c.want == "" {
				require.NoError(t, err)
				require.NotNil(t, v)
				return
			}
			require.Nil(t, v)
			require.ErrorContains(t, err, c.want)
			for line := range strings.SplitSeq(err.Error(), "\n") {
				require.True(t, strings.HasPrefix(line, "mtlspop: "), line)
			}
		})
	}
	t.Run("all of them at once", func(t *testing.T) {
		_, err := mtlspop.New(nil, header(""), mtlspop.WithRoots(nil), mtlspop.WithRoots(nil))
		require.Len(t, strings.Split(err.Error(), "\n"), 4, err)
	})
}

// nilChecker is a pointer that no method can use.
type nilChecker struct{ answer error }

func (c *nilChecker) Check(context.Context, []*x509.Certificate) error { return c.answer }

func TestOptionsGivenTwice(t *testing.T) {
	ca := mtlspoptest.NewCA(t, "Root")
	for name, option := range map[string]mtlspop.Option{
		"WithForwardedCertificate": mtlspop.WithForwardedCertificate("Client-Cert", mtlspop.RFC9440, trusted),
		"TrustUnixSocket":          mtlspop.TrustUnixSocket(),
		"WithProxyThumbprints":     mtlspop.WithProxyThumbprints(anyThumbprint),
		"WithProxyRoots":           mtlspop.WithProxyRoots(ca.Pool()),
		"WithRoots":                mtlspop.WithRoots(ca.Pool()),
		"WithRootsFunc":            mtlspop.WithRootsFunc(ca.Pool),
		"AllowPartialChains":       mtlspop.AllowPartialChains(),
		"RequireValidity":          mtlspop.RequireValidity(),
		"WithRevocation":           mtlspop.WithRevocation(checkerFunc(func(context.Context, []*x509.Certificate) error { return nil }), nil),
	} {
		t.Run(name, func(t *testing.T) {
			opts := []mtlspop.Option{option, option}
			if _, ok := option.(mtlspop.DialectOption); ok {
				opts = append(opts, mtlspop.WithForwardedCertificate("Client-Cert", mtlspop.RFC9440, trusted))
			}
			_, err := mtlspop.New(opts...)
			require.ErrorContains(t, err, name+" is given twice")
		})
	}
}

func TestArgumentsAreCopied(t *testing.T) {
	alice := mtlspoptest.SelfSigned(t, "alice")
	prefixes := []netip.Prefix{trusted}
	v := newVerifier(t, mtlspop.WithForwardedCertificate("Client-Cert", mtlspop.RFC9440, prefixes...))
	prefixes[0] = netip.MustParsePrefix("198.51.100.0/24")
	require.True(t, v.TrustsPeer(forwardedFrom(trustedPeer, "Client-Cert", mtlspoptest.RFC9440(alice))))
	require.False(t, v.TrustsPeer(forwardedFrom(untrustedPeer)))
}

func TestBindingErrors(t *testing.T) {
	kinds := []mtlspop.BindingError{
		mtlspop.ErrNoCertificate, mtlspop.ErrPeerNotTrusted, mtlspop.ErrMismatch, mtlspop.ErrThumbprint,
		mtlspop.ErrMalformed, mtlspop.ErrExpired, mtlspop.ErrUntrusted, mtlspop.ErrRevoked,
		mtlspop.ErrUnparsable,
	}
	for i, kind := range kinds {
		require.EqualValues(t, i+1, kind)
		require.Equal(t, "mtlspop: "+kind.Description(), kind.Error())
		require.Contains(t, []string{"invalid_token", "invalid_request"}, kind.Code())
		require.Contains(t, kind.Reason(), "certificate_")
		require.Contains(t, kind.Description(), "certificate")
		for _, c := range kind.Description() {
			// RFC 6750, section 3.
			require.True(t, c >= 0x20 && c <= 0x7e && c != '"' && c != '\\', kind.Description())
		}
	}
	require.Contains(t, mtlspop.ErrExpired.Hint(), "mtlspop.RequireValidity")
	for _, kind := range []mtlspop.BindingError{0, mtlspop.BindingError(len(kinds) + 1), 255} {
		require.Empty(t, kind.Code())
		require.Empty(t, kind.Hint())
		require.Empty(t, kind.Reason())
		require.Equal(t, "mtlspop: not a binding error", kind.Error())
	}
}

func TestFormatNames(t *testing.T) {
	for _, f := range allFormats {
		require.NotContains(t, f.String(), "Format(")
	}
	require.Equal(t, "XFCC(2)", mtlspop.XFCC(2).String())
	require.Equal(t, "Format(0)", mtlspop.Format(0).String())
}

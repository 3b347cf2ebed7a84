package dpopclient_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"math/big"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/keybound-go/middleware/dpop/dpopclient"
)

func TestEveryMistakeIsRefused(t *testing.T) {
	type opts = []dpopclient.Option
	good := dpopclient.WithOrigins(api)
	for _, c := range []struct {
		name string
		key  crypto.Signer
		opts opts
		want string
	}{
		{"nil signer", nil, opts{good}, "signer is nil"},
		{"nil pointer as signer", (*ecdsa.PrivateKey)(nil), opts{good}, "signer is nil"},
		{"nil Ed25519 key", ed25519.PrivateKey(nil), opts{good}, "signer is nil"},
		{"P-224", newECKey(elliptic.P224()), opts{good}, "not on P-256"},
		{"curve of another make", publicOnly{&ecdsa.PublicKey{Curve: elliptic.P256().Params()}}, opts{good}, "EC public key"},
		{"nil public key", publicOnly{(*ecdsa.PublicKey)(nil)}, opts{good}, "not on P-256"},
		{"no public key", publicOnly{nil}, opts{good}, "type <nil>"},
		{"short RSA key", publicOnly{&rsa.PublicKey{N: new(big.Int).Lsh(big.NewInt(1), 2046), E: 65537}}, opts{good}, "not 2048 to 4096"},
		{"short Ed25519 key", publicOnly{make(ed25519.PublicKey, 31)}, opts{good}, "wrong length"},
		{"key of another kind", publicOnly{"key"}, opts{good}, "type string"},
		{"algorithm of another key", ecKey, opts{good, dpopclient.WithAlgorithm("PS256")}, `signs with ES256, not with "PS256"`},
		{"algorithm of another curve", ecKey, opts{good, dpopclient.WithAlgorithm("ES384")}, "signs with ES256"},
		{"symmetric algorithm", rsaKey(), opts{good, dpopclient.WithAlgorithm("HS256")}, "signs with PS256 or PS384"},
		{"algorithm none", ecKey, opts{good, dpopclient.WithAlgorithm("none")}, "signs with ES256"},
		{"empty algorithm", ecKey, opts{good, dpopclient.WithAlgorithm("")}, "WithAlgorithm: the name is empty"},
		{"algorithm twice", ecKey, opts{good, dpopclient.WithAlgorithm("ES256"), dpopclient.WithAlgorithm("ES256")}, "WithAlgorithm is given twice"},
		{"base twice", ecKey, opts{good, dpopclient.WithBase(http.DefaultTransport), dpopclient.WithBase(http.DefaultTransport)}, "WithBase is given twice"},
		{"source twice", ecKey, opts{good, withToken(), withToken()}, "WithTokenSource is given twice"},
		{"clock twice", ecKey, opts{good, dpopclient.FollowServerClock(), dpopclient.FollowServerClock()}, "FollowServerClock is given twice"},
		{"loopback twice", ecKey, opts{good, dpopclient.DangerouslyAllowLoopbackHTTP(), dpopclient.DangerouslyAllowLoopbackHTTP()}, "DangerouslyAllowLoopbackHTTP is given twice"},
		{"nil option", ecKey, opts{good, nil}, "option 2 is nil"},
		{"nil base", ecKey, opts{good, dpopclient.WithBase(nil)}, "WithBase: nil"},
		{"nil pointer as base", ecKey, opts{good, dpopclient.WithBase((*http.Transport)(nil))}, "WithBase: nil"},
		{"nil source", ecKey, opts{good, dpopclient.WithTokenSource(nil)}, "WithTokenSource: nil"},
		{"nil function as source", ecKey, opts{good, dpopclient.WithTokenSource(dpopclient.TokenSourceFunc(nil))}, "WithTokenSource: nil"},
		{"no server", ecKey, nil, "no server would get a proof"},
		{"empty lists", ecKey, opts{dpopclient.WithOrigins(), dpopclient.WithTokenEndpoint()}, "no server would get a proof"},
		{"source without origins", ecKey, opts{dpopclient.WithTokenEndpoint(endpoint), withToken()}, "no server would get the token"},
		{"CLI-11 plain http", ecKey, opts{dpopclient.WithOrigins("http://api.example")}, "is not https"},
		{"CLI-11 plain http to loopback", ecKey, opts{dpopclient.WithOrigins("http://localhost")}, "is not https"},
		{"CLI-11 plain http, loopback permitted", ecKey, opts{dpopclient.WithOrigins("http://api.example"), dpopclient.DangerouslyAllowLoopbackHTTP()}, "is not https"},
		{"CLI-11 token endpoint over http", ecKey, opts{dpopclient.WithTokenEndpoint("http://as.example/token")}, "is not https"},
		{"origin without scheme", ecKey, opts{dpopclient.WithOrigins("api.example")}, "is not an https URL"},
		{"origin of another scheme", ecKey, opts{dpopclient.WithOrigins("wss://api.example")}, "is not an https URL"},
		{"origin without host", ecKey, opts{dpopclient.WithOrigins("https://")}, "no usable host"},
		{"opaque origin", ecKey, opts{dpopclient.WithOrigins("https:api.example")}, "no usable host"},
		{"wildcard", ecKey, opts{dpopclient.WithOrigins("https://*.example")}, "no usable host"},
		{"host that is not ASCII", ecKey, opts{dpopclient.WithOrigins("https://bücher.example")}, "no usable host"},
		{"zone", ecKey, opts{dpopclient.WithOrigins("https://[fe80::1%25eth0]")}, "no usable host"},
		{"empty port", ecKey, opts{dpopclient.WithOrigins("https://api.example:")}, "no usable host"},
		{"port that is no number", ecKey, opts{dpopclient.WithOrigins("https://api.example:x")}, "invalid port"},
		{"user information", ecKey, opts{dpopclient.WithOrigins("https://u:secret@api.example")}, "holds user information"},
		{"fragment", ecKey, opts{dpopclient.WithTokenEndpoint(endpoint + "#f")}, "has a fragment"},
		{"empty fragment", ecKey, opts{dpopclient.WithTokenEndpoint(endpoint + "#")}, "has a fragment"},
		{"origin with a path", ecKey, opts{dpopclient.WithOrigins(api + "/v1")}, "more than scheme, host and port"},
		{"origin with a query", ecKey, opts{dpopclient.WithOrigins(api + "?")}, "more than scheme, host and port"},
	} {
		t.Run(c.name, func(t *testing.T) {
			tr, err := dpopclient.New(c.key, c.opts...)
			require.ErrorContains(t, err, c.want)
			require.Nil(t, tr)
			for line := range strings.Lines(err.Error()) {
				require.True(t, strings.HasPrefix(line, "dpopclient: "), line)
			}
			require.NotContains(t, err.Error(), "secret")
		})
	}
	t.Run("all of them at once", func(t *testing.T) {
		_, err := dpopclient.New(nil, nil, dpopclient.WithBase(nil), dpopclient.WithOrigins("http://a", "b"), dpopclient.WithTokenEndpoint("c"))
		require.Len(t, strings.Split(err.Error(), "\n"), 6)
	})
	t.Run("what is not a mistake", func(t *testing.T) {
		_, err := dpopclient.New(ecKey, dpopclient.WithOrigins(api, api+"/"), dpopclient.WithOrigins("https://API.example:443"),
			dpopclient.WithTokenEndpoint("https://as.example"), dpopclient.WithTokenEndpoint(endpoint+"?tenant=1"))
		require.NoError(t, err)
	})
}

func TestNewTouchesNothing(t *testing.T) {
	base := roundTrip(func(*http.Request) (*http.Response, error) { panic("network") })
	_, err := dpopclient.New(publicOnly{&ecKey.PublicKey}, dpopclient.WithOrigins(api), dpopclient.WithBase(base), withToken())
	require.NoError(t, err)
}

func TestErrorsSpeak(t *testing.T) {
	seen := make(map[string]bool)
	for e := dpopclient.ErrUnready; e <= dpopclient.ErrToken; e++ {
		text := e.Error()
		require.True(t, strings.HasPrefix(text, "dpopclient: "))
		require.NotContains(t, text, "unknown")
		require.False(t, seen[text])
		seen[text] = true
	}
	require.Equal(t, "dpopclient: unknown error", dpopclient.RequestError(0).Error())
}

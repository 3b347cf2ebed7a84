package dpopclient_test

import (
	"context"
	"errors"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/keybound-go/middleware/dpop/dpopclient"
)

func signer(t *testing.T, opts ...dpopclient.Option) *dpopclient.Transport {
	t.Helper()
	tr, err := dpopclient.New(ecKey, append([]dpopclient.Option{dpopclient.WithOrigins(api)}, opts...)...)
	require.NoError(t, err)
	return tr
}

// signedRequest is a request with the fields, for proofIn.
func signedRequest(t *testing.T, h http.Header) *http.Request {
	r := request(t, "POST", api, nil)
	r.Header = h
	return r
}

func TestSign(t *testing.T) {
	ctx := context.Background()
	t.Run("CLI-01 each transmission has a proof of its own", func(t *testing.T) {
		tr := signer(t, withToken())
		first, _, err := tr.Sign(ctx, "POST", api+"/pkg.Orders/List")
		require.NoError(t, err)
		second, _, err := tr.Sign(ctx, "POST", api+"/pkg.Orders/List")
		require.NoError(t, err)
		require.Len(t, first, 2)
		require.Equal(t, []string{"DPoP " + token}, first["Authorization"])
		a, b := proofIn(t, signedRequest(t, first)), proofIn(t, signedRequest(t, second))
		require.NotEqual(t, a.claim("jti"), b.claim("jti"))
		require.Equal(t, "POST", a.claim("htm"))
		require.Equal(t, api+"/pkg.Orders/List", a.claim("htu"))
		require.Equal(t, tokenATH, a.claim("ath"))
	})
	t.Run("CLI-04 a challenge for a nonce is worth one more transmission", func(t *testing.T) {
		tr := signer(t, withToken())
		asks := http.Header{"Www-Authenticate": {`DPoP error="use_dpop_nonce"`}, "Dpop-Nonce": {"n1"}}
		_, learn, err := tr.Sign(ctx, "POST", api+"/r")
		require.NoError(t, err)
		require.False(t, learn(http.Header{"Www-Authenticate": asks["Www-Authenticate"]}), "without a nonce there is nothing to try")
		require.False(t, learn(http.Header{"Dpop-Nonce": {"n0"}}), "no challenge")
		require.True(t, learn(asks))
		h, learn, err := tr.Sign(ctx, "POST", api+"/r")
		require.NoError(t, err)
		require.Equal(t, "n1", proofIn(t, signedRequest(t, h)).claim("nonce"))
		require.False(t, learn(asks), "the proof had the nonce already")
		asks["Dpop-Nonce"] = []string{"a", "b"}
		require.False(t, learn(asks), "several say nothing about which counts")
	})
	t.Run("CLI-06 the end of a long answer does not bring back its nonce", func(t *testing.T) {
		tr := signer(t, withToken())
		_, long, err := tr.Sign(ctx, "POST", api+"/stream")
		require.NoError(t, err)
		_, short, err := tr.Sign(ctx, "POST", api+"/r")
		require.NoError(t, err)
		long(http.Header{"Dpop-Nonce": {"old"}})
		short(http.Header{"Dpop-Nonce": {"new"}})
		long(http.Header{"Dpop-Nonce": {"old"}})
		h, _, err := tr.Sign(ctx, "POST", api+"/r")
		require.NoError(t, err)
		require.Equal(t, "new", proofIn(t, signedRequest(t, h)).claim("nonce"))
	})
	outage := errors.New("issuer down")
	for _, c := range []struct {
		name, target string
		opts         []dpopclient.Option
		want         error
	}{
		{"CLI-10 another server gets nothing", "https://other.example/r", []dpopclient.Option{withToken()}, dpopclient.ErrOrigin},
		{"CLI-11 plain http gets nothing", "http://api.example/r", []dpopclient.Option{withToken()}, dpopclient.ErrInsecure},
		{"a URL is needed", "%", []dpopclient.Option{withToken()}, dpopclient.ErrTarget},
		{"a path is needed", "https:api.example", []dpopclient.Option{withToken()}, dpopclient.ErrOrigin},
		{"a token is needed", api + "/r", nil, dpopclient.ErrToken},
		{"a token endpoint gets no token", endpoint, []dpopclient.Option{withToken(), dpopclient.WithTokenEndpoint(endpoint)}, dpopclient.ErrToken},
		{"Bearer is no token for a proof", api + "/r", []dpopclient.Option{static(token, "Bearer")}, dpopclient.ErrTokenType},
		{"an outage is its own error", api + "/r", []dpopclient.Option{dpopclient.WithTokenSource(dpopclient.TokenSourceFunc(func(context.Context) (string, string, error) { return "", "", outage }))}, outage},
	} {
		t.Run(c.name, func(t *testing.T) {
			h, learn, err := signer(t, c.opts...).Sign(ctx, "POST", c.target)
			require.ErrorIs(t, err, c.want)
			require.Nil(t, h)
			require.Nil(t, learn)
		})
	}
	t.Run("the zero Transport signs nothing", func(t *testing.T) {
		_, _, err := new(dpopclient.Transport).Sign(ctx, "POST", api)
		require.ErrorIs(t, err, dpopclient.ErrUnready)
	})
	t.Run("a context that is over", func(t *testing.T) {
		over, cancel := context.WithCancel(ctx)
		cancel()
		_, _, err := signer(t, withToken()).Sign(over, "POST", api+"/r")
		require.ErrorIs(t, err, context.Canceled)
	})
	t.Run("loopback", func(t *testing.T) {
		require.False(t, signer(t).AllowsLoopbackHTTP())
		require.True(t, signer(t, dpopclient.DangerouslyAllowLoopbackHTTP()).AllowsLoopbackHTTP())
	})
}

package main

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/keybound-go/middleware"
	"github.com/keybound-go/middleware/dpop"
	"github.com/keybound-go/middleware/mtlspop"
	"github.com/keybound-go/middleware/oidc"
)

func TestHintsAreInTheWordsOfTheGateway(t *testing.T) {
	for i := range 256 {
		for _, err := range []interface {
			error
			Hint() string
		}{middleware.RequestError(i), dpop.ProofError(i), mtlspop.BindingError(i), oidc.TokenError(i)} {
			assert.NotRegexp(t, inGo, hintOf(middleware.Outcome{Err: err, Hint: err.Hint()}), "%T %d: %v", err, i, err)
		}
	}
	for err, hint := range hints {
		require.NotEmpty(t, hint, err)
		require.NotRegexp(t, inGo, hint, err)
	}
}

// What the library says of one request goes before what is said of its kind, unless it
// is in Go's words.
func TestHintsOfOneRequestAreInTheWordsOfTheGateway(t *testing.T) {
	for _, row := range []struct {
		o    middleware.Outcome
		want string
	}{
		{middleware.Outcome{Err: mtlspop.ErrPeerNotTrusted, Hint: "add it to mtlspop.WithForwardedCertificate", Peer: "10.9.9.9:4711"}, "10.9.9.9 is none of -trusted-proxy"},
		{middleware.Outcome{Err: mtlspop.ErrNoCertificate, Hint: "the trusted peer 10.1.2.3 sent no X-Client-Cert"}, "sent no X-Client-Cert"},
		{middleware.Outcome{Err: mtlspop.ErrNoCertificate, Hint: mtlspop.ErrNoCertificate.Hint()}, "tls-handshake-modifier"},
		{middleware.Outcome{Err: dpop.ErrMisdirected, Hint: "dpop.WithInternalHosts", Host: "backend:8080"}, "-internal-host backend:8080"},
		{middleware.Outcome{Err: dpop.ErrMisdirected, Hint: "dpop.WithInternalHosts"}, "the request names no host"},
		{middleware.Outcome{Err: middleware.ErrNoCredentials, Hint: "a CORS preflight: see middleware.PassPreflights"}, "the gateway has no plugin for CORS"},
		{middleware.Outcome{Err: oidc.ErrExpired, Hint: "the token expired 5m0s ago"}, "expired 5m0s ago"},
		{middleware.Outcome{Err: oidc.ErrNoKey, Hint: "see oidc.WithCooldown"}, "rediscovery_lifetime"},
		{middleware.Outcome{Err: errors.New("down"), Reason: "unavailable_issuer", Hint: "oidc.WithHTTPClient"}, "-issuer-ca"},
		{middleware.Outcome{Err: errors.New("?"), Reason: "unavailable_other", Hint: "mtlspop.WithRootsFunc"}, ""},
	} {
		got := hintOf(row.o)
		require.Contains(t, got, row.want)
		require.NotRegexp(t, inGo, got)
		require.Equal(t, row.want == "", got == "")
	}
}

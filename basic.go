package middleware

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"net/netip"
	"strings"

	"github.com/keybound-go/middleware/oidc"
)

// peerAddress is the default of WithCallerAddress.
func peerAddress(r *http.Request) netip.Addr {
	peer, _ := netip.ParseAddrPort(r.RemoteAddr)
	return peer.Addr()
}

// splitBasic takes Basic credentials apart (RFC 7617, section 2). They are
// plain UTF-8; the form-encoding of RFC 6749, section 2.3.1, is for token
// endpoints.
func splitBasic(credentials string) (id, secret string, err error) {
	decoded, err := base64.StdEncoding.DecodeString(credentials)
	if err != nil {
		return "", "", ErrMalformedAuthorization
	}
	id, secret, ok := strings.Cut(string(decoded), ":")
	if !ok {
		return "", "", ErrMalformedAuthorization
	}
	return id, secret, nil
}

// exchangeSecret is step 2 for Basic credentials. A remembered token that turns out
// to be withdrawn is exchanged for a new one, once.
func (g *Guard) exchangeSecret(r *http.Request, credentials string) (raw string, token *oidc.Token, err error) {
	id, secret, err := splitBasic(credentials)
	if err != nil {
		return "", nil, err
	}
	address := peerAddress
	if g.callerAddress != nil {
		address = g.callerAddress
	}
	caller := address(r)
	for range 2 {
		if raw, err = g.exchange.Token(r.Context(), caller, id, secret); err != nil {
			return "", nil, err
		}
		token, err = g.tokens.VerifyToken(r.Context(), raw)
		if _, ok := asClientError(err); !ok {
			return raw, token, err
		}
		g.exchange.Forget(id, secret, raw)
	}
	// The caller's secret is right, so it is not the caller's fault. %v, and not
	// %w: nothing in the chain may say that it is.
	return "", nil, fmt.Errorf("middleware: the issuer's token for client credentials is not accepted: %v", err)
}

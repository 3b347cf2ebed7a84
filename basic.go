package middleware

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"net/netip"
	"strings"

	"github.com/keybound-go/middleware/oidc"
)

// Method is a way in which a request can be authenticated, for
// [DangerouslySkipBindingFor].
type Method uint8

// ClientCredentials is the method of [WithClientCredentials]. A token by the
// other method, a bound access token, cannot be exempt from its binding.
const ClientCredentials Method = 1

// WithClientCredentials accepts callers that send a client id and secret of the
// issuer as Basic credentials (RFC 7617). They become an access token by the
// client credentials grant, which is verified like any other; the handler sees
// the token and never the secret. It takes what [oidc.NewClientCredentials]
// returns.
//
// Such a token is bound to nobody: New refuses the combination with a guard
// that demands a binding, unless [DangerouslySkipBindingFor] says otherwise.
//
// Wrong secrets are held against the address that they come from, which is the
// immediate peer's: behind a proxy, see [WithCallerAddress].
func WithClientCredentials(c *oidc.ClientCredentials, err error) Option {
	return part("WithClientCredentials", c == nil, err, func(cfg *config) { cfg.credentials = c })
}

// WithCallerAddress sets how the address of a caller is found that sends Basic
// credentials, for a service behind a proxy: to the service, all requests come from
// there, so that who guesses secrets uses up what other callers need (see
// [oidc.ClientCredentials]). The default is the address in r.RemoteAddr.
//
// f must not return what the caller chooses: not the first element of
// X-Forwarded-For, but the one that the proxy added, and only if r.RemoteAddr is the proxy. It
// may be called concurrently, and must not change r. The zero Addr says that the address is not known.
func WithCallerAddress(f func(r *http.Request) netip.Addr) Option {
	return once("WithCallerAddress", func(c *config) {
		if f == nil {
			c.problem("middleware: WithCallerAddress: nil")
		}
		c.callerAddress = f
	})
}

// peerAddress is the default of WithCallerAddress.
func peerAddress(r *http.Request) netip.Addr {
	peer, _ := netip.ParseAddrPort(r.RemoteAddr)
	return peer.Addr()
}

// ClientCredentialsOnly refuses the tokens that callers bring themselves: Basic
// credentials are the only way in, and the only scheme that challenges offer.
func ClientCredentialsOnly() Option {
	return once("ClientCredentialsOnly", func(c *config) { c.credentialsOnly = true })
}

// DangerouslySkipBindingFor exempts requests that were authenticated by the
// given method from every demand for a binding. Whoever knows the secret of one
// client then passes where others must hold a key.
func DangerouslySkipBindingFor(m Method) Option {
	return once("DangerouslySkipBindingFor", func(c *config) {
		if m != ClientCredentials {
			c.problem("middleware: DangerouslySkipBindingFor: the only method is ClientCredentials")
		}
		c.skipBinding = true
	})
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

// exchange is step 2 for Basic credentials. A remembered token that turns out
// to be withdrawn is exchanged for a new one, once.
func (g *Guard) exchange(r *http.Request, credentials string) (raw string, token *oidc.Token, err error) {
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
		if raw, err = g.credentials.TokenFor(r.Context(), caller, id, secret); err != nil {
			return "", nil, err
		}
		token, err = g.tokens.VerifyToken(r.Context(), raw)
		if _, ok := asClientError(err); !ok {
			return raw, token, err
		}
		g.credentials.Forget(id, secret, raw)
	}
	// The caller's secret is right, so it is not the caller's fault. %v, and not
	// %w: nothing in the chain may say that it is.
	return "", nil, fmt.Errorf("middleware: the issuer's token for client credentials is not accepted: %v", err)
}

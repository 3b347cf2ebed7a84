package middleware

import (
	"context"
	"encoding/base64"
	"fmt"
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
func WithClientCredentials(c *oidc.ClientCredentials, err error) Option {
	return part("WithClientCredentials", c == nil, err, func(cfg *config) { cfg.credentials = c })
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
func (g *Guard) exchange(ctx context.Context, credentials string) (raw string, token *oidc.Token, err error) {
	id, secret, err := splitBasic(credentials)
	if err != nil {
		return "", nil, err
	}
	for range 2 {
		if raw, err = g.credentials.Token(ctx, id, secret); err != nil {
			return "", nil, err
		}
		token, err = g.tokens.VerifyToken(ctx, raw)
		if _, ok := asClientError(err); !ok {
			return raw, token, err
		}
		g.credentials.Forget(id, secret, raw)
	}
	// The caller's secret is right, so it is not the caller's fault. %v, and not
	// %w: nothing in the chain may say that it is.
	return "", nil, fmt.Errorf("middleware: the issuer's token for client credentials is not accepted: %v", err)
}

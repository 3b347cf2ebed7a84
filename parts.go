package middleware

import (
	"context"
	"net/http"
	"net/netip"

	"github.com/keybound-go/middleware/mtlspop"
	"github.com/keybound-go/middleware/oidc"
	"github.com/keybound-go/middleware/session"
)

// What a guard asks of the parts that not every service has. Each of these interfaces has
// one implementation. A program links a part only if it calls the option that brings it,
// which saves a service that uses none of them 340 kB (see
// TestTheWeightOfImportingThisModule).
type (
	// certificates is a *mtlspop.Verifier, of WithMTLS.
	certificates interface {
		VerifyRequest(ctx context.Context, q mtlspop.Request, x5t string) (mtlspop.Evidence, error)
		TrustedHeaders(q mtlspop.Request) []string
		AcceptsMTLSPoP() bool
	}

	// sessions is a *session.Sessions, of WithSession.
	sessions interface {
		Read(r *http.Request) (session.Session, error)
		Strip(h http.Header) http.Header
		Save(h http.Header, r *http.Request, next session.Session) (written bool)
		End(h http.Header, r *http.Request)
	}

	// secrets is an *exchange.Exchange, of WithExchange.
	secrets interface {
		Verified(ctx context.Context, caller netip.Addr, id, secret string, v interface {
			VerifyToken(ctx context.Context, raw string) (*oidc.Token, error)
		}) (raw string, t *oidc.Token, err error)
		Issuer() *oidc.Issuer
		Prefetch(ctx context.Context) error
		Close() error
	}
)

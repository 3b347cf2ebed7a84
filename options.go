package middleware

import (
	"context"
	"errors"
	"net/http"
	"net/netip"
	"reflect"
	"strings"

	"github.com/keybound-go/middleware/dpop"
	"github.com/keybound-go/middleware/internal/peers"
	"github.com/keybound-go/middleware/mtlspop"
	"github.com/keybound-go/middleware/oidc"
	"github.com/keybound-go/middleware/session"
)

// TokenVerifier says what an access token means. [oidc.Verifier],
// [oidc.Issuers] and [oidc.Introspector] are TokenVerifiers.
//
// VerifyToken must be safe for concurrent use. It returns an [oidc.TokenError]
// (possibly wrapped) for a token that is not acceptable: the client is told to
// get another one. Any other error means that no answer could be had, and the
// client is told to come back later (503); if it has a method RetryAfter()
// time.Duration, also when. The Token must not change after it was returned. An
// implementation that returns a Token without its cnf turns every stolen token
// into a good one; [oidc.TokenFromClaims] does not forget it.
type TokenVerifier interface {
	VerifyToken(ctx context.Context, raw string) (*oidc.Token, error)
}

// Option is a setting of [New].
type Option interface{ apply(*config) }

// config is what the options say. It never changes after New.
type config struct {
	tokens            TokenVerifier
	hashesWhatWasSent bool // tokens is one whose Token.Hash is of what it was given
	dpop              *dpop.Verifier
	maxProofSize      int // of the DPoP field, in bytes
	mtls              *mtlspop.Verifier

	credentials     *oidc.ClientCredentials
	callerAddress   func(*http.Request) netip.Addr // nil: the peer's
	credentialsOnly bool                           // no token from a caller is accepted
	skipBinding     bool                           // of tokens by credentials

	sessions *session.Sessions // nil: none

	forwarded []string // the fields that mtls reads certificates from

	allowUnbound      bool
	ignoreQueryToken  bool
	refuseStrayProofs bool

	forwardBearer   bool
	hideCredentials bool
	passPreflights  bool
	exposeHeaders   bool
	quiet           bool

	realm    string
	resource *ProtectedResource
	deny     func(http.ResponseWriter, *http.Request, Denial)
	observer func(context.Context, Outcome)

	requireTLS  bool
	terminators *peers.Set // whose plain HTTP counts as TLS

	rules  []Rule
	checks []func(*config) // of presets, once all options are known

	given    map[string]bool // names of the options given so far
	problems []error
}

// once makes an option that may be given only once.
func once(name string, set func(*config)) Option {
	return optionFunc(func(c *config) {
		if c.given[name] {
			c.problem("middleware: " + name + " given twice")
			return
		}
		c.given[name] = true
		set(c)
	})
}

type optionFunc func(*config)

func (f optionFunc) apply(c *config) { f(c) }

func (c *config) problem(text string) { c.problems = append(c.problems, errors.New(text)) }

// part makes the option that takes a part directly from its constructor. The
// constructor's problems become New's.
func part(name string, missing bool, err error, set func(*config)) Option {
	return once(name, func(c *config) {
		switch {
		case err != nil:
			c.problems = append(c.problems, err)
		case missing:
			c.problem("middleware: " + name + ": nil")
		default:
			set(c)
		}
	})
}

// WithTokens sets who verifies access tokens. It takes what a constructor
// returns: WithTokens(oidc.New(issuer, audience)). Required.
func WithTokens(v TokenVerifier, err error) Option {
	return part("WithTokens", isNil(v), err, func(c *config) {
		c.tokens = v
		switch v.(type) {
		case *oidc.Verifier, *oidc.Issuers, *oidc.Introspector, *oidc.Introspected:
			c.hashesWhatWasSent = true
		}
	})
}

// isNil also finds the nil pointer in an interface value, which would refuse
// every request with an error of its own.
func isNil(v any) bool {
	if v == nil {
		return true
	}
	r := reflect.ValueOf(v)
	return r.Kind() == reflect.Pointer && r.IsNil()
}

// WithDPoP accepts tokens that are bound to a key and requests that prove it
// (RFC 9449). It takes what [dpop.New] returns.
func WithDPoP(v *dpop.Verifier, err error) Option {
	return part("WithDPoP", v == nil, err, func(c *config) {
		s := v.Settings()
		if len(s.Origins) == 0 {
			c.problem("middleware: WithDPoP: the Verifier was not made by dpop.New")
			return
		}
		c.dpop, c.maxProofSize = v, s.MaxSize
	})
}

// WithMTLS accepts tokens that are bound to a client certificate and requests
// that come with it (RFC 8705). It takes what [mtlspop.New] returns.
func WithMTLS(v *mtlspop.Verifier, err error) Option {
	return part("WithMTLS", v == nil, err, func(c *config) { c.mtls, c.forwarded = v, v.ForwardedHeaders() })
}

// WithSession lets browser applications present their token once: the response
// sets an encrypted cookie that stands for it in the requests that follow. It
// takes what [session.New] returns.
//
// The cookie is a way for the token to come, and nothing else: everything is
// checked as for a token in the Authorization field, and a bound token needs its
// proof or certificate with every request. Where both come, the Authorization
// field counts. The handler is given the token in the Authorization field
// (or not at all, with [HideCredentials]) and never sees the cookie.
//
// A request with an unsafe method that another origin has made a browser send is
// refused with 403. Responses to requests by cookie carry "Cache-Control: private" and
// "Vary: Cookie", whatever the handler sets: unlike the Authorization field, a cookie
// does not keep shared caches from storing them (RFC 9111, section 3.5). The response
// that sets the cookie carries "no-store" in the same way.
func WithSession(s *session.Sessions, err error) Option {
	return part("WithSession", s == nil, err, func(c *config) { c.sessions = s })
}

// WithRules sets what every request must satisfy. It may be given several
// times; all the rules apply.
func WithRules(rules ...Rule) Option {
	return optionFunc(func(c *config) { c.rules = append(c.rules, rules...) })
}

// AllowUnbound lets tokens pass that are bound to nothing, as Bearer (RFC
// 6750): whoever holds such a token can use it. A token that is bound must
// still prove its binding.
func AllowUnbound() Option {
	return once("AllowUnbound", func(c *config) { c.allowUnbound = true })
}

// WithBearerForwarding gives the handler the request as a service behind a
// gateway expects it: "Authorization: Bearer" whatever the scheme was, no DPoP
// field, no field with a forwarded certificate. The binding has been checked
// here and cannot be checked again behind.
func WithBearerForwarding() Option {
	return once("WithBearerForwarding", func(c *config) { c.forwardBearer = true })
}

// HideCredentials gives the handler the request without Authorization, DPoP
// and forwarded certificate, so that a handler that forwards or logs requests
// cannot leak them. [FromContext] has what they said.
func HideCredentials() Option {
	return once("HideCredentials", func(c *config) { c.hideCredentials = true })
}

// WithRealm sets the realm parameter of the challenges. The default is the host
// of the first DPoP origin, or "api" without one: RFC 6750, section 3, demands
// at least one parameter in a Bearer challenge.
func WithRealm(realm string) Option {
	return once("WithRealm", func(c *config) {
		if realm == "" || strings.ContainsFunc(realm, func(r rune) bool { return r < ' ' || r > '~' }) {
			c.problem("middleware: WithRealm: a realm is printable ASCII and not empty")
			return
		}
		c.realm = realm
	})
}

// WithDenyHandler replaces the body of refusals. When f is called, the
// challenge, Cache-Control and the other fields are in the header and
// [Denial].Status is not written yet: f must call WriteHeader with it. For HEAD
// requests f should write no body. f may be called concurrently.
func WithDenyHandler(f func(http.ResponseWriter, *http.Request, Denial)) Option {
	return once("WithDenyHandler", func(c *config) {
		if f == nil {
			c.problem("middleware: WithDenyHandler: nil")
		}
		c.deny = f
	})
}

// WithObserver sets a function that is told of every decision, once each,
// before the handler runs or the refusal is written. It runs on the request's
// goroutine, concurrently with itself, and should be quick. What it is told is
// for the operator: never show it to the client.
func WithObserver(f func(context.Context, Outcome)) Option {
	return once("WithObserver", func(c *config) {
		if f == nil {
			c.problem("middleware: WithObserver: nil")
		}
		c.observer = f
	})
}

// IgnoreQueryToken ignores an access_token in the query when the Authorization
// field has a token too, instead of refusing the request. A token in the query
// is never used in any case; it stays in the URL that the handler sees, also
// with [HideCredentials].
func IgnoreQueryToken() Option {
	return once("IgnoreQueryToken", func(c *config) { c.ignoreQueryToken = true })
}

// RefuseStrayProofs refuses a request that brings a DPoP proof with a token
// that is not bound to a key, instead of ignoring the proof. Such a client
// believes that it is protected and is not.
func RefuseStrayProofs() Option {
	return once("RefuseStrayProofs", func(c *config) { c.refuseStrayProofs = true })
}

// PassPreflights lets CORS preflights (OPTIONS with Origin and
// Access-Control-Request-Method) through to the handler without credentials,
// for applications whose CORS code sits inside. The handler must not do
// anything for an OPTIONS request that calls for a credential. The better
// order is the CORS middleware outside the guard, which needs no such option.
func PassPreflights() Option {
	return once("PassPreflights", func(c *config) { c.passPreflights = true })
}

// ExposeHeaders adds WWW-Authenticate and DPoP-Nonce to
// Access-Control-Expose-Headers on answers to requests that carry Origin.
// Without them a browser's script cannot see the nonce that it must use (RFC
// 9449, section 8). Use it if the CORS middleware does not do the same.
func ExposeHeaders() Option {
	return once("ExposeHeaders", func(c *config) { c.exposeHeaders = true })
}

// Quiet leaves error_description out of challenges and bodies.
func Quiet() Option {
	return once("Quiet", func(c *config) { c.quiet = true })
}

package middleware

import (
	"context"
	"log/slog"
	"net/http"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/keybound-go/middleware/dpop"
	"github.com/keybound-go/middleware/internal/options"
	"github.com/keybound-go/middleware/internal/peers"
	"github.com/keybound-go/middleware/mtlspop"
	"github.com/keybound-go/middleware/oidc"
	"github.com/keybound-go/middleware/oidc/exchange"
	"github.com/keybound-go/middleware/oidc/tenants"
	"github.com/keybound-go/middleware/session"
)

// TokenVerifier says what an access token means. The verifiers of package oidc and
// of its rooms are TokenVerifiers.
//
// VerifyToken must be safe for concurrent use. It returns an [oidc.TokenError]
// (possibly wrapped) for a token that is not acceptable: the client is told to
// get another one. Any other error means that no answer could be had, and the
// client is told to come back later (503); if it has a method RetryAfter()
// time.Duration, also when. The Token must not change after it was returned. An
// implementation that returns a Token without its cnf turns every stolen token
// into a good one; [oidc.TokenFromClaims] does not forget it.
//
// A TokenVerifier whose Policy method returns an [oidc.Policy] can be used with
// [FAPI2] and [MCP]: they ask it how strict it is, and refuse one that cannot say.
type TokenVerifier interface {
	VerifyToken(ctx context.Context, raw string) (*oidc.Token, error)
}

// Option is a setting of [New].
type Option interface{ apply(*builder) }

// config is what the options say. It never changes after New.
type config struct {
	tokens            TokenVerifier
	hashesWhatWasSent bool // tokens is one whose Token.Hash is of what it was given
	dpop              *dpop.Verifier
	maxProofSize      int // of the DPoP field, in bytes
	mtls              certificates
	forwarded         []string // the fields that mtls reads certificates from
	sessions          sessions

	exchange      secrets
	callerAddress func(*http.Request) netip.Addr // nil: the peer's
	exchangeOnly  bool                           // no token from a caller is accepted
	skipBinding   bool                           // of tokens by exchange

	allowUnbound      bool
	ignoreQueryToken  bool
	refuseStrayProofs bool
	requireTLS        bool
	anonymous         bool       // a request without credentials passes
	mustIdentify      string     // the preset that forbids anonymous
	asBearer          asBearer   // the clients whose bound tokens pass without a proof
	terminators       *peers.Set // whose plain HTTP counts as TLS

	forwardBearer    bool
	hideCredentials  bool
	passPreflights   bool
	endWithToken     bool // contexts of handlers
	skew             time.Duration
	exposeHeaders    bool
	omitDescriptions bool
	errorCodes       bool // in bodies
	nameScopes       bool // in challenges

	realm    string
	resource *ProtectedResource
	deny     func(http.ResponseWriter, *http.Request, Denial)
	observer func(context.Context, Outcome)
	logger   *slog.Logger
	quiet    *quiet // of lines to slog.Default
	failures *failures
}

// builder is a config in the making.
type builder struct {
	*options.Set
	*config
	rules  []Rule
	checks []func(*builder) // of what no single option can see

	warning string // of DangerouslyAcceptAsBearer, for the log of each start
}

type optionFunc func(*builder)

func (f optionFunc) apply(b *builder) { f(b) }

// once makes an option that may be given only once.
func once(name string, set func(*builder)) Option {
	return optionFunc(func(b *builder) {
		if b.Once(name) {
			set(b)
		}
	})
}

// part makes the option that takes a part directly from its constructor. The
// constructor's problems become New's.
func part[T any](name string, v T, err error, set func(*builder)) Option {
	return optionFunc(func(b *builder) {
		if options.Part(b.Set, name, v, err) {
			set(b)
		}
	})
}

// build makes a Guard of the options, or records why it cannot.
func (b *builder) build(opts []Option) *Guard {
	options.Each(b.Set, opts, func(opt Option) { opt.apply(b) })
	b.checkParts()
	for _, check := range b.checks {
		check(b)
	}
	g := &Guard{config: b.config}
	if b.checkRules() {
		b.Join(g.adopt(b.rules))
		if b.exchange != nil && g.challenges.any() && !g.challenges.offers(schemeBasic) {
			b.Problem("WithExchange: these tokens are unbound, but the guard requires a binding; use AllowUnbound without binding rules, or DangerouslyExemptExchange")
		}
	}
	return g
}

// checkParts reports which settings are missing or contradict each other.
func (b *builder) checkParts() {
	for _, m := range []struct {
		bad  bool
		text string
	}{
		{!b.Given("WithTokens"), "no token verifier; add WithTokens"},
		{b.tokens != nil && !reflect.TypeOf(b.tokens).Comparable(), "WithTokens: the TokenVerifier is not comparable; use a pointer"},
		{!b.Given("WithDPoP") && !b.Given("WithMTLS") && !b.allowUnbound, "no binding to check: add WithDPoP or WithMTLS, or accept bearer tokens with AllowUnbound"},
		{b.Given("RequireExchange") && !b.Given("WithExchange"), "RequireExchange needs WithExchange"},
		{b.Given("DangerouslyExemptExchange") && !b.Given("WithExchange"), "DangerouslyExemptExchange needs WithExchange"},
		{b.exchangeOnly && b.Given("WithSession"), "RequireExchange and WithSession exclude each other: a session begins with a token"},
		{b.forwardBearer && b.hideCredentials, "ForwardBearer and HideCredentials exclude each other"},
		{b.Given("TrustUnixSocket") && !b.requireTLS, "TrustUnixSocket means nothing without RequireTLS or FAPI2"},
	} {
		if m.bad {
			b.Problem("%s", m.text)
		}
	}
}

// checkRules reports mistakes in the rules. It reports true if there are none, and if
// all parts are there that decide whether a token could satisfy the rules.
func (b *builder) checkRules() bool {
	if len(b.rules) > 0 {
		if err := validateRules("WithRules", b.rules); err != nil {
			b.Join(err)
			return false
		}
	}
	return b.Given("WithDPoP") == (b.dpop != nil) && b.Given("WithMTLS") == (b.mtls != nil)
}

// WithTokens sets who verifies access tokens. It takes what a constructor
// returns: WithTokens(oidc.New(issuer, audience)). Required.
func WithTokens(v TokenVerifier, err error) Option {
	return part("WithTokens", v, err, func(b *builder) {
		b.tokens = v
		if p, ok := v.(interface{ Policy() oidc.Policy }); ok {
			b.skew = skewOf(policyOf(p))
		}
		switch v.(type) {
		case *oidc.Verifier, *oidc.Verifiers, *tenants.Tenants:
			b.hashesWhatWasSent = true
		}
	})
}

// skewOf is for how long after its end a token counts for [EndResponsesWithToken]. A
// Policy that promises nothing has the most that there is, as that of Tenants without
// WithPolicy: a response must not go on for minutes because of that.
func skewOf(p oidc.Policy) time.Duration {
	if len(p.Algorithms) == 0 && !p.ChecksRevocation {
		return min(p.Skew, 30*time.Second)
	}
	return p.Skew
}

// WithDPoP accepts tokens that are bound to a key and requests that prove it
// (RFC 9449). It takes what [dpop.New] returns.
func WithDPoP(v *dpop.Verifier, err error) Option {
	return part("WithDPoP", v, err, func(b *builder) {
		s := v.Settings()
		if len(s.Origins) == 0 {
			b.Problem("WithDPoP: the Verifier was not made by dpop.New")
			return
		}
		b.dpop, b.maxProofSize = v, s.MaxSize
	})
}

// WithMTLS accepts tokens that are bound to a client certificate and requests
// that come with it (RFC 8705). It takes what [mtlspop.New] returns.
func WithMTLS(v *mtlspop.Verifier, err error) Option {
	return part("WithMTLS", v, err, func(b *builder) { b.mtls, b.forwarded = v, v.ForwardedHeaders() })
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
	return part("WithSession", s, err, func(b *builder) { b.sessions = s })
}

// WithExchange accepts callers that send a client id and secret of the issuer as
// Basic credentials (RFC 7617). The guard exchanges them for an access token by the
// client credentials grant, and verifies that like any other; the handler sees the
// token and never the secret. It takes what [exchange.New] returns.
//
// Such a token is unbound: New refuses the combination with a guard that demands a
// binding, unless [DangerouslyExemptExchange] says otherwise.
//
// Wrong secrets are held against the address that they come from, which is the
// immediate peer's: behind a proxy, see [WithCallerAddress].
func WithExchange(c *exchange.Exchange, err error) Option {
	return part("WithExchange", c, err, func(b *builder) { b.exchange = c })
}

// WithCallerAddress sets how to find the address of a caller when the service is behind
// a proxy. What asks the issuer about something that a caller made up, a secret (see
// [exchange.Exchange]) or an opaque token, serves callers fairly by address.
// Without this option all callers share the proxy's, and one attacker throttles every
// caller. The default is the address of the immediate peer.
//
// f must not return what the caller chooses: not the first element of
// X-Forwarded-For, but the one that the proxy added, and only if r.RemoteAddr is the
// proxy. It may be called concurrently and in other goroutines, also once the request is
// over, and must not change r. The zero Addr says that the address is not known.
func WithCallerAddress(f func(r *http.Request) netip.Addr) Option {
	return part("WithCallerAddress", f, nil, func(b *builder) { b.callerAddress = f })
}

// RequireExchange refuses the tokens that callers bring themselves: Basic credentials
// are the only way in, and the only scheme that challenges offer.
func RequireExchange() Option {
	return once("RequireExchange", func(b *builder) { b.exchangeOnly = true })
}

// DangerouslyExemptExchange exempts requests by [WithExchange] from every demand for a
// binding. A caller that knows the secret of one client then passes where others must
// hold a key.
func DangerouslyExemptExchange() Option {
	return once("DangerouslyExemptExchange", func(b *builder) { b.skipBinding = true })
}

// DangerouslyAcceptAsBearer lets tokens that are bound to a key pass without a proof,
// under the Bearer scheme, if they are those of the given clients, until the given
// time. RFC 9449, section 7.2, says that such a request MUST be refused: a client that
// sends its bound tokens as Bearer still works today at services that do not look at
// cnf, and stops working when one begins to. This option is for the weeks in which such
// clients are found and mended; until then an attacker can use a stolen token of such a
// client.
//
// Everything else is checked: a proof that comes is, and so is the certificate if cnf
// names one too. Credential.KeyUnproven says that the binding to the key is not proven,
// so that [Bound] and [DPoPBound] refuse the request. Each request is judged by the
// clock. New refuses a time more than 90 days ahead, logs a warning each time, and
// refuses the option together with [FAPI2] and [MCP]. A time that has passed is no
// mistake: the option has no effect then.
func DangerouslyAcceptAsBearer(until time.Time, clientIDs ...string) Option {
	clientIDs = slices.Clone(clientIDs)
	return once("DangerouslyAcceptAsBearer", func(b *builder) {
		b.asBearer = asBearer{until, clientIDs}
		b.checks = append(b.checks, (*builder).checkAsBearer)
	})
}

// maxAsBearer is how far ahead the end of DangerouslyAcceptAsBearer may be.
const maxAsBearer = 90 * 24 * time.Hour

// asBearer is DangerouslyAcceptAsBearer.
type asBearer struct {
	until     time.Time
	clientIDs []string
}

func (a *asBearer) tolerates(clientID string, now time.Time) bool {
	return now.Before(a.until) && slices.Contains(a.clientIDs, clientID)
}

func (b *builder) checkAsBearer() {
	const option = "DangerouslyAcceptAsBearer"
	a, now := b.asBearer, time.Now()
	switch {
	case len(a.clientIDs) == 0 || slices.Contains(a.clientIDs, ""):
		b.Problem("%s needs client ids, and none that is empty", option)
	case a.until.IsZero() || a.until.After(now.Add(maxAsBearer)):
		b.Problem("%s: %v is not a time at most 90 days ahead", option, a.until)
	case !b.Given("WithDPoP"):
		b.Problem("%s needs WithDPoP", option)
	case now.Before(a.until):
		b.warning = "middleware: DPoP-bound tokens pass as Bearer, without a proof of their key"
	default:
		b.warning = "middleware: the time of DangerouslyAcceptAsBearer is over; remove it"
	}
}

// EndResponsesWithToken ends the context of the request that the handler sees when its
// token expires, and when its session is over: for server-sent events, WebSockets and
// other responses that can last longer than the token. The cause is [ErrTokenEnded].
// The handler must watch the context, as httputil.ReverseProxy and most clients of
// databases do. A token without an end sets none.
func EndResponsesWithToken() Option {
	return once("EndResponsesWithToken", func(b *builder) { b.endWithToken = true })
}

// WithRules sets what every request must satisfy. It may be given several
// times; all the rules apply.
func WithRules(rules ...Rule) Option {
	rules = slices.Clone(rules)
	return optionFunc(func(b *builder) {
		if len(rules) == 0 {
			b.Problem("WithRules needs at least one rule")
		}
		b.rules = append(b.rules, rules...)
	})
}

// AllowUnbound lets tokens pass that are bound to nothing, as Bearer (RFC 6750): any
// client that holds such a token can use it. A token that is bound must still prove its
// binding.
func AllowUnbound() Option {
	return once("AllowUnbound", func(b *builder) { b.allowUnbound = true })
}

// RequireTLS refuses requests that did not come over TLS, unless the immediate peer
// is a TLS terminator: its address is in one of the given prefixes, or it reaches a
// unix socket of the service and [TrustUnixSocket] is given. Whether the client of the
// terminator used TLS is the terminator's business, and the business of the origin in
// its proofs.
//
// New refuses prefixes that hold a large share of all addresses: IPv4 wider than /8,
// IPv6 wider than /16 (fc00::/7 and fe80::/10 may be whole).
func RequireTLS(terminators ...netip.Prefix) Option {
	terminators = slices.Clone(terminators)
	return once("RequireTLS", func(b *builder) {
		b.requireTLS = true
		b.checks = append(b.checks, func(b *builder) { b.trustTerminators(terminators) })
	})
}

// TrustUnixSocket says that every peer on a unix socket of the service is a TLS
// terminator, for [RequireTLS] and [FAPI2]: the permissions of the socket's file decide
// which processes connect. See [mtlspop.TrustUnixSocket] for the certificates that such
// a peer forwards.
//
// [mtlspop.TrustUnixSocket]: https://pkg.go.dev/github.com/keybound-go/middleware/mtlspop#TrustUnixSocket
func TrustUnixSocket() Option {
	return once("TrustUnixSocket", func(*builder) {})
}

func (b *builder) trustTerminators(prefixes []netip.Prefix) {
	b.terminators = peers.New(prefixes, b.Given("TrustUnixSocket"), func(problem string) { b.Problem("RequireTLS: %s", problem) })
}

// IgnoreQueryToken ignores an access_token in the query when the Authorization
// field has a token too, instead of refusing the request. A token in the query
// is never used in any case; it stays in the URL that the handler sees, also
// with [HideCredentials].
func IgnoreQueryToken() Option {
	return once("IgnoreQueryToken", func(b *builder) { b.ignoreQueryToken = true })
}

// RefuseStrayProofs refuses a request that brings a DPoP proof with a token
// that is not bound to a key, instead of ignoring the proof. Such a client
// believes that it is protected and is not.
func RefuseStrayProofs() Option {
	return once("RefuseStrayProofs", func(b *builder) { b.refuseStrayProofs = true })
}

// PassPreflights lets CORS preflights (OPTIONS with Origin and
// Access-Control-Request-Method) through to the handler without credentials,
// for applications whose CORS code sits inside. The handler must not do
// anything for an OPTIONS request that calls for a credential. The better
// order is the CORS middleware outside the guard, which needs no such option.
func PassPreflights() Option {
	return once("PassPreflights", func(b *builder) { b.passPreflights = true })
}

// ForwardBearer gives the handler the request as a service behind a
// gateway expects it: "Authorization: Bearer" whatever the scheme was, no DPoP
// field, no field with a forwarded certificate. The binding has been checked
// here and cannot be checked again behind.
func ForwardBearer() Option {
	return once("ForwardBearer", func(b *builder) { b.forwardBearer = true })
}

// HideCredentials gives the handler the request without Authorization, DPoP
// and forwarded certificate, so that a handler that forwards or logs requests
// cannot leak them. [FromContext] has what they said.
func HideCredentials() Option {
	return once("HideCredentials", func(b *builder) { b.hideCredentials = true })
}

// WithRealm sets the realm parameter of the challenges. The default is the host
// of the first DPoP origin, or "api" without one: RFC 6750, section 3, demands
// at least one parameter in a Bearer challenge.
func WithRealm(realm string) Option {
	return once("WithRealm", func(b *builder) {
		if realm == "" || strings.ContainsFunc(realm, func(r rune) bool { return r < ' ' || r > '~' }) {
			b.Problem("WithRealm: a realm is printable ASCII and not empty")
			return
		}
		b.realm = realm
	})
}

// WithDenyHandler replaces the body of refusals. When f is called, the
// challenge, Cache-Control and the other fields are in the header, where they stay, and
// [Denial].Status is not written yet: f must call WriteHeader with it. For HEAD
// requests f should write no body. f may be called concurrently.
func WithDenyHandler(f func(http.ResponseWriter, *http.Request, Denial)) Option {
	return part("WithDenyHandler", f, nil, func(b *builder) { b.deny = f })
}

// WithErrorMembers sets what refusals say beside the error code of the RFC: any of
//
//	error_description   a fixed text, in challenges and in the JSON body (RFC 6750,
//	                    section 3): the default
//	error_code          in the JSON body alone, a fixed value for each description,
//	                    such as "token.expired", for programs
//
// Without a name, refusals say neither. docs/errors.md lists the values. An error_code
// is never the Reason of an [Outcome], and tells a client no more than the description.
func WithErrorMembers(names ...string) Option {
	names = slices.Clone(names)
	return once("WithErrorMembers", func(b *builder) {
		b.omitDescriptions = true
		for _, name := range names {
			switch name {
			case "error_description":
				b.omitDescriptions = false
			case "error_code":
				b.errorCodes = true
			default:
				b.Problem("WithErrorMembers: %q is neither error_description nor error_code", name)
			}
		}
	})
}

// ExposeHeaders adds WWW-Authenticate and DPoP-Nonce to
// Access-Control-Expose-Headers on answers to requests that carry Origin.
// Without them a browser's script cannot see the nonce that it must use
// (RFC 9449, section 8). Use it if the CORS middleware does not do the same.
func ExposeHeaders() Option {
	return once("ExposeHeaders", func(b *builder) { b.exposeHeaders = true })
}

// WithObserver sets a function that is told of every decision, once each,
// before the handler runs or the refusal is written. It runs on the request's
// goroutine, concurrently with itself, and should be quick. What it is told is
// for the operator: never show it to the client. The option may be given several times:
// the functions are told in the order given, and none may change what an Outcome points
// to. If one panics, the request is not served: the panic reaches the server.
func WithObserver(f func(context.Context, Outcome)) Option {
	return optionFunc(func(b *builder) {
		if options.IsNil(f) {
			b.Problem("WithObserver: nil")
			return
		}
		before := b.observer
		if before == nil {
			b.observer = f
			return
		}
		b.observer = func(ctx context.Context, o Outcome) {
			before(ctx, o)
			f(ctx, o)
		}
	})
}

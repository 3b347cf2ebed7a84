package middleware

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"net/http"
	"slices"
	"time"

	"github.com/keybound-go/middleware/internal/options"
)

// Guard decides whether a request may reach a handler. It is made by [New] or
// [Guard.Require], never changes, and is safe for concurrent use. The zero
// Guard rejects every request.
type Guard struct {
	*config
	rules      []Rule
	challenges challenges
}

// New returns a Guard with the given settings. It touches no network and
// starts nothing; it logs a warning if [DangerouslyAcceptAsBearer] is set. The error
// joins every problem of every part, one per line.
//
// WithTokens is required, and so is WithDPoP, WithMTLS or AllowUnbound: without
// any of them no token could ever pass.
func New(opts ...Option) (*Guard, error) {
	b := &builder{Set: options.For("middleware"), config: &config{quiet: new(quiet), failures: new(failures)}}
	g := b.build(opts)
	if err := b.Err(); err != nil {
		return nil, err
	}
	g.begin()
	if b.warning != "" {
		cmp.Or(g.logger, slog.Default()).Warn(b.warning, "clients", g.asBearer.clientIDs, "until", g.asBearer.until)
	}
	return g, nil
}

// adopt gives the guard its rules and the challenges that follow from them.
//
// Precondition: the rules are valid.
func (g *Guard) adopt(rules []Rule) error {
	g.rules = rules
	if g.challenges = newChallenges(g.config, rules); !g.challenges.any() {
		return errors.New("middleware: no token could satisfy the rules: they require a binding that this guard cannot verify, or two that exclude each other")
	}
	return nil
}

// Require returns a Guard that also demands the given rules, for a route that
// needs more than the others. The new Guard shares the parts of g: nested in g
// or beside it, a request is verified once. Require panics if a rule is nil,
// malformed, or can never be satisfied, as routes are made at start-up.
func (g *Guard) Require(rules ...Rule) *Guard {
	if g.config == nil {
		return &Guard{}
	}
	c := g.config
	if c.anonymous {
		own := *c
		own.anonymous = false // rules demand a credential
		c = &own
	}
	stricter := &Guard{config: c}
	err := validateRules("Require", rules)
	if err == nil {
		err = stricter.adopt(slices.Concat(g.rules, rules))
	}
	if err != nil {
		panic(err.Error())
	}
	return stricter
}

// AllowAnonymous returns a Guard for a route that knows its users and serves others too,
// such as a public page: a request without any credentials passes, and [FromContext]
// finds none. Anonymous is only a request that has no Authorization field, no session
// cookie, no DPoP field and no access_token in the query. What is there and is bad is
// refused as usual. The rules that the guard has already apply to requests with
// credentials alone; [Guard.Require] makes a guard of it that takes no anonymous
// requests. Responses vary by Authorization, and by Cookie with [WithSession].
//
// [Guard.Check] returns neither a Credential nor an error for an anonymous request.
// AllowAnonymous panics if the guard was made with [FAPI2] or [MCP], as routes are made
// at start-up.
func (g *Guard) AllowAnonymous() *Guard {
	if g.config == nil {
		return &Guard{}
	}
	if g.mustIdentify != "" {
		panic("middleware: AllowAnonymous: " + g.mustIdentify + " forbids it")
	}
	c := *g.config
	c.anonymous = true
	return &Guard{config: &c, rules: g.rules, challenges: g.challenges}
}

// Check decides whether r may pass. It does not write a response and does not change r,
// but it uses the proof up: a second Check of the same request reports a replay. The
// error is a [RequestError], an [oidc.TokenError], a [dpop.ProofError], a
// [mtlspop.BindingError] or an [exchange.Error] if the client is at fault (the
// last of them from [WithExchange]); every other error means that no decision could be
// made. Without an error, and only then, the Credential is not nil (except under
// [Guard.AllowAnonymous]).
//
// The order of checks:
//
//  1. The shape of the request, without crypto: not TLS early data, nor plain
//     HTTP under RequireTLS; one Authorization field with one token, or without
//     it a session that is not used by another site; no token in the query;
//     under the DPoP scheme one DPoP field, of a proof's form and size.
//  2. The token: known from before, or parsed, its signature and claims checked.
//  3. The binding policy: what cnf names must be configured here and fit the
//     scheme, all of it. An unbound token passes only with AllowUnbound.
//  4. The certificate, if cnf names one.
//  5. The proof, if cnf names a key: the twelve checks of RFC 9449, section 4.3,
//     as [dpop.Verifier.VerifyProof] lists them, the replay cache last. They come
//     after the certificate, so that consuming a proof takes the certificate as well.
//  6. The rules, in the order given, those of the whole guard first.
//
// What an outer Guard with the same part has verified for this very request is
// not verified again.
func (g *Guard) Check(r *http.Request) (*Credential, error) {
	q := nativeRequest(r)
	d := g.decide(r.Context(), &q, false)
	if d.err != nil {
		return nil, d.err
	}
	return d.credential(), nil
}

// decide inspects q, tells the operator, and finds a nonce if there is to be an answer.
func (g *Guard) decide(ctx context.Context, q *Request, answer bool) (d decision) {
	if g.config == nil {
		return decision{err: errZeroGuard}
	}
	var begin time.Time
	if g.observer != nil {
		begin = time.Now()
	}
	d = g.inspect(ctx, q)
	if answer {
		g.addNonce(ctx, &d)
	}
	g.tell(ctx, q, d, begin)
	return d
}

// Wrap returns a handler that passes to next the requests that [Guard.Check]
// lets pass, with their Credential in the context, and answers the others
// itself. It panics if next is nil.
func (g *Guard) Wrap(next http.Handler) http.Handler {
	if next == nil {
		panic("middleware: Wrap: nil handler")
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		q := nativeRequest(r)
		if g.passesPreflight(&q) {
			next.ServeHTTP(w, g.passUnjudged(r, &q))
			return
		}
		d := g.decide(r.Context(), &q, true)
		if d.err != nil {
			g.refuse(w, r, d)
			return
		}
		written := g.writtenByTerminator(&q)
		if f := g.announcement(r, d, written); f.any() {
			kept, done := keeping(w, f)
			defer done()
			w = kept
		}
		passed, end := g.pass(r, &q, d, written)
		defer end()
		next.ServeHTTP(w, passed)
		// The server removes the temporary files of the request that it knows.
		if r.MultipartForm == nil {
			r.MultipartForm = passed.MultipartForm
		}
	})
}

// Refuse writes the answer to a request that [Guard.Check] has refused with err: what
// [Guard.Wrap] would have answered, for handlers that ask Check themselves. It may ask
// the TokenVerifier once more. A nil err, which is a mistake, is answered with 503.
func (g *Guard) Refuse(w http.ResponseWriter, r *http.Request, err error) {
	if err == nil {
		err = errNoError
	}
	d := decision{err: err}
	if g.config != nil {
		q := nativeRequest(r)
		d = g.recall(r.Context(), &q, err)
		g.addNonce(r.Context(), &d)
	}
	g.refuse(w, r, d)
}

// passesPreflight reports whether q is a preflight that goes to the handler unjudged.
func (g *Guard) passesPreflight(q *Request) bool {
	return g.config != nil && g.passPreflights && q.isPreflight() && g.checkTransport(q) == nil
}

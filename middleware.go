package middleware

import (
	"errors"
	"fmt"
	"net/http"
	"runtime"
	"slices"
	"time"

	"github.com/keybound-go/middleware/dpop"
	"github.com/keybound-go/middleware/internal/headers"
	"github.com/keybound-go/middleware/internal/options"
	"github.com/keybound-go/middleware/internal/peers"
	"github.com/keybound-go/middleware/oidc"
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
// starts nothing. The error joins every problem of every part, one per line.
//
// WithTokens is required, and so is WithDPoP, WithMTLS or AllowUnbound: without
// any of them no token could ever pass.
func New(opts ...Option) (*Guard, error) {
	b := &builder{Set: options.For("middleware"), config: &config{}}
	g := b.build(opts)
	if err := b.Err(); err != nil {
		return nil, err
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
	stricter := &Guard{config: g.config}
	err := validateRules("Require", rules)
	if err == nil {
		err = stricter.adopt(slices.Concat(g.rules, rules))
	}
	if err != nil {
		panic(err.Error())
	}
	return stricter
}

// Check decides whether r may pass. It writes nothing, to nobody, and leaves r
// as it is. The error is a [RequestError], an [oidc.TokenError], a
// [dpop.ProofError] or a [mtlspop.BindingError] if the client is at fault;
// every other error means that no decision could be made. Without an error,
// and only then, the Credential is not nil.
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
//     as [dpop.Verifier.Verify] lists them, the replay cache last. They come after
//     the certificate, so that only who has that too can use a proof up.
//  6. The rules, in the order given, those of the whole guard first.
//
// What an outer Guard with the same part has verified for this very request is
// not verified again.
func (g *Guard) Check(r *http.Request) (*Credential, error) {
	d := g.decide(r, (*Guard).verify)
	if d.err != nil {
		return nil, d.err
	}
	return &d.verified.Credential, nil
}

var (
	errZeroGuard = errors.New("middleware: the zero Guard rejects every request")
	errNoToken   = errors.New("middleware: the TokenVerifier returned neither a token nor an error")
	errNoProof   = errors.New("middleware: the proof verifier returned neither a proof nor an error")
)

// decision is what [Guard.Check] finds out, with what Wrap must know besides.
type decision struct {
	verified *verified // what was found out; nil if step 1 failed
	scheme   scheme    // that the client used, as far as it was recognised
	unmet    *unmet    // the rule that is not satisfied, if that is why
	nonce    string    // for the client's next proof; "" if it needs none
	// keepsSession is whether it is for this guard to do: an outer one with the
	// same sessions has taken the cookie out of the request, and cares for it.
	keepsSession bool
	err          error // nil if the request may pass, and verified is then not nil
}

// decide decides by how, and tells the observer.
func (g *Guard) decide(r *http.Request, how func(*Guard, *http.Request) decision) decision {
	if g.config == nil {
		return decision{err: errZeroGuard}
	}
	begin := g.now()
	d := how(g, r)
	if g.observer != nil {
		g.observer(r.Context(), g.outcome(r, d, time.Since(begin)))
	}
	return d
}

// now is the current time if somebody wants durations.
func (g *Guard) now() (t time.Time) {
	if g.observer != nil {
		t = time.Now()
	}
	return t
}

// verify takes the steps of Check in order. A panic in any of them is a refusal.
//
// Invariant: the error of what it returns is nil only past every step.
func (g *Guard) verify(r *http.Request) (d decision) {
	defer func() {
		if p := recover(); p != nil {
			d.err = fmt.Errorf("middleware: panic during verification: %s", printable(p))
		}
	}()
	outer := earlier(r)
	sent, err := g.checkShape(r, outer)
	if d.scheme, d.err = sent.scheme, err; err != nil {
		return d
	}
	v := &verified{credentials: sent}
	v.by.sessions = g.sessions
	if outer != nil && v.by.sessions == nil {
		v.by.sessions = outer.by.sessions
	}
	d.keepsSession = outer == nil || outer.by.sessions != g.sessions
	d.verified = v
	if d.err = g.checkToken(r, v, outer); d.err != nil {
		return d
	}
	if d.err = g.checkPolicy(r, v); d.err != nil {
		return d
	}
	if d.err = g.checkBinding(r, v, outer); d.err != nil {
		return d
	}
	for _, rule := range g.rules {
		if d.unmet = rule.check(v); d.unmet != nil {
			d.err = d.unmet.err
			return d
		}
	}
	return d
}

// printable tells a programming error from a panic with a text that may hold
// what the client has sent.
func printable(panicked any) string {
	if err, ok := panicked.(runtime.Error); ok {
		return err.Error()
	}
	return fmt.Sprintf("a value of type %T", panicked)
}

// checkShape is step 1. It allocates nothing, for what it refuses costs a
// stranger nothing either.
func (g *Guard) checkShape(r *http.Request, outer *verified) (sent credentials, err error) {
	if err = g.checkTransport(r); err != nil {
		return sent, err
	}
	if sent, err = g.readCredentials(r, outer); err != nil {
		return sent, err
	}
	switch s := sent.scheme; {
	case !g.takes(s):
		err = ErrUnsupportedScheme
	case !g.ignoreQueryToken && hasQueryToken(r.URL.RawQuery):
		err = ErrQueryToken
	case s == schemeDPoP && !outer.provedKeyTo(g.dpop, sent.raw):
		err = g.checkProofShape(r.Header)
	}
	return sent, err
}

// checkProofShape finds, before the token costs a signature, a DPoP field that cannot
// be a proof (RFC 9449, sections 4.1 and 4.3, check 1).
func (c *config) checkProofShape(h http.Header) error {
	switch field, n := headers.Single(h, headers.DPoP); {
	case n == 0:
		return dpop.ErrMissing
	case n > 1:
		return dpop.ErrMultiple
	case len(field) > c.maxProofSize:
		return dpop.ErrTooLarge
	case !headers.IsToken68(field):
		return dpop.ErrMalformed
	}
	return nil
}

// cameOverTLS is what RequireTLS asks.
func (c *config) cameOverTLS(r *http.Request) bool {
	return r.TLS != nil || c.terminators.Trusts(peers.Of(r))
}

func (g *Guard) checkTransport(r *http.Request) error {
	switch {
	case isEarlyData(r):
		return ErrTooEarly
	case g.requireTLS && !g.cameOverTLS(r):
		return ErrPlainHTTP
	}
	return nil
}

// takes reports whether credentials of that scheme are accepted at all.
func (g *Guard) takes(s scheme) bool {
	switch s {
	case schemeDPoP:
		return g.dpop != nil && !g.exchangeOnly
	case schemeBasic:
		return g.exchange != nil
	default:
		return !g.exchangeOnly
	}
}

// readCredentials takes them from the request, or from the outer Guard that has
// done so already: what that one passed on may be under another scheme than the
// client used, or gone.
func (g *Guard) readCredentials(r *http.Request, outer *verified) (sent credentials, err error) {
	if outer.provedTokenTo(g.tokens) {
		sent.scheme, sent.raw = outer.scheme, outer.raw
		if sent.scheme == schemeBasic && g.exchange == nil {
			sent.scheme = schemeBearer // which is how the token arrives here
		}
		return sent, nil
	}
	sent.scheme, sent.raw, err = readAuthorization(r.Header)
	if err == nil && outer != nil && outer.scheme == schemeDPoP {
		sent.scheme = schemeDPoP
	}
	if err == ErrNoCredentials && g.sessions != nil {
		return g.readSession(r)
	}
	return sent, err
}

// checkToken is step 2.
func (g *Guard) checkToken(r *http.Request, v *verified, outer *verified) error {
	v.by.tokens = g.tokens
	if outer.provedTokenTo(g.tokens) {
		v.nested, v.Token = true, outer.Token
		v.bindingSkipped = g.skipBinding && outer.scheme == schemeBasic
		return nil
	}
	begin := g.now()
	var (
		token *oidc.Token
		err   error
	)
	if v.scheme == schemeBasic {
		v.bindingSkipped = g.skipBinding
		v.raw, token, err = g.exchangeSecret(r, v.raw)
	} else {
		token, err = g.tokens.VerifyToken(r.Context(), v.raw)
	}
	if !begin.IsZero() {
		v.tokenTime = time.Since(begin)
	}
	switch {
	case err != nil:
		return err
	case token == nil:
		return errNoToken
	}
	v.Token = token
	return nil
}

// checkPolicy is step 3.
func (g *Guard) checkPolicy(r *http.Request, v *verified) error {
	cnf := v.Token.Confirmation
	switch {
	case cnf.JKT != "" && g.dpop == nil, cnf.X5T != "" && g.mtls == nil:
		return ErrBindingNotConfigured
	case cnf.JKT != "" && v.scheme != schemeDPoP:
		return ErrDowngrade
	case cnf.JKT == "" && v.scheme == schemeDPoP:
		return ErrNotForDPoP
	case v.shape() == unboundShape && !g.allowUnbound && !v.bindingSkipped:
		return ErrUnbound
	case cnf.JKT == "" && g.refuseStrayProofs && len(r.Header[headers.DPoP]) > 0:
		return ErrStrayProof
	}
	return nil
}

// checkBinding is steps 4 and 5.
//
// Precondition: checkPolicy has passed, so that the part for each binding that
// the token names is there.
func (g *Guard) checkBinding(r *http.Request, v *verified, outer *verified) (err error) {
	cnf, begin := v.Token.Confirmation, g.now()
	if cnf.X5T != "" {
		if outer.provedCertificateTo(g.mtls) && outer.Token.Confirmation.X5T == cnf.X5T {
			v.Certificate, v.CertificateDER = outer.Certificate, outer.CertificateDER
		} else {
			e, err := g.mtls.Verify(r, cnf.X5T)
			if err != nil {
				return err
			}
			v.Certificate, v.CertificateDER = e.Certificate, e.DER
		}
		v.by.mtls = g.mtls
	}
	if cnf.JKT != "" {
		if outer.provedKeyTo(g.dpop, v.raw) && outer.Proof.Thumbprint == cnf.JKT {
			v.Proof = outer.Proof
		} else if v.Proof, err = g.verifyProof(r, v); err != nil {
			return err
		} else if v.Proof == nil {
			return errNoProof
		}
		v.by.dpop = g.dpop
	}
	if !begin.IsZero() {
		v.bindingTime = time.Since(begin)
	}
	return nil
}

// verifyProof spares the hash of a token that is known by its hash already: by
// that of what the client has sent. A verifier of somebody else's may have given
// another token to package oidc, such as the one that an opaque one stands for.
func (g *Guard) verifyProof(r *http.Request, v *verified) (*dpop.Proof, error) {
	req := dpop.RequestOf(r)
	req.Thumbprint = v.Token.Confirmation.JKT
	if hash, ok := v.Token.Hash(); ok && g.hashesWhatWasSent {
		req.TokenHash = hash
	} else {
		req.AccessToken = v.raw
	}
	return g.dpop.VerifyProof(r.Context(), req)
}

// Wrap returns a handler that passes to next the requests that [Guard.Check]
// lets pass, with their Credential in the context, and answers the others
// itself. It panics if next is nil.
func (g *Guard) Wrap(next http.Handler) http.Handler {
	if next == nil {
		panic("middleware: Wrap: nil handler")
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if g.config != nil && g.passPreflights && isPreflight(r) && g.checkTransport(r) == nil {
			next.ServeHTTP(w, g.passPreflight(r))
			return
		}
		d := g.decide(r, (*Guard).answer)
		if d.err != nil {
			g.refuse(w, r, d)
			return
		}
		v := d.verified
		written := g.writtenByTerminator(r)
		if f := g.announcement(r, d, written); f.any() {
			kept, done := keeping(w, f)
			defer done()
			w = kept
		}
		passed := g.pass(r, v, written)
		next.ServeHTTP(w, passed)
		// The server removes the temporary files of the request that it knows.
		if r.MultipartForm == nil {
			r.MultipartForm = passed.MultipartForm
		}
	})
}

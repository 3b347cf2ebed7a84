package middleware

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"runtime"
	"slices"
	"time"

	"github.com/keybound-go/middleware/dpop"
	"github.com/keybound-go/middleware/internal/caller"
	"github.com/keybound-go/middleware/internal/calls"
	"github.com/keybound-go/middleware/internal/headers"
	"github.com/keybound-go/middleware/oidc"
)

var (
	errZeroGuard = errors.New("middleware: the zero Guard rejects every request")
	errNoToken   = errors.New("middleware: the TokenVerifier returned neither a token nor an error")
	errNoError   = errors.New("middleware: Refuse was called without an error")
	errNoProof   = errors.New("middleware: the proof verifier returned neither a proof nor an error")
)

// inspection is one request on its way through the steps of [Guard.Check], past the
// first. It starts with what the client has sent; each step leaves what it has found.
type inspection struct {
	*Guard
	ctx    context.Context
	req    Request
	before *verified // what an outer guard verified for this very request; may be nil

	verified // what this guard verified

	unmet    *unmet // the rule that is not satisfied, if that is why
	reported *unmet // the first staged rule in report that is not satisfied; may be nil

	asker caller.Context // asks the issuer
	waits calls.Context  // keeps what the request waited for, for an observer
}

// decision is what [Guard.Check] finds out, with what Wrap must know besides.
type decision struct {
	*inspection        // nil if step 1 failed, or if the request is anonymous
	scheme      scheme // that the client used, as far as it was recognised
	nonce       string // for the client's next proof; "" if it needs none
	err         error  // nil if the request may pass
	anonymous   bool   // it may pass without credentials
	challenges  *challenges
}

// credential is that of a request that may pass, nil for an anonymous one.
//
// Precondition: the error of d is nil.
func (d *decision) credential() *Credential {
	if d.anonymous {
		return nil
	}
	return &d.inspection.Credential
}

// inspect takes the steps of [Guard.Check] in order. A panic in any of them is a refusal.
//
// Invariant: the error of what it returns is nil only past every step, or if the
// request is anonymous and the guard lets such pass.
func (g *Guard) inspect(ctx context.Context, q *Request) (d decision) {
	defer func() {
		if p := recover(); p != nil {
			d.err, d.anonymous = panicked(p), false
		}
	}()
	before := earlier(ctx, q)
	if g.anonymous && before == nil && g.isAnonymous(q) {
		d.err = g.checkTransport(q)
		d.anonymous = d.err == nil
		return d
	}
	sent, err := g.checkShape(ctx, q, before)
	if d.scheme, d.err = sent.scheme, err; err != nil {
		return d
	}
	i := newInspection(ctx, g, q, before, sent)
	d.inspection = i
	for _, step := range [...]func(*inspection) error{
		(*inspection).checkToken,
		(*inspection).checkOrigin,
		(*inspection).checkPolicy,
		(*inspection).checkCertificate,
		(*inspection).checkProof,
		(*inspection).checkRules,
	} {
		if d.err = step(i); d.err != nil {
			return d
		}
	}
	return d
}

// isAnonymous reports whether q comes without anything that authenticates.
//
// Precondition: no outer guard has looked at q.
func (g *Guard) isAnonymous(q *Request) bool {
	return len(q.Header[headers.Authorization]) == 0 && len(q.Header[headers.DPoP]) == 0 &&
		!hasQueryToken(q.query()) && !g.carriesSession(q)
}

// recall is the decision that ended with err, as far as the answer depends on it: made
// again without the checks that a second time would fail.
func (g *Guard) recall(ctx context.Context, q *Request, err error) (d decision) {
	d.err = err
	defer func() {
		_ = recover() // What was found out before the panic is enough for an answer.
	}()
	before := earlier(ctx, q)
	sent, wrong := g.readCredentials(ctx, q, before)
	d.scheme = sent.scheme
	if wrong != nil {
		return d
	}
	d.inspection = newInspection(ctx, g, q, before, sent)
	// Some rules add parameters to the challenge, and a Stage may choose for this client.
	staged := slices.ContainsFunc(g.rules, isStaged)
	byRule := err == ErrInsufficientScope || err == ErrInsufficientAuthentication
	if !staged && !byRule || d.checkToken() != nil {
		return d
	}
	if byRule && d.checkRules() != err {
		d.unmet = nil
	}
	return d
}

func newInspection(ctx context.Context, g *Guard, q *Request, before *verified, sent credentials) *inspection {
	i := &inspection{Guard: g, ctx: ctx, req: *q, before: before}
	i.credentials = sent
	if g.observer != nil {
		i.waits.Context = ctx
		i.ctx = &i.waits
	}
	i.asker = caller.Context{Context: i.ctx, Of: i}
	return i
}

func panicked(p any) error {
	return panicError("middleware: panic during verification: " + printable(p))
}

// printable tells a programming error from a panic with a text that may hold
// what the client has sent, or a secret of a part.
func printable(panicked any) string {
	if err, ok := panicked.(runtime.Error); ok {
		return err.Error()
	}
	return fmt.Sprintf("a value of type %T", panicked)
}

// checkShape is step 1. It allocates nothing, for what it refuses costs an attacker
// nothing either.
func (g *Guard) checkShape(ctx context.Context, q *Request, before *verified) (sent credentials, err error) {
	if err = g.checkTransport(q); err != nil {
		return sent, err
	}
	if sent, err = g.readCredentials(ctx, q, before); err != nil {
		return sent, err
	}
	switch s := sent.scheme; {
	case !g.takes(s):
		err = ErrUnsupportedScheme
	case !g.ignoreQueryToken && hasQueryToken(q.query()):
		err = ErrQueryToken
	case s == schemeDPoP && before.proof(g.dpop, sent.raw) == nil:
		err = g.checkProofField(q)
	}
	return sent, err
}

func (g *Guard) checkTransport(q *Request) error {
	switch {
	case q.isEarlyData():
		return ErrTooEarly
	case g.requireTLS && q.TLS == nil && !g.terminators.Trusts(q.peer()):
		return ErrPlainHTTP
	case q.hasBadTarget():
		return ErrBadTarget
	}
	return nil
}

// checkProofField finds without crypto what check 1 of RFC 9449, section 4.3, refuses.
func (g *Guard) checkProofField(q *Request) error {
	switch field, n := headers.Single(q.Header, headers.DPoP); {
	case n == 0:
		return dpop.ErrMissing
	case n > 1:
		return dpop.ErrMultiple
	case len(field) > g.maxProofSize:
		return dpop.ErrTooLarge
	case !headers.IsToken68(field): // which a compact JWS is
		return dpop.ErrMalformed
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

// checkToken is step 2.
func (i *inspection) checkToken() (err error) {
	i.by.tokens, i.by.sessions = i.tokens, i.sessions
	if i.before != nil && i.by.sessions == nil {
		i.by.sessions = i.before.by.sessions
	}
	if i.Token = i.before.token(i.tokens); i.Token != nil {
		i.nested = true
		i.bindingSkipped = i.skipBinding && i.before.scheme == schemeBasic
		return nil
	}
	defer i.clock(&i.tokenTime)()
	if i.scheme == schemeBasic {
		i.bindingSkipped = i.skipBinding
		i.raw, i.Token, err = i.exchangeSecret(i.raw)
	} else {
		i.Token, err = i.tokens.VerifyToken(&i.asker, i.raw)
	}
	switch {
	case err != nil:
		i.Token = nil // Whatever came with the error is not verified.
		return err
	case i.Token == nil:
		return errNoToken
	}
	return nil
}

// checkOrigin is the end of step 2: the tokens of a tenant are good at the tenant's own
// origins only, whether they are bound or not.
func (i *inspection) checkOrigin() error {
	if own := i.Token.Origins(); len(own) > 0 && !i.req.wasSentTo(own) {
		return oidc.ErrOrigin
	}
	return nil
}

// CallerAddress is what the context of a question to an issuer knows of the client.
func (i *inspection) CallerAddress() (addr netip.Addr) {
	defer func() {
		if recover() != nil { // in a goroutine of a part this would end the process
			addr = netip.Addr{}
		}
	}()
	return i.findCaller()
}

func (i *inspection) findCaller() netip.Addr {
	if i.callerAddress != nil {
		return i.callerAddress(i.req.http(i.ctx))
	}
	return i.req.callerAddress()
}

// checkPolicy is step 3.
// Without [AllowUnbound] every token must be bound to its sender
// (RFC 9700, section 2.2.1).
func (i *inspection) checkPolicy() error {
	cnf := i.Token.Confirmation
	switch {
	case cnf.JKT != "" && i.dpop == nil, cnf.X5T != "" && i.mtls == nil:
		return ErrBindingNotConfigured
	case cnf.JKT != "" && i.scheme != schemeDPoP && !i.toleratesBearer():
		return ErrDowngrade
	case cnf.JKT == "" && i.scheme == schemeDPoP:
		return ErrNotForDPoP
	case cnf.X5T == "" && i.mtlsPoP:
		return ErrNotCertificateBound
	case cnf.JKT == "" && cnf.X5T == "" && !i.allowUnbound && !i.bindingSkipped:
		return ErrUnbound
	case cnf.JKT == "" && i.refuseStrayProofs && len(i.req.Header[headers.DPoP]) > 0:
		return ErrStrayProof
	}
	return nil
}

// toleratesBearer reports whether a token that is bound to a key may come as Bearer, by
// DangerouslyAcceptAsBearer. A proof that comes with it is checked all the same.
func (i *inspection) toleratesBearer() bool {
	if i.scheme != schemeBearer || !i.asBearer.tolerates(i.Token.ClientID, time.Now()) {
		return false
	}
	i.KeyUnproven = len(i.req.Header[headers.DPoP]) == 0 && i.before.proof(i.dpop, i.raw) == nil
	return true
}

// checkCertificate is step 4.
//
// Precondition: checkPolicy has passed, so that the part is there if it is needed.
func (i *inspection) checkCertificate() error {
	x5t := i.Token.Confirmation.X5T
	if x5t == "" {
		return nil
	}
	i.by.mtls = i.mtls
	if known := i.before.certificate(i.mtls, x5t); known != nil {
		i.Certificate, i.CertificateDER = known.Certificate, known.CertificateDER
		return nil
	}
	defer i.clock(&i.bindingTime)()
	e, err := i.mtls.VerifyRequest(i.ctx, i.req.certificate(), x5t)
	if err != nil {
		return err
	}
	i.Certificate, i.CertificateDER = e.Certificate, e.DER
	return nil
}

// checkProof is step 5.
//
// Precondition: checkPolicy has passed, so that the part is there if it is needed.
// What the proof was used for is remembered, so that it is used once
// (RFC 9700, section 4.10.1).
func (i *inspection) checkProof() (err error) {
	jkt := i.Token.Confirmation.JKT
	if jkt == "" || i.KeyUnproven {
		return nil
	}
	i.by.dpop = i.dpop
	if known := i.before.proof(i.dpop, i.raw); known != nil && known.Thumbprint == jkt {
		i.Proof = known
		return nil
	}
	defer i.clock(&i.bindingTime)()
	req := i.req.proof()
	req.Thumbprint, req.Origins = jkt, i.Token.Origins()
	// The hash that the verifier computed counts if it is of the token as the client
	// sent it. A TokenVerifier of a user's own may have given another token to package
	// oidc, such as the one that an opaque one stands for.
	if hash, ok := i.Token.Hash(); ok && i.hashesWhatWasSent {
		req.TokenHash = hash
	} else {
		req.AccessToken = i.raw
	}
	if i.Proof, err = i.dpop.VerifyProof(i.ctx, req); err == nil && i.Proof == nil {
		return errNoProof
	}
	return err
}

// checkRules is step 6.
func (i *inspection) checkRules() error {
	for _, rule := range i.rules {
		if i.unmet = rule.check(i); i.unmet != nil {
			return i.unmet.err
		}
	}
	return nil
}

// clock adds to total what passes until the function that it returns is called, if an
// operator wants to know.
func (i *inspection) clock(total *time.Duration) (stop func()) {
	if i.observer == nil {
		return func() {}
	}
	begin := time.Now()
	return func() { *total += time.Since(begin) }
}

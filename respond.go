package middleware

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/keybound-go/middleware/dpop"
	"github.com/keybound-go/middleware/internal/headers"
	"github.com/keybound-go/middleware/oidc"
	"github.com/keybound-go/middleware/session"
)

// addNonce adds what the response needs beyond the decision: the nonce for the next
// proof.
func (g *Guard) addNonce(ctx context.Context, d *decision) {
	d.challenges = g.challengesFor(d)
	if !g.wantsNonce(d) {
		return
	}
	var proof *dpop.Proof // nil for a refusal: a new nonce in any case
	if d.err == nil {
		proof = d.Proof
	}
	nonce, err := g.nextNonce(ctx, proof)
	if err != nil && isNonceChallenge(d.err) {
		// The error is ours: a client that must have a nonce cannot be challenged without
		// one.
		d.err = err
	}
	// Otherwise a source of nonces that is down costs the client one challenge later on.
	d.nonce = nonce
}

// wantsNonce reports whether the client could use a nonce.
func (g *Guard) wantsNonce(d *decision) bool {
	if d.err == nil {
		return !d.anonymous && d.by.dpop != nil
	}
	e, ok := asClientError(d.err)
	return ok && statusOf(e) == http.StatusUnauthorized && d.challenges.offersTo(d, schemeDPoP)
}

func isNonceChallenge(err error) bool {
	e, ok := err.(dpop.ProofError)
	return ok && e.Code() == "use_dpop_nonce"
}

func (g *Guard) nextNonce(ctx context.Context, p *dpop.Proof) (nonce string, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = panicError("middleware: panic in the nonce source: " + printable(p))
		}
	}()
	return g.dpop.NextNonce(ctx, p)
}

// announcement is what the response to a request that passes must carry.
func (g *Guard) announcement(r *http.Request, d decision, written []string) (f fields) {
	f.expose = g.exposes(r.Header)
	if g.anonymous {
		f.vary = append(f.vary, headers.Authorization)
		if g.sessions != nil {
			f.vary = append(f.vary, "Cookie")
		}
	}
	if d.anonymous {
		return f
	}
	if g.sessions != nil && d.keepsSession() {
		g.keepSession(&f, r, d)
	}
	if d.by.mtls != nil {
		f.vary = append(f.vary, written...) // RFC 9440, section 2.4.
	}
	if d.nonce != "" {
		f.nonce, f.caching = d.nonce, cachingNone // RFC 9449, section 8.2.
	}
	return f
}

// exposes reports whether scripts of other origins are to be shown what they need
// for the next request.
func (g *Guard) exposes(h http.Header) bool {
	return g.exposeHeaders && len(h["Origin"]) > 0
}

// keepsSession reports whether the session is for this guard to keep: an outer one with
// the same sessions has taken the cookie out of the request, and cares for it.
func (i *inspection) keepsSession() bool {
	return i.before == nil || i.before.by.sessions != i.sessions
}

// keepSession begins the session of a client that has presented a token, and
// keeps it from ending while it is in use.
//
// Precondition: the request has passed.
func (g *Guard) keepSession(f *fields, r *http.Request, d decision) {
	if d.scheme == schemeBasic {
		return
	}
	if d.session {
		f.vary, f.caching = append(f.vary, "Cookie"), cachingPrivate
	}
	h := make(http.Header, 1)
	if g.sessions.Save(h, r, session.Session{Scheme: d.scheme.String(), Token: d.raw}) {
		f.cookies, f.caching = h["Set-Cookie"], cachingNone
	}
}

// writtenByTerminator returns the fields of q that a TLS terminator has written. Other
// fields with forwarded certificates are a client's, even in a request from a
// terminator: that one writes its own dialect and passes on the rest.
func (g *Guard) writtenByTerminator(q *Request) []string {
	if len(g.forwarded) == 0 {
		return nil
	}
	return g.mtls.TrustedHeaders(q.certificate())
}

// hides reports whether the handler gets the request without proof and certificate.
func (c *config) hides() bool { return c.forwardBearer || c.hideCredentials }

// pass returns the request that the handler sees: r with the credential in its
// context, and with the header of forward. The function is to be called when the
// handler is done.
func (g *Guard) pass(r *http.Request, q *Request, d decision, written []string) (passed *http.Request, end func()) {
	if d.anonymous {
		return g.passUnjudged(r, q), func() {}
	}
	ctx, end := g.untilTheEnd(context.WithValue(r.Context(), credentialKey{}, &d.verified), &d.verified)
	passed = r.WithContext(ctx)
	passed.Header = g.forward(r.Header, &d.verified, written)
	seen := nativeRequest(passed)
	d.of, _ = seen.identity()
	return passed, end
}

// ErrTokenEnded is the cause of the end of a context by [EndResponsesWithToken].
var ErrTokenEnded = errors.New("middleware: the token of the request expired, or its session is over")

// end is when the token of v, or the session that it came in, is over, if the guard ends
// responses then. The zero Time is never.
func (g *Guard) end(v *verified) time.Time {
	if !g.endWithToken {
		return time.Time{}
	}
	end := v.Token.Expiry
	if !end.IsZero() {
		end = end.Add(g.skew) // until when the verifier accepts it
	}
	if !v.ends.IsZero() && (end.IsZero() || v.ends.Before(end)) {
		end = v.ends
	}
	return end
}

// untilTheEnd returns a context that is done at the end.
func (g *Guard) untilTheEnd(ctx context.Context, v *verified) (context.Context, func()) {
	end := g.end(v)
	if end.IsZero() {
		return ctx, func() {}
	}
	// A TokenVerifier of a user's own may accept a token for longer: no response ends
	// before it begins.
	if soon := time.Now().Add(time.Second); end.Before(soon) {
		end = soon
	}
	return context.WithDeadlineCause(ctx, end, ErrTokenEnded)
}

// forward returns h without what the handler should not see, such as a certificate
// header that no trusted terminator wrote: it is unverified input. It returns h itself
// if there is nothing of the kind. Those in written are by a terminator.
func (g *Guard) forward(h http.Header, v *verified, written []string) http.Header {
	hide := g.hides()
	if hide || v.session || v.scheme == schemeBasic {
		h = maps.Clone(h)
		delete(h, headers.Authorization)
		if !g.hideCredentials { // A secret is not for the handler either way.
			h[headers.Authorization] = []string{g.forwardedScheme(v) + " " + v.raw}
		}
	}
	if hide {
		delete(h, headers.DPoP)
		written = nil
	}
	return g.withoutClaims(h, written)
}

// passUnjudged is pass for a request without credentials, and for a preflight: browsers
// send none with it, and any that arrive are unverified.
func (g *Guard) passUnjudged(r *http.Request, q *Request) *http.Request {
	passed := r.WithContext(NewContext(r.Context(), nil))
	passed.Header = g.forwardNone(q)
	return passed
}

// forwardNone is forward for a request whose credentials were not looked at.
func (g *Guard) forwardNone(q *Request) http.Header {
	h := maps.Clone(q.Header)
	delete(h, headers.Authorization)
	delete(h, headers.DPoP)
	var written []string
	if !g.hides() {
		written = g.writtenByTerminator(q)
	}
	return g.withoutClaims(h, written)
}

// withoutClaims returns h without what a service behind could take for a credential:
// the cookie of a session, and forwarded certificates except in the fields to keep.
func (g *Guard) withoutClaims(h http.Header, keep []string) http.Header {
	if g.sessions != nil {
		h = g.sessions.Strip(h)
	}
	if len(g.forwarded) > 0 {
		h = withoutForwarded(h, g.forwarded, keep)
	}
	return h
}

// forwardedScheme is that under which the handler gets the token.
func (g *Guard) forwardedScheme(v *verified) string {
	if v.session && !g.forwardBearer {
		return v.scheme.String() // as if the client had sent it
	}
	return schemeBearer.String()
}

// withoutForwarded returns h without the named fields, under any spelling that
// a service behind could take for them: some read X-Client-Cert, X_Client_Cert and
// X.Client.Cert alike. The fields in keep stay: a terminator has written them, but
// other spellings of them it has passed on from its client.
func withoutForwarded(h http.Header, names, keep []string) http.Header {
	cloned := false
	for name := range h {
		alike := func(field string) bool { return dashed(field) == dashed(name) }
		if slices.Contains(keep, name) || !slices.ContainsFunc(names, alike) {
			continue
		}
		if !cloned {
			h, cloned = maps.Clone(h), true
		}
		delete(h, name)
	}
	return h
}

// dashed is the variable name that CGI (RFC 3875, section 4.1.18) and similar protocols
// make of a field, with dashes and in canonical case: several programs put an underscore
// for every byte that is not alphanumeric.
func dashed(field string) string {
	return http.CanonicalHeaderKey(strings.Map(func(c rune) rune {
		if c < '0' || '9' < c && c < 'A' || 'Z' < c && c < 'a' || 'z' < c {
			return '-'
		}
		return c
	}, field))
}

// isOver reports whether the session's token is gone for good: expired or inactive.
// Other refusals may be temporary, such as that of a key that has just been rotated in,
// or specific to this guard.
func isOver(err clientError) bool {
	return err == clientError(oidc.ErrExpired) || err == clientError(oidc.ErrInactive)
}

// denial says what the client is told of err.
func (g *Guard) denial(err error) Denial {
	e, ok := asClientError(err)
	if !ok {
		return Denial{Status: http.StatusServiceUnavailable}
	}
	d := Denial{Status: statusOf(e), Code: e.Code()}
	if d.Code != "" && g.challenges.describe {
		d.Description = e.Description()
	}
	if g.errorCodes {
		d.ErrorCode = errorCodeOf(e)
	}
	return d
}

// refusedBodyTime is how long the server may wait for the body of a refused request.
const refusedBodyTime = 2 * time.Second

// limitBody keeps a slow body from holding up a refusal. Before it answers, a server of
// HTTP/1 reads what is left of the body, up to 256 KiB, so that the connection can serve
// another request: a client that sends a byte now and then would hold the connection and
// its goroutine for as long as it likes.
func limitBody(w http.ResponseWriter, r *http.Request) {
	if r.Body == nil || r.Body == http.NoBody || r.ContentLength == 0 {
		return
	}
	err := http.NewResponseController(w).SetReadDeadline(time.Now().Add(refusedBodyTime))
	if err != nil && r.ProtoMajor == 1 { // a wrapper without Unwrap
		w.Header().Set("Connection", "close") // Then the server does not read on.
	}
}

// refuse answers a request that may not pass.
func (g *Guard) refuse(w http.ResponseWriter, r *http.Request, decided decision) {
	limitBody(w, r)
	if g.config == nil {
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	d := g.denial(decided.err)
	f := g.refusal(r, decided, d)
	if g.deny == nil {
		f.restore(w.Header())
		writeDenial(w, r, d)
		return
	}
	kept, done := keeping(w, f)
	defer done()
	g.deny(kept, r, d)
}

// refusal is what the response to a request that may not pass must carry.
func (g *Guard) refusal(r *http.Request, decided decision, d Denial) fields {
	f := fields{caching: cachingNone, expose: g.exposes(r.Header)}
	if e, ok := asClientError(decided.err); ok && 400 <= d.Status && d.Status <= 403 {
		f.nonce = decided.nonce
		f.challenges = decided.challenges.lines(decided.scheme, e, decided.challengeParams())
		if isOver(e) && g.sessions != nil && decided.inspection != nil && decided.session {
			h := make(http.Header, 1)
			g.sessions.End(h, r) // It would come to nothing again.
			f.cookies = h["Set-Cookie"]
		}
	}
	if d.Status == http.StatusServiceUnavailable {
		f.retryAfter = retryAfter(decided.err)
	}
	return f
}

// challengeParams are what a rule adds to the challenge.
func (d *decision) challengeParams() string {
	if d.inspection == nil || d.unmet == nil {
		return ""
	}
	return d.unmet.params
}

// retryAfter is what the cause of a 503 knows of its end, or "".
func retryAfter(err error) string {
	cause, ok := errors.AsType[interface {
		error
		RetryAfter() time.Duration
	}](err)
	if !ok {
		return ""
	}
	after := min(cause.RetryAfter(), time.Hour)
	if after <= 0 {
		return ""
	}
	return strconv.FormatInt(int64((after+time.Second-1)/time.Second), 10)
}

// body is the JSON of a refusal, or nil if there is nothing to say.
func (d Denial) body() []byte {
	if d.Code == "" {
		return nil
	}
	body, err := json.Marshal(struct {
		Error       string `json:"error"`
		Description string `json:"error_description,omitempty"`
		ErrorCode   string `json:"error_code,omitempty"`
	}{d.Code, d.Description, d.ErrorCode})
	if err != nil { // strings marshal
		return nil
	}
	return body
}

// writeDenial is the default deny handler.
func writeDenial(w http.ResponseWriter, r *http.Request, d Denial) {
	body := d.body()
	if body != nil {
		w.Header().Set("Content-Type", "application/json")
	}
	w.WriteHeader(d.Status)
	if body != nil && r.Method != http.MethodHead {
		_, _ = w.Write(body) // The client may be gone.
	}
}

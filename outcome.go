package middleware

import (
	"cmp"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/keybound-go/middleware/dpop"
	"github.com/keybound-go/middleware/internal/headers"
	"github.com/keybound-go/middleware/oidc"
)

// Denial is what the client is told of a refusal.
type Denial struct {
	// Status is the HTTP status: 400, 401, 403, 425, 431, or 503 if no decision
	// could be made.
	Status int
	// Code is the error code of the challenge, or "" if it carries none.
	Code string
	// Description is the error_description, or "". It never holds anything that
	// came with the request.
	Description string
	// ErrorCode is the error_code of the body, a fixed value for each description, or
	// "": see [WithErrorMembers].
	ErrorCode string
}

// Outcome is what the operator is told of a decision. It never holds a token, a proof,
// a nonce, a secret or a query. It logs itself with flat keys: see [Outcome.LogValue].
type Outcome struct {
	// Err is nil if the request may pass. Otherwise it is the RequestError,
	// oidc.TokenError, dpop.ProofError, mtlspop.BindingError or exchange.Error that
	// the client is told of, or another error that explains a 503.
	Err error
	// Reason is the stable name of the refusal, such as "dpop_replayed" or
	// "unavailable_issuer", or "" if the request may pass. It is part of the API.
	Reason string
	// Rule is the name of the [RuleFunc] that Reason or WouldDeny comes from, or "".
	Rule string
	// Status is the status of the refusal, 0 if the request may pass.
	Status int
	// Hint tells the operator what would let an honest request pass, also for a request
	// that WouldDeny speaks of, or is "".
	Hint string
	// WouldDeny is what the request would have been refused for by rules that are
	// [Staged] in report, as Reason names it, or "".
	WouldDeny string
	// Nested reports that an outer Guard had verified the request already.
	Nested bool
	// Anonymous reports that the request passed without credentials, by
	// [Guard.AllowAnonymous].
	Anonymous bool
	// KeyUnproven reports that the request passed without a proof of the key that its
	// token is bound to, by [DangerouslyAcceptAsBearer].
	KeyUnproven bool

	// Method, Host and Path are those of the request, printable and cut to size; Path
	// is without the query. Pattern is the one of the ServeMux that routed the
	// request to the guard, or "". Peer is the transport address of the immediate
	// peer.
	Method, Host, Path, Pattern, Peer string

	// Scheme is "DPoP", "Bearer", "Basic", or "" if none was recognised.
	Scheme string
	// Session reports that a cookie stood for the token; Scheme is then the one
	// under which its session began.
	Session bool
	// Issuer, Subject and ClientID are those of the token, once it is verified.
	Issuer, Subject, ClientID string
	// Confirmation is what the token is bound to.
	Confirmation oidc.Confirmation

	// Token is what a refused token claims beside what was expected; nothing in it is
	// verified. It is nil unless the token was refused.
	Token *oidc.Explanation
	// Proof is what the proof claims beside what was expected; on a refusal
	// nothing in it is verified. Its zero value means that there was no proof to
	// look at. Proof.Skew is the issue time of the proof less the time here. Of a proof
	// that was accepted, HTU and ExpectedHTU are empty: they are Host and Path.
	Proof dpop.Explanation
	// WantedScopes and HadScopes are those that a rule demands and that the token has,
	// if that is why the request is refused, or what WouldDeny is about.
	WantedScopes, HadScopes []string
	// UntrustedForward reports that a field with a forwarded certificate came from a
	// peer that may not send one: from Peer. It was ignored and removed.
	UntrustedForward bool
	// CertificateOutOfDate reports that the client certificate that was accepted
	// is expired or not yet valid. RFC 8705, section 6.2, asks for no more than
	// its key; mtlspop.RequireValidity refuses it.
	CertificateOutOfDate bool

	// TokenTime, BindingTime and Total are how long the token's verification,
	// that of its binding, and the whole decision took.
	TokenTime, BindingTime, Total time.Duration

	// Calls are what the request waited for, each a question that goes over the
	// network: nil for most requests, since most answers are known already. They are
	// kept for an observer only.
	Calls []struct {
		// Part is what was asked: "metadata" or "keys" of an issuer, its
		// "introspection" or "token_endpoint", a "replay_cache" that is not in the
		// memory of this process, a source of "revocation", the function that is to
		// "resolve" a tenant.
		Part  string
		Begin time.Time
		// Time is for how long this request waited, also if another one had asked
		// the same question before.
		Time time.Duration
		// Failed reports that no answer was had.
		Failed bool
	}
}

// outcome is what the operator is told.
func (g *Guard) outcome(q *Request, d decision, total time.Duration) Outcome {
	o := Outcome{
		Err:              d.err,
		Scheme:           d.scheme.String(),
		Method:           printableText(q.Method, 32),
		Host:             printableText(q.Host, 256),
		Path:             printableText(q.path(), 256),
		Peer:             printableText(q.RemoteAddr, 64),
		UntrustedForward: g.hasUntrustedForward(q),
		Anonymous:        d.anonymous,
		Total:            total,
	}
	if q.received != nil {
		o.Pattern = q.received.Pattern
	}
	if d.err != nil {
		o.Status, o.Reason = g.denial(d.err).Status, reasonOf(d.err)
	}
	if d.inspection != nil {
		o.KeyUnproven = d.KeyUnproven
		if d.reported != nil {
			o.WouldDeny, o.Rule = reasonOf(d.reported.err), d.reported.rule
		}
		if d.unmet != nil {
			o.Rule = d.unmet.rule
		}
		o.Nested, o.Session, o.TokenTime, o.BindingTime = d.nested, d.session, d.tokenTime, d.bindingTime
		if t := d.Token; t != nil {
			o.Issuer, o.Subject, o.ClientID, o.Confirmation = t.Issuer, t.Subject, t.ClientID, t.Confirmation
		}
		o.addToken(d)
		for _, c := range d.waits.Log.Take() {
			o.Calls = append(o.Calls, c)
		}
		if c := d.Certificate; c != nil {
			now := time.Now()
			o.CertificateOutOfDate = now.Before(c.NotBefore) || now.After(c.NotAfter)
		}
	}
	switch {
	case g.dpop == nil || len(q.Header[headers.DPoP]) == 0:
	case d.err == nil && d.inspection != nil && d.Proof != nil: // it need not be read again
		o.Proof = dpop.Explanation{HTM: o.Method, HasIssuedAt: true, Skew: time.Until(d.Proof.IssuedAt)}
	default:
		p := q.proof()
		if d.inspection != nil && d.Token != nil {
			p.Origins = d.Token.Origins()
		}
		o.Proof = g.dpop.Explain(p)
	}
	switch {
	case d.err != nil:
		o.Hint = g.hint(q, &o, d)
	case o.WouldDeny != "":
		o.addScopes(d.reported, d.Token)
		o.Hint = ruleHint(d.reported)
	}
	return o
}

// addScopes says which scopes a rule demands, if it is about scopes.
func (o *Outcome) addScopes(u *unmet, t *oidc.Token) {
	if scopes, ok := u.scopes(); ok {
		o.WantedScopes, o.HadScopes = scopes, t.Scopes
	}
}

// addToken explains a token that was refused.
func (o *Outcome) addToken(d decision) {
	if d.err == nil || o.Status >= 500 {
		return // nothing is wrong with the token, or not known to be
	}
	switch {
	case d.unmet != nil:
		o.addScopes(d.unmet, d.Token)
	case d.Token == nil && d.scheme != schemeBasic && d.raw != "":
		var e oidc.Explanation
		if v, ok := d.tokens.(interface {
			Explain(raw string) oidc.Explanation
		}); ok {
			e = explainBy(v.Explain, d.raw)
		} else {
			e = oidc.ExplainToken(d.raw)
		}
		o.Token = &e
	}
}

// LogValue is the outcome as a group with flat keys: reason, status, method, path and
// so on. What is empty is left out, durations are in milliseconds, and what is not
// verified has a key that starts with "unverified_".
func (o Outcome) LogValue() slog.Value {
	a := make(attrs, 0, 24)
	a.text("reason", o.Reason)
	if o.Status != 0 {
		a = append(a, slog.Int("status", o.Status))
	}
	if o.Err != nil {
		a.text("error", o.Err.Error())
	}
	a.text("hint", o.Hint)
	a.text("would_deny", o.WouldDeny)
	a.text("rule", o.Rule)
	a.flag("nested", o.Nested)
	a.flag("anonymous", o.Anonymous)
	a.flag("key_unproven", o.KeyUnproven)
	a.text("method", o.Method)
	a.text("host", o.Host)
	a.text("path", o.Path)
	a.text("pattern", o.Pattern)
	a.text("peer", o.Peer)
	a.text("scheme", o.Scheme)
	a.flag("session", o.Session)
	a.text("issuer", o.Issuer)
	a.text("client_id", o.ClientID)
	a.text("subject", o.Subject)
	a.text("bound_to_key", o.Confirmation.JKT)
	a.text("bound_to_certificate", o.Confirmation.X5T)
	a.flag("untrusted_forward", o.UntrustedForward)
	a.flag("certificate_out_of_date", o.CertificateOutOfDate)
	a.texts("wanted_scopes", o.WantedScopes)
	if o.WantedScopes != nil {
		a = append(a, slog.String("had_scopes", strings.Join(o.HadScopes, " ")))
	}
	a.token(o.Token)
	a.proof(o)
	if o.Total > 0 {
		a = append(a, milliseconds("total_ms", o.Total), milliseconds("token_ms", o.TokenTime), milliseconds("binding_ms", o.BindingTime))
	}
	return slog.GroupValue(a...)
}

// attrs are the keys of a log line.
type attrs []slog.Attr

func (a *attrs) text(key, value string) {
	if value != "" {
		*a = append(*a, slog.String(key, value))
	}
}

func (a *attrs) texts(key string, values []string) { a.text(key, strings.Join(values, " ")) }

func (a *attrs) flag(key string, set bool) {
	if set {
		*a = append(*a, slog.Bool(key, true))
	}
}

func (a *attrs) token(e *oidc.Explanation) {
	if e == nil {
		return
	}
	a.text("unverified_token", e.Form)
	a.text("unverified_typ", e.Type)
	a.text("unverified_alg", e.Algorithm)
	a.text("unverified_kid", e.KeyID)
	a.text("unverified_iss", e.Issuer)
	a.texts("expected_iss", e.ExpectedIssuers)
	a.texts("unverified_aud", e.Audience)
	a.texts("expected_aud", e.ExpectedAudiences)
	a.text("unverified_client_id", e.ClientID)
	a.text("expected_profile", e.ExpectedProfile)
	if e.HasExpiry {
		*a = append(*a, slog.Float64("unverified_expires_in_s", e.ExpiresIn.Seconds()))
	}
	if e.HasIssuedAt {
		*a = append(*a, slog.Float64("unverified_issued_ago_s", e.IssuedAgo.Seconds()))
	}
}

func (a *attrs) proof(o Outcome) {
	p, prefix := o.Proof, ""
	if o.Err == nil || o.Status >= 500 {
		return // it is what was expected, or was not looked at
	}
	if o.Status != 0 {
		prefix = "unverified_"
	}
	a.text(prefix+"htm", p.HTM)
	a.text(prefix+"htu", p.HTU)
	a.text("expected_htu", p.ExpectedHTU)
	if p.HasIssuedAt {
		*a = append(*a, slog.Float64(prefix+"proof_skew_s", p.Skew.Round(time.Millisecond).Seconds()))
	}
}

func milliseconds(key string, d time.Duration) slog.Attr {
	return slog.Float64(key, float64(d.Microseconds())/1000)
}

// path is the path of the target, without the query.
func (q *Request) path() string {
	path := withoutSecrets(cmp.Or(q.Target, q.URL))
	if path == "" && q.received != nil && q.received.URL != nil {
		path = q.received.URL.EscapedPath()
	}
	return path
}

// printableText cuts s, and puts a question mark in the place of everything that could
// confuse a log or a terminal.
func printableText(s string, limit int) string {
	s = s[:min(len(s), limit)]
	if !strings.ContainsFunc(s, func(r rune) bool { return r < 0x20 || r > 0x7e }) {
		return s
	}
	b := []byte(s)
	for i, c := range b {
		if c < 0x20 || c > 0x7e {
			b[i] = '?'
		}
	}
	return string(b)
}

// hasUntrustedForward reports whether q has a field with a forwarded certificate that
// its peer may not send.
func (g *Guard) hasUntrustedForward(q *Request) bool {
	if !hasAny(q.Header, g.forwarded) {
		return false
	}
	trusted := g.writtenByTerminator(q)
	return slices.ContainsFunc(g.forwarded, func(name string) bool {
		return len(q.Header[name]) > 0 && !slices.Contains(trusted, name)
	})
}

// scopes are those that the challenge demands.
func (u *unmet) scopes() ([]string, bool) {
	_, rest, ok := strings.Cut(u.params, `, scope="`)
	if !ok {
		return nil, false
	}
	list, _, _ := strings.Cut(rest, `"`)
	return strings.Fields(list), true
}

func hasAny(h http.Header, names []string) bool {
	return slices.ContainsFunc(names, func(name string) bool { return len(h[name]) > 0 })
}

// withoutSecrets is a request target without query, fragment and userinfo.
func withoutSecrets(target string) string {
	if i := strings.IndexAny(target, "?#"); i >= 0 {
		target = target[:i]
	}
	scheme, rest, ok := strings.Cut(target, "://")
	if !ok || strings.HasPrefix(target, "/") {
		return target
	}
	authority, path, slash := strings.Cut(rest, "/")
	authority = authority[strings.LastIndexByte(authority, '@')+1:]
	if slash {
		path = "/" + path
	}
	return scheme + "://" + authority + path
}

// explainBy survives a panic of a part: the decision stands.
func explainBy(explain func(string) oidc.Explanation, raw string) (e oidc.Explanation) {
	defer func() {
		if recover() != nil {
			e = oidc.ExplainToken(raw)
		}
	}()
	return explain(raw)
}

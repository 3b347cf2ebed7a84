package middleware

import (
	"slices"
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
}

// Outcome is what the operator is told of a decision. It never holds a token,
// a proof or a secret. HTU and ExpectedHTU are without their query.
type Outcome struct {
	// Err is nil if the request may pass. Otherwise it is the RequestError,
	// oidc.TokenError, dpop.ProofError, mtlspop.BindingError or exchange.Error that the
	// client is told of, or another error that explains a 503.
	Err error
	// WouldDeny is what a rule in the stage [Report] would have answered: an error as
	// Err, or nil. If Err is nil too, the request has passed all the same.
	WouldDeny error
	// Rule is the name of the [RuleFunc] that Err or WouldDeny comes from, or "".
	Rule string
	// Anonymous reports that the request passed without credentials, by
	// [Guard.AllowAnonymous].
	Anonymous bool
	// KeyUnproven reports that the request passed without a proof of the key that its
	// token is bound to, by [DangerouslyAcceptAsBearer].
	KeyUnproven bool
	// Status is the status of the refusal, 0 if the request may pass.
	Status int
	// Hint names the setting that would have let the request pass, or is "".
	Hint string
	// Nested reports that an outer Guard had verified the request already.
	Nested bool

	// Scheme is "DPoP", "Bearer", "Basic", or "" if none was recognised.
	Scheme string
	// Session reports that a cookie stood for the token; Scheme is then the one
	// under which its session began.
	Session bool
	// Issuer, Subject and ClientID are those of the token, once it is verified.
	Issuer, Subject, ClientID string
	// Confirmation is what the token is bound to.
	Confirmation oidc.Confirmation

	// Proof is what the proof claims beside what was expected; on a refusal
	// nothing in it is verified. Its zero value means that there was no proof to
	// look at. Proof.Skew is the issue time of the proof less the time here.
	Proof dpop.Explanation
	// UntrustedForward reports that a field with a forwarded certificate came
	// from a peer that may not send one. It was ignored and removed.
	UntrustedForward bool
	// CertificateOutOfDate reports that the client certificate that was accepted
	// is expired or not yet valid. RFC 8705, section 6.2, asks for no more than
	// its key; mtlspop.RequireValidity refuses it.
	CertificateOutOfDate bool

	// TokenTime, BindingTime and Total are how long the token's verification,
	// that of its binding, and the whole decision took.
	TokenTime, BindingTime, Total time.Duration
}

// outcome is what the observer is told.
func (g *Guard) outcome(q *Request, d decision, total time.Duration) Outcome {
	o := Outcome{
		Err:              d.err,
		Scheme:           d.scheme.String(),
		UntrustedForward: g.hasUntrustedForward(q),
		Total:            total,
	}
	if d.err != nil {
		o.Status = g.denial(d.err).Status
		if e, ok := asClientError(d.err); ok {
			o.Hint = e.Hint()
		}
	}
	o.Anonymous = d.anonymous
	if v := d.inspection; v != nil {
		o.WouldDeny, o.Rule, o.KeyUnproven = v.wouldDeny, v.wouldDenyRule, v.KeyUnproven
		if v.unmet != nil {
			o.Rule = v.unmet.rule
		}
		o.Nested, o.Session, o.TokenTime, o.BindingTime = v.nested, v.session, v.tokenTime, v.bindingTime
	}
	if v := d.inspection; v != nil && v.Token != nil {
		o.Issuer, o.Subject, o.ClientID, o.Confirmation = v.Token.Issuer, v.Token.Subject, v.Token.ClientID, v.Token.Confirmation
	}
	if v := d.inspection; v != nil && v.Certificate != nil {
		now := time.Now()
		o.CertificateOutOfDate = now.Before(v.Certificate.NotBefore) || now.After(v.Certificate.NotAfter)
	}
	if g.dpop != nil && len(q.Header[headers.DPoP]) > 0 {
		o.Proof = g.dpop.Explain(q.proof())
	}
	return o
}

func hasAny(h map[string][]string, names []string) bool {
	return slices.ContainsFunc(names, func(name string) bool { return len(h[name]) > 0 })
}

// hasUntrustedForward reports whether q has a field with a forwarded certificate that
// its peer may not send.
func (g *Guard) hasUntrustedForward(q *Request) bool {
	if !hasAny(q.Header, g.forwarded) {
		return false
	}
	trusted := g.mtls.TrustedHeaders(q.certificate())
	return slices.ContainsFunc(g.forwarded, func(name string) bool {
		return len(q.Header[name]) > 0 && !slices.Contains(trusted, name)
	})
}

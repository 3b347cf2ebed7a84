package middleware

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"time"

	"github.com/keybound-go/middleware/dpop"
	"github.com/keybound-go/middleware/internal/headers"
	"github.com/keybound-go/middleware/oidc"
)

// Credential is a verified token together with what proved its binding. It is
// shared by everything that handles the request and must not be changed.
type Credential struct {
	// Token is never nil in a Credential that a Guard made.
	Token *oidc.Token
	// Proof is the proof of the key that the token is bound to, or nil.
	Proof *dpop.Proof
	// Certificate is the client certificate that the token is bound to, or nil.
	// It is nil too where a terminator passes on the thumbprint alone, or a
	// certificate that crypto/x509 cannot parse; Token.Confirmation says in every case
	// what the token is bound to.
	Certificate *x509.Certificate
	// CertificateDER is the client certificate as it came, also one that could not be
	// parsed. It is nil where a terminator passes on the thumbprint alone.
	CertificateDER []byte
	// KeyUnproven says that the token is bound to a key and that the request did not
	// prove it: it passed by [DangerouslyAcceptAsBearer]. Proof is nil then.
	KeyUnproven bool
}

// credentialKey is the key under which a context carries the credential of its request:
// a *verified of a Guard, or a *Credential of NewContext.
type credentialKey struct{}

// FromContext returns the credential of the request that ctx belongs to. It
// reports false if no Guard let the request pass.
func FromContext(ctx context.Context) (*Credential, bool) {
	switch c := ctx.Value(credentialKey{}).(type) {
	case *verified:
		return &c.Credential, c != nil
	case *Credential:
		return c, c != nil
	}
	return nil, false
}

// NewContext returns a context in which [FromContext] finds c: for transports of one's
// own that have asked [Guard.Judge], and that pass c on to their handlers. A nil c hides
// the credential that ctx may carry. No Guard relies on what NewContext puts there.
func NewContext(ctx context.Context, c *Credential) context.Context {
	return context.WithValue(ctx, credentialKey{}, c)
}

// verified is a Credential with the parts that verified it and the request that it was
// verified for: what a nested Guard must know to rely on it.
type verified struct {
	Credential

	by struct { // the parts that did it
		tokens   TokenVerifier
		dpop     *dpop.Verifier
		mtls     certificates
		sessions sessions
	}
	of requestIdentity

	credentials
	bindingSkipped bool // by a setting that says so
	nested         bool // an outer Guard has verified the token

	told     *stagedRule // that would deny the request, as the operator was told
	operator *quiet      // whom: guards that are made of one share it

	tokenTime, bindingTime time.Duration
}

// token returns the token of v, which may be nil, if by has verified it.
func (v *verified) token(by TokenVerifier) *oidc.Token {
	if v == nil || v.by.tokens != by {
		return nil
	}
	return v.Token
}

// proof returns the proof of v, which may be nil, if by has verified it for the token
// raw: a proof is for one token.
func (v *verified) proof(by *dpop.Verifier, raw string) *dpop.Proof {
	if v == nil || by == nil || v.by.dpop != by || v.raw != raw {
		return nil
	}
	return v.Proof
}

// certificate returns the Credential of v, which may be nil, if by has verified that
// the request came over the certificate with the thumbprint x5t.
func (v *verified) certificate(by certificates, x5t string) *Credential {
	if v == nil || by == nil || v.by.mtls != by || v.Token.Confirmation.X5T != x5t {
		return nil
	}
	return &v.Credential
}

// shape says what the token is bound to. Once the binding policy has passed,
// it also says what the request has proven.
func (v *verified) shape() shape {
	cnf := v.Token.Confirmation
	switch key := cnf.JKT != "" && !v.KeyUnproven; {
	case key && cnf.X5T != "":
		return bothShape
	case key:
		return dpopShape
	case cnf.X5T != "":
		return certificateShape
	default:
		return unboundShape
	}
}

// requestIdentity tells the request that a credential was made for from every
// other request that may carry the same context: handlers lend their context
// to requests that they make in process, and those must bring a credential of
// their own. It survives what routers and other middleware do to a request
// (StripPrefix, WithContext, Clone).
type requestIdentity struct {
	method, target, host string
	authorization, proof string
	tls                  *tls.ConnectionState
}

// identity returns the identity of q, if it has one. A request that did not come from a
// server has no request target: its URL, which middleware may change, takes the place,
// and a credential of its own must be there.
func (q *Request) identity() (id requestIdentity, ok bool) {
	authorization, n := headers.Single(q.Header, headers.Authorization)
	proof, _ := headers.Single(q.Header, headers.DPoP)
	id = requestIdentity{q.Method, q.Target, q.Host, authorization, proof, q.TLS}
	if q.URL != "" { // which proofs are checked against
		id.target = q.URL
	}
	if id.target == "" && q.native && q.received.URL != nil && authorization != "" {
		id.target = "no RequestURI: " + q.received.URL.String() // equal to no RequestURI
	}
	return id, id.target != "" && n <= 1
}

// earlier returns what an outer Guard verified for this very request, or nil.
func earlier(ctx context.Context, q *Request) *verified {
	v, _ := ctx.Value(credentialKey{}).(*verified)
	if v == nil {
		return nil
	}
	if id, ok := q.identity(); !ok || id != v.of {
		return nil
	}
	return v
}

package middleware

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net/http"
	"time"

	"github.com/keybound-go/middleware/dpop"
	"github.com/keybound-go/middleware/internal/credctx"
	"github.com/keybound-go/middleware/internal/headers"
	"github.com/keybound-go/middleware/mtlspop"
	"github.com/keybound-go/middleware/oidc"
	"github.com/keybound-go/middleware/session"
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
	// certificate that crypto/x509 cannot parse; Token.Confirmation says in every
	// case what the token is bound to.
	Certificate *x509.Certificate
	// CertificateDER is the certificate as it came, also one that could not be
	// parsed. It is nil if only a thumbprint came, or no certificate at all.
	CertificateDER []byte
}

// FromContext returns the credential of the request that ctx belongs to. It
// reports false if no Guard let the request pass.
func FromContext(ctx context.Context) (*Credential, bool) {
	switch c := credctx.From(ctx).(type) {
	case *verified:
		return &c.Credential, c != nil
	case *Credential: // put there by middlewaretest
		return c, c != nil
	}
	return nil, false
}

// verified is a Credential with who verified it and for which request: what a
// nested Guard must know to rely on it.
type verified struct {
	Credential

	by struct { // the parts that did it
		tokens   TokenVerifier
		dpop     *dpop.Verifier
		mtls     *mtlspop.Verifier
		sessions *session.Sessions
	}
	of requestIdentity

	credentials
	bindingSkipped bool // by a setting that says so
	nested         bool // an outer Guard has verified the token

	tokenTime, bindingTime time.Duration
}

// provedTokenTo reports whether v, which may be nil, holds a token that verifier
// has verified.
func (v *verified) provedTokenTo(verifier TokenVerifier) bool {
	return v != nil && v.Token != nil && v.by.tokens == verifier
}

// bySession reports whether the token of v, which may be nil, came in a cookie.
func (v *verified) bySession() bool { return v != nil && v.session }

// provedKeyTo reports whether v, which may be nil, holds a proof that verifier
// has verified for the token raw: a proof is for one token.
func (v *verified) provedKeyTo(verifier *dpop.Verifier, raw string) bool {
	return v != nil && verifier != nil && v.by.dpop == verifier && v.Proof != nil && v.raw == raw
}

// provedCertificateTo reports whether the certificate of v, which may be nil,
// was verified by verifier.
func (v *verified) provedCertificateTo(verifier *mtlspop.Verifier) bool {
	return v != nil && verifier != nil && v.by.mtls == verifier
}

// shape says what the token is bound to. Once the binding policy has passed,
// it also says what the request has proven.
func (v *verified) shape() shape {
	switch cnf := v.Token.Confirmation; {
	case cnf.JKT != "" && cnf.X5T != "":
		return bothShape
	case cnf.JKT != "":
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

// identify returns the identity of r, if it has one. A request that did not come
// from a server has no RequestURI: its URL, which middleware may change, takes
// the place, and a credential of its own must be there.
func identify(r *http.Request) (id requestIdentity, ok bool) {
	authorization, n := headers.Single(r.Header, headers.Authorization)
	proof, _ := headers.Single(r.Header, headers.DPoP)
	id = requestIdentity{r.Method, r.RequestURI, r.Host, authorization, proof, r.TLS}
	if id.target == "" && r.URL != nil && authorization != "" {
		id.target = "no RequestURI: " + r.URL.String() // equal to no RequestURI
	}
	return id, id.target != "" && n <= 1
}

// earlier returns what an outer Guard verified for this very request, or nil.
func earlier(r *http.Request) *verified {
	v, _ := credctx.From(r.Context()).(*verified)
	if v == nil {
		return nil
	}
	if id, ok := identify(r); !ok || id != v.of {
		return nil
	}
	return v
}

package dpop

import (
	"cmp"
	"crypto"
	"crypto/sha256"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"github.com/keybound-go/middleware/internal/headers"
)

// Proof is a DPoP proof that passed every check. It belongs to the caller.
type Proof struct {
	Thumbprint string           // of the key that signed it: RFC 7638, SHA-256, base64url
	PublicKey  crypto.PublicKey // *ecdsa.PublicKey, *rsa.PublicKey or ed25519.PublicKey
	Algorithm  string           // alg
	ID         string           // jti
	Nonce      string           // nonce as sent; checked only if the Verifier uses nonces
	IssuedAt   time.Time        // iat; with nonces, whatever the client's clock says

	nonceIssued time.Time // zero without nonces
}

// Format writes the proof without its nonce and id, whatever the verb.
func (p Proof) Format(f fmt.State, _ rune) {
	fmt.Fprintf(f, "dpop.Proof{Thumbprint:%q, Algorithm:%q, IssuedAt:%s}", p.Thumbprint, p.Algorithm, p.IssuedAt.Format(time.RFC3339))
}

// LogValue is what Format writes.
func (p Proof) LogValue() slog.Value { return slog.StringValue(fmt.Sprint(p)) }

// Request is what a proof is checked against: the parts of an HTTP request of
// any server, or of a message that did not come by HTTP. It belongs to the caller.
type Request struct {
	Method string // compared with htm

	// Host is the Host field or :authority, and Target the request target, both
	// as they arrived, neither decoded nor rewritten: "/orders?page=2", or the
	// absolute-form, or "*".
	Host, Target string
	// URL takes their place for a message without request line, such as one from
	// a queue: absolute, and within a configured origin.
	URL string

	// Origins, if there are any, are the only ones that the proof may name, in the place
	// of the Verifier's: those of the tenant that the token is of. They have the form of
	// the one given to [New]. The request's Host selects among them; what
	// [WithInternalHosts] says does not count, since such a Host is any tenant's.
	Origins []string

	// Proofs are the values of all DPoP fields. More than one refuses the request.
	Proofs []string

	// AccessToken is the verified token that came with the proof. A caller that
	// knows the token's SHA-256 already, as the key of a cache for instance, gives
	// TokenHash in its place: hashing a token twice is a good part of what a request
	// costs beside the signature.
	AccessToken string
	TokenHash   [sha256.Size]byte

	// Thumbprint is what the token is bound to: jkt of its confirmation claim, in
	// canonical base64url.
	Thumbprint string
}

// Format writes the request without token, proofs and query, whatever the verb.
func (r Request) Format(f fmt.State, _ rune) {
	target := withoutUserinfo(withoutQuery(cmp.Or(r.URL, r.Target)))
	fmt.Fprintf(f, "dpop.Request{%q, %q, %q, %d proofs}", r.Method, r.Host, target, len(r.Proofs))
}

// LogValue is what Format writes.
func (r Request) LogValue() slog.Value { return slog.StringValue(fmt.Sprint(r)) }

// RequestOf returns what r says, all but its token and thumbprint. The target is
// r.RequestURI as it arrived. A request without, which is one that was not received
// by a server, is taken by its r.URL.
func RequestOf(r *http.Request) Request {
	req := Request{Method: r.Method, Host: r.Host, Target: r.RequestURI, Proofs: r.Header[headers.DPoP]}
	// r.URL.Path is decoded, and http.StripPrefix and routers change it. It is what
	// there is in a request that was made in this process.
	if req.Target == "" && r.URL != nil && r.URL.Opaque == "" {
		req.Target = r.URL.EscapedPath()
		switch {
		case req.Target != "":
		case r.Method == http.MethodOptions:
			req.Target = "*" // RFC 9110, section 7.1: the origin without a path
		default:
			req.Target = "/"
		}
	}
	return req
}

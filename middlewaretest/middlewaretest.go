// Package middlewaretest answers "what does my handler do once a guard has let
// the request pass?" and "does my guarded service work for an honest client?" in
// tests.
//
//	r := httptest.NewRequest("GET", "/orders", nil)
//	r = middlewaretest.Request(t, r, middlewaretest.Subject("alice"), middlewaretest.Scopes("orders:read"))
//	orders.ServeHTTP(rec, r) // the bare handler finds its credential with middleware.FromContext
//
// A credential that is put into a context here is for handlers alone: a Guard
// does not rely on it. To test a guarded handler, send it what a client would
// send: [NewWorld] has an issuer, a server, a guard and clients in three lines, and
// [NewClient] is a client alone. [AllGuarded] finds routes without a guard, and
// [AssertRefused] says why a request was refused.
//
// What it does not check: anything. It is the other side of the wire.
package middlewaretest

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/keybound-go/middleware"
	"github.com/keybound-go/middleware/dpop"
	"github.com/keybound-go/middleware/oidc"
)

// Option changes the credential that [Context] makes. Options apply in the order
// in which they are given.
type Option func(*draft)

// draft is a credential in the making.
type draft struct {
	claims      map[string]any
	proof       *dpop.Proof
	certificate *x509.Certificate
}

// Subject sets sub. The default is "user-1".
func Subject(sub string) Option { return Claim("sub", sub) }

// ClientID sets client_id. The default is "client".
func ClientID(id string) Option { return Claim("client_id", id) }

// Scopes sets the scopes of the token. The default is none.
func Scopes(scopes ...string) Option { return Claim("scope", strings.Join(scopes, " ")) }

// Claim sets any claim to a value that encoding/json can marshal; nil leaves it out.
func Claim(name string, value any) Option {
	return func(d *draft) {
		if value == nil {
			delete(d.claims, name)
			return
		}
		d.claims[name] = value
	}
}

// WithProof makes the credential one that was bound to a key, and proven with
// this proof: its Thumbprint becomes cnf.jkt.
func WithProof(proof dpop.Proof) Option {
	return func(d *draft) {
		d.proof = &proof
		d.confirm("jkt", proof.Thumbprint)
	}
}

// WithCertificate makes the credential one that was bound to this certificate,
// over which the request came.
func WithCertificate(cert *x509.Certificate) Option {
	return func(d *draft) {
		d.certificate = cert
		sum := sha256.Sum256(cert.Raw)
		d.confirm("x5t#S256", base64.RawURLEncoding.EncodeToString(sum[:]))
	}
}

func (d *draft) confirm(member, value string) {
	cnf, _ := d.claims["cnf"].(map[string]string)
	if cnf == nil {
		cnf = make(map[string]string)
		d.claims["cnf"] = cnf
	}
	cnf[member] = value
}

// Context returns a context in which [middleware.FromContext] finds a
// credential: by default an unbound token of "user-1", good for five minutes.
// What cannot be a token fails tb.
func Context(tb testing.TB, parent context.Context, opts ...Option) context.Context {
	tb.Helper()
	now := time.Now()
	d := draft{claims: map[string]any{
		"iss": "https://issuer.example", "aud": "https://api.example", "sub": "user-1", "client_id": "client",
		"jti": "token-1", "iat": now.Unix(), "exp": now.Add(5 * time.Minute).Unix(),
	}}
	for _, opt := range opts {
		opt(&d)
	}
	raw, err := json.Marshal(d.claims)
	if err != nil {
		tb.Fatalf("middlewaretest: claims: %v", err)
	}
	token, err := oidc.TokenFromClaims(raw)
	if err != nil {
		tb.Fatalf("middlewaretest: %v", err)
	}
	return middleware.NewContext(parent, &middleware.Credential{Token: token, Proof: d.proof, Certificate: d.certificate})
}

// Request returns r with the [Context] that the options make.
func Request(tb testing.TB, r *http.Request, opts ...Option) *http.Request {
	tb.Helper()
	return r.WithContext(Context(tb, r.Context(), opts...))
}

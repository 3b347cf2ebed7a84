// Package dpoptest answers "what would a DPoP client have sent?" in tests: proofs
// that are good, proofs that are broken in exactly one way, and the conformance
// test for a [dpop.ReplayCache] of your own.
//
//	key := dpoptest.NewKey(t)
//	r := httptest.NewRequest("GET", "https://api.example/orders", nil)
//	key.Sign(r, token) // token is bound to key.Thumbprint()
//
// It shares no code with the verifier: hashes, thumbprints and URIs are derived
// with the standard library. It issues no access tokens.
package dpoptest

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"maps"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/keybound-go/middleware/internal/josetest"
)

// Key is a client's key pair. It is safe for concurrent use.
type Key struct {
	tb  testing.TB
	key *josetest.Key
}

// NewKey makes an ES256 key. What goes wrong with it fails tb.
func NewKey(tb testing.TB) *Key {
	tb.Helper()
	return NewKeyFor(tb, "ES256")
}

// NewKeyFor makes a key for ES256, ES384, ES512, EdDSA, Ed25519, or for an RS or PS
// algorithm, which takes a while.
func NewKeyFor(tb testing.TB, alg string) *Key {
	tb.Helper()
	switch alg {
	case "ES256", "ES384", "ES512", "EdDSA", "Ed25519",
		"RS256", "RS384", "RS512", "PS256", "PS384", "PS512":
	default:
		tb.Fatalf("dpoptest: no key for algorithm %q", alg)
	}
	return &Key{tb: tb, key: josetest.NewKey(alg)}
}

// Thumbprint is the jkt that an access token bound to the key has in its cnf claim.
func (k *Key) Thumbprint() string { return k.key.Thumbprint() }

// Algorithm is the alg of the key's proofs.
func (k *Key) Algorithm() string { return k.key.Algorithm }

// ProofOption changes a proof before it is signed, so that its signature is good.
type ProofOption interface{ apply(*draft) }

// draft is a proof in the making.
type draft struct {
	signer         *josetest.Key
	header, claims map[string]any
	// These edit what the maps cannot say: JSON texts, and the finished proof.
	headerText, claimsText func([]byte) []byte
	compact                func(string) string
}

type optionFunc func(*draft)

func (f optionFunc) apply(d *draft) { f(d) }

// ID sets jti, which is random otherwise.
func ID(jti string) ProofOption { return Claim("jti", jti) }

// IssuedAt sets iat, which is now otherwise.
func IssuedAt(t time.Time) ProofOption { return Claim("iat", t.Unix()) }

// Nonce sets nonce, as the server has sent it in DPoP-Nonce.
func Nonce(nonce string) ProofOption { return Claim("nonce", nonce) }

// Claim sets any claim to a value that encoding/json can marshal.
func Claim(name string, value any) ProofOption {
	return optionFunc(func(d *draft) { d.claims[name] = value })
}

// Header sets any header parameter, also alg, to a value that encoding/json can marshal.
func Header(name string, value any) ProofOption {
	return optionFunc(func(d *draft) { d.header[name] = value })
}

// WithoutClaim leaves a claim out.
func WithoutClaim(name string) ProofOption {
	return optionFunc(func(d *draft) { delete(d.claims, name) })
}

// WithoutHeader leaves a header parameter out. It cannot leave out alg.
func WithoutHeader(name string) ProofOption {
	return optionFunc(func(d *draft) { delete(d.header, name) })
}

// Proof makes the proof that an honest client would send with method to the
// absolute URI uri, for accessToken. Without a token it has no ath, as at a token
// endpoint.
func (k *Key) Proof(method, uri, accessToken string, opts ...ProofOption) string {
	k.tb.Helper()
	d := k.draft(method, uri, accessToken)
	for _, opt := range opts {
		opt.apply(d)
	}
	return d.sign()
}

// Sign makes r a request of the key's owner with accessToken: it sets the
// Authorization field, and the DPoP field to a new proof for r's method and URL.
// A server's request with nothing but a path in its URL counts as one for
// https and r.Host.
func (k *Key) Sign(r *http.Request, accessToken string, opts ...ProofOption) {
	k.tb.Helper()
	u := *r.URL
	if !u.IsAbs() {
		u.Scheme, u.Host = "https", r.Host
	}
	if r.Header == nil {
		r.Header = http.Header{}
	}
	r.Header.Set("Authorization", "DPoP "+accessToken)
	r.Header.Set("DPoP", k.Proof(r.Method, u.String(), accessToken, opts...))
}

func (k *Key) draft(method, uri, accessToken string) *draft {
	k.tb.Helper()
	d := &draft{
		signer: k.key,
		header: map[string]any{"typ": "dpop+jwt", "alg": k.key.Algorithm, "jwk": k.key.JWK()},
		claims: map[string]any{
			"jti": rand.Text(),
			"htm": method,
			"htu": k.htu(uri),
			"iat": time.Now().Unix(),
		},
	}
	if accessToken != "" {
		d.claims["ath"] = TokenHash(accessToken)
	}
	return d
}

// htu leaves out what RFC 9449, section 4.2, does, and the userinfo.
func (k *Key) htu(uri string) string {
	k.tb.Helper()
	u, err := url.Parse(uri)
	if err != nil || !u.IsAbs() || u.Host == "" {
		k.tb.Fatalf("dpoptest: %q is not an absolute URI", uri)
	}
	_, rest, _ := strings.Cut(uri, "://")
	path := ""
	if i := strings.IndexAny(rest, "/?#"); i >= 0 {
		path, _, _ = strings.Cut(rest[i:], "#")
		path, _, _ = strings.Cut(path, "?")
	}
	return u.Scheme + "://" + u.Host + path
}

// TokenHash is the ath of an access token: base64url of its SHA-256.
func TokenHash(accessToken string) string {
	sum := sha256.Sum256([]byte(accessToken))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

func (d *draft) sign() string {
	header, claims := marshal(d.header), marshal(d.claims)
	if d.headerText != nil {
		header = d.headerText(header)
	}
	if d.claimsText != nil {
		claims = d.claimsText(claims)
	}
	proof := d.signer.SignRaw(header, claims)
	if d.compact != nil {
		proof = d.compact(proof)
	}
	return proof
}

// setJWK sets a member of the header's jwk.
func (d *draft) setJWK(name string, value any) {
	jwk := maps.Clone(d.header["jwk"].(map[string]any))
	jwk[name] = value
	d.header["jwk"] = jwk
}

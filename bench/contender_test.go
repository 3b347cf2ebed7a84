package bench

import (
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/keybound-go/middleware/dpop/dpoptest"
	"github.com/keybound-go/middleware/mtlspop/mtlspoptest"
	"github.com/keybound-go/middleware/oidc/oidctest"
)

var paths = []Path{DPoP, Certificate, Bearer}

// A contender that skips a check would win for nothing.
func TestEveryContenderMakesTheChecksThatAreCompared(t *testing.T) {
	w := NewWorld(t)
	proof := func(r *http.Request, key *dpoptest.Key, method, uri string, opts ...dpoptest.ProofOption) {
		r.Header.Set("DPoP", key.Proof(method, uri, strings.TrimPrefix(r.Header.Get("Authorization"), "DPoP "), opts...))
	}
	spoiled := map[string]struct {
		path  Path
		spoil func(r *http.Request)
	}{
		"no token":       {Bearer, func(r *http.Request) { r.Header.Del("Authorization") }},
		"altered token":  {Bearer, func(r *http.Request) { r.Header.Set("Authorization", altered(r.Header.Get("Authorization"))) }},
		"expired token":  {Bearer, func(r *http.Request) { withToken(r, w.Issuer.Token(oidctest.ExpiresIn(-time.Hour))) }},
		"other audience": {Bearer, func(r *http.Request) { withToken(r, w.Issuer.Token(oidctest.Claim("aud", "other"))) }},
		"other issuer":   {Bearer, func(r *http.Request) { withToken(r, w.Issuer.Token(oidctest.Claim("iss", "https://other.example"))) }},
		"bound to a key": {Bearer, func(r *http.Request) { withToken(r, w.Token(DPoP)) }},
		"no certificate": {Certificate, func(r *http.Request) { r.TLS.PeerCertificates = nil }},
		"other cert":     {Certificate, func(r *http.Request) { r.TLS.PeerCertificates[0] = mtlspoptest.SelfSigned(t, "other").Certificate }},
		"unbound token":  {Certificate, func(r *http.Request) { withToken(r, w.Token(Bearer)) }},
		"no proof":       {DPoP, func(r *http.Request) { r.Header.Del("DPoP") }},
		"two proofs":     {DPoP, func(r *http.Request) { r.Header.Add("DPoP", r.Header.Get("DPoP")) }},
		"altered proof":  {DPoP, func(r *http.Request) { r.Header.Set("DPoP", altered(r.Header.Get("DPoP"))) }},
		"other key":      {DPoP, func(r *http.Request) { proof(r, dpoptest.NewKey(t), "GET", origin+path) }},
		"other method":   {DPoP, func(r *http.Request) { proof(r, w.key, "PUT", origin+path) }},
		"other path":     {DPoP, func(r *http.Request) { proof(r, w.key, "GET", origin+"/x") }},
		"old proof": {DPoP, func(r *http.Request) {
			proof(r, w.key, "GET", origin+path, dpoptest.IssuedAt(time.Now().Add(-time.Hour)))
		}},
		"proof of typ x":  {DPoP, func(r *http.Request) { proof(r, w.key, "GET", origin+path, dpoptest.Header("typ", "x")) }},
		"for another one": {DPoP, func(r *http.Request) { proof(r, w.key, "GET", origin+path, dpoptest.Claim("ath", hash("x"))) }},
	}
	for _, c := range Contenders(t, w) {
		for _, p := range paths {
			t.Run(c.Name()+" accepts "+string(p), func(t *testing.T) {
				r := w.Request(p, w.Token(p))
				if err := c.Decide(p, r); err != nil {
					t.Fatal(err)
				}
				if again := c.Decide(p, r); (again == nil) != (p != DPoP) {
					t.Fatal("the same request again:", again)
				}
			})
		}
		for name, row := range spoiled {
			t.Run(c.Name()+" refuses "+name, func(t *testing.T) {
				r := w.Request(row.path, w.Token(row.path))
				row.spoil(r)
				if c.Decide(row.path, r) == nil {
					t.Fatal("accepted")
				}
			})
		}
	}
}

func withToken(r *http.Request, token string) { r.Header.Set("Authorization", "Bearer "+token) }

func hash(s string) string {
	sum := sha256.Sum256([]byte(s))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// altered flips a bit in the middle of the signature.
func altered(s string) string {
	b := []byte(s)
	i := len(b) - 20
	b[i] = map[bool]byte{true: 'B', false: 'A'}[b[i] == 'A']
	return string(b)
}

package bench

import (
	"crypto/sha256"
	"crypto/subtle"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"net/http"
	"strings"
	"sync"
	"time"
)

// What none of the other libraries does is written by hand, once for all of them,
// the way that a careful user would do it in an afternoon: it is enough for the
// comparison, and not an advice.

var errRefused = errors.New("bench: refused")

// credentials splits the Authorization field.
func credentials(p Path, r *http.Request) (token string, err error) {
	scheme, token, ok := strings.Cut(r.Header.Get("Authorization"), " ")
	want := "Bearer"
	if p == DPoP {
		want = "DPoP"
	}
	if !ok || !strings.EqualFold(scheme, want) {
		return "", errRefused
	}
	return token, nil
}

// confirmation is the cnf claim.
type confirmation struct {
	JKT string `json:"jkt"`
	X5T string `json:"x5t#S256"`
}

// checkPolicy compares what the token is bound to with what the path can prove.
func checkPolicy(p Path, cnf confirmation) error {
	if (cnf.JKT != "") != (p == DPoP) || (cnf.X5T != "") != (p == Certificate) {
		return errRefused
	}
	return nil
}

// checkCertificate is RFC 8705, section 3.
func checkCertificate(r *http.Request, x5t string) error {
	if r.TLS == nil || len(r.TLS.PeerCertificates) == 0 || !equal(thumbprint(r.TLS.PeerCertificates[0]), x5t) {
		return errRefused
	}
	return nil
}

func thumbprint(c *x509.Certificate) string {
	sum := sha256.Sum256(c.Raw)
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

func equal(a, b string) bool { return subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1 }

// proofField is the one DPoP field of r.
func proofField(r *http.Request) (string, error) {
	fields := r.Header.Values("DPoP")
	if len(fields) != 1 {
		return "", errRefused
	}
	return fields[0], nil
}

// proofClaims are those of RFC 9449, section 4.2.
type proofClaims struct {
	ID        string `json:"jti"`
	Method    string `json:"htm"`
	URI       string `json:"htu"`
	IssuedAt  int64  `json:"iat"`
	TokenHash string `json:"ath"`
}

// check compares the claims of a proof whose signature is good with the request.
func (c *proofClaims) check(r *http.Request, token, jkt, wantJKT string, seen *replays) error {
	sum := sha256.Sum256([]byte(token))
	age := time.Since(time.Unix(c.IssuedAt, 0))
	switch {
	case c.ID == "", len(c.ID) > 512,
		c.Method != r.Method,
		c.URI != "https://"+r.Host+r.URL.EscapedPath(),
		age > time.Minute, age < -30*time.Second,
		!equal(c.TokenHash, base64.RawURLEncoding.EncodeToString(sum[:])),
		!equal(jkt, wantJKT):
		return errRefused
	}
	return seen.add(jkt+" "+c.ID, time.Now().Add(2*time.Minute))
}

// replays remembers proofs in a map, and sweeps it when it has grown.
type replays struct {
	mu    sync.Mutex
	until map[string]time.Time
	sweep int
}

func newReplays() *replays { return &replays{until: make(map[string]time.Time), sweep: 1 << 16} }

func (s *replays) add(id string, until time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.until[id]; ok {
		return errRefused
	}
	if len(s.until) >= s.sweep {
		now := time.Now()
		for id, end := range s.until {
			if now.After(end) {
				delete(s.until, id)
			}
		}
		s.sweep = max(1<<16, 2*len(s.until))
	}
	s.until[id] = until
	return nil
}

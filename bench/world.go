package bench

import (
	"crypto/tls"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/keybound-go/middleware/dpop/dpoptest"
	"github.com/keybound-go/middleware/mtlspop/mtlspoptest"
	"github.com/keybound-go/middleware/oidc/oidctest"
)

const (
	origin = oidctest.Audience // https://api.example
	path   = "/orders/42"
)

// World is an issuer and a client that has a key and a certificate.
type World struct {
	Issuer *oidctest.Issuer
	key    *dpoptest.Key
	cert   *mtlspoptest.Client
}

// NewWorld starts an issuer on a loopback address; it stops with the test.
func NewWorld(tb testing.TB) *World {
	return &World{oidctest.NewIssuer(tb), dpoptest.NewKey(tb), mtlspoptest.SelfSigned(tb, "client")}
}

// A Path is a way to bind a token to its client, or none.
type Path string

// The three paths.
const (
	DPoP        Path = "DPoP"
	Certificate Path = "certificate"
	Bearer      Path = "bearer"
)

// Token makes a new token for a path.
func (w *World) Token(p Path) string {
	switch p {
	case DPoP:
		return w.Issuer.Token(oidctest.BoundToKey(w.key.Thumbprint()))
	case Certificate:
		return w.Issuer.Token(oidctest.BoundToCertificate(w.cert.Certificate))
	default:
		return w.Issuer.Token()
	}
}

// Request makes a request with that token, as a TLS server receives it, and
// with a fresh proof if it is for DPoP.
func (w *World) Request(p Path, token string) *http.Request {
	r := httptest.NewRequest(http.MethodGet, path, nil)
	r.Host = "api.example"
	r.TLS = &tls.ConnectionState{HandshakeComplete: true}
	switch p {
	case DPoP:
		r.Header.Set("Authorization", "DPoP "+token)
		r.Header.Set("DPoP", w.key.Proof(r.Method, origin+path, token))
	case Certificate:
		r.TLS.PeerCertificates = append(r.TLS.PeerCertificates, w.cert.Certificate)
		fallthrough
	default:
		r.Header.Set("Authorization", "Bearer "+token)
	}
	return r
}

// Seen makes requests with one token.
func (w *World) Seen(p Path) func() *http.Request {
	token := w.Token(p)
	return func() *http.Request { return w.Request(p, token) }
}

// New makes requests with a new token each.
func (w *World) New(p Path) func() *http.Request {
	return func() *http.Request {
		defer w.Issuer.Forget()
		return w.Request(p, w.Token(p))
	}
}

// Deciding is the work of a contender that must accept what next makes.
func Deciding(c Contender, p Path, next func() *http.Request) Work {
	var requests []*http.Request
	return Work{
		Prepare: func(n int) {
			requests = requests[:0]
			for range n {
				requests = append(requests, next())
			}
		},
		Run: func(i int) error { return c.Decide(p, requests[i]) },
	}
}

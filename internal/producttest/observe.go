package producttest

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"

	"github.com/keybound-go/middleware"
	"github.com/keybound-go/middleware/internal/oracle"
)

// A Response is a ResponseWriter that keeps what is written.
type Response struct {
	Fields http.Header
	Status int
	Body   []byte
}

// NewResponse returns an empty Response.
func NewResponse() *Response { return &Response{Fields: make(http.Header, 12)} }

func (w *Response) Header() http.Header { return w.Fields }

func (w *Response) WriteHeader(status int) {
	if w.Status == 0 {
		w.Status = status
	}
}

func (w *Response) Write(p []byte) (int, error) {
	w.WriteHeader(http.StatusOK)
	w.Body = append(w.Body, p...)
	return len(p), nil
}

// Handle is the handler behind all guards.
func Handle(_ http.ResponseWriter, r *http.Request) {
	s := SituationOf(r.Context())
	s.passed = r.Context()
	s.See(r.Context(), r.Header)
}

// See notes what a handler sees of a request with these fields and this context.
func (s *Situation) See(ctx context.Context, h http.Header) {
	s.Ran = true
	s.Seen = oracle.Handler{Proof: len(h["Dpop"]) > 0, CertHeader: len(h[s.field]) > 0}
	if a := h["Authorization"]; len(a) > 0 {
		s.Seen.Scheme, _, _ = strings.Cut(a[0], " ")
	}
	if c, ok := middleware.FromContext(ctx); ok {
		s.Saw(c)
	}
	if s.Config.Session && strings.Contains(strings.Join(h["Cookie"], ""), "session") {
		s.Problem("the handler sees the session's cookie")
	}
}

// Saw notes the credential of a request.
func (s *Situation) Saw(c *middleware.Credential) {
	s.Seen.Credential, s.Seen.Key, s.Seen.Cert, s.Seen.Unproven = true, c.Proof != nil, c.Certificate != nil, c.KeyUnproven
}

// Observe reads the answer to a request that passed through its door, and looks for what
// must never be in one.
func (w *World) Observe(rec *Response, s *Situation) oracle.Verdict {
	h := rec.Fields
	v := oracle.Verdict{Status: rec.Status, Handler: s.Seen, WouldDeny: s.Outcome.WouldDeny != ""}
	if !s.Ran {
		v.Reason = Reason(s.Outcome.Err)
		if s.Outcome.Status != rec.Status {
			s.Problem("the observer is told another status than the client")
		}
	}
	for _, line := range h["Www-Authenticate"] {
		w.challenge(line, &v, s)
	}
	v.Nonce = len(h["Dpop-Nonce"]) > 0
	if len(h["Dpop-Nonce"]) > 1 {
		s.Problem("DPOP-8-04: two nonces")
	}
	if cache := h["Cache-Control"]; len(cache) > 0 {
		v.Cache = strings.Join(cache, ", ")
	}
	for _, vary := range h["Vary"] {
		v.Vary = v.Vary || strings.Contains(vary, w.certs.Field)
		v.VaryCookie = v.VaryCookie || strings.Contains(vary, "Cookie")
	}
	for _, cookie := range h["Set-Cookie"] {
		if strings.Contains(cookie, "Max-Age=0") {
			v.Session = "ends"
		} else {
			v.Session = "begins"
		}
	}
	w.scan(rec, &v, s)
	return v
}

// challenge reads one line of WWW-Authenticate.
func (w *World) challenge(line string, v *oracle.Verdict, s *Situation) {
	scheme, params, _ := strings.Cut(line, " ")
	code := "bare"
	if _, after, ok := strings.Cut(params, `error="`); ok {
		code, _, _ = strings.Cut(after, `"`)
	}
	v.Scope = v.Scope || strings.Contains(params, `, scope="read`)
	switch {
	case scheme == "DPoP" && v.DPoP == "" && v.Bearer == "":
		v.DPoP = code
		if !strings.Contains(params, `algs="`) {
			s.Problem("AUTH-12: no algs")
		}
	case scheme == "Bearer" && v.Bearer == "":
		v.Bearer = code
		if params == "" {
			s.Problem("AUTH-16: no parameter")
		}
	default:
		s.Problem("AUTH-19: challenge out of place: %s", line)
	}
}

// scan looks for what must never leave the service, and for a body that says something
// else than the header.
func (w *World) scan(rec *Response, v *oracle.Verdict, s *Situation) {
	secrets := w.Secrets(s)
	for name, values := range rec.Fields {
		for _, value := range values {
			for _, secret := range secrets {
				if secret != "" && strings.Contains(value, secret) && name != "Set-Cookie" {
					s.Problem("a secret in %s", name)
				}
			}
		}
	}
	if s.Sampled {
		for _, verb := range []string{"%v", "%+v", "%#v"} {
			told := fmt.Sprintf(verb, s.Outcome) + fmt.Sprint(s.Outcome.Err)
			for _, secret := range secrets {
				if secret != "" && strings.Contains(told, secret) {
					s.Problem("a secret in the outcome")
				}
			}
		}
	}
	if len(rec.Body) == 0 {
		return
	}
	for _, secret := range secrets {
		if secret != "" && strings.Contains(string(rec.Body), secret) {
			s.Problem("a secret in the body")
		}
	}
	var body struct {
		Error string `json:"error"`
	}
	if json.Unmarshal(rec.Body, &body) != nil || body.Error != v.DPoP && body.Error != v.Bearer {
		s.Problem("the body says another code than the challenges: %s", rec.Body)
	}
}

// Secrets are what no answer may repeat. Some may be empty.
func (w *World) Secrets(s *Situation) [3]string {
	return [...]string{lastOf(w.token(&s.Config, &s.Request)), lastOf(s.proof), w.nonceClaim(s)}
}

func lastOf(secret string) string {
	return secret[max(0, len(secret)-40):]
}

// nonceClaim is the nonce that the client sent: a challenge never has the same (decision
// 36).
func (w *World) nonceClaim(s *Situation) string {
	if s.Request.Proof == oracle.NoProof {
		return ""
	}
	if s.Config.MCP {
		return w.nonces[1][s.Request.Nonce]
	}
	return w.nonces[0][s.Request.Nonce]
}

// ProxyTLS is the state of the proxy's own connection, on which it presents the very
// certificate that tokens are bound to.
func (w *World) ProxyTLS() *tls.ConnectionState { return w.tlsStates[oracle.ProxyOwn][0] }

// authFields are what each answer to a proxy says, once each.
var authFields = [...]string{
	"X-Auth-Outcome", "X-Auth-Issuer", "X-Auth-Subject", "X-Auth-Client", "X-Auth-Scope", "X-Auth-Binding", "X-Auth-Assertion",
}

// Told reads in h what a proxy tells the service of the sender of a request that has
// passed, or not, as s.Ran says. It is up to the caller to look into the assertion.
func (w *World) Told(h http.Header, s *Situation) {
	says := make(map[string]string, len(authFields))
	for _, name := range authFields {
		if len(h[name]) != 1 {
			s.Problem("an answer must have %s once: a client's own gets through otherwise", name)
			continue
		}
		says[name] = h[name][0]
	}
	want := map[string]string{"X-Auth-Outcome": "refused"}
	switch {
	case says["X-Auth-Outcome"] == "pass":
		client := AnyClient
		if s.Request.Listed {
			client = ListedClient
		}
		want = map[string]string{
			"X-Auth-Outcome": "pass", "X-Auth-Issuer": w.tenants[s.Request.Tenant].URL, "X-Auth-Subject": Subject, "X-Auth-Client": client, "X-Auth-Scope": "read",
			"X-Auth-Binding": says["X-Auth-Binding"], // which the oracle judges
		}
		s.Seen.Credential = true
		switch says["X-Auth-Binding"] {
		case "both":
			s.Seen.Key, s.Seen.Cert = true, true
		case "dpop":
			s.Seen.Key = true
		case "certificate":
			s.Seen.Cert = true
		case "none":
		default:
			s.Problem("the service is told of an unknown binding")
		}
	case s.Ran:
		want["X-Auth-Outcome"] = "anonymous" // which the oracle judges: there is no credential
	}
	for _, name := range authFields[:len(authFields)-1] {
		if says[name] != want[name] {
			s.Problem("the service is told %s: %s, not %s", name, says[name], want[name])
		}
	}
}

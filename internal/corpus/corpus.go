// Package corpus answers: what must a guard say to this request?
//
// corpus.json has configurations, requests and verdicts as data. Everything that decides
// by a guard runs them: the guard itself, and each door (an RPC interceptor, a proxy's
// subrequest) at a place of its own. The package makes real guards and real requests of
// them, with an issuer, keys and certificates that are its own. It is for tests.
package corpus

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	_ "embed" // corpus.json
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/keybound-go/middleware"
	"github.com/keybound-go/middleware/dpop"
	"github.com/keybound-go/middleware/internal/josetest"
	"github.com/keybound-go/middleware/mtlspop"
	"github.com/keybound-go/middleware/mtlspop/mtlspoptest"
	"github.com/keybound-go/middleware/oidc"
	"github.com/keybound-go/middleware/oidc/oidctest"
)

//go:embed corpus.json
var data []byte

// Case is one request to one guard, and what must come of it.
type Case struct {
	Name  string `json:"name"`
	Group string `json:"group"` // an entry with a group alone begins one
	// HTTPOnly cases have a target or a host of their own: a door whose targets are
	// fixed cannot be sent them.
	HTTPOnly bool    `json:"http_only"`
	Guard    Guard   `json:"guard"`
	Request  Request `json:"request"`
	Verdict  Verdict `json:"verdict"`
}

// Guard describes a guard. Rules are a name and its arguments, as [Rule] reads them.
type Guard struct {
	DPoP              bool     `json:"dpop"`
	MTLS              bool     `json:"mtls"`
	Nonces            bool     `json:"nonces"`
	AllowUnbound      bool     `json:"allow_unbound"`
	RequireTLS        bool     `json:"require_tls"`
	RefuseStrayProofs bool     `json:"refuse_stray_proofs"`
	Rules             []string `json:"rules"`
}

// Request describes a request, by how it differs from a good GET of /r.
type Request struct {
	Target      string      `json:"target"`
	Host        string      `json:"host"`
	Scheme      string      `json:"scheme"` // that the token comes under; "" for no token
	Token       Token       `json:"token"`
	Proof       *Proof      `json:"proof"`
	Certificate string      `json:"certificate"` // of the connection: right, wrong or ""
	Header      http.Header `json:"header"`
	Plain       bool        `json:"plain"`
	Early       bool        `json:"early"`
	SentBefore  bool        `json:"sent_before"` // the same request has passed already
}

// Token describes an access token.
type Token struct {
	Bound     []string       `json:"bound"`      // key, certificate
	ExpiresIn int            `json:"expires_in"` // seconds; 0 is what the issuer does
	Claims    map[string]any `json:"claims"`     // in place of the issuer's
}

// Proof describes a DPoP field.
type Proof struct {
	Key     string         `json:"key"` // wrong or ""
	Age     int            `json:"age"` // seconds
	Claims  map[string]any `json:"claims"`
	Raw     string         `json:"raw"` // in place of a proof
	Twice   bool           `json:"twice"`
	Padding int            `json:"padding"` // bytes of a claim that means nothing
}

// Verdict is what must come of the request. The zero Verdict lets it pass.
type Verdict struct {
	Status int    `json:"status"` // of the refusal
	Reason string `json:"reason"` // that the operator is told
	// Challenges are each a scheme and, with a space between, its error code.
	Challenges []string `json:"challenges"`
	Nonce      bool     `json:"nonce"` // the client gets one
}

// Cases returns all of them.
func Cases(tb testing.TB) (all []Case) {
	tb.Helper()
	dec := json.NewDecoder(strings.NewReader(string(data)))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&all); err != nil {
		tb.Fatalf("corpus: %v", err)
	}
	group := ""
	for i, c := range all {
		if c.Name == "" {
			group = c.Group
		}
		all[i].Group = group
	}
	return slices.DeleteFunc(all, func(c Case) bool { return c.Name == "" })
}

const issuerURL = "https://issuer.example"

// Place is where requests arrive. The zero Place is GET https://api.example/r. A case
// with a target of its own has it in place of "/r", and a query stays behind it.
type Place struct{ Origin, Method, Target string }

func (p Place) orDefault() Place {
	if p == (Place{}) {
		return Place{"https://api.example", http.MethodGet, "/r"}
	}
	return p
}

// World has what is on both sides of a guard.
type World struct {
	// Certificates are how guards get certificates, beside the connection.
	Certificates []mtlspop.Option

	tb           testing.TB
	place        Place
	issuer       *oidctest.Issuer
	tokens       *oidc.Verifier
	key, other   *josetest.Key
	right, wrong *mtlspoptest.Client
}

// NewWorld returns a World whose requests arrive at the given place.
func NewWorld(tb testing.TB, place Place) *World {
	tb.Helper()
	w := &World{
		tb: tb, place: place.orDefault(), issuer: oidctest.NewIssuer(tb, oidctest.InMemory(issuerURL)),
		key: josetest.NewKey("ES256"), other: josetest.NewKey("ES256"),
		right: mtlspoptest.SelfSigned(tb, "right"), wrong: mtlspoptest.SelfSigned(tb, "wrong"),
	}
	var err error
	if w.tokens, err = oidc.New(issuerURL, oidctest.Audience, oidc.WithHTTPClient(w.issuer.Client())); err != nil {
		tb.Fatalf("corpus: %v", err)
	}
	tb.Cleanup(func() { w.tokens.Close() })
	return w
}

// Client is the client with the certificate of the case, or nil.
func (w *World) Client(c Case) *mtlspoptest.Client {
	switch c.Request.Certificate {
	case "right":
		return w.right
	case "wrong":
		return w.wrong
	}
	return nil
}

// Options are the settings of a guard, without its rules.
func (w *World) Options(g Guard) []middleware.Option {
	opts := []middleware.Option{middleware.WithTokens(w.tokens, nil)}
	if g.DPoP {
		var proofs []dpop.Option
		if g.Nonces {
			proofs = append(proofs, dpop.WithNonces(dpop.NewNonces([]byte(strings.Repeat("n", 32)))))
		}
		opts = append(opts, middleware.WithDPoP(dpop.New(w.place.Origin, proofs...)))
	}
	if g.MTLS {
		opts = append(opts, middleware.WithMTLS(mtlspop.New(w.Certificates...)))
	}
	if g.AllowUnbound {
		opts = append(opts, middleware.AllowUnbound())
	}
	if g.RequireTLS {
		opts = append(opts, middleware.RequireTLS())
	}
	if g.RefuseStrayProofs {
		opts = append(opts, middleware.RefuseStrayProofs())
	}
	return opts
}

// Guard makes the guard of a case. More options may be added.
func (w *World) Guard(c Case, more ...middleware.Option) *middleware.Guard {
	w.tb.Helper()
	opts := append(w.Options(c.Guard), more...)
	if len(c.Guard.Rules) > 0 {
		opts = append(opts, middleware.WithRules(w.Rules(c.Guard.Rules)...))
	}
	g, err := middleware.New(opts...)
	if err != nil {
		w.tb.Fatalf("corpus: %s: %v", c.Name, err)
	}
	return g
}

// Rules reads rules.
func (w *World) Rules(texts []string) (rules []middleware.Rule) {
	w.tb.Helper()
	for _, text := range texts {
		rules = append(rules, w.Rule(text))
	}
	return rules
}

// Rule reads one rule: a name and its arguments, with spaces between.
func (w *World) Rule(text string) middleware.Rule {
	w.tb.Helper()
	name, rest, _ := strings.Cut(text, " ")
	args := strings.Fields(rest)
	switch name {
	case "bound":
		return middleware.Bound()
	case "dpop_bound":
		return middleware.DPoPBound()
	case "certificate_bound":
		return middleware.CertificateBound()
	case "bound_except":
		return middleware.BoundExcept(args...)
	case "scopes":
		return middleware.Scopes(args...)
	case "claim":
		return middleware.Claim(args[:1], args[1:]...)
	case "step_up":
		return middleware.StepUp(0, args...)
	case "details":
		return middleware.AuthorizationDetails(args[0], args[1:]...)
	case "lifetime":
		seconds, err := strconv.Atoi(rest)
		if err != nil {
			w.tb.Fatalf("corpus: %q: %v", text, err)
		}
		return middleware.LimitTokenLifetime(time.Duration(seconds) * time.Second)
	case "func":
		return middleware.RuleFunc(text, func(*http.Request, *middleware.Credential) bool {
			if rest == "panic" {
				panic("as the corpus says")
			}
			return rest == "yes"
		})
	}
	w.tb.Fatalf("corpus: no rule %q", text)
	return nil
}

// Request makes the request of a case: a new one each time, with a proof of its own.
func (w *World) Request(c Case) *http.Request {
	w.tb.Helper()
	target := w.place.Target
	if query, ok := strings.CutPrefix(c.Request.Target, "/r?"); ok {
		target += "?" + query
	} else if c.Request.Target != "" {
		target = c.Request.Target
	}
	r := httptest.NewRequest(w.place.Method, target, nil)
	_, r.Host, _ = strings.Cut(w.place.Origin, "://")
	if c.Request.Host != "" {
		r.Host = c.Request.Host
	}
	for name, values := range c.Request.Header {
		r.Header[http.CanonicalHeaderKey(name)] = values
	}
	var token string
	if c.Request.Scheme != "" {
		token = w.token(c.Request.Token)
		r.Header.Set("Authorization", c.Request.Scheme+" "+token)
	}
	if c.Request.Proof != nil {
		r.Header["Dpop"] = w.proofs(*c.Request.Proof, r, token)
	}
	if !c.Request.Plain {
		r.TLS = &tls.ConnectionState{HandshakeComplete: !c.Request.Early}
		if client := w.Client(c); client != nil {
			r.TLS.PeerCertificates = []*x509.Certificate{client.Certificate}
		}
	}
	return r
}

func (w *World) token(t Token) string {
	var changes []oidctest.Change
	for _, bound := range t.Bound {
		switch bound {
		case "key":
			changes = append(changes, oidctest.BoundToKey(w.key.Thumbprint()))
		case "certificate":
			changes = append(changes, oidctest.BoundToCertificate(w.right.Certificate))
		}
	}
	if t.ExpiresIn != 0 {
		changes = append(changes, oidctest.ExpiresIn(time.Duration(t.ExpiresIn)*time.Second))
	}
	for name, value := range t.Claims {
		changes = append(changes, oidctest.Claim(name, value))
	}
	return w.issuer.Token(changes...)
}

func (w *World) proofs(p Proof, r *http.Request, token string) []string {
	if p.Raw != "" {
		return []string{p.Raw}
	}
	path, _, _ := strings.Cut(r.RequestURI, "?")
	hash := sha256.Sum256([]byte(token))
	claims := map[string]any{
		"jti": rand.Text(), "htm": r.Method, "htu": w.place.Origin + path,
		"iat": time.Now().Add(-time.Duration(p.Age) * time.Second).Unix(),
		"ath": base64.RawURLEncoding.EncodeToString(hash[:]),
	}
	if p.Padding > 0 {
		claims["padding"] = strings.Repeat("x", p.Padding)
	}
	for name, value := range p.Claims {
		claims[name] = value
	}
	key := w.key
	if p.Key == "wrong" {
		key = w.other
	}
	proof := key.Sign(map[string]any{"typ": "dpop+jwt", "jwk": key.JWK()}, claims)
	if p.Twice {
		return []string{proof, proof}
	}
	return []string{proof}
}

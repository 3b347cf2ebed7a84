package check

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/keybound-go/middleware/cmd/keybound/internal/pen"
	"github.com/keybound-go/middleware/cmd/keybound/internal/wire"
)

// play is one row being tried.
type play struct {
	*Config
	ctx context.Context
	row Row
}

// outcome ends a row, by way of panic.
type outcome struct {
	status   Status
	reason   string
	accepted bool
	form     bool
}

func (p *play) fail(format string, args ...any) {
	panic(outcome{status: Failed, reason: fmt.Sprintf(format, args...)})
}

func (p *play) skip(format string, args ...any) {
	panic(outcome{status: Skipped, reason: fmt.Sprintf(format, args...)})
}

// nonceKeeper has the newest nonce of the server.
type nonceKeeper struct {
	mu    sync.Mutex
	value string
}

func (n *nonceKeeper) get() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.value
}

func (n *nonceKeeper) learn(h http.Header) {
	if v := h.Values("DPoP-Nonce"); len(v) == 1 {
		n.mu.Lock()
		defer n.mu.Unlock()
		n.value = v[0]
	}
}

// requestTarget is the request target of the good request.
func (c *Config) requestTarget() string {
	t := c.path()
	if c.Target.RawQuery != "" {
		t += "?" + c.Target.RawQuery
	}
	return t
}

// draft is a good request, by a client that has made no other.
func (p *play) draft() *draft {
	key, err := pen.Generate("ES256")
	if err != nil {
		p.fail("%v", err)
	}
	d := &draft{method: "GET", path: p.path(), query: p.Target.RawQuery, scheme: p.scheme(), key: key, noProof: p.MTLS, issuer: p.Issuer, config: p.Config}
	if p.MTLS {
		d.cert = &p.certificate
	}
	return d
}

// claims are those of a good token (RFC 9068, section 2.2).
func (p *play) claims() map[string]any {
	now := time.Now().Unix()
	claims := map[string]any{
		"iss": p.Issuer.URL, "aud": p.Audience, "sub": "keybound-user", "client_id": "keybound-check",
		"jti": rand.Text(), "iat": now, "exp": now + 300,
	}
	if p.Scope != "" {
		claims["scope"] = p.Scope
	}
	return claims
}

// mint makes the draft's token.
func (p *play) mint(d *draft) string {
	j := &jwt{header: map[string]any{"typ": "at+jwt"}, claims: p.claims(), key: p.Issuer.Key(p.TokenAlg)}
	if p.MTLS {
		j.claims["cnf"] = map[string]any{"x5t#S256": pen.CertificateThumbprint(p.certificate.Leaf.Raw)}
	} else {
		j.claims["cnf"] = map[string]any{"jkt": d.key.Thumbprint()}
	}
	for _, edit := range d.tokenEdits {
		edit(j)
	}
	if p.Opaque {
		token := rand.Text()
		for name, v := range j.claims {
			if v == (absent{}) && name != "active" && name != "token_type" {
				delete(j.claims, name)
			}
		}
		p.Issuer.Register(token, j.claims)
		return token
	}
	return j.text()
}

// prove makes the draft's proof.
func (p *play) prove(d *draft) string {
	htu := d.proofURL
	if htu == "" {
		htu = p.origin() + d.path
	}
	nonce := ""
	if p.Nonces {
		nonce = p.nonce.get()
	}
	j := &jwt{header: d.key.ProofHeader(), claims: pen.ProofClaims(d.method, htu, d.token, nonce), key: d.key}
	for _, edit := range d.proofEdits {
		edit(j)
	}
	return j.text()
}

// build makes the request of a draft. A token or a proof that the draft has already
// is used again.
func (p *play) build(d *draft) wire.Request {
	if d.token == "" {
		d.token = p.mint(d)
	}
	r := wire.Request{Method: d.method, Target: d.path}
	if d.query != "" {
		r.Target += "?" + d.query
	}
	if !d.noToken {
		token := d.token
		if d.tokenText != nil {
			token = d.tokenText(token)
		}
		r.Fields = append(r.Fields, wire.Field{Name: "Authorization", Value: d.scheme + " " + token})
	}
	if !d.noProof {
		if d.proof == "" {
			d.proof = p.prove(d)
		}
		r.Fields = append(r.Fields, wire.Field{Name: "DPoP", Value: d.proof})
	}
	for _, edit := range d.requestEdits {
		edit(&r)
	}
	return r
}

// exchange sends a draft.
func (p *play) exchange(d *draft) (*wire.Response, error) { return p.transmit(d.cert, p.build(d)) }

func (p *play) transmit(cert *tls.Certificate, r wire.Request) (*wire.Response, error) {
	res, err := p.Client.Do(p.ctx, cert, r)
	if err != nil {
		p.silent.Store(true)
		return nil, err
	}
	p.nonce.learn(res.Header)
	p.observed.note(p.row.ID, r, res)
	return res, nil
}

// send is exchange, and a connection that the server breaks counts as a refusal
// without an answer: some servers end one for a malformed field.
func (p *play) send(d *draft) *wire.Response { return p.do(d.cert, p.build(d)) }

func (p *play) do(cert *tls.Certificate, r wire.Request) *wire.Response {
	res, err := p.transmit(cert, r)
	if err != nil {
		if p.ctx.Err() != nil {
			p.skip("the run was interrupted")
		}
		if only := (*wire.OnlyHTTP1Error)(nil); errors.As(err, &only) {
			p.skip("only in HTTP/1.1: %s", only.Why)
		}
		return &wire.Response{Header: make(http.Header)} // Status 0
	}
	return res
}

// answer is what a refusal should look like. Zero members are not looked at.
type answer struct {
	statuses []int
	scheme   string   // of the challenge that has the error
	codes    []string // any one of them; [""] for a challenge without an error
}

var (
	anyRefusal   = answer{}
	invalidProof = answer{[]int{401}, "DPoP", []string{"invalid_dpop_proof"}}
	useNonce     = answer{[]int{401}, "DPoP", []string{"use_dpop_nonce"}}
	dpopToken    = answer{[]int{401}, "DPoP", []string{"invalid_token"}}
	malformed    = answer{[]int{400}, "", []string{"invalid_request"}}
	bareRefusal  = answer{[]int{401}, "", []string{""}}
	// invalidToken is under the scheme that the good request uses.
	invalidToken = answer{[]int{401}, "used", []string{"invalid_token"}}
)

// accept fails the row unless the request passed.
func (p *play) accept(res *wire.Response) {
	if res.Status/100 != 2 {
		p.fail("expected 2xx, got %s", answerText(res))
	}
}

// refuse fails the row unless the request was refused, in the form of want.
func (p *play) refuse(res *wire.Response, want answer) {
	if res.Status/100 == 2 {
		panic(outcome{status: Failed, reason: fmt.Sprintf("the server accepted the request (%d)", res.Status), accepted: true})
	}
	if res.Status >= 500 {
		p.fail("expected a refusal by the client's fault, got %s", answerText(res))
	}
	if len(want.statuses) == 0 || p.AnyForm {
		return
	}
	if !slices.Contains(want.statuses, res.Status) {
		p.otherForm(res, want)
	}
	challenges, _ := wire.Challenges(res.Header)
	scheme := want.scheme
	if scheme == "used" {
		scheme = p.scheme()
	}
	for _, c := range challenges {
		if (scheme == "" || strings.EqualFold(c.Scheme, scheme)) && slices.Contains(want.codes, c.Get("error")) {
			return
		}
	}
	p.otherForm(res, want)
}

// otherForm fails the row although the server refused the request as the row's sentence
// demands: its client is told another status, scheme or error code than the RFC names.
func (p *play) otherForm(res *wire.Response, want answer) {
	panic(outcome{
		status: Failed, form: true,
		reason: fmt.Sprintf("refused, but expected %s, got %s", want.text(p), answerText(res)),
	})
}

func (a answer) text(p *play) string {
	var words []string
	for _, s := range a.statuses {
		words = append(words, fmt.Sprint(s))
	}
	text := strings.Join(words, " or ")
	scheme := a.scheme
	if scheme == "used" {
		scheme = p.scheme()
	}
	if scheme != "" {
		text += " with a " + scheme + " challenge"
	}
	if len(a.codes) == 1 && a.codes[0] == "" {
		return text + " without an error"
	}
	return text + ", error " + strings.Join(a.codes, " or ")
}

// answerText is an answer as reports show it: status and challenges.
func answerText(res *wire.Response) string {
	if res.Status == 0 {
		return "no answer: the connection was broken, or the stream was reset"
	}
	text := fmt.Sprint(res.Status)
	challenges, problems := wire.Challenges(res.Header)
	for _, c := range challenges {
		text += ", " + c.Scheme
		if e := c.Get("error"); e != "" {
			text += " error=" + e
		}
		if d := c.Get("error_description"); d != "" {
			text += " (" + d + ")"
		}
	}
	if len(problems) > 0 {
		text += ", a challenge that cannot be read"
	}
	return text
}

// observations are what every answer of the run is examined for.
type observations struct {
	mu       sync.Mutex
	answers  int
	problems map[string][]string // kind -> what was seen, with the row
}

func newObservations() *observations { return &observations{problems: make(map[string][]string)} }

func (o *observations) add(kind, row, format string, args ...any) {
	if len(o.problems[kind]) < 5 {
		o.problems[kind] = append(o.problems[kind], fmt.Sprintf("%s: %s", row, fmt.Sprintf(format, args...)))
	}
}

// note examines one answer. The names of the kinds are those of the rows in
// everyAnswer.
func (o *observations) note(row string, r wire.Request, res *wire.Response) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.answers++
	challenges, problems := wire.Challenges(res.Header)
	for _, p := range problems {
		o.add("grammar", row, "%s", p)
	}
	if res.Status == 401 && len(challenges) == 0 {
		o.add("no-challenge", row, "401 without WWW-Authenticate")
	}
	if res.Status >= 500 && !strings.HasPrefix(row, "INTRO-") { // there the issuer fails
		o.add("server-error", row, "%d", res.Status)
	}
	if len(res.Header.Values("DPoP-Nonce")) > 1 {
		o.add("two-nonces", row, "%d DPoP-Nonce fields", len(res.Header.Values("DPoP-Nonce")))
	}
	if res.Header.Get("Proxy-Authenticate") != "" {
		o.add("proxy", row, "Proxy-Authenticate in a %d", res.Status)
	}
	if n := res.Header.Get("DPoP-Nonce"); n != "" {
		if strings.IndexFunc(n, func(c rune) bool { return c < 0x21 || c > 0x7e || c == '"' || c == '\\' }) >= 0 {
			o.add("nonce-syntax", row, "%q", n)
		}
		if cc := res.Header.Get("Cache-Control"); !strings.Contains(cc, "no-store") && !strings.Contains(cc, "private") && !strings.Contains(cc, "no-cache") {
			o.add("nonce-cacheable", row, "DPoP-Nonce in a %d with Cache-Control %q", res.Status, cc)
		}
		for _, name := range []string{"CDN-Cache-Control", "Surrogate-Control", "X-Accel-Expires"} {
			if v := res.Header.Get(name); v != "" && v != "0" && !strings.Contains(v, "no-store") {
				o.add("nonce-cacheable-for-some", row, "DPoP-Nonce in a %d with %s %q", res.Status, name, v)
			}
		}
	}
	if res.Status == 401 && !strings.Contains(res.Header.Get("Cache-Control"), "no-store") {
		o.add("cacheable", row, "401 with Cache-Control %q", res.Header.Get("Cache-Control"))
	}
	for _, c := range challenges {
		o.noteChallenge(row, c, r)
	}
	o.noteBody(row, challenges, r, res)
	if r.Method == "HEAD" && len(res.Body) > 0 {
		o.add("head-body", row, "%d bytes", len(res.Body))
	}
	for name, values := range res.Header {
		for _, v := range values {
			for _, f := range r.Fields {
				secret := f.Value
				if i := strings.LastIndexByte(secret, ' '); i >= 0 {
					secret = secret[i+1:]
				}
				if len(secret) > 40 && strings.Contains(v, secret) {
					o.add("echo", row, "the response's %s repeats the request's %s", name, f.Name)
				}
			}
		}
	}
}

// noteBody compares a JSON body of a refusal with its challenges.
func (o *observations) noteBody(row string, challenges []wire.Challenge, r wire.Request, res *wire.Response) {
	if res.Status/100 != 4 || len(res.Body) == 0 || r.Method == "HEAD" || !strings.HasPrefix(res.Header.Get("Content-Type"), "application/json") {
		return
	}
	var body map[string]any
	if err := json.Unmarshal(res.Body, &body); err != nil {
		o.add("body", row, "%d with a body that is no JSON", res.Status)
		return
	}
	code, stated := body["error"].(string)
	for _, c := range challenges {
		if e := c.Get("error"); e != "" && stated && e != code {
			o.add("body", row, "error is %q in the body, %q in the %s challenge", code, e, c.Scheme)
		}
		if d, ok := body["error_description"].(string); ok && c.Has("error") && c.Get("error") == code && c.Get("error_description") != d {
			o.add("body", row, "error_description is %q in the body, %q in the %s challenge", d, c.Get("error_description"), c.Scheme)
		}
	}
}

func (o *observations) noteChallenge(row string, c wire.Challenge, r wire.Request) {
	for _, p := range c.Params {
		switch p.Name {
		case "error", "error_description":
			// RFC 6750, section 3: %x20-21 / %x23-5B / %x5D-7E.
			if strings.IndexFunc(p.Value, func(c rune) bool { return c < 0x20 || c > 0x7e || c == '"' || c == '\\' }) >= 0 {
				o.add("charset", row, "%s=%q", p.Name, p.Value)
			}
		case "scope":
			if strings.IndexFunc(p.Value, func(c rune) bool { return c < 0x20 || c > 0x7e || c == '"' || c == '\\' }) >= 0 {
				o.add("charset", row, "scope=%q", p.Value)
			}
		}
		if strings.Contains(p.Value, hostile) {
			o.add("reflected", row, "%s=%q", p.Name, p.Value)
		}
	}
	if strings.EqualFold(c.Scheme, "Bearer") && len(c.Params) == 0 {
		o.add("bare-bearer", row, "Bearer without a parameter")
	}
	if strings.EqualFold(c.Scheme, "DPoP") {
		algs := strings.Fields(c.Get("algs"))
		if len(algs) == 0 {
			o.add("no-algs", row, "DPoP without algs")
		}
		for _, a := range algs {
			if strings.EqualFold(a, "none") || strings.HasPrefix(a, "HS") {
				o.add("bad-algs", row, "algs has %s", a)
			}
		}
	}
}

// hostile stands in claims and header members whose values must not come back.
const hostile = "keybound-hostile"

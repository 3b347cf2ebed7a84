package producttest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"maps"
	"net/http"
	"net/netip"
	"net/url"
	"strings"

	"github.com/keybound-go/middleware"
	"github.com/keybound-go/middleware/forwardauth"
	"github.com/keybound-go/middleware/internal/oracle"
)

// serviceName is that of the service behind the proxies, for which assertions are signed.
const serviceName = "orders"

// original are the fields in which a dialect tells of the client's request.
type original struct{ method, uri, host string }

var (
	originalFields  = original{"X-Original-Method", "X-Original-Uri", "X-Original-Host"}
	forwardedFields = original{"X-Forwarded-Method", "X-Forwarded-Uri", "X-Forwarded-Host"}
)

// proxy is a proxy of a dialect that asks a handler, and the service behind it.
type proxy struct {
	w        *World
	dialect  forwardauth.Dialect
	handler  http.Handler
	receiver *forwardauth.Receiver // of the assertions; nil if there are none

	fields, others original // those of the dialect, and those of the others: a client's own
}

// forwardDoor is the door through which a proxy asks in a dialect. The guard trusts the
// one at ProxyAddr to forward certificates and to end TLS, and the one at PeerAddr with
// neither.
func forwardDoor(d forwardauth.Dialect, assert bool) Door {
	return Door{
		Name: "forward-auth, " + d.String(),
		CannotExist: func(c *Combo) string {
			if c.Is(FCert, int(oracle.RightTLS)) || c.Is(FCert, int(oracle.WrongTLS)) {
				return "the client's connection ends at the proxy, which asks over one of its own"
			}
			return noNesting(c)
		},
		Word: func(c Combo) oracle.Verdict {
			if d == forwardauth.Traefik { // which cannot say that a request has no body
				c[FPass] = 0
			}
			return Forwarded(Word(c))
		},
		Open: func(w *World, guards []*middleware.Guard) func(*http.Request, *Situation) oracle.Verdict {
			p := &proxy{w: w, dialect: d, fields: originalFields, others: forwardedFields}
			if d == forwardauth.Caddy || d == forwardauth.Traefik {
				p.fields, p.others = p.others, p.fields
			}
			opts := []forwardauth.Option{forwardauth.WithProxy(d, w.proxyPrefix, netip.MustParsePrefix(OtherProxy))}
			if assert {
				opts = append(opts, forwardauth.WithAssertion(forwardauth.NewSigner(serviceName, assertionKey)))
				var err error
				p.receiver, err = forwardauth.NewReceiver(serviceName, assertionKey.Public(), forwardauth.WithTrustedPeers(w.proxyPrefix))
				w.must(err)
			}
			h, err := forwardauth.New(guards[0], opts...)
			w.must(err)
			p.handler = h
			return p.ask
		},
	}
}

var assertionKey = func() *ecdsa.PrivateKey {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	return key
}()

// Forwarded is what a proxy and the service behind it learn of the verdict. The service
// is told who sent the request and what it has proven; its other fields are between the
// proxy and the service. No answer may be stored.
func Forwarded(v oracle.Verdict) oracle.Verdict {
	h := v.Handler
	v.Handler = oracle.Handler{Credential: h.Credential, Key: h.Key, Cert: h.Cert}
	v.Cache = "no-store"
	return v
}

// ask sends the subrequest that a proxy makes of r.
func (p *proxy) ask(r *http.Request, s *Situation) oracle.Verdict {
	sub := p.subrequest(r, s.Request)
	rec := answerTo(p.handler, sub)
	if s.Sampled {
		p.misuse(sub, s)
	}
	if rec.Fields.Get("X-Auth-Outcome") == "anonymous" && !s.Config.Anonymous {
		p.mayHaveBody(sub, s)
	}
	s.Ran = rec.Status == http.StatusOK
	p.w.Told(rec.Fields, s)
	p.asserted(r, rec.Fields, s)
	challenges := rec.Fields["Www-Authenticate"]
	switch {
	case p.dialect != forwardauth.NGINX:
	case len(challenges) == 1: // A Bearer challenge never comes without a parameter (AUTH-16).
		if first, second, ok := strings.Cut(challenges[0], ", Bearer "); ok {
			rec.Fields["Www-Authenticate"] = []string{first, "Bearer " + second}
		}
	case len(challenges) > 1:
		s.Problem("nginx passes one challenge field on, and there are several")
	}
	return p.w.Observe(rec, s)
}

// subrequest is what the proxy makes of r: a GET of its own with the client's fields and
// three that tell of the client's request. RFC 8470, section 5.1: a proxy tells of early
// data in a field. The TLS state is that of the proxy's connection, on which every proxy
// presents the very certificate that tokens are bound to: it must count for no client.
func (p *proxy) subrequest(r *http.Request, q oracle.Request) *http.Request {
	header := maps.Clone(r.Header)
	// What a client says of its request and of itself: the fields of other dialects, and
	// those of the answer.
	for name, value := range map[string]string{
		p.others.method: http.MethodDelete, p.others.uri: "/admin", p.others.host: "admin.example",
		"Forwarded": "for=10.1.2.3;host=admin.example;proto=https", "X-Forwarded-For": "10.1.2.3", "X-Forwarded-Proto": "https",
		"X-Auth-Outcome": "pass", "X-Auth-Subject": "admin", "X-Auth-Scope": "admin", "X-Auth-Binding": "both", "X-Auth-Assertion": "e30.e30.e30",
	} {
		header[name] = []string{value}
	}
	header[p.fields.method] = []string{r.Method}
	header[p.fields.uri] = []string{r.RequestURI}
	header[p.fields.host] = []string{r.Host}
	header["X-Original-Body"] = []string{"none"} // through Traefik these are a client's own words
	if q.Early {
		header["Early-Data"] = []string{"1"}
	}
	sub := &http.Request{
		Method: http.MethodGet, Host: "auth.example", URL: &url.URL{Path: "/auth"}, RequestURI: "/auth", RemoteAddr: r.RemoteAddr,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Header: header, Body: http.NoBody,
	}
	if r.TLS != nil {
		sub.TLS = p.w.ProxyTLS()
	}
	return sub.WithContext(r.Context())
}

// asserted reads the assertion as the service does: it must say what the fields say, for
// this request from a trusted proxy, and nothing for others.
func (p *proxy) asserted(r *http.Request, answer http.Header, s *Situation) {
	assertion := answer.Get("X-Auth-Assertion")
	if p.receiver == nil || !s.Seen.Credential {
		if assertion != "" {
			s.Problem("an assertion says who has sent a request of which nothing is known")
		}
		return
	}
	read := func(what string, good bool, change func(*http.Request)) {
		passed := r.Clone(r.Context())
		passed.RemoteAddr = ProxyAddr
		passed.Header.Set("X-Auth-Assertion", assertion)
		change(passed)
		got := false
		p.receiver.Wrap(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			raw, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
			token, err := p.receiver.VerifyToken(r.Context(), raw)
			got = err == nil
			if got && (token.Issuer != answer.Get("X-Auth-Issuer") || token.Subject != answer.Get("X-Auth-Subject") || token.ClientID != answer.Get("X-Auth-Client")) {
				s.Problem("the assertion says something else than the fields")
			}
		})).ServeHTTP(NewResponse(), passed)
		if got != good {
			s.Problem("an assertion %s is accepted: %v", what, got)
		}
	}
	read("for its request", true, func(*http.Request) {})
	if s.Sampled {
		read("from another peer", false, func(r *http.Request) { r.RemoteAddr = PeerAddr })
		read("for another target", false, func(r *http.Request) { r.RequestURI = "/admin" })
		read("for another method", false, func(r *http.Request) { r.Method = http.MethodDelete })
		read("for another host", false, func(r *http.Request) { r.Host = "admin.example" })
		read("that comes twice", false, func(r *http.Request) { r.Header.Add("X-Auth-Assertion", assertion) })
		read("with another signature", false, func(r *http.Request) {
			end := "AAAA"
			if strings.HasSuffix(assertion, end) {
				end = "BBBB"
			}
			r.Header.Set("X-Auth-Assertion", assertion[:len(assertion)-len(end)]+end)
		})
	}
}

// misuse sends the same subrequest from a peer that is not trusted, without one of the
// fields that tell of the request, with it twice, and as a client that reaches the
// handler through the proxy would. None may reach the guard, and none may pass.
func (p *proxy) misuse(sub *http.Request, s *Situation) {
	told := s.Outcome
	s.Outcome = middleware.Outcome{}
	defer func() { s.Outcome = told }()
	try := func(what string, want int, change func(*http.Request)) {
		r := sub.Clone(sub.Context())
		change(r)
		rec := answerTo(p.handler, r)
		if rec.Status != want || rec.Fields.Get("X-Auth-Outcome") != "refused" {
			s.Problem("a subrequest %s is answered as if it were good", what)
		}
	}
	try("from a peer that is not trusted", http.StatusForbidden, func(r *http.Request) { r.RemoteAddr = StrangerAddr })
	try("that is no GET", http.StatusInternalServerError, func(r *http.Request) { r.Method = http.MethodPost })
	for _, name := range []string{p.fields.method, p.fields.uri, p.fields.host} {
		try("without "+name, http.StatusInternalServerError, func(r *http.Request) { r.Header.Del(name) })
		try("with two of "+name, http.StatusInternalServerError, func(r *http.Request) { r.Header.Add(name, "x") })
		try("with an empty "+name, http.StatusInternalServerError, func(r *http.Request) { r.Header.Set(name, "") })
	}
	if s.Outcome.Method != "" {
		s.Problem("the guard was asked about a subrequest that tells of no request")
	}
}

// mayHaveBody sends a subrequest that passed as a preflight as one that may have a body.
func (p *proxy) mayHaveBody(sub *http.Request, s *Situation) {
	told := s.Outcome
	defer func() { s.Outcome = told }()
	for _, values := range [][]string{nil, {"none", "none"}, {"None"}, {""}, {"unknown"}} {
		r := sub.Clone(sub.Context())
		r.Header["X-Original-Body"] = values
		if rec := answerTo(p.handler, r); rec.Fields.Get("X-Auth-Outcome") == "anonymous" {
			s.Problem("a preflight that may have a body passes without credentials")
		}
	}
}

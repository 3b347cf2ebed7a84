package producttest

import (
	"maps"
	"net/http"
	"net/netip"
	"net/url"
	"strings"

	"github.com/keybound-go/middleware"
	"github.com/keybound-go/middleware/forwardauth"
	"github.com/keybound-go/middleware/internal/oracle"
)

const strangerAddr = "198.51.100.1:4567" // trusted by no guard and no door

// forwardAuth makes the handler that answers the subrequests of two proxies. The guard
// trusts the one at proxyAddr to forward certificates and to end TLS, and the one at
// peerAddr with neither.
func (w *world) forwardAuth(g *middleware.Guard) http.Handler {
	h, err := forwardauth.New(g,
		forwardauth.WithProxy(forwardauth.NGINX, w.proxyPrefix, netip.MustParsePrefix("192.0.2.1/32")))
	w.must(err)
	return h
}

// forwarded is what a proxy and the service behind it learn of the verdict. The service
// is told who sent the request and what it has proven; its other fields are between the
// proxy and the service. No answer of the handler may be stored.
func forwarded(v oracle.Verdict) oracle.Verdict {
	h := v.Handler
	v.Handler = oracle.Handler{Credential: h.Credential, Key: h.Key, Cert: h.Cert}
	v.Cache = "no-store"
	return v
}

// ask sends the subrequest that a proxy makes of r.
func (w *world) ask(h http.Handler, r *http.Request, s *situation) oracle.Verdict {
	sub := w.subrequest(r, s.request)
	rec := answerTo(h, sub)
	if s.sampled {
		w.misuse(h, sub, s)
	}
	s.ran = rec.status == http.StatusOK
	w.told(rec.header, s)
	switch challenges := rec.header["Www-Authenticate"]; len(challenges) {
	case 0:
	case 1: // A Bearer challenge never comes without a parameter (AUTH-16).
		if first, second, ok := strings.Cut(challenges[0], ", Bearer "); ok {
			rec.header["Www-Authenticate"] = []string{first, "Bearer " + second}
		}
	default:
		s.problems = append(s.problems, "nginx passes one challenge field on, and there are several")
	}
	return w.observe(rec, s)
}

func answerTo(h http.Handler, r *http.Request) *response {
	rec := &response{header: make(http.Header, 12)}
	h.ServeHTTP(rec, r)
	rec.WriteHeader(http.StatusOK)
	return rec
}

// subrequest is what nginx makes of r: a GET of its own with the client's fields and
// three that tell of the client's request. RFC 8470, section 5.1: a proxy tells of early
// data in a field. The TLS state is that of the proxy's connection, on which every proxy
// presents the very certificate that tokens are bound to: it must count for no client.
func (w *world) subrequest(r *http.Request, q oracle.Request) *http.Request {
	header := maps.Clone(r.Header)
	header["X-Original-Method"] = []string{r.Method}
	header["X-Original-Uri"] = []string{r.RequestURI}
	header["X-Original-Host"] = []string{r.Host}
	header["X-Original-Body"] = []string{"none"}
	// A client's own words on who it is.
	header["X-Auth-Outcome"], header["X-Auth-Subject"] = []string{"pass"}, []string{"admin"}
	if q.Early {
		header["Early-Data"] = []string{"1"}
	}
	sub := &http.Request{
		Method: http.MethodGet, Host: "auth.example", URL: &url.URL{Path: "/auth"}, RequestURI: "/auth", RemoteAddr: r.RemoteAddr,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Header: header, Body: http.NoBody,
	}
	if r.TLS != nil {
		sub.TLS = w.tlsStates[oracle.ProxyOwn][0]
	}
	return sub.WithContext(r.Context())
}

// authFields are what each answer says, once each.
var authFields = [...]string{
	"X-Auth-Outcome", "X-Auth-Issuer", "X-Auth-Subject", "X-Auth-Client", "X-Auth-Scope", "X-Auth-Binding", "X-Auth-Assertion",
}

// told reads what the service is told.
func (w *world) told(h http.Header, s *situation) {
	says := make(map[string]string, len(authFields))
	for _, name := range authFields {
		if len(h[name]) != 1 {
			s.problems = append(s.problems, "an answer must have "+name+" once: a client's own gets through otherwise")
			continue
		}
		says[name] = h[name][0]
	}
	want := map[string]string{"X-Auth-Outcome": "refused"}
	switch {
	case says["X-Auth-Outcome"] == "pass":
		client := defaultClient
		if s.request.Listed {
			client = listedClient
		}
		want = map[string]string{
			"X-Auth-Outcome": "pass", "X-Auth-Issuer": issuerURL, "X-Auth-Subject": defaultSubject, "X-Auth-Client": client, "X-Auth-Scope": "read",
			"X-Auth-Binding": says["X-Auth-Binding"], // which the oracle judges
		}
		s.seen.Credential = true
		switch says["X-Auth-Binding"] {
		case "both":
			s.seen.Key, s.seen.Cert = true, true
		case "dpop":
			s.seen.Key = true
		case "certificate":
			s.seen.Cert = true
		case "none":
		default:
			s.problems = append(s.problems, "the service is told of an unknown binding")
		}
	case s.ran:
		want["X-Auth-Outcome"] = "anonymous" // which the oracle judges: there is no credential
	}
	for _, name := range authFields {
		if says[name] != want[name] {
			s.problems = append(s.problems, "the service is told "+name+": "+says[name]+", not "+want[name])
		}
	}
}

// misuse sends the same subrequest from a peer that is not trusted, without one of the
// fields that tell of the request, with it twice, and as a client that reaches the
// handler through the proxy would. None may reach the guard, and none may pass.
func (w *world) misuse(h http.Handler, sub *http.Request, s *situation) {
	told := s.outcome
	s.outcome = middleware.Outcome{}
	try := func(what string, want int, change func(*http.Request)) {
		r := sub.Clone(sub.Context())
		change(r)
		rec := answerTo(h, r)
		if rec.status != want || rec.header.Get("X-Auth-Outcome") != "refused" {
			s.problems = append(s.problems, "a subrequest "+what+" is answered as if it were good")
		}
	}
	try("from a peer that is not trusted", http.StatusForbidden, func(r *http.Request) { r.RemoteAddr = strangerAddr })
	try("that is no GET", http.StatusInternalServerError, func(r *http.Request) { r.Method = http.MethodPost })
	for _, name := range []string{"X-Original-Method", "X-Original-Uri", "X-Original-Host"} {
		try("without "+name, http.StatusInternalServerError, func(r *http.Request) { r.Header.Del(name) })
		try("with two of "+name, http.StatusInternalServerError, func(r *http.Request) { r.Header.Add(name, "x") })
	}
	if s.outcome.Method != "" {
		s.problems = append(s.problems, "the guard was asked about a subrequest that tells of no request")
	}
	s.outcome = told
}

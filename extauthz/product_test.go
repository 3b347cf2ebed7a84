package extauthz_test

import (
	"net"
	"net/http"
	"net/netip"
	"testing"
	"testing/synctest"

	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/peer"

	"github.com/keybound-go/middleware"
	"github.com/keybound-go/middleware/extauthz"
	"github.com/keybound-go/middleware/internal/oracle"
	pt "github.com/keybound-go/middleware/internal/producttest"
	"github.com/keybound-go/middleware/mtlspop"
	"github.com/keybound-go/middleware/mtlspop/mtlspoptest"
)

// questions is the product of Envoy's questions: in the two forms of the header, about
// requests of HTTP/1.1 and, the second, of HTTP/2.
func questions() *pt.Product {
	return pt.New([]pt.Door{
		questionDoor("ext_authz, header_map, HTTP/1.1", envoy{}),
		questionDoor("ext_authz, headers, HTTP/2", envoy{merged: true}),
	}, pt.ForwardBase(0), pt.ForwardBase(1))
}

// throughEnvoy is how Envoy passes a certificate on.
var throughEnvoy = pt.Certificates{
	Field: extauthz.CertificateField, Format: mtlspop.PEM, Write: mtlspoptest.Nginx, Broken: "no%20certificate",
}

// TestEveryPairOccurs holds that TestProduct has each pair of values of two factors,
// except pairs that cannot exist.
func TestEveryPairOccurs(t *testing.T) {
	if testing.Short() {
		t.Skip("with -short, TestProduct changes one value only")
	}
	questions().HoldPairs(t, pt.ModulePlan(t))
}

// TestEveryImportantTripleOccurs is TestEveryPairOccurs for triples of what decides most.
func TestEveryImportantTripleOccurs(t *testing.T) {
	if testing.Short() {
		t.Skip("with -short, TestProduct changes one value only")
	}
	questions().HoldTriples(t, pt.ModulePlan(t), pt.Important())
}

// TestProduct asks about combinations of guard and request as Envoy does, and compares
// with the oracle's word what Envoy then answers, or what the service behind it sees.
func TestProduct(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		questions().Run(t, pt.NewWorld(t, throughEnvoy), pt.ModulePlan(t))
	})
}

func questionDoor(name string, e envoy) pt.Door {
	return pt.Door{
		Name: name,
		CannotExist: func(c *pt.Combo) string {
			switch {
			case c.Is(pt.FCert, int(oracle.RightTLS)) || c.Is(pt.FCert, int(oracle.WrongTLS)):
				return "the client's connection ends at Envoy, which asks over one of its own"
			case c.IsNot(pt.FNest, pt.NoNest):
				return "handlers nest, decisions do not"
			}
			return ""
		},
		Word: func(c pt.Combo) oracle.Verdict {
			if e.merged { // HTTP/2: Envoy does not say whether there is a body
				c[pt.FPass] = 0
			}
			v := pt.Word(c)
			v.Handler.CertHeader, v.Handler.Unproven = false, false // the service is told neither
			return v
		},
		Open: func(w *pt.World, guards []*middleware.Guard) func(*http.Request, *pt.Situation) oracle.Verdict {
			s, err := extauthz.New(guards[0], extauthz.WithEnvoy(netip.MustParsePrefix(pt.RightProxy), netip.MustParsePrefix(pt.OtherProxy)))
			if err != nil {
				panic(err) // a test's goroutine cannot end the test
			}
			a := &asker{w, s, e}
			return a.ask
		},
	}
}

// asker is an Envoy with a Server to ask.
type asker struct {
	w *pt.World
	s *extauthz.Server
	e envoy
}

// ask sends r through Envoy.
func (a *asker) ask(r *http.Request, s *pt.Situation) oracle.Verdict {
	question := a.question(r, s.Request)
	answer := a.check(question, r, s)
	if s.Sampled {
		a.misuse(r, s)
	}
	rec := pt.NewResponse()
	if answer.GetStatus().GetCode() != 0 {
		denied := answer.GetDeniedResponse()
		if denied == nil || len(answer.GetOkResponse().GetHeaders()) > 0 {
			s.Problem("a denial without an answer to the client")
		}
		for _, o := range denied.GetHeaders() {
			mutate(rec.Fields, o)
		}
		rec.Status, rec.Body = int(denied.GetStatus().GetCode()), []byte(denied.GetBody())
		return a.w.Observe(rec, s)
	}
	ok := answer.GetOkResponse()
	if ok == nil {
		s.Problem("an OK without a word on the request")
	}
	upstream := a.forged(r)
	for _, o := range ok.GetHeaders() {
		mutate(upstream, o)
	}
	for _, name := range ok.GetHeadersToRemove() { // after the others
		upstream.Del(name)
	}
	for _, o := range ok.GetResponseHeadersToAdd() {
		mutate(rec.Fields, o)
	}
	rec.Status = http.StatusOK
	s.See(r.Context(), upstream)
	a.w.Told(upstream, s)
	if upstream.Get("X-Auth-Assertion") != "" {
		s.Problem("a client's assertion reaches the service")
	}
	return a.w.Observe(rec, s)
}

// forged are the fields of r, and what a client says of itself: the fields of the answer,
// and the certificate that tokens are bound to.
func (a *asker) forged(r *http.Request) http.Header {
	h := r.Header.Clone()
	for name, value := range map[string]string{
		"X-Auth-Outcome": "pass", "X-Auth-Subject": "admin", "X-Auth-Scope": "admin", "X-Auth-Binding": "both", "X-Auth-Assertion": "e30.e30.e30",
		"X-Forwarded-For": "10.1.2.3", "X-Forwarded-Proto": "https", extauthz.CertificateField: mtlspoptest.Nginx(a.w.Right()),
		"X-Forwarded-Client-Cert": mtlspoptest.Envoy(a.w.Right()),
	} {
		h.Set(name, value)
	}
	return h
}

// question is what Envoy asks about r. What is in r under CertificateField is what Envoy
// has seen on the connection, but for what a client forges.
func (a *asker) question(r *http.Request, q oracle.Request) *authv3.CheckRequest {
	certificate := r.Header.Get(extauthz.CertificateField)
	asked := r.Clone(r.Context())
	asked.Header = a.forged(r)
	if q.Early {
		asked.Header.Set("Early-Data", "1")
	}
	if a.e.merged {
		asked.Proto = "HTTP/2"
	}
	question := a.e.question(asked, nil)
	if q.Cert >= oracle.RightHeader {
		question.GetAttributes().GetSource().Certificate = certificate
	}
	return question
}

// check asks over a connection of the proxy that r comes from, on which it presents the
// very certificate that tokens are bound to: it must count for no client.
func (a *asker) check(question *authv3.CheckRequest, r *http.Request, s *pt.Situation) *authv3.CheckResponse {
	from := &peer.Peer{
		Addr:      net.TCPAddrFromAddrPort(netip.MustParseAddrPort(r.RemoteAddr)),
		LocalAddr: net.TCPAddrFromAddrPort(netip.MustParseAddrPort("10.9.9.9:443")),
	}
	if !s.Request.Plain {
		from.AuthInfo = credentials.TLSInfo{State: *a.w.ProxyTLS()}
	}
	answer, err := a.s.Check(peer.NewContext(r.Context(), from), question)
	if err != nil {
		s.Problem("an error lets requests pass where failure_mode_allow is set: %v", err)
	}
	return answer
}

// misuse asks from a peer that is not trusted, and with questions that tell of no
// request. None may reach the guard, and none may pass.
func (a *asker) misuse(r *http.Request, s *pt.Situation) {
	told := s.Outcome
	s.Outcome = middleware.Outcome{}
	defer func() { s.Outcome = told }()
	try := func(what string, want int, change func(*http.Request, *authv3.AttributeContext_HttpRequest)) {
		again := a.question(r, s.Request)
		from := r.Clone(r.Context())
		change(from, again.GetAttributes().GetRequest().GetHttp())
		answer := a.check(again, from, s)
		if answer.GetStatus().GetCode() == 0 || int(answer.GetDeniedResponse().GetStatus().GetCode()) != want {
			s.Problem("a question %s is answered as if it were good", what)
		}
	}
	try("from a peer that is not trusted", 403, func(r *http.Request, _ *authv3.AttributeContext_HttpRequest) { r.RemoteAddr = pt.StrangerAddr })
	try("without a method", 500, func(_ *http.Request, h *authv3.AttributeContext_HttpRequest) { h.Method = "" })
	try("without a path", 500, func(_ *http.Request, h *authv3.AttributeContext_HttpRequest) { h.Path = "" })
	try("without a host", 500, func(_ *http.Request, h *authv3.AttributeContext_HttpRequest) { h.Host = "" })
	try("without fields", 500, func(_ *http.Request, h *authv3.AttributeContext_HttpRequest) { h.Headers, h.HeaderMap = nil, nil })
	if s.Outcome.Method != "" {
		s.Problem("the guard was asked about a question that tells of no request")
	}
}

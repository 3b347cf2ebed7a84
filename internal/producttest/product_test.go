package producttest

import (
	"crypto/tls"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/keybound-go/middleware"
	"github.com/keybound-go/middleware/forwardauth"
	"github.com/keybound-go/middleware/internal/oracle"
)

const doorForward = 3 // the first of them

// house is the product of the doors in the root module.
func house() *Product {
	return New([]Door{
		{Name: "Wrap", Open: openWrap},
		{Name: "Check", CannotExist: noCheck, Word: wordOfCheck, Open: openCheck},
		{Name: "Judge", CannotExist: noNesting, Open: openJudge},
		forwardDoor(forwardauth.NGINX, false),
		forwardDoor(forwardauth.Caddy, true),
		forwardDoor(forwardauth.Traefik, true),
		forwardDoor(forwardauth.HAProxy, false),
	}, ForwardBase(doorForward))
}

// TestProduct compares the guard with the oracle: first each passing request with one
// value changed, or two, or from a million runs on three, then random combos.
func TestProduct(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := Runs(t)
		switch {
		case n > 0:
		case testing.Short():
			n = 5_000
		default:
			n = 15_000
		}
		depth := 2
		switch {
		case n >= 1_000_000:
			depth = 3
		case n < 20_000:
			depth = 1
		}
		house().Run(t, NewWorld(t, RFC9440), Plan{Depth: depth, Runs: n})
	})
}

// TestEveryTripleOccurs holds that the combos with up to three changes, which TestProduct
// runs in full from a million on, have each triple of values of three factors in them,
// except triples that cannot exist.
func TestEveryTripleOccurs(t *testing.T) {
	if Runs(t) == 0 {
		t.Skip("counts millions of combinations; runs with PRODUCT, as in .ci/run product")
	}
	house().HoldTriples(t, Plan{Depth: 3}, nil)
}

func noNesting(c *Combo) string {
	if c.IsNot(FNest, NoNest) {
		return "handlers nest, decisions do not"
	}
	return ""
}

func openWrap(w *World, guards []*middleware.Guard) func(*http.Request, *Situation) oracle.Verdict {
	h := http.Handler(http.HandlerFunc(Handle))
	for i := len(guards); i > 0; i-- {
		h = guards[i-1].Wrap(h)
	}
	return func(r *http.Request, s *Situation) oracle.Verdict {
		rec := answerTo(h, r)
		v := w.Observe(rec, s)
		if s.Sampled && s.Ran {
			lend(guards[0], s)
		}
		return v
	}
}

func answerTo(h http.Handler, r *http.Request) *Response {
	rec := NewResponse()
	h.ServeHTTP(rec, r)
	rec.WriteHeader(http.StatusOK)
	return rec
}

// lend makes another request with the context of one that passed, as handlers do that
// call others in process. It must bring a credential of its own.
func lend(g *middleware.Guard, s *Situation) {
	other := &http.Request{
		Method: http.MethodDelete, Host: Host, URL: &url.URL{Path: "/other"}, RequestURI: "/other", Header: make(http.Header), Body: http.NoBody,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, TLS: &tls.ConnectionState{HandshakeComplete: true},
	}
	if credential, err := g.Check(other.WithContext(s.passed)); err == nil && credential != nil || err == nil && !s.Config.Anonymous {
		s.Problem("a credential counts for another request")
	}
}

func noCheck(c *Combo) string {
	if c.Is(FPreflight, 1) {
		return "to let a preflight pass is not Check's"
	}
	return noNesting(c)
}

// wordOfCheck has no response. Without one no nonce is needed, and a proof without one is
// no question to the source.
func wordOfCheck(c Combo) oracle.Verdict {
	v := Word(c)
	if config, q := c.Describe(); v.Reason == oracle.Unavailable && config.Nonces && q.Outage == oracle.NonceSourceDown && q.Nonce == oracle.NoNonce {
		v.Status, v.Reason = 401, oracle.NonceWanted
	}
	h := v.Handler
	return oracle.Verdict{
		Status: v.Status, Reason: v.Reason, WouldDeny: v.WouldDeny,
		Handler: oracle.Handler{Credential: h.Credential, Key: h.Key, Cert: h.Cert, Unproven: h.Unproven},
	}
}

// openCheck is Guard.Check: a verdict without a response.
func openCheck(_ *World, guards []*middleware.Guard) func(*http.Request, *Situation) oracle.Verdict {
	return func(r *http.Request, s *Situation) oracle.Verdict {
		credential, err := guards[0].Check(r)
		if err != nil {
			return oracle.Verdict{Status: s.Outcome.Status, Reason: Reason(err)}
		}
		if credential != nil { // else the request is anonymous
			s.Saw(credential)
		}
		return oracle.Verdict{Status: http.StatusOK, WouldDeny: s.Outcome.WouldDeny != "", Handler: s.Seen}
	}
}

// openJudge is Guard.Judge: a verdict for a transport that is not net/http.
func openJudge(w *World, guards []*middleware.Guard) func(*http.Request, *Situation) oracle.Verdict {
	return func(r *http.Request, s *Situation) oracle.Verdict {
		if s.Sampled { // a transport may spell the names as HTTP/2 does
			lower := make(http.Header, len(r.Header))
			for name, values := range r.Header {
				lower[strings.ToLower(name)] = values
			}
			r.Header = lower
		}
		before := fmt.Sprint(r.Header)
		got := guards[0].Judge(r.Context(), middleware.Request{
			Method: r.Method, Host: r.Host, Target: r.RequestURI, Header: r.Header, TLS: r.TLS, RemoteAddr: r.RemoteAddr,
		})
		if fmt.Sprint(r.Header) != before {
			s.Problem("Judge changes the request")
		}
		if got.Pass {
			ctx := r.Context()
			if got.Credential != nil {
				ctx = middleware.NewContext(ctx, got.Credential)
			}
			s.See(ctx, got.Forward)
			got.Denial.Status = http.StatusOK
		}
		if got.Pass != (got.Err == nil) || got.Pass && got.Body != nil {
			s.Problem("the parts of the verdict disagree")
		}
		return w.Observe(&Response{Fields: got.Header, Status: got.Denial.Status, Body: got.Body}, s)
	}
}

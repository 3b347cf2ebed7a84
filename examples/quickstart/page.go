package main

import (
	"bytes"
	"context"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"

	"github.com/keybound-go/middleware"
	"github.com/keybound-go/middleware/dpop"
	"github.com/keybound-go/middleware/mtlspop"
	"github.com/keybound-go/middleware/mtlspop/mtlspoptest"
	"github.com/keybound-go/middleware/oidc"
	"github.com/keybound-go/middleware/oidc/oidctest"
)

//go:embed page
var pageFiles embed.FS

// page is the quickstart in a browser: the page is the client, and the service
// that it calls shows what it saw and decided.
type page struct {
	*world
	url     string           // of the page and of the service that its script calls
	overTLS *httptest.Server // the same service where a client can have a certificate

	mu    sync.Mutex
	seen  map[string]*exchange // the last ones, by number
	count int
}

// exchange is one request to the service with everything that a person wants to
// see beside it.
type exchange struct {
	Request  string  `json:"request"`
	Steps    []check `json:"steps"`
	Response string  `json:"response"`
	Log      string  `json:"log"`
	Status   int     `json:"status"`
	Nonce    string  `json:"nonce,omitempty"`

	log bytes.Buffer
}

// check is one step of the decision.
type check struct {
	Text   string `json:"text"`
	Result string `json:"result"` // passed, failed or skipped
}

// exchangeKey is the context key of the exchange that a request belongs to.
type exchangeKey struct{}

// serve starts the page.
func (w *world) servePage() *page {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	w.check(err)
	p := &page{world: w, url: "http://" + listener.Addr().String(), seen: make(map[string]*exchange)}
	p.overTLS = w.startService(func(origin string) http.Handler { return p.recording(w.routes(origin, p.options()...)) })

	files, err := fs.Sub(pageFiles, "page")
	w.check(err)
	service := p.recording(w.routes(p.url, p.options()...))
	mux := http.NewServeMux()
	mux.Handle("/", http.FileServerFS(files))
	mux.Handle("/orders", service)
	mux.Handle("/payments", service)
	mux.HandleFunc("GET /world", p.describe)
	mux.HandleFunc("POST /token", p.token)
	mux.HandleFunc("POST /certificate/{name}", p.callWithCertificate)
	mux.HandleFunc("GET /exchanges/{number}", p.exchange)
	server := &http.Server{Handler: mux}
	go server.Serve(listener) // ends with Close
	w.Cleanup(func() { server.Close() })
	return p
}

// options makes the guards tell the page what they decide.
func (p *page) options() []middleware.Option {
	return []middleware.Option{
		middleware.WithLogger(slog.New(exchangeLog{slog.NewTextHandler(io.Discard, nil)})),
		middleware.WithObserver(func(ctx context.Context, o middleware.Outcome) {
			if e, ok := ctx.Value(exchangeKey{}).(*exchange); ok {
				e.Steps = checks(o)
			}
		}),
	}
}

// describe tells the script where the service and the issuer are.
func (p *page) describe(rw http.ResponseWriter, _ *http.Request) {
	writeJSON(rw, map[string]string{"service": p.url, "token_endpoint": p.issuer.Endpoint(oidctest.TokenEndpoint)})
}

// token passes the script's proof on to the issuer, since a browser does not trust
// the certificate of an issuer that lives as long as this program.
func (p *page) token(rw http.ResponseWriter, r *http.Request) {
	token := p.world.token(p.issuer.Client(), func(out *http.Request) {
		out.SetBasicAuth("app", "app-secret")
		out.Header["Dpop"] = r.Header["Dpop"]
	}, url.Values{"scope": {"orders:read"}})
	writeJSON(rw, map[string]string{"access_token": token})
}

// callWithCertificate calls the service as the client that has a certificate, as a
// thief with another, or without any.
func (p *page) callWithCertificate(rw http.ResponseWriter, r *http.Request) {
	certificates := map[string]*mtlspoptest.Client{"machine": p.machine, "thief": p.thief, "none": nil}
	certificate, ok := certificates[r.PathValue("name")]
	if !ok {
		http.NotFound(rw, r)
		return
	}
	out, err := http.NewRequestWithContext(r.Context(), "GET", p.overTLS.URL+"/orders", nil)
	p.check(err)
	out.Header.Set("Authorization", "Bearer "+p.certificateToken())
	resp, err := p.clientOf(p.overTLS, certificate).Do(out)
	p.check(err)
	resp.Body.Close()
	rw.Header().Set("X-Exchange", resp.Header.Get("X-Exchange"))
}

func (p *page) exchange(rw http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	e := p.seen[r.PathValue("number")]
	p.mu.Unlock()
	if e == nil {
		http.NotFound(rw, r)
		return
	}
	writeJSON(rw, e)
}

// recording keeps what happens to each request under the number that the response
// names in X-Exchange.
func (p *page) recording(service http.Handler) http.Handler {
	return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		e := &exchange{Request: shownRequest(r)}
		answer := httptest.NewRecorder()
		service.ServeHTTP(answer, r.WithContext(context.WithValue(r.Context(), exchangeKey{}, e)))
		e.Status, e.Nonce = answer.Code, answer.Header().Get("DPoP-Nonce")
		e.Response = shownResponse(answer)
		if e.Log = e.log.String(); e.Log == "" {
			e.Log = "None: the guard logs refusals only."
		}
		rw.Header().Set("X-Exchange", p.keep(e))
		for name, values := range answer.Header() {
			rw.Header()[name] = values
		}
		rw.WriteHeader(answer.Code)
		rw.Write(answer.Body.Bytes())
	})
}

// keep remembers the last hundred exchanges.
func (p *page) keep(e *exchange) (number string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.count++
	delete(p.seen, fmt.Sprint(p.count-100))
	number = fmt.Sprint(p.count)
	p.seen[number] = e
	return number
}

// exchangeLog writes each record to the exchange that its context belongs to.
type exchangeLog struct{ slog.Handler }

func (exchangeLog) Handle(ctx context.Context, record slog.Record) error {
	e, ok := ctx.Value(exchangeKey{}).(*exchange)
	if !ok {
		return nil
	}
	return slog.NewTextHandler(&e.log, nil).Handle(ctx, record)
}

// shownRequest is what arrived, with tokens and proofs cut to what tells them apart.
func shownRequest(r *http.Request) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s\n", r.Method, r.RequestURI)
	for _, name := range []string{"Authorization", "Dpop"} {
		for _, value := range r.Header[name] {
			fmt.Fprintf(&b, "%s: %s\n", name, shortened(value))
		}
	}
	if r.TLS != nil {
		if certificates := r.TLS.PeerCertificates; len(certificates) > 0 {
			fmt.Fprintf(&b, "(over TLS, with the certificate of %s)\n", certificates[0].Subject.CommonName)
		} else {
			b.WriteString("(over TLS, without a client certificate)\n")
		}
	}
	return b.String()
}

func shownResponse(answer *httptest.ResponseRecorder) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d %s\n", answer.Code, http.StatusText(answer.Code))
	for _, name := range []string{"Www-Authenticate", "Dpop-Nonce"} {
		for _, value := range answer.Header()[name] {
			fmt.Fprintf(&b, "%s: %s\n", name, value)
		}
	}
	fmt.Fprintf(&b, "\n%s", answer.Body)
	return b.String()
}

// The steps of the decision, in the order of middleware.Guard.Check.
const (
	shapeStep = iota
	tokenStep
	policyStep
	certificateStep
	proofStep
	rulesStep
)

var stepTexts = [...]string{
	shapeStep:       "The shape of the request: one token, under a scheme that the service takes, and under DPoP one proof",
	tokenStep:       "The token: signature, issuer, audience, time",
	policyStep:      "What the token is bound to, and whether the scheme fits",
	certificateStep: "The certificate: is it the one that the token names?",
	proofStep:       "The proof: key, signature, method, URL, time, token, and is it new?",
	rulesStep:       "The rules of the route",
}

// checks tells which steps were passed.
func checks(o middleware.Outcome) []check {
	failed := len(stepTexts)
	if o.Err != nil {
		failed = failedStep(o.Err)
	}
	steps := make([]check, len(stepTexts))
	for i, text := range stepTexts {
		result := "passed"
		switch {
		case i == failed:
			text, result = text+" \u2014 "+o.Reason+": "+o.Err.Error(), "failed"
		case i > failed, i == certificateStep && o.Confirmation.X5T == "", i == proofStep && o.Confirmation.JKT == "":
			result = "skipped"
		}
		steps[i] = check{text, result}
	}
	return steps
}

// failedStep is the step that an error comes from.
func failedStep(err error) int {
	var (
		proof   dpop.ProofError
		request middleware.RequestError
	)
	switch {
	case errors.As(err, new(oidc.TokenError)):
		return tokenStep
	case errors.As(err, new(mtlspop.BindingError)):
		return certificateStep
	case errors.As(err, &proof):
		if proof == dpop.ErrMissing || proof == dpop.ErrMultiple {
			return shapeStep
		}
		return proofStep
	case errors.As(err, &request):
		return requestStep(request)
	}
	return tokenStep // An outage: this program has no other part that can fail.
}

func requestStep(err middleware.RequestError) int {
	policy := []middleware.RequestError{
		middleware.ErrUnbound, middleware.ErrBindingNotConfigured, middleware.ErrDowngrade, middleware.ErrNotForDPoP, middleware.ErrStrayProof,
	}
	switch {
	case slices.Contains(policy, err):
		return policyStep
	case err == middleware.ErrInsufficientScope:
		return rulesStep
	}
	return shapeStep
}

func writeJSON(rw http.ResponseWriter, v any) {
	rw.Header().Set("Content-Type", "application/json")
	json.NewEncoder(rw).Encode(v)
}

package middleware_test

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/keybound-go/middleware"
	"github.com/keybound-go/middleware/dpop"
	"github.com/keybound-go/middleware/middlewaretest"
	"github.com/keybound-go/middleware/mtlspop"
	"github.com/keybound-go/middleware/oidc"
	"github.com/keybound-go/middleware/oidc/clientauth"
	"github.com/keybound-go/middleware/oidc/introspect"
	"github.com/keybound-go/middleware/oidc/oidctest"
	"github.com/keybound-go/middleware/reverseproxy"
	"github.com/keybound-go/middleware/session"
)

// The handlers of the examples.
var orders, payments, report = answerOK, answerOK, answerOK

var answerOK http.Handler = http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})

// A guard for tokens that are bound to a key or to a client certificate.
func ExampleNew() {
	guard, err := middleware.New(
		middleware.WithTokens(oidc.New("https://issuer.example/realms/main", "https://api.example")),
		middleware.WithDPoP(dpop.New("https://api.example")),
		middleware.WithMTLS(mtlspop.New()),
	)
	if err != nil {
		log.Fatal(err) // every mistake in every part, one per line
	}
	server := &http.Server{
		Addr:      ":8443",
		Handler:   guard.Wrap(orders),
		TLSConfig: mtlspop.RequestClientCert(nil), // then: server.ListenAndServeTLS("server.crt", "server.key")
	}

	answer := httptest.NewRecorder()
	server.Handler.ServeHTTP(answer, httptest.NewRequest("GET", "https://api.example/orders", nil))
	fmt.Println(answer.Code)
	for _, challenge := range answer.Header()["Www-Authenticate"] {
		fmt.Println(challenge)
	}
	// Output:
	// 401
	// DPoP realm="api.example", algs="ES256 ES384 ES512 PS256 PS384 PS512 EdDSA Ed25519"
	// Bearer realm="api.example"
}

// A service whose clients do not all know DPoP yet: bearer tokens pass, if they are bound
// to nothing.
func ExampleAllowUnbound() {
	guard, err := middleware.New(
		middleware.WithTokens(oidc.New("https://issuer.example", "https://api.example")),
		middleware.WithDPoP(dpop.New("https://api.example")),
		middleware.AllowUnbound(),
		middleware.WithLogger(slog.New(slog.NewJSONHandler(os.Stderr, nil))),
	)
	if err != nil {
		log.Fatal(err)
	}
	for _, note := range guard.Describe().Notes {
		fmt.Println(note)
	}
	// Output:
	// used proofs are remembered by this process only: with several replicas, a proof is accepted once by each
	// bearer tokens are accepted: tokens that are bound to nothing
	// plain HTTP is accepted: TLS must end in front of the service
}

// Every mistake of every part is reported at once.
func ExampleNew_mistakes() {
	_, err := middleware.New(
		middleware.WithTokens(oidc.New("http://issuer.example", "https://api.example")),
		middleware.WithDPoP(dpop.New("api.example")),
		middleware.WithRules(middleware.Scopes()),
	)
	fmt.Println(err)
	// Output:
	// middleware: WithTokens: oidc: the issuer: http://issuer.example: https is required; for development, DangerouslyAllowLoopbackHTTP permits http to this machine
	// middleware: WithDPoP: dpop: origin "api.example": not of the form https://host
	// middleware: Scopes needs at least one scope
}

// What a handler finds in the context.
func ExampleFromContext() {
	orders := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		credential, ok := middleware.FromContext(r.Context())
		if !ok {
			http.Error(w, "this handler is not behind a guard", http.StatusInternalServerError)
			return
		}
		fmt.Fprintf(w, "orders of %s, for %s\n", credential.Token.Subject, credential.Token.ClientID)
	})

	// A test of the handler gives it a credential as a guard would.
	t := new(testing.T) // a test gets its own
	r := middlewaretest.Request(t, httptest.NewRequest("GET", "/orders", nil),
		middlewaretest.Subject("alice"), middlewaretest.ClientID("app"))
	answer := httptest.NewRecorder()
	orders.ServeHTTP(answer, r)
	fmt.Print(answer.Body)
	// Output: orders of alice, for app
}

// Routes that need more than others: the guards share their parts, and a request is
// verified once.
func ExampleGuard_Require() {
	w := startWorld() // in a test: middlewaretest.NewWorld(t)
	guard := w.Guard(middleware.WithMTLS(mtlspop.New()))
	mux := http.NewServeMux()
	mux.Handle("GET /orders", guard.Wrap(orders))
	mux.Handle("POST /orders", guard.Require(middleware.Scopes("orders:write")).Wrap(orders))
	mux.Handle("/payments/", guard.Require(
		middleware.DPoPBound(),
		middleware.StepUp(5*time.Minute, "urn:example:mfa"),
	).Wrap(payments))
	w.Serve(mux)

	client := w.Client(oidctest.Scope("orders:read"))
	fmt.Println("GET /orders:", status(client, "GET", w.URL+"/orders"))
	fmt.Println("POST /orders:", status(client, "POST", w.URL+"/orders"))
	fmt.Println("GET /payments/1:", status(client, "GET", w.URL+"/payments/1"))
	// Output:
	// GET /orders: 200
	// POST /orders: 403
	// GET /payments/1: 401
}

// A rule of one's own: the tenant in the path must be the tenant in the token.
func ExampleRuleFunc() {
	w := startWorld() // in a test: middlewaretest.NewWorld(t)
	ownTenant := middleware.RuleFunc("tenant of the path", func(r *http.Request, c *middleware.Credential) bool {
		tenants, ok := c.Token.Claim("tenant")
		return ok && len(tenants) == 1 && tenants[0] == r.PathValue("tenant")
	})
	mux := http.NewServeMux()
	mux.Handle("/tenants/{tenant}/orders", w.Guard().Require(ownTenant).Wrap(orders))
	w.Serve(mux)

	client := w.Client(oidctest.Claim("tenant", "acme"))
	fmt.Println("own:", status(client, "GET", w.URL+"/tenants/acme/orders"))
	fmt.Println("another's:", status(client, "GET", w.URL+"/tenants/other/orders"))
	// Output:
	// own: 200
	// another's: 403
}

// One line per refusal: what was wrong, what was expected, and what to change.
func ExampleWithLogger() {
	var lines bytes.Buffer // os.Stderr, in a service
	guard, err := middleware.New(
		middleware.WithTokens(oidc.New("https://issuer.example", "https://api.example")),
		middleware.WithDPoP(dpop.New("https://api.example")),
		middleware.WithLogger(slog.New(slog.NewJSONHandler(&lines, nil))),
	)
	if err != nil {
		log.Fatal(err)
	}
	lines.Reset() // what the guard has to say when it is made
	guard.Wrap(orders).ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/orders", nil))

	var line map[string]any
	if err := json.Unmarshal(lines.Bytes(), &line); err != nil {
		log.Fatal(err)
	}
	fmt.Println(line["level"], line["msg"], line["status"], line["reason"])
	// Output: INFO request refused 401 no_credentials
}

// An observer hears of every decision, accepted ones too: for metrics, or to see which
// clients use DPoP already.
func ExampleWithObserver() {
	w := startWorld() // in a test: middlewaretest.NewWorld(t)
	w.Serve(w.Guard(
		middleware.WithObserver(func(_ context.Context, o middleware.Outcome) {
			fmt.Printf("status %d, scheme %q, reason %q\n", o.Status, o.Scheme, o.Reason) // or your metrics
		}),
	).Wrap(orders))

	status(w.Client(), "GET", w.URL+"/orders")
	status(w.Anonymous(), "GET", w.URL+"/orders")
	// Output:
	// status 0, scheme "DPoP", reason ""
	// status 401, scheme "", reason "no_credentials"
}

// A body of one's own for refusals. The guard has set status-independent fields
// already: challenges, nonce, Cache-Control.
func ExampleWithDenyHandler() {
	problem := func(w http.ResponseWriter, r *http.Request, d middleware.Denial) {
		w.Header().Set("Content-Type", "application/problem+json")
		w.WriteHeader(d.Status)
		json.NewEncoder(w).Encode(map[string]any{"title": d.Description, "status": d.Status})
	}
	guard, err := middleware.New(
		middleware.WithTokens(oidc.New("https://issuer.example", "https://api.example")),
		middleware.WithDPoP(dpop.New("https://api.example")),
		middleware.WithDenyHandler(problem),
	)
	if err != nil {
		log.Fatal(err)
	}

	answer := httptest.NewRecorder()
	r := httptest.NewRequest("GET", "https://api.example/orders", nil)
	r.Header.Set("Authorization", "DPoP not.a.token")
	guard.Wrap(orders).ServeHTTP(answer, r)
	fmt.Println(answer.Code, answer.Header().Get("Content-Type"))
	fmt.Print(answer.Body)
	// Output:
	// 401 application/problem+json
	// {"status":401,"title":"DPoP proof required"}
}

// A server of the Model Context Protocol: the resource identifier is the audience.
func ExampleMCP() {
	const resource = "https://mcp.example/mcp"
	guard, err := middleware.New(
		middleware.WithTokens(oidc.New("https://issuer.example", resource)),
		middleware.WithDPoP(dpop.New("https://mcp.example", dpop.MCP())),
		middleware.MCP(middleware.ProtectedResource{
			Identifier:           resource,
			AuthorizationServers: []string{"https://issuer.example"},
			Scopes:               []string{"tools:call"},
		}),
	)
	if err != nil {
		log.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.Handle("/mcp", guard.Wrap(orders))
	path, document := guard.Metadata()
	mux.Handle(path, document)
	fmt.Println(path)
	// Output: /.well-known/oauth-protected-resource/mcp
}

// A resource server of the FAPI 2.0 Security Profile behind a TLS terminator, with
// tokens that are checked for revocation.
func ExampleFAPI2() {
	secret := cmp.Or(os.Getenv("CLIENT_SECRET"), "the secret of this service")
	issuer, err := oidc.NewIssuer("https://bank.example")
	if err != nil {
		log.Fatal(err)
	}
	tokens, err := issuer.Verifier("https://api.bank.example", oidc.FAPI2())
	if err != nil {
		log.Fatal(err)
	}
	asked, err := introspect.New(issuer, "https://api.bank.example", clientauth.SecretBasic("api", secret))
	if err != nil {
		log.Fatal(err)
	}
	terminator := netip.MustParsePrefix("10.1.2.3/32")
	guard, err := middleware.New(
		middleware.WithTokens(introspect.Then(tokens, asked)),
		middleware.WithDPoP(dpop.New("https://api.bank.example", dpop.FAPI2())),
		middleware.WithMTLS(mtlspop.New(mtlspop.WithForwardedCertificate("Client-Cert", mtlspop.RFC9440, terminator))),
		middleware.FAPI2(),
		middleware.RequireTLS(terminator),
	)
	if err != nil {
		log.Fatal(err)
	}

	// A request that did not come through the terminator is refused.
	answer := httptest.NewRecorder()
	guard.Wrap(payments).ServeHTTP(answer, httptest.NewRequest("GET", "http://api.bank.example/accounts", nil))
	fmt.Println(answer.Code, strings.TrimSpace(answer.Body.String()))
	// Output:
	// 400 {"error":"invalid_request","error_description":"TLS is required"}
}

// A browser application whose token comes once and then stands in an encrypted cookie.
// A bound token still needs its proof with every request.
func ExampleWithSession() {
	cookieKey := make([]byte, 32) // from where secrets are kept: the same on every replica
	rand.Read(cookieKey)
	w := startWorld() // in a test: middlewaretest.NewWorld(t)
	w.Serve(w.Guard(middleware.WithSession(session.New(cookieKey))).Wrap(orders))

	resp, err := w.Client().Get(w.URL + "/orders")
	if err != nil {
		log.Fatal(err)
	}
	resp.Body.Close()
	cookie := resp.Cookies()[0]
	fmt.Println(resp.StatusCode, "and a cookie that scripts can read:", !cookie.HttpOnly)

	thief := w.Anonymous()
	r, _ := http.NewRequest("GET", w.URL+"/orders", nil)
	r.AddCookie(cookie)
	resp, err = thief.Do(r)
	if err != nil {
		log.Fatal(err)
	}
	resp.Body.Close()
	fmt.Println(resp.StatusCode, "for a cookie without a proof")
	// Output:
	// 200 and a cookie that scripts can read: false
	// 401 for a cookie without a proof
}

// A rollout of DPoP without an outage: report who would be refused, then enforce.
func ExampleStaged() {
	stage := new(middleware.Stage) // one for each rule
	stage.Set(middleware.Report)   // before serving: the zero Stage enforces
	w := startWorld()              // in a test: middlewaretest.NewWorld(t)
	w.Serve(w.Guard(
		middleware.AllowUnbound(),
		middleware.WithRules(middleware.Staged(middleware.Bound(), stage)),
		middleware.WithLogger(slog.Default()), // a line for each request that would be refused, with its client
	).Wrap(orders))
	call := func() int { // a client that does not know DPoP yet
		r, _ := http.NewRequest("GET", w.URL+"/orders", nil)
		r.Header.Set("Authorization", "Bearer "+w.Issuer.Token(oidctest.ForClient("app")))
		resp, err := w.Anonymous().Do(r)
		if err != nil {
			log.Fatal(err)
		}
		resp.Body.Close()
		return resp.StatusCode
	}
	fmt.Println("report:", call())

	// Client by client: what a function chooses stands before what Set says.
	ready := map[string]bool{"app": true}
	stage.Choose(func(c *middleware.Credential) middleware.Level {
		if ready[c.Token.ClientID] {
			return middleware.Enforce
		}
		return middleware.Report
	})
	fmt.Println("enforced for this client:", call())

	// Once the log names no client that you would lose:
	stage.Set(middleware.Enforce)
	stage.Choose(nil)

	// Back at once, for all clients:
	stage.Set(middleware.Report)
	stage.Choose(nil)
	fmt.Println("report again:", call())
	// Output:
	// report: 200
	// enforced for this client: 401
	// report again: 200
}

// Readiness, and the state for operators, on a listener of their own.
func ExampleGuard_Ready() {
	guard := startWorld().Guard() // in a service: middleware.New
	admin := http.NewServeMux()   // on an address that clients do not reach
	admin.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) {
		if err := guard.Ready(r.Context()); err != nil {
			slog.Error("not ready", "error", err)
			http.Error(w, "not ready", http.StatusServiceUnavailable)
		}
	})
	admin.HandleFunc("GET /status", func(w http.ResponseWriter, r *http.Request) {
		json.NewEncoder(w).Encode(guard.Status())
	})

	answer := httptest.NewRecorder()
	admin.ServeHTTP(answer, httptest.NewRequest("GET", "/readyz", nil))
	fmt.Println(answer.Code)
	// Output: 200
}

// A service in another language behind the guard.
func Example_reverseProxy() {
	service := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "the service knows %q as X-User\n", r.Header.Get("X-User"))
	}))
	defer service.Close()
	target, err := url.Parse(service.URL)
	if err != nil {
		log.Fatal(err)
	}
	proxy, err := reverseproxy.New(target, reverseproxy.WithIdentityHeaders("X-User"))
	if err != nil {
		log.Fatal(err)
	}
	w := startWorld() // in a test: middlewaretest.NewWorld(t)
	w.Serve(w.Guard().Wrap(proxy))

	r, _ := http.NewRequest("GET", w.URL+"/orders", nil)
	r.Header.Set("X-User", "admin") // what a client says of itself does not arrive
	resp, err := w.Client().Do(r)
	if err != nil {
		log.Fatal(err)
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(resp.Body)
	fmt.Print(resp.StatusCode, ": ", string(body))
	// Output: 200: the service knows "" as X-User
}

// The zero Guard refuses, so that a mistake in wiring does not open a route.
func ExampleGuard() {
	var forgotten middleware.Guard
	answer := httptest.NewRecorder()
	forgotten.Wrap(report).ServeHTTP(answer, httptest.NewRequest("GET", "/report", nil))
	fmt.Println(answer.Code)
	// Output: 503
}

// startWorld starts an issuer and a server: what middlewaretest.NewWorld gives to a test.
func startWorld() *middlewaretest.World { return middlewaretest.NewWorld(new(testing.T)) }

// status returns the status of one request.
func status(client *http.Client, method, url string) int {
	r, err := http.NewRequest(method, url, nil)
	if err != nil {
		log.Fatal(err)
	}
	resp, err := client.Do(r)
	if err != nil {
		log.Fatal(err)
	}
	resp.Body.Close()
	return resp.StatusCode
}

package middleware_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"os"
	"time"

	"github.com/keybound-go/middleware"
	"github.com/keybound-go/middleware/dpop"
	"github.com/keybound-go/middleware/mtlspop"
	"github.com/keybound-go/middleware/oidc"
	"github.com/keybound-go/middleware/oidc/clientauth"
	"github.com/keybound-go/middleware/oidc/introspect"
	"github.com/keybound-go/middleware/reverseproxy"
	"github.com/keybound-go/middleware/session"
)

var (
	orders, payments, report http.Handler
	cookieKey, nonceKey      []byte
)

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
		TLSConfig: mtlspop.RequestClientCert(nil),
	}
	log.Fatal(server.ListenAndServeTLS("server.crt", "server.key"))
}

// Every mistake of every part is reported at once.
func ExampleNew_mistakes() {
	_, err := middleware.New(
		middleware.WithTokens(oidc.New("http://issuer.example", "https://api.example")),
		middleware.WithDPoP(dpop.New("api.example")),
		middleware.WithRules(middleware.Scopes()),
	)
	fmt.Println(err != nil)
	// Output: true
}

// What a handler finds in the context.
func ExampleFromContext() {
	orders = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		credential, ok := middleware.FromContext(r.Context())
		if !ok {
			http.Error(w, "this handler is not behind a guard", http.StatusInternalServerError)
			return
		}
		fmt.Fprintf(w, "orders of %s, for %s\n", credential.Token.Subject, credential.Token.ClientID)
	})
}

// Routes that need more than others: the guards share their parts, and a request is
// verified once.
func ExampleGuard_Require() {
	guard := newGuard()
	mux := http.NewServeMux()
	mux.Handle("GET /orders", guard.Wrap(orders))
	mux.Handle("POST /orders", guard.Require(middleware.Scopes("orders:write")).Wrap(orders))
	mux.Handle("/payments/", guard.Require(
		middleware.DPoPBound(),
		middleware.StepUp(5*time.Minute, "urn:example:mfa"),
	).Wrap(payments))
}

// A rule of one's own: the tenant in the path must be the tenant in the token.
func ExampleRuleFunc() {
	guard := newGuard()
	ownTenant := middleware.RuleFunc("tenant of the path", func(r *http.Request, c *middleware.Credential) bool {
		tenants, ok := c.Token.Claim("tenant")
		return ok && len(tenants) == 1 && tenants[0] == r.PathValue("tenant")
	})
	http.Handle("/tenants/{tenant}/orders", guard.Require(ownTenant).Wrap(orders))
}

// One line per refusal: what was wrong, what was expected, and what to change.
func ExampleWithLogger() {
	guard, err := middleware.New(
		middleware.WithTokens(oidc.New("https://issuer.example", "https://api.example")),
		middleware.WithDPoP(dpop.New("https://api.example")),
		middleware.WithLogger(slog.New(slog.NewJSONHandler(os.Stderr, nil))),
	)
	if err != nil {
		log.Fatal(err)
	}
	http.Handle("/", guard.Wrap(orders))
}

// An observer hears of every decision, accepted ones too: for metrics, or to see which
// clients use DPoP already.
func ExampleWithObserver() {
	count := func(name string, labels ...string) { /* your metrics */ }
	guard, err := middleware.New(
		middleware.WithTokens(oidc.New("https://issuer.example", "https://api.example")),
		middleware.WithDPoP(dpop.New("https://api.example")),
		middleware.AllowUnbound(),
		middleware.WithObserver(func(_ context.Context, o middleware.Outcome) {
			count("decisions", o.Reason, o.Scheme)
		}),
	)
	if err != nil {
		log.Fatal(err)
	}
	http.Handle("/", guard.Wrap(orders))
}

// A body of one's own for refusals. The guard has set status-independent fields
// already: challenges, nonce, Cache-Control.
func ExampleWithDenyHandler() {
	_ = middleware.WithDenyHandler(func(w http.ResponseWriter, r *http.Request, d middleware.Denial) {
		w.Header().Set("Content-Type", "application/problem+json")
		w.WriteHeader(d.Status)
		json.NewEncoder(w).Encode(map[string]any{"title": d.Description, "status": d.Status})
	})
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
	issuer, err := oidc.NewIssuer("https://bank.example")
	if err != nil {
		log.Fatal(err)
	}
	tokens, err := issuer.Verifier("https://api.bank.example", oidc.FAPI2())
	if err != nil {
		log.Fatal(err)
	}
	asked, err := introspect.New(issuer, "https://api.bank.example", clientauth.SecretBasic("api", os.Getenv("CLIENT_SECRET")))
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
	http.Handle("/", guard.Wrap(payments))
}

// A browser application whose token comes once and then stands in an encrypted cookie.
// A bound token still needs its proof with every request.
func ExampleWithSession() {
	guard, err := middleware.New(
		middleware.WithTokens(oidc.New("https://issuer.example", "https://api.example")),
		middleware.WithDPoP(dpop.New("https://api.example")),
		middleware.WithSession(session.New(cookieKey)),
	)
	if err != nil {
		log.Fatal(err)
	}
	http.Handle("/", guard.Wrap(orders))
}

// A rollout of DPoP without an outage: report who would be refused, then enforce.
func ExampleStaged() {
	stage := new(middleware.Stage) // one for each rule
	stage.Set(middleware.Report)   // before serving: the zero Stage enforces
	guard, err := middleware.New(
		middleware.WithTokens(oidc.New("https://issuer.example", "https://api.example")),
		middleware.WithDPoP(dpop.New("https://api.example")),
		middleware.AllowUnbound(),
		middleware.WithRules(middleware.Staged(middleware.Bound(), stage)),
		middleware.WithLogger(slog.Default()), // a line for each request that would be refused, with its client
	)
	if err != nil {
		log.Fatal(err)
	}
	http.Handle("/", guard.Wrap(orders))

	// Client by client: what a function chooses stands before what Set says.
	ready := map[string]bool{"app": true}
	stage.Choose(func(c *middleware.Credential) middleware.Level {
		if ready[c.Token.ClientID] {
			return middleware.Enforce
		}
		return middleware.Report
	})

	// Once the log names no client that you would lose:
	stage.Set(middleware.Enforce)
	stage.Choose(nil)

	// Back at once, for all clients:
	stage.Set(middleware.Report)
	stage.Choose(nil)
}

// Readiness, and the state for operators, on a listener of their own.
func ExampleGuard_Ready() {
	guard := newGuard()
	admin := http.NewServeMux() // on an address that clients do not reach
	admin.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) {
		if err := guard.Ready(r.Context()); err != nil {
			slog.Error("not ready", "error", err)
			http.Error(w, "not ready", http.StatusServiceUnavailable)
		}
	})
	admin.HandleFunc("GET /status", func(w http.ResponseWriter, r *http.Request) {
		json.NewEncoder(w).Encode(guard.Status())
	})
	go http.ListenAndServe("127.0.0.1:9090", admin)
}

// A service in another language behind the guard.
func Example_reverseProxy() {
	guard := newGuard()
	target, err := url.Parse("http://127.0.0.1:8080")
	if err != nil {
		log.Fatal(err)
	}
	proxy, err := reverseproxy.New(target)
	if err != nil {
		log.Fatal(err)
	}
	log.Fatal(http.ListenAndServeTLS(":8443", "server.crt", "server.key", guard.Wrap(proxy)))
}

// The zero Guard refuses, so that a mistake in wiring does not open a route.
func ExampleGuard() {
	var forgotten middleware.Guard
	answer := httptest.NewRecorder()
	forgotten.Wrap(report).ServeHTTP(answer, httptest.NewRequest("GET", "/report", nil))
	fmt.Println(answer.Code)
	// Output: 503
}

func init() {
	orders, payments, report = http.NotFoundHandler(), http.NotFoundHandler(), http.NotFoundHandler()
}

// newGuard is the guard of the examples.
func newGuard() *middleware.Guard {
	guard, err := middleware.New(
		middleware.WithTokens(oidc.New("https://issuer.example", "https://api.example")),
		middleware.WithDPoP(dpop.New("https://api.example", dpop.WithNonces(dpop.NewNonces(nonceKey)))),
		middleware.WithMTLS(mtlspop.New()),
	)
	if err != nil {
		log.Fatal(err)
	}
	return guard
}

package mcpguard_test

import (
	"context"
	"fmt"
	"log"
	"net/http/httptest"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/keybound-go/middleware"
	"github.com/keybound-go/middleware/dpop"
	"github.com/keybound-go/middleware/mcpguard"
	"github.com/keybound-go/middleware/oidc"
)

func newServer(opts ...mcpguard.Option) *mcpguard.Handler {
	const resource = "https://api.example/mcp"
	server := mcp.NewServer(&mcp.Implementation{Name: "shop", Version: "v1.0.0"}, nil)
	handler, err := mcpguard.New(server, append(opts, mcpguard.WithGuard(middleware.New(
		middleware.WithTokens(oidc.New("https://issuer.example", resource)),
		middleware.WithDPoP(dpop.New("https://api.example", dpop.MCP())),
		middleware.MCP(middleware.ProtectedResource{Identifier: resource, AuthorizationServers: []string{"https://issuer.example"}}),
	)))...)
	if err != nil {
		log.Fatal(err) // every mistake, one per line
	}
	return handler
}

// A guarded server: a client without a token learns where to get one.
func ExampleNew() {
	w := httptest.NewRecorder()
	newServer().ServeHTTP(w, httptest.NewRequest("POST", "https://api.example/mcp", nil))
	fmt.Println(w.Code, len(w.Header().Values("WWW-Authenticate")) > 0)
	// Output: 401 true
}

// Tools by the scopes that they need. A tool that the table does not name cannot be
// called.
func ExampleWithToolScopes() {
	handler := newServer(
		mcpguard.WithToolScopes(map[string][]string{"greet": nil, "refund": {"payments:write"}}),
		mcpguard.WithOrigins("https://app.example"),
	)
	fmt.Println(handler != nil)
	// Output: true
}

// A tool that needs a scope for some arguments only. Outside of a guarded call every scope
// is missing.
func ExampleRequireScopes() {
	refund := func(ctx context.Context, amount int) error {
		if amount > 100 {
			return mcpguard.RequireScopes(ctx, "payments:large")
		}
		return nil
	}
	fmt.Println(refund(context.Background(), 5), refund(context.Background(), 500) != nil)
	// Output: <nil> true
}

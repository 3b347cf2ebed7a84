// Server is an MCP server behind a guard: one tool for every caller, and one that needs
// a scope.
package main

import (
	"context"
	"log"
	"log/slog"
	"net/http"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/keybound-go/middleware"
	"github.com/keybound-go/middleware/dpop"
	"github.com/keybound-go/middleware/mcpguard"
	"github.com/keybound-go/middleware/oidc"
)

const (
	issuer = "http://127.0.0.1:9500"
	origin = "http://localhost:8080"
)

func main() {
	handler, err := newHandler(issuer, origin, oidc.DangerouslyAllowLoopbackHTTP())
	if err != nil {
		log.Fatal(err) // every mistake, one per line
	}
	s := &http.Server{Addr: "localhost:8080", Handler: handler, ReadHeaderTimeout: 5 * time.Second}
	log.Fatal(s.ListenAndServe())
}

func newHandler(issuer, origin string, opts ...oidc.Option) (*mcpguard.Handler, error) {
	server := mcp.NewServer(&mcp.Implementation{Name: "shop", Version: "v1.0.0"}, nil)
	mcp.AddTool(server, &mcp.Tool{Name: "greet", Description: "greets the caller"}, greet)
	mcp.AddTool(server, &mcp.Tool{Name: "refund", Description: "pays for an order"}, refund)

	resource := origin + "/mcp" // what clients connect to, and the audience of their tokens
	return mcpguard.New(server,
		mcpguard.WithGuard(middleware.New(
			middleware.WithTokens(oidc.New(issuer, resource, opts...)),
			middleware.WithDPoP(dpop.New(origin, dpop.MCP())),
			middleware.MCP(middleware.ProtectedResource{
				Identifier:           resource,
				AuthorizationServers: []string{issuer},
				Scopes:               []string{"tools:call"},
			}),
			middleware.WithLogger(slog.Default()),
		)),
		mcpguard.WithToolScopes(map[string][]string{"greet": nil, "refund": {"payments:write"}}),
	)
}

type order struct {
	Number string `json:"number" jsonschema:"the order to pay for"`
}

func greet(ctx context.Context, _ *mcp.CallToolRequest, _ struct{}) (*mcp.CallToolResult, any, error) {
	credential, _ := middleware.FromContext(ctx)
	return text("hello " + credential.Token.Subject), nil, nil
}

func refund(_ context.Context, _ *mcp.CallToolRequest, in order) (*mcp.CallToolResult, any, error) {
	return text("paid for " + in.Number), nil, nil
}

func text(s string) *mcp.CallToolResult {
	return &mcp.CallToolResult{Content: []mcp.Content{&mcp.TextContent{Text: s}}}
}

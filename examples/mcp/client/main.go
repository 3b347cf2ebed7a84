// Client calls the tools of an MCP server with a token that is bound to its key. Its
// arguments are the scopes to ask for.
package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"flag"
	"fmt"
	"log"
	"net/http"

	"github.com/modelcontextprotocol/go-sdk/mcp"
	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"

	"github.com/keybound-go/middleware/dpop/dpopclient"
)

func main() {
	tokenEndpoint := flag.String("token-endpoint", "http://127.0.0.1:9500/token", "where the issuer gives out tokens")
	origin := flag.String("origin", "http://localhost:8080", "where the MCP server is")
	flag.Parse()
	ctx := context.Background()
	client, err := newClient(ctx, *tokenEndpoint, *origin, flag.Args(), dpopclient.DangerouslyAllowLoopbackHTTP())
	if err != nil {
		log.Fatal(err)
	}
	session, err := connect(ctx, client, *origin+"/mcp")
	if err != nil {
		log.Fatal(err)
	}
	defer session.Close()
	fmt.Println("greet", call(ctx, session, "greet", map[string]any{}))
	fmt.Println("refund", call(ctx, session, "refund", map[string]any{"number": "4711"}))
}

// newClient returns an HTTP client with a key, a token for these scopes that is bound to
// the key, and a proof for each request. It can be the HTTPClient of any Go client.
func newClient(ctx context.Context, tokenEndpoint, origin string, scopes []string, opts ...dpopclient.Option) (*http.Client, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	forTokens, err := dpopclient.New(key, append(opts, dpopclient.WithTokenEndpoint(tokenEndpoint))...)
	if err != nil {
		return nil, err
	}
	config := clientcredentials.Config{ClientID: "app", ClientSecret: "secret", TokenURL: tokenEndpoint, Scopes: scopes}
	source := config.TokenSource(context.WithValue(ctx, oauth2.HTTPClient, &http.Client{Transport: forTokens}))
	forCalls, err := dpopclient.New(key, append(opts, dpopclient.WithOrigins(origin),
		dpopclient.WithTokenSource(dpopclient.TokenSourceFunc(func(context.Context) (string, string, error) {
			t, err := source.Token()
			if err != nil {
				return "", "", err
			}
			return t.AccessToken, t.TokenType, nil
		})))...)
	if err != nil {
		return nil, err
	}
	return &http.Client{Transport: forCalls}, nil
}

func connect(ctx context.Context, client *http.Client, endpoint string) (*mcp.ClientSession, error) {
	return mcp.NewClient(&mcp.Implementation{Name: "shopper", Version: "v1.0.0"}, nil).
		Connect(ctx, &mcp.StreamableClientTransport{Endpoint: endpoint, HTTPClient: client}, nil)
}

func call(ctx context.Context, session *mcp.ClientSession, tool string, arguments any) string {
	result, err := session.CallTool(ctx, &mcp.CallToolParams{Name: tool, Arguments: arguments})
	if err != nil {
		return "refused: " + err.Error()
	}
	return result.Content[0].(*mcp.TextContent).Text
}

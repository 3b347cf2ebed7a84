// Package mcpguard answers "may this message reach the MCP server?" for servers of the
// official Go SDK, github.com/modelcontextprotocol/go-sdk. It puts a
// [middleware.Guard] in front of the SDK's streamable HTTP transport:
//
//	handler, err := mcpguard.New(server,
//		mcpguard.WithGuard(middleware.New(
//			middleware.WithTokens(oidc.New("https://issuer.example", "https://mcp.example/mcp")),
//			middleware.WithDPoP(dpop.New("https://mcp.example", dpop.MCP())),
//			middleware.MCP(middleware.ProtectedResource{
//				Identifier:           "https://mcp.example/mcp",
//				AuthorizationServers: []string{"https://issuer.example"},
//			}))),
//		mcpguard.WithToolScopes(map[string][]string{
//			"greet":  nil,
//			"refund": {"payments:write"},
//		}))
//	if err != nil {
//		log.Fatal(err) // every mistake, one per line
//	}
//	http.ListenAndServe(":8080", handler)
//
// Every decision about tokens, proofs and certificates is the Guard's. This package adds
// what the two sides need to know of each other:
//
//   - The SDK gets an auth.TokenInfo with every message, whatever the scheme was. Its
//     UserID is the owner of a session, so that the SDK answers 403 to a message, stream
//     or DELETE on the session of another; see [New].
//   - In the SDK's handlers [middleware.FromContext] finds the credential of the very
//     message. Without this package it finds that of the message which began the session:
//     the SDK keeps the context of that one for as long as the session lasts. Add
//     receiving middleware of your own before [New]: what is added later runs outside of
//     ours, without a credential.
//   - A tool that needs scopes ([WithToolScopes], [WithScopes]) is refused with 403 and a
//     challenge that names them, so that clients can ask the user for more. The same is
//     checked again where the SDK has read the message, with a JSON-RPC error.
//   - Browsers: a page of another origin is refused unless [WithOrigins] names it, and
//     one that is named reads and sends the fields that a client needs. A Host that is
//     not the server's own is refused, which ends DNS rebinding.
//   - A stream ends when its token does; the client resumes it with the next one.
//
// # What it does not do
//
// It does not guard the SDK's older SSE transport, which does not check who a session
// belongs to, nor stdio. A tool call that has begun goes on when its token ends: a tool
// that must not outlive it watches Token.Expiry.
package mcpguard

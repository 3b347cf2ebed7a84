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
// what the Guard and the SDK need to know of each other:
//
//   - The SDK gets an auth.TokenInfo with every message, whatever the scheme was. Its
//     UserID is the owner of a session, so that the SDK answers 403 to a message, stream
//     or DELETE on the session of another user or client; see [New].
//   - In the SDK's handlers [middleware.FromContext] finds the credential of the message
//     being handled. Without this package it finds that of the message that began the
//     session: the SDK keeps that message's context as long as the session lasts. Add
//     your own receiving middleware before [New]: middleware that is added later runs
//     outside of this package's, without a credential.
//   - A tool that needs scopes ([WithToolScopes], [WithScopes]) is refused with 403 and a
//     challenge that names them, so that clients can ask the user for more. The scopes
//     are checked again once the SDK has read the message; that refusal is a JSON-RPC
//     error.
//   - Browsers: requests of a page of another origin are refused unless [WithOrigins]
//     names the origin. Pages of a named origin can send and read the fields that a
//     client needs. A Host that is not the server's own is refused, which prevents DNS
//     rebinding.
//   - A stream ends when its token does; the client resumes it with the next one.
//
// # What it does not do
//
// It guards neither stdio nor the SDK's older SSE transport, which does not check which
// user a session belongs to. A tool call that has begun goes on when its token ends: a
// tool that must not outlive it watches Token.Expiry.
package mcpguard

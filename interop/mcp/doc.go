// Package mcp holds a server that is guarded by mcpguard against the MCP project's own
// tests (npm: @modelcontextprotocol/conformance) and against a client of its TypeScript
// SDK that makes DPoP proofs. interop/run mcp installs both.
package mcp

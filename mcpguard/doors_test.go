package mcpguard_test

import (
	"io"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/modelcontextprotocol/go-sdk/mcp"
	"github.com/stretchr/testify/require"

	"github.com/keybound-go/middleware"
	"github.com/keybound-go/middleware/internal/corpus"
	"github.com/keybound-go/middleware/internal/doors"
	"github.com/keybound-go/middleware/mcpguard"
)

// The corpus, as calls of a tool. The guards of the corpus lack the preset MCP, so the
// test builds the door without New's check for it.
func TestDoors(t *testing.T) {
	doors.Run(t, doors.Door{
		Name: "mcpguard", Folder: "mcpguard",
		Place: corpus.Place{Origin: "https://api.example", Method: "POST", Target: "/r"},
		Cannot: func(c corpus.Case) string {
			if c.Request.Host != "" {
				return "The door refuses a Host that is not the server's own, with 403, before it asks the guard."
			}
			return ""
		},
		Open: func(t *testing.T, g *middleware.Guard) func(doors.Question) doors.Answer {
			called := false
			server := mcp.NewServer(&mcp.Implementation{Name: "t", Version: "1"}, nil)
			mcp.AddTool(server, &mcp.Tool{Name: "look"}, func(ctx, *mcp.CallToolRequest, nothing) (*mcp.CallToolResult, any, error) {
				called = true
				return &mcp.CallToolResult{}, nil, nil
			})
			h, err := mcpguard.Assembled(server, g, "https://api.example/r", mcp.StreamableHTTPOptions{Stateless: true})
			require.NoError(t, err)
			return func(q doors.Question) doors.Answer {
				called = false
				body := rpc(1, "look")
				r := q.Request
				r.Body, r.ContentLength = io.NopCloser(strings.NewReader(body)), int64(len(body))
				r.Header.Set("Content-Type", "application/json")
				r.Header.Set("Accept", "application/json, text/event-stream")
				rec := httptest.NewRecorder()
				h.Endpoint().ServeHTTP(rec, r)
				return doors.Answer{Passed: called, Status: rec.Code, Header: rec.Header()}
			}
		},
	})
}

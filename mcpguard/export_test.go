package mcpguard

import (
	"net/http"
	"net/url"
	"weak"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/keybound-go/middleware"
	"github.com/keybound-go/middleware/internal/options"
)

// EndpointOf is the endpoint with another handler in place of the SDK's.
func (h *Handler) EndpointOf(sdk http.Handler) http.Handler { return h.guarded(sdk) }

// Assembled is the Handler of a guard that New would refuse, since it is without the
// preset MCP.
func Assembled(server *mcp.Server, g *middleware.Guard, resource string, transport mcp.StreamableHTTPOptions) (*Handler, error) {
	u, err := url.Parse(resource)
	if err != nil {
		return nil, err
	}
	c := &config{Set: options.For("mcpguard"), guard: g, transport: transport, servers: func(*http.Request) *mcp.Server { return server }}
	h := &Handler{config: c, installed: make(map[weak.Pointer[mcp.Server]]bool)}
	h.assemble(u)
	h.install(server)
	return h, c.Err()
}

// OriginOf is the origin of a URL as browsers send it.
func OriginOf(u *url.URL) string { return originOf(u) }

// Installed is how many servers have the middleware of the Handler.
func (h *Handler) Installed() int {
	h.installing.Lock()
	defer h.installing.Unlock()
	return len(h.installed)
}

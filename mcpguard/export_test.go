package mcpguard

import "net/http"

// EndpointOf is the endpoint with another handler in place of the SDK's.
func (h *Handler) EndpointOf(sdk http.Handler) http.Handler { return h.guarded(sdk) }

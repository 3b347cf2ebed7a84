package mcpguard

import (
	"maps"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/keybound-go/middleware"
	"github.com/keybound-go/middleware/internal/options"
)

// Option is a setting of [New].
type Option interface{ apply(*config) }

type optionFunc func(*config)

func (f optionFunc) apply(c *config) { f(c) }

// config is a Handler in the making.
type config struct {
	*options.Set
	guard      *middleware.Guard
	servers    func(*http.Request) *mcp.Server
	transport  mcp.StreamableHTTPOptions
	origins    []string
	hosts      []string
	tools      map[string][]string
	scopes     func(method, name string) []string
	bindsToKey bool
}

func once(name string, set func(*config)) Option {
	return optionFunc(func(c *config) {
		if c.Once(name) {
			set(c)
		}
	})
}

func value[T any](name string, v T, set func(*config)) Option {
	return optionFunc(func(c *config) {
		if options.Value(c.Set, name, v) {
			set(c)
		}
	})
}

// WithGuard sets the guard that decides. It takes what [middleware.New] returns; the
// guard must have the preset [middleware.MCP]. Required.
func WithGuard(g *middleware.Guard, err error) Option {
	return optionFunc(func(c *config) {
		if options.Part(c.Set, "WithGuard", g, err) {
			c.guard = g
		}
	})
}

// WithServers chooses the server of each session, and of each request where there are no
// sessions, such as one with the tools of the user: in the context of r
// [middleware.FromContext] finds the credential. The server given to [New] must be nil
// then. f may be called several times for a request, and concurrently. It may return nil,
// which is answered with 400.
func WithServers(f func(r *http.Request) *mcp.Server) Option {
	return value("WithServers", f, func(c *config) { c.servers = f })
}

// WithTransport sets the options of the SDK's transport: sessions or none, JSON or
// streams, an event store, limits. DisableLocalhostProtection is set in any case, since
// New's own check of the Host field takes its place.
func WithTransport(o *mcp.StreamableHTTPOptions) Option {
	return value("WithTransport", o, func(c *config) { c.transport = *o })
}

// WithOrigins lets scripts of these origins use the server from a browser, such as
// "https://app.example". They may send every field that MCP, DPoP and OAuth need, and
// read Mcp-Session-Id, WWW-Authenticate and DPoP-Nonce. Requests from every other origin,
// except the server's own, are refused with 403. The option does not concern requests
// without Origin: browsers always send it for scripts of another origin.
func WithOrigins(origins ...string) Option {
	origins = slices.Clone(origins)
	return once("WithOrigins", func(c *config) {
		if len(origins) == 0 {
			c.Problem("WithOrigins: no origin given")
		}
		for _, o := range origins {
			if !isOrigin(o) {
				c.Problem("WithOrigins: %q is not an origin as browsers send it, such as https://app.example", o)
			}
		}
		c.origins = origins
	})
}

// isOrigin reports whether o is the serialization of one origin.
func isOrigin(o string) bool {
	u, err := url.Parse(o)
	return err == nil && u.Host != "" && o == u.Scheme+"://"+u.Host && o == strings.ToLower(o) && !strings.Contains(o, "*") &&
		(u.Scheme == "http" && u.Port() != "80" || u.Scheme == "https" && u.Port() != "443")
}

// originOf is the origin of a URL as browsers send it.
func originOf(u *url.URL) string {
	host := strings.ToLower(u.Host)
	if port := u.Port(); port == "" || u.Scheme == "https" && port == "443" || u.Scheme == "http" && port == "80" {
		host = strings.TrimSuffix(host, ":"+port)
	}
	return strings.ToLower(u.Scheme) + "://" + host
}

// WithHosts adds values of the Host field under which requests may come, such as the
// name that a proxy in front puts there. The host of the resource identifier, "localhost"
// and IP addresses need no option: no page of an attacker has such an origin. The port of
// a request is compared only if the value given here has one.
func WithHosts(hosts ...string) Option {
	hosts = slices.Clone(hosts)
	return once("WithHosts", func(c *config) {
		if len(hosts) == 0 {
			c.Problem("WithHosts: no host given")
		}
		for _, h := range hosts {
			if u, err := url.Parse("http://" + h); err != nil || u.Host != h || u.Hostname() == "" || strings.Contains(h, "*") {
				c.Problem("WithHosts: %q is not a host", h)
			}
		}
		c.hosts = hosts
	})
}

// WithToolScopes sets which scopes each tool needs, all of them. Name a tool that needs
// no scopes with an empty list. A tool that is not named cannot be called and is not
// listed, so that a misspelt name opens no tool. It is logged once, by the logger of
// [WithTransport] or by slog.Default().
func WithToolScopes(tools map[string][]string) Option {
	return value("WithToolScopes", tools, func(c *config) {
		c.tools = make(map[string][]string, len(tools))
		for name, scopes := range maps.Clone(tools) {
			c.tools[name] = slices.Clone(scopes)
		}
	})
}

// WithScopes sets a function that says which scopes a message needs, all of them, beside
// what [WithToolScopes] demands: for prompts, resources, and whatever else has names of
// its own. method is the JSON-RPC method, such as "prompts/get", and name that of the
// tool or prompt or the URI of the resource, or "" where the method has none; for
// "completion/complete" it is that of the prompt or resource that is referred to. For
// each resource that a "subscriptions/listen" names, f is asked about
// "resources/subscribe" as well. f may be called concurrently, and several times for one
// message.
func WithScopes(f func(method, name string) []string) Option {
	return value("WithScopes", f, func(c *config) { c.scopes = f })
}

// BindSessionsToKey makes the key or certificate that a token is bound to part of the
// owner of a session: a token of the same user and client that is bound to another one
// is refused there with 403. Clients that change their key must begin a new session.
func BindSessionsToKey() Option {
	return once("BindSessionsToKey", func(c *config) { c.bindsToKey = true })
}

// hostName is the host of a Host field in lower case, and its port or "".
func hostName(field string) (name, port string) {
	u := url.URL{Host: strings.ToLower(field)}
	return strings.TrimSuffix(u.Hostname(), "."), u.Port()
}

// isAddress reports whether a host is an IP address or localhost.
func isAddress(host string) bool {
	_, err := netip.ParseAddr(host)
	return err == nil || host == "localhost"
}

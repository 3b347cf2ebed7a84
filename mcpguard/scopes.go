package mcpguard

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/keybound-go/middleware"
	"github.com/keybound-go/middleware/internal/strictjson"
)

// CodeInsufficientScope is the code of the JSON-RPC error for a message whose token lacks
// scopes. Its data is an object with the member scope, a list of what is needed.
const CodeInsufficientScope = -32003

const methodCallTool = "tools/call"

// RequireScopes returns nil if the token of the message has all the scopes, and otherwise
// an error that a handler of the SDK returns. It is for scopes that depend on the
// arguments. If they depend on the name of the tool alone, use [WithToolScopes]: clients
// ask the user for more scopes only after a 403. ctx is that of the SDK's handler.
func RequireScopes(ctx context.Context, scopes ...string) error {
	c, _ := middleware.FromContext(ctx)
	if has(c, scopes) {
		return nil
	}
	return insufficient(scopes)
}

func has(c *middleware.Credential, scopes []string) bool {
	return !slices.ContainsFunc(scopes, func(s string) bool { return c == nil || !slices.Contains(c.Token.Scopes, s) })
}

func insufficient(scopes []string) error {
	data, err := json.Marshal(map[string]any{"scope": scopes})
	if err != nil {
		return err // Invariant: strings marshal.
	}
	return &jsonrpc.Error{Code: CodeInsufficientScope, Message: "insufficient_scope: the token lacks " + strings.Join(scopes, " "), Data: data}
}

// message is what decides which scopes a message needs.
type message struct{ method, name string }

// needed returns the scopes that a message needs.
func (h *Handler) needed(m message) (scopes []string, err error) {
	if h.tools != nil && m.method == methodCallTool {
		var named bool
		if scopes, named = h.tools[m.name]; !named {
			return nil, errUnnamed
		}
	}
	if h.scopes != nil {
		var more []string
		err = recovered("the function of WithScopes", func() { more = h.scopes(m.method, m.name) })
		scopes = slices.Concat(scopes, more)
	}
	return scopes, err
}

var errUnnamed = errors.New("mcpguard: a tool that WithToolScopes does not name")

// receive handles every message once the SDK has read it. It puts the credential of this
// message into the context, and refuses a message whose token lacks scopes. stepUp has
// already refused with 403 the messages that it could read itself, for the client's sake.
func (h *Handler) receive(next mcp.MethodHandler) mcp.MethodHandler {
	return func(ctx context.Context, method string, req mcp.Request) (mcp.Result, error) {
		var c *middleware.Credential
		if extra := req.GetExtra(); extra != nil && extra.TokenInfo != nil {
			if call, ok := callFrom(extra.TokenInfo); ok {
				if call.handler != h {
					return next(ctx, method, req) // another Handler of the same server decides
				}
				c = call.credential
			}
			with, err := withTokenInfo(ctx, extra.TokenInfo)
			if err != nil {
				return nil, err
			}
			ctx = with
		}
		ctx = middleware.NewContext(ctx, c)
		for _, m := range messagesOf(method, req.GetParams()) {
			scopes, err := h.needed(m)
			switch {
			case err == errUnnamed:
				return nil, &jsonrpc.Error{Code: jsonrpc.CodeInvalidParams, Message: fmt.Sprintf("unknown tool %q", m.name)}
			case err != nil:
				return nil, err
			case !has(c, scopes):
				return nil, insufficient(scopes)
			}
		}
		result, err := next(ctx, method, req)
		if list, ok := result.(*mcp.ListToolsResult); ok && err == nil && list != nil && h.tools != nil {
			return h.named(list), nil
		}
		return result, err
	}
}

// methodSubscribe is the method that methodListen runs for each resource that it names,
// without the receiving middleware.
const (
	methodSubscribe = "resources/subscribe"
	methodListen    = "subscriptions/listen"
)

// messagesOf returns the message and the messages that it stands for.
func messagesOf(method string, params mcp.Params) []message {
	all := []message{{method, nameOf(params)}}
	if p, ok := params.(*mcp.SubscriptionsListenParams); ok && p != nil && p.Notifications != nil {
		for _, uri := range p.Notifications.ResourceSubscriptions {
			all = append(all, message{methodSubscribe, uri})
		}
	}
	return all
}

// nameOf is the name or URI in the params of a message, or "".
func nameOf(params mcp.Params) string {
	switch p := params.(type) {
	case *mcp.CallToolParamsRaw:
		if p != nil {
			return p.Name
		}
	case *mcp.GetPromptParams:
		if p != nil {
			return p.Name
		}
	case *mcp.ReadResourceParams:
		if p != nil {
			return p.URI
		}
	case *mcp.SubscribeParams:
		if p != nil {
			return p.URI
		}
	case *mcp.UnsubscribeParams:
		if p != nil {
			return p.URI
		}
	case *mcp.CompleteParams:
		if p != nil && p.Ref != nil {
			return cmp.Or(p.Ref.Name, p.Ref.URI)
		}
	}
	return ""
}

// named is the list without the tools that WithToolScopes does not name. The list itself
// stays as it is: it may be the answer to other messages too.
func (h *Handler) named(list *mcp.ListToolsResult) *mcp.ListToolsResult {
	kept := *list
	kept.Tools = make([]*mcp.Tool, 0, len(list.Tools))
	for _, t := range list.Tools {
		if _, named := h.tools[t.Name]; named {
			kept.Tools = append(kept.Tools, t)
		} else if _, told := h.unnamed.LoadOrStore(t.Name, true); !told {
			h.log.Error("mcpguard: WithToolScopes does not name a tool of the server: it is neither listed nor called", "tool", t.Name)
		}
	}
	return &kept
}

// buildSteps makes the guards that demand the scopes of the tools.
func (h *Handler) buildSteps() {
	h.steps = make(map[string]func(http.Handler) http.Handler)
	for _, name := range slices.Sorted(maps.Keys(h.tools)) {
		scopes := h.tools[name]
		if len(scopes) == 0 {
			continue
		}
		defer func() {
			if p := recover(); p != nil {
				h.Problem("WithToolScopes: %q: %v", name, p)
			}
		}()
		h.steps[name] = h.guard.Require(middleware.Scopes(scopes...)).Wrap
	}
}

// stepUp refuses a message whose token lacks scopes with 403 and a challenge that names
// them: only after that answer do clients ask the user for more. It can only refuse: a
// message that it cannot read goes on to the SDK, and then to receive.
func (h *Handler) stepUp(next http.Handler) http.Handler {
	if len(h.steps) == 0 && h.scopes == nil {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodPost || r.Body == nil {
			next.ServeHTTP(w, r)
			return
		}
		body, err := h.readBody(w, r)
		if err != nil {
			return
		}
		c, _ := middleware.FromContext(r.Context())
		for _, m := range messages(body) {
			wrap, err := h.step(c, m)
			if err != nil {
				h.guard.Refuse(w, r, err)
				return
			}
			if wrap != nil { // One is enough: a message can name very many resources.
				wrap(next).ServeHTTP(w, r)
				return
			}
		}
		next.ServeHTTP(w, r)
	})
}

// step returns the guard of a message whose token lacks scopes, or nil.
func (h *Handler) step(c *middleware.Credential, m message) (wrap func(http.Handler) http.Handler, err error) {
	scopes, err := h.needed(m)
	switch {
	case err == errUnnamed:
		return nil, nil // receive answers
	case err != nil || has(c, scopes):
		return nil, err
	case h.scopes == nil:
		return h.steps[m.name], nil
	}
	err = recovered("a scope of WithScopes", func() { wrap = h.guard.Require(middleware.Scopes(scopes...)).Wrap })
	return wrap, err
}

// smallBody is how many bytes are allocated in advance on the client's word.
const smallBody = 16 << 10

// readBody reads the body of r within the limit of the transport, and leaves r with
// another one of the same bytes. If it returns an error, the answer is written.
func (h *Handler) readBody(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	from := r.Body
	if h.maxBody > 0 {
		from = http.MaxBytesReader(w, r.Body, h.maxBody)
	}
	var read bytes.Buffer
	if r.ContentLength > 0 && r.ContentLength <= smallBody {
		read.Grow(int(r.ContentLength) + bytes.MinRead)
	}
	_, err := read.ReadFrom(from)
	body := read.Bytes()
	if err != nil {
		var tooLarge *http.MaxBytesError
		if errors.As(err, &tooLarge) {
			http.Error(w, fmt.Sprintf("request body exceeds %d bytes", tooLarge.Limit), http.StatusRequestEntityTooLarge)
		} else {
			http.Error(w, "failed to read body", http.StatusBadRequest)
		}
		return nil, err
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	return body, nil
}

// maxDepth is how deep JSON may nest, for the SDK too.
const maxDepth = 1000

// messages returns the requests in the body, as far as it can be read: text that two
// readers could understand differently is left to receive.
func messages(body []byte) []message {
	all := []json.RawMessage{body}
	if b := bytes.TrimLeft(body, " \t\r\n"); len(b) > 0 && b[0] == '[' {
		all = nil
		_ = json.Unmarshal(b, &all)
	}
	found := make([]message, 0, len(all))
	for _, raw := range all {
		found = append(found, messagesIn(raw)...)
	}
	return found
}

// messagesIn returns the message in raw and the messages that it stands for, as
// messagesOf does.
func messagesIn(raw []byte) []message {
	var o strictjson.Object
	var m message
	var params []byte
	for o.Start(raw, maxDepth); o.Next(); {
		switch string(o.Name()) {
		case "method":
			o.Text(&m.method)
		case "params":
			params = o.Value()
		}
	}
	if o.Err() != nil || m.method == "" {
		return nil
	}
	var ref, notifications []byte
	if len(params) > 0 {
		m.name, ref, notifications = readParams(params)
	}
	switch {
	case m.method == methodComplete && len(ref) > 0:
		m.name, _, _ = readParams(ref)
	case m.method == methodListen && len(notifications) > 0:
		var n mcp.NotificationSubscriptions
		_ = json.Unmarshal(notifications, &n)
		all := []message{m}
		for _, uri := range n.ResourceSubscriptions {
			all = append(all, message{methodSubscribe, uri})
		}
		return all
	}
	return []message{m}
}

const methodComplete = "completion/complete"

// readParams returns the name in an object, or else its URI, and the members that have
// names of their own.
func readParams(object []byte) (name string, ref, notifications []byte) {
	var o strictjson.Object
	var uri string
	for o.Start(object, maxDepth); o.Next(); {
		switch string(o.Name()) {
		case "name":
			o.Text(&name)
		case "uri":
			o.Text(&uri)
		case "ref":
			ref = o.Value()
		case "notifications":
			notifications = o.Value()
		}
	}
	return cmp.Or(name, uri), ref, notifications
}

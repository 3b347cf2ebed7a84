package extauthz_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/keybound-go/middleware/extauthz"
	"github.com/keybound-go/middleware/mtlspop/mtlspoptest"
)

// envoy plays Envoy, which cannot be run here: the HTTP filter ext_authz, with what
// source/extensions/filters/common/ext_authz/check_request_utils.cc puts into a
// CheckRequest, and what ext_authz.cc of version 1.37 makes of the answer.
type envoy struct {
	client authv3.AuthorizationClient
	merged bool // encode_raw_headers is false
	allow  bool // failure_mode_allow
	plain  bool // include_peer_certificate is false
	next   http.Handler
}

// start serves s on a loopback address, and returns an Envoy that asks it.
func start(t testing.TB, s *extauthz.Server, next http.Handler) *envoy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	return startOn(t, s, l, next)
}

func startOn(t testing.TB, s *extauthz.Server, l net.Listener, next http.Handler) *envoy {
	t.Helper()
	server := grpc.NewServer()
	authv3.RegisterAuthorizationServer(server, s)
	go server.Serve(l)
	t.Cleanup(server.Stop)
	target := "passthrough:///" + l.Addr().String()
	if l.Addr().Network() == "unix" {
		target = "unix://" + l.Addr().String()
	}
	conn, err := grpc.NewClient(target, grpc.WithTransportCredentials(insecure.NewCredentials()))
	require.NoError(t, err)
	t.Cleanup(func() { conn.Close() })
	return &envoy{client: authv3.NewAuthorizationClient(conn), next: next}
}

// question is the CheckRequest about r, which came over a connection with the
// certificate of the client c, or with none.
func (e *envoy) question(r *http.Request, c *mtlspoptest.Client) *authv3.CheckRequest {
	h := &authv3.AttributeContext_HttpRequest{
		Id: "1", Method: r.Method, Path: r.RequestURI, Host: r.Host, Scheme: "https", Protocol: r.Proto,
	}
	fields := []*corev3.HeaderValue{
		{Key: ":authority", RawValue: []byte(r.Host)}, {Key: ":method", RawValue: []byte(r.Method)},
		{Key: ":path", RawValue: []byte(r.RequestURI)}, {Key: ":scheme", RawValue: []byte("https")},
	}
	for name, values := range r.Header {
		for _, value := range values {
			fields = append(fields, &corev3.HeaderValue{Key: strings.ToLower(name), RawValue: []byte(value)})
		}
	}
	fields = append(fields, &corev3.HeaderValue{Key: "x-request-id", RawValue: []byte("1")})
	if e.merged {
		h.Headers = make(map[string]string)
		for _, f := range fields {
			value := strings.ToValidUTF8(string(f.RawValue), "!")
			if before, ok := h.Headers[f.Key]; ok {
				value = before + "," + value
			}
			h.Headers[f.Key] = value
		}
	} else {
		h.HeaderMap = &corev3.HeaderMap{Headers: fields}
	}
	source := &authv3.AttributeContext_Peer{
		Address: &corev3.Address{Address: &corev3.Address_SocketAddress{SocketAddress: &corev3.SocketAddress{Address: "192.0.2.1"}}},
	}
	if c != nil && !e.plain {
		source.Certificate = mtlspoptest.Nginx(c) // URL and PEM
	}
	return &authv3.CheckRequest{Attributes: &authv3.AttributeContext{
		Source: source, Request: &authv3.AttributeContext_Request{Http: h},
	}}
}

// serve asks about r, and passes it on or answers it.
func (e *envoy) serve(t testing.TB, w http.ResponseWriter, r *http.Request, c *mtlspoptest.Client) {
	t.Helper()
	r.Header = folded(r.Header)
	answer, err := e.client.Check(context.Background(), e.question(r, c))
	switch {
	case err != nil && e.allow:
		e.next.ServeHTTP(w, r)
	case err != nil:
		w.WriteHeader(http.StatusForbidden)
	case answer.GetStatus().GetCode() != 0:
		denied := answer.GetDeniedResponse()
		w.Header().Set("Content-Type", "text/plain")
		for _, o := range denied.GetHeaders() {
			mutate(w.Header(), o)
		}
		w.WriteHeader(int(denied.GetStatus().GetCode()))
		io.WriteString(w, denied.GetBody())
	default:
		ok := answer.GetOkResponse()
		for _, o := range ok.GetHeaders() {
			mutate(r.Header, o)
		}
		for _, name := range ok.GetHeadersToRemove() { // after the others
			r.Header.Del(name)
		}
		e.next.ServeHTTP(w, r)
		for _, o := range ok.GetResponseHeadersToAdd() {
			mutate(w.Header(), o)
		}
	}
}

// folded is h as Envoy has it: the case of names is not kept.
func folded(h http.Header) http.Header {
	f := make(http.Header, len(h))
	for name, values := range h {
		for _, value := range values {
			f.Add(name, value)
		}
	}
	return f
}

// mutate does what an append_action says.
func mutate(h http.Header, o *corev3.HeaderValueOption) {
	name, value := o.GetHeader().GetKey(), o.GetHeader().GetValue()
	if o.GetAppendAction() == corev3.HeaderValueOption_OVERWRITE_IF_EXISTS_OR_ADD {
		h.Set(name, value)
		return
	}
	h.Add(name, value)
}

// ask sends r through e.
func (e *envoy) ask(t testing.TB, r *http.Request, c *mtlspoptest.Client) *httptest.ResponseRecorder {
	t.Helper()
	rec := httptest.NewRecorder()
	e.serve(t, rec, r, c)
	return rec
}

// service stands behind Envoy. It remembers the last request that reached it.
type service struct{ got *http.Request }

func (s *service) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.got = r
	w.Header().Set("Cache-Control", "public")
	w.Header().Set("Vary", "Accept")
	io.WriteString(w, "the service")
}

// one returns the only value of a field.
func one(t testing.TB, h http.Header, name string) string {
	t.Helper()
	require.Len(t, h[http.CanonicalHeaderKey(name)], 1, name)
	return h.Get(name)
}

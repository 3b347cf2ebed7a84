package extauthz

import (
	"context"
	"net/http"
	"net/netip"
	"strings"

	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"

	"github.com/keybound-go/middleware"
)

// CertificateField is the header field in which the Guard finds the certificate that
// Envoy has seen, in the format mtlspop.PEM. Only the Server and its Guard see it.
const CertificateField = "X-Envoy-Peer-Certificate"

// Fields of Envoy's own between those of the client.
const (
	partialBody = "X-Envoy-Auth-Partial-Body"
	hostField   = "Host"
)

// original returns the client's request as Envoy describes it.
func original(question *authv3.CheckRequest) (q middleware.Request, err error) {
	attributes := question.GetAttributes()
	h := attributes.GetRequest().GetHttp()
	if h == nil {
		return q, errNoHTTP // The network filter asks about connections.
	}
	q = middleware.Request{Method: h.GetMethod(), Host: h.GetHost(), Target: h.GetPath()}
	if q.Method == "" || q.Host == "" || q.Target == "" || h.GetQuery() != "" || h.GetFragment() != "" {
		return q, errParts
	}
	if q.Header, err = header(h); err != nil {
		return q, err
	}
	delete(q.Header, CertificateField)
	if certificate := attributes.GetSource().GetCertificate(); certificate != "" {
		q.Header[CertificateField] = []string{certificate}
	}
	if mayHaveBody(h.GetProtocol(), q.Header) {
		q.Header["Transfer-Encoding"] = []string{"unknown"}
	}
	return q, nil
}

// header returns the client's fields, of one form or the other.
func header(h *authv3.AttributeContext_HttpRequest) (http.Header, error) {
	raw, merged := h.GetHeaderMap().GetHeaders(), h.GetHeaders()
	if len(raw) == 0 && len(merged) == 0 {
		return nil, errNoHeaders
	}
	fields := make(http.Header, len(raw)+len(merged)+1)
	values := make([]string, len(raw)+len(merged)) // One allocation for all of them.
	for _, field := range raw {
		name := field.GetKey()
		if name == "" {
			return nil, errKey
		}
		if name[0] == ':' {
			continue
		}
		value := field.GetValue()
		if value == "" {
			value = string(field.GetRawValue())
		}
		name = canonical(name)
		if before, ok := fields[name]; ok {
			fields[name] = append(before, value)
			continue
		}
		values[0] = value
		fields[name], values = values[:1:1], values[1:]
	}
	for name, value := range merged {
		if name == "" {
			return nil, errKey
		}
		if name[0] == ':' {
			continue
		}
		name = canonical(name)
		fields[name] = append(fields[name], unmerged(name, value)...)
	}
	delete(fields, partialBody)
	delete(fields, hostField)
	return fields, nil
}

// canonical is http.CanonicalHeaderKey without the allocation for common names: Envoy
// sends names in lower case.
func canonical(name string) string {
	if known, ok := common[name]; ok {
		return known
	}
	return http.CanonicalHeaderKey(name)
}

var common = func() map[string]string {
	m := make(map[string]string)
	for _, name := range []string{
		"Accept", "Accept-Encoding", "Accept-Language", "Authorization", "Cache-Control", "Content-Length", "Content-Type", "Cookie", "Dpop",
		"Origin", "Referer", "Sec-Fetch-Dest", "Sec-Fetch-Mode", "Sec-Fetch-Site", "Traceparent", "Tracestate", "User-Agent",
		"X-Envoy-External-Address", "X-Envoy-Internal", "X-Forwarded-Client-Cert", "X-Forwarded-For", "X-Forwarded-Proto", "X-Request-Id",
	} {
		m[strings.ToLower(name)] = name
	}
	return m
}()

// unmerged splits a field whose values Envoy has joined with a comma. None of these
// fields has a comma in a single value that a Guard accepts.
func unmerged(name, value string) []string {
	switch name {
	case "Authorization", "Dpop", "Origin", "Access-Control-Request-Method":
		return strings.Split(value, ",")
	}
	return []string{value}
}

// mayHaveBody reports whether the request may have a body: a CORS preflight has none. In
// HTTP/2 and HTTP/3 no header field announces a body, and Envoy does not say whether one
// follows.
func mayHaveBody(protocol string, h http.Header) bool {
	return !strings.HasPrefix(protocol, "HTTP/1.") || len(h["Transfer-Encoding"]) > 0
}

type callerKey struct{}

// withCaller returns a context that carries source.address.
func withCaller(ctx context.Context, question *authv3.CheckRequest) context.Context {
	return context.WithValue(ctx, callerKey{}, question)
}

// CallerAddress is for [middleware.WithCallerAddress]: the address of the peer that is
// connected to Envoy, or the zero Addr. Behind a further proxy that is the proxy's own.
func CallerAddress(r *http.Request) netip.Addr {
	question, _ := r.Context().Value(callerKey{}).(*authv3.CheckRequest)
	addr, err := netip.ParseAddr(question.GetAttributes().GetSource().GetAddress().GetSocketAddress().GetAddress())
	if err != nil {
		return netip.Addr{}
	}
	return addr.Unmap()
}

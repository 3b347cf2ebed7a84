package grpcguard

import (
	"context"
	"net/http"
	"reflect"
	"strings"

	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"

	"github.com/keybound-go/middleware"
)

// request is the call as the Guard sees it: a POST of the full method, which is what
// stands in :method and :path.
func request(ctx context.Context, method string, md metadata.MD) middleware.Request {
	q := middleware.Request{Method: http.MethodPost, Target: method, Header: make(http.Header, len(md))}
	for key, values := range md {
		switch {
		case key == ":authority":
			if len(values) == 1 { // package grpc refuses several
				q.Host = values[0]
			}
		case isField(key):
			q.Header[fieldOf(key)] = values // keys of md are in lower case
		}
	}
	p, ok := peer.FromContext(ctx)
	if !ok {
		return q
	}
	q.LocalAddr = p.LocalAddr
	// Without the local end the Guard would read RemoteAddr as an IP address, and a peer
	// on a unix socket can choose that text.
	if p.Addr != nil && (p.LocalAddr != nil || strings.HasPrefix(p.Addr.Network(), "tcp")) {
		q.RemoteAddr = p.Addr.String()
	}
	switch info := p.AuthInfo.(type) {
	case credentials.TLSInfo:
		q.TLS = &info.State
	case *credentials.TLSInfo:
		if info != nil {
			q.TLS = &info.State
		}
	}
	return q
}

// fields are the names of common keys, so that http.CanonicalHeaderKey need not allocate
// them.
var fields = func() map[string]string {
	m := make(map[string]string)
	for _, key := range []string{
		"authorization", "baggage", "content-type", "dpop", "grpc-accept-encoding", "traceparent", "tracestate", "user-agent",
		"x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-request-id",
	} {
		m[key] = http.CanonicalHeaderKey(key)
	}
	return m
}()

func fieldOf(key string) string {
	if name, ok := fields[key]; ok {
		return name
	}
	return http.CanonicalHeaderKey(key)
}

// isField reports whether metadata under key is text as in a field of HTTP. Values under
// names that end in -bin are bytes.
func isField(key string) bool {
	return key != "" && key[0] != ':' && !strings.HasSuffix(key, "-bin")
}

// forwarded returns the metadata that the handler should see, and false if that is md. It
// keeps the metadata that the Guard does not get.
func forwarded(md metadata.MD, given, forward http.Header) (metadata.MD, bool) {
	if reflect.ValueOf(given).Pointer() == reflect.ValueOf(forward).Pointer() {
		return nil, false
	}
	changed := make(metadata.MD, len(md))
	for key, values := range md {
		if !isField(key) {
			changed[key] = values
		}
	}
	for name, values := range forward {
		changed[strings.ToLower(name)] = values
	}
	return changed, true
}

// Package grpcguardtest answers: is every method of my gRPC server guarded?
//
//	grpcguardtest.AllGuarded(t, server, "/grpc.health.v1.Health/Check")
package grpcguardtest

import (
	"bytes"
	"context"
	"crypto/tls"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
)

// AllGuarded calls every method of server once without credentials, with an empty
// message, and fails the test for each call that is not refused with UNAUTHENTICATED and
// a challenge. The exempt methods are not called; one that the server does not have is a
// mistake. The calls go to server.ServeHTTP, so they need no listener, whatever transport
// credentials server was made with. Call it once all services are registered.
//
// It also finds what a search for interceptors misses: services whose hand-written
// handlers ignore them.
func AllGuarded(tb testing.TB, server *grpc.Server, exempt ...string) {
	tb.Helper()
	has := make(map[string]bool)
	for service, info := range server.GetServiceInfo() {
		for _, m := range info.Methods {
			method := "/" + service + "/" + m.Name
			has[method] = true
			if slices.Contains(exempt, method) {
				continue
			}
			if problem := call(server, method); problem != "" {
				tb.Errorf("grpcguardtest: %s %s", method, problem)
			}
		}
	}
	for _, method := range exempt {
		if !has[method] {
			tb.Errorf("grpcguardtest: the server has no exempt method %s", method)
		}
	}
	if len(has) == 0 {
		tb.Errorf("grpcguardtest: the server has no methods")
	}
}

// patience is how long a call may take. A refusal without credentials needs no network.
const patience = time.Second

// call returns what is wrong with the answer to a call without credentials.
func call(server *grpc.Server, method string) (problem string) {
	message := []byte{0, 0, 0, 0, 0} // not compressed, no bytes
	// An unguarded stream may wait for its client forever.
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	r := httptest.NewRequestWithContext(ctx, http.MethodPost, "https://service.example"+method, bytes.NewReader(message))
	r.Proto, r.ProtoMajor, r.ProtoMinor = "HTTP/2.0", 2, 0
	r.TLS = &tls.ConnectionState{HandshakeComplete: true}
	r.Header.Set("Content-Type", "application/grpc")
	r.Header.Set("TE", "trailers")
	w := httptest.NewRecorder()
	server.ServeHTTP(w, r)
	answer := w.Result()
	code := answer.Trailer.Get("Grpc-Status")
	switch {
	case code != "16":
		return "is not guarded: a call without credentials ends with status " + describe(code)
	case !strings.Contains(strings.Join(answer.Header.Values("Www-Authenticate"), ","), "realm="):
		return "refuses a call without credentials, but not by a Guard: there is no challenge"
	}
	return ""
}

func describe(code string) string {
	var c codes.Code
	if code == "" || c.UnmarshalJSON([]byte(code)) != nil {
		return "none"
	}
	return c.String()
}

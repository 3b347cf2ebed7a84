package main

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/keybound-go/middleware"
	proofs "github.com/keybound-go/middleware/dpop"
	"github.com/keybound-go/middleware/oidc"
	"github.com/keybound-go/middleware/oidc/oidctest"
)

// here serves a guarded and a bare handler in this process, as servers/keybound does.
func here(t *testing.T) (*world, string) {
	t.Helper()
	w, err := newWorld()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.close)
	mux := http.NewServeMux()
	service := httptest.NewServer(mux)
	t.Cleanup(service.Close)
	guard, err := middleware.New(
		middleware.WithTokens(oidc.New(w.issuer.URL, oidctest.Audience, oidc.DangerouslyAllowLoopbackHTTP())),
		middleware.WithDPoP(proofs.New(service.URL)),
		middleware.AllowUnbound(),
	)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = guard.Close() })
	ok := http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})
	mux.Handle(guardedPath, guard.Wrap(ok))
	mux.Handle(barePath, ok)
	return w, strings.TrimPrefix(service.URL, "http://")
}

// Good requests of every kind pass, at once and at a rate.
func TestGoodRequests(t *testing.T) {
	w, address := here(t)
	for _, k := range kinds {
		if err := burst(address, 3, w.messages(k, address, 10)); err != nil {
			t.Errorf("%s: %v", k, err)
		}
		all, err := steady(address, 3, 1000, w.messages(k, address, 10))
		if err != nil {
			t.Errorf("%s: %v", k, err)
		}
		for i, latency := range all {
			if latency <= 0 {
				t.Errorf("%s: latency %d is %v", k, i, latency)
			}
		}
	}
}

// This module refuses every attack with 401.
func TestAttacks(t *testing.T) {
	w, address := here(t)
	for _, a := range attacks() {
		status, err := a.try(w, address)
		if err != nil || status != http.StatusUnauthorized {
			t.Errorf("%s: status %d, error %v", a.name, status, err)
		}
	}
}

// What a server answers otherwise than it must is an error.
func TestExpect(t *testing.T) {
	w, address := here(t)
	bad := newMessage("GET", address, guardedPath)
	if err := burst(address, 2, []message{bad}); err == nil {
		t.Error("a refused request counts as a good one")
	}
	if _, err := steady(address, 2, 100, []message{bad}); err == nil {
		t.Error("a refused request counts as a good one")
	}
	if err := burst("127.0.0.1:1", 2, w.messages(bare, address, 1)); err == nil {
		t.Error("a server that does not listen")
	}
}

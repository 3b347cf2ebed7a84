package main

import (
	"log"
	"net/http"
	"testing"
	"time"

	"github.com/keybound-go/middleware/dpop/dpoptest"
	"github.com/keybound-go/middleware/middlewaretest"
	"github.com/keybound-go/middleware/oidc"
	"github.com/keybound-go/middleware/oidc/oidctest"
)

// demonstrate returns a verifier of the tokens of an issuer in this process, and
// sends a client of that issuer through the service as soon as it serves.
func demonstrate(origin, audience string) (*oidc.Verifier, error) {
	tb := program{}
	issuer := oidctest.NewIssuer(tb, oidctest.WithAudience(audience))
	key := dpoptest.NewKey(tb)
	token := issuer.Token(oidctest.BoundToKey(key.Thumbprint()), oidctest.Scope("orders:read"))
	go func() {
		time.Sleep(time.Second) // the listener's start
		try(http.DefaultClient, "GET", origin+"/")
		try(http.DefaultClient, "GET", origin+"/orders")
		client := middlewaretest.NewClient(tb, nil, key, token)
		try(client, "GET", origin+"/orders")
		try(client, "POST", origin+"/orders")
	}()
	return oidc.New(issuer.URL, audience, oidc.WithHTTPClient(issuer.Client()))
}

func try(client *http.Client, method, url string) {
	r, err := http.NewRequest(method, url, nil)
	if err != nil {
		log.Fatal(err)
	}
	resp, err := client.Do(r)
	if err != nil {
		log.Fatal(err)
	}
	resp.Body.Close()
	log.Printf("%-4s %s  ->  %s  %q", method, url, resp.Status, resp.Header.Values("WWW-Authenticate"))
}

// program is the [testing.TB] of a program that is no test: the fakes live as
// long as it does, and their trouble ends it.
type program struct{ testing.TB }

func (program) Helper()                           {}
func (program) Name() string                      { return "demonstration" }
func (program) Cleanup(func())                    {}
func (program) Logf(string, ...any)               {}
func (program) Fatal(args ...any)                 { log.Fatal(args...) }
func (program) Fatalf(format string, args ...any) { log.Fatalf(format, args...) }
func (program) Errorf(format string, args ...any) { log.Fatalf(format, args...) }

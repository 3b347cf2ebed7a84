package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"log"
	"net/http"
	"time"

	"github.com/keybound-go/middleware/dpop/dpopclient"
	"github.com/keybound-go/middleware/oidc"
	"github.com/keybound-go/middleware/oidc/oidctest"
)

// demonstrate returns a verifier of the tokens of an issuer in this process, and
// sends a client of that issuer through the service as soon as it serves.
func demonstrate(origin, audience string) (*oidc.Verifier, error) {
	issuer, err := oidctest.Start(oidctest.WithAudience(audience))
	if err != nil {
		return nil, err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	transport, err := dpopclient.New(key, dpopclient.WithOrigins(origin), dpopclient.DangerouslyAllowLoopbackHTTP())
	if err != nil {
		return nil, err
	}
	token := issuer.Token(oidctest.BoundToKey(transport.Thumbprint()), oidctest.Scope("orders:read"))
	go func() {
		time.Sleep(time.Second) // the listener's start
		try(http.DefaultClient, "GET", origin+"/", "")
		try(http.DefaultClient, "GET", origin+"/orders", "")
		client := &http.Client{Transport: transport}
		try(client, "GET", origin+"/orders", token)
		try(client, "POST", origin+"/orders", token)
	}()
	return oidc.New(issuer.URL, audience, oidc.WithHTTPClient(issuer.Client()))
}

func try(client *http.Client, method, url, token string) {
	r, err := http.NewRequest(method, url, nil)
	if err != nil {
		log.Fatal(err)
	}
	if token != "" {
		r.Header.Set("Authorization", "DPoP "+token)
	}
	resp, err := client.Do(r)
	if err != nil {
		log.Fatal(err)
	}
	resp.Body.Close()
	log.Printf("%-4s %s  ->  %s  %q", method, url, resp.Status, resp.Header.Values("WWW-Authenticate"))
}

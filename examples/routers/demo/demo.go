// Package demo is what the examples of the routers share: flags, and an issuer and a
// client in this process that try the service.
package demo

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"flag"
	"log"
	"net/http"
	"time"

	"github.com/keybound-go/middleware"
	"github.com/keybound-go/middleware/dpop/dpopclient"
	"github.com/keybound-go/middleware/oidc"
	"github.com/keybound-go/middleware/oidc/oidctest"
)

// NewService makes the service of one example: its routes on one router, behind a guard
// that takes these tokens, for clients that call it by origin and the browser
// application app.
type NewService func(tokens middleware.TokenVerifier, err error, origin, app string) (http.Handler, error)

// Serve reads the flags and serves until it fails.
func Serve(newService NewService) {
	issuer := flag.String("issuer", "", "issuer of the access tokens; without it, one that runs in this process")
	audience := flag.String("audience", "", "what the tokens call this service; by default its origin")
	listen := flag.String("listen", "localhost:8080", "address to serve plain HTTP on, behind a proxy that ends TLS")
	origin := flag.String("origin", "", "what clients call this service; by default http:// and the address")
	app := flag.String("app", "https://app.example", "origin of the browser application that may call this service")
	flag.Parse()
	if *origin == "" {
		*origin = "http://" + *listen
	}
	if *audience == "" {
		*audience = *origin
	}
	tokens, err := oidc.New(*issuer, *audience)
	if *issuer == "" {
		tokens, err = demonstrate(*origin, *audience)
	}
	service, err := newService(tokens, err, *origin, *app)
	if err != nil {
		log.Fatal(err)
	}
	log.Printf("serving %s", *origin)
	log.Fatal(http.ListenAndServe(*listen, service))
}

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

package dpopclient_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"

	"github.com/keybound-go/middleware/dpop/dpopclient"
)

func Example() {
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		scheme, _, _ := strings.Cut(r.Header.Get("Authorization"), " ")
		fmt.Fprintf(w, "%s token, proof of %d parts", scheme, len(strings.Split(r.Header.Get("DPoP"), ".")))
	}))
	defer api.Close()
	var tokens oauth2TokenSource = staticSource{&oauth2Token{"secret", "DPoP"}}

	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		log.Fatal(err)
	}
	transport, err := dpopclient.New(key,
		dpopclient.WithOrigins(api.URL),
		dpopclient.WithTokenSource(dpopclient.TokenSourceFunc(func(context.Context) (string, string, error) {
			t, err := tokens.Token()
			if err != nil {
				return "", "", err
			}
			return t.AccessToken, t.TokenType, nil
		})),
		dpopclient.DangerouslyAllowLoopbackHTTP(), // httptest without TLS
	)
	if err != nil {
		log.Fatal(err)
	}
	client := &http.Client{Transport: transport}
	resp, err := client.Get(api.URL + "/orders")
	if err != nil {
		log.Fatal(err)
	}
	defer resp.Body.Close()
	if _, err := io.Copy(os.Stdout, resp.Body); err != nil {
		log.Fatal(err)
	}
	// Output: DPoP token, proof of 3 parts
}

// The types of golang.org/x/oauth2 that an adapter meets.
type (
	oauth2TokenSource interface{ Token() (*oauth2Token, error) }
	oauth2Token       struct{ AccessToken, TokenType string }
	staticSource      struct{ t *oauth2Token }
)

func (s staticSource) Token() (*oauth2Token, error) { return s.t, nil }

// The token request carries a proof too, so that the issuer binds the token to the key.
func ExampleWithTokenEndpoint() {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		log.Fatal(err)
	}
	transport, err := dpopclient.New(key,
		dpopclient.WithTokenEndpoint("https://issuer.example/token"),
		dpopclient.WithOrigins("https://api.example"),
	)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(len(transport.Thumbprint())) // what the token's cnf.jkt will be
	// Output: 43
}

// The token goes to the configured origins and to no other server.
func ExampleNew() {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		log.Fatal(err)
	}
	transport, err := dpopclient.New(key, dpopclient.WithOrigins("https://api.example"))
	if err != nil {
		log.Fatal(err)
	}
	req, err := http.NewRequest("GET", "https://elsewhere.example/", nil)
	if err != nil {
		log.Fatal(err)
	}
	req.Header.Set("Authorization", "DPoP token")
	_, err = (&http.Client{Transport: transport}).Do(req)
	fmt.Println(errors.Is(err, dpopclient.ErrOrigin))
	// Output: true
}

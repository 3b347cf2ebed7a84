package dpopclient_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
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

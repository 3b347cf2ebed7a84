package callers

import (
	"context"
	"crypto"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/keybound-go/middleware/dpop/dpopclient"
)

// call gets a token from the issuer and calls the service with it.
func call(ctx context.Context, key crypto.Signer, issuer, service string) (status int, err error) {
	var token string // the client's own way to keep it, such as an oauth2.TokenSource
	transport, err := dpopclient.New(key,
		dpopclient.WithTokenEndpoint(issuer+"/token"),
		dpopclient.WithOrigins(service),
		dpopclient.WithTokenSource(dpopclient.TokenSourceFunc(func(context.Context) (string, string, error) { return token, "DPoP", nil })),
		dpopclient.DangerouslyAllowLoopbackHTTP(), // for development
	)
	if err != nil {
		return 0, err
	}
	client := &http.Client{Transport: transport, Timeout: 10 * time.Second}

	form := url.Values{"grant_type": {"client_credentials"}, "scope": {"orders:read"}}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, issuer+"/token", strings.NewReader(form.Encode()))
	if err != nil {
		return 0, err
	}
	req.SetBasicAuth("app", "secret")
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	resp, err := client.Do(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	var answer struct {
		AccessToken string `json:"access_token"`
	}
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil {
		return 0, err
	}
	token = answer.AccessToken

	resp, err = client.Get(service + "/orders") // the proof, and the nonce if one is demanded, are the transport's
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	return resp.StatusCode, nil
}

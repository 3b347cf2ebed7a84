package main

import (
	"crypto"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/keybound-go/middleware/dpop/dpopclient"
	"github.com/keybound-go/middleware/oidc/oidctest"
)

// This file has all that the command uses of the library: the client for call, and
// the fake issuer for issuer. What judges servers (check, doctor, explain) uses none
// of it.

// newTransport signs the requests to origin with key, and token requests to endpoint
// (none if it is empty).
func newTransport(key crypto.Signer, algorithm string, base http.RoundTripper, origin, endpoint string) (http.RoundTripper, error) {
	opts := []dpopclient.Option{
		dpopclient.WithBase(base),
		dpopclient.WithAlgorithm(algorithm),
		dpopclient.WithOrigins(origin),
		dpopclient.DangerouslyAllowLoopbackHTTP(),
	}
	if endpoint != "" {
		opts = append(opts, dpopclient.WithTokenEndpoint(endpoint))
	}
	return dpopclient.New(key, opts...)
}

// issuerSettings are those of a development issuer.
type issuerSettings struct {
	url, profile, audience, algorithm string
	clients                           []issuerClient
	opaque                            bool
	subject, scope                    string
	lifetime                          time.Duration
	nonce                             string
	delay                             time.Duration
	down                              bool
	faults                            map[string]string
}

type issuerClient struct {
	id, secret       string
	certificateBound bool
}

// profiles are the dialects that the development issuer speaks.
var profiles = map[string][]oidctest.Change{
	"rfc9068":  nil,
	"keycloak": {oidctest.Keycloak()},
	"auth0":    {oidctest.Auth0()},
	"okta":     {oidctest.Okta("orders:read", "orders:write")},
	"entra-v1": {oidctest.EntraID("1.0", "orders.read")},
	"entra-v2": {oidctest.EntraID("2.0", "orders.read")},
	"cognito":  {oidctest.Cognito()},
	"duende":   {oidctest.Duende("orders:read", "orders:write")},
	"wso2":     {oidctest.WSO2()},
	"pingone":  {oidctest.PingOne()},
	"spring":   {oidctest.SpringAuthorizationServer("orders:read", "orders:write")},
}

var endpoints = map[string][]oidctest.Endpoint{
	"metadata":      {oidctest.OpenIDMetadata, oidctest.OAuthMetadata},
	"keys":          {oidctest.KeySet},
	"token":         {oidctest.TokenEndpoint},
	"introspection": {oidctest.Introspection},
	"device":        {oidctest.Device},
}

// devIssuer is a running issuer. Its handler is to be served at its URL.
type devIssuer struct {
	http.Handler
	rotate, retire, close func()
}

func startIssuer(s issuerSettings) (*devIssuer, error) {
	changes, known := profiles[s.profile]
	if !known {
		return nil, fmt.Errorf("there is no profile %q", s.profile)
	}
	var own []oidctest.Change
	if s.lifetime != 0 {
		own = append(own, oidctest.ExpiresIn(s.lifetime))
	}
	if s.subject != "" {
		own = append(own, oidctest.Claim("sub", s.subject))
	}
	if s.scope != "" {
		own = append(own, oidctest.Claim("scope", s.scope))
	}
	opts := []oidctest.Option{
		oidctest.InMemory(s.url),
		oidctest.WithAudience(s.audience),
		oidctest.WithAlgorithm(s.algorithm),
		oidctest.WithChanges(append(own, changes...)...),
	}
	for _, c := range s.clients {
		opts = append(opts, oidctest.WithClient(oidctest.Registration{ID: c.id, Secret: c.secret, CertificateBound: c.certificateBound}))
	}
	if s.opaque {
		opts = append(opts, oidctest.IssueOpaqueTokens())
	}
	issuer, err := oidctest.Start(opts...)
	if err != nil {
		return nil, err
	}
	if s.lifetime != 0 {
		issuer.Edit(oidctest.TokenEndpoint, func(answer map[string]any) { answer["expires_in"] = int(s.lifetime.Seconds()) })
	}
	issuer.RequireNonce(s.nonce)
	issuer.SetDelay(s.delay)
	issuer.SetDown(s.down)
	for endpoint, kind := range s.faults {
		fault, err := parseFault(kind)
		if err != nil {
			return nil, err
		}
		for _, e := range endpoints[endpoint] {
			issuer.Break(e, fault)
		}
	}
	return &devIssuer{Handler: issuer, rotate: issuer.Rotate, retire: issuer.Retire, close: issuer.Close}, nil
}

// parseFault reads the kind of a --fault.
func parseFault(kind string) (oidctest.Fault, error) {
	name, value, _ := strings.Cut(kind, ":")
	if status, err := strconv.Atoi(kind); err == nil && status >= 200 && status <= 599 {
		return oidctest.Status(status), nil
	}
	switch name {
	case "abort":
		return oidctest.Abort(), nil
	case "html":
		return oidctest.Body("text/html", "<html>hello</html>"), nil
	case "redirect":
		return oidctest.Redirect(value), nil
	case "slow":
		if d, err := time.ParseDuration(value); err == nil {
			return oidctest.Slow(d), nil
		}
	case "huge":
		if n, err := strconv.Atoi(value); err == nil && n > 0 && n <= 1<<30 {
			return oidctest.Huge(n), nil
		}
	}
	return nil, fmt.Errorf("%q is not a status, abort, html, slow:DURATION, huge:BYTES or redirect:URL", kind)
}

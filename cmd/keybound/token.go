package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/keybound-go/middleware/cmd/keybound/internal/pen"
)

const secretVariable = "KEYBOUND_CLIENT_SECRET"

// grantFlags say how to obtain a token.
type grantFlags struct {
	issuer, endpoint    string
	clientID            string
	secretFile, keyFile string
	inBody              bool
	device              bool
	refreshFile         string
	scope               string
	resources           []string
	audience            string
}

func (f *grantFlags) add(flags *pflag.FlagSet) {
	flags.StringVar(&f.issuer, "issuer", "", "obtain the token from this issuer")
	flags.StringVar(&f.endpoint, "token-endpoint", "", "token endpoint, instead of the one in the issuer's metadata")
	flags.StringVar(&f.clientID, "client-id", "", "client id at the issuer")
	flags.StringVar(&f.secretFile, "client-secret-file", "", "file with the client secret (default: the environment variable "+secretVariable+")")
	flags.StringVar(&f.keyFile, "client-key", "", "authenticate with a JWT signed by this key (private_key_jwt): a file with a JWK or PEM")
	flags.BoolVar(&f.inBody, "secret-in-body", false, "send the client secret in the form (client_secret_post)")
	flags.BoolVar(&f.device, "device", false, "obtain the token for a user, by the device flow (RFC 8628)")
	flags.StringVar(&f.refreshFile, "refresh-token-file", "", "obtain the token with the refresh token in this file; a new refresh token replaces it")
	flags.StringVar(&f.scope, "scope", "", "scope to ask for, separated by spaces")
	flags.StringArrayVar(&f.resources, "resource", nil, "resource to ask a token for (RFC 8707); may be repeated")
	flags.StringVar(&f.audience, "audience", "", "audience to ask a token for, where the issuer wants that parameter")
}

// wanted reports whether a token is to be obtained.
func (f *grantFlags) wanted() bool { return f.issuer != "" || f.endpoint != "" }

// metadata is what the command needs of an issuer's document.
type metadata struct {
	Issuer         string `json:"issuer"`
	TokenEndpoint  string `json:"token_endpoint"`
	DeviceEndpoint string `json:"device_authorization_endpoint"`
	Aliases        struct {
		TokenEndpoint  string `json:"token_endpoint"`
		DeviceEndpoint string `json:"device_authorization_endpoint"`
	} `json:"mtls_endpoint_aliases"`
}

// discover finds the endpoints (OpenID Connect Discovery, section 4;
// RFC 8414, section 3). A client with a certificate uses the aliases
// (RFC 8705, section 5).
func (f *grantFlags) discover(ctx context.Context, client *http.Client, withCertificate bool) (metadata, error) {
	if f.issuer == "" {
		return metadata{TokenEndpoint: f.endpoint}, nil
	}
	u, err := url.Parse(f.issuer)
	if err != nil || u.Host == "" {
		return metadata{}, errors.New("--issuer is not a URL")
	}
	path := strings.TrimSuffix(u.EscapedPath(), "/")
	origin := u.Scheme + "://" + u.Host
	var problems []error
	for _, at := range []string{
		origin + path + "/.well-known/openid-configuration",
		origin + "/.well-known/oauth-authorization-server" + path,
	} {
		var m metadata
		if err := getJSON(ctx, client, at, &m); err != nil {
			problems = append(problems, err)
			continue
		}
		if m.Issuer != f.issuer {
			return metadata{}, fmt.Errorf("%s is the document of %q, not of %q: the issuer identifier must be spelt exactly as there (RFC 8414, section 3.3)", at, m.Issuer, f.issuer)
		}
		if withCertificate && m.Aliases.TokenEndpoint != "" {
			m.TokenEndpoint = m.Aliases.TokenEndpoint
		}
		if withCertificate && m.Aliases.DeviceEndpoint != "" {
			m.DeviceEndpoint = m.Aliases.DeviceEndpoint
		}
		if f.endpoint != "" {
			m.TokenEndpoint = f.endpoint
		}
		return m, nil
	}
	return metadata{}, errors.Join(problems...)
}

func getJSON(ctx context.Context, client *http.Client, at string, into any) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, at, nil)
	if err != nil {
		return err
	}
	res, err := client.Do(r)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answers %s", at, res.Status)
	}
	if err := json.NewDecoder(io.LimitReader(res.Body, 1<<20)).Decode(into); err != nil {
		return fmt.Errorf("%s: %w", at, err)
	}
	return nil
}

// grantAnswer is a token response, or an error response (RFC 6749, section 5).
type grantAnswer struct {
	AccessToken  string `json:"access_token"`
	TokenType    string `json:"token_type"`
	RefreshToken string `json:"refresh_token"`
	Error        string `json:"error"`
	Description  string `json:"error_description"`

	// RFC 8628, section 3.2.
	DeviceCode              string `json:"device_code"`
	UserCode                string `json:"user_code"`
	VerificationURI         string `json:"verification_uri"`
	VerificationURIComplete string `json:"verification_uri_complete"`
	ExpiresIn               int    `json:"expires_in"`
	Interval                int    `json:"interval"`
}

// obtain gets a token with client, which adds proofs where there is a key.
func (f *grantFlags) obtain(ctx context.Context, s *streams, client *http.Client, m metadata) (grantAnswer, error) {
	if m.TokenEndpoint == "" {
		return grantAnswer{}, errors.New("the issuer's metadata names no token endpoint: --token-endpoint")
	}
	var a grantAnswer
	var err error
	switch {
	case f.refreshFile != "" && !f.device:
		a, err = f.refresh(ctx, s, client, m)
	case f.device:
		a, err = f.fromDevice(ctx, s, client, m)
	default:
		a, err = f.ask(ctx, s, client, m, m.TokenEndpoint, f.form("client_credentials"))
	}
	if err != nil {
		return grantAnswer{}, err
	}
	if a.Error != "" || a.AccessToken == "" {
		return grantAnswer{}, exitError{exitFailed, fmt.Errorf("the issuer gives no token: %s", a.reason())}
	}
	if f.refreshFile != "" && a.RefreshToken != "" {
		if err := writeSecret(f.refreshFile, []byte(a.RefreshToken+"\n")); err != nil {
			return grantAnswer{}, fmt.Errorf("--refresh-token-file: %w", err)
		}
	}
	return a, nil
}

func (a grantAnswer) reason() string {
	if a.Error == "" {
		return "the response has no access_token"
	}
	if a.Description != "" {
		return a.Error + " (" + a.Description + ")"
	}
	return a.Error
}

func (f *grantFlags) form(grantType string) url.Values {
	form := url.Values{"grant_type": {grantType}}
	if f.scope != "" {
		form.Set("scope", f.scope)
	}
	if f.audience != "" {
		form.Set("audience", f.audience)
	}
	if len(f.resources) > 0 {
		form["resource"] = f.resources
	}
	return form
}

func (f *grantFlags) refresh(ctx context.Context, s *streams, client *http.Client, m metadata) (grantAnswer, error) {
	token, err := readSecret(f.refreshFile, s)
	if err != nil {
		return grantAnswer{}, fmt.Errorf("--refresh-token-file: %w (--device obtains one)", err)
	}
	form := f.form("refresh_token")
	form.Set("refresh_token", token)
	return f.ask(ctx, s, client, m, m.TokenEndpoint, form)
}

// fromDevice is RFC 8628: the user consents elsewhere, and the command polls.
func (f *grantFlags) fromDevice(ctx context.Context, s *streams, client *http.Client, m metadata) (grantAnswer, error) {
	if m.DeviceEndpoint == "" {
		return grantAnswer{}, errors.New("the issuer's metadata names no device_authorization_endpoint: it has no device flow, or not for this client")
	}
	form := f.form("")
	form.Del("grant_type")
	start, err := f.ask(ctx, s, client, m, m.DeviceEndpoint, form)
	if err != nil {
		return grantAnswer{}, err
	}
	if start.Error != "" || start.DeviceCode == "" {
		return grantAnswer{}, exitError{exitFailed, fmt.Errorf("the issuer starts no device flow: %s", start.reason())}
	}
	s.err.Printf("Open %s and enter the code %s\n", s.err.Bold(start.VerificationURI), s.err.Bold(start.UserCode))
	if start.VerificationURIComplete != "" {
		s.err.Printf("or open %s\n", start.VerificationURIComplete)
	}
	form = f.form("urn:ietf:params:oauth:grant-type:device_code")
	form.Set("device_code", start.DeviceCode)
	return f.poll(ctx, s, client, m, start, form)
}

func (f *grantFlags) poll(ctx context.Context, s *streams, client *http.Client, m metadata, start grantAnswer, form url.Values) (grantAnswer, error) {
	interval := time.Duration(start.Interval) * time.Second
	if interval <= 0 {
		interval = 5 * time.Second // RFC 8628, section 3.2
	}
	for began := time.Now(); ; {
		s.err.Progress("waiting for your consent, %d s so far", int(time.Since(began).Seconds()))
		select {
		case <-ctx.Done():
			return grantAnswer{}, notAsked(ctx.Err())
		case <-time.After(interval):
		}
		a, err := f.ask(ctx, s, client, m, m.TokenEndpoint, form)
		if err != nil {
			return grantAnswer{}, err
		}
		switch a.Error {
		case "authorization_pending":
		case "slow_down":
			interval += 5 * time.Second // section 3.5
		default:
			s.err.Done()
			return a, nil
		}
	}
}

// ask sends one authenticated form.
func (f *grantFlags) ask(ctx context.Context, s *streams, client *http.Client, m metadata, at string, form url.Values) (grantAnswer, error) {
	id, secret, err := f.authenticate(s, m, form)
	if err != nil {
		return grantAnswer{}, err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, at, strings.NewReader(form.Encode()))
	if err != nil {
		return grantAnswer{}, err
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Accept", "application/json")
	if secret != "" {
		r.SetBasicAuth(url.QueryEscape(id), url.QueryEscape(secret)) // RFC 6749, section 2.3.1
	}
	res, err := client.Do(r)
	if err != nil {
		return grantAnswer{}, notAsked(err)
	}
	defer res.Body.Close()
	var a grantAnswer
	if err := json.NewDecoder(io.LimitReader(res.Body, 1<<20)).Decode(&a); err != nil {
		return grantAnswer{}, notAsked(fmt.Errorf("%s answers %s without JSON", at, res.Status))
	}
	s.secrets.Add(a.AccessToken, a.RefreshToken, a.DeviceCode)
	if res.StatusCode != http.StatusOK && a.Error == "" {
		a.Error = res.Status
	}
	return a, nil
}

// authenticate adds the client to form, or returns the pair for Basic.
func (f *grantFlags) authenticate(s *streams, m metadata, form url.Values) (id, secret string, err error) {
	if f.clientID == "" {
		return "", "", errors.New("--client-id is missing")
	}
	if f.keyFile != "" {
		form.Set("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer")
		assertion, err := f.assertion(m)
		form.Set("client_assertion", assertion)
		return "", "", err
	}
	secret = os.Getenv(secretVariable)
	s.secrets.Add(secret)
	if f.secretFile != "" {
		if secret, err = readSecret(f.secretFile, &streams{in: strings.NewReader(""), secrets: s.secrets}); err != nil {
			return "", "", fmt.Errorf("--client-secret-file: %w", err)
		}
	}
	if secret == "" || f.inBody {
		form.Set("client_id", f.clientID)
		if secret != "" {
			form.Set("client_secret", secret)
		}
		return "", "", nil
	}
	return f.clientID, secret, nil
}

// assertion is RFC 7523, section 3, with the issuer as the only audience.
func (f *grantFlags) assertion(m metadata) (string, error) {
	data, err := os.ReadFile(f.keyFile)
	if err != nil {
		return "", fmt.Errorf("--client-key: %w", err)
	}
	key, err := pen.Parse(data)
	if err != nil {
		return "", fmt.Errorf("--client-key: %w", err)
	}
	audience := m.Issuer
	if audience == "" {
		audience = m.TokenEndpoint
	}
	now := time.Now().Unix()
	return key.Sign(map[string]any{"typ": "JWT"}, map[string]any{
		"iss": f.clientID, "sub": f.clientID, "aud": audience, "jti": rand.Text(), "iat": now, "exp": now + 60,
	}), nil
}

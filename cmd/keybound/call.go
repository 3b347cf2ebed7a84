package main

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/keybound-go/middleware/cmd/keybound/internal/pen"
	"github.com/keybound-go/middleware/cmd/keybound/internal/term"
	"github.com/keybound-go/middleware/cmd/keybound/internal/wire"
)

type callFlags struct {
	key     keyFlags
	tls     tlsFlags
	token   tokenFlags
	grant   grantFlags
	method  string
	data    string
	headers []string
	quiet   bool
	bearer  bool
	output  string
	timeout time.Duration
}

func newCall(s *streams) *cobra.Command {
	f := &callFlags{}
	c := &cobra.Command{
		Use:   "call URL",
		Short: "Call a service with a DPoP proof or a client certificate",
		Long: `Sends one request with an access token and what the token is bound to: a DPoP proof
by --key (RFC 9449), the client certificate --cert (RFC 8705), or both. The response's
body goes to the standard output; the exchange, with challenges in words, to the
standard error. Tokens and proofs are shown cut to a few characters.

The token is given (--token, --token-file, ` + tokenVariable + `), or obtained from --issuer:
with client credentials, for a user by --device, or by --refresh-token-file. With a
key, the token request carries a proof too, so that the issuer binds the token to it.
A demand for a nonce, from the issuer or from the service, is answered once.

Exit status: 0 for a response below 400, 1 for one of 400 and above, 2 for a wrong
command line, 3 if there was no response.`,
		Example: `  # A key made on the spot and kept, a token by client credentials, one call
  export KEYBOUND_CLIENT_SECRET=...
  keybound call --key client.jwk --make-key ES256 \
      --issuer https://issuer.example --client-id app --scope orders:read \
      https://api.example/orders

  # A token from a file, a body, a certificate
  keybound call --token-file token --cert client.pem --cert-key client.key \
      -X POST -H 'Content-Type: application/json' -d '{"item":1}' https://api.example/orders

  # For a user: consent in a browser, then refresh from the file
  keybound call --key client.jwk --issuer https://issuer.example --client-id cli \
      --device --refresh-token-file refresh https://api.example/orders`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error { return f.run(c.Context(), s, args[0]) },
	}
	flags := c.Flags()
	f.key.add(flags)
	f.tls.add(flags)
	f.token.add(flags)
	f.grant.add(flags)
	flags.StringVarP(&f.method, "request", "X", "", "method (default GET, or POST with --data)")
	flags.StringVarP(&f.data, "data", "d", "", "body; @FILE for a file's content, @- for the standard input")
	flags.StringArrayVarP(&f.headers, "header", "H", nil, "header field as 'Name: value'; may be repeated")
	flags.BoolVarP(&f.quiet, "quiet", "q", false, "print the body alone")
	flags.BoolVar(&f.bearer, "bearer", false, "send the token under the Bearer scheme although there is a key, to see that it is refused")
	flags.StringVarP(&f.output, "output", "o", "", "file for the response's body")
	flags.DurationVar(&f.timeout, "timeout", 30*time.Second, "time limit of each request")
	return c
}

func (f *callFlags) run(ctx context.Context, s *streams, target string) error {
	u, err := url.Parse(target)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return errors.New("the argument is not an http or https URL")
	}
	caller, err := f.caller(s)
	if err != nil {
		return err
	}
	token, scheme, err := f.credentials(ctx, s, caller, u)
	if err != nil {
		return err
	}
	r, err := f.request(ctx, s, target)
	if err != nil {
		return err
	}
	if token != "" {
		r.Header.Set("Authorization", scheme+" "+token)
	}
	client, err := caller.client(u.Scheme+"://"+u.Host, "", scheme)
	if err != nil {
		return err
	}
	res, err := client.Do(r)
	if err != nil {
		return notAsked(err)
	}
	defer res.Body.Close()
	if err := f.writeBody(s, res.Body); err != nil {
		return notAsked(err)
	}
	if res.StatusCode >= 400 {
		return exitError{code: exitFailed}
	}
	return nil
}

// caller is a key, a certificate, and the CAs to trust.
type caller struct {
	key     *pen.Key
	cert    *tls.Certificate
	base    *http.Transport
	printer *term.Out
	quiet   bool
	timeout time.Duration
}

func (f *callFlags) caller(s *streams) (*caller, error) {
	key, err := f.key.load()
	if err != nil {
		return nil, err
	}
	config, cert, err := f.tls.config()
	if err != nil {
		return nil, err
	}
	if cert != nil {
		config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return cert, nil }
	}
	base := &http.Transport{TLSClientConfig: config, Proxy: http.ProxyFromEnvironment, ForceAttemptHTTP2: true, DisableKeepAlives: true}
	if f.tls.connect != "" {
		base.DialContext = func(ctx context.Context, network, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, network, f.tls.connect)
		}
	}
	return &caller{key: key, cert: cert, base: base, printer: s.err, quiet: f.quiet, timeout: f.timeout}, nil
}

// client makes a client that signs for one origin, or for a token endpoint. It does
// not follow redirects: the reader is to see them.
func (c *caller) client(origin, endpoint, scheme string) (*http.Client, error) {
	var transport http.RoundTripper = &recorder{next: c.base, out: c.printer, quiet: c.quiet}
	if c.key != nil && scheme != "Bearer" {
		var err error
		if transport, err = newTransport(c.key.Signer(), c.key.Algorithm, transport, origin, endpoint); err != nil {
			return nil, err
		}
	}
	return &http.Client{
		Transport:     transport,
		Timeout:       c.timeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}, nil
}

// credentials returns the token and the scheme to send it under.
func (f *callFlags) credentials(ctx context.Context, s *streams, c *caller, target *url.URL) (token, scheme string, err error) {
	scheme = "Bearer"
	if c.key != nil && !f.bearer {
		scheme = "DPoP"
	}
	if !f.grant.wanted() {
		token, err = f.token.get(s)
		return token, scheme, err
	}
	if f.token.token != "" || f.token.file != "" {
		return "", "", errors.New("--issuer and a given token exclude each other")
	}
	plain, err := c.client(target.Scheme+"://"+target.Host, "", "Bearer") // discovery needs no proofs
	if err != nil {
		return "", "", err
	}
	m, err := f.grant.discover(ctx, plain, c.cert != nil)
	if err != nil {
		return "", "", notAsked(err)
	}
	client, err := c.client(target.Scheme+"://"+target.Host, m.TokenEndpoint, "")
	if err != nil {
		return "", "", err
	}
	a, err := f.grant.obtain(ctx, s, client, m)
	if err != nil {
		return "", "", err
	}
	if c.key != nil && !f.bearer && !strings.EqualFold(a.TokenType, "DPoP") {
		// RFC 9449, section 5: the client discards such a token if it wants protection.
		return "", "", exitError{exitFailed, fmt.Errorf("the issuer answered with token_type %q although the request had a proof: the token is not bound to the key (is DPoP switched on for this client?)", a.TokenType)}
	}
	return a.AccessToken, scheme, nil
}

func (f *callFlags) request(ctx context.Context, s *streams, target string) (*http.Request, error) {
	method := f.method
	var body io.Reader
	if f.data != "" {
		text, err := f.body(s)
		if err != nil {
			return nil, err
		}
		body = strings.NewReader(text)
		if method == "" {
			method = http.MethodPost
		}
	}
	r, err := http.NewRequestWithContext(ctx, method, target, body)
	if err != nil {
		return nil, err
	}
	for _, line := range f.headers {
		name, value, ok := strings.Cut(line, ":")
		if !ok || strings.TrimSpace(name) == "" {
			return nil, fmt.Errorf("--header %q is not 'Name: value'", name)
		}
		r.Header.Add(strings.TrimSpace(name), strings.TrimSpace(value))
	}
	return r, nil
}

func (f *callFlags) body(s *streams) (string, error) {
	name, isFile := strings.CutPrefix(f.data, "@")
	if !isFile {
		return f.data, nil
	}
	if name == "-" {
		text, err := io.ReadAll(s.in)
		return string(text), err
	}
	text, err := os.ReadFile(name)
	if err != nil {
		return "", fmt.Errorf("--data: %w", err)
	}
	return string(text), nil
}

func (f *callFlags) writeBody(s *streams, body io.Reader) error {
	to := s.stdout
	if f.output != "" {
		file, err := os.Create(f.output)
		if err != nil {
			return err
		}
		defer file.Close()
		to = file
	}
	_, err := io.Copy(to, body)
	return err
}

// recorder prints what goes over the wire: it is below the transport that signs, so
// that a retry after a nonce challenge shows as an exchange of its own.
type recorder struct {
	next  http.RoundTripper
	out   *term.Out
	quiet bool
}

func (t *recorder) RoundTrip(r *http.Request) (*http.Response, error) {
	if t.quiet {
		return t.next.RoundTrip(r)
	}
	t.out.Printf("%s\n", t.out.Bold("> "+r.Method+" "+r.URL.Redacted()))
	for _, name := range slices.Sorted(maps.Keys(r.Header)) {
		for _, value := range r.Header[name] {
			t.out.Printf("> %s: %s\n", name, shown(name, value))
		}
	}
	start := time.Now()
	res, err := t.next.RoundTrip(r)
	if err != nil {
		t.out.Printf("%s\n", t.out.Bad("< no response: "+err.Error()))
		return nil, err
	}
	t.printResponse(res, time.Since(start))
	return res, nil
}

func (t *recorder) printResponse(res *http.Response, took time.Duration) {
	colour := t.out.Good
	if res.StatusCode >= 400 {
		colour = t.out.Bad
	}
	t.out.Printf("%s %s\n", colour("< "+res.Proto+" "+res.Status), t.out.Dim(took.Round(time.Millisecond).String()))
	for _, name := range slices.Sorted(maps.Keys(res.Header)) {
		for _, value := range res.Header[name] {
			t.out.Printf("< %s: %s\n", name, shown(name, value))
		}
	}
	for _, words := range wire.Explain(res.StatusCode, res.Header) {
		t.out.Printf("%s %s\n", t.out.Warn("="), words)
	}
	t.out.Printf("\n")
}

// shown is a field's value without its secret part.
func shown(field, value string) string {
	switch http.CanonicalHeaderKey(field) {
	case "Authorization", "Proxy-Authorization":
		scheme, rest, ok := strings.Cut(value, " ")
		if !ok {
			return term.Short(value)
		}
		if strings.EqualFold(scheme, "Basic") { // its first characters may be those of the secret
			return fmt.Sprintf("%s ... (%d characters)", scheme, len(rest))
		}
		return scheme + " " + term.Short(rest)
	case "Dpop":
		return term.Short(value) + proofClaims(value)
	case "Cookie", "Set-Cookie":
		var pairs []string
		for i, pair := range strings.Split(value, "; ") {
			name, rest, _ := strings.Cut(pair, "=")
			if rest != "" && (i == 0 || http.CanonicalHeaderKey(field) == "Cookie") { // the others of Set-Cookie are attributes
				pair = name + "=" + fmt.Sprintf("... (%d characters)", len(rest))
			}
			pairs = append(pairs, pair)
		}
		return strings.Join(pairs, "; ")
	}
	if isSecretField(field) {
		return fmt.Sprintf("... (%d characters)", len(value))
	}
	return value
}

// isSecretField reports whether a field of that name carries what must not be shown.
func isSecretField(name string) bool {
	name = strings.ToLower(name)
	if name == "dpop-nonce" || strings.HasPrefix(name, "access-control-") || strings.HasPrefix(name, "sec-websocket-") || name == "www-authenticate" {
		return false
	}
	for _, part := range []string{"auth", "token", "secret", "cookie", "password", "api-key", "apikey", "dpop", "session"} {
		if strings.Contains(name, part) {
			return true
		}
	}
	return false
}

// proofClaims shows what a proof says, without its signature: an attacker that reads the
// output cannot use it.
func proofClaims(proof string) string {
	parts := strings.Split(proof, ".")
	if len(parts) != 3 {
		return ""
	}
	raw, err := base64.RawURLEncoding.DecodeString(parts[1])
	var claims map[string]any
	if err != nil || json.Unmarshal(raw, &claims) != nil {
		return ""
	}
	var b strings.Builder
	for _, name := range []string{"htm", "htu", "iat", "nonce"} {
		switch v := claims[name].(type) {
		case string:
			b.WriteString(" " + name + "=" + v)
		case float64:
			fmt.Fprintf(&b, " %s=%d", name, int64(v))
		}
	}
	return b.String()
}

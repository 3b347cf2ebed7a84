package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/spf13/cobra"

	"github.com/keybound-go/middleware/cmd/keybound/internal/doctor"
	"github.com/keybound-go/middleware/cmd/keybound/internal/report"
	"github.com/keybound-go/middleware/cmd/keybound/internal/wire"
)

type doctorFlags struct {
	call                 callFlags
	certificateTokenFile string
	appOrigin            string
	noBrowsers           bool
	fields               []string
	also                 []string
	connections          int
	http                 string
	verbose              bool
	reports              reportFlags
}

func newDoctor(s *streams) *cobra.Command {
	f := &doctorFlags{}
	c := &cobra.Command{
		Use:   "doctor URL",
		Short: "Find mistakes of a service's deployment from outside",
		Long: `Looks at a running service as an ordinary client does, for mistakes that cannot be seen
from within, and says what to change for each:

  - the issuer's metadata and keys, and which profile its tokens need
  - the token: audience, binding; the clocks of service, issuer and this machine
  - the challenges, and the document that describes the resource
  - CORS: preflight and exposed fields
  - nonces over several connections: replicas with different nonce keys
  - one proof over several connections: replicas without a shared replay memory
  - a certificate field that the client writes itself, in every dialect and spelling: a
    terminator that passes it on
  - fields with the client's address that a "real IP" middleware believes
  - an upgrade to HTTP/2 past the guard; dot segments and escapes that are rewritten
  - the same over HTTP/2, if the service offers it, with what only HTTP/2 can carry

It needs what any client has: a token with --key, or with --cert, or both (then a second
token, --certificate-token-file). Tokens are given or obtained as in keybound call.
Without any it looks at what needs none. Use a client with few rights: the requests of
--request are sent many times.

Exit status: 0 nothing found, 1 findings, 3 the service could not be asked.`,
		Example: `  keybound doctor https://api.example/orders --key client.jwk \
      --issuer https://issuer.example --client-id app --app-origin https://app.example

  # Certificates too, in CI
  keybound doctor https://api.example/orders --cert client.pem --cert-key client.key \
      --token-file token --no-browsers --junit doctor.xml`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error { return f.run(c.Context(), s, args[0]) },
	}
	flags := c.Flags()
	f.call.key.add(flags)
	f.call.tls.add(flags)
	f.call.token.add(flags)
	f.call.grant.add(flags)
	flags.StringVar(&f.certificateTokenFile, "certificate-token-file", "", "file with a token that is bound to --cert, where --token-file is bound to --key")
	flags.StringVarP(&f.call.method, "request", "X", http.MethodGet, "method of the requests")
	flags.StringVar(&f.appOrigin, "app-origin", "", "origin of the browser application that may call the service")
	flags.BoolVar(&f.noBrowsers, "no-browsers", false, "no browser calls the service: CORS does not matter")
	flags.StringArrayVar(&f.fields, "certificate-field", nil, "another field in which certificates may be forwarded; may be repeated")
	flags.StringArrayVar(&f.also, "also", nil, "another URL that leads to the same service, such as another listener; may be repeated")
	flags.IntVar(&f.connections, "connections", 24, "how many connections to look for replicas over")
	addHTTP(c, &f.http, "HTTP version: 1.1, 2, or both: HTTP/2 too if the service offers it by ALPN")
	flags.BoolVarP(&f.verbose, "verbose", "v", false, "print what is in order too")
	f.reports.add(flags)
	f.call.timeout = 30 * time.Second
	return c
}

func (f *doctorFlags) run(ctx context.Context, s *streams, target string) error {
	u, err := url.Parse(target)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return errors.New("the argument is not an http or https URL")
	}
	if err := validHTTP(f.http); err != nil {
		return err
	}
	c, err := f.config(ctx, s, u)
	if err != nil {
		return err
	}
	c.Progress = func(name string) { s.err.Progress("%s", name) }
	items, err := doctor.Run(ctx, c)
	s.err.Done()
	if err != nil {
		return notAsked(err)
	}
	r := &report.Report{Command: "doctor", Target: target, Time: time.Now(), Items: items}
	if err := f.reports.write(s, r); err != nil {
		return err
	}
	if f.reports.json != "-" {
		f.print(s, r)
	}
	if r.Count(report.Fail) > 0 {
		return exitError{code: exitFailed}
	}
	return nil
}

// config obtains what a client has. With a key and a certificate there are two tokens.
func (f *doctorFlags) config(ctx context.Context, s *streams, u *url.URL) (*doctor.Config, error) {
	f.call.quiet = true
	caller, err := f.call.caller(s)
	if err != nil {
		return nil, err
	}
	tlsConfig, _, err := f.call.tls.config()
	if err != nil {
		return nil, err
	}
	c := &doctor.Config{
		Target: u, Method: f.call.method, Key: caller.key, Certificate: caller.cert, Issuer: f.call.grant.issuer,
		HTTP: &http.Client{Transport: caller.base, Timeout: f.call.timeout}, Audience: f.call.grant.audience,
		AppOrigin: f.appOrigin, NoBrowsers: f.noBrowsers, Fields: f.fields, Connections: f.connections,
		AlsoClient: func(u *url.URL) (*wire.Client, error) { return wire.NewClient(u, "", tlsConfig) },
	}
	if c.Client, err = wire.NewClient(u, f.call.tls.connect, tlsConfig); err != nil {
		return nil, err
	}
	if f.http != versionOne {
		if c.HTTP2, err = f.overHTTP2(ctx, c.Client, caller.cert); err != nil {
			return nil, notAsked(err)
		}
	}
	if f.http == versionTwo {
		c.Client, c.HTTP2 = c.HTTP2, nil
	}
	for _, raw := range f.also {
		other, err := url.Parse(raw)
		if err != nil {
			return nil, fmt.Errorf("--also: %w", err)
		}
		c.Also = append(c.Also, other)
	}
	if caller.key != nil {
		if c.Token, _, err = f.call.credentials(ctx, s, caller, u); err != nil {
			return nil, err
		}
	}
	c.CertificateToken, err = f.certificateToken(ctx, s, caller, u)
	return c, err
}

// overHTTP2 returns the client for HTTP/2, nil if it is not wanted where the service does
// not offer it.
func (f *doctorFlags) overHTTP2(ctx context.Context, one *wire.Client, cert *tls.Certificate) (*wire.Client, error) {
	if f.http == versionBoth {
		if offers, err := one.OffersHTTP2(ctx, cert); err != nil || !offers {
			return nil, err
		}
	}
	return one.Over2(), nil
}

func (f *doctorFlags) certificateToken(ctx context.Context, s *streams, c *caller, u *url.URL) (string, error) {
	switch {
	case c.cert == nil:
		return "", nil
	case f.certificateTokenFile != "":
		return readSecret(f.certificateTokenFile, s)
	case c.key != nil && !f.call.grant.wanted():
		return "", nil // the one token that was given is bound to the key
	default:
		alone := *c
		alone.key = nil
		token, _, err := f.call.credentials(ctx, s, &alone, u)
		return token, err
	}
}

func (f *doctorFlags) print(s *streams, r *report.Report) {
	for _, i := range r.Items {
		switch {
		case i.Status == report.Fail:
			label := s.out.Bad(i.Severity)
			if i.Severity != "error" {
				label = s.out.Warn(i.Severity)
			}
			s.out.Printf("%s %s: %s\n  %s\n", label, s.out.Bold(i.ID), i.Message, i.Fix)
		case f.verbose:
			s.out.Printf("%s %s: %s\n", s.out.Good(string(i.Status)), i.ID, i.Message)
		}
	}
	n := r.Count(report.Fail)
	findings := "findings"
	if n == 1 {
		findings = "finding"
	}
	s.out.Printf("%d %s, %d in order, %d not looked at\n", n, findings, r.Count(report.Pass), r.Count(report.Skip))
}

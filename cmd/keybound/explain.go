package main

import (
	"context"
	"crypto"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/keybound-go/middleware/cmd/keybound/internal/explain"
	"github.com/keybound-go/middleware/cmd/keybound/internal/pen"
	"github.com/keybound-go/middleware/cmd/keybound/internal/report"
	"github.com/keybound-go/middleware/cmd/keybound/internal/wire"
)

type explainFlags struct {
	entry       int
	token       tokenFlags
	proofFile   string
	method      string
	url         string
	config      explain.Config
	jwks        string
	online      bool
	tls         tlsFlags
	certificate string
	at          string
	json        string
}

func newExplain(s *streams) *cobra.Command {
	f := &explainFlags{}
	c := &cobra.Command{
		Use:   "explain [FILE]",
		Short: "Explain a refused request, check by check",
		Long: `Reads a request that was refused and makes every check of a guard on it, in order and
without stopping: pass or fail, what the request has, what is expected, the section of
the RFC, and the setting that would change it.

FILE, or the standard input, has a HAR file (as browsers save it), a curl line (as
browsers copy it), or the head of a request (as curl -v shows it). Instead, a token and a
proof can be given with --token-file, --proof-file, --request and --url.

It works offline: nothing is sent anywhere, and no token, proof or key is printed or kept.
With --online it fetches the keys of --issuer and checks the token's signature too; so
it does with --jwks, offline.

Times are judged as of when a HAR file says the request was made, --at, or now. A curl
line and a head do not say when: an hour later any proof is too old, so give --at.

Exit status: 0 no check fails, 1 some do.`,
		Example: `  keybound explain request.har --origin https://api.example \
      --issuer https://issuer.example --audience https://api.example

  pbpaste | keybound explain        # a line that "Copy as cURL" has copied

  keybound explain --token-file token --proof-file proof -X POST --url https://api.example/orders`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error { return f.run(c.Context(), s, args) },
	}
	flags := c.Flags()
	flags.IntVar(&f.entry, "entry", 0, "which entry of a HAR file, from 1 (default: the first one that was refused)")
	f.token.add(flags)
	flags.StringVar(&f.proofFile, "proof-file", "", "file with the DPoP proof")
	flags.StringVarP(&f.method, "request", "X", "", "method of the request, where the input does not say")
	flags.StringVar(&f.url, "url", "", "URL of the request, where the input does not say")
	flags.StringArrayVar(&f.config.Origins, "origin", nil, "origin as given to dpop.New; may be repeated (default: the request's)")
	flags.StringVar(&f.config.Issuer, "issuer", "", "issuer as given to oidc.New")
	flags.StringArrayVar(&f.config.Audience, "audience", nil, "audience as given to oidc.New; may be repeated")
	flags.StringVar(&f.config.Profile, "profile", "rfc9068", "profile of the issuer's tokens: rfc9068, or the vendor's name")
	flags.DurationVar(&f.config.Lifetime, "window", time.Minute, "how old proofs may be (dpop.WithLifetime)")
	flags.DurationVar(&f.config.Skew, "ahead", 30*time.Second, "how far ahead proofs may be (dpop.WithSkew)")
	flags.DurationVar(&f.config.Leeway, "leeway", 30*time.Second, "by how much clocks may differ for tokens (oidc.WithSkew)")
	flags.StringSliceVar(&f.config.Algorithms, "algs", nil, "algorithms of proofs (default: the library's)")
	flags.BoolVar(&f.config.Nonces, "nonces", false, "the service demands nonces")
	flags.BoolVar(&f.config.Unbound, "allow-unbound", false, "the service takes bearer tokens")
	flags.StringVar(&f.jwks, "jwks", "", "file with the issuer's key set")
	flags.BoolVar(&f.online, "online", false, "fetch the keys of --issuer")
	flags.StringVar(&f.certificate, "certificate", "", "certificate that the client showed, PEM")
	flags.StringVar(&f.tls.ca, "cacert", "", "file with the CAs to trust for --online, PEM")
	flags.StringVar(&f.at, "at", "", "when the request was made, such as 2026-11-29T13:00:00Z")
	flags.StringVar(&f.json, "json", "", "write JSON to this file, - for the standard output")
	return c
}

func (f *explainFlags) run(ctx context.Context, s *streams, args []string) error {
	r, err := f.request(s, args)
	if err != nil {
		return err
	}
	if err := f.complete(ctx, s); err != nil {
		return err
	}
	f.config.TokenOnly = f.proofFile == "" && (f.token.token != "" || f.token.file != "")
	steps := explain.Explain(r, f.config)
	failed := 0
	for _, step := range steps {
		if step.Verdict == explain.Fail {
			failed++
		}
	}
	if err := f.writeJSON(s, r, steps); err != nil {
		return err
	}
	if f.json != "-" {
		f.print(s, r, steps, failed)
	}
	if failed > 0 {
		return exitError{code: exitFailed}
	}
	return nil
}

// request reads what the flags, the file or the standard input have.
func (f *explainFlags) request(s *streams, args []string) (*explain.Request, error) {
	var r *explain.Request
	if f.proofFile != "" || f.token.token != "" || f.token.file != "" {
		r = &explain.Request{}
		token, err := f.token.get(s)
		if err != nil {
			return nil, err
		}
		scheme := "Bearer"
		if f.proofFile != "" {
			proof, err := readSecret(f.proofFile, s)
			if err != nil {
				return nil, fmt.Errorf("--proof-file: %w", err)
			}
			scheme = "DPoP"
			r.Fields = append(r.Fields, wire.Field{Name: "DPoP", Value: proof})
		}
		r.Fields = append(r.Fields, wire.Field{Name: "Authorization", Value: scheme + " " + token})
	} else {
		text, err := readInput(s, args)
		if err != nil {
			return nil, err
		}
		if r, err = explain.Read(text, f.entry); err != nil {
			return nil, err
		}
	}
	for _, field := range r.Fields {
		if isSecretField(field.Name) {
			s.secrets.Add(field.Value)
		}
	}
	if f.method != "" {
		r.Method = f.method
	}
	if r.Method == "" {
		r.Method = http.MethodGet
	}
	if f.url != "" {
		r.URL = f.url
	}
	return r, nil
}

func readInput(s *streams, args []string) (string, error) {
	in := s.in
	if len(args) == 1 && args[0] != "-" {
		file, err := os.Open(args[0])
		if err != nil {
			return "", err
		}
		defer file.Close()
		in = file
	}
	text, err := io.ReadAll(io.LimitReader(in, 64<<20))
	if err == nil && strings.TrimSpace(string(text)) == "" {
		err = errors.New("the input is empty: a HAR file, a curl line or the head of a request")
	}
	return string(text), err
}

// complete reads the files that the flags name, and fetches keys if it may.
func (f *explainFlags) complete(ctx context.Context, s *streams) (err error) {
	if f.at != "" {
		if f.config.Now, err = time.Parse(time.RFC3339, f.at); err != nil {
			return fmt.Errorf("--at: %q is not like 2026-11-29T13:00:00Z", f.at)
		}
	}
	if f.certificate != "" {
		data, err := os.ReadFile(f.certificate)
		if err != nil {
			return fmt.Errorf("--certificate: %w", err)
		}
		block, _ := pem.Decode(data)
		if block == nil {
			return fmt.Errorf("--certificate: %s is not PEM", f.certificate)
		}
		if f.config.Certificate, err = x509.ParseCertificate(block.Bytes); err != nil {
			return fmt.Errorf("--certificate: %w", err)
		}
	}
	switch {
	case f.jwks != "":
		data, err := os.ReadFile(f.jwks)
		if err != nil {
			return fmt.Errorf("--jwks: %w", err)
		}
		f.config.Keys, err = readKeys(data)
		return err
	case f.online:
		return f.fetchKeys(ctx)
	}
	return nil
}

func readKeys(data []byte) (map[string]crypto.PublicKey, error) {
	var set struct {
		Keys []map[string]any `json:"keys"`
	}
	if err := json.Unmarshal(data, &set); err != nil {
		return nil, errors.New("the key set is not JSON")
	}
	keys := make(map[string]crypto.PublicKey)
	for i, jwk := range set.Keys {
		if jwk["use"] == "enc" {
			continue
		}
		key, err := pen.ParsePublic(jwk)
		if err != nil {
			continue // RFC 7517, section 5: what is not understood is ignored
		}
		kid, _ := jwk["kid"].(string)
		if kid == "" {
			kid = fmt.Sprint("#", i)
		}
		keys[kid] = key
	}
	return keys, nil
}

func (f *explainFlags) fetchKeys(ctx context.Context) error {
	if f.config.Issuer == "" {
		return errors.New("--online needs --issuer")
	}
	config, _, err := f.tls.config()
	if err != nil {
		return err
	}
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: config, Proxy: http.ProxyFromEnvironment}, Timeout: 15 * time.Second}
	u, err := url.Parse(f.config.Issuer)
	if err != nil || u.Host == "" {
		return errors.New("--issuer is not a URL")
	}
	path := strings.TrimSuffix(u.EscapedPath(), "/")
	origin := u.Scheme + "://" + u.Host
	var doc struct {
		Issuer string `json:"issuer"`
		JWKS   string `json:"jwks_uri"`
	}
	err = getJSON(ctx, client, origin+path+"/.well-known/openid-configuration", &doc)
	if err != nil {
		err = getJSON(ctx, client, origin+"/.well-known/oauth-authorization-server"+path, &doc)
	}
	var raw json.RawMessage
	if err == nil {
		err = getJSON(ctx, client, doc.JWKS, &raw)
	}
	if err != nil {
		return notAsked(err)
	}
	f.config.Keys, err = readKeys(raw)
	return err
}

func (f *explainFlags) print(s *streams, r *explain.Request, steps []explain.Step, failed int) {
	group := ""
	for _, step := range steps {
		if step.Group != group {
			group = step.Group
			s.out.Printf("%s\n", s.out.Bold(group))
		}
		mark := s.out.Good("pass")
		switch step.Verdict {
		case explain.Fail:
			mark = s.out.Bad("FAIL")
		case explain.Unknown:
			mark = s.out.Warn("  ? ")
		}
		s.out.Printf("  %s  %s", mark, step.Name)
		if step.Verdict == explain.Pass {
			if step.Got != "" && step.Expected != "" {
				s.out.Printf("  %s", s.out.Dim(step.Got))
			}
			s.out.Printf("\n")
			continue
		}
		s.out.Printf("  %s\n", s.out.Dim(step.Section))
		for _, line := range [][2]string{{"got", step.Got}, {"expected", step.Expected}, {"change", step.Setting}} {
			if line[1] != "" {
				s.out.Printf("          %-9s %s\n", line[0], line[1])
			}
		}
	}
	if r.Status != 0 {
		s.out.Printf("%s %d\n", s.out.Bold("the server answered"), r.Status)
		for _, words := range wire.Explain(r.Status, r.Header) {
			s.out.Printf("  %s\n", words)
		}
	}
	if failed == 0 {
		s.out.Printf("No check on paper fails. What is left: replay, revocation, the route's rules, and what a proxy changes on the way (keybound doctor).\n")
		challenges, _ := wire.Challenges(r.Header)
		for _, c := range challenges {
			if words := explain.Suspects(c.Get("error")); words != "" {
				s.out.Printf("%s\n", words)
				break
			}
		}
		return
	}
	s.out.Printf("%d of %d checks fail; the first is the one that a server tells the client of:\n", failed, len(steps))
	for _, step := range steps {
		if step.Verdict == explain.Fail {
			s.out.Printf("  %s %s\n", step.Group, s.out.Bold(step.Name))
		}
	}
}

func (f *explainFlags) writeJSON(s *streams, r *explain.Request, steps []explain.Step) error {
	if f.json == "" {
		return nil
	}
	out := &report.Report{Command: "explain", Target: r.Method, Time: time.Now()}
	for _, step := range steps {
		i := report.Item{ID: step.Group + "/" + step.Name, Section: step.Section, Fix: step.Setting, Status: report.Pass}
		switch step.Verdict {
		case explain.Fail:
			i.Status, i.Severity = report.Fail, "error"
		case explain.Unknown:
			i.Status = report.Skip
		}
		i.Message = step.Got
		if step.Expected != "" {
			i.Message += " (expected " + step.Expected + ")"
		}
		out.Items = append(out.Items, i)
	}
	files := reportFlags{json: f.json}
	return files.write(s, out)
}

package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/keybound-go/middleware/cmd/keybound/internal/check"
	"github.com/keybound-go/middleware/cmd/keybound/internal/pen"
	"github.com/keybound-go/middleware/cmd/keybound/internal/report"
	"github.com/keybound-go/middleware/cmd/keybound/internal/wire"
)

type checkFlags struct {
	profile       string
	issuer        string
	serve         serveFlags
	plainKeys     bool
	tls           tlsFlags
	origin        string
	settings      check.Config
	baseline      string
	writeBaseline string
	compare       string
	list          bool
	verbose       bool
	wait          time.Duration
	http          string
	reports       reportFlags
}

// The values of --http.
const (
	versionOne  = "1.1"
	versionTwo  = "2"
	versionBoth = "both"
)

func addHTTP(c *cobra.Command, to *string, usage string) {
	c.Flags().StringVar(to, "http", versionBoth, usage)
	_ = c.RegisterFlagCompletionFunc("http", cobra.FixedCompletions([]string{versionOne, versionTwo, versionBoth}, cobra.ShellCompDirectiveNoFileComp))
}

func validHTTP(value string) error {
	if value != versionOne && value != versionTwo && value != versionBoth {
		return fmt.Errorf("--http %s is not one of %s, %s, %s", value, versionOne, versionTwo, versionBoth)
	}
	return nil
}

// reportFlags name the files for machines and colleagues.
type reportFlags struct{ html, junit, sarif, json string }

func (f *reportFlags) add(flags *pflag.FlagSet) {
	flags.StringVar(&f.html, "html", "", "write an HTML page to this file")
	flags.StringVar(&f.junit, "junit", "", "write JUnit XML to this file")
	flags.StringVar(&f.sarif, "sarif", "", "write SARIF 2.1.0 to this file")
	flags.StringVar(&f.json, "json", "", "write JSON to this file, - for the standard output")
}

func (f *reportFlags) write(s *streams, r *report.Report) error {
	r.Cut(s.secrets.Cut)
	for _, to := range []struct {
		name  string
		write func(io.Writer) error
	}{{f.html, r.WriteHTML}, {f.junit, r.WriteJUnit}, {f.sarif, r.WriteSARIF}, {f.json, r.WriteJSON}} {
		if to.name == "" {
			continue
		}
		if to.name == "-" {
			if err := to.write(s.stdout); err != nil {
				return err
			}
			continue
		}
		file, err := os.Create(to.name)
		if err != nil {
			return err
		}
		if err := errors.Join(to.write(file), file.Close()); err != nil {
			return err
		}
	}
	return nil
}

func newCheck(s *streams) *cobra.Command {
	f := &checkFlags{}
	var profiles []string
	for _, p := range check.Profiles {
		profiles = append(profiles, string(p))
	}
	c := &cobra.Command{
		Use:   "check URL",
		Short: "Check whether a resource server in any language does what the RFCs say",
		Long: `Plays the issuer, the client and the attacker against a resource server, and judges
every answer by a row that carries the sentence it enforces. The server may be
written in any language; docs/check.md shows how to set up some.

The server must trust the issuer that this command runs (--issuer, with its CA in
--issuer-ca-file), take tokens for --audience, and answer 2xx to a good GET of the
URL. The command starts the issuer, waits up to --wait for the server, finds out what
it is like (nonces, algorithms, methods), and tries all rows of the profile.

A server that refuses in a form of its own, such as 400 for a bad proof, fails nearly
every row: --any-form shows what it accepts or refuses wrongly, apart from that.

The rows are tried over HTTP/1.1 and, if the server offers it, over HTTP/2 too; there the
IDs end in @h2. Rows whose requests exist in one of them alone say so.

Each row fails, passes, or says nothing about this server. Rows are MUST, SHOULD or MAY
as their sentence is, or PRACTICE where no RFC says it and an attack or other
implementations do. Any failure makes the exit status 1, unless the file of
--baseline accepts it: one row's ID a line, and behind it why.

With --compare, the rows are tried at a second server too, and what differs is shown.`,
		Example: `  keybound check https://api.localhost:8443/orders --cacert api-ca.pem --profile rfc9449 \
      --issuer https://127.0.0.1:9400 --issuer-ca-file issuer-ca.pem \
      --audience https://api.example --scope orders:read --html report.html

  # What is tried, without a server
  keybound check --list --profile fapi2`,
		Args: func(c *cobra.Command, args []string) error {
			if f.list {
				return cobra.NoArgs(c, args)
			}
			return cobra.ExactArgs(1)(c, args)
		},
		RunE: func(c *cobra.Command, args []string) error {
			if !slices.Contains(profiles, f.profile) {
				return fmt.Errorf("--profile %s is not one of %s", f.profile, strings.Join(profiles, ", "))
			}
			if err := validHTTP(f.http); err != nil {
				return err
			}
			f.settings.Profile = check.Profile(f.profile)
			if f.list {
				f.printRows(s)
				return nil
			}
			return f.run(c.Context(), s, args[0])
		},
	}
	flags := c.Flags()
	flags.StringVar(&f.profile, "profile", "rfc9449", "what to check for: "+strings.Join(profiles, ", "))
	flags.StringVar(&f.issuer, "issuer", "https://127.0.0.1:9400", "identifier of the issuer that this command runs; http for a server that cannot be told a CA")
	f.serve.add(flags, "issuer-")
	flags.BoolVar(&f.plainKeys, "plain-keys", false, "publish good keys alone, for a server that cannot read a set with others")
	f.tls.add(flags)
	flags.StringVar(&f.origin, "origin", "", "what clients call the server, if not scheme and host of the URL")
	flags.StringVar(&f.settings.Audience, "audience", "", "aud of good tokens (default: the URL without its query)")
	flags.StringVar(&f.settings.Scope, "scope", "", "scope that the URL demands")
	flags.StringVar(&f.settings.TokenAlg, "token-alg", "ES256", "algorithm of good tokens: ES256, RS256 or PS256")
	flags.BoolVar(&f.settings.Opaque, "opaque", false, "give out opaque tokens: the server introspects")
	flags.BoolVar(&f.settings.MTLS, "certificates", false, "good tokens are certificate-bound (always so for rfc8705)")
	flags.DurationVar(&f.settings.Window, "window", 0, "how old the server lets proofs be, to try both sides of the edge")
	flags.DurationVar(&f.settings.Ahead, "ahead", 0, "how far ahead of its clock the server lets proofs be")
	flags.DurationVar(&f.settings.Leeway, "leeway", 0, "how long after exp the server takes tokens")
	flags.DurationVar(&f.settings.Answers, "answers", 0, "how long the server goes by an answer of introspection, to try what follows a revocation")
	flags.BoolVar(&f.settings.AnyTokenAlg, "any-token-alg", false, "the server takes tokens by ES256, RS256 and PS256, whatever --token-alg says")
	flags.BoolVar(&f.settings.Browsers, "browsers", false, "scripts of other origins call the server: it lets preflights pass, and exposes what they need")
	flags.BoolVar(&f.settings.AnyForm, "any-form", false, "take a refusal in whatever form: judge neither its status nor its error code")
	flags.StringVar(&f.baseline, "baseline", "", "file with the deviations that are accepted")
	flags.StringVar(&f.writeBaseline, "write-baseline", "", "write the failures to this file, as a baseline to give reasons in")
	flags.StringVar(&f.compare, "compare", "", "URL of a second server, which trusts the same issuer")
	flags.DurationVar(&f.wait, "wait", 30*time.Second, "how long to wait for the server to listen")
	flags.BoolVar(&f.list, "list", false, "print the rows of the profile and try none")
	flags.BoolVarP(&f.verbose, "verbose", "v", false, "print every row, not failures alone")
	addHTTP(c, &f.http, "HTTP version: 1.1, 2 (h2c with prior knowledge for an http URL), or both: HTTP/2 too if the server offers it by ALPN")
	f.reports.add(flags)
	_ = c.RegisterFlagCompletionFunc("profile", cobra.FixedCompletions(profiles, cobra.ShellCompDirectiveNoFileComp))
	return c
}

func (f *checkFlags) printRows(s *streams) {
	for _, r := range check.Rows(f.settings.Profile) {
		s.out.Printf("%-60s %-8s %s: %s\n", r.ID, r.Level, r.Section, r.Sentence)
	}
}

func (f *checkFlags) run(ctx context.Context, s *streams, target string) error {
	baseline, err := f.readBaseline()
	if err != nil {
		return err
	}
	issuerURL, err := url.Parse(f.issuer)
	if err != nil || issuerURL.Host == "" {
		return fmt.Errorf("--issuer %q is not a URL", f.issuer)
	}
	s.err.Progress("making keys")
	issuer, err := check.NewIssuer(f.issuer, f.plainKeys)
	if err != nil {
		return err
	}
	server, err := f.serve.open(issuerURL, issuer)
	if err != nil {
		return err
	}
	defer server.close()

	results, err := f.check(ctx, s, issuer, target)
	if err != nil {
		return err
	}
	if f.compare != "" {
		return f.printDifferences(ctx, s, issuer, target, results)
	}
	stale := baseline.Apply(results)
	if f.writeBaseline != "" {
		var text strings.Builder
		if err := check.WriteBaseline(&text, results); err != nil {
			return err
		}
		if err := os.WriteFile(f.writeBaseline, []byte(text.String()), 0o644); err != nil {
			return err
		}
	}
	r := f.report(target, results)
	if err := f.reports.write(s, r); err != nil {
		return err
	}
	if f.reports.json != "-" {
		f.print(s, r, stale)
	}
	if r.Count(report.Fail) > 0 {
		return exitError{code: exitFailed}
	}
	return nil
}

func (f *checkFlags) readBaseline() (check.Baseline, error) {
	if f.baseline == "" {
		return nil, nil
	}
	file, err := os.Open(f.baseline)
	if err != nil {
		return nil, fmt.Errorf("--baseline: %w", err)
	}
	defer file.Close()
	return check.ReadBaseline(file)
}

// check tries all rows at one server.
func (f *checkFlags) check(ctx context.Context, s *streams, issuer *check.Issuer, target string) ([]check.Result, error) {
	u, err := url.Parse(target)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, fmt.Errorf("%q is not an http or https URL", target)
	}
	config, _, err := f.tls.config()
	if err != nil {
		return nil, err
	}
	c := f.settings
	c.Target, c.Origin, c.Issuer = u, f.origin, issuer
	c.MTLS = c.MTLS || c.Profile == check.RFC8705
	if c.Audience == "" {
		c.Audience = u.Scheme + "://" + u.Host + u.EscapedPath()
	}
	if c.Client, err = wire.NewClient(u, f.tls.connect, config); err != nil {
		return nil, err
	}
	c.Progress = func(done, all int, id string) { s.err.Progress("%d of %d  %s", done, all, id) }
	if err := waitFor(ctx, c.Client.Dial, f.wait); err != nil {
		return nil, notAsked(fmt.Errorf("%s does not listen: %w", c.Client.Dial, err))
	}
	results, err := f.overEach(ctx, s, c)
	s.err.Done()
	if err != nil {
		return nil, notAsked(err)
	}
	return results, nil
}

// overEach tries the rows over the versions of HTTP that are wanted.
func (f *checkFlags) overEach(ctx context.Context, s *streams, c check.Config) (results []check.Result, err error) {
	two, one := f.http == versionTwo, f.http != versionTwo
	if f.http == versionBoth {
		var certificate *tls.Certificate
		if c.MTLS { // the server may end a handshake without any
			own, err := pen.SelfSigned("keybound check", time.Now())
			if err != nil {
				return nil, err
			}
			certificate = &own
		}
		if two, err = c.Client.OffersHTTP2(ctx, certificate); err != nil {
			return nil, err
		}
		if !two {
			s.err.Done()
			s.err.Printf("%s does not offer HTTP/2: the rows are tried over HTTP/1.1 alone\n", c.Target.Host)
		}
	}
	if one {
		first := c
		if two {
			first.Only = check.InHTTP1
		}
		if results, err = check.Run(ctx, &first); err != nil || !two {
			return results, err
		}
	}
	c.Client = c.Client.Over2()
	more, err := check.Run(ctx, &c)
	return append(results, more...), err
}

// waitFor waits until something listens.
func waitFor(ctx context.Context, address string, limit time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	for {
		conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
		if err == nil {
			return conn.Close()
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// severities of failures by level.
var severities = map[check.Level]string{check.Must: "error", check.Should: "warning", check.May: "note", check.Practice: "note"}

// otherForm is the level of a failure of a server that refused as the row's sentence
// demands, and told the client another status, scheme or error code than the RFC names.
const otherForm = "FORM"

func (f *checkFlags) report(target string, results []check.Result) *report.Report {
	r := &report.Report{Command: "check", Target: target, Profile: f.profile, Time: time.Now()}
	for _, res := range results {
		i := report.Item{
			ID: res.Row.ID, Section: res.Row.Section, Sentence: res.Row.Sentence, Level: res.Row.Level.String(),
			Message: res.Reason, Duration: res.Duration,
		}
		switch {
		case res.Status == check.Passed:
			i.Status = report.Pass
		case res.Status == check.Skipped:
			i.Status = report.Skip
		case res.Accept != "":
			i.Status, i.Fix, i.Severity = report.Accepted, res.Accept, severities[res.Row.Level]
			if res.OtherForm {
				i.Level, i.Severity = otherForm, "note"
			}
		default:
			i.Status, i.Severity = report.Fail, severities[res.Row.Level]
			switch {
			case res.Accepted:
				i.Severity = "error"
			case res.OtherForm: // what the sentence demands is done
				i.Level, i.Severity = otherForm, "note"
			}
		}
		r.Items = append(r.Items, i)
	}
	return r
}

func (f *checkFlags) print(s *streams, r *report.Report, stale []string) {
	for _, i := range r.Items {
		switch {
		case i.Status == report.Fail:
			s.out.Printf("%s %s [%s]\n     %s\n     %s\n", s.out.Bad("FAIL"), s.out.Bold(i.ID), i.Level, i.Message, s.out.Dim(i.Section+": "+i.Sentence))
		case f.verbose:
			text := i.Message
			if text != "" {
				text = ": " + text
			}
			s.out.Printf("%-4s %s%s\n", i.Status, i.ID, text)
		}
	}
	for _, id := range stale {
		s.out.Printf("%s the baseline accepts %s, which does not fail\n", s.out.Warn("note"), id)
	}
	forms := 0
	for _, i := range r.Items {
		if i.Status == report.Fail && i.Level == otherForm {
			forms++
		}
	}
	text := ""
	if forms > 0 {
		text = fmt.Sprintf(" (%d by the form of the refusal alone)", forms)
	}
	s.out.Printf("%d pass, %d fail%s, %d accepted by the baseline, %d say nothing about this server\n",
		r.Count(report.Pass), r.Count(report.Fail), text, r.Count(report.Accepted), r.Count(report.Skip))
}

// printDifferences checks the second server, and prints the rows with different results.
func (f *checkFlags) printDifferences(ctx context.Context, s *streams, issuer *check.Issuer, target string, first []check.Result) error {
	second, err := f.check(ctx, s, issuer, f.compare)
	if err != nil {
		return err
	}
	differ := 0
	s.out.Printf("A  %s\nB  %s\n\n", target, f.compare)
	other := make(map[string]check.Result)
	for _, b := range second {
		other[b.Row.ID] = b
	}
	// One of them may not offer HTTP/2.
	notTried := func(row check.Row) check.Result {
		return check.Result{Row: row, Status: check.Skipped, Reason: "not tried over this version of HTTP"}
	}
	rows := make(map[string]bool)
	for _, a := range first {
		rows[a.Row.ID] = true
	}
	for _, b := range second {
		if !rows[b.Row.ID] {
			first = append(first, notTried(b.Row))
		}
	}
	for _, a := range first {
		b, tried := other[a.Row.ID]
		if !tried {
			b = notTried(a.Row)
		}
		if a.Status == b.Status && a.Reason == b.Reason {
			continue
		}
		differ++
		s.out.Printf("%s [%s]\n  A %s\n  B %s\n", s.out.Bold(a.Row.ID), a.Row.Level, resultText(a), resultText(b))
	}
	s.out.Printf("\n%d of %d rows differ\n", differ, len(first))
	if differ > 0 {
		return exitError{code: exitFailed}
	}
	return nil
}

func resultText(r check.Result) string {
	if r.Reason == "" {
		return r.Status.String()
	}
	return r.Status.String() + ": " + r.Reason
}

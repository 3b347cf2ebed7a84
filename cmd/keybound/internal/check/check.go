// Package check answers "does this resource server do what the RFCs say?" It plays the
// issuer, the client and the attacker against a server in any language, and judges
// each answer by a row that carries the sentence it enforces.
//
// It shares no code with the verifiers of this repository: it signs with the standard
// library, by way of package pen, and reads answers with package wire.
package check

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"iter"
	"maps"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/keybound-go/middleware/cmd/keybound/internal/pen"
	"github.com/keybound-go/middleware/cmd/keybound/internal/wire"
)

// Level is how binding a row's sentence is.
type Level int

// The levels. Practice is a sentence that no RFC has: what implementations agree on,
// or what an attack shows.
const (
	Must Level = iota
	Should
	May
	Practice
)

// String returns the level as reports show it.
func (l Level) String() string { return [...]string{"MUST", "SHOULD", "MAY", "PRACTICE"}[l] }

// Profile is what the server is checked for.
type Profile string

// The profiles.
const (
	RFC9449 Profile = "rfc9449" // DPoP
	RFC8705 Profile = "rfc8705" // certificate-bound tokens
	FAPI2   Profile = "fapi2"   // FAPI 2.0 Security Profile, with DPoP or certificates
	MCP     Profile = "mcp"     // Model Context Protocol with DPoP
)

// Profiles lists them.
var Profiles = []Profile{RFC9449, RFC8705, FAPI2, MCP}

// Row is one requirement, and how it is tried.
type Row struct {
	ID       string // such as DPOP-4.3-08/lower-case
	Section  string // such as "RFC 9449, section 4.3, check 8"
	Sentence string
	Level    Level
	// applies says why the row says nothing about this server, "" if it does.
	applies func(*Config) string
	try     func(*play)
}

// Status of a result.
type Status int

// The statuses.
const (
	Passed Status = iota
	Failed
	Skipped
)

// String returns the status as reports show it.
func (s Status) String() string { return [...]string{"pass", "fail", "skip"}[s] }

// overHTTP2 ends the ID of a row in a result of an HTTP/2 request, where the row can be
// tried in HTTP/1.1 too.
const overHTTP2 = "@h2"

// Result is what came of a row.
type Result struct {
	Row    Row
	Status Status
	// Accepted reports that the server let a request pass that it must refuse.
	Accepted bool
	// OtherForm reports that the server refused the request as it must, and named
	// another status, scheme or error code than the RFC does.
	OtherForm bool
	Reason    string // of a failure or a skip
	Accept    string // of a baseline: why the deviation is accepted; "" if it is not
	Duration  time.Duration
}

// Config says which server is checked, and what is known of it.
type Config struct {
	Profile  Profile
	Target   *url.URL // a GET of it answers 2xx to a good request
	Origin   string   // what clients call the server; "" for scheme and host of Target
	Client   *wire.Client
	Issuer   *Issuer
	Audience string

	// MTLS makes certificate-bound tokens, rather than DPoP-bound ones, the good ones.
	MTLS bool
	// Both reports that the server takes DPoP and certificates.
	Both bool
	// Opaque makes tokens opaque, for a server that introspects.
	Opaque bool
	// Scope is what the target demands, "" for nothing.
	Scope string
	// TokenAlg signs the tokens: ES256, RS256 or PS256.
	TokenAlg string
	// AnyTokenAlg reports that the server takes tokens by each of these three.
	AnyTokenAlg bool
	// Browsers reports that clients are scripts of other origins: preflights pass, and
	// responses expose what clients need.
	Browsers bool
	// Window and Ahead are how old, and how far ahead, proofs may be; zero if the
	// operator does not say. Leeway is the same for exp of tokens.
	Window, Ahead, Leeway time.Duration
	// Answers is for how long the server goes by an answer of introspection; zero if the
	// operator does not say.
	Answers time.Duration
	// Only chooses rows by their IDs; nil chooses all.
	Only func(id string) bool
	// AnyForm takes a refusal in whatever form, and judges neither status nor error code.
	AnyForm bool
	// FailFast ends the run at the first row that fails.
	FailFast bool
	// Progress is told of every row before it is tried.
	Progress func(done, all int, id string)

	// What the probe finds out.
	Nonces      bool // proofs need a nonce
	Subtree     bool // everything below Target is served alike
	POST, HEAD  bool // Target takes these methods
	Unbound     bool // unbound bearer tokens are accepted
	Algorithms  []string
	challenge   *wire.Response // to a request without credentials
	nonce       *nonceKeeper
	silent      *atomic.Bool // a request of the row was not answered
	certificate tls.Certificate
	observed    *observations
	other       tls.Certificate
	authority   *pen.Authority
}

func (c *Config) origin() string {
	if c.Origin != "" {
		return c.Origin
	}
	return c.Target.Scheme + "://" + c.Target.Host
}

// path is the target's path as it goes into the request line.
func (c *Config) path() string {
	if p := c.Target.EscapedPath(); p != "" {
		return p
	}
	return "/"
}

// scheme under which good tokens are sent.
func (c *Config) scheme() string {
	if c.MTLS {
		return "Bearer"
	}
	return "DPoP"
}

// Errors that end a run early: that of Run wraps one of them.
var (
	// ErrNoAnswer says that the server does not answer, whatever it is asked. That is no
	// result: the rows that were tried meanwhile have none, and the others are not tried.
	ErrNoAnswer = errors.New("the server does not answer")
	// ErrRefusesAll says that the server refuses the good request, at first or by now.
	ErrRefusesAll = errors.New("the good request is refused")
)

// Run checks the server with every row of the profile, in order. The error says that
// the server cannot be checked: it is ErrNoAnswer or ErrRefusesAll, or that of ctx.
func Run(ctx context.Context, c *Config) ([]Result, error) {
	if err := c.probe(ctx); err != nil {
		return nil, err
	}
	rows := Rows(c.Profile)
	if c.Only != nil {
		rows = slices.DeleteFunc(rows, func(r Row) bool { return !c.Only(r.ID) })
	}
	results := make([]Result, 0, len(rows))
	for i, row := range rows {
		if err := ctx.Err(); err != nil {
			return results, err
		}
		if c.Progress != nil {
			c.Progress(i, len(rows), row.ID)
		}
		c.silent.Store(false)
		result := c.try(ctx, row)
		if c.silent.Load() && !c.answers(ctx) {
			return results, fmt.Errorf("check: at %s: %w", row.ID, ErrNoAnswer)
		}
		results = append(results, result)
		if c.FailFast && result.Status == Failed {
			return results, nil
		}
		if i%40 == 39 || i == len(rows)-1 {
			// A server that refuses everything by now, such as one that throttles, would
			// pass every row about a refusal.
			if err := c.control(ctx); err != nil {
				return results, fmt.Errorf("check: after %s: %w", row.ID, err)
			}
		}
	}
	return results, nil
}

// control sends a good request.
func (c *Config) control(ctx context.Context) error {
	p := &play{Config: c, ctx: ctx}
	res, err := p.exchange(p.draft())
	switch {
	case err != nil && !c.answers(ctx):
		return fmt.Errorf("%w: %w", ErrNoAnswer, err)
	case err != nil:
		return fmt.Errorf("%w: %w", ErrRefusesAll, err)
	case res.Status/100 != 2:
		return fmt.Errorf("%w: %s", ErrRefusesAll, answerText(res))
	}
	return nil
}

// answers reports whether the server answers a request without credentials. It asks
// three times, since one connection may break.
func (c *Config) answers(ctx context.Context) bool {
	for range 3 {
		if _, err := c.Client.Do(ctx, nil, wire.Request{Method: "GET", Target: c.requestTarget()}); err == nil {
			return true
		}
	}
	return false
}

func (c *Config) try(ctx context.Context, row Row) (result Result) {
	result = Result{Row: row}
	if c.Client.HTTP2 && InHTTP1(row.ID) {
		result.Row.ID += overHTTP2
	}
	if row.applies != nil {
		if why := row.applies(c); why != "" {
			result.Status, result.Reason = Skipped, why
			return result
		}
	}
	p := &play{Config: c, ctx: ctx, row: row}
	start := time.Now()
	defer func() {
		result.Duration = time.Since(start)
		switch stop := recover().(type) {
		case nil:
		case outcome:
			result.Status, result.Reason = stop.status, stop.reason
			result.Accepted, result.OtherForm = stop.accepted, stop.form
		default:
			panic(stop)
		}
	}()
	row.try(p)
	return result
}

// Rows returns the rows of a profile, in the order of the texts.
func Rows(profile Profile) []Row {
	s := &suite{profile: profile}
	s.authorization()
	switch profile {
	case RFC8705:
		s.certificates()
	default:
		s.proofs()
		s.nonces()
		s.replays()
		s.targets()
		s.certificatesBeside()
	}
	s.tokens()
	s.introspection()
	s.http()
	s.browsers()
	s.http2()
	if profile == MCP {
		s.resourceMetadata()
	}
	if profile == FAPI2 {
		s.fapi2()
		s.certificates()
	}
	s.everyAnswer()
	return s.rows
}

// suite collects rows.
type suite struct {
	profile Profile
	rows    []Row
}

// text is what the rows of one requirement share.
type text struct {
	id, section string
	level       Level
	sentence    string
	applies     func(*Config) string
}

// variant is one row of a requirement: a name, and a change to the good request.
type variant struct {
	name string
	edit func(*draft)
}

func (s *suite) add(t text, name string, try func(*play)) {
	id := t.id
	if name != "" {
		id += "/" + name
	}
	if slices.ContainsFunc(s.rows, func(r Row) bool { return r.ID == id }) {
		panic("check: two rows are called " + id)
	}
	s.rows = append(s.rows, Row{ID: id, Section: t.section, Sentence: t.sentence, Level: t.level, applies: t.applies, try: try})
}

// accepted adds rows for requests that must pass.
func (s *suite) accepted(t text, variants ...variant) {
	for _, v := range variants {
		s.add(t, v.name, func(p *play) {
			d := p.draft()
			v.edit(d)
			p.accept(p.send(d))
		})
	}
}

// refused adds rows for requests that must not pass. want is the answer, empty for
// any refusal.
func (s *suite) refused(t text, want answer, variants ...variant) {
	for _, v := range variants {
		s.add(t, v.name, func(p *play) {
			d := p.draft()
			v.edit(d)
			p.refuse(p.send(d), want)
		})
	}
}

// inOrder ranges over a map in the order of its keys, so that rows always come in the
// same order.
func inOrder[V any](m map[string]V) iter.Seq2[string, V] {
	return func(yield func(string, V) bool) {
		for _, name := range slices.Sorted(maps.Keys(m)) {
			if !yield(name, m[name]) {
				return
			}
		}
	}
}

// Conditions of rows.

func needsDPoP(c *Config) string {
	if c.MTLS {
		return "the server is checked with certificates"
	}
	return ""
}

func needsJWT(c *Config) string {
	if c.Opaque {
		return "the tokens are opaque"
	}
	return ""
}

func needsOpaque(c *Config) string {
	if !c.Opaque {
		return "the tokens are JWTs; --opaque checks introspection"
	}
	return ""
}

func all(conditions ...func(*Config) string) func(*Config) string {
	return func(c *Config) string {
		for _, f := range conditions {
			if f == nil {
				continue
			}
			if why := f(c); why != "" {
				return why
			}
		}
		return ""
	}
}

func not(why string, f func(*Config) bool) func(*Config) string {
	return func(c *Config) string {
		if f(c) {
			return why
		}
		return ""
	}
}

// probe finds out what the server is like, and that the good request passes.
func (c *Config) probe(ctx context.Context) (err error) {
	c.nonce, c.observed, c.silent = &nonceKeeper{}, newObservations(), new(atomic.Bool)
	if c.TokenAlg == "" {
		c.TokenAlg = "ES256"
	}
	if c.authority, err = pen.NewAuthority("keybound check CA"); err != nil {
		return err
	}
	c.certificate, err = c.authority.Client("keybound-client")
	if err != nil {
		return err
	}
	if c.other, err = c.authority.Client("keybound-other"); err != nil {
		return err
	}
	p := &play{Config: c, ctx: ctx}
	bare := wire.Request{Method: "GET", Target: c.requestTarget()}
	if c.challenge, err = c.Client.Do(ctx, nil, bare); err != nil {
		return fmt.Errorf("check: %w: %w", ErrNoAnswer, err)
	}
	if c.challenge.Status/100 == 2 {
		return fmt.Errorf("check: the server answers %d to a request without credentials: %s is not protected", c.challenge.Status, c.Target)
	}
	challenges, _ := wire.Challenges(c.challenge.Header)
	if ch, ok := wire.Find(challenges, "DPoP"); ok {
		c.Algorithms = strings.Fields(ch.Get("algs"))
	}
	res, err := c.firstGood(ctx, p)
	switch {
	case err != nil && !c.answers(ctx):
		return fmt.Errorf("check: %w: %w", ErrNoAnswer, err)
	case err != nil:
		return fmt.Errorf("check: %w: %w", ErrRefusesAll, err)
	case res.Status/100 != 2:
		return fmt.Errorf("check: %w, so nothing can be checked: %s"+
			"\nThe server must trust the issuer %s (its CA, its keys), and take tokens for the audience %s (docs/check.md)", ErrRefusesAll, answerText(res), c.Issuer.URL, c.Audience)
	}
	ok := func(edit func(*draft)) bool {
		d := p.draft()
		edit(d)
		res, err := p.exchange(d)
		return err == nil && res.Status/100 == 2
	}
	c.POST = ok(func(d *draft) { d.method = "POST" })
	c.HEAD = ok(func(d *draft) { d.method = "HEAD" })
	c.Subtree = ok(func(d *draft) { d.path += "/keybound-check" })
	c.Unbound = ok(func(d *draft) { d.unbind(); d.scheme, d.noProof = "Bearer", true })
	c.Both = ok(func(d *draft) {
		d.onToken(func(j *jwt) {
			j.claims["cnf"] = map[string]any{"x5t#S256": pen.CertificateThumbprint(c.certificate.Leaf.Raw), "jkt": d.key.Thumbprint()}
		})
		d.scheme, d.noProof, d.cert = "DPoP", false, &c.certificate
	})
	return nil
}

// patience is how long the server may take to fetch the keys of an issuer that has
// just started, or of one that it has asked in vain.
const patience = 20 * time.Second

// firstGood sends the good request until it passes, or for as long as the server may
// still look for the issuer's keys.
func (c *Config) firstGood(ctx context.Context, p *play) (*wire.Response, error) {
	for end := time.Now().Add(patience); ; {
		res, err := p.exchange(p.draft())
		if err != nil {
			return nil, err
		}
		if wantsNonce(res) && !c.Nonces {
			c.Nonces = true
			continue
		}
		if res.Status/100 == 2 || time.Now().After(end) || res.Status != 503 && !refusesToken(res) {
			return res, nil
		}
		select {
		case <-ctx.Done():
			return res, nil
		case <-time.After(500 * time.Millisecond):
		}
	}
}

func refusesToken(res *wire.Response) bool {
	challenges, _ := wire.Challenges(res.Header)
	return slices.ContainsFunc(challenges, func(c wire.Challenge) bool { return c.Get("error") == "invalid_token" })
}

func wantsNonce(res *wire.Response) bool {
	challenges, _ := wire.Challenges(res.Header)
	ch, ok := wire.Find(challenges, "DPoP")
	return ok && ch.Get("error") == "use_dpop_nonce"
}

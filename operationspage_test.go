package middleware_test

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/keybound-go/middleware"
	"github.com/keybound-go/middleware/dpop"
	"github.com/keybound-go/middleware/internal/outage"
	"github.com/keybound-go/middleware/mtlspop"
	"github.com/keybound-go/middleware/oidc"
	"github.com/keybound-go/middleware/oidc/clientauth"
	"github.com/keybound-go/middleware/oidc/exchange"
	"github.com/keybound-go/middleware/oidc/introspect"
	"github.com/keybound-go/middleware/oidc/oidctest"
	"github.com/keybound-go/middleware/oidc/tenants"
	"github.com/keybound-go/middleware/session"
)

// table is the rows of the tables of a section, without their heads, by the first cell.
func (p *page) table(title string) map[string][]string {
	p.t.Helper()
	p.step(title, "")
	rows := make(map[string][]string)
	for line := range strings.Lines(p.prose[title]) {
		if !strings.HasPrefix(line, "| ") {
			continue
		}
		var cells []string
		for _, cell := range strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|") {
			cells = append(cells, strings.TrimSpace(cell))
		}
		rows[cells[0]] = cells[1:]
	}
	require.NotEmpty(p.t, rows)
	return rows
}

// run does what each row of a table says, by the function for its first cell.
func (p *page) run(title, head string, does map[string]func(t *testing.T, cells []string)) {
	p.t.Helper()
	rows := p.table(title)
	delete(rows, head)
	require.ElementsMatch(p.t, slices.Collect(maps.Keys(does)), slices.Collect(maps.Keys(rows)), title)
	for name, f := range does {
		p.t.Run(name, func(t *testing.T) { f(t, rows[name]) })
	}
}

// words is a text wherever its lines break.
func words(text string) string { return strings.Join(strings.Fields(text), " ") }

var inBackticks = regexp.MustCompile("`([^`]+)`")

func quoted(text string) (all []string) {
	for _, m := range inBackticks.FindAllStringSubmatch(text, -1) {
		all = append(all, m[1])
	}
	return all
}

// TestWhatOperatorsReadOfOperationsHappens does what docs/operations.md says.
func TestWhatOperatorsReadOfOperationsHappens(t *testing.T) {
	p := readPage(t, "docs/operations.md")
	t.Run("ten lines", func(t *testing.T) { p.tenLines(t) })
	t.Run("the lines", func(t *testing.T) { p.linesOfRefusals(t) })
	t.Run("the keys", func(t *testing.T) { p.keysOfLines(t) })
	t.Run("what no line can say", func(t *testing.T) { p.silentMistakes(t) })
	t.Run("readiness", func(t *testing.T) { p.readiness(t) })
	p.run("Replicas", "what", replicas)
	t.Run("rotating keys", func(t *testing.T) { p.rotation(t) })
	p.run("When something is down", "down", outages)
	require.Contains(t, words(p.prose["When something is down"]), "It is never 401")
	t.Run("a clock of the service", func(t *testing.T) { p.clock(t) })
	t.Run("long responses", func(t *testing.T) { p.longResponses(t) })
	t.Run("alerts", func(t *testing.T) { p.alerts(t) })
	p.done()
}

func (p *page) linesOfRefusals(t *testing.T) {
	const title = "One log line per refusal"
	lines := p.step(title, "text")
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		w := newWorld(t)
		w.issuer = oidctest.NewIssuer(t, oidctest.InMemory("https://operations.example"))
		tokens := middleware.WithTokens(oidc.New(w.issuer.URL, oidctest.Audience, oidc.WithHTTPClient(w.issuer.Client())))
		logger := middleware.WithLogger(slog.New(slog.NewTextHandler(&log, nil)))
		g, err := middleware.New(both(tokens, logger)...)
		require.NoError(t, err)
		defer g.Close()
		serve(g, w.dpopRequest("/r", oidctest.Claim("aud", "https://other.example"))).refused(t, 401)
		down := newWorld(t)
		down.issuer.SetDown(true)
		serve(down.guard(both(logger)...), down.dpopRequest("/r?secret=1")).refused(t, 503)
		requireLines(t, lines[0], log.String())
		require.NotContains(t, log.String(), "secret")

		log.Reset()
		serve(g, w.dpopRequest("/r")).accepted(t)
		require.Empty(t, log.String(), "a request that passes is no line")
		w.issuer.SetDown(true)
		time.Sleep(3 * time.Hour)
		w.issuer.SetDown(false)
		time.Sleep(3 * time.Hour)
		requireLines(t, lines[1], log.String())
	})
	require.Contains(t, words(p.prose[title]), "one line per cause in ten seconds") // see TestOutagesAreLoggedByDefault
}

// keysOfLines compares the table of keys with those that an Outcome can have.
func (p *page) keysOfLines(t *testing.T) {
	const title = "One log line per refusal"
	var documented []string
	for first := range p.table(title) {
		documented = append(documented, quoted(first)...)
	}
	keys := make(map[string]bool)
	for _, status := range []int{0, 401} {
		var o middleware.Outcome
		fill(reflect.ValueOf(&o).Elem())
		if o.Status = status; status == 0 {
			o.WouldDeny = "x"
		}
		o.Err = errors.New("x")
		for _, a := range o.LogValue().Group() {
			keys[a.Key] = true
		}
	}
	require.ElementsMatch(t, documented, slices.Collect(maps.Keys(keys)))
}

// fill gives every field a value that is not zero.
func fill(v reflect.Value) {
	switch v.Kind() {
	case reflect.String:
		v.SetString("x")
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int64:
		v.SetInt(401)
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem())
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		fill(v.Index(0))
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Field(i).CanSet() {
				fill(v.Field(i))
			}
		}
	}
}

func (p *page) silentMistakes(t *testing.T) {
	const title = "What no line can say"
	rows := p.table(title)
	require.Len(t, rows, 4)
	// What the command finds, its own tests hold; here, that they do.
	doctor, err := os.ReadFile("cmd/keybound/doctor_test.go")
	require.NoError(t, err)
	for mistake, found := range map[string]string{
		"replicas without a shared replay memory":       "no shared replay memory: one proof was taken 3 times",
		"a \"real IP\" middleware outside of the guard": "a real IP middleware",
		"a handler that no guard wraps":                 "the URL is not guarded",
	} {
		require.Contains(t, rows, mistake)
		require.Contains(t, rows[mistake][1], "`keybound doctor`")
		require.Contains(t, string(doctor), found)
	}
	var log bytes.Buffer
	w := newWorld(t)
	a := w.guard(both(middleware.WithLogger(slog.New(slog.NewTextHandler(&log, nil))))...)
	requireLines(t, p.step(title, "text")[0], log.String())
	log.Reset()
	r := w.dpopRequest("/r")
	serve(a, r).accepted(t)
	serve(w.guard(), r).accepted(t)
	require.Empty(t, log.String(), "a second replica takes the proof again, and neither knows")
}

// operatorsOf is the listener for operators of the page.
func operatorsOf(guard *middleware.Guard) http.Handler {
	admin := http.NewServeMux() // on an address that clients do not reach
	admin.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) {
		if err := guard.Ready(r.Context()); err != nil {
			slog.Error("not ready", "error", err)
			http.Error(w, "not ready", http.StatusServiceUnavailable)
		}
	})
	return admin
}

func (p *page) readiness(t *testing.T) {
	require.Len(t, p.step("Readiness, state, shutdown", "go"), 1)
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		g := w.guard()
		admin := operatorsOf(g)
		ready := func() int {
			rec := httptest.NewRecorder()
			admin.ServeHTTP(rec, get("/readyz"))
			return rec.Code
		}
		w.issuer.SetDown(true)
		for range 20 {
			require.Equal(t, 503, ready(), "no key of any issuer was ever had")
		}
		require.LessOrEqual(t, w.issuer.Fetches(oidctest.OpenIDMetadata), 1, "once per cooldown")
		serve(g, w.dpopRequest("/r")).refused(t, 503)
		require.Equal(t, "unavailable_issuer", g.Status().Failures[0].Reason)
		w.issuer.SetDown(false)
		time.Sleep(time.Minute)
		require.Equal(t, 200, ready(), "it recovers")
		w.issuer.SetDown(true)
		time.Sleep(time.Minute)
		require.Equal(t, 200, ready(), "a decision is possible")
		require.NotEmpty(t, g.Describe().String())
		require.NoError(t, g.Close())
	})
}

// sharedStore is an introspect.Store.
type sharedStore struct{ sync.Map }

func (s *sharedStore) Get(_ context.Context, key [32]byte) ([]byte, bool, error) {
	v, ok := s.Load(key)
	if !ok {
		return nil, false, nil
	}
	return v.([]byte), true, nil
}

func (s *sharedStore) Set(_ context.Context, key [32]byte, value []byte, _ time.Duration) error {
	s.Store(key, bytes.Clone(value))
	return nil
}

var otherKey = []byte("a second key of thirty-two bytes")

// replicas are two guards each, without what the row is about and with it.
var replicas = map[string]func(t *testing.T, cells []string){
	"one replay memory": func(t *testing.T, cells []string) {
		require.Contains(t, cells[1], "`dpop.WithReplayCache`")
		w := newWorld(t)
		both := func(opts ...dpop.Option) (second int) {
			a, b := w.guard(middleware.WithDPoP(dpop.New(origin, opts...))), w.guard(middleware.WithDPoP(dpop.New(origin, opts...)))
			r := w.dpopRequest("/r")
			serve(a, r).accepted(t)
			return serve(b, r).Code
		}
		memory, err := dpop.NewMemoryCache()
		require.NoError(t, err)
		require.Equal(t, "a proof is accepted once by each replica", cells[0])
		require.Equal(t, 200, both())
		require.Equal(t, 401, both(dpop.WithReplayCache(memory, nil)))
	},
	"the same nonce keys": func(t *testing.T, cells []string) {
		w := newWorld(t)
		replica := func(key []byte) *middleware.Guard {
			return w.guard(middleware.WithDPoP(dpop.New(origin, dpop.WithNonces(dpop.NewNonces(key)))))
		}
		with := func(nonce string) *http.Request {
			r := w.dpopRequest("/r")
			r.Header.Set("DPoP", w.proof("GET", origin+"/r", sent(r), func(c map[string]any) { c["nonce"] = nonce }))
			return r
		}
		nonce := serve(replica(sessionKey), w.dpopRequest("/r")).refused(t, 401).Header().Get("DPoP-Nonce")
		a := serve(replica(otherKey), with(nonce)).refused(t, 401)
		require.Equal(t, "`"+a.challenges(t)[0].params["error"]+"` without end for clients that a load balancer spreads", cells[0])
		serve(replica(sessionKey), with(nonce)).accepted(t)
	},
	"one cache of introspection answers": func(t *testing.T, cells []string) {
		require.Equal(t, "each replica asks the issuer", cells[0])
		asked := func(opts ...introspect.Option) int {
			w := newWorld(t)
			token := w.issuer.Token()
			for range 2 {
				in, err := w.introspector(oidctest.Audience, clientauth.SecretBasic("client", "secret"), opts...)
				require.NoError(t, err)
				g, err := middleware.New(middleware.WithTokens(in, nil), middleware.AllowUnbound())
				require.NoError(t, err)
				r := get("/r")
				r.Header.Set("Authorization", "Bearer "+token)
				serve(g, r).accepted(t)
				require.NoError(t, in.Close())
			}
			return w.issuer.Fetches(oidctest.Introspection)
		}
		require.Equal(t, 2, asked())
		require.Equal(t, 1, asked(introspect.WithStore(&sharedStore{}, nil)))
	},
	"the same cookie keys": func(t *testing.T, cells []string) {
		require.Equal(t, "sessions end at random", cells[0])
		w := newWorld(t)
		replica := func(key []byte) *middleware.Guard {
			return w.guard(both(middleware.AllowUnbound(), middleware.WithSession(session.New(key)))...)
		}
		first := w.bearerRequest("/r")
		cookies := serve(replica(sessionKey), first).accepted(t).cookies(t)
		serve(replica(otherKey), again(first, cookies)).refused(t, 401)
		serve(replica(sessionKey), again(first, cookies)).accepted(t)
	},
}

// rotation is that of the keys for nonces and cookies, and of the issuer's.
func (p *page) rotation(t *testing.T) {
	p.step("Rotating keys", "")
	require.Contains(t, p.prose["Rotating keys"], "`oidc.WithCooldown`")
	w := newWorld(t)
	old, next := sessionKey, otherKey
	nonces := func(key []byte, previous ...[]byte) *middleware.Guard {
		var opts []dpop.NonceOption
		if len(previous) > 0 {
			opts = append(opts, dpop.WithPreviousKeys(previous...))
		}
		return w.guard(middleware.WithDPoP(dpop.New(origin, dpop.WithNonces(dpop.NewNonces(key, opts...)))))
	}
	cookies := func(key []byte, previous ...[]byte) *middleware.Guard {
		var opts []session.Option
		if len(previous) > 0 {
			opts = append(opts, session.WithPreviousKeys(previous...))
		}
		return w.guard(both(middleware.AllowUnbound(), middleware.WithSession(session.New(key, opts...)))...)
	}
	// While a step is rolled out, replicas of it and of the step before serve the same
	// clients.
	type replica func(key []byte, previous ...[]byte) *middleware.Guard
	for _, make := range []replica{nonces, cookies} {
		steps := []*middleware.Guard{make(old), make(old, next), make(next, old), make(next)}
		for i := range steps[1:3] {
			for _, pair := range [][2]*middleware.Guard{{steps[i], steps[i+1]}, {steps[i+1], steps[i]}} {
				goodAtBoth(t, w, pair[0], pair[1])
			}
		}
		goodAtBoth(t, w, steps[2], steps[3]) // once what the old key made is over
	}
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		g := w.guard()
		serve(g, w.dpopRequest("/r")).accepted(t)
		fetched := w.issuer.Fetches(oidctest.KeySet)
		for range 5 {
			serve(g, w.dpopRequest("/r", oidctest.Header("kid", "invented"))).refused(t, 401)
		}
		require.Equal(t, 1, w.issuer.Fetches(oidctest.KeySet)-fetched, "one fetch per cooldown")
		w.issuer.Rotate()
		time.Sleep(time.Minute)
		serve(g, w.dpopRequest("/r")).accepted(t)
		require.Equal(t, 2, w.issuer.Fetches(oidctest.KeySet)-fetched)
	})
}

// goodAtBoth has a client take what a gives it, a nonce or a cookie, to b.
func goodAtBoth(t *testing.T, w *world, a, b *middleware.Guard) {
	t.Helper()
	answer := serve(a, w.dpopRequest("/r"))
	r := w.dpopRequest("/r")
	if nonce := answer.Header().Get("DPoP-Nonce"); nonce != "" {
		r.Header.Set("DPoP", w.proof("GET", origin+"/r", sent(r), func(c map[string]any) { c["nonce"] = nonce }))
		serve(b, r).accepted(t)
		return
	}
	first := w.bearerRequest("/r")
	serve(b, again(first, serve(a, first).accepted(t).cookies(t))).accepted(t)
}

// unanswered is a source of revocations that does not answer.
type unanswered struct{}

func (unanswered) Check(context.Context, []*x509.Certificate) error { return errors.New("timeout") }

// refusedFor requires a 503 for the last reason that a cell names.
func refusedFor(t *testing.T, o *told, a *answer, cell string) {
	t.Helper()
	a.refused(t, 503)
	require.Empty(t, a.Header()["Www-Authenticate"], "a client keeps its token")
	names := quoted(cell)
	require.Contains(t, names, o.Reason)
}

// outages are the rows of what is down.
var outages = map[string]func(t *testing.T, cells []string){
	"the issuer, keys known": func(t *testing.T, cells []string) {
		require.Contains(t, cells[0], "for a day, then 503")
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			var o told
			g := w.guard(both(o.option())...)
			serve(g, w.dpopRequest("/r")).accepted(t)
			w.issuer.SetDown(true)
			time.Sleep(23 * time.Hour)
			serve(g, w.dpopRequest("/r")).accepted(t)
			time.Sleep(2 * time.Hour)
			refusedFor(t, &o, serve(g, w.dpopRequest("/r")), cells[0])
		})
	},
	"the issuer, no keys yet": func(t *testing.T, cells []string) {
		w := newWorld(t)
		var o told
		w.issuer.SetDown(true)
		a := serve(w.guard(both(o.option())...), w.dpopRequest("/r"))
		refusedFor(t, &o, a, cells[0])
		require.Contains(t, cells[0], "Retry-After")
		require.NotEmpty(t, a.Header().Get("Retry-After"))
	},
	"the function given to `tenants.New`": func(t *testing.T, cells []string) {
		require.Contains(t, cells[0], "tenants that are live are served")
		w := newWorld(t)
		var o told
		down := false
		many := middleware.WithTokens(tenants.New(func(_ context.Context, issuer string) (*oidc.Verifier, error) {
			if down {
				return nil, errors.New("the database is down")
			}
			return oidc.New(issuer, oidctest.Audience, oidc.WithHTTPClient(w.issuer.Client()), oidc.WithCacheSize(0))
		}))
		g, err := middleware.New(both(many, o.option())...)
		require.NoError(t, err)
		defer g.Close()
		serve(g, w.dpopRequest("/r")).accepted(t)
		down = true
		serve(g, w.dpopRequest("/r")).accepted(t)
		refusedFor(t, &o, serve(g, w.dpopRequest("/r", oidctest.Claim("iss", "https://new.example"))), cells[0])
	},
	"the introspection endpoint": func(t *testing.T, cells []string) {
		require.Contains(t, cells[0], "`introspect.WithStaleAnswers`")
		for _, stale := range []bool{false, true} {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				var o told
				opts := []introspect.Option{introspect.WithAnswerLifetime(time.Second)}
				if stale {
					opts = append(opts, introspect.WithStaleAnswers(time.Hour))
				}
				issuer, err := oidc.NewIssuer(issuerURL, oidc.WithHTTPClient(w.issuer.Client()))
				require.NoError(t, err)
				defer issuer.Close()
				g, err := middleware.New(middleware.WithTokens(introspect.New(issuer, oidctest.Audience, clientauth.SecretBasic("client", "secret"), opts...)),
					middleware.AllowUnbound(), o.option())
				require.NoError(t, err)
				defer g.Close()
				r := get("/r")
				r.Header.Set("Authorization", "Bearer "+w.issuer.Token())
				serve(g, r).accepted(t)
				w.issuer.SetDown(true)
				time.Sleep(time.Minute)
				if stale {
					serve(g, r).accepted(t)
				} else {
					refusedFor(t, &o, serve(g, r), cells[0])
				}
			})
		}
	},
	"the replay store": func(t *testing.T, cells []string) {
		w := newWorld(t)
		var o told
		g := w.guard(o.option(), middleware.WithDPoP(dpop.New(origin, dpop.WithReplayCache(brokenStore{}, nil))))
		refusedFor(t, &o, serve(g, w.dpopRequest("/r")), cells[0])
	},
	"a revocation source": func(t *testing.T, cells []string) {
		w := newWorld(t)
		var o told
		roots := x509.NewCertPool()
		roots.AddCert(w.cert.Certificate)
		g := w.guard(o.option(), middleware.WithMTLS(mtlspop.New(mtlspop.WithRoots(roots), mtlspop.WithRevocation(unanswered{}, nil))))
		refusedFor(t, &o, serve(g, w.certRequest("/r")), cells[0])
	},
}

// clock is what the page says of a service whose clock is wrong by two minutes.
func (p *page) clock(t *testing.T) {
	_, text, _ := strings.Cut(words(p.prose["When something is down"]), "A clock of the service")
	reasons := quoted(text)
	require.Len(t, reasons, 4)
	seen := make(map[string]bool)
	for _, off := range []time.Duration{-2 * time.Minute, 2 * time.Minute} { // of all the others
		w := newWorld(t)
		var o told
		g := w.guard(both(o.option())...)
		now := time.Now().Add(off)
		serve(g, w.dpopRequest("/r", oidctest.Claim("iat", now.Unix()), oidctest.Claim("exp", now.Add(time.Minute).Unix()))).refused(t, 401)
		require.Contains(t, reasons, o.Reason)
		require.NotEmpty(t, o.Hint)
		seen[o.Reason] = true
		r := w.dpopRequest("/r")
		r.Header.Set("DPoP", w.proof("GET", origin+"/r", sent(r), func(c map[string]any) { c["iat"] = now.Unix() }))
		serve(g, r).refused(t, 401)
		require.Contains(t, reasons, o.Reason)
		require.InDelta(t, off.Seconds(), o.Proof.Skew.Seconds(), 2, "the difference is in the line")
		seen[o.Reason] = true
	}
	require.Len(t, seen, 4)
}

// longResponses is the option that the page names; longresponses_test.go has real
// servers.
func (p *page) longResponses(t *testing.T) {
	p.step("Long responses", "")
	require.Subset(t, quoted(p.prose["Long responses"]), []string{"middleware.EndResponsesWithToken", "exp", "middleware.ErrTokenEnded", "reverseproxy"})
	for _, opts := range [][]middleware.Option{nil, {middleware.EndResponsesWithToken()}} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			var cause error
			w.guard(both(opts...)...).Wrap(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				select {
				case <-r.Context().Done():
					cause = context.Cause(r.Context())
				case <-time.After(24 * time.Hour):
				}
			})).ServeHTTP(httptest.NewRecorder(), w.dpopRequest("/r"))
			require.Equal(t, len(opts) == 1, cause == middleware.ErrTokenEnded)
		})
	}
}

// alerts compares the names of the section with what there is.
func (p *page) alerts(t *testing.T) {
	const title = "Alerts and a dashboard"
	p.step(title, "")
	known := []string{"panic", "misconfigured", "unavailable_"}
	known = append(known, outage.Reasons...)
	for i := range 256 {
		known = append(known, middleware.RequestError(i).Reason(), dpop.ProofError(i).Reason(), mtlspop.BindingError(i).Reason(), oidc.TokenError(i).Reason(), exchange.Error(i).Reason())
	}
	rules, err := os.ReadFile("promguard/alerts.yml")
	require.NoError(t, err)
	metrics, err := os.ReadFile("promguard/doc.go")
	require.NoError(t, err)
	for _, name := range quoted(p.prose[title]) {
		switch {
		case strings.HasPrefix(name, "go "):
		case strings.HasPrefix(name, "Keybound"):
			require.Contains(t, string(rules), "- alert: "+name+"\n")
		case strings.HasPrefix(name, "keybound_"):
			require.Contains(t, string(metrics), "\n//\t"+name+"{")
		case strings.HasPrefix(name, "promguard/"):
			require.FileExists(t, name)
		case name == "Guard.Status", name == "rule_files", name == "would_deny":
		case strings.Contains(name, " "):
			require.Contains(t, p.texts["One log line per refusal"][2], name, "a message of the log")
		default:
			require.Contains(t, known, name)
		}
	}
	require.Equal(t, strings.Count(string(rules), "- alert: "), strings.Count(p.prose[title], "\n| `Keybound"), "each alert has a row")
}

// tenLines counts those of the program whose test is in examples/observability.
func (p *page) tenLines(t *testing.T) {
	blocks := p.step("Logs, metrics and traces in ten lines", "go")
	require.Len(t, regexp.MustCompile(`// \d+: `).FindAllString(strings.Join(blocks, "\n"), -1), 10)
}

package producttest

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
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
	"github.com/keybound-go/middleware/internal/josetest"
	"github.com/keybound-go/middleware/oidc"
	"github.com/keybound-go/middleware/oidc/clientauth"
	"github.com/keybound-go/middleware/oidc/introspect"
	"github.com/keybound-go/middleware/oidc/oidctest"
)

// The models of internal/model find each fault that is put into them by a trace: the
// steps of clients, replicas, stores, operators and time at whose end the property is
// broken. Here the same steps are made with the real code, which must not break the
// property, and once more with the fault of the model wrapped around it, which must: a
// trace that does not kill the faulty code shows nothing.

// trace is one of them. play makes its steps, and reports whether the property was
// broken; faulty says whether the fault is put in.
type trace struct {
	model, fault string
	rows         string // the property
	steps        string // what spin's shortest trail does, in its order
	play         func(t *testing.T, faulty bool) (broken bool)
}

var traces = []trace{
	{
		"replay", "TWOSTEPS", "DPOP-11.1-03, DPOP-11.1-07",
		"request 2 looks; request 1 looks; 1 records, accepted; 2 records, accepted", playTwoSteps,
	},
	{
		"replay", "RESTART", "DPOP-11.1-03, DPOP-11.1-06",
		"request 2 passes its checks; request 1 is accepted; the process starts anew; 2 is accepted", playRestart,
	},
	{
		"store", "NOSKEW", "DPOP-11.1-07",
		"the replica whose clock is ahead accepts; 5 ticks, in which the record ends; the other one accepts", playNoSkew,
	},
	{
		"store", "FAILOPEN", "DPOP-11.1-08",
		"the store goes away; a replica accepts; it accepts again", playFailOpen,
	},
	{
		"store", "FORGETS", "DPOP-11.1-03",
		"a replica accepts; the store goes away and comes back; the replica accepts again", playForgets,
	},
	{
		"nonce", "EXCHANGEFIRST", "DPOP-8.2-01",
		"replica 0 exchanges the keys; the client gets a nonce there; replica 1 refuses it", playExchangeFirst,
	},
	{
		"nonce", "DROPSOON", "DPOP-8.2-01",
		"the client gets a nonce of replica 0; both learn the new key; both exchange; 0 drops the old one; 0 refuses the nonce", playDropSoon,
	},
	{
		"nonce", "NOAGE", "DPOP-8-03",
		"the client gets a nonce; 3 ticks, which are more than its life; it is accepted", playNoAge,
	},
	{
		"introspection", "BEYOND", "INTRO-4-01",
		"4 ticks; a replica asks, active; a tick, which is exp; it believes the answer", playBeyond,
	},
	{
		"introspection", "KEEPS", "INTRO-2.3-01",
		"a replica asks, active; 2 ticks; the token is revoked; it asks, refused; a tick; the issuer goes away; it believes the first answer", playKeeps,
	},
	{
		"introspection", "STORED", "INTRO-2.3-01",
		"replica 1 asks; the token is revoked; replica 0 asks; 1 is told active, and stores it; 0 is told no; a tick; 0 believes the store", playStored,
	},
	{
		"introspection", "STALEALWAYS", "INTRO-4-03",
		"a replica asks, active; the token is revoked; 2 ticks; it believes the answer, the issuer being up", playStaleAlways,
	},
	{
		"rollout", "DOWNGRADE", "DPOP-7.2-01",
		"the service learns DPoP; the issuer binds; a client sends its token as Bearer, and passes", playDowngrade,
	},
	{
		"rollout", "FOREVER", "DPOP-7.2-01",
		"the service learns DPoP; the issuer binds; 2 ticks, and the date is past; the client is listed; it sends its token as Bearer, and passes", playForever,
	},
	{
		"rollout", "LAX", "DPOP-7.2-02",
		"the service learns DPoP; the stage is report; a client sends an unbound token; nothing is reported", playLax,
	},
}

// NOPAST needs a clock that is set, which only a test within internal/replayset can play:
// TestTheTraceOfASetThatDoesNotKnowWhatItGaveUp.
const playedElsewhere = "replay NOPAST"

func TestTheRealCodeSurvivesTheTracesOfTheModels(t *testing.T) {
	for _, trace := range traces {
		t.Run(trace.model+"/"+trace.fault+" "+trace.rows, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				if trace.play(t, false) {
					t.Errorf("the real code follows it: %s", trace.steps)
				}
			})
			synctest.Test(t, func(t *testing.T) {
				if !trace.play(t, true) {
					t.Errorf("the faulty code survives it: %s", trace.steps)
				}
			})
		})
	}
}

// Every fault of every model has its trace here, and every trace its fault.
func TestEveryFaultOfTheModelsHasItsTrace(t *testing.T) {
	run, err := os.ReadFile("../model/run")
	require.NoError(t, err)
	var want, got []string
	for _, m := range regexp.MustCompile(`(?m)^  \[(\w+)\]="([A-Z ]+)"$`).FindAllStringSubmatch(string(run), -1) {
		for fault := range strings.FieldsSeq(m[2]) {
			want = append(want, m[1]+" "+fault)
		}
	}
	got = append(got, playedElsewhere)
	for _, trace := range traces {
		got = append(got, trace.model+" "+trace.fault)
	}
	slices.Sort(want)
	slices.Sort(got)
	require.NotEmpty(t, want)
	require.Equal(t, want, got)
}

// traceKey signs all proofs here.
var traceKey = sync.OnceValue(func() *josetest.Key { return josetest.NewKey("ES256") })

// guarded makes a service like those of a fleet, with other parts.
func guarded(t *testing.T, issuer *oidctest.Issuer, verifier middleware.TokenVerifier, opts ...dpop.Option) http.Handler {
	t.Helper()
	if verifier == nil {
		v, err := oidc.New(IssuerURL, oidctest.Audience, oidc.WithHTTPClient(issuer.Client()), oidc.WithSkew(0))
		require.NoError(t, err)
		t.Cleanup(func() { v.Close() })
		verifier = v
	}
	g, err := middleware.New(middleware.WithTokens(verifier, nil), middleware.WithDPoP(dpop.New(Origin, opts...)))
	require.NoError(t, err)
	return g.Wrap(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
}

func traceFleet(t *testing.T) *fleet {
	return &fleet{t: t, r: rand.New(rand.NewPCG(1, 7)), issuer: oidctest.NewIssuer(t, oidctest.InMemory(IssuerURL))}
}

// accepted is how many of the answers are 200.
func accepted(answers ...*Response) (n int) {
	for _, a := range answers {
		if a.Status == http.StatusOK {
			n++
		}
	}
	return n
}

// cacheFunc is a ReplayCache.
type cacheFunc func(ctx context.Context, jkt string, id [32]byte, until time.Time) (bool, error)

func (f cacheFunc) Add(ctx context.Context, jkt string, id [32]byte, until time.Time) (bool, error) {
	return f(ctx, jkt, id, until)
}

func newMemory(t *testing.T) *dpop.MemoryCache {
	m, err := dpop.NewMemoryCache()
	require.NoError(t, err)
	return m
}

func playTwoSteps(t *testing.T, faulty bool) bool {
	f := traceFleet(t)
	var cache dpop.ReplayCache = newMemory(t)
	if faulty {
		var mu sync.Mutex
		seen := make(map[[32]byte]bool)
		cache = cacheFunc(func(_ context.Context, _ string, id [32]byte, _ time.Time) (bool, error) {
			mu.Lock()
			there := seen[id]
			mu.Unlock()
			time.Sleep(time.Millisecond) // the other one looks too
			mu.Lock()
			defer mu.Unlock()
			seen[id] = true
			return !there, nil
		})
	}
	h := guarded(t, f.issuer, nil, dpop.WithReplayCache(cache, nil))
	for range 20 {
		s := f.fresh(traceKey(), 0, "")
		answers := make([]*Response, 2)
		var wg sync.WaitGroup
		for i := range answers {
			wg.Go(func() { answers[i] = f.send(h, s) })
		}
		wg.Wait()
		if accepted(answers...) > 1 {
			return true
		}
	}
	return false
}

// playRestart: a memory of the process does not outlive it, as its documentation says;
// with a store, or with nonces under a key of the process, the trace ends in a refusal.
func playRestart(t *testing.T, faulty bool) bool {
	if faulty {
		f := traceFleet(t)
		s := f.fresh(traceKey(), 0, "")
		before := f.send(guarded(t, f.issuer, nil, dpop.WithReplayCache(newMemory(t), nil)), s)
		after := f.send(guarded(t, f.issuer, nil, dpop.WithReplayCache(newMemory(t), nil)), s)
		return accepted(before, after) > 1
	}
	f := traceFleet(t)
	shared := &store{memory: newMemory(t)}
	s := f.fresh(traceKey(), 0, "")
	before := f.send(guarded(t, f.issuer, nil, dpop.WithReplayCache(shared, nil)), s)
	after := f.send(guarded(t, f.issuer, nil, dpop.WithReplayCache(shared, nil)), s)
	require.Equal(t, http.StatusOK, before.Status)

	ofProcess := func(b string) http.Handler {
		return guarded(t, f.issuer, nil, dpop.WithReplayCache(newMemory(t), nil), dpop.WithNonces(dpop.NewNonces([]byte(strings.Repeat(b, 32)))))
	}
	one := ofProcess("a")
	nonce := f.send(one, f.fresh(traceKey(), 0, "")).Fields.Get("DPoP-Nonce")
	withNonce := f.fresh(traceKey(), 0, nonce)
	first := f.send(one, withNonce)
	require.Equal(t, http.StatusOK, first.Status)
	return accepted(before, after) > 1 || accepted(first, f.send(ofProcess("b"), withNonce)) > 1
}

// Of the model store: its ticks, and the lifetime and the skew in them.
const (
	tick      = 15 * time.Second
	storeLife = 3 * tick
	storeSkew = 2 * tick
)

// ttlStore counts the life of a record from the command on, by a clock of its own, as
// Redis does.
type ttlStore struct {
	mu     sync.Mutex
	ahead  time.Duration // of the replica's clock, which is that of the bubble
	cut    time.Duration // by which lives are too short: the fault
	expiry map[[32]byte]time.Time
}

func (s *ttlStore) now() time.Time { return time.Now().Add(-s.ahead) }

func (s *ttlStore) Add(_ context.Context, _ string, id [32]byte, until time.Time) (bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	ttl := time.Until(until) - s.cut // the replica computes it
	if end, ok := s.expiry[id]; ok && !s.now().After(end) {
		return false, nil
	}
	s.expiry[id] = s.now().Add(ttl)
	return true, nil
}

func playNoSkew(t *testing.T, faulty bool) bool {
	f := traceFleet(t)
	s := &ttlStore{expiry: make(map[[32]byte]time.Time)}
	if faulty {
		s.cut = storeSkew
	}
	h := guarded(t, f.issuer, nil, dpop.WithReplayCache(s, nil), dpop.WithLifetime(storeLife), dpop.WithSkew(storeSkew))
	time.Sleep(time.Duration(time.Now().Nanosecond()) % time.Second)
	// The bubble has the clock of the replica that is asked. The first one is ahead of the
	// store by the skew: at the store's 1 it is 3 there, and the proof is of 4.
	s.ahead = storeSkew
	proof := f.fresh(traceKey(), tick, "")
	one := f.send(h, proof)
	// At the store's 6 it is 6 at the other one.
	time.Sleep(3 * tick)
	s.ahead = 0
	two := f.send(h, proof)
	return accepted(one, two) > 1
}

func playFailOpen(t *testing.T, faulty bool) bool {
	f := traceFleet(t)
	away := &store{memory: newMemory(t), state: storeDown}
	opts := []dpop.Option{dpop.WithReplayCache(away, nil)}
	if faulty {
		opts = append(opts, dpop.DangerouslyFailOpen(func(error) {}))
	}
	h := guarded(t, f.issuer, nil, opts...)
	s := f.fresh(traceKey(), 0, "")
	one, two := f.send(h, s), f.send(h, s)
	if !faulty {
		require.Equal(t, []int{http.StatusServiceUnavailable, http.StatusServiceUnavailable}, []int{one.Status, two.Status})
	}
	return accepted(one, two) > 1
}

// playForgets: no guard can see that a store has forgotten; the store must not
// (redisstore's documentation), and one that keeps what it had ends the trace.
func playForgets(t *testing.T, faulty bool) bool {
	f := traceFleet(t)
	shared := &store{memory: newMemory(t)}
	h := guarded(t, f.issuer, nil, dpop.WithReplayCache(shared, nil))
	s := f.fresh(traceKey(), 0, "")
	one := f.send(h, s)
	shared.set(storeDown)
	require.Equal(t, http.StatusServiceUnavailable, f.send(h, f.fresh(traceKey(), 0, "")).Status)
	if faulty {
		shared.memory = newMemory(t)
	}
	shared.set(storeUp)
	return accepted(one, f.send(h, s)) > 1
}

// nonceReplica is one whose keys the operator changes.
type nonceReplica struct {
	f     *fleet
	cache dpop.ReplayCache
	http.Handler
}

func (r *nonceReplica) keys(current byte, previous ...byte) {
	key := func(b byte) []byte { return []byte(strings.Repeat(string(b), 32)) }
	var more []dpop.NonceOption
	for _, b := range previous {
		more = append(more, dpop.WithPreviousKeys(key(b)))
	}
	r.Handler = guarded(r.f.t, r.f.issuer, nil, dpop.WithReplayCache(r.cache, nil), dpop.WithNonces(dpop.NewNonces(key(current), more...)))
}

func nonceReplicas(t *testing.T) (f *fleet, list [2]*nonceReplica) {
	f = traceFleet(t)
	memory := newMemory(t)
	for i := range list {
		list[i] = &nonceReplica{f: f, cache: memory}
		list[i].keys('o')
	}
	return f, list
}

func (r *nonceReplica) nonce() string {
	return r.f.send(r, r.f.fresh(traceKey(), 0, "")).Fields.Get("DPoP-Nonce")
}

func (r *nonceReplica) refuses(nonce string) bool {
	return r.f.send(r, r.f.fresh(traceKey(), 0, nonce)).Status != http.StatusOK
}

func playExchangeFirst(t *testing.T, faulty bool) bool {
	_, replicas := nonceReplicas(t)
	if !faulty { // the first of the three steps
		replicas[0].keys('o', 'n')
		replicas[1].keys('o', 'n')
	}
	replicas[0].keys('n', 'o')
	return replicas[1].refuses(replicas[0].nonce())
}

func playDropSoon(t *testing.T, faulty bool) bool {
	_, replicas := nonceReplicas(t)
	nonce := replicas[0].nonce()
	for _, r := range replicas {
		r.keys('o', 'n')
	}
	for _, r := range replicas {
		r.keys('n', 'o')
	}
	if faulty {
		replicas[0].keys('n')
		return replicas[0].refuses(nonce)
	}
	broken := replicas[0].refuses(nonce)
	time.Sleep(61 * time.Second) // the lifetime of proofs: now nothing of the old key is good
	replicas[0].keys('n')
	return broken || !replicas[0].refuses(nonce)
}

// ageless are nonces whose age is not looked at.
type ageless struct{ *dpop.Nonces }

func (a ageless) IssuedAt(ctx context.Context, nonce string) (time.Time, bool, error) {
	_, ok, err := a.Nonces.IssuedAt(ctx, nonce)
	return time.Now(), ok, err
}

func playNoAge(t *testing.T, faulty bool) bool {
	f := traceFleet(t)
	nonces, err := dpop.NewNonces([]byte(strings.Repeat("o", 32)))
	require.NoError(t, err)
	var source dpop.NonceSource = nonces
	if faulty {
		source = ageless{nonces}
	}
	h := guarded(t, f.issuer, nil, dpop.WithReplayCache(newMemory(t), nil), dpop.WithNonces(source, nil))
	nonce := f.send(h, f.fresh(traceKey(), 0, "")).Fields.Get("DPoP-Nonce")
	time.Sleep(61 * time.Second)
	return f.send(h, f.fresh(traceKey(), 0, nonce)).Status == http.StatusOK
}

// Of the model introspection: FRESH, STALE, REFUSED and EXP.
const (
	askTick  = 30 * time.Second
	fresh    = 2 * askTick
	stale    = 2 * askTick
	refused  = askTick
	askedExp = 5 * askTick
)

// believer is what the faults of the model make of an introspector: a memory of its own
// in front of it.
type believer struct {
	middleware.TokenVerifier
	beyond, keeps, stale bool
	last                 *oidc.Token
	asked                time.Time
}

func (b *believer) VerifyToken(ctx context.Context, raw string) (*oidc.Token, error) {
	age := time.Since(b.asked)
	if b.last != nil && (b.beyond && age < fresh || b.stale && age < fresh+stale) {
		return b.last, nil
	}
	token, err := b.TokenVerifier.VerifyToken(ctx, raw)
	if err == nil {
		b.last, b.asked = token, time.Now()
		return token, nil
	}
	if _, is := err.(oidc.TokenError); b.keeps && b.last != nil && !is && age < fresh+stale {
		return b.last, nil // unavailable
	}
	return nil, err
}

// asking is a replica that asks the issuer, with the faults of b if there is one.
func asking(t *testing.T, f *fleet, b *believer, opts ...introspect.Option) http.Handler {
	t.Helper()
	i, err := oidc.NewIssuer(IssuerURL, oidc.WithHTTPClient(f.issuer.Client()))
	require.NoError(t, err)
	t.Cleanup(func() { i.Close() })
	v, err := introspect.New(i, oidctest.Audience, clientauth.SecretBasic("client", "secret"), append([]introspect.Option{
		introspect.WithAnswerLifetime(fresh), introspect.WithStaleAnswers(stale), introspect.WithRefusalLifetime(refused), introspect.WithSkew(0)}, opts...)...)
	require.NoError(t, err)
	var verifier middleware.TokenVerifier = v
	if b != nil {
		b.TokenVerifier = v
		verifier = b
	}
	return guarded(t, f.issuer, verifier, dpop.WithReplayCache(newMemory(t), nil))
}

func opaque(f *fleet) string {
	return f.issuer.OpaqueToken(oidctest.BoundToKey(traceKey().Thumbprint()), oidctest.ExpiresIn(askedExp))
}

func believes(f *fleet, h http.Handler, token string) bool {
	return f.send(h, f.proofFor(traceKey(), token, 0, "")).Status == http.StatusOK
}

// faultIf returns b if the trace is played with its fault.
func faultIf(faulty bool, b *believer) *believer {
	if faulty {
		return b
	}
	return nil
}

func playBeyond(t *testing.T, faulty bool) bool {
	f := traceFleet(t)
	h := asking(t, f, faultIf(faulty, &believer{beyond: true}))
	token := opaque(f)
	time.Sleep(4 * askTick)
	require.True(t, believes(f, h, token))
	time.Sleep(askTick)
	return believes(f, h, token)
}

func playKeeps(t *testing.T, faulty bool) bool {
	f := traceFleet(t)
	h := asking(t, f, faultIf(faulty, &believer{keeps: true}))
	token := opaque(f)
	require.True(t, believes(f, h, token))
	time.Sleep(2 * askTick)
	f.issuer.Revoke(token)
	require.False(t, believes(f, h, token))
	time.Sleep(askTick)
	f.issuer.SetDown(true)
	return believes(f, h, token)
}

// answers is a shared store. While it is held, what is set is there for no reader.
type answers struct {
	mu   sync.Mutex
	held bool

	values map[[32]byte][]byte
}

func (a *answers) Get(_ context.Context, key [32]byte) ([]byte, bool, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	v, ok := a.values[key]
	return v, ok && !a.held, nil
}

func (a *answers) Set(_ context.Context, key [32]byte, value []byte, _ time.Duration) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.values[key] = value
	return nil
}

func (a *answers) hold(held bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.held = held
}

// playStored: that the first answer arrives late is played by a store that shows it late.
func playStored(t *testing.T, faulty bool) bool {
	f := traceFleet(t)
	shared := &answers{values: make(map[[32]byte][]byte)}
	one := asking(t, f, nil, introspect.WithStore(shared, nil))
	zero := asking(t, f, nil, introspect.WithStore(shared, nil))
	token := opaque(f)
	shared.hold(true)
	require.True(t, believes(f, one, token))
	f.issuer.Revoke(token)
	require.False(t, believes(f, zero, token), "told no")
	shared.hold(false)
	time.Sleep(askTick)
	if faulty { // one that does not know what it was told
		zero = asking(t, f, nil, introspect.WithStore(shared, nil))
	}
	return believes(f, zero, token)
}

func playStaleAlways(t *testing.T, faulty bool) bool {
	f := traceFleet(t)
	h := asking(t, f, faultIf(faulty, &believer{stale: true}))
	token := opaque(f)
	require.True(t, believes(f, h, token))
	f.issuer.Revoke(token)
	time.Sleep(2 * askTick)
	return believes(f, h, token)
}

// bearer sends token under the Bearer scheme, without a proof.
func bearer(f *fleet, h http.Handler, token string) *Response {
	return answerTo(h, &http.Request{
		Method: http.MethodGet, Host: Host, URL: &url.URL{Path: defaultPath}, RequestURI: defaultPath, RemoteAddr: PeerAddr, Body: http.NoBody,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Header: http.Header{"Authorization": {"Bearer " + token}},
	})
}

// blind does not look at cnf: the fault of a service that takes any token as Bearer.
type blind struct{ middleware.TokenVerifier }

func (b blind) VerifyToken(ctx context.Context, raw string) (*oidc.Token, error) {
	token, err := b.TokenVerifier.VerifyToken(ctx, raw)
	if err == nil {
		token.Confirmation = oidc.Confirmation{}
	}
	return token, err
}

// rolledOut is a service in the middle of a rollout.
func rolledOut(t *testing.T, f *fleet, blindly bool, opts ...middleware.Option) http.Handler {
	t.Helper()
	v, err := oidc.New(IssuerURL, oidctest.Audience, oidc.WithHTTPClient(f.issuer.Client()), oidc.WithSkew(0))
	require.NoError(t, err)
	t.Cleanup(func() { v.Close() })
	var verifier middleware.TokenVerifier = v
	if blindly {
		verifier = blind{v}
	}
	g, err := middleware.New(append(opts, middleware.WithTokens(verifier, nil), middleware.WithDPoP(dpop.New(Origin)), middleware.AllowUnbound())...)
	require.NoError(t, err)
	return g.Wrap(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
}

func boundToken(f *fleet) string {
	return f.issuer.Token(oidctest.BoundToKey(traceKey().Thumbprint()), oidctest.ExpiresIn(time.Hour))
}

func playDowngrade(t *testing.T, faulty bool) bool {
	f := traceFleet(t)
	return bearer(f, rolledOut(t, f, faulty), boundToken(f)).Status == http.StatusOK
}

func playForever(t *testing.T, faulty bool) bool {
	f := traceFleet(t)
	date := time.Now().Add(2 * tick)
	if faulty {
		date = date.Add(30 * 24 * time.Hour)
	}
	h := rolledOut(t, f, false, middleware.DangerouslyAcceptAsBearer(date, "client"))
	token := boundToken(f)
	require.Equal(t, http.StatusOK, bearer(f, h, token).Status, "before the date")
	time.Sleep(2 * tick)
	return bearer(f, h, token).Status == http.StatusOK
}

func playLax(t *testing.T, faulty bool) bool {
	f := traceFleet(t)
	var stage middleware.Stage
	stage.Set(middleware.Report)
	rule := middleware.Bound()
	if faulty { // another rule than the one that will be enforced
		rule = middleware.RuleFunc("lax", func(*http.Request, *middleware.Credential) bool { return true })
	}
	var reported string
	h := rolledOut(t, f, false, middleware.WithRules(middleware.Staged(rule, &stage)),
		middleware.WithObserver(func(_ context.Context, o middleware.Outcome) { reported = fmt.Sprint(o.WouldDeny) }))
	token := f.issuer.Token()
	require.Equal(t, http.StatusOK, bearer(f, h, token).Status)
	enforced := rolledOut(t, f, false, middleware.WithRules(middleware.Bound()))
	refused := bearer(f, enforced, token).Status != http.StatusOK
	return (reported != "") != refused
}

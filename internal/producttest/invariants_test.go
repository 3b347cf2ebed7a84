package producttest

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keybound-go/middleware"
	"github.com/keybound-go/middleware/dpop"
	"github.com/keybound-go/middleware/internal/josetest"
	"github.com/keybound-go/middleware/oidc"
	"github.com/keybound-go/middleware/oidc/clientauth"
	"github.com/keybound-go/middleware/oidc/introspect"
	"github.com/keybound-go/middleware/oidc/oidctest"
	"github.com/keybound-go/middleware/oidc/tenants"
)

// These tests run random histories: clients, replicas, stores and issuers that come and
// go, and time that passes. They say what must hold in all of them.

// histories is how many a test runs: INVARIANTS, or a few.
func histories(t *testing.T) int {
	n := 6
	if testing.Short() {
		n = 3
	}
	if s := os.Getenv("INVARIANTS"); s != "" {
		var err error
		if n, err = strconv.Atoi(s); err != nil {
			t.Fatalf("INVARIANTS=%q is no number", s)
		}
	}
	return n
}

// eachHistory runs f in bubbles of its own, each with another seed.
func eachHistory(t *testing.T, f func(t *testing.T, r *rand.Rand)) {
	for seed := range histories(t) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { f(t, rand.New(rand.NewPCG(uint64(seed), 7))) })
		})
	}
}

// store is what the replicas share to remember proofs: a real memory at the other end of
// a network that fails.
type store struct {
	memory *dpop.MemoryCache
	mu     sync.Mutex
	state  storeState
}

type storeState uint8

const (
	storeUp   storeState = iota
	storeDown            // no connection
	storeLost            // the answer is lost, after the store did as it was told
	storeStates
)

var errConnection = errors.New("connection reset")

func (s *store) set(state storeState) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.state = state
}

func (s *store) Add(ctx context.Context, jkt string, id [32]byte, until time.Time) (bool, error) {
	s.mu.Lock()
	state := s.state
	s.mu.Unlock()
	if state == storeDown {
		return false, errConnection
	}
	fresh, err := s.memory.Add(ctx, jkt, id, until)
	if state == storeLost {
		return false, errConnection
	}
	return fresh, err
}

// fleet is a service of several replicas, its issuer, and its clients.
type fleet struct {
	t        *testing.T
	r        *rand.Rand
	issuer   *oidctest.Issuer
	store    *store
	keys     []*josetest.Key
	replicas []http.Handler
	make     func() http.Handler
	verifier func() (middleware.TokenVerifier, error)
	mu       sync.Mutex
	accepted map[string]int // by key and jti
}

func newFleet(t *testing.T, r *rand.Rand, opts ...dpop.Option) *fleet {
	memory, err := dpop.NewMemoryCache()
	if err != nil {
		t.Fatal(err)
	}
	f := &fleet{t: t, r: r, issuer: oidctest.NewIssuer(t, oidctest.InMemory(IssuerURL)), store: &store{memory: memory}, accepted: make(map[string]int)}
	for range 3 {
		f.keys = append(f.keys, josetest.NewKey("ES256"))
	}
	made := 0
	f.verifier = func() (middleware.TokenVerifier, error) {
		verifier := func(opts ...oidc.Option) (*oidc.Verifier, error) {
			return oidc.New(IssuerURL, oidctest.Audience, append(opts, oidc.WithHTTPClient(f.issuer.Client()), oidc.WithSkew(0))...)
		}
		if made++; made%2 == 0 { // every other replica finds the issuer by the token
			s, err := tenants.New(func(context.Context, string) (*oidc.Verifier, error) {
				return verifier(oidc.WithCacheSize(0), oidc.WithOrigins(Origin))
			})
			if err == nil {
				t.Cleanup(func() { s.Close() })
			}
			return s, err
		}
		v, err := verifier()
		if err == nil {
			t.Cleanup(func() { v.Close() })
		}
		return v, err
	}
	f.make = func() http.Handler {
		g, err := middleware.New(
			middleware.WithTokens(f.verifier()),
			middleware.WithDPoP(dpop.New(Origin, append(opts, dpop.WithReplayCache(f.store, nil))...)),
		)
		if err != nil {
			t.Fatal(err)
		}
		return g.Wrap(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			c, ok := middleware.FromContext(r.Context())
			if !ok || c.Proof == nil || c.Token.Confirmation.JKT != c.Proof.Thumbprint {
				t.Error("the handler runs for a request whose binding is not proven")
				return
			}
			f.mu.Lock()
			defer f.mu.Unlock()
			f.accepted[c.Proof.Thumbprint+" "+c.Proof.ID]++
		}))
	}
	for range 3 {
		f.replicas = append(f.replicas, f.make())
	}
	return f
}

// sent is a request that can be sent again.
type sent struct {
	token, proof string
	nonce        string
	iat          time.Time
	used         bool // a store may know it
}

// fresh makes a request with a proof of its own, whose clock is off by ahead.
func (f *fleet) fresh(key *josetest.Key, ahead time.Duration, nonce string) *sent {
	token := f.issuer.Token(oidctest.BoundToKey(key.Thumbprint()))
	return f.proofFor(key, token, ahead, nonce)
}

func (f *fleet) proofFor(key *josetest.Key, token string, ahead time.Duration, nonce string) *sent {
	ath := sha256.Sum256([]byte(token))
	iat := time.Unix(time.Now().Add(ahead).Unix(), 0)
	claims := map[string]any{
		"jti": fmt.Sprint(f.r.Uint64()), "htm": "GET", "htu": Origin + defaultPath, "iat": iat.Unix(),
		"ath": base64.RawURLEncoding.EncodeToString(ath[:]),
	}
	if nonce != "" {
		claims["nonce"] = nonce
	}
	return &sent{token: token, nonce: nonce, iat: iat, proof: key.Sign(map[string]any{"typ": "dpop+jwt", "jwk": key.JWK()}, claims)}
}

// send sends s to a replica.
func (f *fleet) send(replica http.Handler, s *sent) *Response {
	r := &http.Request{
		Method: http.MethodGet, Host: Host, URL: &url.URL{Path: defaultPath}, RequestURI: defaultPath, RemoteAddr: PeerAddr, Body: http.NoBody,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: http.Header{"Authorization": {"DPoP " + s.token}, "Dpop": {s.proof}},
	}
	return answerTo(replica, r)
}

func (f *fleet) anyReplica() http.Handler { return f.replicas[f.r.IntN(len(f.replicas))] }
func (f *fleet) anyKey() *josetest.Key    { return f.keys[f.r.IntN(len(f.keys))] }

// DPOP-11.1-03, DPOP-11.1-06, DPOP-11.1-07, DPOP-11.1-08: whatever happens to replicas
// and to the store, a proof is accepted once at the most, in its window; a fresh one is
// accepted whenever the store answers; and while it does not, the answer is 503.
func TestAProofIsAcceptedOnceInEveryHistory(t *testing.T) {
	eachHistory(t, func(t *testing.T, r *rand.Rand) {
		f := newFleet(t, r)
		var all []*sent
		for range 150 {
			switch r.IntN(10) {
			case 0, 1: // time passes
				time.Sleep(time.Duration(r.IntN(20_000)) * time.Millisecond)
			case 2: // a replica crashes and comes back
				f.replicas[r.IntN(len(f.replicas))] = f.make()
			case 3: // the store fails over, or comes back
				f.store.set(storeState(r.IntN(int(storeStates))))
			case 4: // a thief sends what it has seen, everywhere and at once
				if len(all) > 0 {
					f.stampede(all[r.IntN(len(all))])
				}
			case 5, 6:
				if len(all) > 0 {
					f.expect(all[r.IntN(len(all))])
				}
			default:
				s := f.fresh(f.anyKey(), time.Duration(r.IntN(110)-70)*time.Second, "")
				all = append(all, s)
				f.expect(s)
			}
		}
		for proof, times := range f.accepted {
			if times > 1 {
				t.Errorf("%s was accepted %d times", proof, times)
			}
		}
	})
}

// expect sends s and requires the status that the state of the world calls for.
func (f *fleet) expect(s *sent) {
	want := http.StatusOK
	switch {
	case !s.inWindow():
		want = http.StatusUnauthorized
	case f.store.state == storeDown:
		want = http.StatusServiceUnavailable
	case f.store.state == storeLost:
		want, s.used = http.StatusServiceUnavailable, true
	case s.used:
		want = http.StatusUnauthorized
	default:
		s.used = true
	}
	if got := f.send(f.anyReplica(), s); got.Status != want {
		f.t.Errorf("%d, not %d: iat %v ago, store %d", got.Status, want, time.Since(s.iat), f.store.state)
	}
}

// inWindow reports whether the proof's iat is acceptable now.
func (s *sent) inWindow() bool {
	age := time.Since(s.iat)
	return -30*time.Second <= age && age <= 60*time.Second
}

// stampede sends s to every replica at the same time, several times.
func (f *fleet) stampede(s *sent) {
	var wg sync.WaitGroup
	for range 3 {
		for _, replica := range f.replicas {
			wg.Go(func() { f.send(replica, s) })
		}
	}
	wg.Wait()
	if f.store.state != storeDown && s.inWindow() {
		s.used = true
	}
}

// DPOP-8.2-01, DPOP-9-01, DPOP-11.1-09, DPOP-11.3-01: while replicas change their nonce
// keys in the order that NewNonces describes, one at a time, a client that does what it
// is told has at most one retry, whatever replica it meets, and no proof passes twice or
// without a nonce.
func TestNoncesRotateWithoutRefusingAClient(t *testing.T) {
	eachHistory(t, func(t *testing.T, r *rand.Rand) {
		keys := [][]byte{[]byte(strings.Repeat("a", 32)), []byte(strings.Repeat("b", 32))}
		f := newFleet(t, r, dpop.WithNonces(dpop.NewNonces(keys[0])))
		// rotate restarts one replica after the other with other keys.
		rotate := func(key []byte, previous ...[]byte) {
			for i := range f.replicas {
				g := newFleet(t, r, dpop.WithNonces(dpop.NewNonces(key, dpop.WithPreviousKeys(previous...))))
				g.issuer, g.store, g.accepted = f.issuer, f.store, f.accepted
				f.replicas[i] = g.make()
				f.client()
			}
		}
		for range 3 {
			rotate(keys[0], keys[1]) // all know the new one
			rotate(keys[1], keys[0]) // all use it
			time.Sleep(61 * time.Second)
			rotate(keys[1]) // nothing of the old one is good any more
			keys[0], keys[1] = keys[1], []byte(fmt.Sprintf("%032d", r.Uint32()))
		}
		for proof, times := range f.accepted {
			if times > 1 {
				t.Errorf("%s was accepted %d times", proof, times)
			}
		}
	})
}

// client makes some requests as RFC 9449, section 8, has it: with the newest nonce, and
// again if the service asks for another one.
func (f *fleet) client() {
	nonce := ""
	for range 8 {
		if f.r.IntN(3) == 0 {
			time.Sleep(time.Duration(f.r.IntN(40)) * time.Second)
		}
		ahead := time.Duration(f.r.IntN(7200)-3600) * time.Second // with nonces, clocks do not matter
		s := f.fresh(f.anyKey(), ahead, nonce)
		got := f.send(f.anyReplica(), s)
		if got.Status == http.StatusUnauthorized {
			issued := got.Fields.Get("DPoP-Nonce")
			if issued == "" || issued == nonce || !strings.Contains(got.Fields.Get("WWW-Authenticate"), `error="use_dpop_nonce"`) {
				f.t.Errorf("a challenge without a new nonce: %v", got.Fields)
				return
			}
			nonce = issued
			s = f.fresh(f.anyKey(), ahead, nonce)
			got = f.send(f.anyReplica(), s)
		}
		if got.Status != http.StatusOK {
			f.t.Errorf("%d with the nonce of a replica: %v", got.Status, got.Fields)
		}
		if f.r.IntN(8) == 0 { // a nonce that was kept for too long
			time.Sleep(61 * time.Second)
			if old := f.send(f.anyReplica(), f.fresh(f.anyKey(), ahead, s.nonce)); old.Status != http.StatusUnauthorized {
				f.t.Errorf("%d with a nonce past its lifetime", old.Status)
			}
		}
		if again := f.send(f.anyReplica(), s); again.Status != http.StatusUnauthorized {
			f.t.Errorf("the same proof again: %d", again.Status)
		}
		if renewed := got.Fields.Get("DPoP-Nonce"); renewed != "" {
			nonce = renewed
		}
	}
}

// AT-4-06, JWKS-05, JWKS-06: what is remembered of a token ends with it: with its exp,
// and with its key. While the issuer is down a token by a known key is good, and one by a
// key that cannot be asked for is 503 and not 401.
func TestNothingOutlivesWhatItWasDerivedFrom(t *testing.T) {
	eachHistory(t, func(t *testing.T, r *rand.Rand) {
		f := newFleet(t, r)
		type held struct {
			*josetest.Key
			token  string
			expiry time.Time
		}
		var tokens []*held
		down := false
		issue := func() {
			key, life := f.anyKey(), time.Duration(60+r.IntN(300))*time.Second
			tokens = append(tokens, &held{key, f.issuer.Token(oidctest.BoundToKey(key.Thumbprint()), oidctest.ExpiresIn(life)), time.Now().Add(life)})
		}
		issue()
		for range 120 {
			switch r.IntN(8) {
			case 0:
				time.Sleep(time.Duration(r.IntN(90)) * time.Second)
			case 1:
				down = !down
				f.issuer.SetDown(down)
			case 2:
				issue()
			default:
				h := tokens[r.IntN(len(tokens))]
				got := f.send(f.anyReplica(), f.proofFor(h.Key, h.token, 0, ""))
				left := time.Until(h.expiry)
				switch {
				case left <= 0 && got.Status == http.StatusOK:
					t.Errorf("accepted %v after it expired", -left)
				case left > 0 && !down && got.Status != http.StatusOK && got.Status != http.StatusServiceUnavailable:
					t.Errorf("%d with %v left", got.Status, left)
				case left > 0 && down && got.Status == http.StatusUnauthorized:
					t.Errorf("401 while the issuer is down, with %v left", left)
				}
			}
		}
	})
}

// JWKS-05: a token dies with the key that signed it: at the latest with the fetch that
// finds the key gone, however often it was accepted before.
func TestATokenDiesWithItsKey(t *testing.T) {
	eachHistory(t, func(t *testing.T, r *rand.Rand) {
		f := newFleet(t, r)
		key := f.anyKey()
		bound := func() string {
			return f.issuer.Token(oidctest.BoundToKey(key.Thumbprint()), oidctest.ExpiresIn(24*time.Hour))
		}
		status := func(replica http.Handler, token string) int {
			return f.send(replica, f.proofFor(key, token, 0, "")).Status
		}
		old := bound()
		for range 5 {
			for _, replica := range f.replicas {
				if got := status(replica, old); got != http.StatusOK {
					t.Fatalf("%d for a good token", got)
				}
			}
			time.Sleep(time.Duration(60+r.IntN(600)) * time.Second)
			f.issuer.Rotate()
			f.issuer.Retire()
			fresh := bound()
			for _, replica := range f.replicas {
				got := status(replica, fresh)
				if got == http.StatusUnauthorized { // a refresh just before: one cooldown may be left
					time.Sleep(31 * time.Second)
					got = status(replica, fresh)
				}
				if got != http.StatusOK {
					t.Fatalf("%d for a token by the new key", got)
				}
				if got := status(replica, old); got != http.StatusUnauthorized {
					t.Errorf("%d for a token by a key that the issuer took back", got)
				}
			}
			old = fresh
		}
	})
}

// INTRO-2.2-03, INTRO-4-01, INTRO-4-03: what the issuer said of a token is believed as
// long as was configured and never beyond the token's exp, also while it cannot be asked;
// a new token is refused no longer than a refusal is remembered; and an issuer that is
// down is 503.
func TestNoAnswerIsBelievedTooLong(t *testing.T) {
	const (
		lifetime, stale, life = 60 * time.Second, 120 * time.Second, 600 * time.Second
		pause                 = 30 * time.Second // after a failure, before the issuer is asked again
	)
	eachHistory(t, func(t *testing.T, r *rand.Rand) {
		f := newFleet(t, r)
		f.verifier = func() (middleware.TokenVerifier, error) {
			return introspector(t, f.issuer, lifetime, stale)
		}
		f.replicas = []http.Handler{f.make(), f.make()}
		type held struct {
			*josetest.Key
			token             string
			expiry, revokedAt time.Time
			refused           map[int]bool // by which replica
		}
		var tokens []*held
		down, since := false, time.Time{} // of the issuer's state
		for range 200 {
			switch r.IntN(9) {
			case 0:
				time.Sleep(time.Duration(r.IntN(100)) * time.Second)
			case 1:
				down, since = !down, time.Now()
				f.issuer.SetDown(down)
			case 2:
				key := f.anyKey()
				tokens = append(tokens, &held{Key: key, expiry: time.Now().Add(life), refused: make(map[int]bool),
					token: f.issuer.OpaqueToken(oidctest.BoundToKey(key.Thumbprint()), oidctest.ExpiresIn(life))})
			case 3:
				if len(tokens) > 0 {
					if h := tokens[r.IntN(len(tokens))]; h.revokedAt.IsZero() {
						f.issuer.Revoke(h.token)
						h.revokedAt = time.Now()
					}
				}
			default:
				if len(tokens) == 0 {
					continue
				}
				h := tokens[r.IntN(len(tokens))]
				replica := r.IntN(len(f.replicas))
				got := f.send(f.replicas[replica], f.proofFor(h.Key, h.token, 0, "")).Status
				now := time.Now()
				if got == http.StatusUnauthorized {
					h.refused[replica] = true
				}
				revoked := !h.revokedAt.IsZero()
				switch {
				case !now.Before(h.expiry) && got == http.StatusOK:
					t.Errorf("accepted %v after it expired", now.Sub(h.expiry))
				case h.refused[replica] && got == http.StatusOK:
					t.Errorf("accepted after it was refused; the issuer is down: %v", down)
				case revoked && !down && now.Sub(since) > pause && now.Sub(h.revokedAt) > lifetime && got == http.StatusOK:
					t.Errorf("accepted %v after it was revoked", now.Sub(h.revokedAt))
				case revoked && got == http.StatusOK && now.Sub(h.revokedAt) > lifetime+stale:
					t.Errorf("accepted %v after it was revoked, the issuer being down for %v", now.Sub(h.revokedAt), now.Sub(since))
				case !revoked && now.Before(h.expiry) && got == http.StatusUnauthorized:
					t.Errorf("401 for a token that is good; the issuer is down: %v", down)
				case !revoked && now.Before(h.expiry) && !down && now.Sub(since) > pause && got != http.StatusOK:
					t.Errorf("%d for a token that is good, the issuer being up", got)
				}
			}
		}
	})
}

// introspector makes a verifier that asks the issuer about each token.
func introspector(t *testing.T, issuer *oidctest.Issuer, lifetime, stale time.Duration) (middleware.TokenVerifier, error) {
	i, err := oidc.NewIssuer(IssuerURL, oidc.WithHTTPClient(issuer.Client()))
	if err != nil {
		return nil, err
	}
	t.Cleanup(func() { i.Close() })
	return introspect.New(i, oidctest.Audience, clientauth.SecretBasic("client", "secret"),
		introspect.WithAnswerLifetime(lifetime), introspect.WithStaleAnswers(stale), introspect.WithSkew(0))
}

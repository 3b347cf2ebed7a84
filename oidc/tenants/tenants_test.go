package tenants_test

import (
	"bytes"
	"context"
	"crypto"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
	"weak"

	"github.com/stretchr/testify/require"

	"github.com/keybound-go/middleware/internal/outage"
	"github.com/keybound-go/middleware/oidc"
	"github.com/keybound-go/middleware/oidc/oidctest"
	"github.com/keybound-go/middleware/oidc/tenants"
)

// town is a network of issuers, tenant-0.example and so on, that share one key, with the
// database of those that are tenants.
type town struct {
	pen  *oidctest.Issuer // makes the tokens of all
	keys []byte

	mu       sync.Mutex
	fetches  map[string]int  // by host
	down     map[string]bool // by host
	hangs    map[string]bool // by host: no answer before the end of the request
	resolves map[string]int  // by issuer
	resolve  func(ctx context.Context, iss string) (*oidc.Verifier, error)
}

func newTown(t testing.TB, opts ...oidc.Option) *town {
	t.Helper()
	n := &town{
		pen: newIssuer(t), fetches: map[string]int{}, down: map[string]bool{}, hangs: map[string]bool{}, resolves: map[string]int{},
	}
	r, err := n.pen.Client().Get(n.pen.Endpoint(oidctest.KeySet))
	require.NoError(t, err)
	defer r.Body.Close()
	n.keys, err = io.ReadAll(r.Body)
	require.NoError(t, err)
	n.resolve = func(_ context.Context, iss string) (*oidc.Verifier, error) {
		if !strings.HasPrefix(iss, "https://tenant-") {
			return nil, oidc.ErrIssuer
		}
		return n.verifier(iss, opts...)
	}
	return n
}

func nameOf(tenant int) string { return fmt.Sprintf("https://tenant-%d.example", tenant) }

// verifier makes one of a tenant, as resolve does.
func (n *town) verifier(iss string, opts ...oidc.Option) (*oidc.Verifier, error) {
	return oidc.New(iss, oidctest.Audience, append([]oidc.Option{oidc.WithHTTPClient(&http.Client{Transport: n}), oidc.WithCacheSize(0)}, opts...)...)
}

// tenants makes Tenants of the town's database.
func (n *town) tenants(t testing.TB, opts ...tenants.Option) *tenants.Tenants {
	t.Helper()
	s, err := tenants.New(func(ctx context.Context, iss string) (*oidc.Verifier, error) {
		n.mu.Lock()
		n.resolves[iss]++
		resolve := n.resolve
		n.mu.Unlock()
		return resolve(ctx, iss)
	}, opts...)
	require.NoError(t, err)
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// become changes the database.
func (n *town) become(resolve func(ctx context.Context, iss string) (*oidc.Verifier, error)) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.resolve = resolve
}

// says is a database with one answer.
func says(v *oidc.Verifier, err error) func(context.Context, string) (*oidc.Verifier, error) {
	return func(context.Context, string) (*oidc.Verifier, error) { return v, err }
}

func (n *town) token(tenant int, changes ...oidctest.Change) string {
	return n.write(append([]oidctest.Change{oidctest.Claim("iss", nameOf(tenant))}, changes...)...)
}

// write makes one token at a time: in a synctest bubble the FIPS 140-3 module cannot seed
// a second random generator, which two goroutines at once would need.
func (n *town) write(changes ...oidctest.Change) string {
	writing.Lock()
	defer writing.Unlock()
	return n.pen.Token(changes...)
}

var writing sync.Mutex

// forged is a token with a good form and a bad signature.
func (n *town) forged(tenant int) string {
	raw := n.token(tenant)
	return raw[:len(raw)-8] + "AAAAAAAA"
}

func (n *town) set(of map[string]bool, tenant int, value bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	of[strings.TrimPrefix(nameOf(tenant), "https://")] = value
}

func (n *town) count(of map[string]int, key string) int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return of[key]
}

func (n *town) asked(tenant int) int { return n.count(n.resolves, nameOf(tenant)) }

// RoundTrip plays every issuer.
func (n *town) RoundTrip(r *http.Request) (*http.Response, error) {
	n.mu.Lock()
	n.fetches[r.URL.Host]++
	down, hangs := n.down[r.URL.Host], n.hangs[r.URL.Host]
	n.mu.Unlock()
	switch {
	case down:
		return nil, errors.New("down")
	case hangs:
		<-r.Context().Done()
		return nil, r.Context().Err()
	}
	body := n.keys
	if strings.HasSuffix(r.URL.Path, "/.well-known/openid-configuration") {
		iss := "https://" + r.URL.Host + strings.TrimSuffix(r.URL.EscapedPath(), "/.well-known/openid-configuration")
		if n.count(n.resolves, iss+"/") > 0 {
			iss += "/"
		}
		body = fmt.Appendf(nil, `{"issuer":%q,"jwks_uri":"https://%s/jwks"}`, iss, r.URL.Host)
	}
	return &http.Response{
		StatusCode: 200, Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(bytes.NewReader(body)), Request: r,
	}, nil
}

func accept(t testing.TB, v tokenVerifier, raw string) *oidc.Token {
	t.Helper()
	token, err := verifyToken(t, v, raw)
	require.NoError(t, err)
	return token
}

func refuse(t testing.TB, v tokenVerifier, raw string, want error) {
	t.Helper()
	_, err := verifyToken(t, v, raw)
	requireKind(t, want, err)
}

// requireOutageOf demands that the error is an outage of a tenant: 503.
func requireOutageOf(t testing.TB, err error, text string) {
	t.Helper()
	requireOurs(t, err)
	require.Equal(t, outage.Tenants, outage.Reason(err), "%v", err)
	require.ErrorContains(t, err, text)
}

func TestTenantsAreVerifiedEachByItsOwnRules(t *testing.T) {
	a, b := newIssuer(t), oidctest.NewIssuer(t, oidctest.InMemory("https://other.example")) // both publish key-1
	calls := 0
	s, err := tenants.New(func(_ context.Context, iss string) (*oidc.Verifier, error) {
		calls++
		switch iss {
		case a.URL:
			return oidc.New(iss, "https://a.example", oidc.WithHTTPClient(a.Client()), oidc.WithProfile(oidc.Keycloak))
		case b.URL:
			return oidc.New(iss, "https://b.example", oidc.WithHTTPClient(b.Client()), oidc.WithMaxTokenSize(4096))
		}
		return nil, fmt.Errorf("no row: %w", oidc.ErrIssuer)
	})
	require.NoError(t, err)
	defer s.Close()
	forA, forB := oidctest.Claim("aud", "https://a.example"), oidctest.Claim("aud", "https://b.example")
	for range 2 {
		require.Equal(t, a.URL, accept(t, s, a.Token(oidctest.Keycloak(), forA)).Issuer)
		require.Equal(t, b.URL, accept(t, s, b.Token(forB)).Issuer)
	}
	require.Equal(t, 2, calls)
	require.Equal(t, 2, s.Len())
	for name, tc := range map[string]struct {
		raw  string
		want error
	}{
		"AT-X-02 A's key in the name of B": {a.Token(forB, oidctest.Claim("iss", b.URL)), oidc.ErrSignature},
		"AT-X-02 B's key in the name of A": {b.Token(oidctest.Keycloak(), forA, oidctest.Claim("iss", a.URL)), oidc.ErrSignature},
		"AT-4-04 A's with B's audience":    {a.Token(oidctest.Keycloak(), forB), oidc.ErrAudience},
		"A's profile is not B's":           {b.Token(oidctest.Keycloak(), forB), oidc.ErrTypeJWT},
		"A's profile":                      {a.Token(oidctest.Keycloak(), forA), nil},
		"B's size":                         {b.Token(forB, oidctest.Claim("padding", strings.Repeat("x", 4096))), oidc.ErrTooLarge},
		"A's size":                         {a.Token(oidctest.Keycloak(), forA, oidctest.Claim("padding", strings.Repeat("x", 4096))), nil},
		"AT-4-03 no tenant":                {a.Token(forA, oidctest.Claim("iss", a.URL+"/")), oidc.ErrIssuer},
		"AT-4-03 no iss":                   {a.Token(forA, oidctest.Without("iss")), oidc.ErrIssuer},
		"AT-4-02 a JWE":                    {a.Token(forA) + ".A.A", oidc.ErrEncrypted},
		"long beyond all tenants":          {strings.Repeat("x", 64<<10+1), oidc.ErrTooLarge},
		"expired":                          {a.Token(oidctest.Keycloak(), forA, oidctest.ExpiresIn(-time.Hour)), oidc.ErrExpired},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := verifyToken(t, s, tc.raw)
			requireKind(t, tc.want, err)
		})
	}
}

// TestAnIssuerThatResolveDoesNotKnowIsNotFetched also shows that resolve is not called
// for text that no issuer can have as its name.
func TestAnIssuerThatResolveDoesNotKnowIsNotFetched(t *testing.T) {
	n := newTown(t)
	s := n.tenants(t)
	refuse(t, s, n.write(), oidc.ErrIssuer) // of the pen itself
	require.Empty(t, n.fetches)
	require.Len(t, n.resolves, 1)
	for _, iss := range []any{
		"http://tenant-1.example", "HTTPS://tenant-1.example", "https://TENANT-1.example", "https://tenant-1.example:443", "https://tenant-1.example:",
		"https://tenant-1.example?", "https://tenant-1.example?x=1", "https://tenant-1.example#", "https://tenant-1.example#x", "https://user@tenant-1.example",
		"https://user:pw@tenant-1.example", "https://tenant-1.example/a/../b", "https://tenant-1.example/%2e%2e/b", "https://tenant-1.example/./b",
		"https://tenant-1.example/a/..;/b", "https://tenant-1.example/a/%2e.;x=1/b", "https://tenant-1.example/a/..%5cb", "https://tenant-1.example/a%5c..",
		"https://tenant-1.example/ ", " https://tenant-1.example", "https://tenant-1.example\n", "https://tenant-1.example/\x00", "https://tenant-1.exämple",
		"https://tenant-1.example/ü", "https://", "https:///", "https://:8443", "//tenant-1.example", "tenant-1.example", "", "https:tenant-1.example",
		"https://tenant-1.example\\@evil.example", "https://tenant-1.example/%zz", "https://tenant-1.example/{tenantid}", "https://[::1", "https://[::1%25eth0]",
		"https://tenant-1.example:0", "https://tenant-1.example:99999", "https://tenant-1.example:+1", "https://tenant-1.example/" + strings.Repeat("a", 512),
		"javascript://tenant-1.example", "https://tenant-1%2eexample",
	} {
		refuse(t, s, n.write(oidctest.Claim("iss", iss)), oidc.ErrIssuer)
	}
	for _, iss := range []any{[]string{nameOf(1)}, 1, map[string]any{"a": nameOf(1)}} {
		refuse(t, s, n.write(oidctest.Claim("iss", iss)), oidc.ErrClaims)
	}
	require.Len(t, n.resolves, 1, "resolve was asked about %v", n.resolves)
	for _, iss := range []string{
		"https://tenant-1.example/", "https://tenant-1.example:8443", "https://tenant-1.example/realms/a%20b", "https://tenant-1.example/a/b_c~d/",
		"https://tenant-1.example/" + strings.Repeat("a", 480),
	} {
		require.Equal(t, iss, accept(t, s, n.write(oidctest.Claim("iss", iss))).Issuer)
	}
}

func TestARefusalOfResolveIsRememberedBriefly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newTown(t)
		s := n.tenants(t)
		n.become(says(nil, oidc.ErrIssuer))
		for range 5 {
			refuse(t, s, n.token(1), oidc.ErrIssuer)
		}
		require.Equal(t, 1, n.asked(1))
		time.Sleep(10 * time.Second)
		refuse(t, s, n.token(1), oidc.ErrIssuer)
		require.Equal(t, 2, n.asked(1))
		n.become(func(_ context.Context, iss string) (*oidc.Verifier, error) { return n.verifier(iss) })
		refuse(t, s, n.token(1), oidc.ErrIssuer) // as remembered
		s.Forget(nameOf(1))
		accept(t, s, n.token(1))
		require.NoError(t, s.Close())
	})
}

// TestAResolveThatFailsIsNoRefusal: each fault is answered with 503, and the tenant is
// served as soon as resolve works.
func TestAResolveThatFailsIsNoRefusal(t *testing.T) {
	n := newTown(t)
	good := func(_ context.Context, iss string) (*oidc.Verifier, error) { return n.verifier(iss) }
	made := func(iss string, opts ...oidc.Option) *oidc.Verifier {
		v, err := n.verifier(iss, opts...)
		require.NoError(t, err)
		return v
	}
	closed := made(nameOf(1))
	require.NoError(t, closed.Close())
	issuer, err := oidc.NewIssuer(nameOf(1))
	require.NoError(t, err)
	borrowing, err := issuer.Verifier(oidctest.Audience)
	require.NoError(t, err)
	var nothing *oidc.Verifier
	for name, tc := range map[string]struct {
		resolve func(context.Context, string) (*oidc.Verifier, error)
		want    string
	}{
		"an error":                   {says(nil, errors.New("the database is down")), "the database is down"},
		"an error beside a Verifier": {says(made(nameOf(1)), errors.New("the database is down")), "the database is down"},
		"another TokenError":         {says(nil, oidc.ErrExpired), "expired"},
		"another TokenError, wrapped": {
			says(nil, fmt.Errorf("looking: %w", oidc.ErrExpired)), "expired"},
		"nothing":                   {says(nil, nil), "neither a Verifier nor an error"},
		"a nil pointer":             {says(nothing, nil), "neither a Verifier nor an error"},
		"the zero Verifier":         {says(new(oidc.Verifier), nil), "not made by oidc.New"},
		"a Verifier of another one": {says(made(nameOf(2)), nil), "of another issuer"},
		"of almost the same one":    {says(made(nameOf(1)+"/"), nil), "of another issuer"},
		"one that is closed":        {says(closed, nil), "closed"},
		"one that borrows":          {says(borrowing, nil), "borrows its Issuer"},
		"one for long tokens":       {says(made(nameOf(1), oidc.WithMaxTokenSize(1<<20)), nil), "WithMaxTokenSize"},
		"a panic":                   {func(context.Context, string) (*oidc.Verifier, error) { panic("a secret") }, "resolve panicked: a value of type string"},
		"a panic at run time": {func(context.Context, string) (*oidc.Verifier, error) {
			var m map[string]int
			//lint:ignore SA5000 it is the panic that the row is about
			m["x"] = 1
			return nil, nil
		}, "assignment to entry in nil map"},
		"no answer": {func(ctx context.Context, _ string) (*oidc.Verifier, error) { <-ctx.Done(); return nil, ctx.Err() }, "deadline"},
		"no answer that says so in the end": {func(ctx context.Context, _ string) (*oidc.Verifier, error) {
			<-ctx.Done()
			return nil, oidc.ErrIssuer
		}, "deadline"},
		"no answer, not even to its context": {func(context.Context, string) (*oidc.Verifier, error) {
			time.Sleep(time.Minute)
			return nil, oidc.ErrIssuer
		}, "ignores its context"},
		"a Verifier that comes too late": {func(ctx context.Context, iss string) (*oidc.Verifier, error) {
			v, err := n.verifier(iss)
			require.NoError(t, err)
			require.NoError(t, v.Prefetch(ctx)) // so that it would stay if it were not closed
			<-ctx.Done()
			return v, nil
		}, "deadline"},
	} {
		inBubble(t, name, func(t *testing.T) {
			s := n.tenants(t)
			n.become(tc.resolve)
			before := time.Now()
			_, err := s.VerifyToken(t.Context(), n.token(1))
			requireOutageOf(t, err, tc.want)
			require.ErrorContains(t, err, "tenants: "+nameOf(1)+": ")
			require.NotContains(t, err.Error(), "secret")
			require.Less(t, time.Since(before), 12*time.Second)
			require.Zero(t, s.Len())
			_, err = s.VerifyToken(t.Context(), n.token(1))
			requireOutageOf(t, err, tc.want)
			n.become(good)
			time.Sleep(time.Second)
			accept(t, s, n.token(1))
			time.Sleep(2 * time.Minute) // what was late is back, and changes nothing
			accept(t, s, n.token(1))
			require.NoError(t, s.Close())
		})
	}
}

// inBubble is t.Run in a bubble of synctest.
func inBubble(t *testing.T, name string, test func(t *testing.T)) {
	t.Run(name, func(t *testing.T) { synctest.Test(t, test) })
}

func TestAVerifierBelongsToOneTenants(t *testing.T) {
	n := newTown(t)
	s, other := n.tenants(t), n.tenants(t)
	v, err := n.verifier(nameOf(1))
	require.NoError(t, err)
	n.become(says(v, nil))
	accept(t, s, n.token(1))
	_, err = other.VerifyToken(t.Context(), n.token(1))
	requireOutageOf(t, err, "that a Tenants has, or had")
	s.Forget(nameOf(1))
	_, err = s.VerifyToken(t.Context(), n.token(1))
	requireOutageOf(t, err, "make one for each call")

	t.Run("and whoever closes it ends the tenant", func(t *testing.T) {
		v, err := n.verifier(nameOf(2))
		require.NoError(t, err)
		n.become(says(v, nil))
		raw := n.token(2)
		accept(t, s, raw)
		require.NoError(t, v.Close())
		n.become(func(_ context.Context, iss string) (*oidc.Verifier, error) { return n.verifier(iss) })
		accept(t, s, raw) // by a new one, not from memory
		require.Equal(t, 2, n.asked(2))
	})
}

func TestTwoTenantsShareNoKeySource(t *testing.T) {
	n := newTown(t)
	s := n.tenants(t)
	keys := &static{key: n.pen.PublicKey()}
	n.become(func(_ context.Context, iss string) (*oidc.Verifier, error) {
		return oidc.New(iss, oidctest.Audience, oidc.WithKeys(keys, nil))
	})
	accept(t, s, n.token(1))
	_, err := s.VerifyToken(t.Context(), n.token(2))
	requireOutageOf(t, err, "with the key source of "+nameOf(1))
	s.Forget(nameOf(1))
	accept(t, s, n.token(1))
}

func TestOneQuestionPerIssuerAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newTown(t)
		s := n.tenants(t)
		n.become(func(ctx context.Context, iss string) (*oidc.Verifier, error) {
			require.Nil(t, ctx.Value(userKey{}), "nothing of the request that was first")
			time.Sleep(time.Second)
			return n.verifier(iss)
		})
		var all sync.WaitGroup
		for range 100 {
			all.Go(func() { accept(t, s, n.token(1)) })
		}
		all.Go(func() { // a caller that goes away does not take the answer from the others
			ctx, cancel := context.WithTimeout(context.WithValue(t.Context(), userKey{}, 1), time.Millisecond)
			defer cancel()
			_, err := s.VerifyToken(ctx, n.token(1))
			requireOutageOf(t, err, "deadline")
		})
		all.Wait()
		require.Equal(t, 1, n.asked(1))
		require.Equal(t, 2, n.fetches["tenant-1.example"], "metadata and keys")
		require.NoError(t, s.Close())
	})
}

type userKey struct{}

func TestTheTenantThatWasUsedLeastRecentlyMakesRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newTown(t)
		s := n.tenants(t, tenants.WithMaxTenants(2))
		first, second := n.token(1), n.token(2)
		accept(t, s, first)
		time.Sleep(time.Second)
		accept(t, s, second)
		time.Sleep(time.Second)
		accept(t, s, first) // known, and in use by that
		time.Sleep(time.Second)
		accept(t, s, n.token(3))
		require.Equal(t, 2, s.Len())
		accept(t, s, first)
		require.Equal(t, 1, n.asked(1))
		accept(t, s, second) // not from memory: no key is kept fresh for it
		require.Equal(t, 2, n.asked(2))
		require.Equal(t, 4, n.fetches["tenant-2.example"])
		require.Equal(t, 2, s.Len())
		require.NoError(t, s.Close())
	})
}

// A tenant makes room while it serves a request: the request finishes normally.
func TestATenantThatMakesRoomEndsWhatItServes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newTown(t)
		s := n.tenants(t, tenants.WithMaxTenants(1))
		accept(t, s, n.token(1))
		n.set(n.hangs, 2, true)
		release := make(chan struct{})
		n.become(func(_ context.Context, iss string) (*oidc.Verifier, error) {
			return oidc.New(iss, oidctest.Audience, oidc.WithHTTPClient(&http.Client{Transport: waiting{n, release}}))
		})
		var all sync.WaitGroup
		all.Go(func() { accept(t, s, n.token(7)) }) // waits for its keys
		synctest.Wait()
		n.become(func(_ context.Context, iss string) (*oidc.Verifier, error) { return n.verifier(iss) })
		for i := 100; i < 140; i++ { // new ones, none of which has a good token
			refuse(t, s, n.forged(i), oidc.ErrSignature)
			time.Sleep(time.Millisecond)
		}
		close(release)
		all.Wait()
		accept(t, s, n.token(7))
		require.Equal(t, 1, n.asked(7), "it is live again, since its token was good")
		require.NoError(t, s.Close())
	})
}

// The same for a request that fails: its tenant is closed afterwards.
func TestATenantThatHasMadeRoomIsClosedAfterItsLastRequest(t *testing.T) {
	var made weak.Pointer[oidc.Verifier]
	for name, last := range map[string]func(t *testing.T, n *town, s *tenants.Tenants, end func()){
		"a bad token": func(t *testing.T, n *town, s *tenants.Tenants, end func()) {
			end()
			for range 10 { // its refreshes would keep it in memory
				synctest.Wait()
				runtime.GC()
			}
			require.Nil(t, made.Value(), "it is closed")
			require.Equal(t, 1, n.asked(7))
			refuse(t, s, n.forged(7), oidc.ErrSignature)
			require.Equal(t, 2, n.asked(7))
		},
		"a good one, and Forget": func(t *testing.T, n *town, s *tenants.Tenants, end func()) {
			n.become(says(nil, oidc.ErrIssuer))
			s.Forget(nameOf(7))
			synctest.Wait()
			end()
		},
	} {
		inBubble(t, name, func(t *testing.T) {
			n := newTown(t)
			s := n.tenants(t, tenants.WithMaxTenants(1))
			release := make(chan struct{})
			n.become(func(_ context.Context, iss string) (*oidc.Verifier, error) {
				v, err := oidc.New(iss, oidctest.Audience, oidc.WithHTTPClient(&http.Client{Transport: waiting{n, release}}))
				made = weak.Make(v)
				return v, err
			})
			raw, want := n.forged(7), error(oidc.ErrSignature)
			if name != "a bad token" {
				raw, want = n.token(7), oidc.ErrIssuer
			}
			var all sync.WaitGroup
			all.Go(func() { refuse(t, s, raw, want) })
			synctest.Wait()
			n.become(func(_ context.Context, iss string) (*oidc.Verifier, error) { return n.verifier(iss) })
			for i := 100; i < 140; i++ {
				time.Sleep(time.Millisecond)
				refuse(t, s, n.forged(i), oidc.ErrSignature)
			}
			last(t, n, s, sync.OnceFunc(func() { close(release) }))
			all.Wait()
			require.NoError(t, s.Close())
		})
	}
}

func TestKnownTokensOfTenantsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newTown(t)
		s := n.tenants(t)
		keys := &static{key: n.pen.PublicKey()}
		n.become(func(_ context.Context, iss string) (*oidc.Verifier, error) {
			return oidc.New(iss, oidctest.Audience, oidc.WithKeys(keys, nil))
		})
		raw := n.token(1)
		accept(t, s, raw)
		accept(t, s, raw)
		require.EqualValues(t, 1, keys.lookups.Load(), "the second time it is known")
		keys.gone.Store(true) // the issuer withdraws the key
		refuse(t, s, raw, oidc.ErrNoKey)
		keys.gone.Store(false)
		accept(t, s, raw)
		time.Sleep(time.Hour)
		refuse(t, s, raw, oidc.ErrExpired)
		require.NoError(t, s.Close())
	})
	t.Run("and keep no tenant in memory", func(t *testing.T) {
		n := newTown(t)
		s := n.tenants(t)
		var made weak.Pointer[oidc.Verifier]
		n.become(func(_ context.Context, iss string) (*oidc.Verifier, error) {
			v, err := n.verifier(iss)
			made = weak.Make(v)
			return v, err
		})
		accept(t, s, n.token(1))
		require.NotNil(t, made.Value())
		s.Forget(nameOf(1))
		require.Eventually(t, func() bool { runtime.GC(); return made.Value() == nil }, 5*time.Second, 10*time.Millisecond)
		accept(t, s, n.token(1))
	})
}

// waiting is a network that waits.
type waiting struct {
	http.RoundTripper
	until chan struct{}
}

func (w waiting) RoundTrip(r *http.Request) (*http.Response, error) {
	select {
	case <-w.until:
	case <-r.Context().Done():
		return nil, r.Context().Err()
	}
	return w.RoundTripper.RoundTrip(r)
}

// Invented tokens of other tenants push out no tenant that has had a good token.
func TestForgedTokensMakeNoTenantLeave(t *testing.T) {
	n := newTown(t)
	s := n.tenants(t, tenants.WithMaxTenants(3))
	for i := range 3 {
		accept(t, s, n.token(i))
	}
	for i := range 200 {
		refuse(t, s, n.forged(100+i), oidc.ErrSignature)
	}
	require.LessOrEqual(t, s.Len(), 3+16)
	for i := range 3 {
		accept(t, s, n.token(i))
		require.Equal(t, 1, n.asked(i))
	}
}

func TestForgetTakesEffectBeforeItReturns(t *testing.T) {
	gone := says(nil, oidc.ErrIssuer)
	t.Run("for a token that is known", func(t *testing.T) {
		n := newTown(t)
		s := n.tenants(t)
		raw, other := n.token(1), n.token(2)
		accept(t, s, raw)
		accept(t, s, other)
		n.become(gone)
		accept(t, s, raw)
		s.Forget(nameOf(1))
		refuse(t, s, raw, oidc.ErrIssuer)
		accept(t, s, other)
		require.Equal(t, 1, n.asked(2))
		s.Forget(nameOf(3)) // which is not live
	})
	t.Run("while resolve is under way", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			n := newTown(t)
			s := n.tenants(t)
			n.become(func(_ context.Context, iss string) (*oidc.Verifier, error) {
				time.Sleep(5 * time.Second)
				return n.verifier(iss)
			})
			var all sync.WaitGroup
			all.Go(func() { refuse2(t, s, n.token(1), oidc.ErrIssuer) })
			synctest.Wait()
			n.become(gone)
			s.Forget(nameOf(1))
			before := time.Now()
			refuse(t, s, n.token(1), oidc.ErrIssuer)
			require.Zero(t, time.Since(before), "it waits for no question from before")
			all.Wait()
			require.Equal(t, 2, n.asked(1))
			require.Zero(t, s.Len())
			require.NoError(t, s.Close())
		})
	})
	t.Run("while a refusal is under way", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			n := newTown(t)
			s := n.tenants(t)
			n.become(func(context.Context, string) (*oidc.Verifier, error) {
				time.Sleep(time.Second)
				return nil, oidc.ErrIssuer
			})
			var all sync.WaitGroup
			all.Go(func() { accept(t, s, n.token(1)) })
			synctest.Wait()
			n.become(func(_ context.Context, iss string) (*oidc.Verifier, error) { return n.verifier(iss) })
			s.Forget(nameOf(1))
			all.Wait()
			accept(t, s, n.token(1))
			require.NoError(t, s.Close())
		})
	})
	t.Run("while a verification is under way", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			n := newTown(t)
			s := n.tenants(t)
			release := make(chan struct{})
			defer close(release)
			n.become(func(_ context.Context, iss string) (*oidc.Verifier, error) {
				return oidc.New(iss, oidctest.Audience, oidc.WithHTTPClient(&http.Client{Transport: waiting{n, release}}))
			})
			var all sync.WaitGroup
			all.Go(func() { refuse(t, s, n.token(1), oidc.ErrIssuer) })
			synctest.Wait()
			n.become(gone)
			s.Forget(nameOf(1))
			before := time.Now()
			all.Wait()
			require.Zero(t, time.Since(before), "the fetch for it is ended")
			require.NoError(t, s.Close())
		})
	})
	t.Run("while its keys verify", func(t *testing.T) {
		n := newTown(t)
		s := n.tenants(t)
		keys := &forgetful{town: n}
		n.become(func(_ context.Context, iss string) (*oidc.Verifier, error) {
			return oidc.New(iss, oidctest.Audience, oidc.WithKeys(keys, nil))
		})
		keys.during = func() { n.become(gone); s.Forget(nameOf(1)) }
		refuse(t, s, n.token(1), oidc.ErrIssuer)
	})
}

// refuse2 is refuse with more patience.
func refuse2(t testing.TB, v tokenVerifier, raw string, want error) {
	t.Helper()
	_, err := v.VerifyToken(t.Context(), raw)
	requireKind(t, want, err)
}

// forgetful is a key source that calls a function while it is asked.
type forgetful struct {
	town   *town
	during func()
}

func (f *forgetful) Keys(context.Context, string, string) ([]crypto.PublicKey, error) {
	f.during()
	return []crypto.PublicKey{f.town.pen.PublicKey()}, nil
}

func (f *forgetful) Contains(crypto.PublicKey) bool { return true }

// Tenants come, go and are forgotten under load: no token of a tenant passes after the
// last Forget has returned, and every good token passes.
func TestForgetUnderLoad(t *testing.T) {
	n := newTown(t)
	var gone sync.Map
	n.become(func(_ context.Context, iss string) (*oidc.Verifier, error) {
		if _, ok := gone.Load(iss); ok {
			return nil, oidc.ErrIssuer
		}
		return n.verifier(iss)
	})
	s := n.tenants(t, tenants.WithMaxTenants(8), tenants.WithCacheSize(100))
	raws := make([]string, 12)
	for i := range raws {
		raws[i] = n.token(i)
	}
	stop := make(chan struct{})
	var load sync.WaitGroup
	var good, bad atomic.Int64
	for range 4 {
		load.Go(func() {
			for k := 0; ; k++ {
				select {
				case <-stop:
					return
				default:
				}
				i := k % len(raws)
				_, ended := gone.Load(nameOf(i) + " for good")
				_, err := s.VerifyToken(t.Context(), raws[i])
				switch {
				case err == nil && ended:
					bad.Add(1)
				case err == nil:
					good.Add(1)
				case err == oidc.ErrIssuer:
				default:
					if !strings.Contains(err.Error(), "forgotten, or made room") {
						t.Error(err)
					}
				}
			}
		})
	}
	for k := range 200 {
		s.Forget(nameOf(k % len(raws)))
		time.Sleep(200 * time.Microsecond)
	}
	for i := range 6 {
		gone.Store(nameOf(i), true)
		s.Forget(nameOf(i))
		gone.Store(nameOf(i)+" for good", true)
		time.Sleep(5 * time.Millisecond)
	}
	close(stop)
	load.Wait()
	require.Positive(t, good.Load())
	require.Zero(t, bad.Load())
	require.NoError(t, s.Close())
}

// An outage of one tenant leaves the others alone, whether its issuer or resolve is down
// or hangs.
func TestTheOutageOfATenantTouchesNoOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newTown(t)
		s := n.tenants(t)
		known := n.token(1)
		accept(t, s, known)
		n.set(n.hangs, 2, true)
		n.set(n.down, 3, true)
		n.become(func(ctx context.Context, iss string) (*oidc.Verifier, error) {
			switch iss {
			case nameOf(4):
				<-ctx.Done()
				return nil, ctx.Err()
			case nameOf(5):
				panic("5")
			}
			return n.verifier(iss)
		})
		var load sync.WaitGroup
		for range 50 {
			for sick := 2; sick <= 5; sick++ {
				load.Go(func() {
					_, err := s.VerifyToken(t.Context(), n.token(sick))
					requireOurs(t, err)
				})
			}
		}
		synctest.Wait()
		before := time.Now()
		accept(t, s, known)
		accept(t, s, n.token(1))
		accept(t, s, n.token(6))
		require.NoError(t, s.Ready(t.Context()))
		require.Zero(t, time.Since(before))
		load.Wait()
		require.Equal(t, 1, n.asked(4))
		require.NoError(t, s.Close())
	})
}

// A caller invents issuers, for which resolve is slow. Other callers' tenants wait for
// one turn at most, and only the caller's own refusals are displaced.
func TestAFloodOfInventedIssuersTouchesNoTenant(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newTown(t)
		s := n.tenants(t)
		from := func(address string) context.Context {
			return oidc.ContextWithCaller(t.Context(), netip.MustParseAddr(address))
		}
		n.become(func(_ context.Context, iss string) (*oidc.Verifier, error) {
			if strings.HasPrefix(iss, "https://invented") {
				time.Sleep(time.Second)
				return nil, oidc.ErrIssuer
			}
			return n.verifier(iss)
		})
		raw := n.token(1)
		_, err := s.VerifyToken(from("198.51.100.1"), raw)
		require.NoError(t, err)
		invented := func(i int) string {
			return n.write(oidctest.Claim("iss", fmt.Sprintf("https://invented-%d.example", i)))
		}
		refusedBefore := n.write(oidctest.Claim("iss", "https://invented.example"))
		_, err = s.VerifyToken(from("198.51.100.1"), refusedBefore)
		requireKind(t, oidc.ErrIssuer, err)
		var flood sync.WaitGroup
		for i := range 1500 {
			flood.Go(func() { _, _ = s.VerifyToken(from("192.0.2.66"), invented(i)) })
		}
		synctest.Wait()
		n.mu.Lock()
		require.LessOrEqual(t, len(n.resolves), 2+128, "questions for one caller at once")
		n.mu.Unlock()
		before := time.Now()
		for _, token := range []string{raw, n.token(1), n.token(2), refusedBefore} {
			_, _ = s.VerifyToken(from("198.51.100.1"), token)
		}
		require.Zero(t, time.Since(before))
		require.Equal(t, 1, n.count(n.resolves, "https://invented.example"))
		flood.Wait()
		require.NoError(t, s.Close())
	})
}

// The same with the names of real tenants, which are public: a tenant that comes back
// waits for one turn, not for every question of one caller.
func TestAFloodInTheNameOfTenantsDelaysNoOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newTown(t)
		s := n.tenants(t)
		from := func(address string) context.Context {
			return oidc.ContextWithCaller(t.Context(), netip.MustParseAddr(address))
		}
		for i := range 600 {
			accept(t, s, n.token(i)) // approved before
			s.Forget(nameOf(i))
		}
		n.become(func(_ context.Context, iss string) (*oidc.Verifier, error) {
			time.Sleep(time.Second)
			return n.verifier(iss)
		})
		var flood sync.WaitGroup
		for i := range 599 {
			flood.Go(func() { _, _ = s.VerifyToken(from("192.0.2.66"), n.forged(i)) })
		}
		synctest.Wait()
		before := time.Now()
		_, err := s.VerifyToken(from("198.51.100.1"), n.token(599))
		require.NoError(t, err)
		require.Equal(t, time.Second, time.Since(before))
		flood.Wait()
		require.NoError(t, s.Close())
	})
}

// The memory of refusals is bounded, and a flood displaces only its own refusals.
func TestRefusalsAreSharedOutByCaller(t *testing.T) {
	flood := 20_000
	if testing.Short() {
		flood = 11_000
	}
	n := newTown(t)
	s := n.tenants(t, tenants.WithRefusalLifetime(5*time.Minute))
	caller := func(address string) context.Context {
		return oidc.ContextWithCaller(t.Context(), netip.MustParseAddr(address))
	}
	invented := func(i int) string { return tokenOf(fmt.Sprintf("https://invented-%d.example", i)) } // which takes no signature
	for i := range flood {
		_, err := s.VerifyToken(caller("192.0.2.66"), invented(100_000+i))
		requireKind(t, oidc.ErrIssuer, err)
	}
	for i := range 50 {
		_, err := s.VerifyToken(caller("198.51.100.1"), invented(i))
		requireKind(t, oidc.ErrIssuer, err)
	}
	for i := range flood {
		_, err := s.VerifyToken(caller("192.0.2.66"), invented(1000+i))
		requireKind(t, oidc.ErrIssuer, err)
	}
	calls := len(n.resolves)
	for i := range 50 {
		_, err := s.VerifyToken(caller("192.0.2.66"), invented(i))
		requireKind(t, oidc.ErrIssuer, err)
	}
	require.Len(t, n.resolves, calls)
	for i := range 50 {
		require.LessOrEqual(t, n.count(n.resolves, fmt.Sprintf("https://invented-%d.example", i)), 1, "refusal %d was displaced", i)
	}
}

func TestTheDeclaredPolicyHoldsForEveryTenant(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newTown(t)
		policy := oidc.Policy{Algorithms: []string{"ES256", "PS256"}, Skew: 10 * time.Second, ChecksAudience: true}
		s := n.tenants(t, tenants.WithPolicy(policy))
		require.Equal(t, policy, s.Policy())
		s.Policy().Algorithms[0] = "RS256"
		require.Equal(t, policy, s.Policy(), "the slice is the caller's")
		for name, tc := range map[string]struct {
			opts []oidc.Option
			want string // "": it is admitted
		}{
			"as strict":        {[]oidc.Option{oidc.WithAlgorithms("ES256", "PS256"), oidc.WithSkew(10 * time.Second)}, ""},
			"stricter":         {[]oidc.Option{oidc.WithAlgorithms("ES256"), oidc.WithSkew(0)}, ""},
			"more algorithms":  {[]oidc.Option{oidc.WithAlgorithms("ES256", "ES384"), oidc.WithSkew(0)}, "accepts ES384"},
			"more skew":        {[]oidc.Option{oidc.WithAlgorithms("ES256"), oidc.WithSkew(11 * time.Second)}, "a skew of 11s"},
			"clients lack aud": {[]oidc.Option{oidc.WithAlgorithms("ES256"), oidc.WithSkew(0), oidc.DangerouslyAllowMissingAudience("client")}, "any audience"},
		} {
			n.become(func(_ context.Context, iss string) (*oidc.Verifier, error) { return n.verifier(iss, tc.opts...) })
			_, err := s.VerifyToken(t.Context(), n.token(1))
			if tc.want == "" {
				require.NoError(t, err, name)
			} else {
				requireOutageOf(t, err, tc.want)
				require.ErrorContains(t, err, "WithPolicy")
			}
			s.Forget(nameOf(1))
		}
		// What the Policy lists holds as well: mcpguard tells clients so.
		lists := policy
		lists.Skew, lists.Issuers, lists.Audiences = time.Minute, []string{nameOf(1), nameOf(2)}, []string{"https://two.example", oidctest.Audience}
		es256, both := oidc.WithAlgorithms("ES256"), oidc.WithAudiences("https://two.example")
		for name, tc := range map[string]struct {
			tenant int
			opts   []oidc.Option
			want   string
		}{
			"what it lists":  {1, []oidc.Option{es256, both}, ""},
			"one issuer":     {3, []oidc.Option{es256, both}, "Issuers"},
			"fewer":          {2, []oidc.Option{es256}, "https://two.example"},
			"more audiences": {2, []oidc.Option{es256, oidc.WithAudiences("https://two.example", "https://three.example")}, "https://three.example"},
		} {
			s := n.tenants(t, tenants.WithPolicy(lists))
			require.Equal(t, lists, s.Policy())
			s.Policy().Issuers[0], s.Policy().Audiences[0] = "", ""
			require.Equal(t, lists, s.Policy(), "the slices are the caller's")
			n.become(func(_ context.Context, iss string) (*oidc.Verifier, error) { return n.verifier(iss, tc.opts...) })
			_, err := s.VerifyToken(t.Context(), n.token(tc.tenant))
			if tc.want == "" {
				require.NoError(t, err, name)
			} else {
				requireOutageOf(t, err, tc.want)
				require.ErrorContains(t, err, "WithPolicy")
			}
			require.NoError(t, s.Close())
		}
		require.Equal(t, oidc.Policy{}, new(tenants.Tenants).Policy())
		undeclared := n.tenants(t).Policy()
		require.False(t, undeclared.ChecksAudience)
		require.Empty(t, undeclared.Algorithms)
		require.Equal(t, 5*time.Minute, undeclared.Skew, "the most that a Verifier can have")
		require.NoError(t, s.Close())
	})
}

func TestCloseOfTenantsEndsWhatTheyStarted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // a goroutine that stays would be a deadlock
		n := newTown(t)
		s := n.tenants(t)
		raw := n.token(1)
		accept(t, s, raw)
		ended := false
		n.become(func(ctx context.Context, iss string) (*oidc.Verifier, error) {
			if iss == nameOf(2) {
				<-ctx.Done()
				ended = true
				return nil, ctx.Err()
			}
			return n.verifier(iss)
		})
		n.set(n.hangs, 3, true)
		var all sync.WaitGroup
		for sick := 2; sick <= 3; sick++ {
			all.Go(func() {
				_, err := s.VerifyToken(t.Context(), n.token(sick))
				requireOurs(t, err)
			})
		}
		synctest.Wait()
		before := time.Now()
		require.NoError(t, s.Close())
		all.Wait()
		require.True(t, ended)
		require.Zero(t, time.Since(before))
		require.NoError(t, s.Close())
		accept(t, s, raw) // what is known still serves
		accept(t, s, n.token(1))
		_, err := s.VerifyToken(t.Context(), n.token(4))
		requireOutageOf(t, err, "closed")
		require.ErrorContains(t, s.Ready(t.Context()), "closed")
		s.Forget(nameOf(1))
		_, err = s.VerifyToken(t.Context(), raw)
		requireOutageOf(t, err, "closed")
	})
	t.Run("and waits for no resolve that ignores its context", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			n := newTown(t)
			s := n.tenants(t)
			n.become(func(_ context.Context, iss string) (*oidc.Verifier, error) {
				time.Sleep(time.Hour)
				return n.verifier(iss)
			})
			go func() { _, _ = s.VerifyToken(t.Context(), n.token(1)) }()
			synctest.Wait()
			before := time.Now()
			require.NoError(t, s.Close())
			require.Equal(t, time.Second, time.Since(before))
			time.Sleep(2 * time.Hour)
		})
	})
}

// A process that starts again knows no tenant, and serves each from its first token on.
func TestTenantsAfterARestart(t *testing.T) {
	n := newTown(t)
	raw := n.token(1)
	for range 3 {
		s := n.tenants(t)
		accept(t, s, raw)
		require.NoError(t, s.Close())
	}
	require.Equal(t, 3, n.asked(1))
	require.Equal(t, 6, n.fetches["tenant-1.example"])
}

func TestStatusesOfTenants(t *testing.T) {
	n := newTown(t)
	s := n.tenants(t, tenants.WithMaxTenants(500))
	n.set(n.down, 7, true)
	for i := range 150 {
		_, _ = verifyToken(t, s, n.token(i))
		_, _ = verifyToken(t, s, n.token(i, oidctest.Claim("client_id", "other")))
	}
	require.Equal(t, 150, s.Len())
	all := s.Statuses()
	require.Len(t, all, 100)
	require.Equal(t, nameOf(7), all[0].Issuer)
	require.NotEmpty(t, all[0].Keys.LastError)
	require.Equal(t, 2, all[1].CachedTokens)
	require.NoError(t, s.Ready(t.Context()))
	var none *tenants.Tenants
	for _, zero := range []*tenants.Tenants{none, new(tenants.Tenants)} {
		_, err := zero.VerifyToken(t.Context(), n.token(1))
		requireOurs(t, err)
		require.Error(t, zero.Ready(t.Context()))
		require.NoError(t, zero.Close())
		require.Empty(t, zero.Statuses())
		require.Zero(t, zero.Len())
		zero.Forget(nameOf(1))
		require.Equal(t, "JWT", zero.Explain(n.token(1)).Form)
		require.Equal(t, "tenants.Tenants", fmt.Sprintf("%v", zero))
	}
	require.Equal(t, "tenants.Tenants", fmt.Sprintf("%#v", s))
}

func TestTenantsExplainWrongTokens(t *testing.T) {
	n := newTown(t)
	s := n.tenants(t)
	accept(t, s, n.token(1))
	e := s.Explain(n.token(1, oidctest.Claim("aud", "https://other.example")))
	require.Equal(t, []string{oidctest.Audience}, e.ExpectedAudiences)
	require.Equal(t, []string{nameOf(1)}, e.ExpectedIssuers)
	e = s.Explain(n.write())
	require.Equal(t, n.pen.URL, e.Issuer)
	require.Empty(t, e.ExpectedIssuers)
}

func TestMistakesInTheOptionsOfTenants(t *testing.T) {
	_, err := tenants.New(nil, nil, tenants.WithMaxTenants(0), tenants.WithMaxTenants(1), tenants.WithCacheSize(-1), tenants.WithRefusalLifetime(time.Hour),
		tenants.WithPolicy(oidc.Policy{Skew: time.Hour, ChecksRevocation: true}), tenants.RequireOrigins(), tenants.RequireOrigins())
	require.EqualError(t, err, strings.Join([]string{
		"tenants: option 1 is nil",
		"tenants: WithMaxTenants: 0 is not between 1 and 1000000",
		"tenants: WithMaxTenants is given twice",
		"tenants: WithCacheSize: -1 is not between 0 and 10000000",
		"tenants: WithRefusalLifetime: 1h0m0s is not between 0s and 5m0s",
		"tenants: WithPolicy: name the Algorithms",
		"tenants: WithPolicy: a skew of 1h0m0s is not between 0 and 5m0s",
		"tenants: WithPolicy: no Verifier asks its issuer about revocation",
		"tenants: RequireOrigins is given twice",
		"tenants: New: resolve is nil",
	}, "\n"))
	_, err = tenants.New(says(nil, nil), tenants.WithPolicy(oidc.Policy{Algorithms: []string{"HS256"}}))
	require.ErrorContains(t, err, `WithPolicy: "HS256" is not supported`)
	for _, bad := range []string{
		"", "acme.example", "http://acme.example", "https://acme.example/path", "https://acme.example?x", "https://acme.example#x", "https://u@acme.example",
		"https://acme.example:0", "https://acme.example:99999", "https://", "ftp://acme.example", "https://ácme.example", "https://[::1", "https://*.example ",
	} {
		_, err := oidc.New(nameOf(1), oidctest.Audience, oidc.WithOrigins(bad))
		require.ErrorContains(t, err, "WithOrigins: ", "%q", bad)
	}
	_, err = oidc.New(nameOf(1), oidctest.Audience, oidc.WithOrigins())
	require.ErrorContains(t, err, "WithOrigins: no origin given")
	_, err = oidc.New(nameOf(1), oidctest.Audience, oidc.WithOrigins("https://acme.example", "HTTPS://ACME.example:443/"))
	require.ErrorContains(t, err, "given twice")
}

func TestTokensSayWhereTheyAreGood(t *testing.T) {
	n := newTown(t)
	s := n.tenants(t, tenants.RequireOrigins())
	_, err := s.VerifyToken(t.Context(), n.token(1))
	requireOutageOf(t, err, "RequireOrigins")
	n.become(func(_ context.Context, iss string) (*oidc.Verifier, error) {
		return n.verifier(iss, oidc.WithOrigins("HTTPS://Acme.Example:443/", "http://localhost:8080"), oidc.WithOrigins("https://[2001:DB8::1]:8443"))
	})
	s.Forget(nameOf(1))
	raw := n.token(1)
	for range 2 {
		require.Equal(t, []string{"https://acme.example", "http://localhost:8080", "https://[2001:db8::1]:8443"}, accept(t, s, raw).Origins())
	}
}

// Entra ID gives every tenant an issuer of its own, and one document for all of them,
// whose issuer is a template. Tokens must name the tenant's.
func TestEntraTenants(t *testing.T) {
	const (
		authority = "https://login.microsoftonline.com/"
		audience  = "api://orders"
		acme      = "11111111-2222-3333-4444-555555555555"
	)
	n := newTown(t)
	customers := map[string]bool{authority + acme + "/v2.0": true}
	transport := transportFunc(func(r *http.Request) (*http.Response, error) {
		w, err := n.RoundTrip(r)
		if strings.HasSuffix(r.URL.Path, "/openid-configuration") {
			w.Body = io.NopCloser(strings.NewReader(`{"issuer":"` + authority + `{tenantid}/v2.0","jwks_uri":"` + authority + `common/discovery/v2.0/keys"}`))
		}
		return w, err
	})
	s, err := tenants.New(func(_ context.Context, iss string) (*oidc.Verifier, error) {
		if !customers[iss] {
			return nil, oidc.ErrIssuer
		}
		return oidc.New(iss, audience, oidc.WithProfile(oidc.EntraID), oidc.WithHTTPClient(&http.Client{Transport: transport}),
			oidc.WithMetadataURL(authority+"common/v2.0/.well-known/openid-configuration"),
			oidc.WithMetadataIssuer(authority+"{tenantid}/v2.0"))
	})
	require.NoError(t, err)
	defer s.Close()
	token := func(iss string) string {
		return n.write(oidctest.EntraID("2.0", "Orders.Read"), oidctest.Claim("iss", iss), oidctest.Claim("aud", audience))
	}
	require.Equal(t, authority+acme+"/v2.0", accept(t, s, token(authority+acme+"/v2.0")).Issuer)
	for _, iss := range []string{
		authority + "{tenantid}/v2.0", authority + "common/v2.0", authority + "99999999-2222-3333-4444-555555555555/v2.0",
		authority + acme + "/v2.0/", "https://sts.windows.net/" + acme + "/",
	} {
		refuse(t, s, token(iss), oidc.ErrIssuer)
	}
}

type transportFunc func(*http.Request) (*http.Response, error)

func (f transportFunc) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// tokenOf is a token in the name of an issuer that no Verifier accepts: its algorithm is
// a MAC.
func tokenOf(iss string) string {
	encode := base64.RawURLEncoding.EncodeToString
	return encode([]byte(`{"alg":"HS256","typ":"at+jwt"}`)) + "." + encode(fmt.Appendf(nil, `{"iss":%q}`, iss)) + "." + encode([]byte("signature"))
}

// Over a real network.
func TestTenantsOverTheNetwork(t *testing.T) {
	a, b := oidctest.NewIssuer(t), oidctest.NewIssuer(t, oidctest.WithPath("/realms/b"))
	clients := map[string]*http.Client{a.URL: a.Client(), b.URL: b.Client()}
	s, err := tenants.New(func(_ context.Context, iss string) (*oidc.Verifier, error) {
		client, ok := clients[iss]
		if !ok {
			return nil, oidc.ErrIssuer
		}
		return oidc.New(iss, oidctest.Audience, oidc.WithHTTPClient(client), oidc.WithCacheSize(0))
	})
	require.NoError(t, err)
	defer s.Close()
	accept(t, s, a.Token())
	accept(t, s, b.Token())
	b.SetDown(true)
	s.Forget(b.URL)
	_, err = verifyToken(t, s, b.Token())
	requireOurs(t, err)
	require.Equal(t, outage.Issuer, outage.Reason(err))
	accept(t, s, a.Token())
	refuse(t, s, a.Token(oidctest.Claim("iss", "https://127.0.0.1:1")), oidc.ErrIssuer)
}

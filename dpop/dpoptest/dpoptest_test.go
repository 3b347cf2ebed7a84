package dpoptest_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/keybound-go/middleware/dpop"
	"github.com/keybound-go/middleware/dpop/dpoptest"
	"github.com/stretchr/testify/require"
)

func decode(t *testing.T, proof string) (header, claims map[string]any) {
	t.Helper()
	for i, part := range strings.Split(proof, ".")[:2] {
		raw, err := base64.RawURLEncoding.DecodeString(part)
		require.NoError(t, err)
		require.NoError(t, json.Unmarshal(raw, []any{&header, &claims}[i]))
	}
	return header, claims
}

func TestAProofHasWhatRFC9449Demands(t *testing.T) {
	key := dpoptest.NewKey(t)
	header, claims := decode(t, key.Proof("PUT", "https://u:p@API.example:8443/a%2Fb//c?q=/x#f", "token"))
	require.Equal(t, "dpop+jwt", header["typ"])
	require.Equal(t, "ES256", header["alg"])
	require.ElementsMatch(t, []string{"kty", "crv", "x", "y"}, slices.Collect(maps.Keys(header["jwk"].(map[string]any))))
	require.Equal(t, "PUT", claims["htm"])
	require.Equal(t, "https://API.example:8443/a%2Fb//c", claims["htu"], "as given, without userinfo, query and fragment")
	require.InDelta(t, time.Now().Unix(), claims["iat"], 5)
	require.Equal(t, "PEaenWxYddN6Q_NT1PiOYfz4EsZu7jRXRlpAsNpBU-A", claims["ath"])
	require.GreaterOrEqual(t, len(claims["jti"].(string)), 16)
	_, again := decode(t, key.Proof("PUT", "https://api.example", "token"))
	require.NotEqual(t, claims["jti"], again["jti"])
	_, atTokenEndpoint := decode(t, key.Proof("POST", "https://issuer.example/token", ""))
	require.NotContains(t, atTokenEndpoint, "ath")
}

func TestOptions(t *testing.T) {
	key := dpoptest.NewKeyFor(t, "EdDSA")
	require.Equal(t, "EdDSA", key.Algorithm())
	require.Len(t, key.Thumbprint(), 43)
	header, claims := decode(t, key.Proof("GET", "https://api.example/", "token",
		dpoptest.ID("1"), dpoptest.IssuedAt(time.Unix(7, 0)), dpoptest.Nonce("n"), dpoptest.Claim("a", 1),
		dpoptest.Header("b", 2), dpoptest.WithoutClaim("htm"), dpoptest.WithoutHeader("typ")))
	require.Equal(t, map[string]any{"jti": "1", "iat": 7.0, "nonce": "n", "a": 1.0, "htu": "https://api.example/", "ath": dpoptest.TokenHash("token")}, claims)
	require.Equal(t, 2.0, header["b"])
	require.NotContains(t, header, "typ")
}

func TestSign(t *testing.T) {
	key := dpoptest.NewKey(t)
	client, err := http.NewRequest("GET", "https://api.example/a?b", nil)
	require.NoError(t, err)
	relative := httptest.NewRequest("GET", "/a?b", nil)
	relative.Host = "api.example"
	for _, r := range []*http.Request{client, relative, httptest.NewRequest("GET", "https://api.example/a?b", nil), {Method: "GET", URL: client.URL}} {
		key.Sign(r, "token")
		require.Equal(t, "DPoP token", r.Header.Get("Authorization"))
		require.Len(t, r.Header["Dpop"], 1)
		_, claims := decode(t, r.Header.Get("DPoP"))
		require.Equal(t, "https://api.example/a", claims["htu"])
	}
}

func TestTheCatalogue(t *testing.T) {
	names := map[string]bool{}
	for _, broken := range dpoptest.Broken() {
		require.False(t, names[broken.Name], "%s twice", broken.Name)
		names[broken.Name] = true
		require.Contains(t, []string{"invalid_dpop_proof", "invalid_token"}, broken.Code)
	}
	for _, unusual := range dpoptest.Unusual() {
		require.False(t, names[unusual.Name])
		names[unusual.Name] = true
	}
	for _, family := range []string{"form-", "missing-", "typ-", "alg-", "sig-", "jwk-", "iat-", "ath-", "dup-", "case-", "hdr-", "claim-", "ok-"} {
		require.True(t, slices.ContainsFunc(slices.Collect(maps.Keys(names)), func(s string) bool { return strings.HasPrefix(s, family) }), family)
	}
}

// badTB ends up here when a fake reports a failure.
type badTB struct {
	testing.TB
	failed chan string
}

func (b badTB) Helper() {}
func (b badTB) Fatalf(format string, args ...any) {
	b.failed <- fmt.Sprintf(format, args...)
	panic("failed")
}

func TestMistakesFailTheTest(t *testing.T) {
	for name, mistake := range map[string]func(testing.TB){
		"no key for algorithm": func(tb testing.TB) { dpoptest.NewKeyFor(tb, "HS256") },
		"not an absolute URI":  func(tb testing.TB) { dpoptest.NewKey(tb).Proof("GET", "/a", "token") },
	} {
		tb := badTB{failed: make(chan string, 1)}
		require.Panics(t, func() { mistake(tb) })
		require.Contains(t, <-tb.failed, name)
	}
}

// Stores that are wrong, each in a way of its own, for TestBadStoresFail.
type store struct {
	mu   sync.Mutex
	seen map[string]time.Time
	key  func(jkt string, id [32]byte, until time.Time) string
	life func(until time.Time) time.Time
	racy bool
	open bool // to a request that is cancelled
}

func (s *store) Add(ctx context.Context, jkt string, id [32]byte, until time.Time) (bool, error) {
	if ctx.Err() != nil && s.open {
		return true, nil
	}
	key := string(id[:])
	if s.key != nil {
		key = s.key(jkt, id, until)
	}
	s.mu.Lock()
	end, ok := s.seen[key]
	if s.racy {
		s.mu.Unlock()
		time.Sleep(time.Microsecond)
		s.mu.Lock()
	}
	defer s.mu.Unlock()
	if ok && time.Now().Before(end) {
		return false, nil
	}
	if s.life != nil {
		until = s.life(until)
	}
	s.seen[key] = until
	return true, nil
}

var badStores = map[string]*store{
	"good":        {},
	"forgets":     {life: func(time.Time) time.Time { return time.Time{} }},
	"seconds":     {life: func(until time.Time) time.Time { return until.Truncate(time.Second) }},
	"early":       {life: func(until time.Time) time.Time { return until.Add(-200 * time.Millisecond) }},
	"racy":        {racy: true},
	"by until":    {key: func(_ string, id [32]byte, until time.Time) string { return string(id[:]) + until.String() }},
	"by key":      {key: func(jkt string, id [32]byte, _ time.Time) string { return jkt + string(id[:]) }},
	"short id":    {key: func(_ string, id [32]byte, _ time.Time) string { return string(id[:12]) }},
	"text":        {key: func(_ string, id [32]byte, _ time.Time) string { return strings.ToLower(string(id[:])) }},
	"cut at NUL":  {key: func(_ string, id [32]byte, _ time.Time) string { return strings.SplitN(string(id[:]), "\x00", 2)[0] }},
	"cancellable": {open: true},
}

// TestStore runs the conformance test on a bad store, in a process of its own.
func TestStore(t *testing.T) {
	s, ok := badStores[os.Getenv("DPOPTEST_STORE")]
	if !ok {
		t.Skip("for TestBadStoresFail")
	}
	s.seen = map[string]time.Time{}
	dpoptest.TestReplayCache(t, func() dpop.ReplayCache { return s })
}

func TestBadStoresFail(t *testing.T) {
	exe, err := os.Executable()
	require.NoError(t, err)
	// They spend most of their time waiting, so all of them run at once.
	type result struct {
		out []byte
		err error
	}
	results := map[string]chan result{}
	for name := range badStores {
		cmd, done := exec.Command(exe, "-test.run=^TestStore$"), make(chan result, 1)
		cmd.Env = append(os.Environ(), "DPOPTEST_STORE="+name)
		results[name] = done
		go func() {
			out, err := cmd.CombinedOutput()
			done <- result{out, err}
		}()
	}
	for name, done := range results {
		t.Run(name, func(t *testing.T) {
			r := <-done
			if name == "good" {
				require.NoError(t, r.err, "%s", r.out)
				return
			}
			require.Error(t, r.err, "%s", r.out)
			require.Contains(t, string(r.out), "--- FAIL: TestStore/")
			require.NotContains(t, string(r.out), "panic")
		})
	}
}

package jwks_test

import (
	"crypto"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/keybound-go/middleware/internal/josetest"
	"github.com/keybound-go/middleware/jwks"
)

const address = "https://issuer.example/jwks"

// issuer answers for an issuer without a network, so that time in a synctest
// bubble moves only by sleeping.
type issuer struct {
	mu      sync.Mutex
	status  int // 0: no connection
	header  http.Header
	body    string
	delay   time.Duration
	fetches int
}

func (i *issuer) RoundTrip(r *http.Request) (*http.Response, error) {
	i.mu.Lock()
	i.fetches++
	status, header, body, delay := i.status, i.header.Clone(), i.body, i.delay
	i.mu.Unlock()
	time.Sleep(delay)
	if status == 0 {
		return nil, errors.New("connection refused")
	}
	return &http.Response{StatusCode: status, Header: header, Body: io.NopCloser(strings.NewReader(body)), Request: r}, nil
}

// publish makes keys the issuer's set, and the issuer reachable.
func (i *issuer) publish(keys ...map[string]any) { i.say(document(keys...)) }

func (i *issuer) say(body string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.status, i.body = http.StatusOK, body
}

func (i *issuer) down() {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.status = 0
}

func (i *issuer) count() int {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.fetches
}

func document(keys ...map[string]any) string {
	if keys == nil {
		keys = []map[string]any{}
	}
	raw, err := json.Marshal(map[string]any{"keys": keys})
	if err != nil {
		panic(err)
	}
	return string(raw)
}

// start makes a Source on a fresh issuer that publishes keys.
func start(t *testing.T, keys []map[string]any, opts ...jwks.Option) (*jwks.Source, *issuer) {
	t.Helper()
	i := &issuer{header: http.Header{}}
	i.publish(keys...)
	s, err := jwks.New(address, append(opts, jwks.WithHTTPClient(&http.Client{Transport: i}))...)
	require.NoError(t, err)
	t.Cleanup(func() { s.Close() })
	return s, i
}

// jwk is k's public key as it stands in a set, with more members in pairs.
func jwk(k *josetest.Key, more ...any) map[string]any {
	members := k.JWK()
	for i := 0; i < len(more); i += 2 {
		members[more[i].(string)] = more[i+1]
	}
	return members
}

// named is jwk with a kid.
func named(k *josetest.Key, kid string, more ...any) map[string]any {
	return jwk(k, append(more, "kid", kid)...)
}

// rsaKey is made once: it takes long.
var rsaKey = sync.OnceValue(func() *josetest.Key { return josetest.NewKey("RS256") })

// requireKeys demands that s has exactly want, in any order, for alg and kid.
func requireKeys(t *testing.T, s *jwks.Source, alg, kid string, want ...*josetest.Key) {
	t.Helper()
	got, err := s.Keys(t.Context(), alg, kid)
	require.NoError(t, err, "%s %q", alg, kid)
	require.Len(t, got, len(want))
	for _, k := range want {
		found := false
		for _, g := range got {
			found = found || equal(g, k)
		}
		require.True(t, found, "%s %q", alg, kid)
	}
}

func equal(key crypto.PublicKey, k *josetest.Key) bool {
	return key.(interface{ Equal(crypto.PublicKey) bool }).Equal(k.Signer.Public())
}

func requireNoKey(t *testing.T, s *jwks.Source, alg, kid string) {
	t.Helper()
	keys, err := s.Keys(t.Context(), alg, kid)
	require.ErrorIs(t, err, jwks.ErrNoKey)
	require.NotErrorIs(t, err, jwks.ErrUnavailable)
	require.Empty(t, keys)
}

// requireUnavailable returns the time after which to try again.
func requireUnavailable(t *testing.T, err error) time.Duration {
	t.Helper()
	require.ErrorIs(t, err, jwks.ErrUnavailable)
	require.NotErrorIs(t, err, jwks.ErrNoKey)
	_, coded := errors.AsType[interface {
		error
		Code() string
	}](err)
	require.False(t, coded, "not the client's fault")
	var retry interface{ RetryAfter() time.Duration }
	if errors.As(err, &retry) {
		return retry.RetryAfter()
	}
	return 0
}

package oidc_test

import (
	"context"
	"crypto"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keybound-go/middleware/jwks"
	"github.com/keybound-go/middleware/oidc"
	"github.com/keybound-go/middleware/oidc/oidctest"
	"github.com/stretchr/testify/require"
)

// static is a key source of one key, which counts what it is asked.
type static struct {
	key     crypto.PublicKey
	err     error
	lookups atomic.Int64
	asked   atomic.Int64 // Contains
	gone    atomic.Bool
}

func (s *static) Keys(context.Context, string, string) ([]crypto.PublicKey, error) {
	s.lookups.Add(1)
	if s.gone.Load() {
		return nil, jwks.ErrNoKey
	}
	return []crypto.PublicKey{s.key}, s.err
}

func (s *static) Contains(crypto.PublicKey) bool {
	s.asked.Add(1)
	return !s.gone.Load()
}

// counting is a static that counts generations.
type counting struct {
	static
	generation atomic.Uint64
}

func (c *counting) Generation() uint64 { return c.generation.Load() }

func newStaticVerifier(t testing.TB, issuer *oidctest.Issuer, keys oidc.KeySource, opts ...oidc.Option) *oidc.Verifier {
	t.Helper()
	v, err := oidc.New(issuer.URL, oidctest.Audience, append(opts, oidc.WithKeys(keys, nil))...)
	require.NoError(t, err)
	return v
}

func TestASecondLookCostsNoSignature(t *testing.T) {
	issuer := newIssuer(t)
	keys := &static{key: issuer.PublicKey()}
	v := newStaticVerifier(t, issuer, keys)
	raw := issuer.Token()
	for range 3 {
		_, err := verifyToken(t, v, raw)
		require.NoError(t, err)
	}
	require.EqualValues(t, 1, keys.lookups.Load())
	require.EqualValues(t, 2, keys.asked.Load())

	keys.gone.Store(true)
	_, err := verifyToken(t, v, raw)
	requireKind(t, oidc.ErrNoKey, err)
	require.EqualValues(t, 2, keys.lookups.Load())
}

func TestWithoutCacheEveryLookCosts(t *testing.T) {
	issuer := newIssuer(t)
	keys := &static{key: issuer.PublicKey()}
	v := newStaticVerifier(t, issuer, keys, oidc.WithCacheSize(0))
	raw := issuer.Token()
	for range 3 {
		_, err := verifyToken(t, v, raw)
		require.NoError(t, err)
	}
	require.EqualValues(t, 3, keys.lookups.Load())
	require.Zero(t, v.Status().CachedTokens)
}

func TestGenerationsSpareTheQuestion(t *testing.T) {
	issuer := newIssuer(t)
	keys := &counting{static: static{key: issuer.PublicKey()}}
	keys.generation.Store(7)
	v := newStaticVerifier(t, issuer, keys)
	raw := issuer.Token()
	look := func() error {
		_, err := verifyToken(t, v, raw)
		return err
	}
	for range 3 {
		require.NoError(t, look())
	}
	require.Zero(t, keys.asked.Load())

	keys.generation.Store(8) // another key came
	for range 3 {
		require.NoError(t, look())
	}
	require.EqualValues(t, 1, keys.asked.Load())

	keys.gone.Store(true)
	keys.generation.Store(9) // ours went
	requireKind(t, oidc.ErrNoKey, look())
}

// withdrawing is a key source whose key is withdrawn as soon as a caller has it.
type withdrawing struct{ counting }

func (w *withdrawing) Keys(ctx context.Context, alg, kid string) ([]crypto.PublicKey, error) {
	keys, err := w.counting.Keys(ctx, alg, kid)
	w.gone.Store(true)
	w.generation.Add(1)
	return keys, err
}

func TestAKeyThatIsWithdrawnDuringTheVerificationIsNoticed(t *testing.T) {
	issuer := newIssuer(t)
	keys := &withdrawing{counting{static: static{key: issuer.PublicKey()}}}
	keys.generation.Store(1)
	v := newStaticVerifier(t, issuer, keys)
	raw := issuer.Token()
	_, err := verifyToken(t, v, raw)
	require.NoError(t, err)
	_, err = verifyToken(t, v, raw)
	requireKind(t, oidc.ErrNoKey, err)
}

func TestGeneration0IsNoGeneration(t *testing.T) {
	issuer := newIssuer(t)
	keys := &counting{static: static{key: issuer.PublicKey()}} // the keys are not there yet
	v := newStaticVerifier(t, issuer, keys)
	raw := issuer.Token()
	_, err := verifyToken(t, v, raw)
	require.NoError(t, err)
	keys.gone.Store(true) // they have grown too old to be used
	_, err = verifyToken(t, v, raw)
	requireKind(t, oidc.ErrNoKey, err)
}

func TestCachedTokensAreLookedAtAgain(t *testing.T) {
	t.Run("INTRO-4-01 never after exp", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			issuer := newIssuer(t)
			v := newVerifier(t, issuer, oidc.WithSkew(0))
			defer v.Close()
			raw := issuer.Token(oidctest.ExpiresIn(10 * time.Second))
			_, err := verifyToken(t, v, raw)
			require.NoError(t, err)
			time.Sleep(9 * time.Second)
			_, err = verifyToken(t, v, raw)
			require.NoError(t, err)
			time.Sleep(time.Second)
			for range 2 {
				_, err = verifyToken(t, v, raw)
				requireKind(t, oidc.ErrExpired, err)
			}
			require.Zero(t, v.Status().CachedTokens)
		})
	})
	t.Run("a key that was withdrawn", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			issuer := newIssuer(t)
			v := newVerifier(t, issuer)
			defer v.Close()
			raw := issuer.Token(oidctest.ExpiresIn(100 * time.Hour))
			_, err := verifyToken(t, v, raw)
			require.NoError(t, err)
			issuer.Rotate()
			issuer.Retire()
			_, err = verifyToken(t, v, raw)
			require.NoError(t, err, "the withdrawal is not known yet")
			time.Sleep(2 * time.Hour) // the refresh in the background
			_, err = verifyToken(t, v, raw)
			requireKind(t, oidc.ErrNoKey, err)
		})
	})
	t.Run("keys too old to be used", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			issuer := newIssuer(t)
			v := newVerifier(t, issuer)
			defer v.Close()
			raw := issuer.Token(oidctest.ExpiresIn(1000 * time.Hour))
			_, err := verifyToken(t, v, raw)
			require.NoError(t, err)
			issuer.SetDown(true)
			time.Sleep(48 * time.Hour)
			_, err = verifyToken(t, v, raw)
			requireOurs(t, err)
		})
	})
}

func TestRefusedTokensTakeNoRoom(t *testing.T) {
	issuer := newIssuer(t)
	v := newVerifier(t, issuer)
	for n := range 100 {
		raw := issuer.Token(oidctest.Claim("aud", strconv.Itoa(n)))
		_, err := verifyToken(t, v, raw)
		requireKind(t, oidc.ErrAudience, err)
	}
	require.Zero(t, v.Status().CachedTokens)
}

func TestAFloodOfTokensIsBounded(t *testing.T) {
	issuer := newIssuer(t)
	v := newVerifier(t, issuer, oidc.WithCacheSize(100))
	for range 1000 {
		_, err := verifyToken(t, v, issuer.Token())
		require.NoError(t, err)
		require.LessOrEqual(t, v.Status().CachedTokens, 101)
	}
}

func TestTheCacheHoldsNoToken(t *testing.T) {
	issuer := newIssuer(t)
	v := newVerifier(t, issuer)
	raw := []byte(issuer.Token(oidctest.Claim("marker", "findable"+strconv.Itoa(os.Getpid()))))
	require.NoError(t, v.Prefetch(t.Context()))
	func() {
		token, err := verifyToken(t, v, string(raw))
		require.NoError(t, err)
		_, _ = token.Claim("marker")
	}()
	require.Equal(t, 1, v.Status().CachedTokens)
	for i := range raw {
		raw[i] ^= 0x55 // so that this test does not find its own copy
	}
	issuer.Forget()
	dump := heapDump(t)
	for i := range raw {
		raw[i] ^= 0x55
	}
	parts := strings.Split(string(raw), ".")
	// Not require.Contains, which would print the dump.
	require.True(t, strings.Contains(dump, "findable"+strconv.Itoa(os.Getpid())), "the claims are there: the dump is good")
	require.False(t, strings.Contains(dump, parts[1]), "the payload")
	require.False(t, strings.Contains(dump, parts[2]), "the signature")
	runtime.KeepAlive(v)
}

func heapDump(t *testing.T) string {
	t.Helper()
	f, err := os.CreateTemp(t.TempDir(), "heap")
	require.NoError(t, err)
	defer f.Close()
	runtime.GC()
	runtime.GC()
	debug.WriteHeapDump(f.Fd())
	dump, err := os.ReadFile(f.Name())
	require.NoError(t, err)
	return string(dump)
}

func TestKeySourcesOfOthers(t *testing.T) {
	issuer := newIssuer(t)
	raw := issuer.Token()
	many := make([]crypto.PublicKey, 17)
	for i := range many {
		many[i] = issuer.PublicKey()
	}
	for name, tc := range map[string]struct {
		keys []crypto.PublicKey
		want error
	}{
		"no key and no error": {nil, oidc.ErrNoKey},
		"a nil key":           {[]crypto.PublicKey{nil}, oidc.ErrSignature},
		"something else":      {[]crypto.PublicKey{"key", 1}, oidc.ErrSignature},
		"a secret":            {[]crypto.PublicKey{[]byte("secret")}, oidc.ErrSignature},
		"JWKS-04 ours last":   {[]crypto.PublicKey{rsaKey().Public(), issuer.PublicKey()}, nil},
		"JWKS-04 too many":    {many, oidc.ErrNoKey},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := verifyToken(t, newStaticVerifier(t, issuer, append(list{}, tc.keys...)), raw)
			requireKind(t, tc.want, err)
		})
	}
	t.Run("an error of its own", func(t *testing.T) {
		_, err := verifyToken(t, newStaticVerifier(t, issuer, &static{err: os.ErrDeadlineExceeded}), raw)
		requireOurs(t, err)
		require.ErrorIs(t, err, os.ErrDeadlineExceeded)
	})
}

// list is a key source that cannot be compared with ==.
type list []crypto.PublicKey

func (l list) Keys(context.Context, string, string) ([]crypto.PublicKey, error) { return l, nil }
func (l list) Contains(crypto.PublicKey) bool                                   { return true }

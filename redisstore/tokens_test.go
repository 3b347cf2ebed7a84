package redisstore_test

import (
	"bytes"
	"crypto/sha256"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/keybound-go/middleware/oidc"
	"github.com/keybound-go/middleware/oidc/clientauth"
	"github.com/keybound-go/middleware/oidc/introspect"
	"github.com/keybound-go/middleware/oidc/oidctest"
	"github.com/keybound-go/middleware/redisstore"
)

func tokenKey(b byte) []byte { return bytes.Repeat([]byte{b + 1}, 32) }

func newTokenCache(tb testing.TB, client redis.UniversalClient, key []byte, opts ...redisstore.TokenOption) *redisstore.TokenCache {
	tb.Helper()
	c, err := redisstore.NewTokenCache(client, key, append(opts, patient())...)
	require.NoError(tb, err)
	return c
}

// reports collects what a TokenCache reports.
type reports struct {
	mu   sync.Mutex
	errs []error
}

func (r *reports) option() redisstore.TokenOption {
	return redisstore.WithErrorReport(func(err error) {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.errs = append(r.errs, err)
	})
}

func found(t *testing.T, c *redisstore.TokenCache, key [32]byte, want []byte) {
	t.Helper()
	value, ok, err := c.Get(t.Context(), key)
	require.NoError(t, err)
	require.True(t, ok)
	require.Equal(t, want, value)
}

func missing(t *testing.T, c *redisstore.TokenCache, key [32]byte) {
	t.Helper()
	value, ok, err := c.Get(t.Context(), key)
	require.NoError(t, err)
	require.False(t, ok)
	require.Nil(t, value)
}

func TestMistakesOfTokenCachesAreReportedAllAtOnce(t *testing.T) {
	_, err := redisstore.NewTokenCache(redis.NewClient(&redis.Options{}), []byte("short"),
		redisstore.WithPreviousKeys(), redisstore.WithPreviousKeys(tokenKey(0), tokenKey(0)), redisstore.WithPreviousKeys(nil),
		redisstore.WithErrorReport(nil), redisstore.WithErrorReport(func(error) {}), nil)
	for _, want := range []string{
		"ContextTimeoutEnabled", "key 1 has 5 bytes", "WithPreviousKeys: no key given", "key 3 is key 2 again", "key 4 has 0 bytes",
		"WithErrorReport: nil", "WithErrorReport is given twice", "option 6 is nil",
	} {
		require.ErrorContains(t, err, want)
	}
	require.Len(t, strings.Split(err.Error(), "\n"), 8)
	_, _, err = new(redisstore.TokenCache).Get(t.Context(), randomID())
	require.Error(t, err)
	require.Error(t, new(redisstore.TokenCache).Set(t.Context(), randomID(), nil, time.Minute))
}

func TestTokenCache(t *testing.T) {
	s := startServer(t)
	client := s.client()
	value := []byte(`{"active":true,"sub":"alice"}`)

	t.Run("replicas with the same key share entries", func(t *testing.T) {
		one, two := newTokenCache(t, client, tokenKey(0)), newTokenCache(t, s.client(), tokenKey(0))
		id := randomID()
		missing(t, two, id)
		require.NoError(t, one.Set(t.Context(), id, value, time.Minute))
		found(t, two, id, value)
		require.NoError(t, two.Set(t.Context(), id, []byte{}, time.Minute))
		found(t, one, id, []byte{})
	})
	t.Run("INTRO-4-02 what is stored says nothing", func(t *testing.T) {
		c := newTokenCache(t, client, tokenKey(0), redisstore.WithPrefix("secret:"))
		id := randomID()
		require.NoError(t, c.Set(t.Context(), id, value, time.Minute))
		first := stored(t, client, "secret:")
		require.NotContains(t, first, "alice")
		require.NoError(t, c.Set(t.Context(), id, value, time.Minute))
		require.NotEqual(t, first, stored(t, client, "secret:"), "the same value is not recognised")
	})
	t.Run("an entry goes with its ttl", func(t *testing.T) {
		c := newTokenCache(t, client, tokenKey(0), redisstore.WithPrefix("ttl:"))
		id := randomID()
		require.NoError(t, c.Set(t.Context(), id, value, 300*time.Millisecond))
		key := keys(t, client, "ttl:")[0]
		left, err := client.PTTL(t.Context(), key).Result()
		require.NoError(t, err)
		require.LessOrEqual(t, left, 300*time.Millisecond)
		require.Positive(t, left)
		require.NoError(t, client.Persist(t.Context(), key).Err())
		found(t, c, id, value)
		time.Sleep(310 * time.Millisecond)
		missing(t, c, id)
		require.NotEmpty(t, keys(t, client, "ttl:"), "it is the sealed end that counts")
	})
	t.Run("less than a millisecond is not kept", func(t *testing.T) {
		c := newTokenCache(t, client, tokenKey(0), redisstore.WithPrefix("short:"))
		for _, ttl := range []time.Duration{time.Millisecond - 1, 0, -time.Second} {
			require.NoError(t, c.Set(t.Context(), randomID(), value, ttl))
		}
		require.Empty(t, keys(t, client, "short:"))
	})
	t.Run("every changed bit makes it a miss, and a report", func(t *testing.T) {
		var r reports
		c := newTokenCache(t, client, tokenKey(0), redisstore.WithPrefix("bits:"), r.option())
		id := randomID()
		require.NoError(t, c.Set(t.Context(), id, value, time.Minute))
		key, good := keys(t, client, "bits:")[0], []byte(stored(t, client, "bits:"))
		spoilt := [][]byte{{}, {0}, {1}, good[:len(good)-1], append(slices.Clone(good), 0), good[1:], value}
		for bit := range len(good) * 8 {
			bad := slices.Clone(good)
			bad[bit/8] ^= 1 << (bit % 8)
			spoilt = append(spoilt, bad)
		}
		for i, bad := range spoilt {
			require.NoError(t, client.Set(t.Context(), key, bad, time.Minute).Err())
			missing(t, c, id)
			require.Len(t, r.errs, i+1)
			require.Equal(t, redisstore.ErrForeignEntry, r.errs[i])
		}
		require.NoError(t, client.Set(t.Context(), key, good, time.Minute).Err())
		found(t, c, id, value)
	})
	t.Run("an entry in another one's place is a miss", func(t *testing.T) {
		c := newTokenCache(t, client, tokenKey(0), redisstore.WithPrefix("swap:"))
		alice, mallory := randomID(), randomID()
		require.NoError(t, c.Set(t.Context(), alice, value, time.Minute))
		from := keys(t, client, "swap:")[0]
		require.NoError(t, c.Set(t.Context(), mallory, []byte("mallory"), time.Minute))
		for _, to := range keys(t, client, "swap:") {
			if to != from {
				require.NoError(t, client.Copy(t.Context(), from, to, 0, true).Err())
			}
		}
		found(t, c, alice, value)
		missing(t, c, mallory)
	})
	t.Run("a value of another type is an error", func(t *testing.T) {
		var r reports
		c := newTokenCache(t, client, tokenKey(0), redisstore.WithPrefix("type:"), r.option())
		id := randomID()
		require.NoError(t, c.Set(t.Context(), id, value, time.Minute))
		key := keys(t, client, "type:")[0]
		require.NoError(t, client.Del(t.Context(), key).Err())
		require.NoError(t, client.LPush(t.Context(), key, "x").Err())
		_, ok, err := c.Get(t.Context(), id)
		require.False(t, ok)
		require.ErrorContains(t, err, "WRONGTYPE")
		require.Equal(t, []error{err}, r.errs)
	})
	t.Run("keys change without a miss", func(t *testing.T) {
		old, fresh := tokenKey(0), tokenKey(1)
		before := newTokenCache(t, client, old)
		known := newTokenCache(t, client, old, redisstore.WithPreviousKeys(fresh))
		used := newTokenCache(t, client, fresh, redisstore.WithPreviousKeys(tokenKey(2)), redisstore.WithPreviousKeys(old))
		after := newTokenCache(t, client, fresh)
		for _, step := range [][2]*redisstore.TokenCache{{before, known}, {known, used}, {used, after}} {
			for _, writer := range step {
				id := randomID()
				require.NoError(t, writer.Set(t.Context(), id, value, time.Minute))
				for _, reader := range step {
					if writer == known && reader == after || writer == before && reader == after {
						continue
					}
					found(t, reader, id, value)
				}
			}
		}
		id := randomID()
		require.NoError(t, before.Set(t.Context(), id, value, time.Minute))
		missing(t, after, id)
	})
	t.Run("keys are copied", func(t *testing.T) {
		key, previous := tokenKey(0), tokenKey(1)
		c := newTokenCache(t, client, key, redisstore.WithPreviousKeys(previous))
		clear(key)
		clear(previous)
		id := randomID()
		require.NoError(t, c.Set(t.Context(), id, value, time.Minute))
		found(t, newTokenCache(t, client, tokenKey(0)), id, value)
		require.NoError(t, newTokenCache(t, client, tokenKey(1)).Set(t.Context(), id, value, time.Minute))
		found(t, c, id, value)
	})
	t.Run("a server that is paused costs no more than the deadline", func(t *testing.T) {
		var r reports
		c, err := redisstore.NewTokenCache(s.client(), tokenKey(0), r.option())
		require.NoError(t, err)
		id := randomID()
		require.NoError(t, c.Set(t.Context(), id, value, time.Minute))
		resume := s.pause()
		defer resume()
		began := time.Now()
		_, ok, err := c.Get(t.Context(), id)
		require.Error(t, err)
		require.False(t, ok)
		require.Error(t, c.Set(t.Context(), id, value, time.Minute))
		require.Less(t, time.Since(began), 2*(timeout+slack))
		require.Len(t, r.errs, 2)
	})
}

func keys(t *testing.T, client *redis.Client, prefix string) []string {
	t.Helper()
	keys, err := client.Keys(t.Context(), prefix+"*").Result()
	require.NoError(t, err)
	return keys
}

// stored returns the only value under a prefix.
func stored(t *testing.T, client *redis.Client, prefix string) string {
	t.Helper()
	all := keys(t, client, prefix)
	require.Len(t, all, 1)
	value, err := client.Get(t.Context(), all[0]).Result()
	require.NoError(t, err)
	return value
}

func TestIntrospectorsShareOneMemory(t *testing.T) {
	s := startServer(t)
	issuer := oidctest.NewIssuer(t)
	client := s.client()
	var r reports
	replica := func(cache introspect.Store) *introspect.Introspector {
		from, err := oidc.NewIssuer(issuer.URL, oidc.WithHTTPClient(issuer.Client()))
		require.NoError(t, err)
		i, err := introspect.New(from, oidctest.Audience, clientauth.SecretBasic("client", "secret"), introspect.WithStore(cache, nil))
		require.NoError(t, err)
		return i
	}
	asked := func() int { return issuer.Fetches(oidctest.Introspection) }
	token := issuer.OpaqueToken(oidctest.BoundToKey(strings.Repeat("A", 43)))
	verify := func(i *introspect.Introspector) {
		t.Helper()
		got, err := i.VerifyToken(t.Context(), token)
		require.NoError(t, err)
		require.Equal(t, "user-1", got.Subject)
		require.Equal(t, strings.Repeat("A", 43), got.Confirmation.JKT, "INTRO-2.2-03 what is cached is as bound as what is not")
	}

	t.Run("the second replica does not ask the issuer", func(t *testing.T) {
		verify(replica(newTokenCache(t, client, tokenKey(0))))
		require.Equal(t, 1, asked())
		for range 3 {
			verify(replica(newTokenCache(t, s.client(), tokenKey(0))))
		}
		require.Equal(t, 1, asked())
	})
	t.Run("INTRO-4-02 the store holds neither token nor claims", func(t *testing.T) {
		sum := sha256.Sum256([]byte(token))
		for _, key := range keys(t, client, "introspection:") {
			value, err := client.Get(t.Context(), key).Result()
			require.NoError(t, err)
			for _, secret := range []string{token, "user-1", "AAAA", string(sum[:])} {
				require.NotContains(t, key+value, secret)
			}
		}
	})
	t.Run("a tampered entry makes it ask", func(t *testing.T) {
		for _, key := range keys(t, client, "introspection:") {
			require.NoError(t, client.SetRange(t.Context(), key, 30, "mallory").Err())
		}
		verify(replica(newTokenCache(t, client, tokenKey(0), r.option())))
		require.Equal(t, 2, asked())
		require.Equal(t, []error{redisstore.ErrForeignEntry}, r.errs)
	})
	t.Run("without the store it asks, and says so", func(t *testing.T) {
		s.kill()
		cache, err := redisstore.NewTokenCache(s.client(), tokenKey(0), r.option())
		require.NoError(t, err)
		r.errs = nil
		verify(replica(cache))
		require.Equal(t, 3, asked())
		require.Len(t, r.errs, 2)
	})
	require.Equal(t, http.MethodPost, issuer.Requests(oidctest.Introspection)[0].Method)
}

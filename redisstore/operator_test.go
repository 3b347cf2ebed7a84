package redisstore_test

import (
	"os"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/keybound-go/middleware/dpop"
	"github.com/keybound-go/middleware/dpop/dpoptest"
)

func TestCheck(t *testing.T) {
	s := startServer(t, "--maxmemory", "64mb", "--maxmemory-policy", "noeviction")
	client := s.client()
	c := newReplayCache(t, client)
	require.NoError(t, c.Check(t.Context()))
	for _, policy := range []string{"allkeys-lru", "volatile-lru", "volatile-ttl", "allkeys-random"} {
		require.NoError(t, client.ConfigSet(t.Context(), "maxmemory-policy", policy).Err())
		err := c.Check(t.Context())
		require.ErrorContains(t, err, "redisstore: replay cache: maxmemory-policy is "+policy)
	}
	resume := s.pause()
	began := time.Now()
	require.Error(t, c.Check(t.Context()))
	require.Less(t, time.Since(began), timeout+slack)
	resume()
	s.kill()
	require.Error(t, c.Check(t.Context()))
}

// documented returns the lines of the package documentation that begin with a word.
func documented(t *testing.T, word string) (lines []string) {
	t.Helper()
	text, err := os.ReadFile("doc.go")
	require.NoError(t, err)
	for _, m := range regexp.MustCompile(`(?m)^//\t(`+word+` .*)$`).FindAllStringSubmatch(string(text), -1) {
		lines = append(lines, m[1])
	}
	require.NotEmpty(t, lines, "documentation of %s", word)
	return lines
}

// grant gives the documented permissions to the documented user.
func grant(t *testing.T, s *server) (user, password string) {
	t.Helper()
	rules := documented(t, "user")
	require.Len(t, rules, 1)
	words := strings.Fields(strings.Replace(rules[0], ">...", ">secret", 1))
	args := []any{"acl", "setuser"}
	for _, w := range words[1:] {
		args = append(args, w)
	}
	require.NoError(t, s.client().Do(t.Context(), args...).Err())
	return words[1], "secret"
}

func TestThePermissionsInTheDocumentationAreEnough(t *testing.T) {
	s := startServer(t)
	user, password := grant(t, s)
	client := s.client(func(o *redis.Options) { o.Username, o.Password = user, password })
	usePermissions(t, client)
	require.Error(t, client.Del(t.Context(), "dpop:x").Err(), "they are no more than enough")
	require.Error(t, client.Set(t.Context(), "other:x", "", 0).Err())
	require.Error(t, client.FlushAll(t.Context()).Err())
}

func usePermissions(t *testing.T, client redis.UniversalClient) {
	v, err := dpop.New(origin, dpop.WithReplayCache(newReplayCache(t, client, patient()), nil))
	require.NoError(t, err)
	key := dpoptest.NewKey(t)
	require.NoError(t, use(v, key, key.Proof("GET", origin+"/orders", accessToken)))
	t.Helper()
	c := newReplayCache(t, client, patient())
	tokens := newTokenCache(t, client, tokenKey(0))
	for range 20 {
		id := randomID()
		require.True(t, add(t, c, id))
		require.False(t, add(t, c, id))
		require.NoError(t, tokens.Set(t.Context(), id, []byte("x"), time.Minute))
		found(t, tokens, id, []byte("x"))
	}
	require.NoError(t, c.Check(t.Context()))
}

func TestTheConfigurationInTheDocumentationWorks(t *testing.T) {
	var args []string
	for _, name := range []string{"maxmemory", "maxmemory-policy", "appendonly", "appendfsync"} {
		for _, line := range documented(t, name) {
			words := strings.Fields(line)
			args = append(args, "--"+words[0], words[1])
		}
	}
	s := startServer(t, args...)
	c := newReplayCache(t, s.client(), patient())
	require.NoError(t, c.Check(t.Context()))
	id := randomID()
	require.True(t, add(t, c, id))
	s.kill()
	s.start()
	require.False(t, add(t, c, id))
}

func TestMemoryOfProofs(t *testing.T) {
	proofs := 100_000
	if testing.Short() || raceEnabled {
		proofs = 20_000
	}
	s := startServer(t)
	c := newReplayCache(t, s.client(), patient())
	require.True(t, add(t, c, randomID()))
	before := s.info("used_memory")
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range proofs / 8 {
				if fresh, err := c.Add(t.Context(), "jkt", randomID(), time.Now().Add(10*time.Minute)); err != nil || !fresh {
					t.Error(fresh, err)
					return
				}
			}
		})
	}
	wg.Wait()
	each := float64(s.info("used_memory")-before) / float64(proofs)
	t.Logf("%.0f bytes for each of %d live proofs", each, proofs)
	require.Less(t, each, 200.0, "what the documentation promises")
}

package redisstore_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/keybound-go/middleware/dpop"
	"github.com/keybound-go/middleware/dpop/dpoptest"
)

// poll is pollInterval in these tests.
const poll = 100 * time.Millisecond

// newReplica makes a Verifier in a process of its own, as far as the store can tell.
func newReplica(t *testing.T, s *server, opts ...dpop.Option) *dpop.Verifier {
	t.Helper()
	cache := newReplayCache(t, s.client(), patient())
	cache.SetPollInterval(poll)
	v, err := dpop.New(origin, append(opts, dpop.WithReplayCache(cache, nil))...)
	require.NoError(t, err)
	return v
}

const accessToken = "token"

func use(v *dpop.Verifier, key *dpoptest.Key, proof string) error {
	_, err := v.VerifyProof(context.Background(), dpop.Request{
		Method: "GET", URL: origin + "/orders", Proofs: []string{proof}, AccessToken: accessToken, Thumbprint: key.Thumbprint(),
	})
	return err
}

func TestReplicasOfDifferentSettingsAcceptNoProofTwice(t *testing.T) {
	// G5: while a change of settings is rolled out, or for ever.
	key := dpoptest.NewKey(t)
	proof := func(opts ...dpoptest.ProofOption) string {
		return key.Proof("GET", origin+"/orders", accessToken, opts...)
	}
	short := []dpop.Option{dpop.WithLifetime(time.Second), dpop.WithSkew(0)}
	long := []dpop.Option{dpop.WithLifetime(time.Minute), dpop.WithSkew(0)}
	t.Run("a proof that the first replica has forgotten by its own window", func(t *testing.T) {
		t.Parallel()
		s := startServer(t)
		one, two := newReplica(t, s, short...), newReplica(t, s, long...)
		used := proof()
		require.NoError(t, use(one, key, used))
		time.Sleep(3 * time.Second)
		require.Empty(t, s.client().Keys(t.Context(), "dpop:?????????????????*").Val(), "nothing is left of it")
		// The second one begins only now.
		require.Equal(t, dpop.ErrExpired, use(two, key, used))
		require.NoError(t, use(two, key, proof()), "new proofs are not its affair")
		// The first one hears of the second, and remembers for it.
		time.Sleep(2 * poll)
		used = proof()
		require.NoError(t, use(one, key, used))
		time.Sleep(3 * time.Second)
		require.Equal(t, dpop.ErrReplayed, use(two, key, used))
	})
	t.Run("nonces are switched on", func(t *testing.T) {
		t.Parallel()
		s := startServer(t)
		nonces, err := dpop.NewNonces(tokenKey(0))
		require.NoError(t, err)
		before := newReplica(t, s, long...)
		require.NoError(t, use(before, key, proof()))
		after := newReplica(t, s, append(long, dpop.WithNonces(nonces, nil))...)
		fresh := func() string {
			nonce, err := nonces.Issue(t.Context())
			require.NoError(t, err)
			return nonce
		}
		// The client's clock is behind: by iat, the old replica would forget the proof
		// two seconds after its use.
		lagging := proof(dpoptest.Nonce(fresh()), dpoptest.IssuedAt(time.Now().Add(-58*time.Second)))
		require.NoError(t, use(before, key, lagging))
		require.NoError(t, use(after, key, proof(dpoptest.Nonce(fresh()))), "the change is not an outage")
		time.Sleep(4 * time.Second)
		require.Contains(t, []error{dpop.ErrReplayed, dpop.ErrNonceExpired}, use(after, key, lagging))
		require.NoError(t, use(after, key, proof(dpoptest.Nonce(fresh()))))
		require.NoError(t, use(before, key, proof()))
	})
	t.Run("nonces are switched off", func(t *testing.T) {
		t.Parallel()
		s := startServer(t)
		nonces, err := dpop.NewNonces(tokenKey(0))
		require.NoError(t, err)
		before := newReplica(t, s, append(long, dpop.WithNonces(nonces, nil))...)
		nonce, err := nonces.Issue(t.Context())
		require.NoError(t, err)
		require.NoError(t, use(before, key, proof(dpoptest.Nonce(nonce))))
		after := newReplica(t, s, long...)
		require.NoError(t, use(after, key, proof()), "the change is not an outage")
	})
	t.Run("what others have written there is no window", func(t *testing.T) {
		t.Parallel()
		s := startServer(t)
		client := s.client()
		require.NoError(t, client.HSet(t.Context(), "dpop:windows", "junk", "1", "1,2,3", "1", "-1,0,0,0", "1", "99999999999,0,0,0", "1", "1,1,1,1", "x").Err())
		v := newReplica(t, s, short...)
		require.NoError(t, use(v, key, proof()))
		fields, err := client.HKeys(t.Context(), "dpop:windows").Result()
		require.NoError(t, err)
		require.Equal(t, []string{"2000,0,0,1000"}, fields)
		require.Positive(t, client.PTTL(t.Context(), "dpop:windows").Val())
	})
	t.Run("all in one process, and one cache", func(t *testing.T) {
		t.Parallel()
		s := startServer(t)
		cache := newReplayCache(t, s.client(), patient())
		cache.SetPollInterval(poll)
		one, err := dpop.New(origin, append(short, dpop.WithReplayCache(cache, nil))...)
		require.NoError(t, err)
		two, err := dpop.New(origin, append(long, dpop.WithReplayCache(cache, nil))...)
		require.NoError(t, err)
		require.NoError(t, use(two, key, proof()))
		used := proof()
		require.NoError(t, use(one, key, used))
		time.Sleep(3 * time.Second)
		require.Equal(t, dpop.ErrReplayed, use(two, key, used))
	})
}

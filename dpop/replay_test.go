package dpop_test

import (
	"context"
	"crypto/elliptic"
	"encoding/base64"
	"errors"
	"math/big"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/keybound-go/middleware/dpop"
	"github.com/keybound-go/middleware/dpop/dpoptest"
	"github.com/stretchr/testify/require"
)

func TestReplay(t *testing.T) {
	t.Run("DPOP-11.1-03 a proof passes once", func(t *testing.T) {
		v, key := newVerifier(t), dpoptest.NewKey(t)
		good := key.Proof("GET", ordersURL, token)
		accepts(t, v, get(good), key.Thumbprint())
		refuses(t, v, get(good), key.Thumbprint(), dpop.ErrReplayed)
	})
	t.Run("DPOP-11.1-03 the same jti in another proof of the key", func(t *testing.T) {
		v, key := newVerifier(t), dpoptest.NewKey(t)
		accepts(t, v, get(key.Proof("GET", ordersURL, token, dpoptest.ID("1"))), key.Thumbprint())
		again := key.Proof("GET", ordersURL, token, dpoptest.ID("1"), dpoptest.IssuedAt(time.Now().Add(-9*time.Second)))
		refuses(t, v, get(again), key.Thumbprint(), dpop.ErrReplayed)
	})
	t.Run("DPOP-11.1-03 sig-malleable", func(t *testing.T) {
		v, key := newVerifier(t), dpoptest.NewKey(t)
		good := key.Proof("GET", ordersURL, token)
		accepts(t, v, get(good), key.Thumbprint())
		refuses(t, v, get(malleated(t, good)), key.Thumbprint(), dpop.ErrReplayed)
	})
	t.Run("DPOP-11.1-05 a refused proof uses nothing up", func(t *testing.T) {
		cache := &recordingCache{}
		v, key := newVerifier(t, dpop.WithReplayCache(cache, nil)), dpoptest.NewKey(t)
		for _, broken := range dpoptest.Broken() {
			_, err := v.Verify(get(broken.Proof(key, "GET", ordersURL, token)), token, key.Thumbprint())
			require.Error(t, err)
		}
		require.Empty(t, cache.adds, "DPOP-4.3-13 the store sees good proofs only")
		bad := key.Proof("GET", ordersURL, "another token", dpoptest.ID("1"))
		refuses(t, v, get(bad), key.Thumbprint(), dpop.ErrTokenHash)
		accepts(t, v, get(key.Proof("GET", ordersURL, token, dpoptest.ID("1"))), key.Thumbprint())
		require.Len(t, cache.adds, 1)
	})
	t.Run("DPOP-11.1-06 AMB-12 two clients with the same jti", func(t *testing.T) {
		v, one, two := newVerifier(t), dpoptest.NewKey(t), dpoptest.NewKey(t)
		accepts(t, v, get(one.Proof("GET", ordersURL, token, dpoptest.ID("1"))), one.Thumbprint())
		accepts(t, v, get(two.Proof("GET", ordersURL, token, dpoptest.ID("1"))), two.Thumbprint())
	})
	t.Run("DPOP-11.1-07 of 100 at the same time one passes", func(t *testing.T) {
		v, key := newVerifier(t), dpoptest.NewKey(t)
		good := key.Proof("GET", ordersURL, token)
		var passed, replayed atomic.Int32
		var wg sync.WaitGroup
		for range 100 {
			wg.Go(func() {
				switch _, err := v.Verify(get(good), token, key.Thumbprint()); err {
				case nil:
					passed.Add(1)
				case dpop.ErrReplayed:
					replayed.Add(1)
				}
			})
		}
		wg.Wait()
		require.EqualValues(t, 1, passed.Load())
		require.EqualValues(t, 99, replayed.Load())
	})
	t.Run("DPOP-11.1-08 a broken store refuses, and it is not the client's fault", func(t *testing.T) {
		down := errors.New("store down")
		v, key := newVerifier(t, dpop.WithReplayCache(&recordingCache{err: down}, nil)), dpoptest.NewKey(t)
		proof, err := v.Verify(get(key.Proof("GET", ordersURL, token)), token, key.Thumbprint())
		require.Nil(t, proof)
		require.ErrorIs(t, err, down)
		var proofError dpop.ProofError
		require.False(t, errors.As(err, &proofError))
	})
	t.Run("DPOP-11.1-08 failing open is explicit, and reported", func(t *testing.T) {
		down := errors.New("store down")
		cache := &recordingCache{err: down}
		var reported []error
		v := newVerifier(t, dpop.WithReplayCache(cache, nil), dpop.DangerouslyFailOpen(func(err error) { reported = append(reported, err) }))
		key := dpoptest.NewKey(t)
		good := key.Proof("GET", ordersURL, token)
		accepts(t, v, get(good), key.Thumbprint())
		require.Equal(t, []error{down}, reported)

		canceled, cancel := context.WithCancel(t.Context())
		cancel()
		_, err := v.Verify(get(good).WithContext(canceled), token, key.Thumbprint())
		require.ErrorIs(t, err, down, "a client that hangs up must not open anything")

		cache.err = nil
		accepts(t, v, get(good), key.Thumbprint())
		refuses(t, v, get(good), key.Thumbprint(), dpop.ErrReplayed)
	})
	t.Run("DangerouslyAllowReplay", func(t *testing.T) {
		v, key := newVerifier(t, dpop.DangerouslyAllowReplay()), dpoptest.NewKey(t)
		good := key.Proof("GET", ordersURL, token)
		accepts(t, v, get(good), key.Thumbprint())
		accepts(t, v, get(good), key.Thumbprint())
	})
}

// recordingCache is a store that works, or has an outage.
type recordingCache struct {
	err  error
	adds map[[32]byte]time.Time
	jkts []string
}

func (c *recordingCache) Add(_ context.Context, jkt string, id [32]byte, until time.Time) (bool, error) {
	if c.err != nil {
		return false, c.err
	}
	if _, ok := c.adds[id]; ok {
		return false, nil
	}
	if c.adds == nil {
		c.adds = map[[32]byte]time.Time{}
	}
	c.adds[id] = until
	c.jkts = append(c.jkts, jkt)
	return true, nil
}

// malleated exchanges s for n-s, which makes another valid ECDSA signature.
func malleated(t *testing.T, proof string) string {
	t.Helper()
	i := strings.LastIndexByte(proof, '.') + 1
	sig, err := base64.RawURLEncoding.DecodeString(proof[i:])
	require.NoError(t, err)
	s := new(big.Int).SetBytes(sig[32:])
	s.Sub(elliptic.P256().Params().N, s).FillBytes(sig[32:])
	return proof[:i] + base64.RawURLEncoding.EncodeToString(sig)
}

package dpop_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keybound-go/middleware/dpop"
	"github.com/keybound-go/middleware/dpop/dpoptest"
	"github.com/stretchr/testify/require"
)

// In a bubble the clock stands still, at a full second, unless a test sleeps.

func TestTheWindow(t *testing.T) {
	tests := []struct {
		name   string
		opts   []dpop.Option
		ago    time.Duration // now minus iat
		claims map[string]time.Duration
		want   error
	}{
		{name: "DPOP-11.1-01 now"},
		{name: "DPOP-11.1-01 as old as the lifetime", ago: time.Minute},
		{name: "DPOP-11.1-01 one second past the window", ago: 61 * time.Second, want: dpop.ErrExpired},
		{name: "DPOP-11.1-01 the skew is not for the past", opts: []dpop.Option{dpop.WithSkew(10 * time.Minute)}, ago: 61 * time.Second, want: dpop.ErrExpired},
		{name: "DPOP-11.1-01 a longer lifetime", opts: []dpop.Option{dpop.WithLifetime(300 * time.Second)}, ago: 300 * time.Second},
		{name: "DPOP-11.1-01 a longer lifetime ends", opts: []dpop.Option{dpop.WithLifetime(300 * time.Second)}, ago: 301 * time.Second, want: dpop.ErrExpired},
		{name: "DPOP-11.1-02 as far ahead as the skew", ago: -30 * time.Second},
		{name: "DPOP-11.1-02 one second further", ago: -31 * time.Second, want: dpop.ErrNotYetValid},
		{name: "DPOP-11.1-02 the lifetime is not for the future", opts: []dpop.Option{dpop.WithLifetime(time.Hour)}, ago: -31 * time.Second, want: dpop.ErrNotYetValid},
		{name: "AMB-03 without skew", opts: []dpop.Option{dpop.WithSkew(0)}, ago: -time.Second, want: dpop.ErrNotYetValid},
		{name: "AMB-03 without skew, now", opts: []dpop.Option{dpop.WithSkew(0)}},
		{name: "AMB-04 exp has not passed", claims: map[string]time.Duration{"exp": time.Second}},
		{name: "AMB-04 exp has passed, within the leeway", claims: map[string]time.Duration{"exp": -29 * time.Second}},
		{name: "AMB-04 exp has passed", claims: map[string]time.Duration{"exp": -30 * time.Second}, want: dpop.ErrExpired},
		{name: "AMB-04 exp does not extend the lifetime", ago: 61 * time.Second, claims: map[string]time.Duration{"exp": time.Hour}, want: dpop.ErrExpired},
		{name: "AMB-04 nbf within the leeway", claims: map[string]time.Duration{"nbf": 30 * time.Second}},
		{name: "AMB-04 nbf", claims: map[string]time.Duration{"nbf": 31 * time.Second}, want: dpop.ErrNotYetValid},
		{name: "DPOP-4.2-03 nbf now and exp in five minutes", claims: map[string]time.Duration{"nbf": 0, "exp": 5 * time.Minute}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				v, key := newVerifier(t, tt.opts...), dpoptest.NewKey(t)
				opts := []dpoptest.ProofOption{dpoptest.IssuedAt(time.Now().Add(-tt.ago))}
				for name, ahead := range tt.claims {
					opts = append(opts, dpoptest.Claim(name, time.Now().Add(ahead).Unix()))
				}
				r := get(key.Proof("GET", ordersURL, token, opts...))
				if tt.want == nil {
					accepts(t, v, r, key.Thumbprint())
					return
				}
				refuses(t, v, r, key.Thumbprint(), tt.want)
			})
		})
	}
}

func TestAReplayIsRefusedForAsLongAsTheProofIsGood(t *testing.T) {
	// DPOP-11.1-06 the clock just before expiry; also for a proof from the future.
	for _, ahead := range []time.Duration{0, 30 * time.Second, -59 * time.Second} {
		for _, lifetime := range []time.Duration{time.Minute, 5 * time.Minute} {
			t.Run(fmt.Sprintf("DPOP-11.1-06 %v ahead, lifetime %v", ahead, lifetime), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					v, key := newVerifier(t, dpop.WithLifetime(lifetime)), dpoptest.NewKey(t)
					iat := time.Now().Add(ahead)
					good := key.Proof("GET", ordersURL, token, dpoptest.IssuedAt(iat))
					accepts(t, v, get(good), key.Thumbprint())
					for time.Since(iat) <= lifetime {
						refuses(t, v, get(good), key.Thumbprint(), dpop.ErrReplayed)
						// Others keep the cache busy, so that it drops what it may.
						accepts(t, v, get(key.Proof("GET", ordersURL, token)), key.Thumbprint())
						time.Sleep(time.Second)
					}
					refuses(t, v, get(good), key.Thumbprint(), dpop.ErrExpired)
				})
			})
		}
	}
}

func TestTheRecordOutlivesTheProofByTheSkew(t *testing.T) {
	// DPOP-11.1-06 the entry lives until iat + lifetime + leeway.
	synctest.Test(t, func(t *testing.T) {
		cache := &recordingCache{}
		v, key := newVerifier(t, dpop.WithReplayCache(cache, nil)), dpoptest.NewKey(t)
		iat := time.Now().Add(7 * time.Second)
		accepts(t, v, get(key.Proof("GET", ordersURL, token, dpoptest.IssuedAt(iat))), key.Thumbprint())
		require.Equal(t, []string{key.Thumbprint()}, cache.jkts)
		for _, until := range cache.adds {
			require.True(t, until.Equal(iat.Add(90*time.Second)), until)
		}
	})
	t.Run("and without any skew by a second, for the time that the checks take", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			cache := &recordingCache{}
			v, key := newVerifier(t, dpop.WithReplayCache(cache, nil), dpop.WithSkew(0)), dpoptest.NewKey(t)
			iat := time.Now()
			accepts(t, v, get(key.Proof("GET", ordersURL, token, dpoptest.IssuedAt(iat))), key.Thumbprint())
			for _, until := range cache.adds {
				require.True(t, until.Equal(iat.Add(61*time.Second)), until)
			}
		})
	})
}

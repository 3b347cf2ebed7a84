package dpop_test

import (
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keybound-go/middleware/dpop"
	"github.com/keybound-go/middleware/dpop/dpoptest"
	"github.com/stretchr/testify/require"
)

// wrapped is a cache as users wrap one, to count or to trace.
type wrapped struct{ dpop.ReplayCache }

// sharing makes Verifiers that share one cache, each with other settings.
func sharing(t *testing.T, cache dpop.ReplayCache, settings ...[]dpop.Option) []*dpop.Verifier {
	t.Helper()
	var verifiers []*dpop.Verifier
	for _, opts := range settings {
		verifiers = append(verifiers, newVerifier(t, append(opts, dpop.WithReplayCache(cache, nil))...))
	}
	return verifiers
}

// neverAgain demands that no Verifier accepts the proof, in the next minutes.
func neverAgain(t *testing.T, proof string, jkt string, verifiers ...*dpop.Verifier) {
	t.Helper()
	start := time.Now()
	for time.Since(start) < 5*time.Minute {
		for i, v := range verifiers {
			_, err := v.Verify(get(proof), token, jkt)
			require.IsType(t, dpop.ProofError(0), err, "Verifier %d, %v later", i, time.Since(start))
		}
		time.Sleep(1700 * time.Millisecond)
	}
}

func TestVerifiersThatShareACacheRememberForTheLongestWindow(t *testing.T) {
	// G5: a cache that forgets by the window of the Verifier that was asked lets a
	// proof pass again at another one.
	lifetime := func(d time.Duration) []dpop.Option { return []dpop.Option{dpop.WithLifetime(d)} }
	key := dpoptest.NewKey(t)
	for name, wrap := range map[string]func(dpop.ReplayCache) dpop.ReplayCache{
		"plain":   func(c dpop.ReplayCache) dpop.ReplayCache { return c },
		"wrapped": func(c dpop.ReplayCache) dpop.ReplayCache { return wrapped{c} },
	} {
		run := func(test string, f func(*testing.T, dpop.ReplayCache)) {
			t.Run(name+": "+test, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) { f(t, wrap(newCache(t))) })
			})
		}
		run("two lifetimes, the shorter one first", func(t *testing.T, cache dpop.ReplayCache) {
			vs := sharing(t, cache, lifetime(2*time.Second), lifetime(2*time.Minute))
			proof := key.Proof("GET", ordersURL, token)
			accepts(t, vs[0], get(proof), key.Thumbprint())
			neverAgain(t, proof, key.Thumbprint(), vs...)
		})
		run("two lifetimes, the longer one first", func(t *testing.T, cache dpop.ReplayCache) {
			vs := sharing(t, cache, lifetime(2*time.Minute), lifetime(2*time.Second))
			proof := key.Proof("GET", ordersURL, token)
			accepts(t, vs[1], get(proof), key.Thumbprint())
			neverAgain(t, proof, key.Thumbprint(), vs...)
		})
		run("an old nonce, and then none needed", func(t *testing.T, cache dpop.ReplayCache) {
			nonces := newNonces(t, nonceKey(1))
			vs := sharing(t, cache, []dpop.Option{dpop.WithNonces(nonces, nil)}, nil)
			nonce := issue(t, nonces)
			time.Sleep(57 * time.Second)
			proof := key.Proof("GET", ordersURL, token, dpoptest.Nonce(nonce))
			accepts(t, vs[0], get(proof), key.Thumbprint())
			neverAgain(t, proof, key.Thumbprint(), vs...)
		})
		run("no nonce needed, and then a nonce of another issue", func(t *testing.T, cache dpop.ReplayCache) {
			nonces := newNonces(t, nonceKey(1))
			vs := sharing(t, cache, []dpop.Option{dpop.WithNonces(nonces, nil)}, nil)
			// The client's clock is behind, so that by iat the proof is nearly over.
			proof := key.Proof("GET", ordersURL, token, dpoptest.Nonce(issue(t, nonces)), dpoptest.IssuedAt(time.Now().Add(-59*time.Second)))
			accepts(t, vs[1], get(proof), key.Thumbprint())
			neverAgain(t, proof, key.Thumbprint(), vs...)
		})
		run("a clock that is ahead", func(t *testing.T, cache dpop.ReplayCache) {
			nonces := newNonces(t, nonceKey(1))
			vs := sharing(t, cache, []dpop.Option{dpop.WithNonces(nonces, nil)})
			ahead := func() string {
				return key.Proof("GET", ordersURL, token, dpoptest.Nonce(issue(t, nonces)), dpoptest.IssuedAt(time.Now().Add(3*time.Minute)))
			}
			accepts(t, vs[0], get(ahead()), key.Thumbprint())
			vs = append(vs, sharing(t, cache, nil)...)
			accepts(t, vs[1], get(key.Proof("GET", ordersURL, token)), key.Thumbprint())
			proof := ahead()
			// The other one would accept it three minutes from now.
			refuses(t, vs[0], get(proof), key.Thumbprint(), dpop.ErrNotYetValid)
		})
		run("a Verifier that comes later", func(t *testing.T, cache dpop.ReplayCache) {
			vs := sharing(t, cache, lifetime(2*time.Second))
			proof := key.Proof("GET", ordersURL, token)
			accepts(t, vs[0], get(proof), key.Thumbprint())
			time.Sleep(90 * time.Second) // The cache has forgotten it.
			vs = append(vs, sharing(t, cache, lifetime(5*time.Minute))...)
			refuses(t, vs[1], get(proof), key.Thumbprint(), dpop.ErrExpired)
			accepts(t, vs[1], get(key.Proof("GET", ordersURL, token)), key.Thumbprint())
			neverAgain(t, proof, key.Thumbprint(), vs...)
		})
		run("a Verifier that comes later, with nonces", func(t *testing.T, cache dpop.ReplayCache) {
			nonces := newNonces(t, nonceKey(1))
			withNonces := func(d time.Duration) []dpop.Option { return append(lifetime(d), dpop.WithNonces(nonces, nil)) }
			vs := sharing(t, cache, withNonces(2*time.Second))
			proof := key.Proof("GET", ordersURL, token, dpoptest.Nonce(issue(t, nonces)))
			accepts(t, vs[0], get(proof), key.Thumbprint())
			time.Sleep(90 * time.Second) // The cache has forgotten it.
			vs = append(vs, sharing(t, cache, withNonces(5*time.Minute))...)
			// Another nonce helps the client: DPOP-8-03 tells it so.
			refuses(t, vs[1], get(proof), key.Thumbprint(), dpop.ErrNonceExpired)
			accepts(t, vs[1], get(key.Proof("GET", ordersURL, token, dpoptest.Nonce(issue(t, nonces)))), key.Thumbprint())
		})
	}
	t.Run("nothing is refused because others share the cache from the start", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			nonces := newNonces(t, nonceKey(1))
			vs := sharing(t, newCache(t), lifetime(time.Second), []dpop.Option{dpop.WithNonces(nonces, nil)}, lifetime(time.Hour))
			for _, v := range vs {
				accepts(t, v, get(key.Proof("GET", ordersURL, token, dpoptest.Nonce(issue(t, nonces)))), key.Thumbprint())
			}
			accepts(t, vs[2], get(key.Proof("GET", ordersURL, token, dpoptest.IssuedAt(time.Now().Add(-59*time.Minute)))), key.Thumbprint())
		})
	})
}

func TestNoProofPassesTwiceHoweverVerifiersDiffer(t *testing.T) {
	// G5, as a property: random settings, some Verifiers made while others serve,
	// random clocks of clients.
	key := dpoptest.NewKey(t)
	for seed := range uint64(6) {
		synctest.Test(t, func(t *testing.T) {
			random := rand.New(rand.NewPCG(seed, 5))
			nonces := newNonces(t, nonceKey(1))
			cache := newCache(t)
			more := func() *dpop.Verifier {
				opts := []dpop.Option{
					dpop.WithLifetime(time.Duration(1+random.IntN(200)) * time.Second),
					dpop.WithSkew(time.Duration(random.IntN(60)) * time.Second),
				}
				if random.IntN(2) == 0 {
					opts = append(opts, dpop.WithNonces(nonces, nil))
				}
				if random.IntN(4) == 0 {
					opts = append(opts, dpop.CheckIssuedAt())
				}
				return sharing(t, cache, opts)[0]
			}
			// One without nonces is there from the start. Where none was, a client whose
			// clock is far ahead has proofs that one which comes later accepts once more.
			verifiers := []*dpop.Verifier{sharing(t, cache, nil)[0], more()}
			type sent struct {
				proof string
				used  int
			}
			var proofs []sent
			for range 120 {
				iat := time.Now().Add(time.Duration(random.IntN(300)-150) * time.Second)
				proofs = append(proofs, sent{proof: key.Proof("GET", ordersURL, token, dpoptest.Nonce(issue(t, nonces)), dpoptest.IssuedAt(iat))})
				for range 8 {
					i := max(0, len(proofs)-1-random.IntN(40))
					if _, err := verifiers[random.IntN(len(verifiers))].Verify(get(proofs[i].proof), token, key.Thumbprint()); err == nil {
						proofs[i].used++
						require.Equal(t, 1, proofs[i].used, "seed %d", seed)
					}
				}
				if random.IntN(20) == 0 {
					verifiers = append(verifiers, more())
				}
				time.Sleep(time.Duration(random.IntN(6000)) * time.Millisecond)
			}
		})
	}
}

package dpop_test

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keybound-go/middleware/dpop"
	"github.com/keybound-go/middleware/dpop/dpoptest"
	"github.com/stretchr/testify/require"
)

func nonceKey(b byte) []byte { return bytes.Repeat([]byte{b}, 32) }

func newNonces(t *testing.T, key []byte, previous ...[]byte) *dpop.Nonces {
	t.Helper()
	n, err := dpop.NewNonces(key, dpop.WithPreviousKeys(previous...))
	require.NoError(t, err)
	return n
}

func issue(t *testing.T, n dpop.NonceSource) string {
	t.Helper()
	nonce, err := n.Issue(t.Context())
	require.NoError(t, err)
	return nonce
}

func recognises(t *testing.T, n dpop.NonceSource, nonce string) bool {
	t.Helper()
	_, ok, err := n.IssuedAt(t.Context(), nonce)
	require.NoError(t, err)
	return ok
}

func TestNonces(t *testing.T) {
	n := newNonces(t, nonceKey(1))
	t.Run("DPOP-8-02 syntax, and AMB-36 never the same twice", func(t *testing.T) {
		syntax := regexp.MustCompile(`^[\x21\x23-\x5b\x5d-\x7e]+$`)
		seen := map[string]bool{}
		for range 1000 {
			nonce := issue(t, n)
			require.Regexp(t, syntax, nonce)
			require.False(t, seen[nonce])
			seen[nonce] = true
		}
	})
	t.Run("DPOP-8-01 another server's, DPOP-9-02 an issuer's", func(t *testing.T) {
		require.False(t, recognises(t, newNonces(t, nonceKey(2)), issue(t, n)))
	})
	t.Run("DPOP-8-01 every altered character", func(t *testing.T) {
		nonce := issue(t, n)
		for i := range nonce {
			for bit := range 8 {
				altered := []byte(nonce)
				altered[i] ^= 1 << bit
				require.False(t, recognises(t, n, string(altered)), "%d %d", i, bit)
			}
		}
		for _, other := range []string{"", nonce[1:], nonce[:42], nonce + "A", nonce + "=", nonce + nonce, strings.Repeat("\n", 43), nonce[:41] + "\n" + nonce[41:42], strings.Repeat("A", 43)} {
			require.False(t, recognises(t, n, other), "%q", other)
		}
		require.True(t, recognises(t, n, nonce))
	})
	t.Run("the time is that of the issue", func(t *testing.T) {
		at, ok, err := n.IssuedAt(t.Context(), issue(t, n))
		require.NoError(t, err)
		require.True(t, ok)
		require.WithinDuration(t, time.Now(), at, time.Second)
	})
	t.Run("rotation refuses no client", func(t *testing.T) {
		before := newNonces(t, nonceKey(1))
		first := newNonces(t, nonceKey(1), nonceKey(2))
		second := newNonces(t, nonceKey(2), nonceKey(1))
		for _, steps := range [][2]*dpop.Nonces{{before, first}, {first, second}} {
			require.True(t, recognises(t, steps[0], issue(t, steps[1])))
			require.True(t, recognises(t, steps[1], issue(t, steps[0])))
		}
		require.False(t, recognises(t, before, issue(t, second)))
	})
	t.Run("a MAC that was made for something else is no nonce", func(t *testing.T) {
		raw := make([]byte, 16, 32)
		binary.BigEndian.PutUint64(raw, uint64(time.Now().UnixMilli()))
		signed := func(domain string) string {
			mac := hmac.New(sha256.New, nonceKey(1))
			mac.Write([]byte(domain))
			mac.Write(raw)
			return base64.RawURLEncoding.EncodeToString(mac.Sum(raw)[:32])
		}
		require.False(t, recognises(t, n, signed("")))
		require.True(t, recognises(t, n, signed("github.com/keybound-go/middleware/dpop nonce v1\x00")), "replicas of other versions make the same")
	})
	t.Run("the key is copied", func(t *testing.T) {
		key := nonceKey(1)
		n := newNonces(t, key)
		nonce := issue(t, n)
		clear(key)
		require.True(t, recognises(t, n, nonce))
	})
	t.Run("every mistake is reported at once", func(t *testing.T) {
		_, err := dpop.NewNonces(nonceKey(1)[:31], dpop.WithPreviousKeys(nonceKey(2), nil, nonceKey(2)), nil, dpop.WithPreviousKeys())
		require.ErrorContains(t, err, "key 1 has 31 bytes")
		require.ErrorContains(t, err, "key 3 has 0 bytes")
		require.ErrorContains(t, err, "key 4 is key 2 again")
		require.ErrorContains(t, err, "option 2 is nil")
		require.ErrorContains(t, err, "WithPreviousKeys is given twice")
	})
	t.Run("the zero Nonces", func(t *testing.T) {
		_, err := new(dpop.Nonces).Issue(t.Context())
		require.Error(t, err)
		_, ok, err := new(dpop.Nonces).IssuedAt(t.Context(), issue(t, n))
		require.Error(t, err)
		require.False(t, ok)
	})
}

func TestDatesThatNoCalendarHas(t *testing.T) {
	// B25: an iat in milliseconds is a date that lies ahead, and not a malformed one.
	key := dpoptest.NewKey(t)
	numbers := map[string]dpop.ProofError{
		fmt.Sprint(time.Now().UnixMilli()): dpop.ErrNotYetValid, fmt.Sprint(time.Now().UnixMicro()): dpop.ErrNotYetValid,
		fmt.Sprint(time.Now().UnixNano()): dpop.ErrNotYetValid, "253402300800": dpop.ErrNotYetValid, "1e12": dpop.ErrNotYetValid, "1e999": dpop.ErrNotYetValid,
		"123456789012345678901234567890": dpop.ErrNotYetValid, "-62135596800": dpop.ErrExpired, "-1e12": dpop.ErrExpired, "-1e999": dpop.ErrExpired,
	}
	for number, want := range numbers {
		proof := func(opts ...dpoptest.ProofOption) string {
			return key.Proof("GET", ordersURL, token, append(opts, dpoptest.Claim("iat", json.RawMessage(number)))...)
		}
		t.Run("iat "+number, func(t *testing.T) {
			v := newVerifier(t)
			refuses(t, v, get(proof()), key.Thumbprint(), want)
			e := v.Explain(dpop.RequestOf(get(proof())))
			require.True(t, e.HasIssuedAt)
			require.Equal(t, want == dpop.ErrNotYetValid, e.Skew > time.Hour, e.Skew)
			require.Equal(t, want == dpop.ErrExpired, e.Skew < -time.Hour, e.Skew)
		})
		t.Run("iat does not matter with nonces: "+number, func(t *testing.T) {
			n := newNonces(t, nonceKey(1))
			accepts(t, newVerifier(t, dpop.WithNonces(n, nil)), get(proof(dpoptest.Nonce(issue(t, n)))), key.Thumbprint())
		})
		t.Run("nbf and exp "+number, func(t *testing.T) {
			for claim, fault := range map[string]dpop.ProofError{"nbf": dpop.ErrNotYetValid, "exp": dpop.ErrExpired} {
				r := get(key.Proof("GET", ordersURL, token, dpoptest.Claim(claim, json.RawMessage(number))))
				if want == fault {
					refuses(t, newVerifier(t), r, key.Thumbprint(), fault)
				} else {
					accepts(t, newVerifier(t), r, key.Thumbprint())
				}
			}
		})
	}
	for _, value := range []string{`"1796000000"`, `"1e999"`, "null", "true", "[]", "{}"} {
		n := newNonces(t, nonceKey(1))
		v := newVerifier(t, dpop.WithNonces(n, nil))
		refuses(t, v, get(key.Proof("GET", ordersURL, token, dpoptest.Nonce(issue(t, n)), dpoptest.Claim("iat", json.RawMessage(value)))), key.Thumbprint(), dpop.ErrClaims)
	}
}

func TestTheIssueTimeBesideANonce(t *testing.T) {
	// P2: the MCP profile wants iat within five minutes, also with nonces.
	for _, tt := range []struct {
		name   string
		opts   []dpop.Option
		ahead  time.Duration
		want   error
		strict bool
	}{
		{"MCP: iat six minutes ago", []dpop.Option{dpop.MCP()}, -6 * time.Minute, dpop.ErrExpired, true},
		{"MCP: iat six minutes ahead", []dpop.Option{dpop.MCP()}, 6 * time.Minute, dpop.ErrNotYetValid, true},
		{"MCP: iat four minutes ago", []dpop.Option{dpop.MCP()}, -4 * time.Minute, nil, true},
		{"MCP: iat four minutes ahead", []dpop.Option{dpop.MCP()}, 4 * time.Minute, nil, true},
		{"by hand: iat two minutes ago", []dpop.Option{dpop.CheckIssuedAt()}, -2 * time.Minute, dpop.ErrExpired, true},
		{"the default: iat an hour ago", nil, -time.Hour, nil, false},
		{"the default: iat an hour ahead", nil, time.Hour, nil, false},
		{"FAPI2: iat an hour ago", []dpop.Option{dpop.FAPI2()}, -time.Hour, nil, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				key, n := dpoptest.NewKey(t), newNonces(t, nonceKey(1))
				v := newVerifier(t, append(tt.opts, dpop.WithNonces(n, nil))...)
				require.Equal(t, tt.strict, v.Settings().IssuedAt)
				r := get(key.Proof("GET", ordersURL, token, dpoptest.Nonce(issue(t, n)), dpoptest.IssuedAt(time.Now().Add(tt.ahead))))
				if tt.want == nil {
					accepts(t, v, r, key.Thumbprint())
				} else {
					refuses(t, v, r, key.Thumbprint(), tt.want)
				}
				// The nonce's age counts all the same.
				old := issue(t, n)
				time.Sleep(v.Settings().Lifetime + time.Second)
				refuses(t, v, get(key.Proof("GET", ordersURL, token, dpoptest.Nonce(old))), key.Thumbprint(), dpop.ErrNonceExpired)
			})
		})
	}
	require.True(t, newVerifier(t).Settings().IssuedAt)
}

func TestRequiredNonces(t *testing.T) {
	run := func(name string, test func(t *testing.T, v *dpop.Verifier, n *dpop.Nonces, key *dpoptest.Key)) {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := newNonces(t, nonceKey(1))
				test(t, newVerifier(t, dpop.WithNonces(n, nil)), n, dpoptest.NewKey(t))
			})
		})
	}
	proof := func(key *dpoptest.Key, opts ...dpoptest.ProofOption) string {
		return key.Proof("GET", ordersURL, token, opts...)
	}
	run("DPOP-9-01 DPOP-4.3-10 a proof without nonce, then with it", func(t *testing.T, v *dpop.Verifier, n *dpop.Nonces, key *dpoptest.Key) {
		refuses(t, v, get(proof(key)), key.Thumbprint(), dpop.ErrNonceMissing)
		nonce, err := v.NextNonce(t.Context(), nil)
		require.NoError(t, err)
		accepted := accepts(t, v, get(proof(key, dpoptest.Nonce(nonce))), key.Thumbprint())
		require.Equal(t, nonce, accepted.Nonce)
	})
	run("DPOP-11.3-01 DPOP-8-03 nothing but a good nonce will do", func(t *testing.T, v *dpop.Verifier, n *dpop.Nonces, key *dpoptest.Key) {
		other := issue(t, newNonces(t, nonceKey(2)))
		good := issue(t, n)
		for name, nonce := range map[string]string{
			"foreign": other, "truncated": good[:42], "altered": good[:42] + "!", "huge": strings.Repeat("n", 600), "made up": "abc",
		} {
			_, err := v.Verify(get(proof(key, dpoptest.Nonce(nonce))), token, key.Thumbprint())
			require.True(t, err == dpop.ErrNonceUnknown, "%s: %v", name, err)
		}
		refuses(t, v, get(proof(key, dpoptest.Nonce(""))), key.Thumbprint(), dpop.ErrNonceMissing)
		refuses(t, v, get(proof(key, dpoptest.Claim("nonce", 1))), key.Thumbprint(), dpop.ErrClaims)
	})
	run("DPOP-8-03 an old one", func(t *testing.T, v *dpop.Verifier, n *dpop.Nonces, key *dpoptest.Key) {
		nonce := issue(t, n)
		time.Sleep(60 * time.Second)
		accepts(t, v, get(proof(key, dpoptest.Nonce(nonce))), key.Thumbprint())
		time.Sleep(time.Millisecond)
		refuses(t, v, get(proof(key, dpoptest.Nonce(nonce))), key.Thumbprint(), dpop.ErrNonceExpired)
	})
	t.Run("DPOP-8-03 missing, old and foreign look the same", func(t *testing.T) {
		for _, e := range []dpop.ProofError{dpop.ErrNonceMissing, dpop.ErrNonceUnknown, dpop.ErrNonceExpired} {
			require.Equal(t, "use_dpop_nonce", e.Code())
			require.Equal(t, dpop.ErrNonceMissing.Description(), e.Description())
		}
	})
	run("DPOP-9-03 a nonce serves many proofs", func(t *testing.T, v *dpop.Verifier, n *dpop.Nonces, key *dpoptest.Key) {
		nonce := issue(t, n)
		accepts(t, v, get(proof(key, dpoptest.Nonce(nonce))), key.Thumbprint())
		accepts(t, v, get(proof(key, dpoptest.Nonce(nonce))), key.Thumbprint())
	})
	run("AMB-31 the nonce's age replaces the window of iat", func(t *testing.T, v *dpop.Verifier, n *dpop.Nonces, key *dpoptest.Key) {
		for _, off := range []time.Duration{-24 * time.Hour, 24 * time.Hour} {
			iat := dpoptest.IssuedAt(time.Now().Add(off))
			refuses(t, v, get(proof(key, iat)), key.Thumbprint(), dpop.ErrNonceMissing)
			accepts(t, v, get(proof(key, iat, dpoptest.Nonce(issue(t, n)))), key.Thumbprint())
		}
		refuses(t, v, get(proof(key, dpoptest.WithoutClaim("iat"), dpoptest.Nonce(issue(t, n)))), key.Thumbprint(), dpop.ErrClaims)
		refuses(t, v, get(proof(key, dpoptest.Claim("iat", "0"), dpoptest.Nonce(issue(t, n)))), key.Thumbprint(), dpop.ErrClaims)
	})
	run("AMB-31 exp still counts", func(t *testing.T, v *dpop.Verifier, n *dpop.Nonces, key *dpoptest.Key) {
		exp := dpoptest.Claim("exp", time.Now().Add(-time.Minute).Unix())
		refuses(t, v, get(proof(key, exp, dpoptest.Nonce(issue(t, n)))), key.Thumbprint(), dpop.ErrExpired)
	})
	run("DPOP-11.1-09 a replay is refused for the life of the nonce", func(t *testing.T, v *dpop.Verifier, n *dpop.Nonces, key *dpoptest.Key) {
		nonce := issue(t, n)
		good := proof(key, dpoptest.Nonce(nonce), dpoptest.IssuedAt(time.Now().Add(-24*time.Hour)))
		accepts(t, v, get(good), key.Thumbprint())
		for range 60 {
			time.Sleep(time.Second)
			refuses(t, v, get(good), key.Thumbprint(), dpop.ErrReplayed)
		}
		time.Sleep(time.Second)
		refuses(t, v, get(good), key.Thumbprint(), dpop.ErrNonceExpired)
	})
	run("the nonce comes after the signature", func(t *testing.T, v *dpop.Verifier, n *dpop.Nonces, key *dpoptest.Key) {
		for _, broken := range dpoptest.Broken() {
			if kind := kindOf(t, broken.Name); kind == dpop.ErrSignature || kind == dpop.ErrTarget {
				refuses(t, v, get(broken.Proof(key, "GET", ordersURL, token)), key.Thumbprint(), kind)
			}
		}
	})
	t.Run("AMB-32 a nonce while nonces are off is ignored", func(t *testing.T) {
		v, key := newVerifier(t), dpoptest.NewKey(t)
		accepts(t, v, get(proof(key, dpoptest.Nonce("left over"))), key.Thumbprint())
		nonce, err := v.NextNonce(t.Context(), nil)
		require.NoError(t, err)
		require.Empty(t, nonce)
	})
}

func TestNextNonce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNonces(t, nonceKey(1))
		v, key := newVerifier(t, dpop.WithNonces(n, nil)), dpoptest.NewKey(t)
		nonce := issue(t, n)
		proof := accepts(t, v, get(key.Proof("GET", ordersURL, token, dpoptest.Nonce(nonce))), key.Thumbprint())
		next := func(p *dpop.Proof) string {
			next, err := v.NextNonce(t.Context(), p)
			require.NoError(t, err)
			return next
		}
		require.Empty(t, next(proof), "DPOP-8.2-01 young: nothing new")
		time.Sleep(30 * time.Second)
		require.Empty(t, next(proof))
		time.Sleep(time.Second)
		require.True(t, recognises(t, n, next(proof)), "DPOP-8.2-01 past half of its life: a new one")
		again := accepts(t, v, get(key.Proof("GET", ordersURL, token, dpoptest.Nonce(nonce))), key.Thumbprint())
		require.NotEqual(t, nonce, next(again), "DPOP-8.2-01 the old one is still accepted")
		require.NotEqual(t, next(nil), next(nil), "AMB-36 a challenge's nonce is always another one")
		require.NotEmpty(t, next(&dpop.Proof{}))
	})
}

// oddNonces is a source that is down, or that lies.
type oddNonces struct {
	nonce string
	at    time.Time
	err   error
}

func (n oddNonces) Issue(context.Context) (string, error) { return n.nonce, n.err }
func (n oddNonces) IssuedAt(context.Context, string) (time.Time, bool, error) {
	return n.at, true, n.err
}

func TestOddNonceSources(t *testing.T) {
	key := dpoptest.NewKey(t)
	t.Run("DPOP-8-03 512 bytes are accepted back, and no more", func(t *testing.T) {
		v := newVerifier(t, dpop.WithNonces(oddNonces{at: time.Now()}, nil))
		proof := func(size int) string {
			return key.Proof("GET", ordersURL, token, dpoptest.Nonce(strings.Repeat("n", size)))
		}
		accepts(t, v, get(proof(512)), key.Thumbprint())
		refuses(t, v, get(proof(513)), key.Thumbprint(), dpop.ErrNonceUnknown)
	})
	t.Run("down is not the client's fault", func(t *testing.T) {
		down := errors.New("down")
		v := newVerifier(t, dpop.WithNonces(oddNonces{err: down}, nil))
		_, err := v.Verify(get(key.Proof("GET", ordersURL, token, dpoptest.Nonce("n"))), token, key.Thumbprint())
		require.ErrorIs(t, err, down)
		_, err = v.NextNonce(t.Context(), nil)
		require.ErrorIs(t, err, down)
	})
	t.Run("a nonce from the future beyond the skew", func(t *testing.T) {
		v := newVerifier(t, dpop.WithNonces(oddNonces{at: time.Now().Add(40 * time.Second)}, nil))
		refuses(t, v, get(key.Proof("GET", ordersURL, token, dpoptest.Nonce("n"))), key.Thumbprint(), dpop.ErrNonceUnknown)
	})
	t.Run("a nonce of a replica whose clock is ahead", func(t *testing.T) {
		v := newVerifier(t, dpop.WithNonces(oddNonces{at: time.Now().Add(20 * time.Second)}, nil))
		accepts(t, v, get(key.Proof("GET", ordersURL, token, dpoptest.Nonce("n"))), key.Thumbprint())
	})
	t.Run("DPOP-8-02 an issued nonce that no header may hold", func(t *testing.T) {
		for _, bad := range []string{"", "a b", "a\r\nb", `a"b`, `a\b`, "\x7f", "\u00e9"} {
			v := newVerifier(t, dpop.WithNonces(oddNonces{nonce: bad}, nil))
			nonce, err := v.NextNonce(t.Context(), nil)
			require.Error(t, err)
			require.Empty(t, nonce)
		}
	})
}

func BenchmarkNonces(b *testing.B) {
	n, err := dpop.NewNonces(nonceKey(1))
	require.NoError(b, err)
	nonce, _ := n.Issue(b.Context())
	b.Run("Issue", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			_, _ = n.Issue(b.Context())
		}
	})
	b.Run("IssuedAt", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			_, _, _ = n.IssuedAt(b.Context(), nonce)
		}
	})
}

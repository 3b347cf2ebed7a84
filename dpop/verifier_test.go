package dpop_test

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keybound-go/middleware/dpop"
	"github.com/keybound-go/middleware/dpop/dpoptest"
	"github.com/stretchr/testify/require"
)

const (
	apiOrigin = "https://api.example"
	ordersURL = apiOrigin + "/orders"
	token     = "Kz~8mXK1EalYznwH-LC-1fBAo.4Ljp~zsPE_NeO.gxU"
)

func newVerifier(tb testing.TB, opts ...dpop.Option) *dpop.Verifier {
	tb.Helper()
	v, err := dpop.New(apiOrigin, opts...)
	require.NoError(tb, err)
	return v
}

// get returns a server's request for ordersURL with the given DPoP fields.
func get(fields ...string) *http.Request {
	r := httptest.NewRequest("GET", "/orders", nil)
	r.Host = "api.example"
	r.Header["Dpop"] = fields
	return r
}

// refuses demands that the proof fails with want, and that its owner can still use it.
func refuses(t *testing.T, v *dpop.Verifier, r *http.Request, jkt string, want error) {
	t.Helper()
	proof, err := v.Verify(r, token, jkt)
	require.Nil(t, proof)
	require.True(t, err == want, "got %v, want %v", err, want)
}

func accepts(t *testing.T, v *dpop.Verifier, r *http.Request, jkt string) *dpop.Proof {
	t.Helper()
	proof, err := v.Verify(r, token, jkt)
	require.NoError(t, err)
	require.NotNil(t, proof)
	return proof
}

func TestAGoodProofIsAcceptedAndDescribed(t *testing.T) {
	v := newVerifier(t, dpop.WithAlgorithms("ES256", "ES384", "ES512", "PS256", "RS256", "EdDSA", "Ed25519"))
	for _, alg := range v.Settings().Algorithms {
		t.Run("ok-"+alg, func(t *testing.T) {
			key := dpoptest.NewKeyFor(t, alg)
			proof := accepts(t, v, get(key.Proof("GET", ordersURL, token, dpoptest.ID("id-1"), dpoptest.Nonce("n"))), key.Thumbprint())
			require.Equal(t, key.Thumbprint(), proof.Thumbprint)
			require.Equal(t, alg, proof.Algorithm)
			require.Equal(t, "id-1", proof.ID)
			require.Equal(t, "n", proof.Nonce)
			require.WithinDuration(t, time.Now(), proof.IssuedAt, 2*time.Second)
			require.NotNil(t, proof.PublicKey)
		})
	}
}

func TestUnusualProofsAreAccepted(t *testing.T) {
	requirements := map[string]string{
		"ok-typ": "DPOP-4.3-04 AMB-15", "ok-jwk": "DPOP-4.2-01 AMB-23", "ok-hdr": "DPOP-4.2-01 DPOP-4.2-04", "ok-cla": "DPOP-4.2-01 DPOP-4.2-03 AMB-32",
		"ok-iat": "DPOP-11.1-01 DPOP-11.1-02", "ok-jti": "DPOP-4.2-02", "ok-htu": "DPOP-4.3-09", "ok-jso": "DPOP-4.3-02",
	}
	v, key := newVerifier(t), dpoptest.NewKey(t)
	for _, unusual := range dpoptest.Unusual() {
		require.Contains(t, requirements, unusual.Name[:6])
		t.Run(requirements[unusual.Name[:6]]+" "+unusual.Name, func(t *testing.T) {
			accepts(t, v, get(unusual.Proof(key, "GET", ordersURL, token)), key.Thumbprint())
		})
	}
}

func TestNothingInAHeaderIsEverFetched(t *testing.T) {
	// DPOP-4.2-04: jku, x5u and kid are ignored.
	var connections atomic.Int32
	server := httptest.NewUnstartedServer(http.NotFoundHandler())
	server.Config.ConnState = func(net.Conn, http.ConnState) { connections.Add(1) }
	server.Start()
	t.Cleanup(server.Close)
	v, key := newVerifier(t), dpoptest.NewKey(t)
	// A bubble ends when all of its goroutines have, so that a fetch in the background
	// is over.
	synctest.Test(t, func(t *testing.T) {
		for _, member := range []string{"jku", "x5u", "kid"} {
			accepts(t, v, get(key.Proof("GET", ordersURL, token, dpoptest.Header(member, server.URL+"/keys"))), key.Thumbprint())
			refuses(t, v, get(key.Proof("GET", ordersURL, token, dpoptest.Header(member, server.URL+"/keys"), dpoptest.WithoutHeader("jwk"))), key.Thumbprint(), dpop.ErrKey)
		}
	})
	require.Zero(t, connections.Load())
}

// kinds maps the names of the broken proofs, by their longest prefix in here.
var kinds = map[string]dpop.ProofError{
	"form-": dpop.ErrMalformed, "form-no-payload": dpop.ErrClaims,

	"missing-": dpop.ErrClaims, "missing-alg": dpop.ErrMalformed, "missing-typ": dpop.ErrType, "missing-jwk": dpop.ErrKey,
	"jti-": dpop.ErrClaims, "nonce-": dpop.ErrClaims,

	"typ-": dpop.ErrType, "typ-null": dpop.ErrMalformed, "typ-number": dpop.ErrMalformed,
	"alg-": dpop.ErrAlgorithm, "alg-null": dpop.ErrMalformed, "alg-array": dpop.ErrMalformed, "alg-empty": dpop.ErrMalformed,
	"alg-ES384": dpop.ErrKey, "alg-PS256": dpop.ErrKey, "alg-EdDSA": dpop.ErrKey,

	"sig-": dpop.ErrSignature, "sig-noncanonical-b64": dpop.ErrMalformed,

	"jwk-": dpop.ErrKey, "jwk-null": dpop.ErrMalformed, "jwk-string": dpop.ErrMalformed,
	"jwk-private-": dpop.ErrPrivateKey, "jwk-oct": dpop.ErrPrivateKey,

	"htm-": dpop.ErrMethod, "htu-": dpop.ErrTarget,
	"htm-null": dpop.ErrClaims, "htm-object": dpop.ErrClaims, "htm-array": dpop.ErrClaims, "htm-empty": dpop.ErrClaims, "htm-true": dpop.ErrClaims,
	"htu-null": dpop.ErrClaims, "htu-object": dpop.ErrClaims, "htu-array": dpop.ErrClaims, "htu-empty": dpop.ErrClaims, "htu-true": dpop.ErrClaims,
	"ath-null": dpop.ErrClaims, "ath-object": dpop.ErrClaims, "ath-array": dpop.ErrClaims, "ath-empty": dpop.ErrClaims, "ath-true": dpop.ErrClaims,

	"iat-": dpop.ErrClaims, "iat-milliseconds": dpop.ErrNotYetValid, "iat-huge": dpop.ErrNotYetValid, "iat-beyond-int64": dpop.ErrNotYetValid, "iat-hour-ago": dpop.ErrExpired, "iat-62s-ago": dpop.ErrExpired, "iat-zero": dpop.ErrExpired, "iat-negative": dpop.ErrExpired,
	"iat-hour-ahead": dpop.ErrNotYetValid, "iat-61s-ahead": dpop.ErrNotYetValid,
	"claim-": dpop.ErrClaims, "claim-exp-past": dpop.ErrExpired, "claim-nbf-future": dpop.ErrNotYetValid,

	"ath-":      dpop.ErrTokenHash,
	"other-key": dpop.ErrKeyMismatch,

	"dup-": dpop.ErrClaims, "dup-alg": dpop.ErrMalformed, "dup-jwk": dpop.ErrMalformed,
	"case-": dpop.ErrClaims, "case-Typ": dpop.ErrType,
	"json-": dpop.ErrClaims, "json-deep": dpop.ErrMalformed, "json-header-": dpop.ErrMalformed,
	"hdr-": dpop.ErrMalformed,
}

var requirements = map[dpop.ProofError]string{
	dpop.ErrMalformed:   "DPOP-4.3-02 AMB-30",
	dpop.ErrClaims:      "DPOP-4.3-03 DPOP-4.2-02 DPOP-11.1-04",
	dpop.ErrType:        "DPOP-4.3-04 AMB-15",
	dpop.ErrAlgorithm:   "DPOP-4.3-05",
	dpop.ErrSignature:   "DPOP-4.3-06",
	dpop.ErrKey:         "DPOP-4.3-06 AMB-23",
	dpop.ErrPrivateKey:  "DPOP-4.3-07",
	dpop.ErrMethod:      "DPOP-4.3-08",
	dpop.ErrTarget:      "DPOP-4.3-09",
	dpop.ErrExpired:     "DPOP-4.3-11 DPOP-4.2-03 AMB-02",
	dpop.ErrNotYetValid: "DPOP-4.3-11 DPOP-4.2-03 AMB-02",
	dpop.ErrTokenHash:   "DPOP-4.3-12",
	dpop.ErrKeyMismatch: "DPOP-4.3-12b",
}

func kindOf(t *testing.T, name string) dpop.ProofError {
	t.Helper()
	longest := ""
	for prefix := range kinds {
		if strings.HasPrefix(name, prefix) && len(prefix) > len(longest) {
			longest = prefix
		}
	}
	require.NotEmpty(t, longest, "no kind for %s", name)
	return kinds[longest]
}

func TestEachFaultAloneIsRefusedForItsReason(t *testing.T) {
	// DPOP-7.1-01 no access unless every check passes; DPOP-7.1-04, AMB-01 and
	// AMB-28: the code, and a fixed text for each rule.
	v, key := newVerifier(t), dpoptest.NewKey(t)
	for _, broken := range dpoptest.Broken() {
		want := kindOf(t, broken.Name)
		t.Run(requirements[want]+" "+broken.Name, func(t *testing.T) {
			require.Equal(t, broken.Code, want.Code())
			field := broken.Proof(key, "GET", ordersURL, token)
			refuses(t, v, get(field), key.Thumbprint(), want)
			// The fault is the proof's, not the route's.
			_, err := v.VerifyProof(t.Context(), dpop.Request{
				Proofs: []string{field}, Method: "GET", URL: ordersURL, AccessToken: token, Thumbprint: key.Thumbprint(),
			})
			require.True(t, err == want, "VerifyProof: got %v, want %v", err, want)
		})
	}
}

func TestNoPrefixOfTheKindsIsWithoutAProof(t *testing.T) {
	for prefix := range kinds {
		found := false
		for _, broken := range dpoptest.Broken() {
			found = found || strings.HasPrefix(broken.Name, prefix)
		}
		require.True(t, found, prefix)
	}
}

func TestEveryFlippedBitIsRefused(t *testing.T) {
	v, key := newVerifier(t), dpoptest.NewKey(t)
	good := key.Proof("GET", ordersURL, token)
	for i := range len(good) * 8 {
		if (testing.Short() || raceEnabled) && i%7 != 0 {
			continue
		}
		flipped := []byte(good)
		flipped[i/8] ^= 1 << (i % 8)
		_, err := v.Verify(get(string(flipped)), token, key.Thumbprint())
		require.Error(t, err, "bit %d", i)
		require.IsType(t, dpop.ProofError(0), err)
	}
	accepts(t, v, get(good), key.Thumbprint())
}

func TestTheField(t *testing.T) {
	v, key := newVerifier(t), dpoptest.NewKey(t)
	good := func() string { return key.Proof("GET", ordersURL, token) }
	proof := good()
	tests := []struct {
		name   string
		fields []string
		want   error
	}{
		{"DPOP-7.1-03 no field", nil, dpop.ErrMissing},
		{"DPOP-4.3-01 the same proof twice", []string{proof, proof}, dpop.ErrMultiple},
		{"DPOP-4.3-01 two good proofs", []string{good(), good()}, dpop.ErrMultiple},
		{"DPOP-4.3-01 an empty one beside a good one", []string{"", good()}, dpop.ErrMultiple},
		{"DPOP-4.3-01 joined by a proxy", []string{good() + ", " + good()}, dpop.ErrMalformed},
		{"DPOP-4.3-01 joined by a proxy without a space", []string{good() + "," + good()}, dpop.ErrMalformed},
		{"DPOP-4.1-02 empty", []string{""}, dpop.ErrMalformed},
		{"DPOP-4.1-02 an unfolded line", []string{proof[:99] + " " + proof[99:]}, dpop.ErrMalformed},
		{"DPOP-4.1-02 quotes", []string{`"` + proof + `"`}, dpop.ErrMalformed},
		{"DPOP-4.1-02 obs-text", []string{proof + "\xe9"}, dpop.ErrMalformed},
		{"DPOP-4.1-02 nothing but padding", []string{"=="}, dpop.ErrMalformed},
		{"DPOP-4.1-02 padding inside", []string{proof[:9] + "=" + proof[9:]}, dpop.ErrMalformed},
		{"LIM-01 one byte too long", []string{strings.Repeat("a", 8<<10+1)}, dpop.ErrTooLarge},
		{"LIM-01 long, but not too long", []string{strings.Repeat(".", 8<<10)}, dpop.ErrMalformed},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := get(tt.fields...)
			refuses(t, v, r, key.Thumbprint(), tt.want)
		})
	}
	t.Run("DPOP-4.1-01 the name is case-insensitive on the wire", func(t *testing.T) {
		for _, name := range []string{"DPoP", "dpop", "DPOP"} {
			r := get()
			r.Header.Del("Dpop")
			r.Header.Add(name, good())
			accepts(t, v, r, key.Thumbprint())
		}
	})
	t.Run("DPOP-4.1-02 case is significant in the value", func(t *testing.T) {
		refuses(t, v, get(strings.ToUpper(good())), key.Thumbprint(), dpop.ErrMalformed)
	})
}

func TestStructuralRefusalsDoNotAllocate(t *testing.T) {
	v, key := newVerifier(t), dpoptest.NewKey(t)
	proof, jkt := key.Proof("GET", ordersURL, token), key.Thumbprint()
	for name, r := range map[string]*http.Request{
		"none": get(), "two": get(proof, proof), "large": get(strings.Repeat("a", 9<<10)),
	} {
		require.Zero(t, testing.AllocsPerRun(100, func() {
			if _, err := v.Verify(r, token, jkt); err == nil {
				t.Fatal("accepted")
			}
		}), name)
	}
}

func TestTheCallersMistakesRefuse(t *testing.T) {
	v, key := newVerifier(t), dpoptest.NewKey(t)
	good := key.Proof("GET", ordersURL, token)
	isOurs := func(t *testing.T, err error) {
		t.Helper()
		require.Error(t, err)
		require.NotContains(t, err.Error(), good)
		var proofError dpop.ProofError
		require.False(t, errors.As(err, &proofError))
	}
	t.Run("no thumbprint is not nothing to check", func(t *testing.T) {
		_, err := v.Verify(get(good), token, "")
		isOurs(t, err)
		_, err = v.VerifyProof(t.Context(), dpop.Request{Proofs: []string{good}, Method: "GET", URL: ordersURL, AccessToken: token})
		isOurs(t, err)
	})
	t.Run("no token", func(t *testing.T) {
		_, err := v.Verify(get(good), "", key.Thumbprint())
		isOurs(t, err)
	})
	t.Run("a token and a hash", func(t *testing.T) {
		req := dpop.RequestOf(get(good))
		req.AccessToken, req.TokenHash, req.Thumbprint = token, sha256.Sum256([]byte("another token")), key.Thumbprint()
		_, err := v.VerifyProof(t.Context(), req)
		isOurs(t, err)
	})
	t.Run("a URL beside a target", func(t *testing.T) {
		req := dpop.RequestOf(get(good))
		req.URL, req.AccessToken, req.Thumbprint = ordersURL, token, key.Thumbprint()
		_, err := v.VerifyProof(t.Context(), req)
		isOurs(t, err)
	})
	t.Run("the zero Verifier", func(t *testing.T) {
		_, err := new(dpop.Verifier).Verify(get(good), token, key.Thumbprint())
		isOurs(t, err)
		_, err = (*dpop.Verifier)(nil).Verify(get(good), token, key.Thumbprint())
		isOurs(t, err)
		require.Zero(t, new(dpop.Verifier).Settings())
		nonce, err := new(dpop.Verifier).NextNonce(t.Context(), nil)
		require.NoError(t, err)
		require.Empty(t, nonce)
	})
	accepts(t, v, get(good), key.Thumbprint())
}

func TestTheBinding(t *testing.T) {
	v, key := newVerifier(t), dpoptest.NewKey(t)
	t.Run("DPOP-4.3-12b another key is a fault of the token", func(t *testing.T) {
		other := dpoptest.NewKey(t)
		refuses(t, v, get(key.Proof("GET", ordersURL, token)), other.Thumbprint(), dpop.ErrKeyMismatch)
		require.Equal(t, "invalid_token", dpop.ErrKeyMismatch.Code())
	})
	t.Run("DPOP-6.1-01 only the canonical thumbprint", func(t *testing.T) {
		jkt := key.Thumbprint()
		for _, wrong := range []string{jkt + "=", jkt[:42], jkt + "A", " " + jkt, strings.ToLower(jkt) + "x"} {
			refuses(t, v, get(key.Proof("GET", ordersURL, token)), wrong, dpop.ErrKeyMismatch)
		}
	})
	t.Run("DPOP-7-01 a proof is for one token", func(t *testing.T) {
		_, err := v.Verify(get(key.Proof("GET", ordersURL, token)), "another.token", key.Thumbprint())
		require.True(t, err == dpop.ErrTokenHash)
	})
	t.Run("DPOP-4.3-12 a proof without ath, as for a token endpoint", func(t *testing.T) {
		refuses(t, v, get(key.Proof("GET", ordersURL, "")), key.Thumbprint(), dpop.ErrClaims)
	})
}

func TestAlgorithms(t *testing.T) {
	t.Run("DPOP-4.3-05 known, but not configured", func(t *testing.T) {
		v, key := newVerifier(t, dpop.WithAlgorithms("ES384")), dpoptest.NewKey(t)
		refuses(t, v, get(key.Proof("GET", ordersURL, token)), key.Thumbprint(), dpop.ErrAlgorithm)
	})
	t.Run("AMB-26 RS256 is off by default", func(t *testing.T) {
		require.Equal(t, []string{"ES256", "ES384", "ES512", "PS256", "PS384", "PS512", "EdDSA", "Ed25519"}, newVerifier(t).Settings().Algorithms)
	})
	t.Run("jwk.alg Ed25519 with EdDSA in the header", func(t *testing.T) {
		v, key := newVerifier(t), dpoptest.NewKeyFor(t, "Ed25519")
		accepts(t, v, get(key.Proof("GET", ordersURL, token, dpoptest.Header("alg", "EdDSA"))), key.Thumbprint())
	})
	t.Run("the slice is the caller's", func(t *testing.T) {
		v := newVerifier(t)
		v.Settings().Algorithms[0] = "none"
		require.Equal(t, "ES256", v.Settings().Algorithms[0])
	})
}

func TestTheMethod(t *testing.T) {
	v, key := newVerifier(t), dpoptest.NewKey(t)
	for _, tt := range []struct {
		name, htm, method string
		want              error
	}{
		{"DPOP-4.3-08 the same", "HEAD", "HEAD", nil},
		{"DPOP-4.3-08 GET is not HEAD", "GET", "HEAD", dpop.ErrMethod},
		{"DPOP-4.3-08 lower case is another method", "get", "GET", dpop.ErrMethod},
		{"DPOP-4.3-08 an extension method", "patch", "patch", nil},
		{"HTTP-14 extended CONNECT has a path", "CONNECT", "CONNECT", nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := get(key.Proof(tt.htm, ordersURL, token))
			r.Method = tt.method
			if tt.want == nil {
				accepts(t, v, r, key.Thumbprint())
				return
			}
			refuses(t, v, r, key.Thumbprint(), tt.want)
		})
	}
	t.Run("DPOP-4.3-08 X-HTTP-Method-Override is ignored", func(t *testing.T) {
		r := get(key.Proof("DELETE", ordersURL, token))
		r.Header.Set("X-HTTP-Method-Override", "DELETE")
		refuses(t, v, r, key.Thumbprint(), dpop.ErrMethod)
	})
}

// rfcVector is the part of testdata/rfc.json that is about proofs and URIs.
type rfcVector struct {
	ID, Kind string
	Input    struct {
		Proof, Method, URI string
		Now                int64
		AccessToken        string `json:"access_token"`
		HTU, Target        string
	}
	Expect struct {
		JKT   string
		Match bool
	}
}

func rfcVectors(t testing.TB, kind string) []rfcVector {
	t.Helper()
	raw, err := os.ReadFile("testdata/rfc.json")
	require.NoError(t, err)
	var file struct{ Vectors []json.RawMessage }
	require.NoError(t, json.Unmarshal(raw, &file))
	var vectors []rfcVector
	for _, raw := range file.Vectors {
		var head struct{ Kind string }
		require.NoError(t, json.Unmarshal(raw, &head))
		if head.Kind != kind {
			continue
		}
		var vector rfcVector
		require.NoError(t, json.Unmarshal(raw, &vector))
		vectors = append(vectors, vector)
	}
	require.NotEmpty(t, vectors)
	return vectors
}

func TestTheProofsOfRFC9449(t *testing.T) {
	for _, vector := range rfcVectors(t, "dpop-proof") {
		t.Run(vector.ID, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				// The figures are of 2019, and a bubble's clock starts in 2000.
				time.Sleep(time.Until(time.Unix(vector.Input.Now, 0)))
				v, err := dpop.New("https://resource.example.org", dpop.WithOrigins("https://server.example.com"))
				require.NoError(t, err)
				request := dpop.Request{
					Proofs: []string{vector.Input.Proof}, Method: vector.Input.Method, URL: vector.Input.URI,
					AccessToken: vector.Input.AccessToken, Thumbprint: vector.Expect.JKT,
				}
				if request.AccessToken == "" {
					request.AccessToken = token
					_, err := v.VerifyProof(t.Context(), request)
					require.True(t, err == dpop.ErrClaims, "a proof for the token endpoint has no ath: %v", err)
					return
				}
				time.Sleep(61 * time.Second)
				_, err = v.VerifyProof(t.Context(), request)
				require.True(t, err == dpop.ErrExpired)

				v, err = dpop.New("https://resource.example.org", dpop.WithLifetime(61*time.Second))
				require.NoError(t, err)
				proof, err := v.VerifyProof(t.Context(), request)
				require.NoError(t, err)
				require.Equal(t, vector.Expect.JKT, proof.Thumbprint)
			})
		})
	}
}

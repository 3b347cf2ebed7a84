package dpop_test

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/keybound-go/middleware/dpop"
	"github.com/keybound-go/middleware/dpop/dpoptest"
	"github.com/stretchr/testify/require"
)

// A source of nonces as a careless user writes one.
type carelessNonces struct{ Secret string }

func (carelessNonces) Issue(context.Context) (string, error) { return "n", nil }
func (carelessNonces) IssuedAt(context.Context, string) (time.Time, bool, error) {
	return time.Now(), true, nil
}

// printed is v in every verb that could show what is in it, and in logs.
func printed(t *testing.T, v any) string {
	t.Helper()
	var all strings.Builder
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%t"} {
		fmt.Fprintf(&all, verb+"\n", v)
	}
	var text, js bytes.Buffer
	slog.New(slog.NewTextHandler(&text, nil)).Info("printed", "value", v, slog.Group("g", "value", v))
	slog.New(slog.NewJSONHandler(&js, nil)).Info("printed", "value", v)
	return all.String() + text.String() + js.String()
}

func TestNothingThatPrintsHoldsASecret(t *testing.T) {
	// R10
	key := dpoptest.NewKey(t)
	nonceSecret := []byte("S3CR3T-K3Y-0F-THE-N0NCES-AND-MORE")
	older := []byte("0LDER-S3CR3T-K3Y-0F-THE-N0NCES-A")
	nonces, err := dpop.NewNonces(nonceSecret, dpop.WithPreviousKeys(older))
	require.NoError(t, err)
	nonce := issue(t, nonces)
	cache := newCache(t)
	v := newVerifier(t, dpop.WithNonces(nonces, nil), dpop.WithReplayCache(cache, nil))
	field := key.Proof("GET", ordersURL, token, dpoptest.Nonce(nonce), dpoptest.ID("S3CR3T-1D"))
	proof := accepts(t, v, get(field), key.Thumbprint())
	req := dpop.RequestOf(get(field))
	req.AccessToken, req.Thumbprint, req.Target = token, key.Thumbprint(), "/orders?code=S3CR3T-QU3RY"
	byURL := dpop.Request{URL: "https://user:S3CR3T-USER@api.example/orders?code=S3CR3T-QU3RY#f"}
	_, refused := v.VerifyProof(t.Context(), req)
	require.Error(t, refused)
	careless := newVerifier(t, dpop.WithNonces(carelessNonces{"S3CR3T-N0NCES"}, nil))
	secrets := []string{token, nonce, field, "S3CR3T", "0LDER"}
	for _, raw := range [][]byte{nonceSecret, older, []byte(token)} {
		secrets = append(secrets, strings.Trim(fmt.Sprint(raw), "[]"), fmt.Sprintf("%x", raw), fmt.Sprintf("%X", raw), strings.TrimSuffix(fmt.Sprintf("%#v", raw), "}")[len("[]byte{"):])
	}
	for name, value := range map[string]any{
		"Nonces": nonces, "Nonces by value": *nonces, "the zero Nonces": dpop.Nonces{},
		"MemoryCache": cache,
		"Verifier":    v, "Verifier by value": *v, "Verifier of a careless source": careless, "the zero Verifier": dpop.Verifier{},
		"Settings": v.Settings(),
		"Request":  req, "Request by pointer": &req, "Request with a URL": byURL, "a struct with a Request": struct{ R dpop.Request }{req},
		"Proof": proof, "Proof by value": *proof, "several": []any{nonces, req, *proof, v},
		"Explanation": v.Explain(req), "Explanation of a URL": v.Explain(byURL),
		"error": refused, "MemoryOption": dpop.WithCacheSize(1), "NonceOption": dpop.WithPreviousKeys(older), "Option": dpop.WithNonces(nonces, nil),
	} {
		if name == "a struct with a Request" || name == "several" {
			// encoding/json looks into values itself, whatever slog is told of them.
			text := fmt.Sprintf("%v %+v %#v %s %d", value, value, value, value, value)
			for _, secret := range secrets {
				require.NotContains(t, text, secret, name)
			}
			continue
		}
		for _, secret := range secrets {
			require.NotContains(t, printed(t, value), secret, name)
		}
	}
	require.Contains(t, fmt.Sprint(req), "/orders", "and it says something")
	require.Contains(t, fmt.Sprint(v), apiOrigin)
}

// isIssued says what a nonce is in other words than the package: 8 bytes of time, 8 of
// randomness, and half of an HMAC-SHA-256 over a domain and both, in base64url.
func isIssued(nonce string, keys ...[]byte) bool {
	raw, err := base64.RawURLEncoding.DecodeString(nonce)
	if err != nil || len(raw) != 32 || base64.RawURLEncoding.EncodeToString(raw) != nonce {
		return false
	}
	return slices.ContainsFunc(keys, func(key []byte) bool {
		mac := hmac.New(sha256.New, key)
		mac.Write(append([]byte("github.com/keybound-go/middleware/dpop nonce v1\x00"), raw[:16]...))
		return bytes.Equal(mac.Sum(nil)[:16], raw[16:])
	})
}

func FuzzNonces(f *testing.F) {
	nonces, err := dpop.NewNonces(nonceKey(1), dpop.WithPreviousKeys(nonceKey(2)))
	require.NoError(f, err)
	previous, err := dpop.NewNonces(nonceKey(2))
	require.NoError(f, err)
	for _, source := range []*dpop.Nonces{nonces, previous} {
		nonce, err := source.Issue(f.Context())
		require.NoError(f, err)
		require.True(f, isIssued(nonce, nonceKey(1), nonceKey(2)))
		f.Add(nonce)
	}
	for _, seed := range []string{"", "n", strings.Repeat("A", 43), strings.Repeat("-_", 22)[:43], "\x00", strings.Repeat("A", 42) + "="} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, nonce string) {
		_, ok, err := nonces.IssuedAt(t.Context(), nonce)
		if err != nil {
			t.Fatal(err)
		}
		if ok != isIssued(nonce, nonceKey(1), nonceKey(2)) {
			t.Errorf("%q: %t", nonce, ok)
		}
	})
}

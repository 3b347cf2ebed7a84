package clientauth_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/asn1"
	"encoding/json"
	"errors"
	"io"
	"math/big"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keybound-go/middleware/internal/issuertest"
	"github.com/keybound-go/middleware/internal/jose"
	"github.com/keybound-go/middleware/internal/josetest"
	"github.com/keybound-go/middleware/oidc/clientauth"
	"github.com/stretchr/testify/require"
)

var rsaClientKey = sync.OnceValue(func() *rsa.PrivateKey {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return key
})

// published returns the key ids that h publishes, and the keys as an issuer reads them.
func published(t *testing.T, h http.Handler) (ids []string, keys []jose.Key) {
	t.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/jwks.json", nil))
	require.Equal(t, 200, w.Code)
	keys, skipped, err := jose.ParseKeySet(w.Body.Bytes())
	require.NoError(t, err)
	require.Empty(t, skipped)
	for _, k := range keys {
		ids = append(ids, k.KeyID)
	}
	return ids, keys
}

func newClientKeys(t *testing.T, current clientauth.Key, previous ...clientauth.Key) *clientauth.Keys {
	t.Helper()
	var opts []clientauth.KeysOption
	if len(previous) > 0 {
		opts = append(opts, clientauth.WithPreviousKeys(previous...))
	}
	keys, err := clientauth.NewKeys(current, opts...)
	require.NoError(t, err)
	return keys
}

func TestEveryKindOfClientKeySigns(t *testing.T) {
	ec := func(c elliptic.Curve) crypto.Signer {
		key, err := ecdsa.GenerateKey(c, rand.Reader)
		require.NoError(t, err)
		return key
	}
	ed := josetest.NewKey("Ed25519").Signer
	for _, c := range []struct {
		signer     crypto.Signer
		given, alg string
	}{
		{ec(elliptic.P256()), "", "ES256"}, {ec(elliptic.P384()), "", "ES384"}, {ec(elliptic.P521()), "", "ES512"},
		{ed, "", "EdDSA"}, {ed, "Ed25519", "Ed25519"}, {ec(elliptic.P256()), "ES256", "ES256"},
		{rsaClientKey(), "", "PS256"}, {rsaClientKey(), "PS384", "PS384"}, {rsaClientKey(), "PS512", "PS512"},
		{rsaClientKey(), "RS256", "RS256"}, {rsaClientKey(), "RS384", "RS384"}, {rsaClientKey(), "RS512", "RS512"},
	} {
		t.Run(c.alg, func(t *testing.T) {
			keys := newClientKeys(t, clientauth.Key{Signer: c.signer, Algorithm: c.given})
			ids, public := published(t, keys)
			require.Equal(t, []string{josetest.FromSigner(c.alg, c.signer).Thumbprint()}, ids)
			require.Equal(t, c.alg, public[0].Algorithm)
			for range 8 { // R and S have a leading zero now and then
				jwt := sent(t, clientauth.PrivateKeyJWT("api", keys)).Form.Get("client_assertion")
				m, err := jose.Parse(jwt, 8<<10)
				require.NoError(t, err)
				require.Equal(t, c.alg, m.Header.Algorithm)
				require.Equal(t, ids[0], m.Header.KeyID)
				require.NoError(t, m.Verify(public[0].Public))
			}
		})
	}
}

func TestClientKeysPublishPublicMembersOnly(t *testing.T) {
	for _, signer := range []crypto.Signer{josetest.NewKey("ES256").Signer, josetest.NewKey("EdDSA").Signer, rsaClientKey()} {
		keys := newClientKeys(t, clientauth.Key{Signer: signer, KeyID: "k"})
		srv := httptest.NewServer(keys)
		defer srv.Close()
		res, err := http.Get(srv.URL)
		require.NoError(t, err)
		defer res.Body.Close()
		body, err := io.ReadAll(res.Body)
		require.NoError(t, err)
		require.Equal(t, "application/jwk-set+json", res.Header.Get("Content-Type"))
		require.Equal(t, "public, max-age=300", res.Header.Get("Cache-Control"))
		var set struct{ Keys []map[string]any }
		require.NoError(t, json.Unmarshal(body, &set))
		want := josetest.FromSigner("", signer).JWK()
		want["kid"], want["use"], want["alg"] = "k", "sig", set.Keys[0]["alg"]
		require.Equal(t, []map[string]any{want}, set.Keys)

		head, err := http.Head(srv.URL)
		require.NoError(t, err)
		require.Equal(t, int64(len(body)), head.ContentLength)
		for _, method := range []string{"POST", "PUT", "DELETE", "OPTIONS", "get"} {
			w := httptest.NewRecorder()
			keys.ServeHTTP(w, httptest.NewRequest(method, "/", nil))
			require.Equal(t, 405, w.Code)
			require.Equal(t, "GET, HEAD", w.Header().Get("Allow"))
		}
	}
}

func TestClientKeysRotate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		key := func(id string) clientauth.Key {
			return clientauth.Key{Signer: josetest.NewKey("ES256").Signer, KeyID: id}
		}
		keys := newClientKeys(t, key("2"), key("1"))
		auth := clientauth.PrivateKeyJWT("api", keys)
		state := func() (signs, shows string) {
			ids, _ := published(t, keys)
			kid := part(t, sent(t, auth).Form.Get("client_assertion"), 0)["kid"]
			return kid.(string), strings.Join(ids, " ")
		}
		require := func(signs, shows, why string) {
			t.Helper()
			if s, p := state(); s != signs || p != shows {
				t.Errorf("%s: %s signs, %s are published; not %s and %s", why, s, p, signs, shows)
			}
		}
		require("2", "2 1", "current and previous")
		if err := keys.Rotate(key("3"), 5*time.Minute); err != nil {
			t.Fatal(err)
		}
		require("2", "3 2 1", "the next key is published before it signs")
		time.Sleep(5*time.Minute - 1)
		require("2", "3 2 1", "until the end of the lead")
		time.Sleep(time.Nanosecond)
		require("3", "3 2", "then it signs, and the oldest is forgotten")
		_ = keys.Rotate(key("4"), time.Hour)
		_ = keys.Rotate(key("5"), time.Minute)
		require("3", "5 3 2", "a waiting key is replaced")
		time.Sleep(time.Minute)
		require("5", "5 3", "by the one that came after it")
		_ = keys.Rotate(key("6"), 0)
		require("6", "6 5", "without a lead it signs at once")
		if !keys.Withdraw() || keys.Withdraw() {
			t.Error("there was one key to withdraw")
		}
		require("6", "6", "a withdrawn key is not published")
		for _, bad := range []error{
			keys.Rotate(key("6"), 0), keys.Rotate(clientauth.Key{}, 0), keys.Rotate(key("7"), -1),
		} {
			if bad == nil {
				t.Error("a mistake went unreported")
			}
		}
		require("6", "6", "a mistake changes nothing")
	})
}

// service is a key service: it signs, and what it returns can be anything.
type service struct {
	public crypto.PublicKey
	sign   func(digest []byte) ([]byte, error)
}

func (s service) Public() crypto.PublicKey { return s.public }
func (s service) Sign(_ io.Reader, digest []byte, _ crypto.SignerOpts) ([]byte, error) {
	return s.sign(digest)
}

func TestKeyServices(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	t.Run("one that works", func(t *testing.T) {
		keys := newClientKeys(t, clientauth.Key{Signer: service{key.Public(), func(digest []byte) ([]byte, error) {
			return ecdsa.SignASN1(rand.Reader, key, digest)
		}}})
		_, public := published(t, keys)
		m, err := jose.Parse(sent(t, clientauth.PrivateKeyJWT("api", keys)).Form.Get("client_assertion"), 8<<10)
		require.NoError(t, err)
		require.NoError(t, m.Verify(public[0].Public))
	})
	der := func(r, s *big.Int) []byte {
		b, err := asn1.Marshal(struct{ R, S *big.Int }{r, s})
		require.NoError(t, err)
		return b
	}
	huge := new(big.Int).Lsh(big.NewInt(1), 256)
	for name, signature := range map[string][]byte{
		"nothing": nil, "not ASN.1": make([]byte, 64), "a zero": der(big.NewInt(0), big.NewInt(1)),
		"a negative number": der(big.NewInt(1), big.NewInt(-1)), "too wide a number": der(huge, big.NewInt(1)),
		"something behind": append(der(big.NewInt(1), big.NewInt(1)), 0),
	} {
		t.Run("one that returns "+name, func(t *testing.T) {
			keys := newClientKeys(t, clientauth.Key{Signer: service{key.Public(), func([]byte) ([]byte, error) { return signature, nil }}})
			as := issuertest.New()
			as.Introspect = issuertest.Saying(issuertest.GoodAnswer())
			_, err := issuertest.NewIntrospectorAs(t, as, clientauth.PrivateKeyJWT("api", keys)).VerifyToken(t.Context(), "opaque")
			issuertest.RequireOutage(t, err)
			require.ErrorContains(t, err, "signer: returned")
			require.Empty(t, as.Asked())
		})
	}
	t.Run("one that is down", func(t *testing.T) {
		down := errors.New("the key service is down")
		keys := newClientKeys(t, clientauth.Key{Signer: service{key.Public(), func([]byte) ([]byte, error) { return nil, down }}})
		as := issuertest.New()
		_, err := issuertest.NewIntrospectorAs(t, as, clientauth.PrivateKeyJWT("api", keys)).VerifyToken(t.Context(), "opaque")
		require.ErrorIs(t, err, down)
		issuertest.RequireOutage(t, err)
	})
}

func TestMistakesInClientKeys(t *testing.T) {
	p224, err := ecdsa.GenerateKey(elliptic.P224(), rand.Reader)
	require.NoError(t, err)
	weak := &rsa.PublicKey{N: new(big.Int).Lsh(big.NewInt(1), 2046), E: 65537}
	good := clientauth.Key{Signer: josetest.NewKey("ES256").Signer}
	for name, c := range map[string]struct {
		current  clientauth.Key
		previous []clientauth.Key
	}{
		"no signer":               {clientauth.Key{}, nil},
		"a curve of no algorithm": {clientauth.Key{Signer: p224}, nil},
		"an RSA key of 2047 bits": {clientauth.Key{Signer: service{public: weak}}, nil},
		"no public key":           {clientauth.Key{Signer: service{}}, nil},
		"another key's algorithm": {clientauth.Key{Signer: good.Signer, Algorithm: "ES384"}, nil},
		"a MAC":                   {clientauth.Key{Signer: good.Signer, Algorithm: "HS256"}, nil},
		"a bad previous key":      {good, []clientauth.Key{{}}},
		"the same key twice":      {good, []clientauth.Key{good}},
		"an empty list of keys":   {good, []clientauth.Key{}},
	} {
		var opts []clientauth.KeysOption
		if c.previous != nil {
			opts = append(opts, clientauth.WithPreviousKeys(c.previous...))
		}
		_, err := clientauth.NewKeys(c.current, opts...)
		require.ErrorContains(t, err, "clientauth: ", name)
	}
}

package oidc_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"net/http"
	"strings"
	"testing"

	"github.com/keybound-go/middleware/oidc"
	"github.com/keybound-go/middleware/oidc/oidctest"
	"github.com/stretchr/testify/require"
)

const otherIdentifier = "https://other.example"

func newVerifiers(t testing.TB, vs ...*oidc.Verifier) *oidc.Verifiers {
	t.Helper()
	s, err := oidc.AnyOf(vs...)
	require.NoError(t, err)
	return s
}

func TestEachIssuerHasItsOwnKeys(t *testing.T) {
	a, b := newIssuer(t), oidctest.NewIssuer(t, oidctest.InMemory(otherIdentifier)) // both publish key-1
	s := newVerifiers(t, newVerifier(t, a), newVerifier(t, b))
	for range 2 {
		for _, issuer := range []*oidctest.Issuer{a, b} {
			token, err := verifyToken(t, s, issuer.Token())
			require.NoError(t, err)
			require.Equal(t, issuer.URL, token.Issuer)
		}
	}
	t.Run("AT-X-02 a token of A that says it is from B", func(t *testing.T) {
		_, err := verifyToken(t, s, a.Token(oidctest.Claim("iss", b.URL)))
		requireKind(t, oidc.ErrSignature, err)
	})
	t.Run("AT-X-02 a kid that only A has, in a token for B", func(t *testing.T) {
		a.Rotate()
		_, err := verifyToken(t, s, a.Token())
		require.NoError(t, err)
		_, err = verifyToken(t, s, a.Token(oidctest.Claim("iss", b.URL)))
		requireKind(t, oidc.ErrNoKey, err)
	})
	t.Run("AT-X-02 cached for A is not cached for B", func(t *testing.T) {
		raw := a.Token()
		_, err := verifyToken(t, s, raw)
		require.NoError(t, err)
		_, err = verifyToken(t, newVerifiers(t, newVerifier(t, b)), raw)
		requireKind(t, oidc.ErrIssuer, err)
	})
	t.Run("AT-4-03 an unknown issuer", func(t *testing.T) {
		for _, iss := range []any{otherIdentifier + "/", "", nil} {
			_, err := verifyToken(t, s, a.Token(oidctest.Claim("iss", iss)))
			requireKind(t, oidc.ErrIssuer, err)
		}
		_, err := verifyToken(t, s, a.Token(oidctest.Claim("iss", []string{b.URL})))
		requireKind(t, oidc.ErrClaims, err)
		_, err = verifyToken(t, s, a.Token(oidctest.Without("iss")))
		requireKind(t, oidc.ErrIssuer, err)
	})
	t.Run("AT-4-02 and other forms", func(t *testing.T) {
		_, err := verifyToken(t, s, a.Token()+".A.A")
		requireKind(t, oidc.ErrEncrypted, err)
		_, err = verifyToken(t, s, strings.Repeat("x", 16<<10+1))
		requireKind(t, oidc.ErrTooLarge, err)
	})
}

func TestIssuersThatShareAKeySetAreKeptApart(t *testing.T) {
	a, b := newIssuer(t), oidctest.NewIssuer(t, oidctest.InMemory(otherIdentifier))
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	a.SignWith("ES256", key)
	b.SignWith("ES256", key)
	client := &http.Client{Transport: both{a, b}}
	newShared := func(issuer *oidctest.Issuer, audience string) *oidc.Verifier {
		v, err := oidc.New(issuer.URL, audience, oidc.WithHTTPClient(client), oidc.WithJWKSURI(a.Endpoint(oidctest.KeySet)))
		require.NoError(t, err)
		t.Cleanup(func() { _ = v.Close() })
		return v
	}
	s := newVerifiers(t, newShared(a, "https://a.example"), newShared(b, "https://b.example"))
	for name, tc := range map[string]struct {
		raw  string
		want error
	}{
		"AT-X-02 A's for A":                    {a.Token(oidctest.Claim("aud", "https://a.example")), nil},
		"AT-X-02 B's for B":                    {b.Token(oidctest.Claim("aud", "https://b.example")), nil},
		"AT-X-02 A's with the audience of B's": {a.Token(oidctest.Claim("aud", "https://b.example")), oidc.ErrAudience},
		"AT-X-02 B's with the audience of A's": {b.Token(oidctest.Claim("aud", "https://a.example")), oidc.ErrAudience},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := verifyToken(t, s, tc.raw)
			requireKind(t, tc.want, err)
		})
	}
}

// both is a network with two issuers.
type both struct{ a, b *oidctest.Issuer }

func (n both) RoundTrip(r *http.Request) (*http.Response, error) {
	if strings.HasPrefix(otherIdentifier, "https://"+r.URL.Host) {
		return n.b.Client().Transport.RoundTrip(r)
	}
	return n.a.Client().Transport.RoundTrip(r)
}

func TestEachIssuerHasItsOwnRules(t *testing.T) {
	a, b := newIssuer(t), oidctest.NewIssuer(t, oidctest.InMemory(otherIdentifier))
	s := newVerifiers(t,
		newVerifier(t, a, oidc.WithProfile(oidc.Keycloak), oidc.WithMaxTokenSize(4096)),
		newVerifier(t, b, oidc.WithAlgorithms("PS256")))
	_, err := verifyToken(t, s, a.Token(oidctest.Keycloak()))
	require.NoError(t, err)
	_, err = verifyToken(t, s, b.Token(oidctest.Keycloak()))
	requireKind(t, oidc.ErrTypeJWT, err)
	_, err = verifyToken(t, s, b.Token())
	requireKind(t, oidc.ErrAlgorithm, err)
	long := oidctest.Claim("padding", strings.Repeat("x", 4096))
	_, err = verifyToken(t, s, a.Token(oidctest.Keycloak(), long))
	requireKind(t, oidc.ErrTooLarge, err)
}

func TestAnyOfReportsEveryMistake(t *testing.T) {
	a := newIssuer(t)
	keys := &static{key: a.PublicKey()}
	v := newStaticVerifier(t, a, keys)
	other, err := oidc.New(otherIdentifier, oidctest.Audience, oidc.WithKeys(keys, nil))
	require.NoError(t, err)
	_, err = oidc.AnyOf(v, nil, &oidc.Verifier{}, newVerifier(t, a), other)
	require.EqualError(t, err, strings.Join([]string{
		"oidc: AnyOf: Verifier 2 was not made by New",
		"oidc: AnyOf: Verifier 3 was not made by New",
		"oidc: AnyOf: Verifier 4 is of https://issuer.example/realms/main again",
		"oidc: AnyOf: Verifier 5 of https://other.example has the key source of https://issuer.example/realms/main",
	}, "\n"))
	_, err = oidc.AnyOf()
	require.EqualError(t, err, "oidc: AnyOf needs at least one Verifier")

	one, err := oidc.New(otherIdentifier, oidctest.Audience, oidc.WithKeys(list{}, nil))
	require.NoError(t, err)
	_, err = oidc.AnyOf(newStaticVerifier(t, a, list{}), one) // cannot be compared
	require.NoError(t, err)
}

func TestZeroIssuersAcceptNothing(t *testing.T) {
	raw := newIssuer(t).Token()
	for _, s := range []*oidc.Verifiers{nil, {}} {
		_, err := verifyToken(t, s, raw)
		requireOurs(t, err)
		require.NoError(t, s.Close())
	}
}

func TestIssuersPrefetchAndClose(t *testing.T) {
	a, b := newIssuer(t), oidctest.NewIssuer(t, oidctest.InMemory(otherIdentifier))
	s := newVerifiers(t, newVerifier(t, a), newVerifier(t, b))
	b.SetDown(true)
	requireOurs(t, s.Prefetch(t.Context()))
	require.Equal(t, 1, a.Fetches(oidctest.KeySet))
	_, err := verifyToken(t, s, a.Token())
	require.NoError(t, err, "one issuer's outage is no matter to the other's tokens")
	require.NoError(t, s.Close())
}

// So many tokens that some of different issuers are bound to be guessed wrong.
func TestAKnownTokenIsFoundWhateverIsGuessed(t *testing.T) {
	const tokens = 300
	a, b := newIssuer(t), oidctest.NewIssuer(t, oidctest.InMemory(otherIdentifier))
	keysA, keysB := &static{key: a.PublicKey()}, &static{key: b.PublicKey()}
	s := newVerifiers(t, newStaticVerifier(t, a, keysA), newStaticVerifier(t, b, keysB))
	var all []string
	for range tokens {
		all = append(all, a.Token(), b.Token())
	}
	for range 3 {
		for i, raw := range all {
			token, err := verifyToken(t, s, raw)
			require.NoError(t, err)
			require.Equal(t, []string{a.URL, b.URL}[i%2], token.Issuer)
		}
	}
	require.EqualValues(t, tokens, keysA.lookups.Load())
	require.EqualValues(t, tokens, keysB.lookups.Load())
	keysA.gone.Store(true)
	for i, raw := range all {
		if _, err := verifyToken(t, s, raw); i%2 == 0 {
			requireKind(t, oidc.ErrNoKey, err)
		} else {
			require.NoError(t, err)
		}
	}
}

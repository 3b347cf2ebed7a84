package oidc_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keybound-go/middleware/internal/josetest"
	"github.com/keybound-go/middleware/oidc"
	"github.com/keybound-go/middleware/oidc/oidctest"
	"github.com/stretchr/testify/require"
)

var rsaKey = sync.OnceValue(func() *rsa.PrivateKey {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return key
})

func TestGoodTokenSaysWhatItSays(t *testing.T) {
	issuer := newIssuer(t)
	v := newVerifier(t, issuer)
	raw := issuer.Token(
		oidctest.Scope("orders:read", "orders:write"),
		oidctest.BoundToKey(thumb('a')),
		oidctest.Claim("iat", 1_000_000_000),
		oidctest.Claim("exp", 5_000_000_000),
		oidctest.Claim("jti", "id-1"),
	)
	for range 2 { // the second from the cache
		token, err := verifyToken(t, v, raw)
		require.NoError(t, err)
		require.Equal(t, identifier, token.Issuer)
		require.Equal(t, "user-1", token.Subject)
		require.Equal(t, "client", token.ClientID)
		require.Equal(t, "id-1", token.ID)
		require.Equal(t, []string{oidctest.Audience}, token.Audience)
		require.Equal(t, []string{"orders:read", "orders:write"}, token.Scopes)
		require.Equal(t, time.Unix(1_000_000_000, 0).UTC(), token.IssuedAt)
		require.Equal(t, time.Unix(5_000_000_000, 0).UTC(), token.Expiry)
		require.Equal(t, oidc.Confirmation{JKT: thumb('a')}, token.Confirmation)
		require.False(t, token.SubjectIsClient())
	}
}

func TestZeroVerifierAcceptsNothing(t *testing.T) {
	raw := newIssuer(t).Token()
	for _, v := range []*oidc.Verifier{nil, {}} {
		_, err := verifyToken(t, v, raw)
		require.Error(t, err)
		require.Empty(t, code(err))
		require.Error(t, v.Prefetch(t.Context()))
		require.NoError(t, v.Close())
	}
}

func TestType(t *testing.T) {
	issuer := newIssuer(t)
	v := newVerifier(t, issuer)
	for name, tc := range map[string]struct {
		typ  any
		want error
	}{
		"AT-4-01 at+jwt":                                    {"at+jwt", nil},
		"AT-4-01 application/at+jwt":                        {"application/at+jwt", nil},
		"AT-4-01 at+JWT, as in RFC 9068, section 3":         {"at+JWT", nil},
		"AT-4-01 Application/AT+JWT":                        {"Application/AT+JWT", nil},
		"AT-4-01 absent":                                    {nil, oidc.ErrTypeJWT},
		"AT-4-01 empty":                                     {"", oidc.ErrTypeJWT},
		"AT-4-01 AMB-27 JWT":                                {"JWT", oidc.ErrTypeJWT},
		"AT-4-01 dpop+jwt":                                  {"dpop+jwt", oidc.ErrType},
		"AT-4-01 token-introspection+jwt":                   {"token-introspection+jwt", oidc.ErrType},
		"AT-4-01 a list":                                    {[]string{"at+jwt"}, oidc.ErrMalformed},
		"AT-4-01 a longer type":                             {"at+jwt2", oidc.ErrType},
		"AT-4-01 two prefixes":                              {"application/application/at+jwt", oidc.ErrType},
		"AT-4-01 another tree":                              {"text/at+jwt", oidc.ErrType},
		"AT-4-01 white space":                               {" at+jwt", oidc.ErrType},
		"AT-X-01 IJWT-8.1-01 an introspection response":     {"application/token-introspection+jwt", oidc.ErrType},
		"AT-X-01 a logout token":                            {"logout+jwt", oidc.ErrType},
		"AT-X-01 an entity statement":                       {"entity-statement+jwt", oidc.ErrType},
		"AT-X-01 a security event":                          {"secevent+jwt", oidc.ErrType},
		"AT-X-01 a request object":                          {"oauth-authz-req+jwt", oidc.ErrType},
		"AT-X-01 a DPoP proof with the claims of the token": {"DPoP+JWT", oidc.ErrType},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := verifyToken(t, v, issuer.Token(oidctest.Header("typ", tc.typ)))
			requireKind(t, tc.want, err)
		})
	}
}

// requireKind is for kinds of TokenError, which are compared with ==; nil is success.
func requireKind(t testing.TB, want, got error) {
	t.Helper()
	if want == nil {
		require.NoError(t, got)
		return
	}
	require.Truef(t, got == want, "want %v, got %v", want, got)
	if want != oidc.ErrTooLarge {
		require.Equal(t, "invalid_token", code(got)) // AT-4-07
	}
}

func TestClaims(t *testing.T) {
	issuer := newIssuer(t)
	v := newVerifier(t, issuer)
	claim, without := oidctest.Claim, oidctest.Without
	huge := json.RawMessage("1e400")
	for name, tc := range map[string]struct {
		change oidctest.Change
		want   error
	}{
		"AT-4-03 a slash more":            {claim("iss", identifier+"/"), oidc.ErrIssuer},
		"AT-4-03 another case":            {claim("iss", strings.ToUpper(identifier)), oidc.ErrIssuer},
		"AT-4-03 a prefix of ours":        {claim("iss", identifier[:len(identifier)-1]), oidc.ErrIssuer},
		"AT-4-03 ours is a prefix":        {claim("iss", identifier+"x"), oidc.ErrIssuer},
		"AT-4-03 a list":                  {claim("iss", []string{identifier}), oidc.ErrClaims},
		"AT-4-03 null":                    {claim("iss", nil), oidc.ErrIssuer},
		"AT-4-03 the default port":        {claim("iss", "https://issuer.example:443/realms/main"), oidc.ErrIssuer},
		"AT-4-04 a string":                {claim("aud", oidctest.Audience), nil},
		"AT-4-04 a list with ours":        {claim("aud", []string{"https://other.example", oidctest.Audience}), nil},
		"AT-4-04 a list without ours":     {claim("aud", []string{"https://other.example"}), oidc.ErrAudience},
		"AT-4-04 BCP9700-2.3 another":     {claim("aud", "https://other.example"), oidc.ErrAudience},
		"AT-4-04 absent":                  {without("aud"), oidc.ErrAudience},
		"AT-4-04 null":                    {claim("aud", nil), oidc.ErrAudience},
		"AT-4-04 empty":                   {claim("aud", ""), oidc.ErrAudience},
		"AT-4-04 empty list":              {claim("aud", []string{}), oidc.ErrAudience},
		"AT-4-04 nested list":             {claim("aud", [][]string{{oidctest.Audience}}), oidc.ErrClaims},
		"AT-4-04 null beside ours":        {claim("aud", []any{nil, oidctest.Audience}), oidc.ErrClaims},
		"AT-4-04 a number beside":         {claim("aud", []any{1, oidctest.Audience}), oidc.ErrClaims},
		"AT-4-04 ours within":             {claim("aud", "x"+oidctest.Audience+"x"), oidc.ErrAudience},
		"AT-4-04 space separated":         {claim("aud", "https://other.example "+oidctest.Audience), oidc.ErrAudience},
		"AT-4-04 another case":            {claim("aud", strings.ToUpper(oidctest.Audience)), oidc.ErrAudience},
		"AT-4-04 a slash more":            {claim("aud", oidctest.Audience+"/"), oidc.ErrAudience},
		"AT-4-04 an object":               {claim("aud", map[string]string{"0": oidctest.Audience}), oidc.ErrClaims},
		"AT-4-06 exp a string":            {claim("exp", "5000000000"), oidc.ErrClaims},
		"AT-4-06 exp negative":            {claim("exp", -1), oidc.ErrExpired},
		"AT-4-06 exp 0":                   {claim("exp", 0), oidc.ErrExpired},
		"AT-4-06 exp 1e400":               {claim("exp", huge), oidc.ErrClaims},
		"AT-4-06 exp 1e30":                {claim("exp", json.RawMessage("1e30")), oidc.ErrClaims},
		"AT-4-06 exp the zero Time":       {claim("exp", json.RawMessage("-62135596800")), oidc.ErrClaims},
		"AT-4-06 exp the same as e10":     {claim("exp", json.RawMessage("-6.21355968e10")), oidc.ErrClaims},
		"AT-4-06 exp in the year 1":       {claim("exp", json.RawMessage("-62135596799")), oidc.ErrExpired},
		"AT-4-06 exp true":                {claim("exp", true), oidc.ErrClaims},
		"AT-4-06 exp null":                {claim("exp", nil), oidc.ErrNoExpiry},
		"AT-4-06 exp with a fraction":     {claim("exp", 5000000000.25), nil},
		"AT-4-06 exp as 5e9":              {claim("exp", json.RawMessage("5e9")), nil},
		"AT-4-08 nbf a string":            {claim("nbf", "0"), oidc.ErrClaims},
		"AT-4-08 nbf null":                {claim("nbf", nil), nil},
		"AT-4-08 nbf in the past":         {claim("nbf", 1), nil},
		"AT-4-08 iat a string":            {claim("iat", "1"), oidc.ErrClaims},
		"AT-4-08 B25 iat in milliseconds": {claim("iat", time.Now().UnixMilli()), oidc.ErrIssuedInFuture},
		"AT-4-08 B25 nbf in milliseconds": {claim("nbf", time.Now().UnixMilli()), oidc.ErrNotYetValid},
		"AT-4-06 exp in milliseconds":     {claim("exp", time.Now().UnixMilli()), oidc.ErrClaims},
		"AT-4-08 iat 1e400":               {claim("iat", huge), oidc.ErrClaims},
		"AT-2.2-01 no iss":                {without("iss"), oidc.ErrIssuer},
		"AT-2.2-01 no exp":                {without("exp"), oidc.ErrNoExpiry},
		"AT-2.2-01 no aud":                {without("aud"), oidc.ErrAudience},
		"AT-2.2-01 no sub":                {without("sub"), oidc.ErrNoSubject},
		"AT-2.2-01 no client_id":          {without("client_id"), oidc.ErrNoClientID},
		"AT-2.2-01 no iat":                {without("iat"), oidc.ErrNoIssuedAt},
		"AT-2.2-01 no jti":                {without("jti"), oidc.ErrNoID},
		"AT-2.2-01 sub empty":             {claim("sub", ""), oidc.ErrNoSubject},
		"AT-2.2-01 sub null":              {claim("sub", nil), oidc.ErrNoSubject},
		"AT-2.2-01 sub a number":          {claim("sub", 1), oidc.ErrClaims},
		"AT-2.2-01 client_id a list":      {claim("client_id", []string{"client"}), oidc.ErrNoClientID},
		"AT-2.2-01 client_id is azp":      {oidctest.Rename("client_id", "azp"), oidc.ErrNoClientID},
		"AT-2.2-01 SUB is not sub":        {oidctest.Rename("sub", "SUB"), oidc.ErrNoSubject},
		"AT-2.2-02 scope a list":          {claim("scope", []string{"a", "b"}), oidc.ErrScope},
		"AT-2.2-02 scope null":            {claim("scope", nil), nil},
		"AT-2.2-02 scope a number":        {claim("scope", 7), oidc.ErrScope},
		"unknown claims of any type":      {claim("azp", 7), nil},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := verifyToken(t, v, issuer.Token(tc.change))
			requireKind(t, tc.want, err)
		})
	}
	t.Run("AT-2.2-02 scp is not scope", func(t *testing.T) {
		token, err := verifyToken(t, v, issuer.Token(claim("scp", []string{"admin"})))
		require.NoError(t, err)
		require.Empty(t, token.Scopes)
	})
	t.Run("AT-5-01 an ID token", func(t *testing.T) {
		_, err := verifyToken(t, v, issuer.Token(oidctest.IDToken(oidctest.Audience)))
		requireKind(t, oidc.ErrTypeJWT, err)
	})
	t.Run("AT-5-02 a client that speaks for itself can be told from a user", func(t *testing.T) {
		token, err := verifyToken(t, v, issuer.Token(oidctest.ForClient("user-1")))
		require.NoError(t, err)
		require.Equal(t, "user-1", token.Subject)
		require.True(t, token.SubjectIsClient())
	})
}

func TestTimes(t *testing.T) {
	const second = time.Second
	for name, tc := range map[string]struct {
		skew          time.Duration
		exp, nbf, iat time.Duration // from now
		want          error
	}{
		"AT-4-06 exp is now, no leeway":            {0, 0, 0, 0, oidc.ErrExpired},
		"AT-4-06 exp in a second, no leeway":       {0, second, 0, 0, nil},
		"AT-4-06 exp was a second ago, no leeway":  {0, -second, 0, 0, oidc.ErrExpired},
		"AT-4-06 exp at the end of the leeway":     {30 * second, -30 * second, 0, 0, oidc.ErrExpired},
		"AT-4-06 exp within the leeway":            {30 * second, -29 * second, 0, 0, nil},
		"AT-4-08 nbf is now, no leeway":            {0, 60 * second, 0, 0, nil},
		"AT-4-08 nbf in a second, no leeway":       {0, 60 * second, second, 0, oidc.ErrNotYetValid},
		"AT-4-08 nbf at the end of the leeway":     {30 * second, 60 * second, 30 * second, 0, nil},
		"AT-4-08 nbf beyond the leeway":            {30 * second, 60 * second, 31 * second, 0, oidc.ErrNotYetValid},
		"AT-4-08 iat in a second, no leeway":       {0, 60 * second, 0, second, oidc.ErrIssuedInFuture},
		"AT-4-08 iat at the end of the leeway":     {30 * second, 60 * second, 0, 30 * second, nil},
		"AT-4-08 iat beyond the leeway":            {30 * second, 60 * second, 0, 31 * second, oidc.ErrIssuedInFuture},
		"AT-4-08 iat far in the past is no matter": {0, 60 * second, 0, -time.Hour, nil},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				issuer := newIssuer(t)
				v := newVerifier(t, issuer, oidc.WithSkew(tc.skew))
				at := func(d time.Duration) int64 { return time.Now().Add(d).Unix() }
				_, err := verifyToken(t, v, issuer.Token(
					oidctest.Claim("exp", at(tc.exp)), oidctest.Claim("nbf", at(tc.nbf)), oidctest.Claim("iat", at(tc.iat))))
				requireKind(t, tc.want, err)
				require.NoError(t, v.Close())
			})
		})
	}
}

func TestSignature(t *testing.T) {
	issuer := newIssuer(t, oidctest.WithAlgorithm("ES256"))
	v := newVerifier(t, issuer)
	good := issuer.Token()
	_, err := verifyToken(t, v, good)
	require.NoError(t, err)
	header, payload, _ := strings.Cut(good, ".")
	payload, _, _ = strings.Cut(payload, ".")
	claims, err := base64.RawURLEncoding.DecodeString(payload)
	require.NoError(t, err)

	stranger, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	for name, tc := range map[string]struct {
		raw  string
		want error
	}{
		"AT-4-05 a key of another issuer under our kid": {issuer.Token(oidctest.SignedBy("ES256", stranger)), oidc.ErrSignature},
		"AT-4-05 an unpublished kid":                    {issuer.Token(oidctest.Header("kid", "../../etc/passwd\x00")), oidc.ErrNoKey},
		"AT-4-05 alg none": {josetest.Compact(
			[]byte(`{"alg":"none","typ":"at+jwt"}`), claims, nil), oidc.ErrAlgorithm},
		"AT-4-05 alg None with the good signature": {replaceHeader(good, `{"alg":"None","typ":"at+jwt","kid":"key-1"}`), oidc.ErrAlgorithm},
		"AT-4-05 alg RS256 with an EC key":         {issuer.Token(oidctest.SignedBy("RS256", rsaKey())), oidc.ErrNoKey},
		"AT-4-05 no signature":                     {header + "." + payload + ".", oidc.ErrSignature},
		"AT-4-02 five parts":                       {good + ".AAAA.AAAA", oidc.ErrEncrypted},
		"four parts":                               {good + ".AAAA", oidc.ErrMalformed},
		"two parts":                                {header + "." + payload, oidc.ErrMalformed},
		"nothing":                                  {"", oidc.ErrMalformed},
		"an opaque token":                          {"2YotnFZFEjr1zCsicMWpAA", oidc.ErrMalformed},
		"crit":                                     {replaceHeader(good, `{"alg":"ES256","typ":"at+jwt","crit":["exp"]}`), oidc.ErrCritical},
		"b64 false":                                {replaceHeader(good, `{"alg":"ES256","typ":"at+jwt","b64":false}`), oidc.ErrCritical},
		"two alg members":                          {replaceHeader(good, `{"alg":"ES256","alg":"none","typ":"at+jwt"}`), oidc.ErrMalformed},
		"a claim twice":                            {replacePayload(good, `{"iss":"a","iss":"b"}`), oidc.ErrClaims},
		"claims that are a list":                   {replacePayload(good, `[]`), oidc.ErrClaims},
		"claims nested too deep":                   {replacePayload(good, `{"a":`+strings.Repeat("[", 32)+strings.Repeat("]", 32)+`}`), oidc.ErrTooDeep},
		"other claims under the good signature":    {replacePayload(good, strings.Replace(string(claims), "user-1", "user-2", 1)), oidc.ErrSignature},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := verifyToken(t, v, tc.raw)
			requireKind(t, tc.want, err)
		})
	}
	t.Run("AT-4-05 HS256 with the issuer's RSA key as the secret", func(t *testing.T) {
		rsaIssuer := oidctest.NewIssuer(t, oidctest.InMemory(identifier), oidctest.WithAlgorithm("RS256"))
		v := newVerifier(t, rsaIssuer)
		require.NoError(t, v.Prefetch(t.Context()))
		der, err := x509.MarshalPKIXPublicKey(rsaIssuer.PublicKey())
		require.NoError(t, err)
		secret := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
		input := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"HS256","typ":"at+jwt","kid":"key-1"}`)) + "." + payload
		mac := hmac.New(sha256.New, secret)
		mac.Write([]byte(input))
		_, err = verifyToken(t, v, input+"."+base64.RawURLEncoding.EncodeToString(mac.Sum(nil)))
		requireKind(t, oidc.ErrAlgorithm, err)
	})
}

func replaceHeader(token, header string) string {
	_, rest, _ := strings.Cut(token, ".")
	return base64.RawURLEncoding.EncodeToString([]byte(header)) + "." + rest
}

func replacePayload(token, payload string) string {
	parts := strings.Split(token, ".")
	parts[1] = base64.RawURLEncoding.EncodeToString([]byte(payload))
	return strings.Join(parts, ".")
}

func TestEveryAlgorithmVerifies(t *testing.T) {
	for _, alg := range []string{"ES256", "ES384", "ES512", "PS256", "PS512", "RS256", "RS512", "EdDSA", "Ed25519"} {
		t.Run(alg, func(t *testing.T) {
			issuer := newIssuer(t)
			if strings.Contains(alg, "S") && strings.IndexAny(alg, "PR") == 0 {
				issuer.SignWith(alg, rsaKey())
			} else {
				issuer = newIssuer(t, oidctest.WithAlgorithm(alg))
			}
			_, err := verifyToken(t, newVerifier(t, issuer), issuer.Token())
			require.NoError(t, err)
			_, err = verifyToken(t, newVerifier(t, issuer, oidc.WithAlgorithms("PS384")), issuer.Token())
			requireKind(t, oidc.ErrAlgorithm, err)
		})
	}
}

func TestTooLargeTokensAreNotEvenHashed(t *testing.T) {
	issuer := newIssuer(t)
	v := newVerifier(t, issuer, oidc.WithMaxTokenSize(1024))
	raw := issuer.Token(oidctest.Claim("padding", strings.Repeat("x", 1024)))
	_, err := verifyToken(t, v, raw)
	requireKind(t, oidc.ErrTooLarge, err)
	require.Empty(t, code(err))
	_, err = verifyToken(t, newVerifier(t, issuer), raw)
	require.NoError(t, err)
	_, err = verifyToken(t, newVerifier(t, issuer), strings.Repeat("x", 16<<10+1))
	requireKind(t, oidc.ErrTooLarge, err)
	require.Zero(t, testing.AllocsPerRun(10, func() { _, _ = v.VerifyToken(t.Context(), raw) }))
}

func TestNoTokenWithAFlippedBitPasses(t *testing.T) {
	issuer := newIssuer(t)
	v := newVerifier(t, issuer)
	raw := issuer.Token()
	_, err := verifyToken(t, v, raw)
	require.NoError(t, err)
	for i := range raw {
		for bit := range 8 {
			flipped := []byte(raw)
			flipped[i] ^= 1 << bit
			_, err := v.VerifyToken(t.Context(), string(flipped))
			require.Errorf(t, err, "byte %d, bit %d", i, bit)
			_, isKind := err.(oidc.TokenError)
			require.Truef(t, isKind, "byte %d, bit %d: %v", i, bit, err)
		}
	}
}

// thumb is the canonical thumbprint of 32 equal bytes.
func thumb(b byte) string {
	return base64.RawURLEncoding.EncodeToString([]byte(strings.Repeat(string(b), 32)))
}

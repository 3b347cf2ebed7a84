package oidc_test

import (
	"encoding/base64"
	"encoding/json"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/keybound-go/middleware/oidc"
	"github.com/keybound-go/middleware/oidc/oidctest"
	"github.com/stretchr/testify/require"
)

func TestConfirmation(t *testing.T) {
	a, b := thumb('a'), thumb('b')
	for name, tc := range map[string]struct {
		cnf  string // "" is a token without cnf
		want oidc.Confirmation
		err  error
	}{
		"no cnf":                             {"", oidc.Confirmation{}, nil},
		"jkt":                                {`{"jkt":"` + a + `"}`, oidc.Confirmation{JKT: a}, nil},
		"x5t#S256":                           {`{"x5t#S256":"` + a + `"}`, oidc.Confirmation{X5T: a}, nil},
		"both":                               {`{"jkt":"` + a + `","x5t#S256":"` + b + `"}`, oidc.Confirmation{JKT: a, X5T: b}, nil},
		"AMB-33 an unknown member beside":    {`{"jkt":"` + a + `","kc":{"x":[1]},"jwk":null}`, oidc.Confirmation{JKT: a}, nil},
		"AMB-22 trailing bits":               {`{"jkt":"` + a[:42] + `H"}`, oidc.Confirmation{JKT: thumb('a')}, nil},
		"a name with an escape":              {`{"\u006akt":"` + a + `"}`, oidc.Confirmation{JKT: a}, nil},
		"MTLS-X-02 AMB-17 null":              {`null`, oidc.Confirmation{}, oidc.ErrConfirmation},
		"MTLS-X-02 AMB-17 an empty object":   {`{}`, oidc.Confirmation{}, oidc.ErrConfirmation},
		"MTLS-X-02 AMB-17 a string":          {`"` + a + `"`, oidc.Confirmation{}, oidc.ErrConfirmation},
		"MTLS-X-02 AMB-17 a list":            {`[{"jkt":"` + a + `"}]`, oidc.Confirmation{}, oidc.ErrConfirmation},
		"MTLS-X-02 AMB-17 true":              {`true`, oidc.Confirmation{}, oidc.ErrConfirmation},
		"MTLS-X-02 AMB-17 kid only":          {`{"kid":"1"}`, oidc.Confirmation{}, oidc.ErrConfirmation},
		"MTLS-X-02 AMB-17 jwk only":          {`{"jwk":{}}`, oidc.Confirmation{}, oidc.ErrConfirmation},
		"MTLS-X-02 AMB-17 jku only":          {`{"jku":"https://issuer.example"}`, oidc.Confirmation{}, oidc.ErrConfirmation},
		"MTLS-X-02 JKT is not jkt":           {`{"JKT":"` + a + `"}`, oidc.Confirmation{}, oidc.ErrConfirmation},
		"MTLS-X-02 x5t#s256 is not x5t#S256": {`{"x5t#s256":"` + a + `"}`, oidc.Confirmation{}, oidc.ErrConfirmation},
		"jkt null":                           {`{"jkt":null}`, oidc.Confirmation{}, oidc.ErrConfirmation},
		"jkt null beside a good x5t#S256":    {`{"jkt":null,"x5t#S256":"` + a + `"}`, oidc.Confirmation{}, oidc.ErrConfirmation},
		"jkt empty beside a good x5t#S256":   {`{"jkt":"","x5t#S256":"` + a + `"}`, oidc.Confirmation{}, oidc.ErrConfirmation},
		"jkt a number":                       {`{"jkt":1}`, oidc.Confirmation{}, oidc.ErrConfirmation},
		"jkt a list":                         {`{"jkt":["` + a + `"]}`, oidc.Confirmation{}, oidc.ErrConfirmation},
		"jkt too short":                      {`{"jkt":"` + a[:42] + `"}`, oidc.Confirmation{}, oidc.ErrConfirmation},
		"jkt too long":                       {`{"jkt":"` + a + `A"}`, oidc.Confirmation{}, oidc.ErrConfirmation},
		"jkt padded":                         {`{"jkt":"` + a + `="}`, oidc.Confirmation{}, oidc.ErrConfirmation},
		"jkt padded, 43 characters":          {`{"jkt":"` + a[:42] + `="}`, oidc.Confirmation{}, oidc.ErrConfirmation},
		"jkt with a space":                   {`{"jkt":" ` + a[:42] + `"}`, oidc.Confirmation{}, oidc.ErrConfirmation},
		"jkt with a newline, 43 characters":  {`{"jkt":"` + a[:42] + `\n"}`, oidc.Confirmation{}, oidc.ErrConfirmation},
		"jkt with a newline, 44 characters":  {`{"jkt":"` + a + `\n"}`, oidc.Confirmation{}, oidc.ErrConfirmation},
		"jkt in base64":                      {`{"jkt":"` + a[:42] + `+"}`, oidc.Confirmation{}, oidc.ErrConfirmation},
		"jkt in hex":                         {`{"jkt":"` + strings.Repeat("61", 32) + `"}`, oidc.Confirmation{}, oidc.ErrConfirmation},
		"jkt twice":                          {`{"jkt":"` + a + `","jkt":"` + a + `"}`, oidc.Confirmation{}, oidc.ErrClaims},
	} {
		t.Run(name, func(t *testing.T) {
			claims := `{"sub":"s"}`
			if tc.cnf != "" {
				claims = `{"sub":"s","cnf":` + tc.cnf + `}`
			}
			token, err := oidc.TokenFromClaims([]byte(claims))
			requireKind(t, tc.err, err)
			if err == nil {
				require.Equal(t, tc.want, token.Confirmation)
				require.Equal(t, tc.want != oidc.Confirmation{}, token.Confirmation.Bound())
			}
		})
	}
}

func TestVectorsOfConfirmation(t *testing.T) {
	raw, err := os.ReadFile("testdata/cnf.json")
	require.NoError(t, err)
	var vectors []struct {
		ID     string          `json:"id"`
		Claims json.RawMessage `json:"claims"`
		JKT    string          `json:"jkt"`
		X5T    string          `json:"x5t#S256"`
	}
	require.NoError(t, json.Unmarshal(raw, &vectors))
	require.NotEmpty(t, vectors)
	for _, vector := range vectors {
		t.Run("MTLS-3.1-02 "+vector.ID, func(t *testing.T) {
			token, err := oidc.TokenFromClaims(vector.Claims)
			require.NoError(t, err)
			requireSameOctets(t, vector.JKT, token.Confirmation.JKT)
			requireSameOctets(t, vector.X5T, token.Confirmation.X5T)
		})
	}
}

func requireSameOctets(t *testing.T, loose, canonical string) {
	t.Helper()
	want, err := base64.RawURLEncoding.DecodeString(loose)
	require.NoError(t, err)
	got, err := base64.RawURLEncoding.Strict().DecodeString(canonical)
	require.NoError(t, err)
	require.Equal(t, want, got)
}

func TestTokenFromClaimsChecksShapesOnly(t *testing.T) {
	claims := []byte(`{"iss":"i","exp":1,"aud":"a"}`)
	token, err := oidc.TokenFromClaims(claims)
	require.NoError(t, err)
	require.Equal(t, "i", token.Issuer)
	require.Equal(t, time.Unix(1, 0).UTC(), token.Expiry)
	require.True(t, token.IssuedAt.IsZero())
	clear(claims) // it is the caller's
	var all map[string]any
	require.NoError(t, token.Claims(&all))
	require.Equal(t, map[string]any{"iss": "i", "exp": 1.0, "aud": "a"}, all)

	for _, broken := range []string{"", "null", "[]", `"x"`, "{", `{"a":1,"a":2}`, `{"a":"\ud800"}`, "{} {}", "{\"a\":\"\xff\"}"} {
		_, err := oidc.TokenFromClaims([]byte(broken))
		requireKind(t, oidc.ErrClaims, err)
	}
}

func TestClaimFollowsAPath(t *testing.T) {
	token, err := oidc.TokenFromClaims([]byte(`{
		"acr": "gold", "age": 18.50, "admin": true, "off": false, "none": null, "empty": [], "text": "",
		"groups": ["a", 7, true, null, {"x": 1}, ["y"], "b c"],
		"realm_access": {"roles": ["user", "admin"]},
		"https://example.com/roles": "r.1",
		"big": 12345678901234567890
	}`))
	require.NoError(t, err)
	for _, tc := range []struct {
		path []string
		want []string
		ok   bool
	}{
		{[]string{"acr"}, []string{"gold"}, true},
		{[]string{"text"}, []string{""}, true},
		{[]string{"age"}, []string{"18.50"}, true},
		{[]string{"big"}, []string{"12345678901234567890"}, true},
		{[]string{"admin"}, []string{"true"}, true},
		{[]string{"off"}, []string{"false"}, true},
		{[]string{"groups"}, []string{"a", "7", "true", "b c"}, true},
		{[]string{"empty"}, []string{}, true},
		{[]string{"realm_access", "roles"}, []string{"user", "admin"}, true},
		{[]string{"https://example.com/roles"}, []string{"r.1"}, true},
		{[]string{"none"}, nil, false},
		{[]string{"ACR"}, nil, false},
		{[]string{"missing"}, nil, false},
		{[]string{"realm_access"}, nil, false},
		{[]string{"realm_access.roles"}, nil, false},
		{[]string{"realm_access", "roles", "0"}, nil, false},
		{[]string{"acr", ""}, nil, false},
		{nil, nil, false},
	} {
		values, ok := token.Claim(tc.path...)
		require.Equal(t, tc.ok, ok, "%q", tc.path)
		require.Equal(t, tc.want, values, "%q", tc.path)
	}
}

func TestClaimsOfTheZeroToken(t *testing.T) {
	var token oidc.Token
	require.Error(t, token.Claims(new(any)))
	_, ok := token.Claim("iss")
	require.False(t, ok)
	require.False(t, token.SubjectIsClient())
}

func TestClaimMayBeCalledConcurrently(t *testing.T) {
	issuer := newIssuer(t)
	v := newVerifier(t, issuer)
	raw := issuer.Token()
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			token, err := v.VerifyToken(t.Context(), raw)
			if err != nil {
				t.Error(err)
				return
			}
			if values, ok := token.Claim("sub"); !ok || values[0] != "user-1" {
				t.Errorf("sub is %q", values)
			}
		})
	}
	wg.Wait()
}

func TestEachCallerHasATokenOfItsOwn(t *testing.T) {
	issuer := newIssuer(t)
	v := newVerifier(t, issuer)
	raw := issuer.Token(oidctest.BoundToKey(thumb('a')))
	for range 3 {
		token, err := v.VerifyToken(t.Context(), raw)
		require.NoError(t, err)
		require.Equal(t, "user-1", token.Subject)
		require.Equal(t, thumb('a'), token.Confirmation.JKT)
		token.Subject, token.Confirmation = "another subject", oidc.Confirmation{}
	}
}

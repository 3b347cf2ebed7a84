package middleware

import (
	"encoding/base64"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/keybound-go/middleware/internal/headers"
)

// queryTokenByParts is hasQueryToken as one would write it without regard for cost.
func queryTokenByParts(query string) bool {
	for _, pair := range strings.FieldsFunc(query, func(c rune) bool { return c == '&' || c == ';' }) {
		name, _, _ := strings.Cut(pair, "=")
		if decoded, err := url.QueryUnescape(name); err == nil && decoded == "access_token" {
			return true
		}
	}
	return false
}

// AUTH-08: what a form decoder would take for the parameter is found, and nothing else.
func FuzzQuery(f *testing.F) {
	for _, seed := range []string{
		"", "access_token", "access_token&a=1", "access_t*6Fken=x", "access_t%7Fken=x", "access_token=x", "a=1&access_token=x", "a=1;access_token=x", "%61ccess_token=x", "access%5Ftoken=x", "access%5ftoken",
		"%61%63%63%65%73%73%5f%74%6f%6b%65%6e=x", "xaccess_token=x", "access_tokens=x", "a=access_token", "access_token%3dx", "access%255ftoken=x",
		"access_token%=x", "%access_token", "access_toke%6E;", "access%5", "s_t", "acces%73_%74oken", "acces%5s_token", "=access_token", "access__token", "Access_token",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, query string) {
		require.Equal(t, queryTokenByParts(query), hasQueryToken(query), "%q", query)
	})
}

// What is taken for credentials is a token68 of the field, whole and unchanged; Basic
// ones are its decoding, cut at the first colon.
func FuzzAuthorization(f *testing.F) {
	for _, seed := range []string{
		"", "DPoP", "DPoP x", "Bearer a.b-c_d~e+f/g==", "bearer  x", "Bearer\tx", "Bearer x y", "Bearer x,", "Negotiate YII=", "Bearer é", "DPoPx y",
		"Basic dTpw", "Basic dTpwOnE=", "Basic dQ==", "Basic !", "BASIC dTpw", "Basic dTp3", "Basic Og==",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, field string) {
		s, raw, err := readAuthorization([]string{field})
		if err != nil {
			require.Empty(t, raw)
			return
		}
		require.NotEqual(t, noScheme, s)
		require.True(t, headers.IsToken68(raw))
		require.True(t, strings.HasSuffix(field, " "+raw))
		require.True(t, strings.EqualFold(strings.TrimRight(strings.TrimSuffix(field, raw), " "), s.String()))
		_, _, err = readAuthorization([]string{field, field})
		require.Equal(t, ErrSeveralTokens, err)
	})
}

func FuzzBasic(f *testing.F) {
	for _, seed := range []string{"", "dTpw", "dTpwOnE=", "dQ==", "!", "Og==", "dTpw\n", "dTp=", "dTpwx"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, credentials string) {
		id, secret, err := splitBasic(credentials)
		if err != nil {
			require.Equal(t, ErrMalformedAuthorization, err)
			require.Empty(t, id+secret)
			return
		}
		require.NotContains(t, id, ":")
		decoded, err := base64.StdEncoding.DecodeString(credentials)
		require.NoError(t, err)
		require.Equal(t, string(decoded), id+":"+secret)
	})
}

// R6: whatever stands in a query, looking through it allocates nothing.
func TestAQueryIsSearchedWithoutAllocations(t *testing.T) {
	for _, unit := range []string{"%&", "%61&", "access_toke&", "%61ccess%5Ftoke;", "_", "s_t", ";"} {
		query := strings.Repeat(unit, 1000)
		require.Zero(t, testing.AllocsPerRun(10, func() {
			if hasQueryToken(query) {
				panic(unit)
			}
		}), unit)
	}
}

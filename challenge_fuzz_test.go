package middleware_test

import (
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/keybound-go/middleware"
	"github.com/keybound-go/middleware/dpop"
	"github.com/keybound-go/middleware/oidc"
	"github.com/keybound-go/middleware/oidc/oidctest"
)

// The grammar of RFC 9110, sections 5.6.2, 5.6.4 and 11.2, as a challenge of ours uses it.
var (
	quotedString   = `"((?:[\t !#-\[\]-~]|\\[\t -~])*)"`
	challengeLine  = regexp.MustCompile(`^(DPoP|Bearer) ([a-z_]+=` + quotedString + `(?:, [a-z_]+=` + quotedString + `)*)$`)
	challengeParam = regexp.MustCompile(`([a-z_]+)=` + quotedString)
	quotedPair     = regexp.MustCompile(`\\(.)`)
)

// FuzzRealm: whatever realm and scope the operator gives, New refuses them, or every
// challenge is one of the grammar, with that realm and that scope.
func FuzzRealm(f *testing.F) {
	for _, realm := range []string{"api", `a "b" \c`, `\`, `"`, `", error="x`, "a\r\nb", "é", "\x7f", "", "a,b=c", strings.Repeat(`\"`, 50)} {
		f.Add(realm, "read")
	}
	f.Add("api", `a"b`)
	f.Add("api", "a b")
	f.Add("api", `a\`)
	issuer := oidctest.NewIssuer(f, oidctest.InMemory("https://issuer.example"))
	token := issuer.Token(oidctest.Claim("scope", "nothing"))
	f.Fuzz(func(t *testing.T, realm, scope string) {
		g, err := middleware.New(
			middleware.WithTokens(oidc.New(issuer.URL, oidctest.Audience, oidc.WithHTTPClient(issuer.Client()))),
			middleware.WithDPoP(dpop.New("https://api.example")), middleware.AllowUnbound(),
			middleware.WithRealm(realm), middleware.WithRules(middleware.Scopes(scope)),
		)
		if err != nil {
			return
		}
		defer g.Close()
		h := g.Wrap(http.NotFoundHandler())
		without := httptest.NewRequest("GET", "https://api.example/", nil)
		requireChallenges(t, h, without, http.StatusUnauthorized, 2, map[string]string{"realm": realm})
		with := httptest.NewRequest("GET", "https://api.example/", nil)
		with.Header.Set("Authorization", "Bearer "+token)
		requireChallenges(t, h, with, http.StatusForbidden, 1, map[string]string{"realm": realm, "scope": scope})
	})
}

// requireChallenges wants n lines of the grammar, each with the given parameters.
func requireChallenges(t *testing.T, h http.Handler, r *http.Request, status, n int, want map[string]string) {
	t.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	require.Equal(t, status, w.Code)
	lines := w.Header().Values("WWW-Authenticate")
	require.Len(t, lines, n)
	for _, line := range lines {
		require.Regexp(t, challengeLine, line)
		got := make(map[string]string)
		for _, m := range challengeParam.FindAllStringSubmatch(line, -1) {
			require.NotContains(t, got, m[1], "twice in %s", line)
			got[m[1]] = quotedPair.ReplaceAllString(m[2], "$1")
		}
		for name, value := range want {
			require.Equal(t, value, got[name], line)
		}
	}
}

package oidc_test

import (
	"fmt"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/keybound-go/middleware/oidc/oidctest"
)

// TestRepliesThatAreNoMetadata walks the table of the package documentation: which
// replies mean "not here, ask the next place".
func TestRepliesThatAreNoMetadata(t *testing.T) {
	says := func(status int, contentType, body string) oidctest.Fault {
		return func(http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				if contentType != "" {
					w.Header().Set("Content-Type", contentType)
				}
				w.WriteHeader(status)
				_, _ = w.Write([]byte(body))
			})
		}
	}
	const jsonType = "application/json"
	document := `{"issuer":"` + identifier + `","jwks_uri":"` + identifier + `/protocol/openid-connect/certs"}`
	for name, c := range map[string]struct {
		fault     oidctest.Fault
		elsewhere bool
	}{
		"DISC-06 400":                                 {says(400, "", ""), true},
		"DISC-06 401 with a web page":                 {says(401, "text/html", "<html>"), true},
		"DISC-06 403":                                 {says(403, "", ""), true},
		"DISC-06 404 with metadata in it":             {says(404, jsonType, document), true},
		"DISC-06 405":                                 {says(405, "", ""), true},
		"DISC-06 410":                                 {says(410, jsonType, "{}"), true},
		"DISC-06 408":                                 {says(408, "", ""), false},
		"DISC-06 429":                                 {says(429, "", ""), false},
		"DISC-06 500":                                 {says(500, jsonType, document), false},
		"DISC-06 503":                                 {says(503, "", ""), false},
		"DISC-06 201":                                 {says(201, jsonType, document), false},
		"DISC-06 200 and empty":                       {says(200, jsonType, ""), false},
		"DISC-06 200 and {}":                          {says(200, jsonType, "{}"), false},
		"DISC-06 200 and a web page":                  {says(200, "text/html", "<html>"), false},
		"DISC-06 200 and a mark before nothing":       {says(200, jsonType, "\xef\xbb\xbf"), false},
		"DISC-06 200 of another type":                 {says(200, "application/jwk-set+json", document), false},
		"DISC-03 200 and issuer null":                 {says(200, jsonType, `{"issuer":null}`), false},
		"DISC-09 a redirect to another origin":        {oidctest.Redirect("https://other.example/"), false},
		"DISC-06 no reply":                            {oidctest.Abort(), false},
		"DISC-03 200 and the template of all tenants": {says(200, jsonType, `{"issuer":"https://issuer.example/realms/{tenantid}"}`), false},
	} {
		t.Run(name, func(t *testing.T) {
			issuer := newIssuer(t)
			issuer.Break(oidctest.OpenIDMetadata, c.fault)
			v := newVerifier(t, issuer)
			_, err := verifyToken(t, v, issuer.Token())
			if c.elsewhere {
				require.NoError(t, err)
			} else {
				requireOurs(t, err)
			}
			require.Equal(t, c.elsewhere, issuer.Fetches(oidctest.OAuthMetadata) == 1)

			issuer.Break(oidctest.OAuthMetadata, c.fault)
			_, err = verifyToken(t, newVerifier(t, issuer), issuer.Token())
			requireOurs(t, err)
			if c.elsewhere {
				require.ErrorContains(t, err, "/.well-known/openid-configuration", "the error names every place that was tried")
				require.ErrorContains(t, err, "/.well-known/oauth-authorization-server")
			}
		})
	}
	t.Run("B24 a byte order mark before the metadata", func(t *testing.T) {
		issuer := newIssuer(t)
		issuer.Break(oidctest.OpenIDMetadata, func(h http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				h.ServeHTTP(marked{w}, r)
			})
		})
		_, err := verifyToken(t, newVerifier(t, issuer), issuer.Token())
		require.NoError(t, err)
	})
	for _, name := range []string{"token_endpoint", "introspection_endpoint", "mtls_endpoint_aliases", "scopes_supported"} {
		t.Run(fmt.Sprint("B06 optional and null: ", name), func(t *testing.T) {
			issuer := newIssuer(t)
			issuer.Edit(oidctest.OpenIDMetadata, func(doc map[string]any) { doc[name] = nil })
			_, err := verifyToken(t, newVerifier(t, issuer), issuer.Token())
			require.NoError(t, err)
		})
	}
}

// marked writes a byte order mark first.
type marked struct{ http.ResponseWriter }

func (m marked) Write(b []byte) (int, error) {
	m.Header().Del("Content-Length")
	_, _ = m.ResponseWriter.Write([]byte("\xef\xbb\xbf"))
	return m.ResponseWriter.Write(b)
}

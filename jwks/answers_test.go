package jwks_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/keybound-go/middleware/internal/josetest"
	"github.com/keybound-go/middleware/jwks"
)

// JWKS-06: what the URL of a key set may answer. What is no key set is an outage,
// never an empty set.
func TestAnswersThatAreNoKeySet(t *testing.T) {
	key := josetest.NewKey("ES256")
	good := document(named(key, "1"))
	for _, tt := range []struct {
		name   string
		status int
		media  string
		body   string
		ok     bool
	}{
		{"a key set", 200, "application/jwk-set+json", good, true},
		{"B24 a byte order mark in front", 200, "application/json", "\ufeff" + good, true},
		{"two byte order marks", 200, "application/json", "\ufeff\ufeff" + good, false},
		{"UTF-16", 200, "application/json", "\xff\xfe" + good, false},
		{"nothing", 200, "application/json", "", false},
		{"white space", 200, "application/json", " \n", false},
		{"{}", 200, "application/json", "{}", false},
		{"[]", 200, "application/json", "[]", false},
		{"null", 200, "application/json", "null", false},
		{"keys null", 200, "application/json", `{"keys":null}`, false},
		{"keys absent and an error", 200, "application/json", `{"error":"temporarily_unavailable"}`, false},
		{"no keys", 200, "application/json", `{"keys":[]}`, false},
		{"a web page", 200, "text/html", "<!DOCTYPE html><html>sign in</html>", false},
		{"a web page that calls itself JSON", 200, "application/json", "<html>", false},
		{"cut short", 200, "application/json", good[:len(good)-2], false},
		{"something after it", 200, "application/json", good + good, false},
		{"a key set with 201", 201, "application/json", good, false},
		{"a key set with 206", 206, "application/json", good, false},
		{"no content", 204, "", "", false},
		{"a redirect to elsewhere", 302, "", "", false},
		{"not modified", 304, "", "", false},
		{"a key set with 401", 401, "application/json", good, false},
		{"a key set with 404", 404, "application/json", good, false},
		{"too many requests", 429, "", "", false},
		{"a key set with 500", 500, "application/json", good, false},
		{"over 1 MiB", 200, "application/json", good + strings.Repeat(" ", 1<<20), false},
	} {
		t.Run("JWKS-06 "+tt.name, func(t *testing.T) {
			srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				if tt.status == 302 {
					w.Header().Set("Location", "http://127.0.0.1:1/login")
				}
				w.Header().Set("Content-Type", tt.media)
				w.WriteHeader(tt.status)
				if tt.body != "" {
					io.WriteString(w, tt.body)
				}
			}))
			defer srv.Close()
			s, err := jwks.New(srv.URL, jwks.DangerouslyAllowLoopbackHTTP())
			require.NoError(t, err)
			defer s.Close()
			keys, err := s.Keys(t.Context(), "ES256", "1")
			if tt.ok {
				require.NoError(t, err)
				require.Len(t, keys, 1)
				return
			}
			requireUnavailable(t, err)
			require.NotErrorIs(t, err, jwks.ErrNoKey)
		})
	}
}

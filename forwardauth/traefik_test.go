package forwardauth_test

import (
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/keybound-go/middleware/forwardauth"
)

// traefik plays the middleware forwardAuth of Traefik 3, which cannot be run here, with
// trustForwardHeader off and authResponseHeaders listing all fields: it asks with GET and
// the client's fields except those of the connection, sets the X-Forwarded fields, copies
// an answer that is not 2xx to the client, and else replaces the listed fields.
func traefik(t *testing.T, auth string, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		q, err := http.NewRequestWithContext(r.Context(), http.MethodGet, auth, nil)
		require.NoError(t, err)
		q.Header = maps.Clone(r.Header)
		for _, name := range []string{"Connection", "Keep-Alive", "Te", "Trailers", "Transfer-Encoding", "Upgrade"} {
			q.Header.Del(name)
		}
		q.Header.Set("X-Forwarded-Method", r.Method)
		q.Header.Set("X-Forwarded-Proto", "https")
		q.Header.Set("X-Forwarded-Host", r.Host)
		q.Header.Set("X-Forwarded-Uri", r.URL.RequestURI())
		answer, err := http.DefaultTransport.RoundTrip(q)
		require.NoError(t, err)
		defer answer.Body.Close()
		if answer.StatusCode < 200 || 300 <= answer.StatusCode {
			maps.Copy(w.Header(), answer.Header)
			w.WriteHeader(answer.StatusCode)
			_, err = io.Copy(w, answer.Body)
			require.NoError(t, err)
			return
		}
		for _, name := range told {
			r.Header.Del(name)
			if len(answer.Header[name]) > 0 {
				r.Header[name] = append([]string(nil), answer.Header[name]...)
			}
		}
		next.ServeHTTP(w, r)
	})
}

func TestBehindTraefikAsPlayed(t *testing.T) {
	w := newWorld(t)
	// Traefik connects over TCP, from this machine.
	local := netip.MustParsePrefix("127.0.0.0/8")
	w.guard = newWorldGuard(t, w, local)
	auth := httptest.NewServer(w.handler(t, forwardauth.WithProxy(forwardauth.Traefik, local)))
	defer auth.Close()
	var seen http.Header
	front := traefik(t, auth.URL, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { seen = r.Header }))
	request := func(method, target string) *http.Request {
		r := w.signed(httptest.NewRequest(method, target, nil), method, target)
		r.Host = "api.example"
		for _, name := range append(told, "X-Forwarded-Method", "X-Forwarded-Uri", "X-Forwarded-Host") {
			r.Header.Set(name, "forged")
		}
		return r
	}
	require.Equal(t, 200, ask(front, request("POST", "/orders?page=2")).Code)
	require.Equal(t, "pass", seen.Get("X-Auth-Outcome"))
	for _, name := range told {
		require.Len(t, seen[name], 1)
		require.NotContains(t, seen.Get(name), "forged")
	}

	seen = nil
	r := request("GET", "/orders")
	r.Method = "DELETE"
	a := ask(front, r)
	require.Equal(t, 401, a.Code)
	require.Nil(t, seen)
	require.Contains(t, strings.Join(a.Header()["Www-Authenticate"], ", "), "invalid_dpop_proof")
}

package terminators_test

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"
)

// A proof names the URL that the client has asked for, and the service compares it with
// the target and Host that arrive.
func TestTargetAndHostArriveAsTheClientSentThem(t *testing.T) {
	all := newCast(t)
	for _, name := range []string{"nginx", "HAProxy", "Apache", "Caddy"} {
		t.Run(name, func(t *testing.T) {
			c := named(t, name)
			find(t, c.server)
			arrived := make(chan [2]string, 1)
			service := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { arrived <- [2]string{r.RequestURI, r.Host} }))
			t.Cleanup(service.Close)
			s := &stage{cast: all, configuration: c}
			s.address = start(t, c, service.Listener.Addr().String(), all.site)
			for _, target := range []string{
				"/", "/orders", "/orders?page=2", "/orders?", "/orders?a=1;b=2", "/orders?q=100%25", "/orders/%7E1", "/orders/%c3%a4", "/a//b", "/x;y=1", "/a/./b", "/a%2Fb",
			} {
				resp, err := s.client(nil).try("GET " + target + " HTTP/1.1\r\nHost: api.example\r\nConnection: close\r\n\r\n")
				require.NoError(t, err)
				if name == "Apache" && target == "/a%2Fb" { // AllowEncodedSlashes is off by default.
					require.Equal(t, 404, resp.status)
					continue
				}
				require.Equal(t, 200, resp.status, target)
				require.Equal(t, [2]string{target, "api.example"}, <-arrived)
			}
		})
	}
}

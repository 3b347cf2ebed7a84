package reverseproxy_test

import (
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"testing"

	"github.com/keybound-go/middleware"
	"github.com/keybound-go/middleware/middlewaretest"
	"github.com/keybound-go/middleware/reverseproxy"
)

// A service that knows nothing of tokens, behind a guard: it learns from X-User who
// calls, and no client can say so itself.
func ExampleHarden() {
	service := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, r.Header.Values("X-User"))
	}))
	defer service.Close()
	target, err := url.Parse(service.URL)
	if err != nil {
		log.Fatal(err)
	}
	proxy, err := reverseproxy.Harden(&httputil.ReverseProxy{
		Rewrite: func(pr *httputil.ProxyRequest) {
			pr.SetURL(target)
			pr.SetXForwarded()
			if credential, ok := middleware.FromContext(pr.In.Context()); ok {
				pr.Out.Header.Set("X-User", credential.Token.Subject)
			}
		},
	}, reverseproxy.WithIdentityHeaders("X-User"))
	if err != nil {
		log.Fatal(err)
	}

	w := middlewaretest.NewWorld(new(testing.T)) // a test gets its own
	w.Serve(w.Guard().Wrap(proxy))
	r, _ := http.NewRequest("GET", w.URL, nil)
	r.Header.Set("X-User", "admin")
	resp, err := w.Client().Do(r)
	if err != nil {
		log.Fatal(err)
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(resp.Body)
	fmt.Println(string(body))
	// Output: [user-1]
}

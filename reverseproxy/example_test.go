package reverseproxy_test

import (
	"log"
	"net/http"
	"net/http/httputil"
	"net/url"

	"github.com/keybound-go/middleware"
	"github.com/keybound-go/middleware/dpop"
	"github.com/keybound-go/middleware/oidc"
	"github.com/keybound-go/middleware/reverseproxy"
)

// A service that knows nothing of tokens, behind a guard: it learns from X-User who
// calls, and no client can say so itself.
func ExampleHarden() {
	guard, err := middleware.New(
		middleware.WithTokens(oidc.New("https://issuer.example", "https://api.example")),
		middleware.WithDPoP(dpop.New("https://api.example")),
	)
	if err != nil {
		log.Fatal(err)
	}
	service, err := url.Parse("http://127.0.0.1:8080")
	if err != nil {
		log.Fatal(err)
	}
	proxy, err := reverseproxy.Harden(&httputil.ReverseProxy{
		Rewrite: func(pr *httputil.ProxyRequest) {
			pr.SetURL(service)
			pr.SetXForwarded()
			if credential, ok := middleware.FromContext(pr.In.Context()); ok {
				pr.Out.Header.Set("X-User", credential.Token.Subject)
			}
		},
	}, reverseproxy.WithIdentityHeaders("X-User"))
	if err != nil {
		log.Fatal(err)
	}
	log.Fatal(http.ListenAndServe("127.0.0.1:8000", guard.Wrap(proxy)))
}

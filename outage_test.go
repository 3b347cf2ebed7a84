package middleware_test

import (
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/keybound-go/middleware"
	"github.com/keybound-go/middleware/oidc/clientauth"
	"github.com/keybound-go/middleware/oidc/introspect"
	"github.com/keybound-go/middleware/oidc/oidctest"
)

// The issuer is killed in the middle of load, and comes back: no request with a
// token that is known fails, and none is accepted that should not be.
func TestTheIssuerIsKilledInTheMiddleOfLoad(t *testing.T) {
	w := newWorld(t)
	introspected := func() middleware.Option {
		return middleware.WithTokens(w.introspector(oidctest.Audience, clientauth.SecretBasic("client", "secret"),
			introspect.WithAnswerLifetime(time.Minute)))
	}
	for name, tokens := range map[string]middleware.Option{"JWTs": w.tokens(), "introspection": introspected(), "tenants": middleware.WithTokens(w.anyTenant(nil))} {
		t.Run(name, func(t *testing.T) {
			w.issuer.SetDown(false)
			g, err := middleware.New(both(tokens)...)
			require.NoError(t, err)
			known := w.certToken()
			request := func(token string) *http.Request {
				r := w.certRequest("/r")
				r.Header.Set("Authorization", "Bearer "+token)
				return r
			}
			_, err = g.Check(request(known))
			require.NoError(t, err)
			wrong := []*http.Request{
				request(w.issuer.Token()),                              // unbound
				request(w.certToken(oidctest.ExpiresIn(-time.Hour))),   // over
				request(w.dpopToken()),                                 // without its proof
				request(known[:len(known)-4] + "AAAA"),                 // forged
				request(w.certToken(oidctest.Claim("aud", "another"))), // for another service
			}
			stop := make(chan struct{})
			var good, failed, let atomic.Int64
			var load sync.WaitGroup
			for range 4 {
				load.Go(func() {
					for i := 0; ; i++ {
						select {
						case <-stop:
							return
						default:
						}
						if _, err := g.Check(request(known)); err != nil {
							failed.Add(1)
						}
						good.Add(1)
						if _, err := g.Check(wrong[i%len(wrong)].Clone(t.Context())); err == nil {
							let.Add(1)
						}
					}
				})
			}
			for _, down := range []bool{false, true, false, true} {
				w.issuer.SetDown(down)
				time.Sleep(150 * time.Millisecond)
			}
			close(stop)
			load.Wait()
			require.Positive(t, good.Load())
			require.Zero(t, failed.Load(), "requests with a known token that failed, of %d", good.Load())
			require.Zero(t, let.Load(), "requests that should not have passed")
		})
	}
}

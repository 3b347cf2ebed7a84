package leaks_test

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"go.uber.org/goleak"

	"github.com/keybound-go/middleware"
	"github.com/keybound-go/middleware/dpop"
	"github.com/keybound-go/middleware/dpop/dpoptest"
	"github.com/keybound-go/middleware/jwks"
	"github.com/keybound-go/middleware/oidc"
	"github.com/keybound-go/middleware/oidc/clientauth"
	"github.com/keybound-go/middleware/oidc/exchange"
	"github.com/keybound-go/middleware/oidc/introspect"
	"github.com/keybound-go/middleware/oidc/oidctest"
	"github.com/keybound-go/middleware/oidc/tenants"
	"github.com/keybound-go/middleware/redisstore"
	"github.com/keybound-go/middleware/session"
)

const origin = "https://api.example"

func init() {
	slog.SetDefault(slog.New(slog.DiscardHandler))
	redis.SetLogger(silent{})
}

// silent drops what the client of Redis has to say.
type silent struct{}

func (silent) Printf(context.Context, string, ...any) {}

// must is for what cannot fail here.
func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// part is something that starts goroutines, with a way to use it and everything that
// is to be closed, in order.
type part struct {
	use   func(ctx context.Context) error
	close []func() error
}

func (p part) end() (err error) {
	for _, c := range p.close {
		err = errors.Join(err, c())
	}
	return err
}

// guarded is a part that is used through a guard.
func guarded(tokens middleware.TokenVerifier, request func() *http.Request, close ...func() error) part {
	g := must(middleware.New(middleware.WithTokens(tokens, nil), middleware.WithDPoP(dpop.New(origin)), middleware.AllowUnbound()))
	return part{func(ctx context.Context) error {
		_, err := g.Check(request().WithContext(ctx))
		return err
	}, append([]func() error{g.Close}, close...)}
}

// parts makes one of each kind, for an issuer that is reached by client.
func parts(tb testing.TB, i *oidctest.Issuer, client *http.Client) map[string]func() part {
	key := dpoptest.NewKey(tb)
	bearer := func() *http.Request {
		r := httptest.NewRequest("GET", origin+"/r", nil)
		r.Header.Set("Authorization", "Bearer "+i.Token())
		return r
	}
	proven := func() *http.Request {
		r := httptest.NewRequest("GET", origin+"/r", nil)
		token := i.Token(oidctest.BoundToKey(key.Thumbprint()))
		r.Header.Set("Authorization", "DPoP "+token)
		r.Header.Set("DPoP", key.Proof("GET", origin+"/r", token))
		return r
	}
	opaque := func() *http.Request {
		r := httptest.NewRequest("GET", origin+"/r", nil)
		r.Header.Set("Authorization", "Bearer opaque-"+time.Now().String()[20:29])
		return r
	}
	issuer := func() *oidc.Issuer { return must(oidc.NewIssuer(i.URL, oidc.WithHTTPClient(client))) }
	verifier := func() *oidc.Verifier {
		return must(oidc.New(i.URL, oidctest.Audience, oidc.WithHTTPClient(client)))
	}
	auth := clientauth.SecretBasic("client", "secret")
	return map[string]func() part{
		"a verifier": func() part { v := verifier(); return guarded(v, proven) },
		"of several issuers": func() part {
			other := must(oidc.New("https://other.example", oidctest.Audience, oidc.WithHTTPClient(client)))
			return guarded(must(oidc.AnyOf(verifier(), other)), proven)
		},
		"an issuer of one's own": func() part {
			from := issuer()
			return guarded(must(from.Verifier(oidctest.Audience)), bearer, from.Close)
		},
		"tenants": func() part {
			ts := must(tenants.New(func(ctx context.Context, issuer string) (*oidc.Verifier, error) {
				return oidc.New(issuer, oidctest.Audience, oidc.WithHTTPClient(client), oidc.WithCacheSize(0))
			}))
			return guarded(ts, bearer)
		},
		"an introspector": func() part {
			from := issuer()
			return guarded(must(introspect.New(from, oidctest.Audience, auth)), bearer, from.Close)
		},
		"verify, then ask": func() part {
			from := issuer()
			return guarded(must(introspect.Then(must(from.Verifier(oidctest.Audience)), must(introspect.New(from, oidctest.Audience, auth)))), proven, from.Close)
		},
		"JWTs or else opaque": func() part {
			from := issuer()
			return guarded(must(introspect.OrElse(must(from.Verifier(oidctest.Audience)), must(introspect.New(from, oidctest.Audience, auth)))), opaque, from.Close)
		},
		"an exchange": func() part {
			from := issuer()
			g := must(middleware.New(middleware.WithTokens(from.Verifier(oidctest.Audience)), middleware.WithExchange(exchange.New(from)), middleware.AllowUnbound()))
			return part{func(ctx context.Context) error {
				r := httptest.NewRequest("GET", origin+"/r", nil)
				r.SetBasicAuth("client", "secret")
				_, err := g.Check(r.WithContext(ctx))
				return err
			}, []func() error{g.Close, from.Close}}
		},
		"readiness": func() part {
			g := must(middleware.New(middleware.WithTokens(verifier(), nil), middleware.WithDPoP(dpop.New(origin))))
			return part{g.Ready, []func() error{g.Close}}
		},
		"sessions": func() part {
			sessions := must(session.New([]byte("a key of thirty-two bytes or mor")))
			g := must(middleware.New(middleware.WithTokens(verifier(), nil), middleware.AllowUnbound(), middleware.WithSession(sessions, nil)))
			h := g.Wrap(http.NotFoundHandler())
			return part{func(ctx context.Context) error {
				h.ServeHTTP(httptest.NewRecorder(), bearer().WithContext(ctx))
				return nil
			}, []func() error{g.Close}}
		},
		"a key source": func() part {
			s := must(jwks.New(i.Endpoint(oidctest.KeySet), jwks.WithHTTPClient(client)))
			return part{s.Prefetch, []func() error{s.Close}}
		},
		"rules, streams, anonymous guests": func() part {
			g := must(middleware.New(middleware.WithTokens(verifier(), nil), middleware.AllowUnbound(), middleware.EndResponsesWithToken())).AllowAnonymous()
			h := g.Wrap(http.NotFoundHandler())
			return part{func(ctx context.Context) error {
				h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", origin+"/r", nil).WithContext(ctx))
				h.ServeHTTP(httptest.NewRecorder(), bearer().WithContext(ctx))
				return nil
			}, []func() error{g.Close}}
		},
	}
}

// trouble is what happens to the issuer while a part is used and closed.
type trouble struct {
	before, during func(i *oidctest.Issuer)
}

var troubles = map[string]trouble{
	"nothing happens":            {},
	"the issuer is down":         {before: func(i *oidctest.Issuer) { i.SetDown(true) }},
	"the issuer goes down":       {during: func(i *oidctest.Issuer) { i.SetDown(true) }},
	"the issuer does not answer": {before: func(i *oidctest.Issuer) { i.SetDelay(time.Hour) }},
	"it stops answering":         {during: func(i *oidctest.Issuer) { i.SetDelay(time.Hour) }},
	"it answers nonsense": {before: func(i *oidctest.Issuer) {
		for _, e := range []oidctest.Endpoint{oidctest.OpenIDMetadata, oidctest.OAuthMetadata, oidctest.KeySet, oidctest.Introspection, oidctest.TokenEndpoint} {
			i.Break(e, oidctest.Body("text/html", "<html>"))
		}
	}},
	"it breaks connections": {during: func(i *oidctest.Issuer) {
		for _, e := range []oidctest.Endpoint{oidctest.OpenIDMetadata, oidctest.KeySet, oidctest.Introspection, oidctest.TokenEndpoint} {
			i.Break(e, oidctest.Abort())
		}
	}},
}

func TestCloseEndsEverything(t *testing.T) {
	// What the process itself has: the clock of httprc and the like are none of it.
	baseline := goleak.IgnoreCurrent()
	for name, trouble := range troubles {
		for kind := range parts(t, must(oidctest.Start(oidctest.InMemory("https://issuer.example"))), nil) {
			for _, how := range []string{"unused", "used", "in use"} {
				t.Run(kind+", "+name+", "+how, func(t *testing.T) {
					i := must(oidctest.Start(oidctest.InMemory("https://issuer.example")))
					defer i.Close()
					p := parts(t, i, i.Client())[kind]()
					if trouble.before != nil {
						trouble.before(i)
					}
					var requests sync.WaitGroup
					switch how {
					case "used":
						ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
						_ = p.use(ctx)
						cancel()
					case "in use":
						ctx, cancel := context.WithTimeout(t.Context(), time.Second)
						defer cancel()
						for range 8 {
							requests.Go(func() { _ = p.use(ctx) })
						}
						time.Sleep(5 * time.Millisecond)
					}
					if trouble.during != nil {
						trouble.during(i)
					}
					closeAtOnce(t, p)
					requests.Wait()
					if err := p.end(); err != nil {
						t.Error("once more:", err)
					}
					goleak.VerifyNone(t, baseline)
				})
			}
		}
	}
}

// closeAtOnce closes a part several times at once. It must not wait for an issuer.
func closeAtOnce(t *testing.T, p part) {
	t.Helper()
	began := time.Now()
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			if err := p.end(); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if took := time.Since(began); took > 3*time.Second {
		t.Errorf("Close took %v", took)
	}
}

// After Close a guard still serves, and starts nothing that stays.
func TestUseAfterCloseLeavesNothing(t *testing.T) {
	baseline := goleak.IgnoreCurrent()
	for kind := range parts(t, must(oidctest.Start(oidctest.InMemory("https://issuer.example"))), nil) {
		t.Run(kind, func(t *testing.T) {
			i := must(oidctest.Start(oidctest.InMemory("https://issuer.example")))
			defer i.Close()
			p := parts(t, i, i.Client())[kind]()
			if err := p.end(); err != nil {
				t.Error(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			for range 3 {
				_ = p.use(ctx)
			}
			goleak.VerifyNone(t, baseline)
		})
	}
}

// With a client that the library makes, over real connections: none stays open.
func TestCloseEndsConnections(t *testing.T) {
	baseline := goleak.IgnoreCurrent()
	var hang chan struct{}
	mux := http.NewServeMux()
	server := httptest.NewServer(mux)
	mux.HandleFunc("/.well-known/openid-configuration", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(map[string]any{"issuer": server.URL, "jwks_uri": server.URL + "/keys", "introspection_endpoint": server.URL + "/introspect", "token_endpoint": server.URL + "/token"})
	})
	mux.HandleFunc("/keys", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte(`{"keys":[{"kty":"EC","crv":"P-256","kid":"k","alg":"ES256","use":"sig","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}]}`))
	})
	hang = make(chan struct{})
	hold := func(w http.ResponseWriter, r *http.Request) {
		select {
		case <-hang:
		case <-r.Context().Done():
		}
	}
	mux.HandleFunc("/introspect", hold)
	mux.HandleFunc("/token", hold)
	for range 3 {
		from := must(oidc.NewIssuer(server.URL, oidc.DangerouslyAllowLoopbackHTTP()))
		auth := clientauth.SecretBasic("client", "secret")
		asks := must(introspect.New(from, "a", auth))
		change := must(exchange.New(from))
		g := must(middleware.New(middleware.WithTokens(must(from.Verifier("a")), nil), middleware.WithExchange(change, nil), middleware.AllowUnbound()))
		if err := g.Ready(t.Context()); err != nil {
			t.Fatal(err)
		}
		var requests sync.WaitGroup
		requests.Go(func() {
			if _, err := asks.VerifyToken(t.Context(), "opaque"); err == nil {
				t.Error("the issuer has not answered")
			}
		})
		requests.Go(func() {
			if _, err := change.Token(t.Context(), netip.Addr{}, "client", "secret"); err == nil {
				t.Error("the issuer has not answered")
			}
		})
		time.Sleep(50 * time.Millisecond)
		began := time.Now()
		for _, c := range []func() error{asks.Close, g.Close, from.Close} {
			if err := c(); err != nil {
				t.Error(err)
			}
		}
		requests.Wait()
		if took := time.Since(began); took > 2*time.Second {
			t.Errorf("requests that wait for the issuer end with Close, not after %v", took)
		}
	}
	close(hang)
	server.CloseClientConnections()
	server.Close()
	goleak.VerifyNone(t, baseline)
}

// The stores have no Close: their batches end by themselves, also if the server never
// answers.
func TestStoresLeaveNothing(t *testing.T) {
	baseline := goleak.IgnoreCurrent()
	silent := must(net.Listen("tcp", "127.0.0.1:0"))
	closed := must(net.Listen("tcp", "127.0.0.1:0"))
	closed.Close()
	for _, addr := range []string{silent.Addr().String(), closed.Addr().String()} {
		client := redis.NewClient(&redis.Options{Addr: addr, ContextTimeoutEnabled: true})
		replay := must(redisstore.NewReplayCache(client))
		tokens := must(redisstore.NewTokenCache(client, make([]byte, 32)))
		var requests sync.WaitGroup
		for n := range 64 {
			requests.Go(func() {
				ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
				defer cancel()
				if fresh, err := replay.Add(ctx, "jkt", [32]byte{byte(n)}, time.Now().Add(time.Minute)); fresh || err == nil {
					t.Error("a proof is fresh without a store")
				}
				_, _, _ = tokens.Get(ctx, [32]byte{byte(n)})
			})
		}
		requests.Wait()
		if err := client.Close(); err != nil {
			t.Error(err)
		}
	}
	silent.Close()
	goleak.VerifyNone(t, baseline)
}

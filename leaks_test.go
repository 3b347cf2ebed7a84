package middleware_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"go/importer"
	"go/token"
	"go/types"
	"io"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/keybound-go/middleware"
	"github.com/keybound-go/middleware/dpop"
	"github.com/keybound-go/middleware/oidc"
	"github.com/keybound-go/middleware/oidc/oidctest"
)

// printed is v in every way that a program could print it.
func printed(v any) string {
	var b bytes.Buffer
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		fmt.Fprintf(&b, verb+"\n", v)
	}
	for _, h := range []slog.Handler{slog.NewTextHandler(&b, nil), slog.NewJSONHandler(&b, nil)} {
		slog.New(h).Info("printed", "value", v)
	}
	return b.String()
}

// witness collects what an operator, a client and a handler could see.
type witness struct {
	secrets map[string]string
	seen    map[string]any
}

func (s *witness) check(t *testing.T) {
	t.Helper()
	for what, v := range s.seen {
		text := printed(v)
		for name, secret := range s.secrets {
			require.NotEmpty(t, secret)
			require.NotContains(t, text, secret, "%s shows the %s", what, name)
			require.NotContains(t, text, fmt.Sprintf("%x", secret), "%s shows the %s", what, name)
		}
	}
}

// A part that fails with the secrets in what it panics with, and in nothing else.
type leakyPart struct{ secrets func() string }

func (l *leakyPart) VerifyToken(context.Context, string) (*oidc.Token, error) { panic(l.secrets()) }
func (l *leakyPart) Add(context.Context, string, [32]byte, time.Time) (bool, error) {
	panic(errors.New(l.secrets()))
}
func (l *leakyPart) Issue(context.Context) (string, error) { panic(l.secrets()) }
func (l *leakyPart) IssuedAt(context.Context, string) (time.Time, bool, error) {
	panic(errors.New(l.secrets()))
}

// R10: nothing that the root hands out shows a token, a proof, a nonce, a cookie, a
// query or a client's secret, however it is printed: after a pass, a refusal at each
// stage, and a panic in each part.
func TestNothingThatPrintsHoldsASecret(t *testing.T) {
	w := newWorld(t)
	const query, nonce, clientSecret = "the-secret-of-the-query", "the-secret-nonce", "the-client-secret"
	sessions := withSession()
	cookies := serve(w.guard(both(middleware.AllowUnbound(), sessions)...), w.bearerRequest("/r")).cookies(t)
	leaky := &leakyPart{func() string { return "a token, a proof and " + nonce + query + clientSecret }}
	for name, opts := range map[string][]middleware.Option{
		"all is well":            both(w.tokens()),
		"sessions":               both(w.tokens(), sessions, middleware.AllowUnbound()),
		"exchange":               both(w.tokens(), w.credentials(), middleware.AllowUnbound()),
		"a missing scope":        both(w.tokens(), middleware.WithRules(middleware.Scopes("never"))),
		"plain HTTP":             both(w.tokens(), middleware.RequireTLS()),
		"tenants":                both(middleware.WithTokens(w.anyTenant(nil))),
		"tenants, resolve fails": both(middleware.WithTokens(w.anyTenant(func() { panic(leaky.secrets()) }))),
		"a verifier panics":      both(middleware.WithTokens(leaky, nil)),
		"a replay cache panics":  {w.tokens(), middleware.WithDPoP(dpop.New(origin, dpop.WithReplayCache(leaky, nil)))},
		"nonces panic":           {w.tokens(), middleware.WithDPoP(dpop.New(origin, dpop.WithNonces(leaky, nil)))},
		"nonces":                 {w.tokens(), middleware.WithDPoP(dpop.New(origin, dpop.WithNonces(dpop.NewNonces(sessionKey))))},
	} {
		for kind, make := range map[string]func() *http.Request{
			"DPoP":          func() *http.Request { return w.dpopRequest("/r?secret=" + query) },
			"a certificate": func() *http.Request { return w.certRequest("/r?secret=" + query) },
			"Bearer":        func() *http.Request { return w.bearerRequest("/r?secret=" + query) },
			"expired":       func() *http.Request { return w.dpopRequest("/r?secret="+query, oidctest.ExpiresIn(-time.Hour)) },
			"a query token": func() *http.Request { return w.dpopRequest("/r?access_token=" + query) },
			"misdirected":   func() *http.Request { r := w.dpopRequest("/r?secret=" + query); r.Host = "other.example"; return r },
			"for elsewhere": func() *http.Request { r := w.dpopRequest("/r?secret=" + query); r.Method = "DELETE"; return r },
			"a nonce": func() *http.Request {
				r := w.dpopRequest("/r?secret=" + query)
				r.Header.Set("DPoP", w.proof("GET", origin+"/r", sent(r), func(c map[string]any) { c["nonce"] = nonce }))
				return r
			},
			"a secret":  func() *http.Request { r := get("/r?secret=" + query); r.SetBasicAuth("client", clientSecret); return r },
			"a session": func() *http.Request { r := get("/r?secret=" + query); r.Header.Set("Cookie", cookies); return r },
			"garbage": func() *http.Request {
				r := get("/r?secret=" + query)
				r.Header.Set("Authorization", "Bearer "+query+"."+query)
				return r
			},
			"a broken proof": func() *http.Request {
				r := w.dpopRequest("/r")
				r.Header.Set("DPoP", query+"."+query+"."+query)
				return r
			},
		} {
			t.Run(name+", "+kind, func(t *testing.T) {
				r := make()
				s := &witness{
					secrets: map[string]string{"query": query, "nonce": nonce, "secret": clientSecret},
					seen:    map[string]any{},
				}
				for _, field := range []string{"Authorization", "DPoP", "Cookie"} {
					if value := r.Header.Get(field); value != "" {
						_, value, _ = strings.Cut(" "+value, " ")
						s.secrets[field] = value[strings.LastIndexAny(value, " .=")+1:]
					}
				}
				observer := middleware.WithObserver(func(_ context.Context, o middleware.Outcome) {
					s.seen["the Outcome"], s.seen["a pointer to the Outcome"], s.seen["Outcome.Err"] = o, &o, o.Err
				})
				g, err := middleware.New(append(opts, observer)...)
				require.NoError(t, err)
				q := middleware.RequestOf(r)
				v := g.Judge(r.Context(), q)
				s.seen["the Guard"], s.seen["the Request"], s.seen["the Verdict"], s.seen["its Credential"] = g, q, v, v.Credential
				s.seen["pointers"] = []any{&q, &v, *g}
				s.seen["the Denial"], s.seen["the error"] = v.Denial, v.Err
				s.seen["the Status"], s.seen["the Description"] = g.Status(), g.Describe()
				s.check(t)
				if v.Pass && v.Credential != nil {
					s.seen["the context"] = middleware.NewContext(context.Background(), v.Credential)
					s.seen["the Credential itself"] = *v.Credential
					s.check(t)
				}
			})
		}
	}
}

// Every exported type of the root is printed by the test above, or holds nothing that
// came with a request.
func TestEveryExportedTypeIsKnownToTheTestOfPrints(t *testing.T) {
	known := map[string]string{
		"Guard": "printed", "Request": "printed", "Verdict": "printed", "Credential": "printed", "Denial": "printed", "Outcome": "printed",
		"Status": "printed", "Description": "printed",
		"RequestError": "an integer", "Option": "functions", "Rule": "what the operator wrote", "ProtectedResource": "public by its nature", "TokenVerifier": "another room's",
		"Level": "an integer", "Stage": "an integer and a function",
	}
	exports := make(map[string]string)
	for _, p := range list(t, "-export", "-deps", ".") {
		exports[p.ImportPath] = p.Export
	}
	pkg, err := importer.ForCompiler(token.NewFileSet(), "gc", func(path string) (io.ReadCloser, error) { return os.Open(exports[path]) }).Import(module)
	require.NoError(t, err)
	for _, name := range pkg.Scope().Names() {
		if obj := pkg.Scope().Lookup(name); obj.Exported() {
			if _, ok := obj.(*types.TypeName); ok {
				require.NotEmpty(t, known[name], "%s: print it, or say why it needs none", name)
			}
		}
	}
}

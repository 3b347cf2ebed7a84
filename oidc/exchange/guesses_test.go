package exchange_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/keybound-go/middleware/internal/issuertest"
	"github.com/keybound-go/middleware/oidc"
	"github.com/keybound-go/middleware/oidc/exchange"
	"github.com/keybound-go/middleware/oidc/oidctest"
)

// TestGuessesCountWhateverTheIssuerAnswers is R1.
func TestGuessesCountWhateverTheIssuerAnswers(t *testing.T) {
	const jsonType = "application/json"
	guesser := netip.MustParseAddr("192.0.2.1")
	for name, c := range map[string]struct {
		h       http.HandlerFunc
		refused bool // the caller is told 401, and not 503
		most    int  // in ten minutes; 0: five and one more every ten seconds
	}{
		"R1 invalid_client":                     {issuertest.SayingRaw(401, jsonType, `{"error":"invalid_client"}`), true, 0},
		"R1 access_denied":                      {issuertest.SayingRaw(401, jsonType, `{"error":"access_denied","error_description":"Unauthorized"}`), true, 0},
		"R1 an error document":                  {issuertest.SayingRaw(401, jsonType, `{"timestamp":1,"status":401,"error":"Unauthorized","path":"/oauth/token"}`), true, 0},
		"R1 401 invalid_grant":                  {issuertest.SayingRaw(401, jsonType, `{"error":"invalid_grant"}`), true, 0},
		"R1 401 with a web page":                {issuertest.SayingRaw(401, "text/html", `<html>`), true, 0},
		"R1 401 with nothing":                   {issuertest.SayingRaw(401, "", ``), true, 0},
		"R1 401 invalid_scope":                  {issuertest.SayingRaw(401, jsonType, `{"error":"invalid_scope"}`), false, 0},
		"R1 400 invalid_grant":                  {issuertest.SayingRaw(400, jsonType, `{"error":"invalid_grant"}`), false, 0},
		"R1 400 with a web page":                {issuertest.SayingRaw(400, "text/html", `<html>`), false, 0},
		"R1 403 invalid_client":                 {issuertest.SayingRaw(403, jsonType, `{"error":"invalid_client"}`), false, 0},
		"R1 404":                                {issuertest.SayingRaw(404, "text/html", `<html>`), false, 0},
		"R1 a redirect to a login page":         {issuertest.SayingRaw(302, "text/html", `<html>`), false, 0},
		"R1 200 with an error":                  {issuertest.SayingRaw(200, jsonType, `{"error":"invalid_client","error_description":"client_secret is invalid"}`), true, 0},
		"R1 200 with an error and a mark":       {issuertest.SayingRaw(200, jsonType, "\xef\xbb\xbf"+`{"error":"invalid_client"}`), true, 0},
		"R1 200 with another error":             {issuertest.SayingRaw(200, jsonType, `{"error":"wrong"}`), false, 0},
		"R1 200 with {}":                        {issuertest.SayingRaw(200, jsonType, `{}`), false, 0},
		"R1 200 with nothing":                   {issuertest.SayingRaw(200, jsonType, ``), false, 0},
		"R1 200 with a web page":                {issuertest.SayingRaw(200, "text/html", `<html>`), false, 0},
		"R1 200 with a DPoP token":              {issuertest.SayingRaw(200, jsonType, `{"access_token":"x","token_type":"DPoP"}`), false, 0},
		"R1 204":                                {issuertest.SayingRaw(204, "", ``), false, 0},
		"R1 429: outages have their own budget": {issuertest.SayingRaw(429, jsonType, `{}`), false, 0},
		"R1 500":                                {issuertest.SayingRaw(500, jsonType, `{"error":"invalid_client"}`), false, 0},
		"R1 a tar pit": {func(_ http.ResponseWriter, r *http.Request) {
			select {
			case <-time.After(12 * time.Second):
			case <-r.Context().Done():
			}
		}, false, 0},
		"R1 an issuer that never answers": {func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, false, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				as := issuertest.New()
				as.Token = c.h
				x := newCredentials(t, as)
				done := make(chan error)
				end := time.Now().Add(10 * time.Minute)
				for worker := range 4 {
					go func() {
						var first error
						for n := 0; time.Now().Before(end); n++ {
							_, err := x.Token(t.Context(), guesser, "victim", fmt.Sprint(worker, "-", n))
							if first == nil {
								first = err
							}
							time.Sleep(500 * time.Millisecond)
						}
						done <- first
					}()
				}
				first := <-done
				for range 3 {
					<-done
				}
				require.LessOrEqual(t, len(as.Asked()), 5+60)
				require.GreaterOrEqual(t, len(as.Asked()), 20, "it is a limit, and not the end")
				kind, refused := errors.AsType[exchange.Error](first)
				require.Equal(t, c.refused, refused, "%v", first)
				if refused {
					require.Equal(t, exchange.ErrRefused, kind)
				}
			})
		})
	}
}

// broken drops connections, or does not make them.
type broken struct {
	asked *atomic.Int64
	err   error
}

func (b broken) RoundTrip(*http.Request) (*http.Response, error) {
	b.asked.Add(1)
	return nil, b.err
}

func TestAttemptsThatDoNotReachTheIssuerHaveABudgetToo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var asked atomic.Int64
		x, err := newFrom(t, issuertest.Issuer, oidc.WithHTTPClient(&http.Client{Transport: broken{&asked, io.EOF}}), exchange.WithEndpoint("https://as.example/token"))
		require.NoError(t, err)
		for n := range 2000 {
			_, err := x.Token(t.Context(), netip.MustParseAddr("192.0.2.1"), "victim", fmt.Sprint("guess", n))
			issuertest.RequireOutage(t, err)
		}
		require.EqualValues(t, 60, asked.Load(), "R1")
	})
}

func TestGuessesAndOutagesLeaveKnownClientsAlone(t *testing.T) {
	for name, h := range map[string]http.HandlerFunc{
		"R1 refused":      issuertest.SayingRaw(401, "application/json", `{"error":"access_denied"}`),
		"R1 an outage":    issuertest.SayingRaw(503, "", ``),
		"R1 no web page":  issuertest.SayingRaw(200, "text/html", `<html>`),
		"R1 not known":    issuertest.SayingRaw(404, "", ``),
		"R1 never answer": func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				as, good := issuertest.New(), granting(60)
				as.Token = good
				x := newCredentials(t, as)
				guesser := netip.MustParseAddr("192.0.2.1")
				token(t, x, "app", "right")
				as.Token = func(w http.ResponseWriter, r *http.Request) {
					if _, secret, _ := r.BasicAuth(); secret == "right" {
						good(w, r)
						return
					}
					h(w, r)
				}
				for n := range 100 {
					go func() { _, _ = x.Token(t.Context(), guesser, "app", fmt.Sprint("guess", n)) }()
				}
				for range 10 {
					time.Sleep(time.Minute)
					start := time.Now()
					_, err := x.Token(t.Context(), guesser, "app", "right")
					require.NoError(t, err)
					require.Zero(t, time.Since(start))
				}
			})
		})
	}
}

// TestOneClientCannotTakeTheMemoryOfOthers is R2: an issuer that does not look at the
// secret makes a good pair of every invented one.
func TestOneClientCannotTakeTheMemoryOfOthers(t *testing.T) {
	as := issuertest.New()
	as.Token = issuertest.Saying(map[string]any{"access_token": "x", "token_type": "Bearer", "expires_in": 3600})
	x := newCredentials(t, as, exchange.WithCacheSize(1000))
	for n := range 300 {
		token(t, x, fmt.Sprint("app", n), "secret")
	}
	for n := range 3000 {
		token(t, x, "other", fmt.Sprint("secret", n))
	}
	before := len(as.Asked())
	for n := range 300 {
		token(t, x, fmt.Sprint("app", n), "secret")
	}
	require.LessOrEqual(t, len(as.Asked())-before, 15, "R2")
	granted, _, _ := exchange.Remembered(x)
	require.LessOrEqual(t, granted, 1000)
}

type verifierFunc func(raw string) (*oidc.Token, error)

func (f verifierFunc) VerifyToken(_ context.Context, raw string) (*oidc.Token, error) { return f(raw) }

// TestVerified is R12.
func TestVerified(t *testing.T) {
	caller := netip.MustParseAddr("192.0.2.1")
	for name, refuse := range map[string]error{
		"R12 another audience": oidc.ErrAudience, "R12 inactive": oidc.ErrInactive, "R12 expired": oidc.ErrExpired,
		"R12 another kind of refusal": exchange.ErrRefused,
	} {
		t.Run(name+": a token that was never accepted is kept as long as it lives", func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				as := issuertest.New()
				as.Token = granting(300)
				x := newCredentials(t, as)
				for range 100 {
					_, _, err := x.Verified(t.Context(), caller, "app", "right", verifierFunc(func(string) (*oidc.Token, error) { return nil, refuse }))
					issuertest.RequireOutage(t, err)
				}
				require.Len(t, as.Asked(), 1)
				time.Sleep(5 * time.Minute)
				raw, _, err := x.Verified(t.Context(), caller, "app", "right", verifierFunc(func(string) (*oidc.Token, error) { return new(oidc.Token), nil }))
				require.NoError(t, err)
				require.Equal(t, "token-2", raw)
			})
		})
	}
	t.Run("R12 a token that was withdrawn is exchanged for a new one, once", func(t *testing.T) {
		as := issuertest.New()
		as.Token = granting(300)
		x := newCredentials(t, as)
		withdrawn := map[string]bool{}
		verify := verifierFunc(func(raw string) (*oidc.Token, error) {
			if withdrawn[raw] {
				return nil, oidc.ErrInactive
			}
			return new(oidc.Token), nil
		})
		for n := 1; n <= 3; n++ {
			for range 3 {
				raw, _, err := x.Verified(t.Context(), caller, "app", "right", verify)
				require.NoError(t, err)
				require.Equal(t, fmt.Sprint("token-", n), raw)
			}
			withdrawn[fmt.Sprint("token-", n)] = true
		}
		withdrawn["token-4"] = true
		for range 10 {
			_, _, err := x.Verified(t.Context(), caller, "app", "right", verify)
			issuertest.RequireOutage(t, err)
		}
		require.Len(t, as.Asked(), 4)
	})
	t.Run("an outage of the verifier forgets nothing", func(t *testing.T) {
		as := issuertest.New()
		as.Token = granting(300)
		x := newCredentials(t, as)
		down := errors.New("down")
		for range 5 {
			_, _, err := x.Verified(t.Context(), caller, "app", "right", verifierFunc(func(string) (*oidc.Token, error) { return nil, down }))
			require.ErrorIs(t, err, down)
		}
		require.Len(t, as.Asked(), 1)
	})
	t.Run("what cannot be credentials, or a zero Exchange", func(t *testing.T) {
		as := issuertest.New()
		_, _, err := newCredentials(t, as).Verified(t.Context(), caller, "", "x", nil)
		require.Equal(t, exchange.ErrMalformed, err)
		_, _, err = new(exchange.Exchange).Verified(t.Context(), caller, "a", "x", nil)
		issuertest.RequireOutage(t, err)
	})
}

func TestAKnownClientSurvivesAConnectionThatTheIssuerCloses(t *testing.T) {
	issuer := oidctest.NewIssuer(t)
	x, err := newFrom(t, issuer.URL, oidc.WithHTTPClient(issuer.Client()))
	require.NoError(t, err)
	raw := token(t, x, "client", "secret")
	x.Forget("client", "secret", raw)
	issuer.Break(oidctest.TokenEndpoint, once(oidctest.Abort()))
	require.NotEqual(t, raw, token(t, x, "client", "secret"), "R8")
	issuer.Break(oidctest.TokenEndpoint, once(oidctest.Abort()))
	_, err = x.Token(t.Context(), netip.Addr{}, "client", "a guess")
	issuertest.RequireOutage(t, err)
}

// once is a fault that ends after one request.
func once(f oidctest.Fault) oidctest.Fault {
	var gone atomic.Bool
	return func(h http.Handler) http.Handler {
		broken := f(h)
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if gone.Swap(true) {
				h.ServeHTTP(w, r)
				return
			}
			broken.ServeHTTP(w, r)
		})
	}
}

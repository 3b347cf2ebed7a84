package exchange_test

import (
	"context"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keybound-go/middleware/internal/issuertest"
	"github.com/keybound-go/middleware/oidc"
	"github.com/keybound-go/middleware/oidc/exchange"
	"github.com/keybound-go/middleware/oidc/oidctest"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func newCredentials(t testing.TB, as *issuertest.AS, opts ...any) *exchange.Exchange {
	t.Helper()
	c, err := newFrom(t, issuertest.Issuer, append([]any{
		oidc.WithHTTPClient(as.Client()), exchange.WithEndpoint("https://as.example/token"),
	}, opts...)...)
	require.NoError(t, err)
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// granting issues tokens to the client id with the secret "right", and answers
// invalid_client to others.
func granting(expiresIn any) http.HandlerFunc {
	var mu sync.Mutex
	serial := 0
	return func(w http.ResponseWriter, r *http.Request) {
		if _, secret, _ := r.BasicAuth(); secret != "right" {
			issuertest.WriteJSON(w, 401, map[string]any{"error": "invalid_client"})
			return
		}
		mu.Lock()
		serial++
		answer := map[string]any{"access_token": fmt.Sprint("token-", serial), "token_type": "bearer"}
		mu.Unlock()
		if expiresIn != nil {
			answer["expires_in"] = expiresIn
		}
		issuertest.WriteJSON(w, 200, answer)
	}
}

func token(t testing.TB, c *exchange.Exchange, id, secret string) string {
	t.Helper()
	raw, err := c.Token(t.Context(), netip.Addr{}, id, secret)
	require.NoError(t, err)
	return raw
}

func TestClientCredentialsRequest(t *testing.T) {
	as := issuertest.New()
	as.Token = granting(300)
	c := newCredentials(t, as, exchange.WithScopes("a", "b"), exchange.WithParameter("resource", "https://one.example"),
		exchange.WithParameter("resource", "https://two.example"), exchange.WithParameter("audience", "api"))
	require.Equal(t, "token-1", token(t, c, "a:pp", "right"))
	p := as.Last(t)
	require.Equal(t, "Basic "+base64.StdEncoding.EncodeToString([]byte("a%3App:right")), p.Header.Get("Authorization"))
	require.Equal(t, "application/json", p.Header.Get("Accept"))
	require.Equal(t, map[string][]string{
		"grant_type": {"client_credentials"}, "scope": {"a b"}, "audience": {"api"},
		"resource": {"https://one.example", "https://two.example"},
	}, map[string][]string(p.Form))

	t.Run("in the body", func(t *testing.T) {
		as := issuertest.New()
		as.Token = issuertest.Saying(map[string]any{"access_token": "x", "token_type": "Bearer"})
		token(t, newCredentials(t, as, exchange.SendSecretInBody()), "app", "right")
		require.Equal(t, map[string][]string{
			"grant_type": {"client_credentials"}, "client_id": {"app"}, "client_secret": {"right"},
		}, map[string][]string(as.Last(t).Form))
		require.Empty(t, as.Last(t).Header.Get("Authorization"))
	})
	t.Run("requests do not share their form", func(t *testing.T) {
		as := issuertest.New()
		as.Token = func(w http.ResponseWriter, r *http.Request) {
			time.Sleep(time.Millisecond)
			issuertest.WriteJSON(w, 200, map[string]any{"access_token": r.PostFormValue("client_id") + r.PostFormValue("client_secret"), "token_type": "Bearer"})
		}
		c := newCredentials(t, as, exchange.SendSecretInBody())
		var wg sync.WaitGroup
		for n := range 50 {
			wg.Go(func() {
				id := fmt.Sprint("app", n)
				if raw, err := c.Token(t.Context(), netip.Addr{}, id, "right"); raw != id+"right" || err != nil {
					t.Error(id, raw, err)
				}
			})
		}
		wg.Wait()
	})
	t.Run("against an issuer, whose token a Verifier accepts", func(t *testing.T) {
		issuer := oidctest.NewIssuer(t)
		c, err := newFrom(t, issuer.URL, oidc.WithHTTPClient(issuer.Client()), exchange.WithScopes("orders:read"))
		require.NoError(t, err)
		defer c.Close()
		require.NoError(t, c.Prefetch(t.Context()))
		raw := token(t, c, "client", "secret")
		require.Equal(t, raw, token(t, c, "client", "secret"))
		require.Equal(t, 1, issuer.Fetches(oidctest.TokenEndpoint))
		tok := accept(t, newVerifier(t, issuer), raw)
		require.Equal(t, []string{"orders:read"}, tok.Scopes)
		require.False(t, tok.Confirmation.Bound())
		_, err = c.Token(t.Context(), netip.Addr{}, "client", "wrong")
		require.Equal(t, exchange.ErrRefused, err)
	})
}

// TestExpiresIn is the list of what broke for Kong's users.
func TestExpiresIn(t *testing.T) {
	for name, c := range map[string]struct {
		value any
		live  time.Duration // 0: used once
	}{
		"a number":                   {300, 295 * time.Second},
		"early expiry":               {6, time.Second},
		"too short to be kept":       {5, 0},
		"0":                          {0, 0},
		"negative":                   {-300, 0},
		"hugely negative":            {rawJSON("-1e999"), 0},
		"missing":                    {nil, 55 * time.Second},
		"null":                       {rawJSON("null"), 55 * time.Second},
		"huge":                       {rawJSON("99999999999999999999"), time.Hour - 5*time.Second},
		"beyond every number":        {rawJSON("1e999"), time.Hour - 5*time.Second},
		"fractional":                 {300.9, 295 * time.Second},
		"a string of digits":         {"300", 295 * time.Second},
		"a huge string of digits":    {strings.Repeat("9", 500), time.Hour - 5*time.Second},
		"a string of a negative":     {"-300", 0},
		"a string that is no number": {"soon", 0},
		"the string inf":             {"inf", 0},
		"the string NaN":             {"NaN", 0},
		"an empty string":            {"", 0},
		"true":                       {true, 0},
		"a list":                     {[]int{300}, 0},
		"an object":                  {map[string]any{}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				as := issuertest.New()
				as.Token = granting(c.value)
				cc := newCredentials(t, as)
				require.Equal(t, "token-1", token(t, cc, "app", "right"))
				if c.live > 0 {
					time.Sleep(c.live - 1)
					require.Equal(t, "token-1", token(t, cc, "app", "right"))
					time.Sleep(time.Nanosecond)
				}
				require.Equal(t, "token-2", token(t, cc, "app", "right"))
			})
		})
	}
	t.Run("the ceiling can be set", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			as := issuertest.New()
			as.Token = granting(3600)
			c := newCredentials(t, as, exchange.WithTokenLifetime(time.Minute))
			token(t, c, "app", "right")
			time.Sleep(55 * time.Second)
			require.Equal(t, "token-2", token(t, c, "app", "right"))
		})
	})
}

// rawJSON is a number that Go cannot hold.
type rawJSON string

func (r rawJSON) MarshalJSON() ([]byte, error) { return []byte(r), nil }

func TestClientCredentialsAnswers(t *testing.T) {
	const jsonType = "application/json"
	for name, c := range map[string]struct {
		h    http.HandlerFunc
		want error // nil: an outage
	}{
		"invalid_client, 401":                  {issuertest.SayingRaw(401, jsonType, `{"error":"invalid_client"}`), exchange.ErrRefused},
		"invalid_client, 400":                  {issuertest.SayingRaw(400, jsonType, `{"error":"invalid_client"}`), exchange.ErrRefused},
		"unauthorized_client, as Keycloak has": {issuertest.SayingRaw(401, jsonType, `{"error":"unauthorized_client","error_description":"Invalid client or Invalid client credentials"}`), exchange.ErrRefused},
		"unauthorized_client, 400":             {issuertest.SayingRaw(400, jsonType, `{"error":"unauthorized_client"}`), exchange.ErrRefused},
		"401 without a reason":                 {issuertest.SayingRaw(401, "text/html", `<html>`), exchange.ErrRefused},
		"400 without a reason":                 {issuertest.SayingRaw(400, "text/html", `<html>`), nil},
		"invalid_scope is our mistake":         {issuertest.SayingRaw(400, jsonType, `{"error":"invalid_scope"}`), nil},
		"invalid_target is our mistake":        {issuertest.SayingRaw(400, jsonType, `{"error":"invalid_target"}`), nil},
		"an unknown error":                     {issuertest.SayingRaw(400, jsonType, `{"error":"right"}`), nil},
		"403":                                  {issuertest.SayingRaw(403, jsonType, `{"error":"invalid_client"}`), nil},
		"404":                                  {issuertest.SayingRaw(404, jsonType, `{}`), nil},
		"429":                                  {issuertest.SayingRaw(429, jsonType, `{}`), nil},
		"500":                                  {issuertest.SayingRaw(500, jsonType, `{"error":"invalid_client"}`), nil},
		"a redirect":                           {issuertest.SayingRaw(302, jsonType, `{"access_token":"x","token_type":"Bearer"}`), nil},
		"200 without a token":                  {issuertest.SayingRaw(200, jsonType, `{"token_type":"Bearer"}`), nil},
		"200 with an empty token":              {issuertest.SayingRaw(200, jsonType, `{"access_token":"","token_type":"Bearer"}`), nil},
		"200 with a token of two lines":        {issuertest.SayingRaw(200, jsonType, `{"access_token":"a\nb","token_type":"Bearer"}`), nil},
		"200 with a token that is a number":    {issuertest.SayingRaw(200, jsonType, `{"access_token":1,"token_type":"Bearer"}`), nil},
		"200 without a token type":             {issuertest.SayingRaw(200, jsonType, `{"access_token":"x"}`), nil},
		"200 with a DPoP token":                {issuertest.SayingRaw(200, jsonType, `{"access_token":"x","token_type":"DPoP"}`), nil},
		"200 with two tokens":                  {issuertest.SayingRaw(200, jsonType, `{"access_token":"x","access_token":"y","token_type":"Bearer"}`), nil},
		"200 with a body that is JSON null":    {issuertest.SayingRaw(200, jsonType, `null`), nil},
		"400 with a body that is JSON null":    {issuertest.SayingRaw(400, jsonType, `null`), nil},
		"200 with a token that is null":        {issuertest.SayingRaw(200, jsonType, `{"access_token":null,"token_type":"Bearer"}`), nil},
		"200 with HTML":                        {issuertest.SayingRaw(200, "text/html", `<html>`), nil},
	} {
		t.Run(name, func(t *testing.T) {
			as := issuertest.New()
			as.Token = c.h
			_, err := newCredentials(t, as).Token(t.Context(), netip.Addr{}, "app", "right")
			if c.want != nil {
				require.Equal(t, c.want, err)
				require.Equal(t, "invalid_client", c.want.(exchange.Error).Code())
				return
			}
			issuertest.RequireOutage(t, err)
			require.NotContains(t, err.Error(), "right")
		})
	}
	t.Run("the issuer is down", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			as := issuertest.New()
			as.Token = granting(60)
			c := newCredentials(t, as)
			token(t, c, "app", "right")
			as.Down.Store(true)
			token(t, c, "app", "right")
			_, err := c.Token(t.Context(), netip.Addr{}, "other", "right")
			issuertest.RequireOutage(t, err)
			time.Sleep(time.Minute)
			_, err = c.Token(t.Context(), netip.Addr{}, "app", "right")
			issuertest.RequireOutage(t, err)
			as.Down.Store(false)
			require.Equal(t, "token-2", token(t, c, "app", "right"))
		})
	})
	t.Run("credentials that no client has are not sent", func(t *testing.T) {
		as := issuertest.New()
		as.Token = granting(300)
		c := newCredentials(t, as)
		for _, pair := range [][2]string{
			{"", "right"}, {"app", ""}, {"a\nb", "right"}, {"app", "a\x00"}, {strings.Repeat("a", 1025), "right"},
			{"app", strings.Repeat("a", 1025)}, {"app", "\xff"},
		} {
			_, err := c.Token(t.Context(), netip.Addr{}, pair[0], pair[1])
			require.Equal(t, exchange.ErrMalformed, err)
		}
		require.Empty(t, as.Asked())
	})
}

func TestClientCredentialsMemory(t *testing.T) {
	t.Run("no other id, secret, or split of the two finds a token", func(t *testing.T) {
		as := issuertest.New()
		as.Token = func(w http.ResponseWriter, r *http.Request) {
			id, secret, _ := r.BasicAuth()
			issuertest.WriteJSON(w, 200, map[string]any{"access_token": id + "|" + secret, "token_type": "Bearer", "expires_in": 300})
		}
		c := newCredentials(t, as)
		for _, pair := range [][2]string{{"app", "secret"}, {"apps", "ecret"}, {"app", "Secret"}, {"App", "secret"}, {"ap", "psecret"}} {
			require.Equal(t, pair[0]+"|"+pair[1], token(t, c, pair[0], pair[1]))
			require.Equal(t, pair[0]+"|"+pair[1], token(t, c, pair[0], pair[1]))
		}
		require.Len(t, as.Asked(), 5)
	})
	t.Run("a hundred requests at once ask once, and one that gives up harms none", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			as := issuertest.New()
			grant := granting(300)
			as.Token = func(w http.ResponseWriter, r *http.Request) {
				time.Sleep(time.Second)
				grant(w, r)
			}
			c := newCredentials(t, as)
			ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
			defer cancel()
			var wg sync.WaitGroup
			wg.Go(func() {
				_, err := c.Token(ctx, netip.Addr{}, "app", "right")
				issuertest.RequireOutage(t, err)
			})
			for range 100 {
				wg.Go(func() {
					if raw, err := c.Token(t.Context(), netip.Addr{}, "app", "right"); raw != "token-1" || err != nil {
						t.Error(raw, err)
					}
				})
			}
			wg.Wait()
			require.Len(t, as.Asked(), 1)
		})
	})
	t.Run("a token that is not good can be forgotten, another one not", func(t *testing.T) {
		as := issuertest.New()
		as.Token = granting(300)
		c := newCredentials(t, as)
		token(t, c, "app", "right")
		c.Forget("app", "right", "token-0")
		c.Forget("app", "wrong", "token-1")
		require.Equal(t, "token-1", token(t, c, "app", "right"))
		c.Forget("app", "right", "token-1")
		require.Equal(t, "token-2", token(t, c, "app", "right"))
	})
	t.Run("the zero ClientCredentials gives no tokens", func(t *testing.T) {
		for _, c := range []*exchange.Exchange{nil, {}} {
			_, err := c.Token(t.Context(), netip.Addr{}, "app", "right")
			issuertest.RequireOutage(t, err)
			issuertest.RequireOutage(t, c.Prefetch(t.Context()))
			require.NoError(t, c.Close())
			c.Forget("a", "b", "c")
		}
	})
}

func TestGuessedSecrets(t *testing.T) {
	refused := func(t *testing.T, c *exchange.Exchange, id, secret string) {
		t.Helper()
		_, err := c.Token(t.Context(), netip.Addr{}, id, secret)
		require.Equal(t, exchange.ErrRefused, err)
	}
	throttled := func(t *testing.T, c *exchange.Exchange, id, secret string) {
		t.Helper()
		_, err := c.Token(t.Context(), netip.Addr{}, id, secret)
		issuertest.RequireOutage(t, err)
		var wait interface{ RetryAfter() time.Duration }
		require.ErrorAs(t, err, &wait)
		require.Positive(t, wait.RetryAfter())
	}
	t.Run("a wrong secret is not asked about again and again", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			as := issuertest.New()
			as.Token = granting(300)
			c := newCredentials(t, as)
			for range 100 {
				refused(t, c, "app", "wrong")
			}
			require.Len(t, as.Asked(), 1)
			require.Equal(t, "token-1", token(t, c, "app", "right"))
			time.Sleep(30 * time.Second)
			refused(t, c, "app", "wrong")
			require.Len(t, as.Asked(), 3)
		})
	})
	t.Run("five secrets are tried for an id, then one every ten seconds", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			as := issuertest.New()
			as.Token = granting(300)
			c := newCredentials(t, as)
			for n := range 5 {
				refused(t, c, "app", fmt.Sprint("guess", n))
			}
			throttled(t, c, "app", "guess5")
			throttled(t, c, "app", "right") // no oracle: a good guess looks the same
			require.Equal(t, "token-1", token(t, c, "other", "right"))
			time.Sleep(10 * time.Second)
			refused(t, c, "app", "guess6")
			throttled(t, c, "app", "guess7")
			time.Sleep(10 * time.Second)
			require.Equal(t, "token-2", token(t, c, "app", "right"))
			require.Len(t, as.Asked(), 8)
		})
	})
	t.Run("many guesses at once are no way around it", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			as := issuertest.New()
			grant := granting(300)
			as.Token = func(w http.ResponseWriter, r *http.Request) {
				time.Sleep(time.Second)
				grant(w, r)
			}
			c := newCredentials(t, as)
			var wg sync.WaitGroup
			for n := range 100 {
				wg.Go(func() { _, _ = c.Token(t.Context(), netip.Addr{}, "app", fmt.Sprint("guess", n)) })
			}
			wg.Wait()
			require.Len(t, as.Asked(), 5)
		})
	})
	t.Run("a known secret is not locked out, neither its token nor the next one", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			as := issuertest.New()
			as.Token = granting(60)
			c := newCredentials(t, as)
			token(t, c, "app", "right")
			for n := range 30 { // five minutes of guessing
				for m := range 5 {
					_, err := c.Token(t.Context(), netip.Addr{}, "app", fmt.Sprint("guess", n, m))
					require.Error(t, err)
				}
				token(t, c, "app", "right")
				time.Sleep(10 * time.Second)
			}
			require.Less(t, len(as.Asked()), 60)
		})
	})
	t.Run("also not if its token had to be forgotten", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			as := issuertest.New()
			as.Token = granting(300)
			c := newCredentials(t, as)
			c.Forget("app", "right", token(t, c, "app", "right"))
			for n := range 5 {
				refused(t, c, "app", fmt.Sprint("guess", n))
			}
			throttled(t, c, "app", "guess5")
			require.Equal(t, "token-2", token(t, c, "app", "right"))
		})
	})
	t.Run("a secret is known for a day after it was last good", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			as := issuertest.New()
			as.Token = granting(300)
			c := newCredentials(t, as)
			guess := func() {
				t.Helper()
				for n := range 5 {
					refused(t, c, "app", fmt.Sprint("guess", n))
				}
				throttled(t, c, "app", "guess5")
			}
			token(t, c, "app", "right")
			for range 2 {
				time.Sleep(24*time.Hour - time.Second)
				guess()
				token(t, c, "app", "right")
			}
			time.Sleep(24 * time.Hour)
			guess()
			throttled(t, c, "app", "right")
		})
	})
	t.Run("a secret that the issuer has withdrawn is a guess like any other", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			as := issuertest.New()
			as.Token = granting(60)
			c := newCredentials(t, as)
			token(t, c, "app", "right")
			as.Token = issuertest.SayingRaw(401, "application/json", `{"error":"invalid_client"}`)
			time.Sleep(time.Minute)
			for range 10 {
				refused(t, c, "app", "right")
			}
			require.Len(t, as.Asked(), 2)
			for n := range 5 {
				refused(t, c, "app", fmt.Sprint(n))
			}
			time.Sleep(30 * time.Second)
			for n := range 3 { // what 30 seconds give back
				refused(t, c, "app", fmt.Sprint("more", n))
			}
			throttled(t, c, "app", "right")
		})
	})
	t.Run("an outage is not a guess", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			as := issuertest.New()
			as.Token = granting(300)
			as.Down.Store(true)
			c := newCredentials(t, as)
			for n := range 50 {
				_, err := c.Token(t.Context(), netip.Addr{}, "app", fmt.Sprint("guess", n))
				issuertest.RequireOutage(t, err)
			}
			as.Down.Store(false)
			require.Equal(t, "token-1", token(t, c, "app", "right"))
		})
	})
	t.Run("a thousand clients that start at once are no attack", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			as := issuertest.New()
			grant := granting(300)
			as.Token = func(w http.ResponseWriter, r *http.Request) {
				time.Sleep(10 * time.Millisecond)
				grant(w, r)
			}
			c := newCredentials(t, as)
			var wg sync.WaitGroup
			for n := range 1000 {
				wg.Go(func() {
					if _, err := c.Token(t.Context(), netip.Addr{}, fmt.Sprint("app", n), "right"); err != nil {
						t.Error(err)
					}
				})
			}
			wg.Wait()
			granted, refused, ids := exchange.Remembered(c)
			require.Equal(t, []int{1000, 0, 0}, []int{granted, refused, ids})
		})
	})
	// guessing calls guess every so often, until the returned function is called.
	guessing := func(every time.Duration, guess func(n int)) (stop func()) {
		done := make(chan struct{})
		var all sync.WaitGroup
		all.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-done:
					return
				case <-time.After(every):
					all.Go(func() { guess(n) })
				}
			}
		})
		return sync.OnceFunc(func() { close(done); all.Wait() })
	}
	here, there := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
	slow := func() *issuertest.AS {
		as := issuertest.New()
		grant := granting(300)
		as.Token = func(w http.ResponseWriter, r *http.Request) {
			time.Sleep(200 * time.Millisecond)
			grant(w, r)
		}
		return as
	}
	// serves requires that a client that is new here gets its token, and within what
	// time.
	serves := func(t *testing.T, c *exchange.Exchange, from netip.Addr, id string, most time.Duration) {
		t.Helper()
		start := time.Now()
		_, err := c.Token(t.Context(), from, id, "right")
		assert.NoError(t, err)
		assert.LessOrEqual(t, time.Since(start), most)
	}
	t.Run("ids that are made up are bounded too, at the issuer and in memory, and get in the way of no caller elsewhere", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			as := slow()
			c := newCredentials(t, as)
			stop := guessing(2*time.Millisecond, func(n int) { _, _ = c.Token(t.Context(), here, fmt.Sprint("made up", n), "guess") })
			defer stop()
			for n := range 120 {
				time.Sleep(800 * time.Millisecond)
				serves(t, c, there, fmt.Sprint("app", n), 200*time.Millisecond)
			}
			asked := len(as.Asked())
			require.Less(t, asked, 120+100+128+122*20, "a caller's bucket, what is under way meanwhile, and the line")
			require.Greater(t, asked, 120+100+115*20)
			stop()
			granted, refused, buckets := exchange.Remembered(c)
			require.Equal(t, 120, granted)
			require.Less(t, refused, 120*20+300)
			require.LessOrEqual(t, buckets, 4096)
		})
	})
	t.Run("a few guesses from the address of all clients make the others wait, and not come back", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			as := slow()
			c := newCredentials(t, as)
			stop := guessing(time.Second/18, func(n int) { _, _ = c.Token(t.Context(), netip.Addr{}, fmt.Sprint("made up", n), "guess") })
			defer stop()
			time.Sleep(time.Minute)
			for n := range 120 {
				time.Sleep(time.Second)
				serves(t, c, netip.Addr{}, fmt.Sprint("app", n), time.Second)
			}
			stop()
			time.Sleep(11 * time.Second)
			var later sync.WaitGroup
			for n := range 50 { // the line ends soon after the guesses
				later.Go(func() { serves(t, c, netip.Addr{}, fmt.Sprint("later", n), 200*time.Millisecond) })
			}
			later.Wait()
		})
	})
	t.Run("who knows an id does not lock it out from elsewhere, and guesses no more for it", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			as := slow()
			c := newCredentials(t, as)
			stop := guessing(50*time.Millisecond, func(n int) { _, _ = c.Token(t.Context(), here, "app", fmt.Sprint("guess", n)) })
			defer stop()
			time.Sleep(10 * time.Minute)
			serves(t, c, there, "app", 200*time.Millisecond)
			require.InDelta(t, 1+5+60, len(as.Asked()), 2)
			stop()
		})
	})
	t.Run("many callers together guess one secret a second for an id", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			as := issuertest.New()
			as.Token = granting(300)
			c := newCredentials(t, as)
			stop := guessing(10*time.Millisecond, func(n int) {
				from := netip.AddrFrom4([4]byte{10, 0, byte(n >> 8), byte(n)})
				_, _ = c.Token(t.Context(), from, "app", fmt.Sprint("guess", n))
			})
			defer stop()
			time.Sleep(10 * time.Minute)
			stop()
			require.InDelta(t, 20+600, len(as.Asked()), 2)
		})
	})
	t.Run("many callers together are bounded at the issuer", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			as := issuertest.New()
			as.Token = granting(300)
			c := newCredentials(t, as)
			stop := guessing(time.Millisecond, func(n int) {
				from := netip.AddrFrom4([4]byte{10, 0, byte(n >> 8), byte(n)})
				_, _ = c.Token(t.Context(), from, fmt.Sprint("made up", n), "guess")
			})
			defer stop()
			time.Sleep(30 * time.Second)
			stop()
			require.Less(t, len(as.Asked()), 1000+128+35*(100+20))
			_, _, buckets := exchange.Remembered(c)
			require.LessOrEqual(t, buckets, 2*4096)
		})
	})
	t.Run("the addresses of a site are one caller", func(t *testing.T) {
		for _, same := range [][2]string{
			{"2001:db8:7::1", "2001:db8:7:ffff::9"}, {"192.0.2.1", "::ffff:192.0.2.1"}, {"fe80::1%eth0", "fe80::2%eth1"},
		} {
			synctest.Test(t, func(t *testing.T) {
				as := issuertest.New()
				as.Token = granting(300)
				c := newCredentials(t, as)
				for n := range 5 {
					_, err := c.Token(t.Context(), netip.MustParseAddr(same[0]), "app", fmt.Sprint("guess", n))
					require.Equal(t, exchange.ErrRefused, err)
				}
				_, err := c.Token(t.Context(), netip.MustParseAddr(same[1]), "app", "right")
				issuertest.RequireOutage(t, err)
				serves(t, c, netip.MustParseAddr("2001:db8:8::1"), "app", 0)
			})
		}
	})
	t.Run("a thousand guesses at once are no way around the line", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			as := slow()
			c := newCredentials(t, as)
			var guesses sync.WaitGroup
			for n := range 1000 {
				guesses.Go(func() { _, _ = c.Token(t.Context(), here, fmt.Sprint("made up", n), "guess") })
			}
			guesses.Wait()
			require.Less(t, len(as.Asked()), 100+128+6*20)
		})
	})
	t.Run("who waits in line gives up with its context", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			as := issuertest.New()
			as.Token = granting(300)
			c := newCredentials(t, as)
			for n := range 120 {
				_, _ = c.Token(t.Context(), here, fmt.Sprint("made up", n), "guess")
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
			defer cancel()
			asked := len(as.Asked())
			_, err := c.Token(ctx, here, "app", "right")
			require.ErrorIs(t, err, context.DeadlineExceeded)
			issuertest.RequireOutage(t, err)
			require.Len(t, as.Asked(), asked)
		})
	})
	t.Run("a secret that is not known any more when it has its slot stands in line like the others", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			as := slow()
			c := newCredentials(t, as)
			var all sync.WaitGroup
			known := func() {
				for n := range 128 {
					all.Go(func() { serves(t, c, there, fmt.Sprint("app", n), 200*time.Millisecond) })
				}
			}
			end := time.Now().Add(24 * time.Hour)
			serves(t, c, here, "app", 200*time.Millisecond)
			known()
			time.Sleep(time.Until(end.Add(-2 * time.Second)))
			for n := range 150 {
				all.Go(func() { _, _ = c.Token(t.Context(), here, fmt.Sprint("made up", n), "guess") })
			}
			time.Sleep(time.Until(end.Add(-100 * time.Millisecond)))
			known() // has all the slots until app is not known any more
			synctest.Wait()
			serves(t, c, here, "app", time.Second)
			all.Wait()
		})
	})
	t.Run("guesses under way do not keep a known client from its next token", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			as := slow()
			c := newCredentials(t, as)
			serves(t, c, there, "app", 200*time.Millisecond)
			time.Sleep(5 * time.Minute)
			var guesses sync.WaitGroup
			for n := range 1000 {
				from := netip.AddrFrom4([4]byte{10, 0, byte(n >> 8), byte(n)})
				guesses.Go(func() { _, _ = c.Token(t.Context(), from, fmt.Sprint("made up", n), "guess") })
			}
			synctest.Wait()
			serves(t, c, there, "app", 200*time.Millisecond)
			guesses.Wait()
		})
	})
}

func TestCredentialsErrors(t *testing.T) {
	for _, e := range []exchange.Error{exchange.ErrRefused, exchange.ErrMalformed} {
		require.Equal(t, "invalid_client", e.Code())
		require.Equal(t, "exchange: "+e.Description(), e.Error())
		require.NotContains(t, e.Description(), `"`)
	}
	for _, e := range []exchange.Error{0, 3, 255} {
		require.Empty(t, e.Code())
		require.Equal(t, "unknown error", e.Description())
		require.Empty(t, e.Hint())
	}
}

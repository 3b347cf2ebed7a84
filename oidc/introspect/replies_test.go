package introspect_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/keybound-go/middleware/internal/issuertest"
	"github.com/keybound-go/middleware/oidc"
	"github.com/keybound-go/middleware/oidc/clientauth"
	"github.com/keybound-go/middleware/oidc/introspect"
)

const jsonType = "application/json"

// reply is one that is not an answer, and what it means: see the table of Introspector.
type reply struct {
	status            int
	contentType, body string

	alone   bool // a refusal even if the issuer has not answered us lately
	beside  bool // a refusal if it has
	known   bool // a refusal even if the token was active lately
	outages bool // a stale answer serves
}

var replies = map[string]reply{
	"400 invalid_token":            {400, jsonType, `{"error":"invalid_token"}`, true, true, true, false},
	"401 invalid_token":            {401, jsonType, `{"error":"invalid_token"}`, true, true, true, false},
	"404 invalid_token":            {404, jsonType, `{"error":"invalid_token"}`, true, true, true, false},
	"400 invalid_token and a mark": {400, jsonType, "\xef\xbb\xbf" + `{"error":"invalid_token"}`, true, true, true, false},
	"400 empty":                    {400, "", ``, false, true, false, false},
	"401 empty":                    {401, "", ``, false, true, false, false},
	"404 empty":                    {404, "", ``, false, true, false, false},
	"404 a web page":               {404, "text/html", `<html>`, false, true, false, false},
	"404 {}":                       {404, jsonType, `{}`, false, true, false, false},
	"404 error null":               {404, jsonType, `{"error":null}`, false, true, false, false},
	"401 an error document":        {401, jsonType, `{"status":401,"error":"Unauthorized"}`, false, true, false, false},
	"400 a numeric error":          {400, jsonType, `{"error":17}`, false, true, false, false},
	"404 active: true":             {404, jsonType, `{"active":true}`, false, true, false, false},
	"400 invalid_request":          {400, jsonType, `{"error":"invalid_request"}`, false, false, false, false},
	"400 unsupported_token_type":   {400, jsonType, `{"error":"unsupported_token_type"}`, false, false, false, false},
	"401 invalid_client":           {401, jsonType, `{"error":"invalid_client"}`, false, false, false, false},
	"400 unauthorized_client":      {400, jsonType, `{"error":"unauthorized_client"}`, false, false, false, false},
	"401 access_denied":            {401, jsonType, `{"error":"access_denied"}`, false, false, false, false},
	"403 empty":                    {403, "", ``, false, false, false, false},
	"403 invalid_token":            {403, jsonType, `{"error":"invalid_token"}`, false, false, false, false},
	"405":                          {405, "", ``, false, false, false, false},
	"410":                          {410, "", ``, false, false, false, false},
	"415":                          {415, "", ``, false, false, false, false},
	"200 empty":                    {200, jsonType, ``, false, false, false, false},
	"200 a web page":               {200, "text/html", `<html>`, false, false, false, false},
	"200 {}":                       {200, jsonType, `{}`, false, false, false, false},
	"200 active: null":             {200, jsonType, `{"active":null}`, false, false, false, false},
	"200 an error":                 {200, jsonType, `{"error":"invalid_token"}`, false, false, false, false},
	"200 of another type":          {200, "text/plain", `{"active":false}`, false, false, false, false},
	"201":                          {201, jsonType, `{"active":false}`, false, false, false, false},
	"204":                          {204, "", ``, false, false, false, false},
	"302":                          {302, "text/html", `<html>`, false, false, false, false},
	"429":                          {429, "", ``, false, false, false, true},
	"500 invalid_token":            {500, jsonType, `{"error":"invalid_token"}`, false, false, false, true},
	"502 a web page":               {502, "text/html", `<html>`, false, false, false, true},
	"503":                          {503, "", ``, false, false, false, true},
	"599":                          {599, "", ``, false, false, false, true},
}

func (c reply) handler() http.HandlerFunc {
	return issuertest.SayingRaw(c.status, c.contentType, c.body)
}

// besides answers well to the token "other", and with h to all others.
func besides(h http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if r.PostFormValue("token") == "other" {
			issuertest.WriteJSON(w, 200, issuertest.GoodAnswer())
			return
		}
		h(w, r)
	}
}

func TestRepliesThatAreNoAnswers(t *testing.T) {
	requireRefused := func(t *testing.T, want bool, err error) {
		t.Helper()
		if want {
			require.Equal(t, oidc.ErrUnknown, err)
			require.Equal(t, oidc.ErrInactive.Description(), oidc.ErrUnknown.Description(), "INTRO-2.2-02")
			require.NotEqual(t, oidc.ErrInactive.Hint(), oidc.ErrUnknown.Hint())
			return
		}
		issuertest.RequireOutage(t, err)
	}
	for name, c := range replies {
		t.Run("INTRO-2.3-01 B19 "+name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				as := issuertest.New()
				as.Introspect = besides(c.handler())
				i := newIntrospector(t, as)
				_, err := i.VerifyToken(t.Context(), "unknown")
				requireRefused(t, c.alone, err)

				accept(t, i, "other")
				time.Sleep(5 * time.Second) // a refusal or failure is not remembered for longer
				_, err = i.VerifyToken(t.Context(), "unknown")
				requireRefused(t, c.beside, err)
				time.Sleep(25*time.Second + 1)
				_, err = i.VerifyToken(t.Context(), "unknown")
				requireRefused(t, c.alone, err)
			})
		})
		t.Run("INTRO-2.3-01 B19 a token that was active: "+name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				as := issuertest.New()
				as.Introspect = issuertest.Saying(issuertest.GoodAnswer(issuertest.Without("exp")))
				i := newIntrospector(t, as)
				accept(t, i, "revoked")
				as.Introspect = besides(c.handler())
				time.Sleep(5*time.Minute - 1)
				accept(t, i, "other")
				_, err := i.VerifyToken(t.Context(), "revoked")
				requireRefused(t, c.known, err)
				time.Sleep(5 * time.Second)
				_, err = i.VerifyToken(t.Context(), "revoked")
				requireRefused(t, c.beside, err)
			})
		})
		t.Run("INTRO-2.3-01 B19 a stale answer: "+name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				as := issuertest.New()
				as.Introspect = issuertest.Saying(issuertest.GoodAnswer())
				i := newIntrospector(t, as, introspect.WithStaleAnswers(time.Hour))
				accept(t, i, "stale")
				time.Sleep(time.Minute)
				as.Introspect = c.handler()
				_, err := i.VerifyToken(t.Context(), "stale")
				if c.outages {
					require.NoError(t, err)
					return
				}
				require.Error(t, err)
				as.Down.Store(true)
				time.Sleep(10 * time.Second)
				_, err = i.VerifyToken(t.Context(), "stale")
				issuertest.RequireOutage(t, err)
			})
		})
		t.Run("R1 one token is not asked about without end: "+name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				as := issuertest.New()
				as.Introspect = c.handler()
				i := newIntrospector(t, as)
				for range 100 {
					_, err := i.VerifyToken(t.Context(), "made-up")
					require.Error(t, err)
				}
				require.Len(t, as.Asked(), 1)
			})
		})
	}
	t.Run("INTRO-2.3-01 invalid_token may be about the token that we authenticate with", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			as := issuertest.New()
			as.Introspect = besides(issuertest.SayingRaw(401, jsonType, `{"error":"invalid_token"}`))
			i := newIntrospectorAs(t, as, clientauth.Bearer("api", func(context.Context) (string, error) { return "ours", nil }))
			_, err := i.VerifyToken(t.Context(), "unknown")
			issuertest.RequireOutage(t, err)
			accept(t, i, "other")
			time.Sleep(5 * time.Second)
			_, err = i.VerifyToken(t.Context(), "unknown")
			require.Equal(t, oidc.ErrUnknown, err)
		})
	})
	t.Run("INTRO-2.3-01 what another issuer answered shows nothing", func(t *testing.T) {
		as := issuertest.New()
		as.Introspect = besides(issuertest.SayingRaw(404, "", ``))
		accept(t, newIntrospector(t, as), "other")
		_, err := newIntrospector(t, as).VerifyToken(t.Context(), "unknown")
		issuertest.RequireOutage(t, err)
	})
	t.Run("INTRO-2.3-01 an answer that ends in one replica ends in the store", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			as := issuertest.New()
			as.Introspect = issuertest.Saying(issuertest.GoodAnswer())
			shared := new(sharedMap)
			one := newIntrospector(t, as, introspect.WithStore(shared, nil), introspect.WithStaleAnswers(time.Hour))
			two := newIntrospector(t, as, introspect.WithStore(shared, nil), introspect.WithStaleAnswers(time.Hour))
			accept(t, one, "revoked")
			accept(t, two, "revoked")
			time.Sleep(time.Minute)
			as.Introspect = issuertest.SayingRaw(404, "", ``)
			shared.mu.Lock()
			shared.values = nil // as its ttl has it
			shared.mu.Unlock()
			_, err := one.VerifyToken(t.Context(), "revoked")
			issuertest.RequireOutage(t, err)
			require.Len(t, shared.values, 1)
			as.Down.Store(true)
			_, err = two.VerifyToken(t.Context(), "revoked")
			issuertest.RequireOutage(t, err)
		})
	})
}

// TestNullIsAbsentInAnswers is B06.
func TestNullIsAbsentInAnswers(t *testing.T) {
	for _, name := range []string{"sub", "iss", "jti", "client_id", "nbf", "exp", "iat", "scope", "aud", "nonce", "at_hash", "events", "typ", "token_use", "purpose"} {
		t.Run("INTRO-2.2-01 B06 "+name, func(t *testing.T) {
			as := issuertest.New()
			as.Introspect = issuertest.Saying(issuertest.GoodAnswer(issuertest.With(name, nil)))
			accept(t, newIntrospector(t, as, introspect.DangerouslyAllowMissingAudience()), "opaque")
		})
	}
	t.Run("INTRO-2.2-01 B06 the whole answer of a report, in front of it a byte order mark", func(t *testing.T) {
		as := issuertest.New()
		as.Introspect = issuertest.SayingRaw(200, jsonType, "\xef\xbb\xbf"+`{"active":true,"aud":"`+issuertest.Audience+`","acr":null,"nbf":null,"auth_time":null,"authorization_details":null,"sub":"","scope":"","token_type":"Bearer"}`)
		accept(t, newIntrospector(t, as), "opaque")
	})
	t.Run("B06 a null is no evidence", func(t *testing.T) {
		for _, name := range []string{"token_type", "typ", "token_use", "purpose"} {
			as := issuertest.New()
			as.Introspect = issuertest.Saying(map[string]any{"active": true, "aud": "api", "sub": "s", name: nil})
			i, err := newFrom(t, issuertest.Issuer, "api", clientauth.SecretBasic("api", "s"), oidc.WithHTTPClient(as.Client()), introspect.WithEndpoint("https://as.example/introspect"))
			require.NoError(t, err)
			_, err = i.VerifyToken(t.Context(), "opaque")
			require.Equal(t, oidc.ErrNotAccessToken, err, name)
		}
	})
	t.Run("B01 an answer of many members", func(t *testing.T) {
		access := map[string]any{}
		for n := range 2000 {
			access[fmt.Sprint("client-", n)] = map[string]any{"roles": []string{"manage"}}
		}
		as := issuertest.New()
		as.Introspect = issuertest.Saying(issuertest.GoodAnswer(issuertest.With("resource_access", access)))
		accept(t, newIntrospector(t, as), "opaque")
	})
	t.Run("B01 an answer over the limit names it", func(t *testing.T) {
		as := issuertest.New()
		as.Introspect = issuertest.Saying(issuertest.GoodAnswer(issuertest.With("x", strings.Repeat("a", 1<<20))))
		_, err := newIntrospector(t, as).VerifyToken(t.Context(), "opaque")
		require.ErrorContains(t, err, "over the limit of 1048576 bytes")
	})
	t.Run("B25 iat in milliseconds lies ahead", func(t *testing.T) {
		for name, want := range map[string]error{"iat": oidc.ErrIssuedInFuture, "nbf": oidc.ErrNotYetValid, "exp": oidc.ErrClaims} {
			as := issuertest.New()
			as.Introspect = issuertest.Saying(issuertest.GoodAnswer(issuertest.With(name, time.Now().UnixMilli())))
			_, err := newIntrospector(t, as).VerifyToken(t.Context(), "opaque")
			require.Equal(t, want, err, name)
		}
	})
}

// TestOtherTokensForOurClient is R16: answers about tokens whose audience is the client
// that asks, as that of ID tokens is.
func TestOtherTokensForOurClient(t *testing.T) {
	for name, c := range map[string]struct {
		members map[string]any
		want    error
	}{
		"R16 an ID token with nonce":           {map[string]any{"nonce": "n", "auth_time": 1700000000, "azp": "api"}, oidc.ErrNotAccessToken},
		"R16 an ID token with a scope":         {map[string]any{"nonce": "n", "scope": "openid"}, oidc.ErrNotAccessToken},
		"R16 an ID token without nonce":        {map[string]any{"auth_time": 1700000000, "azp": "api", "email": "a@b"}, oidc.ErrNotAccessToken},
		"R16 an ID token with at_hash":         {map[string]any{"at_hash": "x"}, oidc.ErrNotAccessToken},
		"R16 one that is called Bearer":        {map[string]any{"at_hash": "x", "token_type": "Bearer"}, oidc.ErrNotAccessToken},
		"R16 a refresh token by token_type":    {map[string]any{"token_type": "refresh_token"}, oidc.ErrNotAccessToken},
		"R16 a refresh token by token_use":     {map[string]any{"token_type": "Bearer", "token_use": "refresh_token"}, oidc.ErrNotAccessToken},
		"R16 a refresh token by purpose":       {map[string]any{"token_type": nil, "purpose": "refresh_token"}, oidc.ErrNotAccessToken},
		"R16 the same, called Bearer":          {map[string]any{"token_type": "Bearer", "purpose": "refresh_token"}, oidc.ErrNotAccessToken},
		"R16 a refresh token by its scope":     {map[string]any{"scope": "openid offline_access"}, oidc.ErrNotAccessToken},
		"R16 a logout token by its events":     {map[string]any{"events": map[string]any{"http://schemas.openid.net/event/backchannel-logout": map[string]any{}}}, oidc.ErrNotAccessToken},
		"R16 the same, called Bearer too":      {map[string]any{"token_type": "Bearer", "events": map[string]any{}}, oidc.ErrNotAccessToken},
		"R16 nothing but the audience":         {nil, oidc.ErrNotAccessToken},
		"R16 an access token by token_type":    {map[string]any{"token_type": "Bearer"}, nil},
		"R16 with the nonce of old Keycloak":   {map[string]any{"token_type": "Bearer", "nonce": "n"}, nil},
		"R16 an access token by typ":           {map[string]any{"typ": "Bearer"}, nil},
		"R16 an access token by token_use":     {map[string]any{"token_use": "access_token"}, nil},
		"R16 an access token by purpose":       {map[string]any{"purpose": "access_token"}, nil},
		"R16 an access token for us, besides":  {map[string]any{"aud": []string{"api", issuertest.Audience}}, nil},
		"R16 an ID token with two audiences":   {map[string]any{"aud": []string{"api", issuertest.Audience}, "nonce": "n"}, oidc.ErrNotAccessToken},
		"R16 an access token for us, by scope": {map[string]any{"aud": issuertest.Audience, "scope": "a"}, nil},
	} {
		for _, profile := range []oidc.Profile{oidc.RFC9068, oidc.Okta} {
			t.Run(profile.String()+" "+name, func(t *testing.T) {
				if profile == oidc.Okta && c.members["scope"] != nil {
					t.Skip("Okta's scopes are in scp")
				}
				answer := map[string]any{"active": true, "aud": "api", "sub": "s", "iss": issuertest.Issuer, "exp": 4000000000, "iat": 1700000000}
				for name, v := range c.members {
					answer[name] = v
				}
				as := issuertest.New()
				as.Introspect = issuertest.Saying(answer)
				i, err := newFrom(t, issuertest.Issuer, "api", clientauth.SecretBasic("api", "s"), introspect.WithAudiences(issuertest.Audience),
					introspect.WithProfile(profile), oidc.WithHTTPClient(as.Client()), introspect.WithEndpoint("https://as.example/introspect"))
				require.NoError(t, err)
				_, err = i.VerifyToken(t.Context(), "opaque")
				require.Equal(t, c.want, err)
			})
		}
	}
}

// TestAnAnswerIsNotOlderThanItsLifetime is R7.
func TestAnAnswerIsNotOlderThanItsLifetime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		as := issuertest.New()
		var revoked atomic.Bool
		as.Introspect = func(w http.ResponseWriter, _ *http.Request) {
			answer := issuertest.GoodAnswer()
			if revoked.Load() {
				answer = map[string]any{"active": false}
			}
			time.Sleep(2 * time.Second) // the answer is made, and comes late
			issuertest.WriteJSON(w, 200, answer)
		}
		for lifetime, want := range map[time.Duration]error{0: oidc.ErrInactive, 100 * time.Millisecond: oidc.ErrInactive, time.Minute: nil} {
			revoked.Store(false)
			i := newIntrospector(t, as, introspect.WithAnswerLifetime(lifetime))
			first := make(chan error)
			go func() {
				_, err := i.VerifyToken(t.Context(), "opaque")
				first <- err
			}()
			time.Sleep(500 * time.Millisecond)
			revoked.Store(true)
			time.Sleep(500 * time.Millisecond)
			_, err := i.VerifyToken(t.Context(), "opaque")
			require.Equal(t, want, err, "R7 %v", lifetime)
			require.NoError(t, <-first)
		}
	})
	t.Run("R7 requests that come during a question share the next one", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			as := issuertest.New()
			as.Introspect = func(w http.ResponseWriter, _ *http.Request) {
				time.Sleep(time.Second)
				issuertest.WriteJSON(w, 200, issuertest.GoodAnswer())
			}
			i := newIntrospector(t, as, introspect.WithAnswerLifetime(0))
			done := make(chan error, 101)
			ask := func() {
				_, err := i.VerifyToken(t.Context(), "opaque")
				done <- err
			}
			go ask()
			time.Sleep(time.Second / 2)
			for range 100 {
				go ask()
			}
			for range 101 {
				require.NoError(t, <-done)
			}
			require.Len(t, as.Asked(), 2)
		})
	})
}

package oidc_test

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keybound-go/middleware/oidc"
	"github.com/stretchr/testify/require"
)

func TestIntrospectionQuestion(t *testing.T) {
	t.Run("INTRO-2.1-01 the token is posted form-encoded and never in the URL", func(t *testing.T) {
		as := newFakeAS()
		as.introspect = saying(goodAnswer())
		const token = "a~b+c/d=e%20&token=other#f;g\"\\"
		_, err := newIntrospector(t, as).VerifyToken(t.Context(), token)
		require.NoError(t, err)
		require.Equal(t, []string{token}, as.last(t).form["token"])
		require.Equal(t, "access_token", as.last(t).form.Get("token_type_hint"))
		require.Equal(t, "https://as.example/introspect", as.last(t).url)
		require.Equal(t, "application/json", as.last(t).header.Get("Accept"))
		require.Equal(t, "application/x-www-form-urlencoded", as.last(t).header.Get("Content-Type"))
	})
	t.Run("INTRO-2.1-03 plain http is refused, given or discovered", func(t *testing.T) {
		_, err := oidc.NewIntrospector(fakeIssuer, fakeAudience, oidc.PublicClient("api"),
			oidc.WithIntrospectionEndpoint("http://as.example/introspect"))
		require.ErrorContains(t, err, "https")

		as := newFakeAS()
		as.introspect = saying(goodAnswer())
		as.metadata["introspection_endpoint"] = "http://as.example/introspect"
		i, err := oidc.NewIntrospector(fakeIssuer, fakeAudience, oidc.PublicClient("api"), oidc.WithHTTPClient(as.client()))
		require.NoError(t, err)
		defer i.Close()
		_, err = i.VerifyToken(t.Context(), "opaque")
		requireOutage(t, err)
		require.Empty(t, as.asked())
	})
	t.Run("INTRO-2.1-03 DISC-05 a server that TLS does not vouch for is not asked", func(t *testing.T) {
		as := newFakeAS()
		as.introspect = saying(goodAnswer())
		srv := httptest.NewTLSServer(as)
		defer srv.Close()
		srv.Config.ErrorLog = discardLog()
		i, err := oidc.NewIntrospector(fakeIssuer, fakeAudience, oidc.PublicClient("api"),
			oidc.WithIntrospectionEndpoint(srv.URL+"/introspect"))
		require.NoError(t, err)
		defer i.Close()
		_, err = i.VerifyToken(t.Context(), "opaque")
		requireOutage(t, err)
		require.Empty(t, as.asked())
	})
	t.Run("FAPI-5.2 TLS 1.1 is not spoken", func(t *testing.T) {
		as := newFakeAS()
		as.introspect = saying(goodAnswer())
		srv := httptest.NewUnstartedServer(as)
		srv.TLS = &tls.Config{MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}
		srv.Config.ErrorLog = discardLog()
		srv.StartTLS()
		defer srv.Close()
		roots := x509.NewCertPool()
		roots.AddCert(srv.Certificate())
		auth := oidc.TLSClientAuth("api", func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return new(tls.Certificate), nil })
		own := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS10}}}
		i, err := oidc.NewIntrospector(fakeIssuer, fakeAudience, auth, oidc.WithHTTPClient(own),
			oidc.WithIntrospectionEndpoint(srv.URL+"/introspect"))
		require.NoError(t, err)
		defer i.Close()
		_, err = i.VerifyToken(t.Context(), "opaque")
		require.ErrorContains(t, err, "protocol version")
	})
	for _, status := range []int{301, 302, 303, 307, 308} {
		t.Run(fmt.Sprint("DISC-09 a redirect is not followed, not even within the origin: ", status), func(t *testing.T) {
			as := newFakeAS()
			as.introspect = func(w http.ResponseWriter, r *http.Request) {
				if strings.HasPrefix(r.URL.Path, "/elsewhere") {
					writeJSON(w, 200, goodAnswer())
					return
				}
				http.Redirect(w, r, "/elsewhere/introspect", status)
			}
			_, err := newIntrospector(t, as).VerifyToken(t.Context(), "opaque")
			requireOutage(t, err)
			require.Len(t, as.asked(), 1)
		})
	}
	t.Run("what no issuer can have made is not asked about", func(t *testing.T) {
		as := newFakeAS()
		i := newIntrospector(t, as, oidc.WithMaxTokenSize(256))
		for token, want := range map[string]error{
			"": oidc.ErrMalformed, "a b": oidc.ErrMalformed, "a\nb": oidc.ErrMalformed, "\u00e9": oidc.ErrMalformed,
			strings.Repeat("a", 257): oidc.ErrTooLarge,
		} {
			_, err := i.VerifyToken(t.Context(), token)
			require.Equal(t, want, err, "%q", token)
		}
		require.Empty(t, as.asked())
	})
}

func TestIntrospectionAnswer(t *testing.T) {
	now := time.Now()
	for name, c := range map[string]struct {
		edit func(map[string]any)
		want error
	}{
		"INTRO-2.2-01 active is false":               {with("active", false), oidc.ErrInactive},
		"INTRO-2.2-03 exp is past":                   {with("exp", now.Add(-time.Hour).Unix()), oidc.ErrExpired},
		"INTRO-2.2-03 exp is 0":                      {with("exp", 0), oidc.ErrExpired},
		"INTRO-2.2-03 exp is negative":               {with("exp", -1), oidc.ErrExpired},
		"INTRO-2.2-03 exp is the zero Time":          {with("exp", rawJSON("-62135596800")), oidc.ErrClaims},
		"INTRO-2.2-03 exp is the same, written so":   {with("exp", rawJSON("-6.21355968e10")), oidc.ErrClaims},
		"INTRO-2.2-03 exp is a second later":         {with("exp", rawJSON("-62135596799")), oidc.ErrExpired},
		"INTRO-2.2-03 exp is a string":               {with("exp", "4102444800"), oidc.ErrClaims},
		"INTRO-2.2-03 exp is not a date":             {with("exp", 1e300), oidc.ErrClaims},
		"INTRO-2.2-03 exp is a list":                 {with("exp", []int{1}), oidc.ErrClaims},
		"INTRO-2.2-03 nbf is to come":                {with("nbf", now.Add(time.Hour).Unix()), oidc.ErrNotYetValid},
		"INTRO-2.2-03 iat is to come":                {with("iat", now.Add(time.Hour).Unix()), oidc.ErrIssuedInFuture},
		"INTRO-2.2-03 iss is another":                {with("iss", fakeIssuer+"/"), oidc.ErrIssuer},
		"INTRO-2.2-03 aud is another":                {with("aud", "https://other.example"), oidc.ErrAudience},
		"INTRO-2.2-03 aud is missing":                {without("aud"), oidc.ErrAudience},
		"INTRO-2.2-03 aud is an empty list":          {with("aud", []string{}), oidc.ErrAudience},
		"INTRO-2.2-04 cnf is a string":               {with("cnf", thumbprint43), oidc.ErrConfirmation},
		"INTRO-2.2-04 cnf is empty":                  {with("cnf", map[string]any{}), oidc.ErrConfirmation},
		"INTRO-2.2-04 cnf is null":                   {with("cnf", nil), oidc.ErrConfirmation},
		"INTRO-2.2-04 cnf.jkt is cut short":          {with("cnf", map[string]any{"jkt": thumbprint43[1:]}), oidc.ErrConfirmation},
		"INTRO-2.2-04 cnf.jkt is a list":             {with("cnf", map[string]any{"jkt": []string{thumbprint43}}), oidc.ErrConfirmation},
		"INTRO-2.2-04 cnf names only the unknown":    {with("cnf", map[string]any{"kid": "1"}), oidc.ErrConfirmation},
		"INTRO-2.2-05 token_type DPoP without a key": {with("token_type", "DPoP"), oidc.ErrTokenType},
		"INTRO-2.2-05 the same in lower case":        {with("token_type", "dpop"), oidc.ErrTokenType},
		"INTRO-2.2-05 with a certificate only": {func(a map[string]any) {
			a["token_type"], a["cnf"] = "DPoP", map[string]any{"x5t#S256": thumbprint43}
		}, oidc.ErrTokenType},
		"token_type is of a kind not known here":  {with("token_type", "mac"), oidc.ErrNotAccessToken},
		"token_type is not a string":              {with("token_type", true), oidc.ErrNotAccessToken},
		"AT-X-01 a refresh token of Keycloak":     {with("typ", "Refresh"), oidc.ErrNotAccessToken},
		"AT-X-01 an ID token of Keycloak":         {with("typ", "ID"), oidc.ErrNotAccessToken},
		"AT-X-01 a refresh token of Hydra":        {with("token_use", "refresh_token"), oidc.ErrNotAccessToken},
		"AT-X-01 an ID token, by its at_hash":     {with("at_hash", "x"), oidc.ErrNotAccessToken},
		"AT-X-01 an ID token, by its c_hash":      {with("c_hash", "x"), oidc.ErrNotAccessToken},
		"AT-X-01 an ID token, by its s_hash":      {with("s_hash", "x"), oidc.ErrNotAccessToken},
		"AT-X-01 an ID token of Cognito or Hydra": {with("token_use", "id"), oidc.ErrNotAccessToken},
		"AT-X-01 the same, with another name":     {with("token_use", "id_token"), oidc.ErrNotAccessToken},
		"scope is a list":                         {with("scope", []string{"a"}), oidc.ErrScope},
	} {
		t.Run(name, func(t *testing.T) {
			as := newFakeAS()
			as.introspect = saying(goodAnswer(c.edit))
			_, err := newIntrospector(t, as).VerifyToken(t.Context(), "opaque")
			require.Equal(t, c.want, err)
		})
	}

	for name, c := range map[string]struct {
		edit func(map[string]any)
		opts []oidc.Option
		want func(*testing.T, *oidc.Token)
	}{
		"a good answer": {func(map[string]any) {}, nil, func(t *testing.T, tok *oidc.Token) {
			require.Equal(t, "alice", tok.Subject)
			require.Equal(t, "app", tok.ClientID)
			require.Equal(t, []string{"orders:read", "orders:write"}, tok.Scopes)
			require.False(t, tok.Confirmation.Bound())
		}},
		"INTRO-2.2-04 cnf names key and certificate": {
			with("cnf", map[string]any{"jkt": thumbprint43, "x5t#S256": thumbprint43}), nil, func(t *testing.T, tok *oidc.Token) {
				require.Equal(t, oidc.Confirmation{JKT: thumbprint43, X5T: thumbprint43}, tok.Confirmation)
			}},
		"INTRO-2.2-05 AMB-20 token_type Bearer with cnf.jkt is bound": {
			with("cnf", map[string]any{"jkt": thumbprint43}), nil, func(t *testing.T, tok *oidc.Token) {
				require.Equal(t, thumbprint43, tok.Confirmation.JKT)
			}},
		"INTRO-2.2-03 iss may be missing: the endpoint is the issuer's": {without("iss"), nil, func(t *testing.T, tok *oidc.Token) {
			require.Equal(t, fakeIssuer, tok.Issuer)
		}},
		"INTRO-2.2-03 aud is a list": {with("aud", []string{"x", fakeAudience}), nil, nil},
		"INTRO-2.2-03 aud is missing and need not be there": {
			without("aud"), []oidc.Option{oidc.DangerouslyAllowMissingAudience()}, nil},
		"exp, token_type and the rest may be missing": {func(a map[string]any) {
			for _, name := range []string{"exp", "iat", "token_type", "sub", "client_id", "jti", "scope"} {
				delete(a, name)
			}
		}, nil, func(t *testing.T, tok *oidc.Token) { require.True(t, tok.Expiry.IsZero()) }},
		"an access token of Keycloak": {
			with("typ", "Bearer"), []oidc.Option{oidc.WithProfile(oidc.Keycloak)}, nil},
		"an access token of Hydra": {with("token_use", "access_token"), nil, nil},
	} {
		t.Run(name, func(t *testing.T) {
			as := newFakeAS()
			as.introspect = saying(goodAnswer(c.edit))
			tok, err := newIntrospector(t, as, c.opts...).VerifyToken(t.Context(), "opaque")
			require.NoError(t, err)
			if c.want != nil {
				c.want(t, tok)
			}
		})
	}

	t.Run("INTRO-2.2-03 an aud that is there is checked although it need not be", func(t *testing.T) {
		as := newFakeAS()
		as.introspect = saying(goodAnswer(with("aud", "https://other.example")))
		_, err := newIntrospector(t, as, oidc.DangerouslyAllowMissingAudience()).VerifyToken(t.Context(), "opaque")
		require.Equal(t, oidc.ErrAudience, err)
	})
	t.Run("INTRO-2.2-03 also one that names nobody", func(t *testing.T) {
		for _, aud := range []any{[]string{}, "", []string{""}} {
			as := newFakeAS()
			as.introspect = saying(goodAnswer(with("aud", aud)))
			_, err := newIntrospector(t, as, oidc.DangerouslyAllowMissingAudience()).VerifyToken(t.Context(), "opaque")
			require.Equal(t, oidc.ErrAudience, err, "%q", aud)
		}
	})
	t.Run("AT-X-01 without aud an answer must name an access token, which that of oidc-provider to a refresh token does not", func(t *testing.T) {
		for name, c := range map[string]struct {
			edits []func(map[string]any)
			want  error
		}{
			"a scope only":      {nil, oidc.ErrNotAccessToken},
			"token_type null":   {[]func(map[string]any){with("token_type", nil)}, oidc.ErrNotAccessToken},
			"token_type":        {[]func(map[string]any){with("token_type", "Bearer")}, nil},
			"Keycloak's typ":    {[]func(map[string]any){with("typ", "Bearer")}, nil},
			"Hydra's token_use": {[]func(map[string]any){with("token_use", "access_token")}, nil},
			"our aud":           {[]func(map[string]any){with("aud", fakeAudience)}, nil},
		} {
			as := newFakeAS()
			as.introspect = saying(goodAnswer(append([]func(map[string]any){without("token_type"), without("aud")}, c.edits...)...))
			_, err := newIntrospector(t, as, oidc.DangerouslyAllowMissingAudience()).VerifyToken(t.Context(), "opaque")
			require.Equal(t, c.want, err, name)
		}
	})
	t.Run("AT-X-01 by the Keycloak profile only what calls itself an access token is one", func(t *testing.T) {
		as := newFakeAS()
		as.introspect = saying(goodAnswer())
		_, err := newIntrospector(t, as, oidc.WithProfile(oidc.Keycloak)).VerifyToken(t.Context(), "opaque")
		require.Equal(t, oidc.ErrNotAccessToken, err)
	})
	t.Run("INTRO-2.2-02 an inactive token is answered alike, whatever else the issuer says", func(t *testing.T) {
		for _, extra := range []map[string]any{
			{"active": false}, {"active": false, "reason": "expired"}, {"active": false, "exp": "x", "cnf": 1, "aud": 7},
		} {
			as := newFakeAS()
			as.introspect = saying(extra)
			_, err := newIntrospector(t, as).VerifyToken(t.Context(), "opaque")
			require.Equal(t, oidc.ErrInactive, err)
			require.Equal(t, "invalid_token", oidc.ErrInactive.Code())
		}
	})
}

func TestIntrospectionOutages(t *testing.T) {
	const jsonType = "application/json"
	for name, h := range map[string]http.HandlerFunc{
		"INTRO-2.2-01 active is missing":                        sayingRaw(200, jsonType, `{"sub":"alice"}`),
		"INTRO-2.2-01 active is the string true":                sayingRaw(200, jsonType, `{"active":"true"}`),
		"INTRO-2.2-01 active is 1":                              sayingRaw(200, jsonType, `{"active":1}`),
		"INTRO-2.2-01 active is null":                           sayingRaw(200, jsonType, `{"active":null}`),
		"INTRO-2.2-01 active is there twice":                    sayingRaw(200, jsonType, `{"active":false,"active":true}`),
		"INTRO-2.2-01 active is spelled Active":                 sayingRaw(200, jsonType, `{"Active":true}`),
		"INTRO-2.2-01 the answer is a list":                     sayingRaw(200, jsonType, `[{"active":true}]`),
		"INTRO-2.2-01 the answer is null":                       sayingRaw(200, jsonType, `null`),
		"INTRO-2.2-01 the answer is empty":                      sayingRaw(200, jsonType, ``),
		"INTRO-2.2-01 something follows the answer":             sayingRaw(200, jsonType, `{"active":true}{}`),
		"INTRO-2.2-01 the answer is not UTF-8":                  sayingRaw(200, jsonType, "{\"active\":true,\"sub\":\"\xff\"}"),
		"INTRO-2.2-01 the answer is nested too deeply":          sayingRaw(200, jsonType, `{"active":true,"x":`+strings.Repeat("[", 99)+strings.Repeat("]", 99)+`}`),
		"INTRO-2.2-01 the answer is HTML":                       sayingRaw(200, "text/html", `{"active":true}`),
		"INTRO-2.2-01 the answer has no type":                   sayingRaw(200, "", `{"active":true}`),
		"INTRO-2.2-01 the answer has status 201":                sayingRaw(201, jsonType, `{"active":true}`),
		"INTRO-2.3-01 the issuer answers 400":                   sayingRaw(400, jsonType, `{"error":"unsupported_token_type"}`),
		"INTRO-2.3-01 the issuer does not accept our client":    sayingRaw(401, jsonType, `{"error":"invalid_client"}`),
		"INTRO-2.3-01 the issuer forbids our client":            sayingRaw(403, jsonType, `{}`),
		"INTRO-2.3-01 the issuer does not know the endpoint":    sayingRaw(404, jsonType, `{"active":true}`),
		"INTRO-2.3-01 the issuer is broken":                     sayingRaw(500, jsonType, `{"active":true}`),
		"INTRO-2.3-01 the answer is over a megabyte":            sayingRaw(200, jsonType, `{"active":true,"x":"`+strings.Repeat("a", 1<<20)+`"}`),
		"INTRO-2.3-01 the issuer redirects to something active": sayingRaw(302, jsonType, `{"active":true}`),
	} {
		t.Run(name, func(t *testing.T) {
			as := newFakeAS()
			as.introspect = h
			_, err := newIntrospector(t, as).VerifyToken(t.Context(), "opaque")
			requireOutage(t, err)
			require.NotContains(t, err.Error(), "s3cret")
			require.NotContains(t, err.Error(), "opaque")
		})
	}
	t.Run("INTRO-2.3-01 the issuer cannot be reached", func(t *testing.T) {
		as := newFakeAS()
		as.down.Store(true)
		_, err := newIntrospector(t, as).VerifyToken(t.Context(), "opaque")
		requireOutage(t, err)
	})
	t.Run("INTRO-2.3-01 an outage is not remembered", func(t *testing.T) {
		as := newFakeAS()
		as.introspect = saying(goodAnswer())
		as.down.Store(true)
		i := newIntrospector(t, as)
		_, err := i.VerifyToken(t.Context(), "opaque")
		requireOutage(t, err)
		as.down.Store(false)
		_, err = i.VerifyToken(t.Context(), "opaque")
		require.NoError(t, err)
	})
	t.Run("INTRO-2.3-01 the error knows how long the issuer wants to be left alone", func(t *testing.T) {
		for value, want := range map[string]time.Duration{
			"7": 7 * time.Second, "100000": time.Minute, "": 0, "-1": 0, "soon": 0, "1e3": 0, "99999999999999999999": 0,
		} {
			as := newFakeAS()
			as.introspect = func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Retry-After", value)
				w.WriteHeader(http.StatusTooManyRequests)
			}
			_, err := newIntrospector(t, as).VerifyToken(t.Context(), "opaque")
			var wait interface{ RetryAfter() time.Duration }
			require.ErrorAs(t, err, &wait)
			require.Equal(t, want, wait.RetryAfter(), value)
		}
	})
	t.Run("INTRO-2.3-01 the issuer is down at start, then up", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			as := newFakeAS()
			as.introspect = saying(goodAnswer())
			as.down.Store(true)
			i, err := oidc.NewIntrospector(fakeIssuer, fakeAudience, oidc.PublicClient("api"), oidc.WithHTTPClient(as.client()))
			require.NoError(t, err)
			defer i.Close()
			_, err = i.VerifyToken(t.Context(), "opaque")
			requireOutage(t, err)
			requireOutage(t, i.Prefetch(t.Context()))
			as.down.Store(false)
			time.Sleep(time.Minute)
			accept(t, i, "opaque")
			require.NoError(t, i.Prefetch(t.Context()))
			require.NoError(t, i.Close())
			require.NoError(t, i.Close())
		})
	})
}

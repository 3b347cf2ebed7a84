package introspect_test

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

	"github.com/keybound-go/middleware/internal/issuertest"
	"github.com/keybound-go/middleware/oidc"
	"github.com/keybound-go/middleware/oidc/clientauth"
	"github.com/keybound-go/middleware/oidc/introspect"
	"github.com/stretchr/testify/require"
)

func TestIntrospectionQuestion(t *testing.T) {
	t.Run("INTRO-2.1-01 the token is posted form-encoded and never in the URL", func(t *testing.T) {
		as := issuertest.New()
		as.Introspect = issuertest.Saying(issuertest.GoodAnswer())
		const token = "a~b+c/d=e%20&token=other#f;g\"\\"
		_, err := newIntrospector(t, as).VerifyToken(t.Context(), token)
		require.NoError(t, err)
		require.Equal(t, []string{token}, as.Last(t).Form["token"])
		require.Equal(t, "access_token", as.Last(t).Form.Get("token_type_hint"))
		require.Equal(t, "https://as.example/introspect", as.Last(t).URL)
		require.Equal(t, "application/json", as.Last(t).Header.Get("Accept"))
		require.Equal(t, "application/x-www-form-urlencoded", as.Last(t).Header.Get("Content-Type"))
	})
	t.Run("INTRO-2.1-03 plain http is refused, given or discovered", func(t *testing.T) {
		_, err := newFrom(t, issuertest.Issuer, issuertest.Audience, clientauth.Public("api"),
			introspect.WithEndpoint("http://as.example/introspect"))
		require.ErrorContains(t, err, "https")

		as := issuertest.New()
		as.Introspect = issuertest.Saying(issuertest.GoodAnswer())
		as.Metadata["introspection_endpoint"] = "http://as.example/introspect"
		i, err := newFrom(t, issuertest.Issuer, issuertest.Audience, clientauth.Public("api"), oidc.WithHTTPClient(as.Client()))
		require.NoError(t, err)
		defer i.Close()
		_, err = i.VerifyToken(t.Context(), "opaque")
		issuertest.RequireOutage(t, err)
		require.Empty(t, as.Asked())
	})
	t.Run("INTRO-2.1-03 DISC-05 a server that TLS does not vouch for is not asked", func(t *testing.T) {
		as := issuertest.New()
		as.Introspect = issuertest.Saying(issuertest.GoodAnswer())
		srv := httptest.NewTLSServer(as)
		defer srv.Close()
		srv.Config.ErrorLog = discardLog()
		i, err := newFrom(t, issuertest.Issuer, issuertest.Audience, clientauth.Public("api"),
			introspect.WithEndpoint(srv.URL+"/introspect"))
		require.NoError(t, err)
		defer i.Close()
		_, err = i.VerifyToken(t.Context(), "opaque")
		issuertest.RequireOutage(t, err)
		require.Empty(t, as.Asked())
	})
	t.Run("FAPI-5.2 TLS 1.1 is not spoken", func(t *testing.T) {
		as := issuertest.New()
		as.Introspect = issuertest.Saying(issuertest.GoodAnswer())
		srv := httptest.NewUnstartedServer(as)
		srv.TLS = &tls.Config{MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}
		srv.Config.ErrorLog = discardLog()
		srv.StartTLS()
		defer srv.Close()
		roots := x509.NewCertPool()
		roots.AddCert(srv.Certificate())
		auth := clientauth.TLS("api", func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return new(tls.Certificate), nil })
		own := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS10}}}
		i, err := newFrom(t, issuertest.Issuer, issuertest.Audience, auth, oidc.WithHTTPClient(own),
			introspect.WithEndpoint(srv.URL+"/introspect"))
		require.NoError(t, err)
		defer i.Close()
		_, err = i.VerifyToken(t.Context(), "opaque")
		require.ErrorContains(t, err, "protocol version")
	})
	for _, status := range []int{301, 302, 303, 307, 308} {
		t.Run(fmt.Sprint("DISC-09 a redirect is not followed, not even within the origin: ", status), func(t *testing.T) {
			as := issuertest.New()
			as.Introspect = func(w http.ResponseWriter, r *http.Request) {
				if strings.HasPrefix(r.URL.Path, "/elsewhere") {
					issuertest.WriteJSON(w, 200, issuertest.GoodAnswer())
					return
				}
				http.Redirect(w, r, "/elsewhere/introspect", status)
			}
			_, err := newIntrospector(t, as).VerifyToken(t.Context(), "opaque")
			issuertest.RequireOutage(t, err)
			require.Len(t, as.Asked(), 1)
		})
	}
	t.Run("what no issuer can have made is not asked about", func(t *testing.T) {
		as := issuertest.New()
		i := newIntrospector(t, as, introspect.WithMaxTokenSize(256))
		for token, want := range map[string]error{
			"": oidc.ErrMalformed, "a b": oidc.ErrMalformed, "a\nb": oidc.ErrMalformed, "\u00e9": oidc.ErrMalformed,
			strings.Repeat("a", 257): oidc.ErrTooLarge,
		} {
			_, err := i.VerifyToken(t.Context(), token)
			require.Equal(t, want, err, "%q", token)
		}
		require.Empty(t, as.Asked())
	})
}

func TestIntrospectionAnswer(t *testing.T) {
	now := time.Now()
	for name, c := range map[string]struct {
		edit func(map[string]any)
		want error
	}{
		"INTRO-2.2-01 active is false":               {issuertest.With("active", false), oidc.ErrInactive},
		"INTRO-2.2-03 exp is past":                   {issuertest.With("exp", now.Add(-time.Hour).Unix()), oidc.ErrExpired},
		"INTRO-2.2-03 exp is 0":                      {issuertest.With("exp", 0), oidc.ErrExpired},
		"INTRO-2.2-03 exp is negative":               {issuertest.With("exp", -1), oidc.ErrExpired},
		"INTRO-2.2-03 exp is the zero Time":          {issuertest.With("exp", rawJSON("-62135596800")), oidc.ErrClaims},
		"INTRO-2.2-03 exp is the same, written so":   {issuertest.With("exp", rawJSON("-6.21355968e10")), oidc.ErrClaims},
		"INTRO-2.2-03 exp is a second later":         {issuertest.With("exp", rawJSON("-62135596799")), oidc.ErrExpired},
		"INTRO-2.2-03 exp is a string":               {issuertest.With("exp", "4102444800"), oidc.ErrClaims},
		"INTRO-2.2-03 exp is not a date":             {issuertest.With("exp", 1e300), oidc.ErrClaims},
		"INTRO-2.2-03 exp is a list":                 {issuertest.With("exp", []int{1}), oidc.ErrClaims},
		"INTRO-2.2-03 nbf is to come":                {issuertest.With("nbf", now.Add(time.Hour).Unix()), oidc.ErrNotYetValid},
		"INTRO-2.2-03 iat is to come":                {issuertest.With("iat", now.Add(time.Hour).Unix()), oidc.ErrIssuedInFuture},
		"INTRO-2.2-03 iss is another":                {issuertest.With("iss", issuertest.Issuer+"/"), oidc.ErrIssuer},
		"INTRO-2.2-03 aud is another":                {issuertest.With("aud", "https://other.example"), oidc.ErrAudience},
		"INTRO-2.2-03 aud is missing":                {issuertest.Without("aud"), oidc.ErrAudience},
		"INTRO-2.2-03 aud is an empty list":          {issuertest.With("aud", []string{}), oidc.ErrAudience},
		"INTRO-2.2-04 cnf is a string":               {issuertest.With("cnf", issuertest.Thumbprint), oidc.ErrConfirmation},
		"INTRO-2.2-04 cnf is empty":                  {issuertest.With("cnf", map[string]any{}), oidc.ErrConfirmation},
		"INTRO-2.2-04 cnf is null":                   {issuertest.With("cnf", nil), oidc.ErrConfirmation},
		"INTRO-2.2-04 cnf.jkt is cut short":          {issuertest.With("cnf", map[string]any{"jkt": issuertest.Thumbprint[1:]}), oidc.ErrConfirmation},
		"INTRO-2.2-04 cnf.jkt is a list":             {issuertest.With("cnf", map[string]any{"jkt": []string{issuertest.Thumbprint}}), oidc.ErrConfirmation},
		"INTRO-2.2-04 cnf names only the unknown":    {issuertest.With("cnf", map[string]any{"kid": "1"}), oidc.ErrConfirmation},
		"INTRO-2.2-05 token_type DPoP without a key": {issuertest.With("token_type", "DPoP"), oidc.ErrTokenType},
		"INTRO-2.2-05 the same in lower case":        {issuertest.With("token_type", "dpop"), oidc.ErrTokenType},
		"INTRO-2.2-05 with a certificate only": {func(a map[string]any) {
			a["token_type"], a["cnf"] = "DPoP", map[string]any{"x5t#S256": issuertest.Thumbprint}
		}, oidc.ErrTokenType},
		"token_type is of a kind not known here":  {issuertest.With("token_type", "mac"), oidc.ErrNotAccessToken},
		"token_type is not a string":              {issuertest.With("token_type", true), oidc.ErrNotAccessToken},
		"AT-X-01 a refresh token of Keycloak":     {issuertest.With("typ", "Refresh"), oidc.ErrNotAccessToken},
		"AT-X-01 an ID token of Keycloak":         {issuertest.With("typ", "ID"), oidc.ErrNotAccessToken},
		"AT-X-01 a refresh token of Hydra":        {issuertest.With("token_use", "refresh_token"), oidc.ErrNotAccessToken},
		"AT-X-01 an ID token, by its at_hash":     {issuertest.With("at_hash", "x"), oidc.ErrNotAccessToken},
		"AT-X-01 an ID token, by its c_hash":      {issuertest.With("c_hash", "x"), oidc.ErrNotAccessToken},
		"AT-X-01 an ID token, by its s_hash":      {issuertest.With("s_hash", "x"), oidc.ErrNotAccessToken},
		"AT-X-01 an ID token of Cognito or Hydra": {issuertest.With("token_use", "id"), oidc.ErrNotAccessToken},
		"AT-X-01 the same, with another name":     {issuertest.With("token_use", "id_token"), oidc.ErrNotAccessToken},
		"scope is a list":                         {issuertest.With("scope", []string{"a"}), oidc.ErrScope},
	} {
		t.Run(name, func(t *testing.T) {
			as := issuertest.New()
			as.Introspect = issuertest.Saying(issuertest.GoodAnswer(c.edit))
			_, err := newIntrospector(t, as).VerifyToken(t.Context(), "opaque")
			require.Equal(t, c.want, err)
		})
	}

	for name, c := range map[string]struct {
		edit func(map[string]any)
		opts []any
		want func(*testing.T, *oidc.Token)
	}{
		"a good answer": {func(map[string]any) {}, nil, func(t *testing.T, tok *oidc.Token) {
			require.Equal(t, "alice", tok.Subject)
			require.Equal(t, "app", tok.ClientID)
			require.Equal(t, []string{"orders:read", "orders:write"}, tok.Scopes)
			require.False(t, tok.Confirmation.Bound())
		}},
		"INTRO-2.2-04 cnf names key and certificate": {
			issuertest.With("cnf", map[string]any{"jkt": issuertest.Thumbprint, "x5t#S256": issuertest.Thumbprint}), nil, func(t *testing.T, tok *oidc.Token) {
				require.Equal(t, oidc.Confirmation{JKT: issuertest.Thumbprint, X5T: issuertest.Thumbprint}, tok.Confirmation)
			}},
		"INTRO-2.2-05 AMB-20 token_type Bearer with cnf.jkt is bound": {
			issuertest.With("cnf", map[string]any{"jkt": issuertest.Thumbprint}), nil, func(t *testing.T, tok *oidc.Token) {
				require.Equal(t, issuertest.Thumbprint, tok.Confirmation.JKT)
			}},
		"INTRO-2.2-03 iss may be missing: the endpoint is the issuer's": {issuertest.Without("iss"), nil, func(t *testing.T, tok *oidc.Token) {
			require.Equal(t, issuertest.Issuer, tok.Issuer)
		}},
		"INTRO-2.2-03 aud is a list": {issuertest.With("aud", []string{"x", issuertest.Audience}), nil, nil},
		"INTRO-2.2-03 aud is missing and need not be there": {
			issuertest.Without("aud"), []any{introspect.DangerouslyAllowMissingAudience()}, nil},
		"exp, token_type and the rest may be missing": {func(a map[string]any) {
			for _, name := range []string{"exp", "iat", "token_type", "sub", "client_id", "jti", "scope"} {
				delete(a, name)
			}
		}, nil, func(t *testing.T, tok *oidc.Token) { require.True(t, tok.Expiry.IsZero()) }},
		"an access token of Keycloak": {
			issuertest.With("typ", "Bearer"), []any{introspect.WithProfile(oidc.Keycloak)}, nil},
		"an access token of Hydra": {issuertest.With("token_use", "access_token"), nil, nil},
	} {
		t.Run(name, func(t *testing.T) {
			as := issuertest.New()
			as.Introspect = issuertest.Saying(issuertest.GoodAnswer(c.edit))
			tok, err := newIntrospector(t, as, c.opts...).VerifyToken(t.Context(), "opaque")
			require.NoError(t, err)
			if c.want != nil {
				c.want(t, tok)
			}
		})
	}

	t.Run("INTRO-2.2-03 an aud that is there is checked although it need not be", func(t *testing.T) {
		as := issuertest.New()
		as.Introspect = issuertest.Saying(issuertest.GoodAnswer(issuertest.With("aud", "https://other.example")))
		_, err := newIntrospector(t, as, introspect.DangerouslyAllowMissingAudience()).VerifyToken(t.Context(), "opaque")
		require.Equal(t, oidc.ErrAudience, err)
	})
	t.Run("INTRO-2.2-03 also one that names no audience", func(t *testing.T) {
		for _, aud := range []any{[]string{}, "", []string{""}} {
			as := issuertest.New()
			as.Introspect = issuertest.Saying(issuertest.GoodAnswer(issuertest.With("aud", aud)))
			_, err := newIntrospector(t, as, introspect.DangerouslyAllowMissingAudience()).VerifyToken(t.Context(), "opaque")
			require.Equal(t, oidc.ErrAudience, err, "%q", aud)
		}
	})
	t.Run("AT-X-01 without aud an answer must name an access token, which that of oidc-provider to a refresh token does not", func(t *testing.T) {
		for name, c := range map[string]struct {
			edits []func(map[string]any)
			want  error
		}{
			"a scope only":      {nil, oidc.ErrNotAccessToken},
			"token_type null":   {[]func(map[string]any){issuertest.With("token_type", nil)}, oidc.ErrNotAccessToken},
			"token_type":        {[]func(map[string]any){issuertest.With("token_type", "Bearer")}, nil},
			"Keycloak's typ":    {[]func(map[string]any){issuertest.With("typ", "Bearer")}, nil},
			"Hydra's token_use": {[]func(map[string]any){issuertest.With("token_use", "access_token")}, nil},
			"our aud":           {[]func(map[string]any){issuertest.With("aud", issuertest.Audience)}, nil},
		} {
			as := issuertest.New()
			as.Introspect = issuertest.Saying(issuertest.GoodAnswer(append([]func(map[string]any){issuertest.Without("token_type"), issuertest.Without("aud")}, c.edits...)...))
			_, err := newIntrospector(t, as, introspect.DangerouslyAllowMissingAudience()).VerifyToken(t.Context(), "opaque")
			require.Equal(t, c.want, err, name)
		}
	})
	t.Run("AT-X-01 by the Keycloak profile only what calls itself an access token is one", func(t *testing.T) {
		as := issuertest.New()
		as.Introspect = issuertest.Saying(issuertest.GoodAnswer())
		_, err := newIntrospector(t, as, introspect.WithProfile(oidc.Keycloak)).VerifyToken(t.Context(), "opaque")
		require.Equal(t, oidc.ErrNotAccessToken, err)
	})
	t.Run("INTRO-2.2-02 an inactive token is answered alike, whatever else the issuer says", func(t *testing.T) {
		for _, extra := range []map[string]any{
			{"active": false}, {"active": false, "reason": "expired"}, {"active": false, "exp": "x", "cnf": 1, "aud": 7},
		} {
			as := issuertest.New()
			as.Introspect = issuertest.Saying(extra)
			_, err := newIntrospector(t, as).VerifyToken(t.Context(), "opaque")
			require.Equal(t, oidc.ErrInactive, err)
			require.Equal(t, "invalid_token", oidc.ErrInactive.Code())
		}
	})
}

func TestIntrospectionOutages(t *testing.T) {
	const jsonType = "application/json"
	for name, h := range map[string]http.HandlerFunc{
		"INTRO-2.2-01 active is missing":                        issuertest.SayingRaw(200, jsonType, `{"sub":"alice"}`),
		"INTRO-2.2-01 active is the string true":                issuertest.SayingRaw(200, jsonType, `{"active":"true"}`),
		"INTRO-2.2-01 active is 1":                              issuertest.SayingRaw(200, jsonType, `{"active":1}`),
		"INTRO-2.2-01 active is null":                           issuertest.SayingRaw(200, jsonType, `{"active":null}`),
		"INTRO-2.2-01 active is there twice":                    issuertest.SayingRaw(200, jsonType, `{"active":false,"active":true}`),
		"INTRO-2.2-01 active is spelled Active":                 issuertest.SayingRaw(200, jsonType, `{"Active":true}`),
		"INTRO-2.2-01 the answer is a list":                     issuertest.SayingRaw(200, jsonType, `[{"active":true}]`),
		"INTRO-2.2-01 the answer is null":                       issuertest.SayingRaw(200, jsonType, `null`),
		"INTRO-2.2-01 the answer is empty":                      issuertest.SayingRaw(200, jsonType, ``),
		"INTRO-2.2-01 something follows the answer":             issuertest.SayingRaw(200, jsonType, `{"active":true}{}`),
		"INTRO-2.2-01 the answer is not UTF-8":                  issuertest.SayingRaw(200, jsonType, "{\"active\":true,\"sub\":\"\xff\"}"),
		"INTRO-2.2-01 the answer is nested too deeply":          issuertest.SayingRaw(200, jsonType, `{"active":true,"x":`+strings.Repeat("[", 99)+strings.Repeat("]", 99)+`}`),
		"INTRO-2.2-01 the answer is HTML":                       issuertest.SayingRaw(200, "text/html", `{"active":true}`),
		"INTRO-2.2-01 the answer has no type":                   issuertest.SayingRaw(200, "", `{"active":true}`),
		"INTRO-2.2-01 the answer has status 201":                issuertest.SayingRaw(201, jsonType, `{"active":true}`),
		"INTRO-2.3-01 the issuer answers 400":                   issuertest.SayingRaw(400, jsonType, `{"error":"unsupported_token_type"}`),
		"INTRO-2.3-01 the issuer does not accept our client":    issuertest.SayingRaw(401, jsonType, `{"error":"invalid_client"}`),
		"INTRO-2.3-01 the issuer forbids our client":            issuertest.SayingRaw(403, jsonType, `{}`),
		"INTRO-2.3-01 the issuer does not know the endpoint":    issuertest.SayingRaw(404, jsonType, `{"active":true}`),
		"INTRO-2.3-01 the issuer is broken":                     issuertest.SayingRaw(500, jsonType, `{"active":true}`),
		"INTRO-2.3-01 the answer is over a megabyte":            issuertest.SayingRaw(200, jsonType, `{"active":true,"x":"`+strings.Repeat("a", 1<<20)+`"}`),
		"INTRO-2.3-01 the issuer redirects to something active": issuertest.SayingRaw(302, jsonType, `{"active":true}`),
	} {
		t.Run(name, func(t *testing.T) {
			as := issuertest.New()
			as.Introspect = h
			_, err := newIntrospector(t, as).VerifyToken(t.Context(), "opaque")
			issuertest.RequireOutage(t, err)
			require.NotContains(t, err.Error(), "s3cret")
			require.NotContains(t, err.Error(), "opaque")
		})
	}
	t.Run("INTRO-2.3-01 the issuer cannot be reached", func(t *testing.T) {
		as := issuertest.New()
		as.Down.Store(true)
		_, err := newIntrospector(t, as).VerifyToken(t.Context(), "opaque")
		issuertest.RequireOutage(t, err)
	})
	t.Run("INTRO-2.3-01 an outage is not remembered", func(t *testing.T) {
		as := issuertest.New()
		as.Introspect = issuertest.Saying(issuertest.GoodAnswer())
		as.Down.Store(true)
		i := newIntrospector(t, as)
		_, err := i.VerifyToken(t.Context(), "opaque")
		issuertest.RequireOutage(t, err)
		as.Down.Store(false)
		_, err = i.VerifyToken(t.Context(), "opaque")
		require.NoError(t, err)
	})
	t.Run("INTRO-2.3-01 the error knows how long the issuer wants to be left alone", func(t *testing.T) {
		for value, want := range map[string]time.Duration{
			"7": 7 * time.Second, "100000": time.Minute, "": 0, "-1": 0, "soon": 0, "1e3": 0, "99999999999999999999": 0,
		} {
			as := issuertest.New()
			as.Introspect = func(w http.ResponseWriter, _ *http.Request) {
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
			as := issuertest.New()
			as.Introspect = issuertest.Saying(issuertest.GoodAnswer())
			as.Down.Store(true)
			i, err := newFrom(t, issuertest.Issuer, issuertest.Audience, clientauth.Public("api"), oidc.WithHTTPClient(as.Client()))
			require.NoError(t, err)
			defer i.Close()
			_, err = i.VerifyToken(t.Context(), "opaque")
			issuertest.RequireOutage(t, err)
			issuertest.RequireOutage(t, i.Prefetch(t.Context()))
			as.Down.Store(false)
			time.Sleep(time.Minute)
			accept(t, i, "opaque")
			require.NoError(t, i.Prefetch(t.Context()))
			require.NoError(t, i.Close())
			require.NoError(t, i.Close())
		})
	})
}

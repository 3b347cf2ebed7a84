package oidc_test

import (
	"context"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keybound-go/middleware/oidc"
	"github.com/keybound-go/middleware/oidc/oidctest"
	"github.com/stretchr/testify/require"
)

// requireOurs is for errors that are not the token's fault: the answer is 503.
func requireOurs(t testing.TB, err error) {
	t.Helper()
	require.Error(t, err)
	require.Empty(t, code(err))
	require.False(t, errors.As(err, new(oidc.TokenError)), "%v", err)
}

func TestWhereMetadataIsLookedFor(t *testing.T) {
	raw, err := os.ReadFile("testdata/metadata_urls.json")
	require.NoError(t, err)
	var vectors []struct{ ID, Issuer, Type, URL string }
	require.NoError(t, json.Unmarshal(raw, &vectors))
	require.NotEmpty(t, vectors)
	for _, vector := range append(vectors, []struct{ ID, Issuer, Type, URL string }{
		{"derived-rfc8414-slash", "https://example.com/issuer1/", "oauth-authorization-server",
			"https://example.com/.well-known/oauth-authorization-server/issuer1"},
		{"derived-rfc8414-escapes", "https://example.com/a%2Fb", "oauth-authorization-server",
			"https://example.com/.well-known/oauth-authorization-server/a%2Fb"},
		{"derived-oidcd-port", "https://example.com:8443/a", "openid-configuration",
			"https://example.com:8443/a/.well-known/openid-configuration"},
	}...) {
		name, other := "DISC-02 ", oidctest.OAuthMetadata
		if vector.Type == "oauth-authorization-server" {
			name, other = "DISC-01 ", oidctest.OpenIDMetadata
		}
		t.Run(name+vector.ID, func(t *testing.T) {
			issuer := oidctest.NewIssuer(t, oidctest.InMemory(vector.Issuer))
			issuer.Break(other, oidctest.Status(404))
			v := newVerifier(t, issuer)
			_, err := verifyToken(t, v, issuer.Token())
			require.NoError(t, err)
			require.Equal(t, vector.URL, v.Status().Metadata.URL)
		})
	}
}

func TestMetadataFaults(t *testing.T) {
	set := func(name string, value any) func(*oidctest.Issuer) {
		return func(i *oidctest.Issuer) {
			i.Edit(oidctest.OpenIDMetadata, func(doc map[string]any) { doc[name] = value })
		}
	}
	fault := func(f oidctest.Fault) func(*oidctest.Issuer) {
		return func(i *oidctest.Issuer) { i.Break(oidctest.OpenIDMetadata, f) }
	}
	for name, do := range map[string]func(*oidctest.Issuer){
		"DISC-03 a slash more":                set("issuer", identifier+"/"),
		"DISC-03 another case":                set("issuer", "https://ISSUER.example/realms/main"),
		"DISC-03 another host":                set("issuer", "https://other.example/realms/main"),
		"DISC-03 the default port":            set("issuer", "https://issuer.example:443/realms/main"),
		"DISC-03 none":                        set("issuer", nil),
		"DISC-03 a list":                      set("issuer", []string{identifier}),
		"DISC-04 JWKS-08 jwks_uri http":       set("jwks_uri", "http://issuer.example/realms/main/jwks"),
		"DISC-04 JWKS-08 jwks_uri loopback":   set("jwks_uri", "http://127.0.0.1/jwks"),
		"DISC-04 jwks_uri a file":             set("jwks_uri", "file:///etc/passwd"),
		"DISC-04 no jwks_uri":                 set("jwks_uri", nil),
		"DISC-06 HTML":                        fault(oidctest.Body("text/html", "<html>login</html>")),
		"DISC-06 HTML as JSON":                fault(oidctest.Body("application/json", "<html>login</html>")),
		"DISC-06 good, but as text":           fault(oidctest.ContentType("text/plain")),
		"DISC-06 good, but without a type":    fault(oidctest.ContentType("")),
		"DISC-06 a list":                      fault(oidctest.Body("application/json", "[]")),
		"DISC-06 null":                        fault(oidctest.Body("application/json", "null")),
		"DISC-06 nothing":                     fault(oidctest.Body("application/json", "")),
		"DISC-06 a member twice":              fault(oidctest.Body("application/json", `{"issuer":"`+identifier+`","issuer":"`+identifier+`"}`)),
		"DISC-06 over 1 MiB":                  set("padding", strings.Repeat("x", 1<<20)),
		"DISC-06 status 500":                  fault(oidctest.Status(500)),
		"DISC-06 status 503":                  fault(oidctest.Status(503)),
		"DISC-06 status 204":                  fault(oidctest.Status(204)),
		"DISC-09 a redirect to another host":  fault(oidctest.Redirect("https://other.example/.well-known/openid-configuration")),
		"DISC-09 a redirect to http":          fault(oidctest.Redirect("http://issuer.example/realms/main/.well-known/openid-configuration")),
		"DISC-09 a redirect to another port":  fault(oidctest.Redirect("https://issuer.example:8443/x")),
		"JWKS-06 AMB-19 a broken connection":  fault(oidctest.Abort()),
		"JWKS-06 AMB-19 everything is down":   func(i *oidctest.Issuer) { i.SetDown(true) },
		"JWKS-06 AMB-19 the key set is down":  func(i *oidctest.Issuer) { i.Break(oidctest.KeySet, oidctest.Status(502)) },
		"JWKS-06 AMB-19 an empty key set":     func(i *oidctest.Issuer) { i.Break(oidctest.KeySet, oidctest.Body("application/json", `{"keys":[]}`)) },
		"JWKS-06 AMB-19 HTML for the key set": func(i *oidctest.Issuer) { i.Break(oidctest.KeySet, oidctest.Body("text/html", "<html>")) },
	} {
		t.Run(name, func(t *testing.T) {
			issuer := newIssuer(t)
			do(issuer)
			v := newVerifier(t, issuer)
			raw := issuer.Token()
			_, err := verifyToken(t, v, raw)
			requireOurs(t, err)
			_, err = verifyToken(t, v, raw)
			requireOurs(t, err)
			require.LessOrEqual(t, issuer.Fetches(oidctest.OpenIDMetadata), 1, "the wait after a failure")
			requireOurs(t, v.Prefetch(t.Context()))
			var retry interface{ RetryAfter() time.Duration }
			require.ErrorAs(t, err, &retry)
			require.Positive(t, retry.RetryAfter())
		})
	}
}

func TestMetadataThatWillDo(t *testing.T) {
	for name, do := range map[string]func(*oidctest.Issuer){
		"DISC-06 B24 a byte order mark": func(i *oidctest.Issuer) {
			i.Break(oidctest.OpenIDMetadata, func(next http.Handler) http.Handler {
				return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					answer := httptest.NewRecorder()
					next.ServeHTTP(answer, r)
					w.Header().Set("Content-Type", answer.Header().Get("Content-Type"))
					w.Write(append([]byte("\ufeff"), answer.Body.Bytes()...))
				})
			})
		},
		"B06 members that are null": func(i *oidctest.Issuer) {
			i.Edit(oidctest.OpenIDMetadata, func(doc map[string]any) {
				doc["introspection_endpoint"], doc["token_endpoint"], doc["mtls_endpoint_aliases"], doc["scopes_supported"] = nil, nil, nil, nil
			})
		},
		"DISC-06 404 for the first form": func(i *oidctest.Issuer) { i.Break(oidctest.OpenIDMetadata, oidctest.Status(404)) },
		"DISC-06 a charset": func(i *oidctest.Issuer) {
			i.Break(oidctest.OpenIDMetadata, oidctest.ContentType("application/json; charset=utf-8"))
		},
		"DISC-08 mtls_endpoint_aliases": func(i *oidctest.Issuer) {
			i.Edit(oidctest.OpenIDMetadata, func(doc map[string]any) {
				doc["mtls_endpoint_aliases"] = map[string]any{"token_endpoint": "https://mtls.issuer.example/token", "other": 1}
			})
		},
		"DISC-09 a redirect within the origin": func(i *oidctest.Issuer) {
			i.Break(oidctest.OpenIDMetadata, oidctest.Redirect(i.Endpoint(oidctest.OAuthMetadata)))
		},
		"unknown members of any type": func(i *oidctest.Issuer) {
			i.Edit(oidctest.OpenIDMetadata, func(doc map[string]any) { doc["ISSUER"] = 1; doc["x"] = []any{nil} })
		},
	} {
		t.Run(name, func(t *testing.T) {
			issuer := newIssuer(t)
			do(issuer)
			_, err := verifyToken(t, newVerifier(t, issuer), issuer.Token())
			require.NoError(t, err)
		})
	}
	t.Run("DISC-07 of two documents the first will do", func(t *testing.T) {
		issuer := newIssuer(t)
		issuer.Break(oidctest.OAuthMetadata, oidctest.Status(500))
		_, err := verifyToken(t, newVerifier(t, issuer), issuer.Token())
		require.NoError(t, err)
		require.Equal(t, 1, issuer.Fetches(oidctest.OpenIDMetadata))
		require.Zero(t, issuer.Fetches(oidctest.OAuthMetadata))
	})
}

func TestDISC05TheServersCertificateIsChecked(t *testing.T) {
	t.Run("DISC-05 an unknown CA", func(t *testing.T) {
		issuer := oidctest.NewIssuer(t)
		v, err := oidc.New(issuer.URL, oidctest.Audience)
		require.NoError(t, err)
		_, err = verifyToken(t, v, issuer.Token())
		requireOurs(t, err)
		require.ErrorAs(t, err, new(x509.UnknownAuthorityError))
		require.Zero(t, issuer.Fetches(oidctest.OpenIDMetadata))
		require.NoError(t, v.Close())
	})
	t.Run("DISC-05 a known CA", func(t *testing.T) {
		issuer := oidctest.NewIssuer(t, oidctest.WithPath("/realms/main"))
		v := newVerifier(t, issuer)
		_, err := verifyToken(t, v, issuer.Token())
		require.NoError(t, err)
	})
}

func TestDISC04LoopbackNeedsItsOption(t *testing.T) {
	const local = "http://127.0.0.1:8080/realms/main"
	issuer := oidctest.NewIssuer(t, oidctest.InMemory(local))
	_, err := oidc.New(local, oidctest.Audience)
	require.ErrorContains(t, err, "https")
	for _, elsewhere := range []string{"http://192.0.2.1", "http://0.0.0.0:8080", "http://[::]:8080"} {
		_, err = oidc.New(elsewhere, oidctest.Audience, oidc.DangerouslyAllowLoopbackHTTP())
		require.ErrorContains(t, err, "https", elsewhere)
	}
	// What a name stands for is known when it is dialled, by a client of our own.
	named, err := oidc.New("http://keycloak.test:8080/realms/main", oidctest.Audience, oidc.DangerouslyAllowLoopbackHTTP())
	require.NoError(t, err)
	require.NoError(t, named.Close())
	_, err = oidc.New("http://keycloak.test:8080/realms/main", oidctest.Audience, oidc.DangerouslyAllowLoopbackHTTP(), oidc.WithHTTPClient(new(http.Client)))
	require.ErrorContains(t, err, "https")
	_, err = verifyToken(t, newVerifier(t, issuer, oidc.DangerouslyAllowLoopbackHTTP()), issuer.Token())
	require.NoError(t, err)
}

func TestAnIssuerThatIsDownAtStartIsFoundLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		issuer := newIssuer(t)
		v := newVerifier(t, issuer)
		defer v.Close()
		issuer.SetDown(true)
		raw := issuer.Token()
		_, err := verifyToken(t, v, raw)
		requireOurs(t, err)
		issuer.SetDown(false)
		time.Sleep(time.Minute)
		_, err = verifyToken(t, v, raw)
		require.NoError(t, err)
	})
}

func TestDISC03AndJWKS06WhatWasGoodStaysInUse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		issuer := newIssuer(t)
		v := newVerifier(t, issuer, oidc.WithCacheSize(0))
		defer v.Close()
		lasting := oidctest.ExpiresIn(1000 * time.Hour)
		_, err := verifyToken(t, v, issuer.Token())
		require.NoError(t, err)

		issuer.Edit(oidctest.OpenIDMetadata, func(doc map[string]any) {
			doc["issuer"], doc["jwks_uri"] = "https://evil.example", "https://evil.example/jwks"
		})
		issuer.Break(oidctest.KeySet, oidctest.Abort())
		raw := issuer.Token(lasting)
		time.Sleep(5 * time.Hour)
		_, err = verifyToken(t, v, raw)
		require.NoError(t, err)
		require.Contains(t, v.Status().Metadata.LastError, "not of")
		require.Equal(t, issuer.Endpoint(oidctest.KeySet), v.Status().Metadata.JWKSURI)
		require.NotEmpty(t, v.Status().Keys.LastError)

		time.Sleep(48 * time.Hour)
		_, err = verifyToken(t, v, raw)
		requireOurs(t, err)
	})
}

func TestCooldown(t *testing.T) {
	for name, tc := range map[string]struct {
		opts []oidc.Option
		want time.Duration
	}{
		"JWKS-05 the default":  {nil, 30 * time.Second},
		"JWKS-05 the shortest": {[]oidc.Option{oidc.WithCooldown(time.Second)}, time.Second},
		"JWKS-05 a longer one": {[]oidc.Option{oidc.WithCooldown(2 * time.Minute)}, 2 * time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				issuer := newIssuer(t)
				v := newVerifier(t, issuer, tc.opts...)
				defer v.Close()
				require.NoError(t, v.Prefetch(t.Context()))
				for fetches := 2; fetches < 5; fetches++ {
					for range 3 {
						_, err := verifyToken(t, v, issuer.Token(oidctest.Header("kid", "made up")))
						requireKind(t, oidc.ErrNoKey, err)
					}
					require.Equal(t, fetches, issuer.Fetches(oidctest.KeySet))
					time.Sleep(tc.want)
				}
			})
		})
	}
	t.Run("the wait after a failure is what it was", func(t *testing.T) {
		for _, d := range []time.Duration{time.Second, time.Hour} {
			synctest.Test(t, func(t *testing.T) {
				issuer := newIssuer(t)
				v := newVerifier(t, issuer, oidc.WithCooldown(d), oidc.WithJWKSURI(issuer.Endpoint(oidctest.KeySet)))
				defer v.Close()
				issuer.SetDown(true)
				for range 6 {
					_, err := verifyToken(t, v, issuer.Token())
					var retry interface{ RetryAfter() time.Duration }
					require.ErrorAs(t, err, &retry)
					require.True(t, 5*time.Second <= retry.RetryAfter() && retry.RetryAfter() < 34*time.Second, "%v", retry.RetryAfter())
					time.Sleep(retry.RetryAfter())
				}
			})
		}
	})
}

func TestMovedKeySetIsFound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		issuer := newIssuer(t)
		v := newVerifier(t, issuer)
		defer v.Close()
		_, err := verifyToken(t, v, issuer.Token())
		require.NoError(t, err)
		issuer.Edit(oidctest.OpenIDMetadata, func(doc map[string]any) { doc["jwks_uri"] = issuer.Endpoint(oidctest.KeySet) + "?moved" })
		time.Sleep(3 * time.Hour)
		_, err = verifyToken(t, v, issuer.Token())
		require.NoError(t, err)
		requests := issuer.Requests(oidctest.KeySet)
		require.True(t, requests[len(requests)-1].Query.Has("moved"))
	})
}

func TestOneURLMayHoldBothDocuments(t *testing.T) {
	issuer := newIssuer(t)
	issuer.Edit(oidctest.KeySet, func(doc map[string]any) {
		doc["issuer"], doc["jwks_uri"] = identifier, issuer.Endpoint(oidctest.KeySet)
	})
	v := newVerifier(t, issuer, oidc.WithMetadataURL(issuer.Endpoint(oidctest.KeySet)))
	_, err := verifyToken(t, v, issuer.Token())
	require.NoError(t, err)
	require.Zero(t, issuer.Fetches(oidctest.OpenIDMetadata))
}

func TestJWKSURINeedsNoDiscovery(t *testing.T) {
	issuer := newIssuer(t)
	v := newVerifier(t, issuer, oidc.WithJWKSURI(issuer.Endpoint(oidctest.KeySet)))
	require.NoError(t, v.Prefetch(t.Context()))
	_, err := verifyToken(t, v, issuer.Token())
	require.NoError(t, err)
	require.Zero(t, issuer.Fetches(oidctest.OpenIDMetadata)+issuer.Fetches(oidctest.OAuthMetadata))
	require.Nil(t, v.Status().Metadata)
}

func TestNewTouchesNoNetwork(t *testing.T) {
	issuer := newIssuer(t)
	v := newVerifier(t, issuer)
	_, err := verifyToken(t, v, "x")
	requireKind(t, oidc.ErrMalformed, err)
	_, err = verifyToken(t, v, issuer.Token(oidctest.Claim("iss", "https://other.example")))
	requireKind(t, oidc.ErrIssuer, err)
	require.Zero(t, issuer.Fetches(oidctest.OpenIDMetadata), "a token of another issuer costs no fetch")
	require.NoError(t, v.Prefetch(t.Context()))
	require.Equal(t, 1, issuer.Fetches(oidctest.OpenIDMetadata))
	require.Equal(t, 1, issuer.Fetches(oidctest.KeySet))
}

func TestACallerThatGoesAwayDoesNotWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		issuer := newIssuer(t)
		issuer.SetDelay(5 * time.Second)
		v := newVerifier(t, issuer)
		defer v.Close()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		start := time.Now()
		_, err := v.VerifyToken(ctx, issuer.Token())
		requireOurs(t, err)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.Equal(t, time.Second, time.Since(start))
	})
}

func TestRotation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		issuer := newIssuer(t)
		v := newVerifier(t, issuer)
		defer v.Close()
		old := issuer.Token()
		_, err := verifyToken(t, v, old)
		require.NoError(t, err)
		for range 2 { // twice within a cooldown
			issuer.Rotate()
			_, err = verifyToken(t, v, issuer.Token())
			require.NoError(t, err)
		}
		_, err = verifyToken(t, v, old)
		require.NoError(t, err)

		fetches := issuer.Fetches(oidctest.KeySet)
		for range 1000 { // JWKS-05
			_, err = verifyToken(t, v, issuer.Token(oidctest.Header("kid", "unknown")))
			requireKind(t, oidc.ErrNoKey, err)
		}
		require.LessOrEqual(t, issuer.Fetches(oidctest.KeySet)-fetches, 2)
	})
	t.Run("JWKS-05 another request holds the cooldown between two rotations", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			issuer := newIssuer(t)
			v := newVerifier(t, issuer)
			defer v.Close()
			check := func(raw string, want error) {
				t.Helper()
				_, err := verifyToken(t, v, raw)
				requireKind(t, want, err)
			}
			madeUp := func() { check(issuer.Token(oidctest.Header("kid", rand.Text())), oidc.ErrNoKey) }
			check(issuer.Token(), nil)
			issuer.Rotate()
			check(issuer.Token(), nil) // something new, so no cooldown
			once := issuer.Token(oidctest.ExpiresIn(time.Hour))
			madeUp()
			issuer.Rotate()
			twice := issuer.Token(oidctest.ExpiresIn(time.Hour))
			fetches := issuer.Fetches(oidctest.KeySet)
			for range 30 {
				madeUp()
				check(once, nil)
				check(twice, oidc.ErrNoKey)
				time.Sleep(time.Second)
			}
			require.Equal(t, fetches, issuer.Fetches(oidctest.KeySet))
			madeUp() // whichever request is first when the cooldown ends, the new key is found
			check(twice, nil)
			require.Equal(t, fetches+1, issuer.Fetches(oidctest.KeySet))
		})
	})
}

// Services and clients may know an issuer by two names: compose files and clusters do.
func TestAnIssuerWithTwoNames(t *testing.T) {
	const public = "https://id.example/realms/main"
	issuer := newIssuer(t) // whose own name, identifier, is the internal one
	fromPublic := issuer.Token(oidctest.Claim("iss", public))
	for name, tc := range map[string]struct {
		named, keys string // what the document says, "" for what it usually does
		opts        []oidc.Option
		problem     string
	}{
		"DISC-03 the document has the second name": {opts: []oidc.Option{oidc.WithMetadataIssuer(identifier)}},
		"DISC-03 the document has the first name":  {named: public, opts: []oidc.Option{oidc.WithMetadataIssuer("https://other.example")}},
		"DISC-03 the document has a third name": {named: "https://other.example", opts: []oidc.Option{oidc.WithMetadataIssuer(identifier)},
			problem: `the discovery document is of issuer "https://other.example"`},
		"DISC-03 no second name was given": {problem: "the discovery document is of issuer"},
		"DISC-03 the keys are elsewhere": {keys: "https://id.example/jwks", opts: []oidc.Option{oidc.WithMetadataIssuer(identifier)},
			problem: "jwks_uri of " + public + " is on another origin than its metadata; oidc.WithJWKSURI"},
	} {
		t.Run(name, func(t *testing.T) {
			issuer.Edit(oidctest.OpenIDMetadata, func(doc map[string]any) {
				if tc.named != "" {
					doc["issuer"] = tc.named
				}
				if tc.keys != "" {
					doc["jwks_uri"] = tc.keys
				}
			})
			v, err := oidc.New(public, oidctest.Audience, append(tc.opts,
				oidc.WithHTTPClient(issuer.Client()), oidc.WithMetadataURL(issuer.Endpoint(oidctest.OpenIDMetadata)))...)
			require.NoError(t, err)
			t.Cleanup(func() { v.Close() })
			_, err = verifyToken(t, v, fromPublic)
			if tc.problem != "" {
				requireOurs(t, err)
				require.ErrorContains(t, err, tc.problem)
				return
			}
			require.NoError(t, err)
			_, err = verifyToken(t, v, issuer.Token())
			requireKind(t, oidc.ErrIssuer, err) // Tokens have one name only.
		})
	}
	_, err := oidc.New(public, "a", oidc.WithMetadataIssuer(public))
	require.ErrorContains(t, err, "is the issuer itself")
	_, err = oidc.New(public, "a", oidc.WithMetadataIssuer("http://id.example"))
	require.ErrorContains(t, err, "WithMetadataIssuer: http://id.example: https is required")
}

package oidc_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/keybound-go/middleware/internal/josetest"
	"github.com/keybound-go/middleware/oidc"
	"github.com/keybound-go/middleware/oidc/clientauth"
	"github.com/keybound-go/middleware/oidc/exchange"
	"github.com/keybound-go/middleware/oidc/introspect"
	"github.com/keybound-go/middleware/oidc/oidctest"
	"github.com/keybound-go/middleware/oidc/tenants"
)

const (
	secret = "S3CR3T-0123456789abcdef-0123456789"
	opaque = "THE-TOKEN-0123456789"
)

// requireSilent prints v in every verb, and as an attribute of each handler of slog.
func requireSilent(t *testing.T, name string, v any) {
	t.Helper()
	var all strings.Builder
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x"} {
		fmt.Fprintf(&all, verb+"\n", v)
	}
	slog.New(slog.NewTextHandler(&all, nil)).Info("x", "v", v)
	slog.New(slog.NewJSONHandler(&all, nil)).Info("x", "v", v)
	for _, s := range []string{secret, opaque} {
		require.NotContains(t, all.String(), s, "R10 %s", name)
		require.NotContains(t, all.String(), fmt.Sprintf("%x", s), "R10 %s", name)
		require.NotContains(t, all.String(), strings.Trim(fmt.Sprint([]byte(s)), "[]"), "R10 %s", name)
	}
}

// careless is a transport that panics with what it was given.
type careless struct{}

func (careless) RoundTrip(r *http.Request) (*http.Response, error) {
	var body []byte
	if r.Body != nil {
		body, _ = io.ReadAll(r.Body)
	}
	panic(fmt.Sprintf("unexpected request %s %v %s", r.URL, r.Header, body))
}

// never is a transport that does not answer.
type never struct{}

func (never) RoundTrip(r *http.Request) (*http.Response, error) {
	<-r.Context().Done()
	return nil, fmt.Errorf("%v: %w", r.URL, r.Context().Err())
}

// TestNothingThatPrintsHoldsASecret is R10.
func TestNothingThatPrintsHoldsASecret(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := newIssuer(t, oidctest.WithClient(oidctest.Registration{ID: "api", Secret: secret}))
		for name, transport := range map[string]http.RoundTripper{
			"after a good answer": fake.Client().Transport, "after a panic": careless{}, "after a time-out": never{},
		} {
			issuer, err := oidc.NewIssuer(fake.URL, oidc.WithHTTPClient(&http.Client{Transport: transport}))
			require.NoError(t, err)
			key := clientauth.Key{Signer: josetest.NewKey("Ed25519").Signer}
			keys, err := clientauth.NewKeys(key)
			require.NoError(t, err)
			jwts, err := issuer.Verifier(oidctest.Audience, oidc.WithCacheSize(16))
			require.NoError(t, err)
			anyOf, err := oidc.AnyOf(jwts)
			require.NoError(t, err)
			many, err := tenants.New(func(_ context.Context, iss string) (*oidc.Verifier, error) {
				return oidc.New(iss, oidctest.Audience, oidc.WithHTTPClient(&http.Client{Transport: transport}), oidc.WithCacheSize(16))
			}, tenants.WithCacheSize(16))
			require.NoError(t, err)
			defer many.Close()
			parts := map[string]any{"Issuer": issuer, "Verifier": jwts, "Verifiers": anyOf, "Tenants": many, "Key": key, "Keys": keys}
			errs := map[string]error{}
			token, err := jwts.VerifyToken(t.Context(), fake.Token())
			parts["Token"], errs["of VerifyToken"] = token, err
			token, err = many.VerifyToken(t.Context(), fake.Token())
			parts["Token of Tenants"], parts["Statuses"], errs["of Tenants"] = token, many.Statuses(), err
			for method, auth := range map[string]clientauth.Method{
				"SecretBasic": clientauth.SecretBasic("api", secret), "SecretPost": clientauth.SecretPost("api", secret), "SecretJWT": clientauth.SecretJWT("api", secret),
				"PrivateKeyJWT": clientauth.PrivateKeyJWT("api", keys), "Bearer": clientauth.Bearer("api", func(context.Context) (string, error) { return secret, nil }),
				"Public": clientauth.Public(secret[:0] + "api"),
			} {
				parts[method] = auth
				// The endpoint is given, so that the request gets as far as the
				// transport.
				i, err := introspect.New(issuer, oidctest.Audience, auth, introspect.WithEndpoint(fake.Endpoint(oidctest.Introspection)), introspect.WithCacheSize(16))
				require.NoError(t, err)
				_, err = i.VerifyToken(t.Context(), opaque)
				parts["Introspector by "+method], errs["of introspection by "+method] = i, err
				then, err := introspect.Then(jwts, i)
				require.NoError(t, err)
				orElse, err := introspect.OrElse(jwts, i)
				require.NoError(t, err)
				parts["Revocable"], parts["ByForm"] = then, orElse
				parts["Status"] = i.Status()
			}
			for _, opts := range [][]exchange.Option{nil, {exchange.SendSecretInBody()}} {
				x, err := exchange.New(issuer, append(opts, exchange.WithEndpoint(fake.Endpoint(oidctest.TokenEndpoint)))...)
				require.NoError(t, err)
				_, err = x.Token(t.Context(), netip.Addr{}, "api", secret)
				parts["Exchange"], parts["Exchange by value"], errs["of the token endpoint"] = x, *x, err
				_, err = x.Token(t.Context(), netip.Addr{}, "api", secret+"!")
				errs["of a refusal"] = err
			}
			for part, v := range parts {
				requireSilent(t, name+": "+part, v)
				requireSilent(t, name+": in a struct: "+part, struct{ private, Public any }{v, v})
				requireSilent(t, name+": in a list: "+part, []any{v})
			}
			for of, err := range errs {
				requireSilent(t, name+": an error "+of, err)
			}
			require.NoError(t, issuer.Close())
			time.Sleep(time.Minute)
		}
	})
}

func TestNoMistakeRepeatsTheSecretOfAURL(t *testing.T) {
	issuer, err := oidc.NewIssuer("https://issuer.example")
	require.NoError(t, err)
	for _, where := range []string{
		"https://api:" + secret + "@issuer.example/path", "http://api:" + secret + "@issuer.example/path", "https://" + secret + "@issuer.example",
		"ftp://issuer.example/x?key=" + secret, "http://issuer.example/x?key=" + secret, "https://issuer.example/x?key=" + secret + "#fragment", "://" + secret, "https://[" + secret,
		"https://issuer.example/%zz" + secret,
	} {
		_, err1 := oidc.New(where, "a")
		_, err2 := oidc.NewIssuer(where)
		_, err3 := oidc.NewIssuer("https://issuer.example", oidc.WithJWKSURI(where))
		_, err4 := oidc.NewIssuer("https://issuer.example", oidc.WithMetadataURL(where))
		_, err5 := introspect.New(issuer, "a", clientauth.Public("api"), introspect.WithEndpoint(where))
		_, err6 := exchange.New(issuer, exchange.WithEndpoint(where))
		for n, err := range []error{err1, err2, err3, err4, err5, err6} {
			require.Error(t, err, "%d %s", n, where)
			require.NotContains(t, err.Error(), secret, "R10 %d", n)
		}
	}
	fake := newIssuer(t)
	fake.Edit(oidctest.OpenIDMetadata, func(doc map[string]any) {
		doc["token_endpoint"] = "https://api:" + secret + "@issuer.example/token"
		doc["introspection_endpoint"] = "https://issuer.example/introspect?key=" + secret
		doc["jwks_uri"] = "http://issuer.example/jwks?key=" + secret
	})
	v := newVerifier(t, fake)
	_, err = verifyToken(t, v, fake.Token())
	require.Error(t, err)
	requireSilent(t, "metadata", err)
	requireSilent(t, "the status of metadata", *v.Status().Metadata)
}

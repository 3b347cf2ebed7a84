package tenants_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"net/url"
	"strings"
	"testing"

	"github.com/keybound-go/middleware/oidc"
	"github.com/keybound-go/middleware/oidc/oidctest"
	"github.com/keybound-go/middleware/oidc/tenants"
)

// FuzzTenant sends every text as an iss. Only the one spelling of an https URL that New
// accepts as an issuer reaches resolve, and every token is refused.
func FuzzTenant(f *testing.F) {
	for _, iss := range []string{
		"https://tenant-1.example", "https://tenant-1.example/", "https://[::1]:8443/a%2Fb", "https://tenant-1.example:443", "https://a@b", "https:///", "", "http://a",
		"https://tenant-1.example/..", "https://tenant-1.example/%2e%2e/", "HTTPS://a", "https://a?b", "https://a#b", "https://a\\b", "https://ſ",
	} {
		f.Add(iss)
	}
	var asked string
	s, err := tenants.New(func(_ context.Context, iss string) (*oidc.Verifier, error) {
		asked = iss
		return nil, oidc.ErrIssuer
	}, tenants.WithRefusalLifetime(0))
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { _ = s.Close() })
	encode := base64.RawURLEncoding.EncodeToString
	f.Fuzz(func(t *testing.T, iss string) {
		claims, err := json.Marshal(map[string]string{"iss": iss})
		if err != nil {
			t.Skip()
		}
		asked = ""
		raw := encode([]byte(`{"alg":"ES256","typ":"at+jwt"}`)) + "." + encode(claims) + "." + encode([]byte("signature"))
		_, err = s.VerifyToken(t.Context(), raw)
		if kind, ok := err.(oidc.TokenError); !ok || kind.Code() == "" && kind != oidc.ErrTooLarge {
			t.Fatalf("%T %v", err, err)
		}
		if asked == "" {
			return
		}
		if asked != iss {
			t.Fatalf("asked about %q for %q", asked, iss)
		}
		u, err := url.Parse(asked)
		switch {
		case err != nil || u.String() != asked || u.Scheme != "https" || u.Host != strings.ToLower(u.Host) || u.User != nil || u.RawQuery != "" || u.ForceQuery || u.Fragment != "" || u.Port() == "443":
			t.Fatalf("resolve was asked about %q", asked)
		case strings.Contains(asked, "/.well-known/"): // which New explains
		default:
			if _, err := oidc.New(asked, oidctest.Audience); err != nil {
				t.Fatalf("resolve was asked about %q: %v", asked, err)
			}
		}
	})
}

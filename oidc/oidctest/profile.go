package oidctest

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/keybound-go/middleware/oidc"
)

// Samples are tokens of a real issuer, for [TestProfile]: compact JWSs as the issuer
// sent them. They may be expired, and their signatures do not matter.
type Samples struct {
	// Audience is this service's identifier in the access tokens.
	Audience string
	// Access are access tokens: of users and of clients, bound and unbound.
	Access []string
	// Other are tokens that must never pass: ID tokens (some of them for the same
	// audience and with the same scopes), refresh tokens and logout tokens.
	Other []string
}

// TestProfile holds a profile against tokens of the issuer that it is for. Each access
// token must be accepted. Every other token must be refused, even with the audience of
// this service. Access tokens must be refused under the explicit types of other kinds of
// tokens. Samples must have tokens of both kinds.
//
// The tokens are signed anew by an issuer of this package, and their times are moved
// to now; everything else in them stays as it is.
func TestProfile(t *testing.T, p oidc.Profile, s Samples) {
	t.Helper()
	if len(s.Access) == 0 || len(s.Other) == 0 || s.Audience == "" {
		t.Fatal("oidctest: Samples need an audience, access tokens, and other tokens, such as an ID token")
	}
	issuer := NewIssuer(t, InMemory("https://issuer.example"))
	v, err := oidc.New(issuer.URL, s.Audience, oidc.WithProfile(p), oidc.WithHTTPClient(issuer.Client()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = v.Close() })
	verify := func(raw string, changes ...Change) error {
		t.Helper()
		like, err := likeSample(raw)
		if err != nil {
			t.Fatal(err)
		}
		_, err = v.VerifyToken(t.Context(), issuer.Token(append([]Change{like}, changes...)...))
		return err
	}
	for i, raw := range s.Access {
		if err := verify(raw); err != nil {
			t.Errorf("access token %d: refused: %v", i+1, err)
		}
		for _, typ := range []string{"dpop+jwt", "logout+jwt", "secevent+jwt", "token-introspection+jwt", "id_token+jwt"} {
			if verify(raw, Header("typ", typ)) == nil {
				t.Errorf("access token %d: accepted with typ %s", i+1, typ)
			}
		}
	}
	for i, raw := range s.Other {
		if verify(raw) == nil {
			t.Errorf("other token %d: accepted", i+1)
		}
		if verify(raw, Claim("aud", s.Audience)) == nil {
			t.Errorf("other token %d: accepted with the audience %s", i+1, s.Audience)
		}
	}
}

// likeSample makes a token say what a sample says, now.
func likeSample(raw string) (Change, error) {
	parts := strings.Split(raw, ".")
	if len(parts) != 3 {
		return nil, fmt.Errorf("oidctest: a sample is no compact JWS: it has %d parts", len(parts))
	}
	var header, claims map[string]any
	for i, into := range []*map[string]any{&header, &claims} {
		text, err := base64.RawURLEncoding.DecodeString(parts[i])
		if err != nil {
			return nil, fmt.Errorf("oidctest: part %d of a sample: %w", i+1, err)
		}
		d := json.NewDecoder(bytes.NewReader(text))
		d.UseNumber()
		if err := d.Decode(into); err != nil {
			return nil, fmt.Errorf("oidctest: part %d of a sample: %w", i+1, err)
		}
	}
	return func(d *Draft) {
		d.Header["typ"] = header["typ"]
		now, issuer := time.Now(), d.Claims["iss"]
		clear(d.Claims)
		maps.Copy(d.Claims, claims)
		d.Claims["iss"] = issuer
		for name, at := range map[string]time.Time{"iat": now, "nbf": now, "auth_time": now, "exp": now.Add(5 * time.Minute)} {
			if _, ok := d.Claims[name]; ok {
				d.Claims[name] = at.Unix()
			}
		}
	}, nil
}

package oidc_test

import (
	"encoding/base64"
	"encoding/json"
	"testing"

	"github.com/keybound-go/middleware/oidc"
	"github.com/keybound-go/middleware/oidc/oidctest"
)

func FuzzVerifyToken(f *testing.F) {
	issuer := newIssuer(f)
	keys := &static{key: issuer.PublicKey()}
	v := newStaticVerifier(f, issuer, keys)
	good := issuer.Token(oidctest.Claim("exp", 5_000_000_000))
	f.Add(good)
	f.Add(issuer.Token(oidctest.IDToken(oidctest.Audience)))
	f.Add("")
	f.Add("..")
	f.Add("....")
	f.Add(replaceHeader(good, `{"alg":"none"}`))
	f.Fuzz(func(t *testing.T, raw string) {
		token, err := v.VerifyToken(t.Context(), raw)
		if err == nil && raw != good {
			t.Fatalf("accepted %q", raw)
		}
		if kind, ok := err.(oidc.TokenError); err != nil && (!ok || kind.Description() == "unknown error") {
			t.Fatalf("%T %v", err, err)
		}
		if (err == nil) != (token != nil) {
			t.Fatal("neither a token nor an error, or both")
		}
	})
}

func FuzzTokenFromClaims(f *testing.F) {
	for _, seed := range []string{
		`{"iss":"i","aud":["a"],"exp":1,"scope":"a b","cnf":{"jkt":"` + thumb('a') + `"}}`,
		`{"cnf":null}`, `{"cnf":{}}`, `{"cnf":{"jkt":""}}`, `{"aud":null}`, `{"a":{"b":[1,"c",true]}}`, `[]`, ``,
		`{"cnf":{"\u006akt":"` + thumb('b') + `"}}`, `{"CNF":{"jkt":"x"}}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		token, err := oidc.TokenFromClaims(raw)
		if err != nil {
			if _, ok := err.(oidc.TokenError); !ok {
				t.Fatalf("%T %v", err, err)
			}
			return
		}
		var members map[string]json.RawMessage
		if err := token.Claims(&members); err != nil {
			t.Fatal(err)
		}
		// A token that says anything about its confirmation is never unbound.
		if _, ok := members["cnf"]; ok != token.Confirmation.Bound() {
			t.Fatalf("%s: %+v", raw, token.Confirmation)
		}
		for _, x := range []string{token.Confirmation.JKT, token.Confirmation.X5T} {
			if _, err := base64.RawURLEncoding.Strict().DecodeString(x); err != nil || x != "" && len(x) != 43 {
				t.Fatalf("%q is not canonical", x)
			}
		}
		for name := range members {
			_, _ = token.Claim(name)
			_, _ = token.Claim(name, "b")
		}
	})
}

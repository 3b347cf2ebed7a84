package introspect

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/keybound-go/middleware/oidc"
	"github.com/keybound-go/middleware/oidc/clientauth"
)

// FuzzAnswer: whatever an endpoint says, a token comes out only of an answer that says
// active, for this service, and with its binding.
func FuzzAnswer(f *testing.F) {
	issuer, err := oidc.NewIssuer("https://issuer.example")
	if err != nil {
		f.Fatal(err)
	}
	i, err := New(issuer, "https://api.example", clientauth.Public("api"))
	if err != nil {
		f.Fatal(err)
	}
	for _, seed := range []string{
		`{"active":true,"aud":"https://api.example","token_type":"Bearer","exp":4000000000}`, `{"active":false}`, `{"active":null}`, `{}`, ``, `[]`,
		`{"active":true,"aud":["https://api.example"],"scope":"a b","cnf":{"jkt":"0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"},"token_type":"DPoP"}`,
		`{"active":true,"aud":"https://api.example","cnf":null}`, `{"active":true,"active":false}`, `{"active":true,"aud":"https://api.example","events":{}}`,
		`{"active":true,"aud":"https://api.example","nonce":"n"}`, `{"active":true,"aud":"https://api.example","iat":1764422400000}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		a, err := i.judge(raw, time.Now())
		if (a == nil) == (err == nil) {
			t.Fatal("neither an answer nor an error, or both")
		}
		if err != nil {
			return
		}
		var said map[string]json.RawMessage
		if err := json.Unmarshal(raw, &said); err != nil {
			t.Fatalf("%q: %v", raw, err)
		}
		if string(said["active"]) != "true" {
			t.Fatalf("%q does not say active", raw)
		}
		if _, ok := said["cnf"]; ok != a.token.Confirmation.Bound() {
			t.Fatalf("%q: %+v", raw, a.token.Confirmation)
		}
		for _, name := range []string{"at_hash", "c_hash", "s_hash", "events"} {
			if v, ok := said[name]; ok && string(v) != "null" {
				t.Fatalf("%q has %s", raw, name)
			}
		}
		if a.token.Issuer != issuer.URL() {
			t.Fatalf("%q is of %q", raw, a.token.Issuer)
		}
	})
}

package exchange

import (
	"testing"
	"time"

	"github.com/keybound-go/middleware/internal/headers"
)

// FuzzGrant: whatever a token endpoint says, what comes out can stand in a header, and
// is not used for longer than configured.
func FuzzGrant(f *testing.F) {
	for _, seed := range []string{
		`{"access_token":"x","token_type":"Bearer","expires_in":300}`, `{"access_token":"x","token_type":"bearer","expires_in":"300"}`,
		`{"access_token":"a\nb","token_type":"Bearer"}`, `{"access_token":null,"token_type":"Bearer"}`, `{"error":"invalid_client"}`,
		`{"access_token":"x","token_type":"Bearer","expires_in":1e999}`, `{"access_token":"x","token_type":"Bearer","expires_in":[null]}`,
		"\xef\xbb\xbf{}", `[]`, ``, `<html>`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		asked := time.Now()
		g, err := parseGrant(body, asked, time.Hour)
		if (g == nil) == (err == nil) {
			t.Fatal("neither a grant nor an error, or both")
		}
		if err != nil {
			return
		}
		if !headers.IsVisible(g.token()) {
			t.Fatalf("%q cannot stand in a header", g.token())
		}
		if d := g.until.Sub(asked); d > time.Hour-earlyExpiry || d < -earlyExpiry {
			t.Fatalf("used for %v", d)
		}
	})
}

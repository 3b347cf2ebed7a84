package jose_test

import (
	"encoding/base64"
	"strings"
	"testing"

	"github.com/keybound-go/middleware/internal/jose"
)

// FuzzFormOf: what is Signed or Encrypted has one spelling only.
func FuzzFormOf(f *testing.F) {
	for _, seed := range []string{
		"eyJhbGciOiJSUzI1NiJ9.e30.c2ln", "eyJhbGciOiJkaXIiLCJlbmMiOiJBMjU2R0NNIn0..aXY.dGV4dA.dGFn", "h.p.s", "", ".", "{}", "eyJ.", "e30.e30.",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		form := jose.FormOf(raw)
		if form != jose.Signed && form != jose.Encrypted {
			return
		}
		for part := range strings.SplitSeq(raw, ".") {
			decoded, err := base64.RawURLEncoding.DecodeString(part)
			if err != nil || base64.RawURLEncoding.EncodeToString(decoded) != part {
				t.Fatalf("%q is not canonical", part)
			}
		}
		for _, other := range []string{raw + ".", raw + "=", raw + "..", "=" + raw} {
			if jose.FormOf(other) != jose.Malformed {
				t.Fatalf("%q is not refused", other)
			}
		}
		if _, err := jose.Parse(raw, 1<<20); form == jose.Signed && err == jose.ErrForm {
			t.Fatalf("%q is Signed, and cannot be parsed: %v", raw, err)
		}
	})
}

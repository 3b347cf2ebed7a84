package strictjson_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/keybound-go/middleware/internal/strictjson"
)

// What the claims of a proof take.
func BenchmarkClaims(b *testing.B) {
	raw := []byte(`{"jti":"e1j3V_bKic8-LAEB","htm":"GET","htu":"https://api.example/orders","iat":1562262618,` +
		`"ath":"fUHyO2r2Z3DZ53EsNrWBb0xWXoaNy59IiKCAqksmQEo"}`)
	b.ReportAllocs()
	for b.Loop() {
		var id string
		var iat strictjson.NumericDate
		var o strictjson.Object
		for o.Start(raw, testMaxDepth); o.Next(); {
			switch string(o.Name()) {
			case "jti":
				o.Text(&id)
			case "iat":
				o.Date(&iat)
			}
		}
		if o.Err() != nil || id == "" || !iat.Present() {
			b.Fatal(o.Err())
		}
	}
}

// A client without a good key can send these: the time for a byte must not grow
// with the number of names.
func BenchmarkManyMembers(b *testing.B) {
	var roles strings.Builder
	for i := range 130 {
		fmt.Fprintf(&roles, `,"client-%d":{"roles":["reader","writer"]}`, i)
	}
	for name, raw := range map[string]string{
		"8 kB of roles":  `{"resource_access":{` + roles.String()[1:] + `}}`,
		"256 members":    objectOf(256, nil),
		"2,000 members":  objectOf(2000, nil),
		"20,000 members": objectOf(20_000, nil),
	} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(raw)))
			b.ReportAllocs()
			for b.Loop() {
				var o strictjson.Object
				for o.Start([]byte(raw), testMaxDepth); o.Next(); {
				}
				if o.Err() != nil {
					b.Fatal(o.Err())
				}
			}
		})
	}
}

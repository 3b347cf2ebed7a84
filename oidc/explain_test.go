package oidc_test

import (
	"encoding/base64"
	"fmt"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/keybound-go/middleware/oidc"
)

// R6's kind: a token over the limit is refused for nothing, and a logger that wants it
// explained must not change that.
func TestExplainingATokenOverTheLimitCostsNothing(t *testing.T) {
	v := newVerifier(t, newIssuer(t))
	encode := base64.RawURLEncoding.EncodeToString
	var claims strings.Builder
	claims.WriteString(`{"iss":"x"`)
	for i := 0; claims.Len() < 740_000; i++ {
		fmt.Fprintf(&claims, `,"%x":1`, i)
	}
	claims.WriteString(`}`)
	raw := encode([]byte(`{"alg":"ES256","typ":"JWT"}`)) + "." + encode([]byte(claims.String())) + ".AAAA"
	_, err := v.VerifyToken(t.Context(), raw)
	requireKind(t, oidc.ErrTooLarge, err)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	require.Equal(t, "JWT", v.Explain(raw).Form)
	runtime.ReadMemStats(&after)
	require.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(64<<10), "bytes")
}

package middleware

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/keybound-go/middleware/dpop"
	"github.com/keybound-go/middleware/internal/outage"
	"github.com/keybound-go/middleware/mtlspop"
	"github.com/keybound-go/middleware/oidc"
	"github.com/keybound-go/middleware/oidc/exchange"
)

// TestEveryDescriptionHasOneErrorCode: two kinds with one description have one code, two
// descriptions have two, and no code is a Reason.
func TestEveryDescriptionHasOneErrorCode(t *testing.T) {
	byCode, reasons, used := make(map[string]string), make(map[string]bool), make(map[string]bool)
	for _, r := range append([]string{reasonPanic, reasonMisconfigured, reasonUnavailable}, outage.Reasons...) {
		reasons[r] = true
	}
	for i := 1; i < 256; i++ {
		for _, e := range []clientError{RequestError(i), oidc.TokenError(i), dpop.ProofError(i), mtlspop.BindingError(i), exchange.Error(i)} {
			r := e.(reasoned).Reason()
			if r == "" {
				continue
			}
			reasons[r] = true
			code, text := errorCodeOf(e), e.Description()
			if e.Code() == "" {
				require.Empty(t, code, "%s: such an answer has no body", r)
				continue
			}
			require.Regexp(t, `^[a-z]+\.[a-z_]+$`, code, "%s: %q has no error_code", r, text)
			if other, ok := byCode[code]; ok {
				require.Equal(t, other, text, "two descriptions have the error_code %s", code)
			}
			byCode[code], used[text] = text, true
		}
	}
	for text, code := range errorCodes {
		require.True(t, used[text], "nothing is described as %q", text)
		require.False(t, reasons[code], "%s is a Reason", code)
	}
	require.Equal(t, errorCodeOf(oidc.ErrInactive), errorCodeOf(oidc.ErrUnknown), "a client must not learn revoked from unknown")
}

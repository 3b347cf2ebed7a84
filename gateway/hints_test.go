package main

import (
	"regexp"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/keybound-go/middleware"
	"github.com/keybound-go/middleware/dpop"
	"github.com/keybound-go/middleware/mtlspop"
	"github.com/keybound-go/middleware/oidc"
)

func TestHintsAreInTheWordsOfTheGateway(t *testing.T) {
	inGo := regexp.MustCompile(`\b(dpop|oidc|mtlspop|middleware|session|introspect|exchange|clientauth)\.[A-Z]|\b(With|Require|Allow|Dangerously|Trust)[A-Z]`)
	for i := range 256 {
		for _, err := range []interface {
			error
			Hint() string
		}{middleware.RequestError(i), dpop.ProofError(i), mtlspop.BindingError(i), oidc.TokenError(i)} {
			assert.NotRegexp(t, inGo, hintOf(middleware.Outcome{Err: err, Hint: err.Hint()}), "%T %d: %v", err, i, err)
		}
	}
	for err, hint := range hints {
		require.NotEmpty(t, hint, err)
		require.NotRegexp(t, inGo, hint, err)
	}
}

package check

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/keybound-go/middleware/cmd/keybound/internal/wire"
)

func TestARefusalInAnotherFormIsNoAcceptance(t *testing.T) {
	judge := func(status int, challenge string) (o outcome) {
		defer func() { o, _ = recover().(outcome) }()
		p := &play{Config: &Config{}}
		p.refuse(&wire.Response{Status: status, Header: http.Header{"Www-Authenticate": {challenge}}}, dpopToken)
		return outcome{}
	}
	require.Equal(t, outcome{}, judge(401, `DPoP error="invalid_token"`))
	for _, o := range []outcome{
		judge(401, `DPoP error="invalid_dpop_proof"`),
		judge(400, `DPoP error="invalid_token"`),
		judge(401, `Bearer error="invalid_token"`),
	} {
		require.Equal(t, Failed, o.status)
		require.True(t, o.form)
		require.False(t, o.accepted)
	}
	o := judge(200, "")
	require.True(t, o.accepted)
	require.False(t, o.form)
	o = judge(500, "")
	require.Equal(t, Failed, o.status)
	require.False(t, o.form)
}

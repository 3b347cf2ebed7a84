package oidc_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/keybound-go/middleware/oidc"
)

func TestAMissingAudienceIsAllowedForNamedClientsAlone(t *testing.T) {
	for name, tc := range map[string]struct {
		opts []oidc.Option
		want string
	}{
		"no client":       {[]oidc.Option{oidc.DangerouslyAllowMissingAudience()}, "oidc: DangerouslyAllowMissingAudience: name the clients"},
		"an empty one":    {[]oidc.Option{oidc.DangerouslyAllowMissingAudience("a", "")}, "oidc: DangerouslyAllowMissingAudience: name the clients"},
		"twice":           {[]oidc.Option{oidc.DangerouslyAllowMissingAudience("a"), oidc.DangerouslyAllowMissingAudience("b")}, "oidc: DangerouslyAllowMissingAudience is given twice"},
		"aud alone tells": {[]oidc.Option{oidc.DangerouslyAllowMissingAudience("a"), oidc.WithProfile(oidc.Auth0)}, "by the profile Auth0 nothing but aud tells"},
	} {
		_, err := oidc.New("https://issuer.example", "https://api.example", tc.opts...)
		require.ErrorContains(t, err, tc.want, name)
	}
	v, err := oidc.New("https://issuer.example", "https://api.example", oidc.DangerouslyAllowMissingAudience("a"))
	require.NoError(t, err)
	require.False(t, v.Policy().ChecksAudience, "presets refuse it")
}

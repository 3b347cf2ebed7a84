package dpop_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/keybound-go/middleware/dpop"
	"github.com/keybound-go/middleware/dpop/dpoptest"
)

// The origins of a Request take the place of the Verifier's: those of one tenant.
func TestOriginsOfTheRequest(t *testing.T) {
	v, err := dpop.New("https://api.example", dpop.WithInternalHosts("backend.internal"))
	require.NoError(t, err)
	key := dpoptest.NewKey(t)
	own := []string{"https://acme.example", "https://acme.api.example:8443"}
	for name, tc := range map[string]struct {
		origins           []string
		host, target, htu string
		want              error
	}{
		"a tenant's":                       {own, "acme.example", "/r", "https://acme.example/r", nil},
		"the tenant's other":               {own, "acme.api.example:8443", "/r", "https://acme.api.example:8443/r", nil},
		"a proof for the tenant's other":   {own, "acme.example", "/r", "https://acme.api.example:8443/r", dpop.ErrTarget},
		"a proof for the service's":        {own, "acme.example", "/r", "https://api.example/r", dpop.ErrTarget},
		"another tenant's Host":            {own, "umbrella.example", "/r", "https://acme.example/r", dpop.ErrMisdirected},
		"the service's Host":               {own, "api.example", "/r", "https://api.example/r", dpop.ErrMisdirected},
		"an internal Host, which is any's": {own, "backend.internal", "/r", "https://acme.example/r", dpop.ErrMisdirected},
		"without, the service's":           {nil, "api.example", "/r", "https://api.example/r", nil},
		"without, an internal Host":        {nil, "backend.internal", "/r", "https://api.example/r", nil},
		"without, a tenant's":              {nil, "acme.example", "/r", "https://acme.example/r", dpop.ErrMisdirected},
	} {
		t.Run(name, func(t *testing.T) {
			req := dpop.Request{
				Method: "GET", Host: tc.host, Target: tc.target, Origins: tc.origins, AccessToken: "token", Thumbprint: key.Thumbprint(),
				Proofs: []string{key.Proof("GET", tc.htu, "token")},
			}
			_, err := v.VerifyProof(t.Context(), req)
			require.Equal(t, tc.want, err)
			if len(tc.origins) > 0 {
				require.NotContains(t, v.Explain(req).ExpectedHTU, "api.example/")
			}
		})
	}
	for _, bad := range []string{"", "acme.example", "http://acme.example"} {
		_, err := v.VerifyProof(t.Context(), dpop.Request{
			Method: "GET", Host: "acme.example", Target: "/r", Origins: []string{bad}, AccessToken: "token", Thumbprint: key.Thumbprint(), Proofs: []string{"x"},
		})
		require.ErrorContains(t, err, "dpop: Origins of the Request", "an error of ours")
	}
}

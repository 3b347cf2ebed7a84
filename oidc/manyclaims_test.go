package oidc_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/keybound-go/middleware/oidc"
	"github.com/keybound-go/middleware/oidc/oidctest"
)

// B01: how much a token may say follows its size, and a refusal names the limit.
func TestB01ATokenMayHaveAsManyMembersAsItsSizeAllows(t *testing.T) {
	clients := func(n, roles int) map[string]any {
		access := map[string]any{}
		for i := range n {
			var list []string
			for j := range roles {
				list = append(list, fmt.Sprintf("manage-thing-%02d", j))
			}
			access[fmt.Sprintf("client-%03d", i)] = map[string]any{"roles": list}
		}
		return access
	}
	var permissions []any
	for i := range 90 {
		permissions = append(permissions, map[string]any{"rsid": fmt.Sprint(i), "rsname": "r", "scopes": []string{"view"}})
	}
	nested := func(n int) any {
		var v any = 1
		for range n {
			v = []any{v}
		}
		return v
	}
	issuer := newIssuer(t)
	for name, tc := range map[string]struct {
		claim oidctest.Change
		opts  []oidc.Option
		want  error
	}{
		"130 clients in resource_access": {oidctest.Claim("resource_access", clients(130, 1)), nil, nil},
		"90 permissions of UMA":          {oidctest.Claim("authorization", map[string]any{"permissions": permissions}), nil, nil},
		"3,000 roles":                    {oidctest.Claim("roles", make([]int, 3000)), nil, nil},
		"many, beyond the size":          {oidctest.Claim("resource_access", clients(140, 18)), nil, oidc.ErrTooLarge},
		"many, within a larger size":     {oidctest.Claim("resource_access", clients(140, 18)), []oidc.Option{oidc.WithMaxTokenSize(128 << 10)}, nil},
		"nested 32 deep":                 {oidctest.Claim("x", nested(31)), nil, nil},
		"nested deeper":                  {oidctest.Claim("x", nested(32)), nil, oidc.ErrTooDeep},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := verifyToken(t, newVerifier(t, issuer, tc.opts...), issuer.Token(tc.claim))
			requireKind(t, tc.want, err)
		})
	}
	require.Contains(t, oidc.ErrTooLarge.Hint(), "WithMaxTokenSize")
	require.Contains(t, oidc.ErrTooDeep.Hint(), "32 deep")
}

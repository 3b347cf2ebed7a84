package main

import (
	"log/slog"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/keybound-go/middleware/dpop"
	"github.com/keybound-go/middleware/gateway/kongfile"
)

func TestAnIssuerIsOpenAsLongAsAGuardUsesIt(t *testing.T) {
	cache, err := dpop.NewMemoryCache()
	require.NoError(t, err)
	d := &deployment{origins: []string{"https://api.example"}, replay: cache, nonceKey: make([]byte, 32), log: slog.New(slog.DiscardHandler)}
	file := func(lines string) *kongfile.File {
		return kongfile.Read(func(string) (string, bool) { return "", false }, kongfile.Source{Name: "kong.yaml", Text: []byte(good + lines)})
	}
	users := func() (all []int) {
		for _, i := range d.issuers.all {
			all = append(all, i.users)
		}
		return all
	}
	first, err := newGateway(file(""), d, nil)
	require.NoError(t, err)
	require.Equal(t, []int{1}, users())
	second, err := newGateway(file("      leeway: 7\n"), d, first)
	require.NoError(t, err)
	require.Equal(t, []int{2}, users(), "another guard of the same issuer")
	require.Same(t, first.guards[0].issuers[0].issuer, second.guards[0].issuers[0].issuer)
	third, err := newGateway(file("      leeway: 7\n"), d, second)
	require.NoError(t, err)
	require.Equal(t, []int{2}, users(), "the same guard")

	for _, mistake := range []string{"      verify_signature: false\n", "      proof_of_possession_dpop: strict\n      dpop_proof_lifetime: -1\n"} {
		_, err = newGateway(file(mistake), d, third)
		require.Error(t, err)
		require.Equal(t, []int{2}, users(), "what is not put into force")
	}
	other, err := newGateway(file("      timeout: 500\n"), d, third)
	require.NoError(t, err)
	require.Len(t, users(), 2, "it is reached in another way")
	other.close()

	first.close()
	second.close()
	require.Equal(t, []int{1}, users())
	d.issuers.forget(func(issuer string) bool { return strings.HasPrefix(issuer, "https://issuer.") })
	require.Empty(t, users())
	fourth, err := newGateway(file("      leeway: 7\n"), d, third.without(func(string) bool { return true }))
	require.NoError(t, err)
	require.NotSame(t, third.guards[0].issuers[0].issuer, fourth.guards[0].issuers[0].issuer)
	third.close()
	require.Equal(t, []int{1}, users(), "that of the fourth stays open")
	fourth.close()
	require.Empty(t, users())
}

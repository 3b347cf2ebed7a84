package caller_test

import (
	"context"
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/keybound-go/middleware/internal/caller"
)

type other struct{}

func TestTheCallersAddressTravelsInTheContext(t *testing.T) {
	addr := netip.MustParseAddr("192.0.2.1")
	parent := context.WithValue(context.Background(), other{}, "kept")
	require.Zero(t, caller.Address(parent))
	ctx := caller.With(parent, addr)
	require.Equal(t, addr, caller.Address(ctx))
	require.Equal(t, addr, caller.Address(context.WithoutCancel(ctx)))
	require.Equal(t, "kept", ctx.Value(other{}))
	require.Zero(t, caller.Address(caller.With(ctx, netip.Addr{})))
}

package calls_test

import (
	"context"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/keybound-go/middleware/internal/calls"
)

func TestCallsOfARequestAreKeptUntilTheyAreTaken(t *testing.T) {
	calls.Begin(t.Context(), calls.Keys).End(true) // goes nowhere
	ctx := &calls.Context{Context: t.Context()}
	detached := context.WithoutCancel(ctx)
	calls.Begin(detached, calls.Metadata).End(false)
	late := calls.Begin(detached, calls.Keys)
	calls.Begin(ctx, calls.ReplayCache).End(true)
	all := ctx.Log.Take()
	require.Len(t, all, 2)
	require.Equal(t, calls.Metadata, all[0].Part)
	require.False(t, all[0].Failed)
	require.Equal(t, calls.ReplayCache, all[1].Part)
	require.True(t, all[1].Failed)
	require.False(t, all[1].Begin.IsZero())
	late.End(false)
	require.Len(t, ctx.Log.Take(), 2, "the request is over")
}

func TestOneRequestKeepsABoundedNumberOfCalls(t *testing.T) {
	ctx := &calls.Context{Context: t.Context()}
	var all sync.WaitGroup
	for range 100 {
		all.Go(func() { calls.Begin(ctx, calls.Keys).End(false) })
	}
	all.Wait()
	require.Len(t, ctx.Log.Take(), 16)
}

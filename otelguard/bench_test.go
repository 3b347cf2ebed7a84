package otelguard_test

import (
	"context"
	"io"
	"log/slog"
	"testing"

	"go.opentelemetry.io/otel/sdk/trace"

	"github.com/keybound-go/middleware"
	"github.com/keybound-go/middleware/internal/tally/tallytest"
)

// BenchmarkAttached measures what a logger, metrics and traces add to a request that
// passes, with the SDK behind them. The span is the server's, and is there without the
// guard too.
func BenchmarkAttached(b *testing.B) {
	logger := middleware.WithLogger(slog.New(slog.NewJSONHandler(io.Discard, nil)))
	b.Run("metrics and no span", func(b *testing.B) {
		tallytest.Attached(b, nil, logger, middleware.WithObserver(newLab(b).telemetry().Observe))
	})
	b.Run("metrics and a span", func(b *testing.B) {
		l := newLab(b)
		tracer := trace.NewTracerProvider().Tracer("server")
		in := func() context.Context {
			ctx, _ := tracer.Start(context.Background(), "server")
			return ctx
		}
		tallytest.Attached(b, in, logger, middleware.WithObserver(l.telemetry().Observe))
	})
}

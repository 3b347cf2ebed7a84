package main

import (
	"context"
	"io"
	"log/slog"
	"testing"

	"go.opentelemetry.io/otel/sdk/trace"

	"github.com/keybound-go/middleware"
	"github.com/keybound-go/middleware/internal/tally/tallytest"
	"github.com/keybound-go/middleware/otelguard"
	"github.com/keybound-go/middleware/promguard"
)

// BenchmarkTenLines measures what the ten lines add to a request that passes: logs,
// metrics by Prometheus, and attributes on the server's span, which records.
func BenchmarkTenLines(b *testing.B) {
	provider := trace.NewTracerProvider()
	in := func() context.Context {
		ctx, _ := provider.Tracer("server").Start(context.Background(), "server")
		return ctx
	}
	metrics, err := promguard.New()
	if err != nil {
		b.Fatal(err)
	}
	traces, err := otelguard.New(otelguard.WithTracerProvider(provider))
	if err != nil {
		b.Fatal(err)
	}
	tallytest.Attached(b, in, middleware.WithLogger(slog.New(slog.NewJSONHandler(io.Discard, nil))),
		middleware.WithObserver(metrics.Observe), middleware.WithObserver(traces.Observe))
}

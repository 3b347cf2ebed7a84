package promguard_test

import (
	"io"
	"log/slog"
	"testing"

	"github.com/keybound-go/middleware"
	"github.com/keybound-go/middleware/internal/tally/tallytest"
)

// BenchmarkAttached measures what a logger and metrics add to a request that passes.
func BenchmarkAttached(b *testing.B) {
	tallytest.Attached(b, nil, middleware.WithLogger(slog.New(slog.NewJSONHandler(io.Discard, nil))), middleware.WithObserver(newMetrics(b).Observe))
}

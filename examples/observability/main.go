// Observability is a service with a guard that is logged, measured and traced: ten lines
// for all three, which are marked. It starts with
//
//	ISSUER=https://issuer.example ORIGIN=https://api.example go run .
//
// and sends its spans to where OTEL_EXPORTER_OTLP_ENDPOINT says.
package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"net/http"
	"os"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/sdk/trace"

	"github.com/keybound-go/middleware"
	"github.com/keybound-go/middleware/dpop"
	"github.com/keybound-go/middleware/oidc"
	"github.com/keybound-go/middleware/otelguard"
	"github.com/keybound-go/middleware/promguard"
)

func main() {
	public, admin, err := service(context.Background(), os.Getenv("ISSUER"), os.Getenv("ORIGIN"))
	if err != nil {
		log.Fatal(err)
	}
	go func() { log.Fatal(listen("127.0.0.1:9090", admin)) }() // an address that clients do not reach
	log.Fatal(listen("127.0.0.1:8080", public))
}

func listen(address string, h http.Handler) error {
	s := &http.Server{Addr: address, Handler: h, ReadHeaderTimeout: 5 * time.Second}
	return s.ListenAndServe()
}

// service returns what clients call, and what operators do.
func service(ctx context.Context, issuer, origin string, more ...oidc.Option) (public, admin http.Handler, err error) {
	exporter, err1 := otlptracehttp.New(ctx)                              // 1: traces
	provider := trace.NewTracerProvider(trace.WithBatcher(exporter))      // 2: traces
	otel.SetTracerProvider(provider)                                      // 3: traces
	traces, err2 := otelguard.New(otelguard.WithTracerProvider(provider)) // 4: traces
	metrics, err3 := promguard.New()                                      // 5: metrics
	guard, err4 := middleware.New(
		middleware.WithTokens(oidc.New(issuer, origin, more...)),
		middleware.WithDPoP(dpop.New(origin)),
		middleware.WithLogger(slog.Default()),    // 6: logs
		middleware.WithObserver(metrics.Observe), // 7: metrics
		middleware.WithObserver(traces.Observe),  // 8: traces
	)
	if err := errors.Join(err1, err2, err3, err4); err != nil {
		return nil, nil, err
	}
	orders := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, _ := middleware.FromContext(r.Context())
		fmt.Fprintf(w, "orders of %q\n", c.Token.Subject)
	})
	prometheus.MustRegister(metrics.Watch(guard))                                     // 9: metrics
	return otelhttp.NewHandler(guard.Wrap(orders), "orders"), promhttp.Handler(), nil // 10: traces and metrics
}

package otelguard_test

import (
	"fmt"
	"log"

	"go.opentelemetry.io/otel/metric/noop"

	"github.com/keybound-go/middleware"
	"github.com/keybound-go/middleware/dpop"
	"github.com/keybound-go/middleware/oidc"
	"github.com/keybound-go/middleware/otelguard"
)

func newGuard(telemetry *otelguard.Telemetry) *middleware.Guard {
	guard, err := middleware.New(
		middleware.WithTokens(oidc.New("https://issuer.example", "https://api.example")),
		middleware.WithDPoP(dpop.New("https://api.example")),
		middleware.WithObserver(telemetry.Observe),
	)
	if err != nil {
		log.Fatal(err)
	}
	return guard
}

// Decisions on the current span, and metrics, by the global providers.
func ExampleNew() {
	telemetry, err := otelguard.New()
	if err != nil {
		log.Fatal(err)
	}
	guard := newGuard(telemetry)
	defer guard.Close()
	fmt.Println("ready")
	// Output: ready
}

// A provider of the service's own.
func ExampleWithMeterProvider() {
	_, err := otelguard.New(otelguard.WithMeterProvider(noop.NewMeterProvider()), otelguard.WithGuardName("orders"))
	fmt.Println(err)
	// Output: <nil>
}

// The client's id on spans, for those who may know it. Metrics never have it.
func ExampleRecordClientID() {
	_, err := otelguard.New(otelguard.RecordClientID())
	fmt.Println(err)
	// Output: <nil>
}

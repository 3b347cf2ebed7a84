package promguard_test

import (
	"fmt"
	"log"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/keybound-go/middleware"
	"github.com/keybound-go/middleware/dpop"
	"github.com/keybound-go/middleware/oidc"
	"github.com/keybound-go/middleware/promguard"
)

func newGuard(metrics *promguard.Metrics) *middleware.Guard {
	guard, err := middleware.New(
		middleware.WithTokens(oidc.New("https://issuer.example", "https://api.example")),
		middleware.WithDPoP(dpop.New("https://api.example")),
		middleware.WithObserver(metrics.Observe),
	)
	if err != nil {
		log.Fatal(err)
	}
	return guard
}

// A guard's decisions and the state of its parts, for a registry.
func ExampleNew() {
	metrics, err := promguard.New()
	if err != nil {
		log.Fatal(err)
	}
	registry := prometheus.NewRegistry()
	registry.MustRegister(metrics.Watch(newGuard(metrics)))
	families, err := registry.Gather()
	fmt.Println(len(families) > 0, err)
	// Output: true <nil>
}

// Two guards of one process.
func ExampleWithGuardName() {
	registry := prometheus.NewRegistry()
	for _, name := range []string{"orders", "payments"} {
		metrics, err := promguard.New(promguard.WithGuardName(name), promguard.WithConstLabels(prometheus.Labels{"service": "shop"}))
		if err != nil {
			log.Fatal(err)
		}
		registry.MustRegister(metrics.Watch(newGuard(metrics)))
	}
	_, err := registry.Gather()
	fmt.Println(err)
	// Output: <nil>
}

// The decisions on some clients by id, and on all the others together.
func ExampleWithClientIDs() {
	_, err := promguard.New(promguard.WithClientIDs("app", "batch"))
	fmt.Println(err)
	// Output: <nil>
}

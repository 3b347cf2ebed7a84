// Chi is the service of docs/chi.md: chi, Keycloak, log lines and metrics.
package main

import (
	"errors"
	"fmt"
	"log"
	"log/slog"
	"net/http"
	"time"

	"github.com/go-chi/chi/v5"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/keybound-go/middleware"
	"github.com/keybound-go/middleware/dpop"
	"github.com/keybound-go/middleware/oidc"
	"github.com/keybound-go/middleware/promguard"
)

func main() {
	service, metrics, err := newService("http://localhost:8081/realms/main", "http://localhost:8080", oidc.DangerouslyAllowLoopbackHTTP())
	if err != nil {
		log.Fatal(err) // every mistake, one per line
	}
	go func() { log.Fatal(http.ListenAndServe("localhost:9090", metrics)) }() // where clients do not reach it
	server := &http.Server{Addr: "localhost:8080", Handler: service, ReadHeaderTimeout: 5 * time.Second}
	log.Fatal(server.ListenAndServe())
}

func newService(issuer, origin string, opts ...oidc.Option) (service, metrics http.Handler, err error) {
	counted, err := promguard.New()
	tokens, err2 := oidc.New(issuer, "https://api.example", append(opts, oidc.WithProfile(oidc.Keycloak))...)
	guard, err3 := middleware.New(
		middleware.WithTokens(tokens, err2),
		middleware.WithDPoP(dpop.New(origin)),
		middleware.WithLogger(slog.Default()),
		middleware.WithObserver(counted.Observe),
	)
	if err := errors.Join(err, err3); err != nil {
		return nil, nil, err
	}
	registry := prometheus.NewRegistry()
	registry.MustRegister(counted.Watch(guard))

	router := chi.NewRouter()
	router.Get("/", func(w http.ResponseWriter, r *http.Request) { fmt.Fprintln(w, "hello") })
	router.Group(func(guarded chi.Router) {
		guarded.Use(guard.Wrap)
		guarded.Get("/orders", orders)
		guarded.With(guard.Require(middleware.Scopes("orders:write")).Wrap).Post("/orders", orders)
	})
	return router, promhttp.HandlerFor(registry, promhttp.HandlerOpts{}), nil
}

func orders(w http.ResponseWriter, r *http.Request) {
	credential, _ := middleware.FromContext(r.Context())
	fmt.Fprintf(w, "orders of %s\n", credential.Token.Subject)
}

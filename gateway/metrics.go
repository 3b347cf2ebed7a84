package main

import (
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/keybound-go/middleware"
	"github.com/keybound-go/middleware/promguard"
)

// metrics are those of all guards of this process, whichever configuration they are of:
// a new one goes on counting where the one before stopped.
type metrics struct {
	guards   *promguard.Metrics
	registry *prometheus.Registry
}

func newMetrics() (*metrics, error) {
	m := &metrics{registry: prometheus.NewRegistry()}
	var err error
	if m.guards, err = promguard.New(promguard.WithGuardName("gateway")); err != nil {
		return nil, err
	}
	for _, c := range []prometheus.Collector{
		m.guards, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	} {
		if err := m.registry.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// watch shows the state of the guards of gw from now on. A nil m shows nothing.
func (m *metrics) watch(gw *gateway) {
	if m == nil {
		return
	}
	guards := make([]*middleware.Guard, 0, len(gw.guards))
	for _, g := range gw.guards {
		guards = append(guards, g.guard)
	}
	m.guards.Watch(guards...)
}

func (m *metrics) handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{MaxRequestsInFlight: 4})
}

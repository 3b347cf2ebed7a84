package otelguard

import (
	"unicode/utf8"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"

	"github.com/keybound-go/middleware/internal/options"
	"github.com/keybound-go/middleware/internal/tally"
)

// Option is a setting of [New]. Each may be given once.
type Option interface{ apply(*config) }

type optionFunc func(*config)

func (f optionFunc) apply(c *config) { f(c) }

// config is what the options say.
type config struct {
	*options.Set
	name              string
	tracers           trace.TracerProvider
	meters            metric.MeterProvider
	clientID, subject bool
}

func newConfig(opts []Option) *config {
	c := &config{Set: options.For("otelguard"), name: "default", tracers: otel.GetTracerProvider(), meters: otel.GetMeterProvider()}
	options.Each(c.Set, opts, func(opt Option) { opt.apply(c) })
	return c
}

// WithGuardName sets the value of keybound.guard. The default is "default".
func WithGuardName(name string) Option {
	return optionFunc(func(c *config) {
		if !c.Once("WithGuardName") {
			return
		}
		if name == "" || len(name) > tally.MaxLabel || !utf8.ValidString(name) {
			c.Problem("WithGuardName: a name is UTF-8, not empty, and has %d bytes at the most", tally.MaxLabel)
		}
		c.name = name
	})
}

// WithTracerProvider sets the provider of tracers. The default is the global provider.
func WithTracerProvider(p trace.TracerProvider) Option {
	return optionFunc(func(c *config) {
		if options.Value(c.Set, "WithTracerProvider", p) {
			c.tracers = p
		}
	})
}

// WithMeterProvider sets the provider of meters. The default is the global provider.
func WithMeterProvider(p metric.MeterProvider) Option {
	return optionFunc(func(c *config) {
		if options.Value(c.Set, "WithMeterProvider", p) {
			c.meters = p
		}
	})
}

// RecordClientID puts the client id of a verified token on the current span.
func RecordClientID() Option {
	return optionFunc(func(c *config) { c.clientID = c.Once("RecordClientID") || c.clientID })
}

// RecordSubject puts the subject of a verified token on the current span. In most
// jurisdictions the subject is personal data.
func RecordSubject() Option {
	return optionFunc(func(c *config) { c.subject = c.Once("RecordSubject") || c.subject })
}

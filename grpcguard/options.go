package grpcguard

import (
	"fmt"
	"slices"
	"strings"

	"github.com/keybound-go/middleware"
	"github.com/keybound-go/middleware/internal/options"
)

// Option is a setting of [New].
type Option interface{ apply(*config) }

type optionFunc func(*config)

func (f optionFunc) apply(c *config) { f(c) }

type config struct {
	*options.Set
	rules  map[string][]middleware.Rule // by full method, and by service as "/pkg.Service/"
	exempt map[string]bool              // by full method
	choose func(string) *middleware.Guard
}

// Require adds rules for calls of one method, "/pkg.Orders/Delete", or of every method of
// one service, "/pkg.Orders/*". It may be given several times: all rules that fit a call
// apply, beside those of the Guard. [Server.CheckMethods] finds names that are misspelt.
func Require(method string, rules ...middleware.Rule) Option {
	rules = slices.Clone(rules)
	return optionFunc(func(c *config) {
		key := method
		if service, ok := strings.CutSuffix(method, "/*"); ok {
			key, method = service+"/", service+"/x"
		}
		if !isFullMethod(method) {
			c.Problem("Require: %q is neither a full method, as in /pkg.Service/Method, nor all of a service, as in /pkg.Service/*", key)
		}
		if len(rules) == 0 {
			c.Problem("Require: %s: no rules", key)
		}
		c.rules[key] = append(c.rules[key], rules...)
	})
}

// Exempt lets calls of the given full methods pass unjudged, whatever credentials they
// carry, such as those of "/grpc.health.v1.Health/Check". Their handlers find no
// Credential. There is no form for all methods of a service, so that a new method is
// guarded.
func Exempt(methods ...string) Option {
	methods = slices.Clone(methods)
	return optionFunc(func(c *config) {
		if len(methods) == 0 {
			c.Problem("Exempt: no method")
		}
		for _, method := range methods {
			if !isFullMethod(method) {
				c.Problem("Exempt: %q is not a full method, as in /pkg.Service/Method", method)
			}
			c.exempt[method] = true
		}
	})
}

// WithGuardFor sets a function that chooses the Guard of a call by its full method, such
// as by options in the descriptor of the method. It returns nil for the Guard of [New],
// or a Guard that [middleware.Guard.Require] made beforehand. It is called for each call,
// concurrently, also for methods that the server does not have. If it panics, the call is
// refused. It excludes [Require].
func WithGuardFor(choose func(fullMethod string) *middleware.Guard) Option {
	return optionFunc(func(c *config) {
		if options.Value(c.Set, "WithGuardFor", choose) {
			c.choose = choose
		}
	})
}

// isFullMethod reports whether s has the form of /pkg.Service/Method.
func isFullMethod(s string) bool {
	service, method, ok := strings.Cut(strings.TrimPrefix(s, "/"), "/")
	return strings.HasPrefix(s, "/") && ok && service != "" && method != "" && !strings.ContainsAny(method, "/*") && !strings.Contains(service, "*")
}

// guards makes the Guard of each method and service that rules are for.
func (c *config) guards(guard *middleware.Guard) map[string]*middleware.Guard {
	guards := make(map[string]*middleware.Guard, len(c.rules))
	for key, rules := range c.rules {
		if c.exempt[key] {
			c.Problem("%s: both Require and Exempt are given", key)
		}
		if service := serviceOf(key); service != key {
			rules = slices.Concat(c.rules[service], rules)
		}
		g, err := require(guard, rules)
		if err != nil {
			c.Problem("Require: %s: %w", key, err)
			continue
		}
		guards[key] = g
	}
	if c.choose != nil && len(c.rules) > 0 {
		c.Problem("WithGuardFor and Require exclude each other")
	}
	return guards
}

// require is Guard.Require with an error in place of its panic.
func require(guard *middleware.Guard, rules []middleware.Rule) (g *middleware.Guard, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%v", p) // a text of package middleware about the configuration
		}
	}()
	return guard.Require(rules...), nil
}

// serviceOf is the key of the service that a full method belongs to: up to its last
// slash, as package grpc reads it.
func serviceOf(method string) string {
	return method[:strings.LastIndexByte(method, '/')+1]
}

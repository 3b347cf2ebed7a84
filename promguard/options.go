package promguard

import (
	"maps"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/prometheus/client_golang/prometheus"

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
	name    string
	labels  prometheus.Labels
	clients []string
}

func once(name string, set func(*config)) Option {
	return optionFunc(func(c *config) {
		if c.Once(name) {
			set(c)
		}
	})
}

// WithGuardName sets the value of the label guard. The default is "default". Guards of
// one process that are registered in one place must have a name each.
func WithGuardName(name string) Option {
	return once("WithGuardName", func(c *config) {
		if name == "" || len(name) > tally.MaxLabel || !utf8.ValidString(name) {
			c.Problem("WithGuardName: a name is UTF-8, not empty, and has %d bytes at the most", tally.MaxLabel)
		}
		c.name = name
	})
}

// ownLabels are the labels that this package sets.
var ownLabels = []string{"guard", "verdict", "scheme", "binding", "reason", "part", "issuer", "document", "memory", "client_id", "le"}

// WithConstLabels adds labels to every metric, such as a region.
func WithConstLabels(labels prometheus.Labels) Option {
	labels = maps.Clone(labels)
	return once("WithConstLabels", func(c *config) {
		for _, name := range slices.Sorted(maps.Keys(labels)) {
			switch {
			case slices.Contains(ownLabels, name):
				c.Problem("WithConstLabels: %s is a label of this package", name)
			case !isLabelName(name):
				c.Problem("WithConstLabels: %q is not a label name", name)
			case !utf8.ValidString(labels[name]) || len(labels[name]) > tally.MaxLabel:
				c.Problem("WithConstLabels: the value of %s is not UTF-8 of %d bytes at the most", name, tally.MaxLabel)
			}
		}
		c.labels = labels
	})
}

func isLabelName(name string) bool {
	return name != "" && !strings.HasPrefix(name, "__") && !strings.ContainsFunc(name, func(r rune) bool {
		return (r < 'a' || 'z' < r) && (r < 'A' || 'Z' < r) && (r < '0' || '9' < r) && r != '_'
	}) && (name[0] < '0' || '9' < name[0])
}

// maxClients is how many clients have series of their own.
const maxClients = 100

// WithClientIDs adds keybound_client_decisions_total for the clients with these ids, 100
// at the most, and for all others together as "other": for a rollout, in which one wants
// to see who is left. An id is that of a verified token.
func WithClientIDs(ids ...string) Option {
	ids = slices.Clone(ids)
	return once("WithClientIDs", func(c *config) {
		if len(ids) == 0 || len(ids) > maxClients {
			c.Problem("WithClientIDs needs 1 to %d client ids", maxClients)
		}
		for _, id := range ids {
			if id == "" || len(id) > tally.MaxLabel || !utf8.ValidString(id) {
				c.Problem("WithClientIDs: %q is not UTF-8 of 1 to %d bytes", id, tally.MaxLabel)
			}
		}
		c.clients = ids
	})
}

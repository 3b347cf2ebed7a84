// Package tally answers: how do metrics and traces name a decision, and the state of
// guards?
//
// Each name is one of few, and none is a client's to choose. promguard and otelguard
// share them.
package tally

import (
	"sync"
	"unicode/utf8"

	"github.com/keybound-go/middleware"
)

// MaxLabel is the length of a value, in bytes.
const MaxLabel = 256

// Verdict is what came of a request: passed, anonymous, nested (an outer guard had
// passed it too), refused, or unavailable (503).
func Verdict(o *middleware.Outcome) string {
	switch {
	case o.Err != nil && o.Status >= 500:
		return "unavailable"
	case o.Err != nil:
		return "refused"
	case o.Nested:
		return "nested"
	case o.Anonymous:
		return "anonymous"
	}
	return "passed"
}

// Scheme is that of the credentials: DPoP, Bearer, Basic or none.
func Scheme(o *middleware.Outcome) string {
	switch o.Scheme {
	case "DPoP", "Bearer", "Basic":
		return o.Scheme
	case "":
		return "none"
	}
	return "other"
}

// Binding is what the token is bound to: none, key, certificate or key+certificate;
// key_unproven by middleware.DangerouslyAcceptAsBearer; unknown if the token was not
// verified.
func Binding(o *middleware.Outcome) string {
	key, certificate := o.Confirmation.JKT != "", o.Confirmation.X5T != ""
	switch {
	case o.KeyUnproven:
		return "key_unproven"
	case key && certificate:
		return "key+certificate"
	case key:
		return "key"
	case certificate:
		return "certificate"
	case o.Err != nil && o.Issuer == "" && o.Subject == "" && o.ClientID == "":
		return "unknown"
	}
	return "none"
}

// Names bounds the values of a label that should be few, but that this package does not
// list. Its zero value is ready, and its methods may be called concurrently.
type Names struct {
	mu   sync.RWMutex
	seen map[string]bool
}

// maxNames is more than there are reasons: docs/errors.md has some 90.
const maxNames = 120

// Bounded is name, or "other" if there are too many.
func (n *Names) Bounded(name string) string {
	n.mu.RLock()
	seen := n.seen[name]
	n.mu.RUnlock()
	if seen {
		return name
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.seen == nil {
		n.seen = make(map[string]bool)
	}
	if len(n.seen) >= maxNames && !n.seen[name] || len(name) > MaxLabel || name == "" || !utf8.ValidString(name) {
		return "other"
	}
	n.seen[name] = true
	return name
}

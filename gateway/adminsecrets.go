package main

import (
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/keybound-go/middleware/gateway/kongfile"
)

// hiddenTexts are what no answer of the Admin API shows: secrets of entities, and what
// references to the environment stand for. A caller who may change a configuration need not
// see the environment of the gateway.
type hiddenTexts struct{ all []string }

func hiddenOf(s kongfile.State) *hiddenTexts {
	h := &hiddenTexts{}
	for kind, entities := range s {
		for _, e := range entities {
			h.all = append(h.all, e.Secrets(kind)...)
		}
	}
	return h
}

// lookup is os.LookupEnv, and remembers what it has found.
func (h *hiddenTexts) lookup(name string) (string, bool) {
	value, ok := os.LookupEnv(name)
	if ok && value != "" {
		h.all = append(h.all, value)
	}
	return value, ok
}

// shownOf is how many bytes of a hidden text tell nothing, whatever a mistake quotes.
const shownOf = 7

// isIn reports whether a text has a hidden one, or a part of it.
func (h *hiddenTexts) isIn(text string) bool {
	for _, hidden := range h.all {
		if len(hidden) <= shownOf && strings.Contains(text, strconv.Quote(hidden)) {
			return true
		}
		for i := 0; i+shownOf < len(hidden); i++ {
			if strings.Contains(text, hidden[i:i+shownOf+1]) {
				return true
			}
		}
	}
	return false
}

// without returns a mistake, which begins with the path of its key in the entity e, as
// a caller may see it. e is nil where the mistake is not in the entity that was sent.
func (h *hiddenTexts) without(mistake string, e kongfile.Entity) string {
	path, reason := cutPath(mistake)
	if reference := e.Reference(path); reference != "" {
		return fmt.Sprintf("%s: what %s stands for does not fit; gateway check says why, where the variable is set", path, reference)
	}
	if h.isIn(reason) {
		return path + ": does not fit; the reason would show a secret, and gateway check says it"
	}
	return mistake
}

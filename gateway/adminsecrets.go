package main

import (
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/keybound-go/middleware/gateway/kongfile"
)

// hiddenTexts are what no answer of the Admin API shows: secrets of entities, and what
// references to the environment stand for. A caller who may change a configuration need
// not see the environment of the gateway.
type hiddenTexts struct {
	short map[string]bool // whole, in quotes
	parts map[string]bool // each run of shownOf+1 bytes of the others
}

// shownOf is how many bytes of a hidden text tell nothing, whatever a mistake quotes.
const shownOf = 7

func hiddenOf(s kongfile.State) *hiddenTexts {
	h := &hiddenTexts{short: make(map[string]bool), parts: make(map[string]bool)}
	for kind, entities := range s {
		for _, e := range entities {
			for _, secret := range e.Secrets(kind) {
				h.add(secret)
			}
		}
	}
	return h
}

func (h *hiddenTexts) add(text string) {
	if len(text) <= shownOf {
		h.short[strconv.Quote(text)] = text != ""
		return
	}
	for i := range len(text) - shownOf {
		h.parts[text[i:i+shownOf+1]] = true
	}
}

// seen returns os.LookupEnv, and the variables that it has found.
func seen() (lookup func(name string) (string, bool), found map[string]string) {
	found = make(map[string]string)
	return func(name string) (string, bool) {
		value, ok := os.LookupEnv(name)
		if ok {
			found[name] = value
		}
		return value, ok
	}, found
}

// isIn reports whether a text has a hidden one, or a part of it.
func (h *hiddenTexts) isIn(text string) bool {
	for i := range max(0, len(text)-shownOf) {
		if h.parts[text[i:i+shownOf+1]] {
			return true
		}
	}
	for quoted := range h.short {
		if h.short[quoted] && strings.Contains(text, quoted) {
			return true
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

package kongfile

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// environment replaces ${{ env "NAME" }} as decK does, with one difference: the
// value goes into the parsed document, not into its text, so that it can neither
// add keys nor move lines. It also resolves Kong's references to the environment,
// {vault://env/name}.
type environment struct {
	lookup func(string) (string, bool)
	mark   string   // what stands in the text for a variable, up to its number
	names  []string // by number
	refs   []string // as they were written
}

var reference = regexp.MustCompile(`\$\{\{-?[ \t]*env[ \t]+\\?"([A-Za-z_][A-Za-z0-9_]*)\\?"[ \t]*(?:\|[ \t]*(?:to(?:Bool|Int|Float)|indent[ \t]+([0-9]{1,3}))[ \t]*)?-?\}\}`)

// newEnvironment returns text with a mark in the place of each reference. With
// indent, the mark gets its spaces, so that it is within a block of text; the lines
// of the value need none, since they are put in when the block has been read.
func newEnvironment(text []byte, lookup func(string) (string, bool)) (*environment, []byte) {
	e := &environment{lookup: lookup, mark: "env" + rand.Text() + "n"}
	marked := reference.ReplaceAllFunc(text, func(ref []byte) []byte {
		mark := e.mark + strconv.Itoa(len(e.names)) + "e"
		found := reference.FindSubmatch(ref)
		name := string(found[1])
		e.names = append(e.names, name)
		e.refs = append(e.refs, strings.ReplaceAll(string(ref), `\"`, `"`)) // JSON escapes them
		spaces, _ := strconv.Atoi(string(found[2]))                         // 0 without indent
		return []byte(strings.Repeat(" ", spaces) + mark)
	})
	return e, marked
}

// expand puts the values into one scalar.
func (e *environment) expand(scalar string) (value string, from bool, err error) {
	if strings.Contains(scalar, "{vault://") {
		value, err = e.vault(strings.TrimSpace(scalar))
		return value, true, err
	}
	if !strings.Contains(scalar, e.mark) {
		return scalar, false, nil
	}
	value, err = e.replace(scalar, func(i int) (string, error) {
		value, ok := e.lookup(e.names[i])
		if !ok {
			return "", fmt.Errorf("the environment variable %s is not set", e.names[i])
		}
		return value, nil
	})
	return value, true, err
}

// replace puts texts into the places of marks.
func (e *environment) replace(scalar string, with func(i int) (string, error)) (string, error) {
	var b strings.Builder
	for {
		before, rest, found := strings.Cut(scalar, e.mark)
		b.WriteString(before)
		if !found {
			return b.String(), nil
		}
		number, rest, _ := strings.Cut(rest, "e")
		i, err := strconv.Atoi(number)
		if err != nil || i < 0 || i >= len(e.names) {
			return "", fmt.Errorf("kongfile: a reference to the environment is broken")
		}
		text, err := with(i)
		if err != nil {
			return "", err
		}
		b.WriteString(text)
		scalar = rest
	}
}

var vaultReference = regexp.MustCompile(`^\{vault://([A-Za-z0-9_-]+)/([A-Za-z0-9_-]+)(?:/([^/}?#]+))?\}$`)

var vaultName = regexp.MustCompile(`^\{vault://([^/{}]+)/[^{}]+\}$`)

// vault resolves a reference as Kong's env vault does: the name in upper case, its
// hyphens as underscores, and with a second element, that member of a JSON object.
func (e *environment) vault(ref string) (string, error) {
	found := vaultReference.FindStringSubmatch(ref)
	name := vaultName.FindStringSubmatch(ref)
	switch {
	case name != nil && name[1] != "env":
		return "", fmt.Errorf("the vault %q is not supported: let what starts the gateway read it, and refer to the environment, by {vault://env/NAME} or ${{ env \"NAME\" }}", name[1])
	case found == nil:
		return "", fmt.Errorf("%q is not a reference that is supported; it can be {vault://env/NAME}", ref)
	}
	variable := strings.ToUpper(strings.ReplaceAll(found[2], "-", "_"))
	value, ok := e.lookup(variable)
	if !ok {
		return "", fmt.Errorf("the environment variable %s is not set", variable)
	}
	if found[3] == "" {
		return value, nil
	}
	var members map[string]string
	if json.Unmarshal([]byte(value), &members) != nil {
		return "", fmt.Errorf("the environment variable %s is not a JSON object of strings, which the reference takes it for", variable)
	}
	if value, ok = members[found[3]]; !ok {
		return "", fmt.Errorf("the environment variable %s has no member %q", variable, found[3])
	}
	return value, nil
}

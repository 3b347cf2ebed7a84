package kongfile

import (
	"bytes"
	"cmp"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Kinds are the kinds of entities of a State, in the order in which they refer to
// each other.
var Kinds = []string{"ca_certificates", "certificates", "services", "routes", "plugins"}

// Entity is one entity as Kong's Admin API has it. References to others are
// {"id": ...}. References to the environment stand in it as they were written.
type Entity map[string]any

// ID is the id of the entity.
func (e Entity) ID() string { return e.text("id") }

// Name is the name of the entity, or "". That of a plugin is not its own.
func (e Entity) Name() string { return e.text("name") }

func (e Entity) text(key string) string {
	s, _ := e[key].(string)
	return s
}

// Refers returns the id of what the entity refers to by a key, or "".
func (e Entity) Refers(key string) string {
	switch to := e[key].(type) {
	case map[string]any:
		return cmp.Or(Entity(to).ID(), Entity(to).Name())
	case string:
		return to
	}
	return ""
}

// State is a configuration as its entities. It is not safe for concurrent use.
type State map[string][]Entity

// Clone returns a State that shares nothing with s that Put or Delete change.
func (s State) Clone() State {
	c := make(State, len(s))
	for kind, all := range s {
		c[kind] = slices.Clone(all)
	}
	return c
}

// Find returns the entity with an id or, except for plugins, a name.
func (s State) Find(kind, key string) (Entity, bool) {
	i := s.index(kind, key)
	if i < 0 {
		return nil, false
	}
	return s[kind][i], true
}

func (s State) index(kind, key string) int {
	return slices.IndexFunc(s[kind], func(e Entity) bool { return key != "" && (e.ID() == key || kind != "plugins" && e.Name() == key) })
}

// Put adds an entity, or replaces the one with its id.
func (s State) Put(kind string, e Entity) {
	if i := slices.IndexFunc(s[kind], func(other Entity) bool { return other.ID() == e.ID() }); i >= 0 {
		s[kind][i] = e
		return
	}
	s[kind] = append(s[kind], e)
}

// Delete removes an entity, and the plugins that are attached to it.
func (s State) Delete(kind, id string) {
	s[kind] = slices.DeleteFunc(s[kind], func(e Entity) bool { return e.ID() == id })
	if one := singular(kind); kind == "services" || kind == "routes" {
		s["plugins"] = slices.DeleteFunc(s["plugins"], func(e Entity) bool { return e.Refers(one) == id })
	}
}

// UsedBy returns a kind of entity that refers to the one with an id and cannot be
// without it, or "".
func (s State) UsedBy(kind, id string) string {
	if kind == "services" && slices.ContainsFunc(s["routes"], func(e Entity) bool { return e.Refers("service") == id }) {
		return "routes"
	}
	return ""
}

func singular(kind string) string { return strings.TrimSuffix(kind, "s") }

// Source returns the State as a file. Each entity stands on a line of its own.
func (s State) Source(name string) (Source, error) {
	var b bytes.Buffer
	b.WriteString("{\"_format_version\": \"3.0\"")
	for _, kind := range Kinds {
		fmt.Fprintf(&b, ",\n%q: [", kind)
		for i, e := range s[kind] {
			if i > 0 {
				b.WriteByte(',')
			}
			b.WriteByte('\n')
			encoder := json.NewEncoder(&b)
			encoder.SetEscapeHTML(false)
			if err := encoder.Encode(e); err != nil {
				return Source{}, fmt.Errorf("kongfile: %w", err)
			}
			b.Truncate(b.Len() - 1) // the line break
		}
		b.WriteByte(']')
	}
	b.WriteString("}\n")
	return Source{Name: name, Text: b.Bytes()}, nil
}

// StateOf returns the entities of files that have been read without mistakes. Nested
// ones stand by themselves, and those without an id get one, the same for the same
// name.
func StateOf(sources ...Source) (State, error) {
	s := make(State)
	for _, source := range sources {
		env, marked := newEnvironment(source.Text, func(string) (string, bool) { return "", false })
		var root yaml.Node
		if err := yaml.Unmarshal(marked, &root); err != nil || len(root.Content) == 0 {
			return nil, cmp.Or(err, errors.New("kongfile: "+source.Name+": is empty"))
		}
		top, _ := env.plain(root.Content[0], nil).(map[string]any)
		for _, kind := range Kinds {
			s.addAll(kind, top[kind], nil)
		}
	}
	s.resolve()
	return s, nil
}

// addAll adds a list of entities, and those that stand in them.
func (s State) addAll(kind string, list any, within map[string]any) {
	items, _ := list.([]any)
	for _, item := range items {
		e, _ := item.(map[string]any)
		if e == nil {
			continue
		}
		maps.Copy(e, within)
		if Entity(e).ID() == "" {
			name := ""
			if kind != "plugins" {
				name = Entity(e).Name()
			}
			e["id"] = newID(kind, name)
		}
		nested := map[string]any{singular(kind): map[string]any{"id": e["id"]}}
		for _, inner := range []string{"routes", "plugins"} {
			list := e[inner]
			delete(e, inner)
			defer s.addAll(inner, list, nested)
		}
		s[kind] = append(s[kind], e)
	}
}

// resolve turns references by name into those by id.
func (s State) resolve() {
	for _, kind := range []string{"routes", "plugins"} {
		for _, e := range s[kind] {
			for _, to := range []string{"service", "route"} {
				if found, ok := s.Find(to+"s", e.Refers(to)); ok {
					e[to] = map[string]any{"id": found.ID()}
				}
			}
		}
	}
}

// newID returns a UUID: of the name, or a random one.
func newID(kind, name string) string {
	var b [16]byte
	version := byte(0x40)
	if name == "" {
		rand.Read(b[:])
	} else {
		sum := sha256.Sum256([]byte(kind + "/" + name))
		copy(b[:], sum[:])
		version = 0x80 // RFC 9562, section 5.8
	}
	b[6], b[8] = b[6]&0x0f|version, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

// NewID returns a random id.
func NewID() string { return newID("", "") }

// plain turns a node into what encoding/json makes of the same text. In a key that
// is a boolean to Kong, the words of YAML 1.1 are booleans.
func (e *environment) plain(n *yaml.Node, path []string) any {
	switch n.Kind {
	case yaml.MappingNode:
		m := make(map[string]any, len(n.Content)/2)
		for i := 0; i+1 < len(n.Content); i += 2 {
			key := n.Content[i].Value
			m[key] = e.plain(n.Content[i+1], append(path[:len(path):len(path)], key))
		}
		return m
	case yaml.SequenceNode:
		list := make([]any, 0, len(n.Content))
		for _, item := range n.Content {
			list = append(list, e.plain(item, path))
		}
		return list
	}
	if b, ok := oldBoolean(n); ok && typeOf(path) == "boolean" {
		return b
	}
	switch n.Tag {
	case "!!null":
		return nil
	case "!!bool":
		b, err := strconv.ParseBool(n.Value)
		if err == nil {
			return b
		}
	case "!!int", "!!float":
		if json.Valid([]byte(n.Value)) {
			return json.Number(n.Value)
		}
	}
	return e.asWritten(n.Value)
}

// asWritten puts the references back into a text.
func (e *environment) asWritten(text string) string {
	written, err := e.replace(text, func(i int) (string, error) { return e.refs[i], nil })
	if err != nil {
		return text
	}
	return written
}

// typeOf returns the type of a key, by its path in an entity or a file, or "".
func typeOf(path []string) string {
	if i := slices.Index(path, "config"); i >= 0 && i+1 < len(path) {
		k := openIDKeys[path[i+1]]
		for _, member := range path[i+2:] {
			if k == nil {
				return ""
			}
			k = byName(k.Members)[member]
		}
		if k == nil {
			return ""
		}
		return k.Type
	}
	if len(path) == 0 {
		return ""
	}
	switch path[len(path)-1] {
	case "enabled", "tls_verify", "strip_path", "preserve_host", "request_buffering", "response_buffering", "_transform":
		return "boolean"
	case "port", "retries", "connect_timeout", "read_timeout", "write_timeout", "https_redirect_status_code", "regex_priority", "tls_verify_depth":
		return "number"
	case "paths", "hosts", "methods", "protocols", "tags", "snis", "ca_certificates":
		return "strings"
	}
	return ""
}

// IsList reports whether the key at path in an entity has a list of strings to Kong.
func IsList(path []string) bool { return typeOf(path) == "strings" }

// Coerce turns a text, such as a form has it, into a value of the type that Kong has
// for the key at path in an entity.
func Coerce(path []string, text string) any {
	switch typeOf(path) {
	case "boolean":
		if b, err := strconv.ParseBool(text); err == nil {
			return b
		}
	case "number":
		if json.Valid([]byte(text)) {
			return json.Number(text)
		}
	}
	return text
}

// Hidden is what stands for a secret in an answer, and keeps it in a request.
const Hidden = "***"

// isSecret reports whether no caller of the Admin API is shown the value of a key at a
// path.
func isSecret(kind string, path []string) bool {
	last := path[len(path)-1]
	switch {
	case kind == "certificates":
		return last == "key" || last == "key_alt"
	case kind != "plugins" || path[0] != "config":
		return false
	case slices.Contains(path, "client_jwk"):
		return slices.Contains([]string{"d", "p", "q", "dp", "dq", "qi", "k", "oth", "r", "t"}, last)
	}
	return slices.Contains([]string{
		"client_secret", "session_secret", "password", "sentinel_password", "cache_tokens_salt", "http_proxy_authorization", "https_proxy_authorization",
		"aws_secret_access_key", "azure_client_secret", "gcp_service_account_json", "introspection_headers_values", "token_post_args_values",
	}, last)
}

// WithoutSecrets returns the entity as it can be shown.
func (e Entity) WithoutSecrets(kind string) Entity {
	return hide(kind, nil, map[string]any(e)).(map[string]any)
}

func hide(kind string, path []string, value any) any {
	switch value := value.(type) {
	case map[string]any:
		m := make(map[string]any, len(value))
		for key, inner := range value {
			m[key] = hide(kind, append(path[:len(path):len(path)], key), inner)
		}
		return m
	case []any:
		list := make([]any, len(value))
		for i, inner := range value {
			list[i] = hide(kind, path, inner)
		}
		return list
	case string:
		if isHidden(kind, path, value) {
			return Hidden
		}
	}
	return value
}

func isHidden(kind string, path []string, value string) bool {
	return value != "" && len(path) > 0 && isSecret(kind, path) && !isReference(value)
}

// Secrets returns the values that [Entity.WithoutSecrets] hides.
func (e Entity) Secrets(kind string) (all []string) {
	var collect func(path []string, value any)
	collect = func(path []string, value any) {
		switch value := value.(type) {
		case map[string]any:
			for key, inner := range value {
				collect(append(path[:len(path):len(path)], key), inner)
			}
		case []any:
			for _, inner := range value {
				collect(path, inner)
			}
		case string:
			if isHidden(kind, path, value) {
				all = append(all, value)
			}
		}
	}
	collect(nil, map[string]any(e))
	return all
}

// Reference returns a reference to the environment in the value at a path, such as
// config.issuer, or "".
func (e Entity) Reference(path string) string {
	var value any = map[string]any(e)
	for name := range strings.SplitSeq(path, ".") {
		name, _, _ = strings.Cut(name, "[")
		within, _ := value.(map[string]any)
		value = within[name]
	}
	return referenceIn(value)
}

func referenceIn(value any) string {
	switch value := value.(type) {
	case string:
		return cmp.Or(reference.FindString(value), inVault.FindString(value))
	case []any:
		for _, inner := range value {
			if found := referenceIn(inner); found != "" {
				return found
			}
		}
	}
	return ""
}

var inVault = regexp.MustCompile(`\{vault://[^}]*\}`)

// isReference reports whether a text says where a secret is, and not the secret.
func isReference(text string) bool {
	return vaultReference.MatchString(text) || reference.FindString(text) == text && text != ""
}

// Keep returns the entity with the secrets of before where it has [Hidden].
func (e Entity) Keep(kind string, before Entity) (Entity, error) {
	kept, err := keep(kind, nil, map[string]any(e), map[string]any(before))
	if err != nil {
		return nil, err
	}
	return kept.(map[string]any), nil
}

func keep(kind string, path []string, value, before any) (any, error) {
	var err error
	switch value := value.(type) {
	case map[string]any:
		old, _ := before.(map[string]any)
		m := make(map[string]any, len(value))
		for key, inner := range value {
			if m[key], err = keep(kind, append(path[:len(path):len(path)], key), inner, old[key]); err != nil {
				return nil, err
			}
		}
		return m, nil
	case []any:
		old, _ := before.([]any)
		list := make([]any, len(value))
		for i, inner := range value {
			var its any
			if i < len(old) {
				its = old[i]
			}
			if list[i], err = keep(kind, path, inner, its); err != nil {
				return nil, err
			}
		}
		return list, nil
	case string:
		if value != Hidden || len(path) == 0 || !isSecret(kind, path) {
			return value, nil
		}
		if list, ok := before.([]any); ok && len(list) == 1 {
			before = list[0]
		}
		if s, ok := before.(string); ok && s != "" {
			return s, nil
		}
		return nil, fmt.Errorf("%s: %s stands for a secret, and there is none yet", strings.Join(path, "."), Hidden)
	}
	return value, nil
}

// Merge returns the entity with what a PATCH says: records are merged, other values
// replaced.
func (e Entity) Merge(patch map[string]any) Entity { return merge(map[string]any(e), patch) }

func merge(into, patch map[string]any) map[string]any {
	merged := maps.Clone(into)
	if merged == nil {
		merged = make(map[string]any)
	}
	for key, value := range patch {
		old, isRecord := merged[key].(map[string]any)
		if more, ok := value.(map[string]any); ok && isRecord {
			value = merge(old, more)
		}
		merged[key] = value
	}
	return merged
}

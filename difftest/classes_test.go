package difftest_test

import (
	"bytes"
	"encoding/base64"
	stdjson "encoding/json"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// What is special about an input, found out without any code of the middleware.

const (
	goJOSE    = "go-jose"
	golangJWT = "golang-jwt"
	jwxV3     = "jwx v3"
)

// lenient decodes base64 of any kind, as far as it goes.
func lenient(text string) []byte {
	text = strings.NewReplacer("+", "-", "/", "_", "=", "", "\r", "", "\n", "", " ", "").Replace(text)
	out, _ := base64.RawURLEncoding.DecodeString(text)
	return out
}

// part returns the n-th part of a compact serialization.
func part(compact string, n int) string {
	parts := strings.Split(compact, ".")
	if n >= len(parts) {
		return ""
	}
	return parts[n]
}

// members are those of a JSON object, the last of each name, as encoding/json/v2 finds
// them when it is told to be lenient; ok is false if there is no object.
func members(raw []byte) (all map[string]jsontext.Value, ok bool) {
	err := json.Unmarshal(raw, &all, jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))
	return all, err == nil && all != nil
}

// hasDuplicates reports whether a name stands twice in one object, at any depth.
func hasDuplicates(raw []byte) bool {
	v, utf8 := jsontext.Value(raw), jsontext.AllowInvalidUTF8(true)
	return !v.IsValid(utf8) && v.IsValid(utf8, jsontext.AllowDuplicateNames(true))
}

// hasBadUTF8 reports whether raw is JSON but for bytes that are no UTF-8, or for
// lone surrogates.
func hasBadUTF8(raw []byte) bool {
	v, twice := jsontext.Value(raw), jsontext.AllowDuplicateNames(true)
	return !v.IsValid(twice) && v.IsValid(twice, jsontext.AllowInvalidUTF8(true))
}

// isDeep reports whether raw is nested deeper than limit.
func isDeep(raw []byte, limit int) bool { return depth(raw) > limit }

// isNoObject: not one JSON object, however lenient the reader.
func isNoObject(raw []byte) bool {
	_, ok := members(raw)
	return !ok
}

// kindOf is the kind of a member: 0 if there is none, or '"', '0', '{', '[', 't', 'f'
// or 'n'.
func kindOf(raw []byte, name string) jsontext.Kind {
	all, _ := members(raw)
	if v, ok := all[name]; ok {
		return v.Kind()
	}
	return 0
}

// hasFolded reports whether a member has one of the names in another case only, which
// encoding/json takes for it.
func hasFolded(raw []byte, names ...string) bool {
	all, _ := members(raw)
	for got := range all {
		for _, name := range names {
			if got != name && strings.EqualFold(got, name) {
				return true
			}
		}
	}
	return false
}

// text is a member that is a string, and "" if it is none.
func text(raw []byte, name string) string {
	all, _ := members(raw)
	var s string
	_ = stdjson.Unmarshal(all[name], &s)
	return s
}

// isCanonical: base64url without padding, white space, or bits that mean nothing.
func isCanonical(part string) bool {
	decoded, err := base64.RawURLEncoding.Strict().DecodeString(part)
	return err == nil && base64.RawURLEncoding.EncodeToString(decoded) == part
}

// isBareJSON: a JSON value with nothing before or after it.
func isBareJSON(raw []byte) bool {
	return len(raw) > 0 && len(bytes.TrimSpace(raw)) == len(raw)
}

// hasHugeNumber reports whether encoding/json refuses raw, which is JSON, for a number.
func hasHugeNumber(raw []byte) bool {
	return stdjson.Valid(raw) && stdjson.Unmarshal(raw, new(any)) != nil
}

package extauthz

import (
	"net/http"
	"slices"
	"strings"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	statuspb "google.golang.org/genproto/googleapis/rpc/status"

	"github.com/keybound-go/middleware"
	"github.com/keybound-go/middleware/internal/identity"
)

const (
	// overwrite replaces every value that is there, in all versions of Envoy.
	overwrite = corev3.HeaderValueOption_OVERWRITE_IF_EXISTS_OR_ADD
	// add keeps them. In a denial, versions of Envoy without append_action send all
	// values of the answer.
	add = corev3.HeaderValueOption_APPEND_IF_EXISTS_OR_ADD
)

// mutations collects changes of header fields.
type mutations struct {
	options []*corev3.HeaderValueOption
	spare   []mutation // One allocation for many.
	room    int        // how many are expected
}

type mutation struct {
	option corev3.HeaderValueOption
	value  corev3.HeaderValue
}

func (m *mutations) put(name, value string, action corev3.HeaderValueOption_HeaderAppendAction) {
	if len(m.spare) == 0 {
		m.spare = make([]mutation, max(m.room, 1))
	}
	next := &m.spare[0]
	m.spare = m.spare[1:]
	// Envoy would reject a message with bytes that are not UTF-8.
	next.value.Key, next.value.Value = name, strings.ToValidUTF8(value, "?")
	next.option.Header, next.option.AppendAction = &next.value, action
	m.options = append(m.options, &next.option)
}

// replace puts the values in place of all that are there.
func (m *mutations) replace(name string, values []string) {
	for i, value := range values {
		if i == 0 {
			m.put(name, value, overwrite)
		} else {
			m.put(name, value, add)
		}
	}
}

// denied is the answer to a request that may not pass.
func denied(v middleware.Verdict) *authv3.CheckResponse {
	m := mutations{room: len(v.Header) + 1}
	for name, values := range v.Header {
		m.replace(name, values)
	}
	if len(v.Header["Cache-Control"]) == 0 {
		m.put("Cache-Control", "no-store", overwrite)
	}
	status := v.Denial.Status
	if status < 400 || 599 < status {
		status = http.StatusServiceUnavailable
	}
	return &authv3.CheckResponse{
		Status: &statuspb.Status{Code: int32(codeOf(status))},
		HttpResponse: &authv3.CheckResponse_DeniedResponse{DeniedResponse: &authv3.DeniedHttpResponse{
			Status:  &typev3.HttpStatus{Code: typev3.StatusCode(status)},
			Headers: m.options,
			Body:    strings.ToValidUTF8(string(v.Body), "?"),
		}},
	}
}

// passed is the answer to a request that may pass, and that came with these fields.
func passed(said identity.Identity, came http.Header, v middleware.Verdict) *authv3.CheckResponse {
	upstream := mutations{room: 4, options: make([]*corev3.HeaderValueOption, 0, len(identityFields)+1)}
	downstream := mutations{room: len(v.Header)}
	for name, value := range said.Fields() {
		if made, ok := ready[field{name, value}]; ok {
			upstream.options = append(upstream.options, made)
		} else {
			upstream.put(name, value, overwrite)
		}
	}
	remove := make([]string, 1, 4)
	remove[0] = CertificateField
	added := len(v.Forward) // how many fields of it did not come
	for name, values := range came {
		kept, ok := v.Forward[name]
		if ok {
			added--
		}
		switch {
		case ours(name):
		case !ok || len(kept) == 0 || identityField(name) != "":
			remove = append(remove, name)
		case !slices.Equal(kept, values):
			upstream.replace(name, kept)
		}
	}
	if added > 0 {
		for name, values := range v.Forward {
			if _, ok := came[name]; !ok && !ours(name) {
				upstream.replace(name, values)
			}
		}
	}
	for name, values := range v.Header {
		give(&downstream, name, values)
	}
	var a struct { // One allocation for all of them.
		answer authv3.CheckResponse
		oneof  authv3.CheckResponse_OkResponse
		ok     authv3.OkHttpResponse
		status statuspb.Status
	}
	a.ok.Headers, a.ok.HeadersToRemove, a.ok.ResponseHeadersToAdd = upstream.options, remove, downstream.options
	a.oneof.OkResponse = &a.ok
	a.answer.Status, a.answer.HttpResponse = &a.status, &a.oneof
	return &a.answer
}

// ready are mutations that most answers have: identity fields without a value, or with one
// of few. Answers share them: they are never written to.
var ready = func() map[field]*corev3.HeaderValueOption {
	m := make(map[field]*corev3.HeaderValueOption)
	add := func(name, value string) {
		m[field{name, value}] = &corev3.HeaderValueOption{Header: &corev3.HeaderValue{Key: name, Value: value}, AppendAction: overwrite}
	}
	for _, name := range identityFields {
		add(name, "")
	}
	for _, outcome := range []string{"pass", "anonymous"} {
		add("X-Auth-Outcome", outcome)
	}
	for _, binding := range []string{"dpop", "certificate", "both", "none"} {
		add("X-Auth-Binding", binding)
	}
	return m
}()

type field struct{ name, value string }

// ours reports whether this package sets or removes the field of a request that passes,
// whatever the client sent. Envoy removes after it sets, so the list to remove must not
// name an identity field.
func ours(name string) bool {
	return name == CertificateField || name == "Transfer-Encoding" || identityField(name) == name
}

// identityField returns the identity field that a service could confuse with name, or "":
// some services read X-Auth-Subject, X_Auth_Subject and X.Auth.Subject as the same field.
func identityField(name string) string {
	if len(name) < len("X-Auth-") || !strings.EqualFold(name[:1], "X") {
		return ""
	}
	for _, field := range identityFields {
		if alike(name, field) {
			return field
		}
	}
	return ""
}

var identityFields = func() (names []string) {
	for name := range identity.None.Fields() {
		names = append(names, name)
	}
	return names
}()

// alike compares names without regard to case and to the separators between words.
func alike(name, field string) bool {
	if len(name) != len(field) {
		return false
	}
	for i := range len(name) {
		if field[i] == '-' {
			if isAlphanumeric(name[i]) {
				return false
			}
		} else if name[i]|0x20 != field[i]|0x20 {
			return false
		}
	}
	return true
}

func isAlphanumeric(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c|0x20 && c|0x20 <= 'z'
}

// give adds a field to the service's response.
func give(m *mutations, name string, values []string) {
	switch {
	case name == "Dpop-Nonce", name == "Cache-Control" && slices.Contains(values, "no-store"):
		m.replace(name, values)
	default: // Beside those of the service: Set-Cookie, Vary, a weaker Cache-Control.
		for _, value := range values {
			m.put(name, value, add)
		}
	}
}

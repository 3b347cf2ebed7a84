package middleware

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"

	"github.com/keybound-go/middleware/internal/headers"
)

// fields are the response fields that a guard answers for. The final response has
// them, whatever the handler does to the header map before it: httputil.ReverseProxy
// clears the map with every 1xx response of its backend, http.ServeContent and
// http.Error remove fields, and some handlers begin with an empty map.
type fields struct {
	nonce      string // DPoP-Nonce
	caching    caching
	expose     bool     // to scripts of other origins
	retryAfter string   // Retry-After
	cookies    []string // Set-Cookie
	vary       []string // names for Vary
	challenges []string // WWW-Authenticate
}

// caching is how far caches may go with a response.
type caching uint8

const (
	cachingUnset caching = iota
	cachingPrivate
	cachingNone
)

const exposedFields = "DPoP-Nonce, WWW-Authenticate"

// any reports whether there is anything to answer for.
func (f *fields) any() bool {
	return f.nonce != "" || f.caching != cachingUnset || f.expose || f.retryAfter != "" ||
		len(f.cookies)+len(f.vary)+len(f.challenges) > 0
}

// restore puts into h what is missing from it, and takes out of h what
// contradicts it. It is idempotent.
func (f *fields) restore(h http.Header) {
	if f.nonce != "" {
		h[headers.DPoPNonce] = []string{f.nonce} // RFC 9449, section 8: not more than one.
	}
	if f.expose && !listed(h["Access-Control-Expose-Headers"], exposedFields) {
		h.Add("Access-Control-Expose-Headers", exposedFields)
	}
	if f.retryAfter != "" {
		h.Set("Retry-After", f.retryAfter)
	}
	for _, name := range f.vary {
		if !listed(h["Vary"], name) {
			h.Add("Vary", name)
		}
	}
	if missing := without(f.challenges, h[headers.WWWAuthenticate], func(a, b string) bool { return a == b }); len(missing) > 0 {
		h[headers.WWWAuthenticate] = slices.Concat(h[headers.WWWAuthenticate], missing)
	}
	// A cookie of the same name is the handler's word: it ends the session.
	if missing := without(f.cookies, h["Set-Cookie"], sameCookie); len(missing) > 0 {
		h["Set-Cookie"] = slices.Concat(missing, h["Set-Cookie"])
	}
	f.caching.restore(h)
}

// listed reports whether every name of the list stands in one of the values.
func listed(values []string, list string) bool {
	for name := range strings.SplitSeq(list, ", ") {
		if !slices.ContainsFunc(values, func(value string) bool { return hasElement(value, name) }) {
			return false
		}
	}
	return true
}

func hasElement(value, name string) bool {
	for element := range strings.SplitSeq(value, ",") {
		if strings.EqualFold(strings.Trim(element, " \t"), name) {
			return true
		}
	}
	return false
}

// without returns the lines of ours that are unlike every line of theirs.
func without(ours, theirs []string, alike func(a, b string) bool) (missing []string) {
	for _, line := range ours {
		if !slices.ContainsFunc(theirs, func(other string) bool { return alike(line, other) }) {
			missing = append(missing, line)
		}
	}
	return missing
}

func sameCookie(a, b string) bool {
	a, _, _ = strings.Cut(a, "=")
	b, _, _ = strings.Cut(b, "=")
	return a == b
}

// restore makes the caching fields of h at least as strict as c.
func (c caching) restore(h http.Header) {
	const field = "Cache-Control"
	switch c {
	case cachingUnset:
		return
	case cachingNone:
		if len(h[field]) != 1 || h[field][0] != "no-store" {
			h[field] = []string{"no-store"}
		}
	case cachingPrivate:
		if value := private(h[field]); len(h[field]) != 1 || h[field][0] != value {
			h[field] = []string{value}
		}
	}
	for name := range h {
		if isCacheOverride(name) {
			delete(h, name)
		}
	}
}

// private is a Cache-Control with the given directives and without those that let
// shared caches store the response. A private that names fields, which restricts
// caches in those fields alone, counts as such.
func private(values []string) string {
	kept := []string{"private"}
	for _, directive := range directives(strings.Join(values, ",")) {
		name, _, _ := strings.Cut(directive, "=")
		switch strings.ToLower(strings.TrimSpace(name)) {
		case "no-store":
			return "no-store"
		case "", "public", "private", "s-maxage":
		default:
			kept = append(kept, directive)
		}
	}
	return strings.Join(kept, ", ")
}

// directives splits at the commas that do not stand in a quoted-string.
func directives(value string) (all []string) {
	begin, quoted := 0, false
	for i := 0; i < len(value); i++ {
		switch {
		case quoted && value[i] == '\\':
			i++
		case value[i] == '"':
			quoted = !quoted
		case value[i] == ',' && !quoted:
			all = append(all, strings.Trim(value[begin:i], " \t"))
			begin = i + 1
		}
	}
	return append(all, strings.Trim(value[begin:], " \t"))
}

// isCacheOverride reports whether shared caches of some kind obey the field
// instead of Cache-Control (RFC 9213, section 2, and what came before it).
func isCacheOverride(name string) bool {
	return strings.HasSuffix(name, "Cdn-Cache-Control") || name == "Surrogate-Control" || name == "X-Accel-Expires"
}

// keeper is the ResponseWriter that a handler gets if the guard has fields to
// answer for. It restores them before the final response begins. It does not touch
// 1xx responses.
type keeper struct {
	http.ResponseWriter
	fields fields
	begun  bool // the header of the final response is written
}

// keeping puts the fields into the header of w, and returns w such that the final
// response has them too, and a function to call when the handler is done. What it
// returns has those of the optional interfaces that w has: http.Flusher with
// FlushError, http.Hijacker, io.ReaderFrom, http.Pusher. Everything else is
// reached through Unwrap.
func keeping(w http.ResponseWriter, f fields) (kept http.ResponseWriter, done func()) {
	k := &keeper{ResponseWriter: w, fields: f}
	k.restore()
	return k.withInterfacesOf(w), k.restore
}

func (k *keeper) restore() {
	if !k.begun {
		k.fields.restore(k.Header())
	}
}

// begin is called before what begins the final response.
func (k *keeper) begin() {
	k.restore()
	k.begun = true
}

func (k *keeper) WriteHeader(status int) {
	// 101 is final: another protocol follows.
	if status >= 200 || status == http.StatusSwitchingProtocols {
		k.begin()
	}
	k.ResponseWriter.WriteHeader(status)
}

func (k *keeper) Write(p []byte) (int, error) {
	k.begin()
	return k.ResponseWriter.Write(p)
}

func (k *keeper) WriteString(s string) (int, error) {
	k.begin()
	return io.WriteString(k.ResponseWriter, s)
}

// Unwrap is for http.ResponseController: it may begin the response behind our back.
func (k *keeper) Unwrap() http.ResponseWriter {
	k.restore()
	return k.ResponseWriter
}

type (
	flusher    struct{ *keeper }
	hijacker   struct{ *keeper }
	readerFrom struct{ *keeper }
	pusher     struct{ *keeper }
)

func (f flusher) Flush() { _ = f.FlushError() }

func (f flusher) FlushError() error {
	f.begin()
	return http.NewResponseController(f.ResponseWriter).Flush()
}

// Hijack restores the fields too: httputil.ReverseProxy writes the header map
// itself once it has the connection.
func (h hijacker) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	h.restore()
	return h.ResponseWriter.(http.Hijacker).Hijack()
}

func (r readerFrom) ReadFrom(src io.Reader) (int64, error) {
	r.begin()
	return r.ResponseWriter.(io.ReaderFrom).ReadFrom(src)
}

func (p pusher) Push(target string, opts *http.PushOptions) error {
	return p.ResponseWriter.(http.Pusher).Push(target, opts)
}

type flushers interface {
	http.Flusher
	FlushError() error
}

// withInterfacesOf returns k with the optional interfaces of w: handlers ask for
// them by type assertion and take "has it" for "works".
func (k *keeper) withInterfacesOf(w http.ResponseWriter) http.ResponseWriter {
	const flush, hijack, read, push = 1, 2, 4, 8
	var has int
	if _, ok := w.(http.Flusher); ok {
		has |= flush
	}
	if _, ok := w.(http.Hijacker); ok {
		has |= hijack
	}
	if _, ok := w.(io.ReaderFrom); ok {
		has |= read
	}
	if _, ok := w.(http.Pusher); ok {
		has |= push
	}
	f, h, r, p := flusher{k}, hijacker{k}, readerFrom{k}, pusher{k}
	switch has {
	case flush:
		return struct {
			*keeper
			flushers
		}{k, f}
	case hijack:
		return struct {
			*keeper
			http.Hijacker
		}{k, h}
	case flush | hijack:
		return struct {
			*keeper
			flushers
			http.Hijacker
		}{k, f, h}
	case read:
		return struct {
			*keeper
			io.ReaderFrom
		}{k, r}
	case flush | read:
		return struct {
			*keeper
			flushers
			io.ReaderFrom
		}{k, f, r}
	case hijack | read:
		return struct {
			*keeper
			http.Hijacker
			io.ReaderFrom
		}{k, h, r}
	case flush | hijack | read: // net/http, HTTP/1.1
		return struct {
			*keeper
			flushers
			http.Hijacker
			io.ReaderFrom
		}{k, f, h, r}
	case push:
		return struct {
			*keeper
			http.Pusher
		}{k, p}
	case flush | push: // net/http, HTTP/2
		return struct {
			*keeper
			flushers
			http.Pusher
		}{k, f, p}
	case hijack | push:
		return struct {
			*keeper
			http.Hijacker
			http.Pusher
		}{k, h, p}
	case flush | hijack | push:
		return struct {
			*keeper
			flushers
			http.Hijacker
			http.Pusher
		}{k, f, h, p}
	case read | push:
		return struct {
			*keeper
			io.ReaderFrom
			http.Pusher
		}{k, r, p}
	case flush | read | push:
		return struct {
			*keeper
			flushers
			io.ReaderFrom
			http.Pusher
		}{k, f, r, p}
	case hijack | read | push:
		return struct {
			*keeper
			http.Hijacker
			io.ReaderFrom
			http.Pusher
		}{k, h, r, p}
	case flush | hijack | read | push:
		return struct {
			*keeper
			flushers
			http.Hijacker
			io.ReaderFrom
			http.Pusher
		}{k, f, h, r, p}
	default:
		return k
	}
}

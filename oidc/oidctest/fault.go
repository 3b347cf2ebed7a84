package oidctest

import (
	"net/http"
	"strings"
	"time"
)

// Fault is what an endpoint does instead of, or before, its answer; next is the
// good answer. Any handler will do; the functions below are the usual ones.
type Fault func(next http.Handler) http.Handler

// Status answers with a status and an HTML page, as a proxy in front would.
func Status(code int) Fault {
	return func(http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/html")
			w.WriteHeader(code)
			_, _ = w.Write([]byte("<html><h1>" + http.StatusText(code) + "</h1></html>"))
		})
	}
}

// Body answers 200 with the given content.
func Body(contentType, body string) Fault {
	return func(http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", contentType)
			_, _ = w.Write([]byte(body))
		})
	}
}

// ContentType gives the good answer under another media type.
func ContentType(mediaType string) Fault { return field("Content-Type", mediaType) }

// CacheControl gives the good answer with the given Cache-Control.
func CacheControl(value string) Fault { return field("Cache-Control", value) }

func field(name, value string) Fault {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			next.ServeHTTP(fieldWriter{w, name, value}, r)
		})
	}
}

// fieldWriter replaces one header field of a good answer.
type fieldWriter struct {
	http.ResponseWriter
	name, value string
}

func (f fieldWriter) WriteHeader(status int) {
	f.Header().Set(f.name, f.value)
	f.ResponseWriter.WriteHeader(status)
}

// Write is WriteHeader for an answer that leaves it to the first Write.
func (f fieldWriter) Write(body []byte) (int, error) {
	f.Header().Set(f.name, f.value)
	return f.ResponseWriter.Write(body)
}

// Redirect answers with a redirect, 302.
func Redirect(url string) Fault {
	return func(http.Handler) http.Handler { return http.RedirectHandler(url, http.StatusFound) }
}

// Huge answers with a JSON object of at least the given number of bytes.
func Huge(bytes int) Fault {
	return Body("application/json", `{"padding":"`+strings.Repeat("x", bytes)+`"}`)
}

// Abort breaks the connection.
func Abort() Fault {
	return func(http.Handler) http.Handler {
		return http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
	}
}

// Slow gives the good answer after the given time.
func Slow(d time.Duration) Fault {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if sleep(r, d) {
				next.ServeHTTP(w, r)
			}
		})
	}
}

// sleep waits. It reports false if the client went away meanwhile.
func sleep(r *http.Request, d time.Duration) bool {
	if d == 0 {
		return true
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-r.Context().Done():
		return false
	}
}

// Break gives an endpoint a fault, in place of the one that it had.
func (i *Issuer) Break(e Endpoint, f Fault) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.faults[e] = f
}

// Mend takes an endpoint's fault and its edit away.
func (i *Issuer) Mend(e Endpoint) {
	i.mu.Lock()
	defer i.mu.Unlock()
	delete(i.faults, e)
	delete(i.edits, e)
	if e == Introspection {
		i.editJWT = nil
	}
}

// Edit changes the good JSON answers of an endpoint before they are sent: the
// metadata, the key set, the token response, the introspection response.
func (i *Issuer) Edit(e Endpoint, edit func(answer map[string]any)) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.edits[e] = edit
}

// EditIntrospectionJWT changes header and claims of signed introspection
// responses (RFC 9701) before they are signed. What [Issuer.Edit] changes is
// the object within them. A header without alg is sent unsigned.
func (i *Issuer) EditIntrospectionJWT(edit func(header, claims map[string]any)) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.editJWT = edit
}

// SetDown breaks every connection from now on, or mends all of them.
func (i *Issuer) SetDown(down bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.down = down
}

// SetDelay makes every answer come late.
func (i *Issuer) SetDelay(d time.Duration) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.delay = d
}

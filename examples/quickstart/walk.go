package main

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/keybound-go/middleware/dpop/dpoptest"
)

// step is one exchange with the service.
type step struct {
	title  string
	method string
	path   string
	client *http.Client
	sign   func(*http.Request)
	status int    // the expected one
	code   string // the expected error code in a challenge, "" for none
	proves string
}

// walk makes every step and returns how many had the expected outcome.
func (w *world) walk(out io.Writer) (passed, total int) {
	for _, s := range w.steps() {
		total++
		if w.take(out, total, s) {
			passed++
		}
	}
	return passed, total
}

func (w *world) steps() []step {
	app, machine, thief := w.client(nil), w.client(w.machine), w.client(w.thief)
	token, bound := w.dpopToken(), w.certificateToken()
	stolenKey := dpoptest.NewKey(w)

	// The proofs of the next two steps are the same one.
	proof := w.key.Proof("GET", w.service.URL+"/orders", token)
	once := func(r *http.Request) {
		r.Header.Set("Authorization", "DPoP "+token)
		r.Header.Set("DPoP", proof)
	}
	dpop := func(key *dpoptest.Key, opts ...dpoptest.ProofOption) func(*http.Request) {
		return func(r *http.Request) { key.Sign(r, token, opts...) }
	}
	bearer := func(token string) func(*http.Request) {
		return func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+token) }
	}
	stale := dpoptest.IssuedAt(time.Now().Add(-5 * time.Minute))
	return []step{
		{"no credentials", "GET", "/orders", app, nil, 401, "",
			"the client learns which schemes could succeed, and nothing else"},
		{"a DPoP-bound token with a proof by its key", "GET", "/orders", app, once, 200, "",
			"a client that holds the token and the key gets through"},
		{"the same proof again", "GET", "/orders", app, once, 401, "invalid_dpop_proof",
			"a proof that an attacker overheard is worth nothing: it has been used"},
		{"the stolen token, as a bearer token", "GET", "/orders", app, bearer(token), 401, "invalid_token",
			"a bound token is never a bearer token"},
		{"the stolen token, with a proof by the thief's key", "GET", "/orders", app, dpop(stolenKey), 401, "invalid_token",
			"the token is worth nothing without its own key"},
		{"a stale proof", "GET", "/orders", app, dpop(w.key, stale), 401, "invalid_dpop_proof",
			"proofs cannot be kept for later"},
		{"a proof for another URL", "GET", "/orders", app, func(r *http.Request) {
			r.Header.Set("Authorization", "DPoP "+token)
			r.Header.Set("DPoP", w.key.Proof("GET", "https://evil.example/orders", token))
		}, 401, "invalid_dpop_proof",
			"a proof that another service received cannot be passed on to this one"},
		{"a missing scope", "POST", "/orders", app, dpop(w.key), 403, "insufficient_scope",
			"the route demands more than the token has, and says what"},
		{"a proof without a nonce, where nonces are demanded", "GET", "/payments", app, dpop(w.key), 401, "use_dpop_nonce",
			"the service gives the client a nonce of its own making"},
		{"the same again with the nonce", "GET", "/payments", app, func(r *http.Request) {
			w.key.Sign(r, token, dpoptest.Nonce(w.nonce(app)))
		}, 200, "",
			"the proof was made after the nonce, so it was not prepared long ago"},
		{"a certificate-bound token over its certificate", "GET", "/orders", machine, bearer(bound), 200, "",
			"a client that holds the token and the certificate gets through"},
		{"the same token over another certificate", "GET", "/orders", thief, bearer(bound), 401, "invalid_token",
			"the token is worth nothing over another connection"},
		{"the same token without a certificate", "GET", "/orders", app, bearer(bound), 401, "invalid_token",
			"nor without one"},
	}
}

// nonce asks for a nonce as any client without one does.
func (w *world) nonce(client *http.Client) string {
	resp, err := client.Get(w.service.URL + "/payments")
	w.check(err)
	resp.Body.Close()
	return resp.Header.Get("DPoP-Nonce")
}

// take makes one exchange, prints it, and reports whether it went as expected.
func (w *world) take(out io.Writer, number int, s step) bool {
	r, err := http.NewRequest(s.method, w.service.URL+s.path, nil)
	w.check(err)
	if s.sign != nil {
		s.sign(r)
	}
	resp, err := s.client.Do(r)
	w.check(err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	w.check(err)

	fmt.Fprintf(out, "\n%2d. %s\n", number, s.title)
	fmt.Fprintf(out, "    > %s %s\n", s.method, s.path)
	for _, name := range []string{"Authorization", "DPoP"} {
		if value := r.Header.Get(name); value != "" {
			fmt.Fprintf(out, "    > %s: %s\n", name, shortened(value))
		}
	}
	fmt.Fprintf(out, "    < %s\n", resp.Status)
	for _, name := range []string{"WWW-Authenticate", "DPoP-Nonce"} {
		for _, value := range resp.Header.Values(name) {
			fmt.Fprintf(out, "    < %s: %s\n", name, value)
		}
	}
	if resp.StatusCode == http.StatusOK {
		fmt.Fprintf(out, "    < %s\n", strings.TrimSpace(string(body)))
	}
	if resp.StatusCode != s.status || !challengedWith(resp, s.code) {
		fmt.Fprintf(out, "    UNEXPECTED: wanted %d %s\n", s.status, s.code)
		return false
	}
	fmt.Fprintf(out, "    = %s\n", s.proves)
	return true
}

// challengedWith reports whether the challenges carry the error code, or none at
// all if it is empty.
func challengedWith(resp *http.Response, code string) bool {
	challenges := strings.Join(resp.Header.Values("WWW-Authenticate"), ", ")
	if code == "" {
		return !strings.Contains(challenges, "error=")
	}
	return strings.Contains(challenges, `error="`+code+`"`)
}

// shortened is enough of a token or a proof to recognise it.
func shortened(s string) string {
	const most = 60
	if len(s) <= most {
		return s
	}
	return s[:most-12] + "..." + s[len(s)-9:]
}

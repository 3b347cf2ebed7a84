package middlewaretest

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"

	"github.com/keybound-go/middleware"
	"github.com/keybound-go/middleware/dpop"
	"github.com/keybound-go/middleware/mtlspop"
	"github.com/keybound-go/middleware/oidc"
	"github.com/keybound-go/middleware/oidc/exchange"
)

// AllGuarded fails the test unless every route of the handler asks for credentials: one
// that was registered without its guard is the mistake that no other test finds. Routes
// are patterns as of [http.ServeMux], such as "GET /orders/{id}" or "/orders"; without a
// method, GET, POST, PUT, PATCH and DELETE are tried. Each is sent requests without
// credentials and with made-up ones, which must be answered with 401 and a challenge, and
// requests for other spellings of its path ("//orders", "/orders/", "/./orders"), which
// must not succeed either.
//
// The handler is called in process, over what looks like TLS. A route that passes
// anonymous requests on purpose does not belong in the list.
func AllGuarded(tb testing.TB, handler http.Handler, routes ...string) {
	tb.Helper()
	if len(routes) == 0 {
		tb.Errorf("middlewaretest: AllGuarded needs routes: none would be tried")
	}
	for _, route := range routes {
		method, host, path := splitPattern(route)
		if !strings.HasPrefix(path, "/") {
			tb.Errorf("middlewaretest: %q is not a pattern such as \"GET /orders\"", route)
			continue
		}
		methods := []string{method}
		if method == "" {
			methods = []string{http.MethodGet, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete}
		}
		for _, method := range methods {
			for _, authorization := range []string{"", "Bearer made-up", "DPoP made-up"} {
				rec := ask(handler, method, host, path, authorization)
				if rec.Code != http.StatusUnauthorized || rec.Header().Get("WWW-Authenticate") == "" {
					tb.Errorf("middlewaretest: %s %s with Authorization %q: %d, want 401 and a challenge: is this route guarded?", method, path, authorization, rec.Code)
				}
			}
			for _, spelling := range []string{"/" + path, "/." + path, path + "/", path + "//"} {
				if rec := ask(handler, method, host, spelling, ""); rec.Code < 300 {
					tb.Errorf("middlewaretest: %s %s without credentials: %d: this spelling of %s is not guarded", method, spelling, rec.Code, path)
				}
			}
		}
	}
}

var wildcard = regexp.MustCompile(`\{[^}]*\}`)

// splitPattern takes a pattern apart; its wildcards get a value.
func splitPattern(pattern string) (method, host, path string) {
	rest := pattern
	if before, after, ok := strings.Cut(pattern, " "); ok {
		method, rest = before, strings.TrimLeft(after, " \t")
	}
	if i := strings.IndexByte(rest, '/'); i > 0 {
		host, rest = rest[:i], rest[i:]
	}
	rest = strings.TrimSuffix(rest, "{$}")
	return method, host, wildcard.ReplaceAllString(rest, "x")
}

func ask(handler http.Handler, method, host, path, authorization string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, "/", nil)
	r.URL.Path, r.RequestURI = path, path
	if host != "" {
		r.Host = host
	}
	r.TLS = &tls.ConnectionState{HandshakeComplete: true}
	if authorization != "" {
		r.Header.Set("Authorization", authorization)
	}
	rec := httptest.NewRecorder()
	handler.ServeHTTP(rec, r)
	return rec
}

// AssertRefused fails the test unless the response is the refusal with the given reason,
// such as "dpop_replayed" or "token_expired": those of Outcome.Reason. A client is not
// told the reason; what is compared is what it is told for that reason: the status, the
// error code and, unless the service leaves it out, the description. Reasons that read
// alike to the client are not told apart: for these, look at what an observer was told.
// The body of the response can still be read.
func AssertRefused(tb testing.TB, resp *http.Response, reason string) {
	tb.Helper()
	err, ok := errorOf(reason)
	if !ok {
		tb.Errorf("middlewaretest: %q is not a reason", reason)
		return
	}
	want := httptest.NewRecorder()
	reference(tb).Refuse(want, httptest.NewRequest(http.MethodGet, "/", nil), err)
	body, readErr := io.ReadAll(resp.Body)
	if readErr != nil {
		tb.Errorf("middlewaretest: body: %v", readErr)
	}
	resp.Body = io.NopCloser(bytes.NewReader(body))
	if resp.StatusCode != want.Code {
		tb.Errorf("middlewaretest: status %d, want %d for %q", resp.StatusCode, want.Code, reason)
		return
	}
	wantCode, wantText := said(want.Body.Bytes())
	code, text := said(body)
	if len(body) == 0 { // a HEAD request, or a reason without a code
		code, text = challenged(resp.Header)
	}
	if code != wantCode {
		tb.Errorf("middlewaretest: error %q, want %q for %q", code, wantCode, reason)
	}
	if text != "" && text != wantText {
		tb.Errorf("middlewaretest: %q, want %q for %q", text, wantText, reason)
	}
}

// said is what a refusal's body says.
func said(body []byte) (code, description string) {
	var members map[string]any
	if json.Unmarshal(body, &members) != nil {
		return "", ""
	}
	code, _ = members["error"].(string)
	description, _ = members["error_description"].(string)
	return code, description
}

var parameter = regexp.MustCompile(`\b(error|error_description)="([^"]*)"`)

// challenged is what a refusal's challenges say.
func challenged(h http.Header) (code, description string) {
	for _, line := range h.Values("WWW-Authenticate") {
		for _, m := range parameter.FindAllStringSubmatch(line, -1) {
			if m[1] == "error" {
				code = m[2]
			} else {
				description = m[2]
			}
		}
	}
	return code, description
}

// errorOf finds the error with a reason.
func errorOf(reason string) (error, bool) {
	if reason == "" {
		return nil, false
	}
	type reasoned interface {
		error
		Reason() string
	}
	for i := range 256 {
		for _, err := range []reasoned{middleware.RequestError(i), oidc.TokenError(i), dpop.ProofError(i), mtlspop.BindingError(i), exchange.Error(i)} {
			if err.Reason() == reason {
				return err, true
			}
		}
	}
	if reason == "panic" || reason == "misconfigured" || strings.HasPrefix(reason, "unavailable") {
		return errUnavailable, true
	}
	return nil, false
}

var errUnavailable = errors.New("middlewaretest: no decision")

// noTokens is the TokenVerifier of a guard that only refuses.
type noTokens struct{}

func (*noTokens) VerifyToken(context.Context, string) (*oidc.Token, error) {
	return nil, oidc.ErrInactive
}

// reference is a guard that knows what clients are told.
func reference(tb testing.TB) *middleware.Guard {
	tb.Helper()
	g, err := middleware.New(middleware.WithTokens(&noTokens{}, nil), middleware.AllowUnbound(), middleware.WithObserver(func(context.Context, middleware.Outcome) {}))
	if err != nil {
		tb.Fatalf("middlewaretest: %v", err)
	}
	return g
}

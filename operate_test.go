package middleware_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/keybound-go/middleware"
	"github.com/keybound-go/middleware/dpop"
	"github.com/keybound-go/middleware/mtlspop"
	"github.com/keybound-go/middleware/mtlspop/mtlspoptest"
	"github.com/keybound-go/middleware/oidc"
	"github.com/keybound-go/middleware/oidc/exchange"
	"github.com/keybound-go/middleware/oidc/oidctest"
)

// logged returns an option that logs as JSON, and what reads the lines back.
func logged() (middleware.Option, func(t *testing.T) []map[string]any) {
	var out bytes.Buffer
	return middleware.WithLogger(slog.New(slog.NewJSONHandler(&out, nil))), func(t *testing.T) (lines []map[string]any) {
		t.Helper()
		for line := range strings.Lines(out.String()) {
			fields := make(map[string]any)
			require.NoError(t, json.Unmarshal([]byte(line), &fields))
			if fields["msg"] != "guard made" {
				lines = append(lines, fields)
			}
		}
		out.Reset()
		return lines
	}
}

// The mistakes that operators make: the one line of the refusal names the fix.
func TestTheLogLineOfARefusalNamesTheFix(t *testing.T) {
	w := newWorld(t)
	proxy := netip.MustParsePrefix("10.1.2.3/32")
	behindProxy := middleware.WithMTLS(mtlspop.New(mtlspop.WithForwardedCertificate("X-Client-Cert", mtlspop.PEM, proxy)))
	from := func(addr string, r *http.Request) *http.Request {
		r.RemoteAddr, r.TLS = addr, nil
		return r
	}
	signed := func(edit func(claims map[string]any)) *http.Request {
		r, token := get("/r"), w.dpopToken()
		r.Header.Set("Authorization", "DPoP "+token)
		r.Header.Set("DPoP", w.proof("GET", origin+"/r", token, edit))
		return r
	}
	for name, tc := range map[string]struct {
		opts []middleware.Option // beside tokens; nil: both
		oidc []oidc.Option
		r    *http.Request
		want map[string]any // fields of the line; a string is a part of the value
	}{
		"1 another audience": {
			r: w.dpopRequest("/r", oidctest.Claim("aud", "https://other.example")),
			want: map[string]any{"reason": "token_audience", "unverified_aud": "https://other.example", "expected_aud": oidctest.Audience,
				"unverified_iss": issuerURL, "unverified_client_id": "client", "hint": "aud must contain"}},
		"5 an origin with another host": {
			opts: []middleware.Option{middleware.WithDPoP(dpop.New("https://other.example"))}, r: w.dpopRequest("/r"),
			want: map[string]any{"reason": "dpop_misdirected", "host": "api.example", "hint": `"api.example"`}},
		"4 an origin with another path prefix": {
			opts: []middleware.Option{middleware.WithDPoP(dpop.New(origin + "/v2"))}, r: w.dpopRequest("/r"),
			want: map[string]any{"reason": "dpop_target", "unverified_htu": origin + "/r", "expected_htu": origin + "/v2/r", "hint": "path prefix"}},
		"8 an issuer with a slash too many": {
			r:    w.dpopRequest("/r", oidctest.Claim("iss", issuerURL+"/")),
			want: map[string]any{"reason": "token_issuer", "unverified_iss": issuerURL + "/", "expected_iss": issuerURL, "hint": "last slash"}},
		"10 the server does not ask for certificates": {
			r:    func() *http.Request { r := w.certRequest("/r"); r.TLS.PeerCertificates = nil; return r }(),
			want: map[string]any{"reason": "certificate_missing", "hint": "mtlspop.RequestClientCert"}},
		"11 a proxy that is not trusted": {
			opts: []middleware.Option{behindProxy},
			r: func() *http.Request {
				r := from("10.9.9.9:4711", w.certRequest("/r"))
				r.Header.Set("X-Client-Cert", mtlspoptest.Nginx(w.cert))
				return r
			}(),
			want: map[string]any{"reason": "certificate_peer_not_trusted", "peer": "10.9.9.9:4711", "hint": "10.9.9.9", "untrusted_forward": true}},
		"12 a header in another format": {
			opts: []middleware.Option{behindProxy},
			r: func() *http.Request {
				r := from("10.1.2.3:4711", w.certRequest("/r"))
				r.Header.Set("X-Client-Cert", ":AAAA:")
				return r
			}(),
			want: map[string]any{"reason": "certificate_malformed", "hint": "Format"}},
		"13 a header under another name": {
			opts: []middleware.Option{behindProxy},
			r: func() *http.Request {
				r := from("10.1.2.3:4711", w.certRequest("/r"))
				r.Header.Set("X-Other-Cert", mtlspoptest.Nginx(w.cert))
				return r
			}(),
			want: map[string]any{"reason": "certificate_missing", "hint": "sent no X-Client-Cert"}},
		"15 the client's clock": {
			r:    signed(func(c map[string]any) { c["iat"] = time.Now().Add(-10 * time.Minute).Unix() }),
			want: map[string]any{"reason": "dpop_expired", "unverified_proof_skew_s": -600.0, "hint": "dpop.WithNonces"}},
		"16 an expired token": {
			r:    w.dpopRequest("/r", oidctest.ExpiresIn(-time.Hour)),
			want: map[string]any{"reason": "token_expired", "unverified_expires_in_s": -3600.0, "hint": "expired 1h0m"}},
		"16 the issuer's clock": {
			r:    w.dpopRequest("/r", oidctest.Claim("iat", time.Now().Add(time.Hour).Unix())),
			want: map[string]any{"reason": "token_issued_in_future", "unverified_issued_ago_s": -3600.0, "hint": "oidc.WithSkew"}},
		"20 a nonce of other keys": {
			opts: []middleware.Option{middleware.WithDPoP(dpop.New(origin, dpop.WithNonces(dpop.NewNonces(bytes.Repeat([]byte("k"), 32)))))},
			r: func() *http.Request {
				n, err := dpop.NewNonces(bytes.Repeat([]byte("x"), 32))
				require.NoError(t, err)
				nonce, err := n.Issue(t.Context())
				require.NoError(t, err)
				return signed(func(c map[string]any) { c["nonce"] = nonce })
			}(),
			want: map[string]any{"reason": "dpop_nonce_unknown", "hint": "same keys on every replica"}},
		"20 the first contact, to tell it from that": {
			opts: []middleware.Option{middleware.WithDPoP(dpop.New(origin, dpop.WithNonces(dpop.NewNonces(bytes.Repeat([]byte("k"), 32)))))},
			r:    w.dpopRequest("/r"),
			want: map[string]any{"reason": "dpop_nonce_missing", "hint": "expected once per client"}},
		"22 an issuer that needs a profile": {
			r:    w.dpopRequest("/r", oidctest.Okta("a")),
			want: map[string]any{"reason": "token_type_jwt", "hint": "oidc.WithProfile(oidc.Okta)"}},
		"23 the wrong profile": {
			oidc: []oidc.Option{oidc.WithProfile(oidc.Okta)}, r: w.dpopRequest("/r", oidctest.Keycloak()),
			want: map[string]any{"reason": "token_not_access", "expected_profile": "Okta", "hint": "oidc.WithProfile(oidc.Keycloak)"}},
		"24 Keycloak's usual audience": {
			oidc: []oidc.Option{oidc.WithProfile(oidc.Keycloak)}, r: w.dpopRequest("/r", oidctest.Keycloak(), oidctest.Claim("aud", "account")),
			want: map[string]any{"reason": "token_audience", "unverified_aud": "account", "hint": "audience mapper"}},
		"25 an ID token": {
			r:    w.bearerRequest("/r", oidctest.IDToken("app")),
			want: map[string]any{"reason": "token_type_jwt", "unverified_typ": "JWT", "unverified_aud": "app"}},
		"26 an opaque token": {
			r:    func() *http.Request { r := get("/r"); r.Header.Set("Authorization", "Bearer opaque"); return r }(),
			want: map[string]any{"reason": "token_malformed", "unverified_token": "opaque", "hint": "introspect.New"}},
		"27 an unknown key": {
			r:    w.dpopRequest("/r", oidctest.Header("kid", "rotated-in")),
			want: map[string]any{"reason": "token_unknown_key", "unverified_kid": "rotated-in", "hint": "cooldown"}},
		"29 CORS inside the guard": {
			r: func() *http.Request {
				r := get("/r")
				r.Method = "OPTIONS"
				r.Header.Set("Origin", "https://app.example")
				r.Header.Set("Access-Control-Request-Method", "GET")
				return r
			}(),
			want: map[string]any{"reason": "no_credentials", "method": "OPTIONS", "hint": "preflight"}},
		"33 a proxy that replaces Host": {
			r:    func() *http.Request { r := w.dpopRequest("/r"); r.Host = "backend:8080"; return r }(),
			want: map[string]any{"reason": "dpop_misdirected", "host": "backend:8080", "hint": `dpop.WithInternalHosts("backend:8080")`}},
		"34 a proxy that drops the proof": {
			r:    func() *http.Request { r := w.dpopRequest("/r"); r.Header.Del("DPoP"); return r }(),
			want: map[string]any{"reason": "dpop_missing", "hint": "proxy in front of the service drops it"}},
		"35 WithDPoP forgotten, scheme DPoP": {
			opts: []middleware.Option{withMTLS()}, r: w.dpopRequest("/r"),
			want: map[string]any{"reason": "unsupported_scheme", "hint": "middleware.WithDPoP"}},
		"35 WithDPoP forgotten, scheme Bearer": {
			opts: []middleware.Option{withMTLS()},
			r:    func() *http.Request { r := get("/r"); r.Header.Set("Authorization", "Bearer "+w.dpopToken()); return r }(),
			want: map[string]any{"reason": "binding_not_configured", "hint": "middleware.WithDPoP"}},
		"a scope that is missing": {
			opts: both(middleware.WithRules(middleware.Scopes("a", "b"))), r: w.dpopRequest("/r?access=1", oidctest.Scope("a", "c")),
			want: map[string]any{"reason": "rule_scope", "wanted_scopes": "a b", "had_scopes": "a c", "client_id": "client", "path": "/r", "method": "GET"}},
	} {
		t.Run(name, func(t *testing.T) {
			opts := tc.opts
			if opts == nil {
				opts = both()
			}
			log, lines := logged()
			g, err := middleware.New(append(opts, log, w.tokens(tc.oidc...))...)
			require.NoError(t, err)
			serve(g, tc.r)
			all := lines(t)
			require.Len(t, all, 1, "one line per refusal")
			for key, want := range tc.want {
				if text, ok := want.(string); ok {
					require.Contains(t, all[0][key], text, "%s in %v", key, all[0])
				} else if number, ok := want.(float64); ok {
					require.InDelta(t, number, all[0][key], 2, key)
				} else {
					require.Equal(t, want, all[0][key], key)
				}
			}
			require.NotContains(t, all[0]["path"], "?")
		})
	}
}

// Row 37: two guards around one handler with verifiers that share one memory.
func TestTheLogLineOfAReplayNamesNestedGuards(t *testing.T) {
	w := newWorld(t)
	memory, err := dpop.NewMemoryCache()
	require.NoError(t, err)
	guard := func(opts ...middleware.Option) *middleware.Guard {
		return w.guard(append(opts, middleware.WithDPoP(dpop.New(origin, dpop.WithReplayCache(memory, nil))))...)
	}
	log, lines := logged()
	inner := guard(log)
	guard().Wrap(inner.Wrap(http.NotFoundHandler())).ServeHTTP(newRecorderWith("X", "x"), w.dpopRequest("/r"))
	all := lines(t)
	require.Len(t, all, 1)
	require.Equal(t, "dpop_replayed", all[0]["reason"])
	require.Contains(t, all[0]["hint"], "do not share one dpop.Verifier")
}

func TestAcceptedRequestsAreNotLogged(t *testing.T) {
	w := newWorld(t)
	log, lines := logged()
	serve(w.guard(both(log)...), w.dpopRequest("/r")).accepted(t)
	require.Empty(t, lines(t))
}

// With no logger and no observer, what is our fault is on the default logger.
func TestOutagesAreLoggedByDefault(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		before := slog.Default()
		slog.SetDefault(slog.New(slog.NewJSONHandler(&out, nil)))
		defer slog.SetDefault(before)

		w := newWorld(t)
		w.issuer.SetDown(true)
		g := w.guard()
		for range 50 {
			serve(g, w.dpopRequest("/r")).refused(t, 503)
		}
		serve(g, get("/r")).refused(t, 401)
		lines := strings.Split(strings.TrimSpace(out.String()), "\n")
		require.Len(t, lines, 1, "one line per cause in ten seconds, and none for the clients' faults: %s", &out)
		require.Contains(t, lines[0], `"reason":"unavailable_issuer"`)
		require.Contains(t, lines[0], `"level":"ERROR"`)

		time.Sleep(11 * time.Second)
		serve(g, w.dpopRequest("/r")).refused(t, 503)
		require.Equal(t, 2, strings.Count(out.String(), "unavailable_issuer"))
	})
}

func TestADiscardingLoggerIsSilence(t *testing.T) {
	var out bytes.Buffer
	before := slog.Default()
	slog.SetDefault(slog.New(slog.NewJSONHandler(&out, nil)))
	defer slog.SetDefault(before)
	w := newWorld(t)
	w.issuer.SetDown(true)
	serve(w.guard(both(middleware.WithLogger(slog.New(slog.DiscardHandler)))...), w.dpopRequest("/r")).refused(t, 503)
	require.Empty(t, out.String())
	_, err := middleware.New(middleware.WithLogger(nil))
	require.ErrorContains(t, err, "middleware: WithLogger: nil")
}

// Reasons are part of the API: each kind of each family has one of its own.
func TestEveryKindHasAReasonOfItsOwn(t *testing.T) {
	seen := make(map[string]bool)
	check := func(err error, reason, description string) {
		if strings.Contains(description, "unknown") || strings.HasPrefix(description, "not a") {
			require.Empty(t, reason, "%v", err)
			return
		}
		require.Regexp(t, `^[a-z][a-z0-9_]+$`, reason, "%T %v", err, err)
		require.False(t, seen[reason], "%s stands for two kinds", reason)
		seen[reason] = true
	}
	for i := range 256 {
		r, p, b := middleware.RequestError(i), dpop.ProofError(i), mtlspop.BindingError(i)
		k, x := oidc.TokenError(i), exchange.Error(i)
		check(r, r.Reason(), r.Description())
		check(p, p.Reason(), p.Description())
		check(b, b.Reason(), b.Description())
		check(k, k.Reason(), k.Description())
		check(x, x.Reason(), x.Description())
	}
	require.Greater(t, len(seen), 70)
}

// An outage has the reason of the part that did not answer.
func TestOutagesHaveAReason(t *testing.T) {
	for want, opts := range map[string][]middleware.Option{
		"unavailable_replay_cache": {middleware.WithDPoP(dpop.New(origin, dpop.WithReplayCache(brokenStore{}, nil)))},
		"unavailable":              {withDPoP(), withVerifier(func() (*oidc.Token, error) { return nil, errors.New("down") })},
		"panic":                    {withDPoP(), withVerifier(func() (*oidc.Token, error) { panic("secret") })},
		"misconfigured":            {withDPoP(), withVerifier(func() (*oidc.Token, error) { return nil, nil })},
	} {
		t.Run(want, func(t *testing.T) {
			w := newWorld(t)
			if len(opts) == 1 {
				opts = append(opts, w.tokens())
			}
			var got []middleware.Outcome
			g, err := middleware.New(append(slices.Clone(opts), middleware.WithObserver(func(_ context.Context, o middleware.Outcome) { got = append(got, o) }))...)
			require.NoError(t, err)
			serve(g, w.dpopRequest("/r")).refused(t, 503)
			require.Len(t, got, 1)
			require.Equal(t, want, got[0].Reason)
			require.Equal(t, 503, got[0].Status)
		})
	}
}

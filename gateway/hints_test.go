package main

import (
	"errors"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/keybound-go/middleware"
	"github.com/keybound-go/middleware/dpop"
	"github.com/keybound-go/middleware/gateway/testbed"
	"github.com/keybound-go/middleware/mtlspop"
	"github.com/keybound-go/middleware/oidc"
	"github.com/keybound-go/middleware/oidc/oidctest"
)

func TestHintsAreInTheWordsOfTheGateway(t *testing.T) {
	for i := range 256 {
		for _, err := range []interface {
			error
			Hint() string
		}{middleware.RequestError(i), dpop.ProofError(i), mtlspop.BindingError(i), oidc.TokenError(i)} {
			assert.NotRegexp(t, inGo, hintOf(middleware.Outcome{Err: err, Hint: err.Hint()}), "%T %d: %v", err, i, err)
		}
	}
	for err, hint := range hints {
		require.NotEmpty(t, hint, err)
		require.NotRegexp(t, inGo, hint, err)
	}
}

// What the library says of one request goes before what is said of its kind, unless it
// is in Go's words.
func TestHintsOfOneRequestAreInTheWordsOfTheGateway(t *testing.T) {
	for _, row := range []struct {
		o    middleware.Outcome
		want string
	}{
		{middleware.Outcome{Err: mtlspop.ErrPeerNotTrusted, Hint: "add it to mtlspop.WithForwardedCertificate", Peer: "10.9.9.9:4711"}, "10.9.9.9 is none of -trusted-proxy"},
		{middleware.Outcome{Err: mtlspop.ErrNoCertificate, Hint: "the trusted peer 10.1.2.3 sent no X-Client-Cert"}, "sent no X-Client-Cert"},
		{middleware.Outcome{Err: mtlspop.ErrNoCertificate, Hint: mtlspop.ErrNoCertificate.Hint()}, "tls-handshake-modifier"},
		{middleware.Outcome{Err: dpop.ErrMisdirected, Hint: "dpop.WithInternalHosts", Host: "backend:8080"}, "-internal-host backend:8080"},
		{middleware.Outcome{Err: dpop.ErrMisdirected, Hint: "dpop.WithInternalHosts"}, "the request names no host"},
		{middleware.Outcome{Err: middleware.ErrNoCredentials, Hint: "a CORS preflight: see middleware.PassPreflights"}, "the gateway has no plugin for CORS"},
		{middleware.Outcome{Err: oidc.ErrExpired, Hint: "the token expired 5m0s ago"}, "expired 5m0s ago"},
		{middleware.Outcome{Err: oidc.ErrNoKey, Hint: "see oidc.WithCooldown"}, "rediscovery_lifetime"},
		{middleware.Outcome{Err: errors.New("down"), Reason: "unavailable_issuer", Hint: "oidc.WithHTTPClient"}, "-issuer-ca"},
		{middleware.Outcome{Err: errors.New("?"), Reason: "unavailable_other", Hint: "mtlspop.WithRootsFunc"}, ""},
	} {
		got := hintOf(row.o)
		require.Contains(t, got, row.want)
		require.NotRegexp(t, inGo, got)
		require.Equal(t, row.want == "", got == "")
	}
}

// The mistakes that operators make, at the gateway: the line has what came, what was
// expected, and the fix in the gateway's words.
func TestTheGatewaysLineNamesTheFix(t *testing.T) {
	bed := testbed.New(t, t.TempDir())
	for name, row := range map[string]struct {
		file    string
		request func(r *http.Request)
		want    []string
	}{
		"1 another audience": {
			withoutAudience("      auth_methods: [bearer]\n      audience_required: ['https://api.example']\n"),
			bearer(bed.Issuer.Token(oidctest.Claim("aud", "https://other.example"))),
			[]string{"reason=rule_claim", "unverified_aud=https://other.example", "expected_aud=https://api.example", `hint="aud names none of audience_required; with Keycloak, add an audience mapper`}},
		"8 another issuer": {
			withoutAudience("      auth_methods: [bearer]\n"), bearer(bed.Issuer.Token(oidctest.Claim("iss", bed.Issuer.URL+"/"))),
			[]string{"reason=token_issuer", "unverified_iss=" + bed.Issuer.URL + "/", "expected_iss=" + bed.Issuer.URL + " ", "last slash"}},
		"16 an expired token": {
			withoutAudience("      auth_methods: [bearer]\n"), bearer(bed.Issuer.Token(oidctest.ExpiresIn(-time.Hour))),
			[]string{"reason=token_expired", "expired 1h0m"}},
		"21 a profile": {
			withoutAudience("      auth_methods: [bearer]\n"), bearer(bed.Issuer.Token(oidctest.Without("sub"))),
			[]string{"reason=token_no_subject", "-profile says"}},
		"29 a preflight": {
			withoutAudience("      auth_methods: [bearer]\n"), func(r *http.Request) {
				r.Method = "OPTIONS"
				r.Header.Set("Origin", "https://app.example")
				r.Header.Set("Access-Control-Request-Method", "GET")
			},
			[]string{"reason=no_credentials", "method=OPTIONS", "the gateway has no plugin for CORS"}},
		"a claim that the file demands": {
			withoutAudience("      auth_methods: [bearer]\n      groups_required: [admin]\n"), bearer(bed.Issuer.Token()),
			[]string{"reason=rule_claim", `hint="the rule demands claim groups`, "client_id=client"}},
		"a bound token is due": {
			withoutAudience("      auth_methods: [bearer]\n      proof_of_possession_dpop: strict\n"), bearer(bed.Issuer.Token()),
			[]string{"reason=", "turn DPoP"}},
	} {
		t.Run(name, func(t *testing.T) {
			gw := start(t, bed, row.file)
			ask(t, bed.Client(nil), gw.url+"/anything", row.request)
			lines := regexp.MustCompile(`(?m)^.*msg="request refused".*$`).FindAllString(gw.log.String(), -1)
			require.Len(t, lines, 1, gw.log.String())
			require.Contains(t, lines[0], "hint=")
			for _, want := range row.want {
				require.Contains(t, lines[0], want)
			}
			_, hint, _ := strings.Cut(lines[0], "hint=")
			hint, _, _ = strings.Cut(hint, " method=")
			require.NotRegexp(t, inGo, hint)
		})
	}
}

package oidc_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/keybound-go/middleware/jwks"
	"github.com/keybound-go/middleware/oidc"
	"github.com/stretchr/testify/require"
)

func TestNewReportsEveryMistake(t *testing.T) {
	_, err := oidc.New("http://issuer.example?x=1", "",
		oidc.WithSkew(-1),
		oidc.WithSkew(time.Second),
		nil,
		oidc.WithMaxTokenSize(0),
		oidc.WithCacheSize(-1),
		oidc.WithAlgorithms("none"),
		oidc.WithProfile(oidc.Vendor(200)),
		oidc.WithHTTPClient(nil),
		oidc.DangerouslyIgnoreConfirmation("jkt"),
	)
	require.EqualError(t, err, strings.Join([]string{
		"oidc: WithSkew: -1ns is not between 0s and 5m0s",
		"oidc: WithSkew is given twice",
		"oidc: option 3 is nil",
		"oidc: WithMaxTokenSize: 0 is not between 256 and 1048576",
		"oidc: WithCacheSize: -1 is not between 0 and 10000000",
		`oidc: WithAlgorithms: "none" is not supported; one of ES256 ES384 ES512 PS256 PS384 PS512 EdDSA Ed25519 RS256 RS384 RS512`,
		"oidc: WithProfile: not a profile of this package",
		"oidc: WithHTTPClient: nil",
		`oidc: DangerouslyIgnoreConfirmation: "jkt" cannot be ignored`,
		"oidc: the issuer: http://issuer.example: https is required; for development, DangerouslyAllowLoopbackHTTP permits http to this machine",
		"oidc: an audience is empty",
	}, "\n"))
}

func TestMistakes(t *testing.T) {
	const issuer, audience = "https://issuer.example", "https://api.example"
	keys := oidc.WithKeys(&static{}, nil)
	var noSource *jwks.Source
	for name, tc := range map[string]struct {
		issuer, audience string
		opts             []oidc.Option
		want             string
	}{
		"DISC-04 no issuer":            {"", audience, nil, "not an absolute URL"},
		"DISC-04 a relative issuer":    {"issuer.example", audience, nil, "not an absolute URL"},
		"DISC-04 http":                 {"http://issuer.example", audience, nil, "https is required"},
		"DISC-04 a query":              {"https://issuer.example?tenant=1", audience, nil, "has a query"},
		"DISC-04 an empty query":       {"https://issuer.example?", audience, nil, "has a query"},
		"DISC-04 a fragment":           {"https://issuer.example#x", audience, nil, "fragment"},
		"a password in the issuer":     {"https://u:secret@issuer.example", audience, nil, "user information"},
		"a discovery URL as issuer":    {issuer + "/.well-known/openid-configuration", audience, nil, "discovery document"},
		"an audience twice":            {issuer, audience, []oidc.Option{oidc.WithAudiences(audience)}, "is given twice"},
		"no audience in the list":      {issuer, audience, []oidc.Option{oidc.WithAudiences()}, "no audience given"},
		"an empty audience":            {issuer, audience, []oidc.Option{oidc.WithAudiences("")}, "is empty"},
		"BCP-3.2 no algorithm":         {issuer, audience, []oidc.Option{oidc.WithAlgorithms()}, "no algorithm given"},
		"BCP-3.1 HS256":                {issuer, audience, []oidc.Option{oidc.WithAlgorithms("ES256", "HS256")}, "not supported"},
		"an algorithm twice":           {issuer, audience, []oidc.Option{oidc.WithAlgorithms("ES256", "ES256")}, "twice"},
		"AT-4-06 too much leeway":      {issuer, audience, []oidc.Option{oidc.WithSkew(6 * time.Minute)}, "not between"},
		"a nil key source":             {issuer, audience, []oidc.Option{oidc.WithKeys(nil, nil)}, "nil"},
		"a nil *jwks.Source":           {issuer, audience, []oidc.Option{oidc.WithKeys(noSource, nil)}, "nil"},
		"a key source with an error":   {issuer, audience, []oidc.Option{oidc.WithKeys(jwks.New("http://x.example"))}, "https is required"},
		"keys and a jwks_uri":          {issuer, audience, []oidc.Option{keys, oidc.WithJWKSURI("https://x.example")}, "no meaning"},
		"JWKS-05 no cooldown":          {issuer, audience, []oidc.Option{oidc.WithCooldown(0)}, "0s is not between 1s and 1h0m0s"},
		"JWKS-05 too long a cooldown":  {issuer, audience, []oidc.Option{oidc.WithCooldown(time.Hour + 1)}, "is not between"},
		"keys and a cooldown":          {issuer, audience, []oidc.Option{keys, oidc.WithCooldown(time.Second)}, "no meaning"},
		"keys and a client":            {issuer, audience, []oidc.Option{keys, oidc.WithMetadataURL("https://x.example")}, "no meaning"},
		"jwks_uri and metadata":        {issuer, audience, []oidc.Option{oidc.WithJWKSURI("https://x.example"), oidc.WithMetadataURL("https://x.example")}, "no meaning"},
		"JWKS-08 a jwks_uri over http": {issuer, audience, []oidc.Option{oidc.WithJWKSURI("http://x.example")}, "https is required"},
		"DISC-04 metadata over http":   {issuer, audience, []oidc.Option{oidc.WithMetadataURL("http://x.example")}, "https is required"},
		"no member to ignore":          {issuer, audience, []oidc.Option{oidc.DangerouslyIgnoreConfirmation()}, "no member given"},
		"x5t#S256 to ignore":           {issuer, audience, []oidc.Option{oidc.DangerouslyIgnoreConfirmation("x5t#S256")}, "cannot be ignored"},
	} {
		t.Run(name, func(t *testing.T) {
			v, err := oidc.New(tc.issuer, tc.audience, tc.opts...)
			require.ErrorContains(t, err, tc.want)
			require.NotContains(t, err.Error(), "secret")
			require.Nil(t, v)
			for line := range strings.Lines(err.Error()) {
				require.True(t, strings.HasPrefix(line, "oidc: "), line)
			}
		})
	}
}

func TestIgnoredConfirmationIsUnbound(t *testing.T) {
	issuer := newIssuer(t)
	v := newVerifier(t, issuer, oidc.DangerouslyIgnoreConfirmation("kid"), oidc.DangerouslyIgnoreConfirmation("vendor"))
	for name, tc := range map[string]struct {
		cnf   any
		want  error
		bound bool
	}{
		"AMB-17 a named member":         {map[string]any{"kid": "1"}, nil, false},
		"AMB-17 two named members":      {map[string]any{"kid": "1", "vendor": []int{1}}, nil, false},
		"AMB-17 and another":            {map[string]any{"kid": "1", "jwk": 1}, oidc.ErrConfirmation, false},
		"AMB-17 and a known one":        {map[string]any{"kid": "1", "jkt": thumb('a')}, nil, true},
		"AMB-17 and a broken known one": {map[string]any{"kid": "1", "jkt": "x"}, oidc.ErrConfirmation, false},
		"AMB-17 an empty object":        {map[string]any{}, oidc.ErrConfirmation, false},
		"AMB-17 null":                   {nil, oidc.ErrConfirmation, false},
	} {
		t.Run(name, func(t *testing.T) {
			token, err := verifyToken(t, v, issuer.Token(claimCnf(tc.cnf)))
			requireKind(t, tc.want, err)
			if err == nil {
				require.Equal(t, tc.bound, token.Confirmation.Bound())
			}
		})
	}
}

func TestKindsOfError(t *testing.T) {
	const allowed = " ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-.,;:()/"
	seen := map[string]bool{}
	for kind := oidc.ErrTooLarge; kind <= oidc.ErrOrigin; kind++ {
		d := kind.Description()
		require.NotEmpty(t, d)
		require.Empty(t, strings.Trim(d, allowed), "RFC 6750, section 3: %q", d)
		require.Equal(t, "oidc: "+d, kind.Error())
		require.NotContains(t, kind.Hint(), "\n")
		seen[d] = true
		if kind == oidc.ErrTooLarge {
			require.Empty(t, kind.Code())
		} else {
			require.Equal(t, "invalid_token", kind.Code())
		}
		require.True(t, errors.Is(kind, kind))
		require.Zero(t, testing.AllocsPerRun(10, func() { _, _, _ = kind.Code(), kind.Description(), kind.Hint() }))
	}
	require.GreaterOrEqual(t, len(seen), 24)
	for _, none := range []oidc.TokenError{0, oidc.ErrOrigin + 1, 255} {
		require.Empty(t, none.Code())
		require.Empty(t, none.Hint())
		require.Equal(t, "oidc: unknown error", none.Error())
	}
}

package dpopclient_test

import (
	"encoding/json"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/keybound-go/middleware/dpop/dpopclient"
)

type vector struct {
	ID         string                 `json:"id"`
	Lines      []string               `json:"www_authenticate"`
	Challenges []dpopclient.Challenge `json:"challenges"`
}

func vectors(t testing.TB) []vector {
	t.Helper()
	raw, err := os.ReadFile("testdata/www-authenticate.json")
	require.NoError(t, err)
	var vs []vector
	require.NoError(t, json.Unmarshal(raw, &vs))
	require.NotEmpty(t, vs)
	return vs
}

func TestChallengesOfTheRFCs(t *testing.T) {
	for _, v := range vectors(t) {
		t.Run("CLI-13 "+v.ID, func(t *testing.T) {
			var got []dpopclient.Challenge
			for _, line := range v.Lines {
				got = append(got, dpopclient.ParseChallenges(line)...)
			}
			require.Equal(t, v.Challenges, got)
			require.Equal(t, v.ID == "rfc9449-fig24-challenge", dpopclient.AsksForNonce(v.Lines))
		})
	}
}

func TestAsksForNonce(t *testing.T) {
	for _, c := range []struct {
		name string
		line string
		want bool
	}{
		{"CLI-13 quoted-string", `DPoP error="use_dpop_nonce"`, true},
		{"CLI-13 token", `DPoP error=use_dpop_nonce`, true},
		{"CLI-13 scheme and names are case-insensitive", `dPOP ERROR="use_dpop_nonce"`, true},
		{"CLI-13 the value is not", `DPoP error="USE_DPOP_NONCE"`, false},
		{"CLI-13 quoted-pairs", `DPoP error="use_dpop\_nonce"`, true},
		{"CLI-13 bad white space around the equals sign", "DPoP error \t= \"use_dpop_nonce\"", true},
		{"CLI-13 several spaces after the scheme", `DPoP   error="use_dpop_nonce"`, true},
		{"CLI-13 empty list elements", `,, DPoP error="use_dpop_nonce" ,`, true},
		{"CLI-13 after another challenge", `Bearer realm="a, DPoP error=x", DPoP algs="ES256", error="use_dpop_nonce"`, true},
		{"CLI-13 before another challenge", `DPoP error="use_dpop_nonce", Bearer error="invalid_token"`, true},
		{"CLI-13 after a scheme with token68", `Negotiate YWJj==, DPoP error="use_dpop_nonce"`, true},
		{"CLI-13 after a scheme without anything", `NTLM, DPoP error="use_dpop_nonce"`, true},
		{"CLI-13 unknown parameters are ignored", `DPoP x=1, error="use_dpop_nonce", y="\"", z=2`, true},
		{"CLI-13 the second of two DPoP challenges", `DPoP algs="ES256", DPoP error="use_dpop_nonce"`, true},
		{"CLI-13 a parameter without a value costs only itself", `DPoP algs=, error="use_dpop_nonce"`, true},
		{"CLI-13 a broken parameter costs only itself", `DPoP algs="a"b, error="use_dpop_nonce"`, true},
		{"CLI-13 the error of Bearer is not DPoP's", `DPoP algs="ES256", Bearer error="use_dpop_nonce"`, false},
		{"CLI-13 the error before DPoP is not DPoP's", `Bearer error="use_dpop_nonce", DPoP algs="ES256"`, false},
		{"CLI-13 text inside a quoted-string is no challenge", `Bearer realm="DPoP error=use_dpop_nonce, DPoP error=use_dpop_nonce"`, false},
		{"CLI-13 a quoted quote does not end the string", `Bearer realm="\", DPoP error=use_dpop_nonce"`, false},
		{"CLI-13 another error", `DPoP error="invalid_dpop_proof"`, false},
		{"CLI-13 error_description is not error", `DPoP error_description="use_dpop_nonce"`, false},
		{"CLI-13 error twice says nothing", `DPoP error="use_dpop_nonce", error="invalid_token"`, false},
		{"CLI-13 an open quote says nothing", `DPoP error="use_dpop_nonce`, false},
		{"CLI-13 garbage after the value", `DPoP error="use_dpop_nonce" x`, false},
		{"CLI-13 no scheme at all", `error="use_dpop_nonce"`, false},
		{"CLI-13 a longer scheme", `DPoPx error="use_dpop_nonce"`, false},
		{"CLI-13 a scheme that is not a token", `DPoP/2, error="use_dpop_nonce"`, false},
		{"CLI-13 a second scheme needs a comma", `Bearer DPoP error="use_dpop_nonce"`, false},
		{"CLI-13 a comma inside quotes does not end a broken element", `Bearer x "a, DPoP error=use_dpop_nonce, b"`, false},
		{"CLI-13 empty", ``, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			require.Equal(t, c.want, dpopclient.AsksForNonce([]string{c.line}))
		})
	}
	t.Run("CLI-13 each field line stands for itself", func(t *testing.T) {
		require.True(t, dpopclient.AsksForNonce([]string{`Bearer realm="open`, `DPoP error="use_dpop_nonce"`}))
		require.False(t, dpopclient.AsksForNonce([]string{`DPoP algs="ES256"`, `error="use_dpop_nonce"`}))
	})
}

func TestParsingTakesLinearTime(t *testing.T) {
	for _, unit := range []string{`"`, `\`, `,`, ` `, `=`, `a `, `a=`, `a,`, `a=",`, `DPoP `, `a="\"`, "a \t", "a==/"} {
		start := time.Now()
		dpopclient.ParseChallenges(strings.Repeat(unit, 1<<18/len(unit)))
		require.Less(t, time.Since(start), 2*time.Second, "%q repeated to 256 KiB", unit)
	}
}

func FuzzChallenges(f *testing.F) {
	for _, v := range vectors(f) {
		for _, line := range v.Lines {
			f.Add(line)
		}
	}
	f.Add(`Negotiate YWJj==, DPoP/2 x, =, "open \" , DPoP error=use_dpop_nonce`)
	f.Fuzz(func(t *testing.T, line string) {
		total := 0
		for _, c := range dpopclient.ParseChallenges(line) {
			require.NotEmpty(t, c.Scheme)
			total += len(c.Scheme)
			for name, value := range c.Params {
				require.NotEmpty(t, name)
				total += len(name) + len(value)
			}
		}
		require.LessOrEqual(t, total, len(line), "every byte counts once at most")
		// What follows a complete line is not disturbed by what stands before it, as far
		// as the line leaves no quote open.
		if !strings.ContainsAny(line, `"\`) {
			require.True(t, dpopclient.AsksForNonce([]string{line + `,DPoP error="use_dpop_nonce"`}))
		}
	})
}

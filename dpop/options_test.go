package dpop_test

import (
	"errors"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/keybound-go/middleware/dpop"
	"github.com/keybound-go/middleware/dpop/dpoptest"
	"github.com/stretchr/testify/require"
)

func TestNewReportsEveryMistake(t *testing.T) {
	broken := errors.New("the nonce source is broken")
	var noCache *dpop.MemoryCache
	_, err := dpop.New("ftp://api.example",
		dpop.WithOrigins("https://u@api.example", "https://ok.example", "https://OK.example:443/", "https://api.example?q"),
		dpop.WithOrigins(),
		dpop.WithAlgorithms("ES256", "none", "HS256", "ES256"),
		dpop.WithLifetime(0),
		dpop.WithSkew(-1),
		dpop.WithMaxSize(10),
		dpop.WithReplayCache(noCache, nil),
		dpop.WithNonces(nil, broken),
		dpop.WithInternalHosts("a b"),
		dpop.WithInternalHosts(),
		dpop.DangerouslyFailOpen(nil),
		dpop.WithSkew(1),
		dpop.DangerouslyAllowReplay(),
		nil,
	)
	require.ErrorIs(t, err, broken)
	for _, want := range []string{
		`origin "ftp://api.example": not of the form`,
		`origin "https://u@api.example": host or port`,
		`origin "https://OK.example:443/" given twice`,
		`origin "https://api.example?q": has a query`,
		"WithOrigins: no origin given",
		`"none" is not an algorithm`,
		`"HS256" is not an algorithm`,
		"ES256 given twice",
		"WithLifetime: 0s",
		"WithSkew: -1ns",
		"WithMaxSize: 10",
		"WithReplayCache: nil",
		`WithInternalHosts: "a b"`,
		"WithInternalHosts: no host given",
		"DangerouslyFailOpen: nil",
		"WithSkew is given twice",
		"DangerouslyAllowReplay contradicts WithReplayCache",
		"option 14 is nil",
	} {
		require.ErrorContains(t, err, want)
	}
	for line := range strings.Lines(err.Error()) {
		require.True(t, strings.HasPrefix(line, "dpop: ") || strings.HasPrefix(line, broken.Error()), line)
	}
}

func TestEveryOptionButListsIsGivenOnce(t *testing.T) {
	cache, err := dpop.NewMemoryCache()
	require.NoError(t, err)
	for name, option := range map[string]dpop.Option{
		"WithAlgorithms":            dpop.WithAlgorithms("ES256"),
		"WithLifetime":              dpop.WithLifetime(time.Second),
		"WithSkew":                  dpop.WithSkew(0),
		"WithMaxSize":               dpop.WithMaxSize(4096),
		"WithReplayCache":           dpop.WithReplayCache(cache, nil),
		"WithNonces":                dpop.WithNonces(dpop.NewNonces(nonceKey(1))),
		"CompareExactly":            dpop.CompareExactly(),
		"DangerouslyAllowPlainHTTP": dpop.DangerouslyAllowPlainHTTP(),
		"DangerouslyAllowReplay":    dpop.DangerouslyAllowReplay(),
		"DangerouslyFailOpen":       dpop.DangerouslyFailOpen(func(error) {}),
	} {
		_, err := dpop.New(apiOrigin, option)
		require.NoError(t, err, name)
		_, err = dpop.New(apiOrigin, option, option)
		require.ErrorContains(t, err, name+" is given twice")
	}
}

func TestOrigins(t *testing.T) {
	// AMB-25: an origin is required, and never guessed.
	for in, want := range map[string]string{
		"https://api.example":             "https://api.example",
		"https://api.example/":            "https://api.example",
		"HTTPS://API.Example:443":         "https://api.example",
		"https://api.example:8443/v1/":    "https://api.example:8443/v1",
		"https://api.example/a/../v%31":   "https://api.example/v1",
		"https://[2001:DB8::0:1]:8443":    "https://[2001:db8::1]:8443",
		"http://localhost:8080":           "http://localhost:8080",
		"http://127.0.0.1":                "http://127.0.0.1",
		"http://[::1]:80":                 "http://[::1]",
		"https://xn--bcher-kva.example/b": "https://xn--bcher-kva.example/b",
	} {
		v, err := dpop.New(in)
		require.NoError(t, err, in)
		require.Equal(t, []string{want}, v.Settings().Origins)
	}
	for _, in := range []string{
		"", "api.example", "//api.example", "https:", "https://", "https://:443", "https://api.example:0", "https://api.example:65536",
		"https://api.example:0443", "https://api.example:x", "https://a b", "https://b\u00fccher.example", "https://api.example/a b",
		"https://api.example#f", "https://u:p@api.example", "wss://api.example", "http://api.example", "http://localhost.example",
		"http://10.0.0.1", "https://[::1%25lo]", "https://[1.2.3.4]", "https://%61pi.example", "https://api.example/%", " https://api.example",
	} {
		_, err := dpop.New(in)
		require.Error(t, err, in)
	}
	v, err := dpop.New("http://api.example", dpop.DangerouslyAllowPlainHTTP(), dpop.WithOrigins("https://two.example/x"))
	require.NoError(t, err)
	require.Equal(t, []string{"http://api.example", "https://two.example/x"}, v.Settings().Origins)
}

func TestPlainHTTPByOption(t *testing.T) {
	v, err := dpop.New("http://api.example", dpop.DangerouslyAllowPlainHTTP())
	require.NoError(t, err)
	key := dpoptest.NewKey(t)
	accepts(t, v, get(key.Proof("GET", "http://api.example/orders", token)), key.Thumbprint())
	refuses(t, v, get(key.Proof("GET", ordersURL, token)), key.Thumbprint(), dpop.ErrTarget)
}

func TestMaxSize(t *testing.T) {
	v, key := newVerifier(t, dpop.WithMaxSize(1024)), dpoptest.NewKey(t)
	long := key.Proof("GET", ordersURL, token, dpoptest.Claim("x", strings.Repeat("x", 600)))
	refuses(t, v, get(long), key.Thumbprint(), dpop.ErrTooLarge)
	_, err := v.VerifyProof(t.Context(), dpop.Request{Proofs: []string{long}, Method: "GET", URL: ordersURL, AccessToken: token, Thumbprint: key.Thumbprint()})
	require.True(t, err == dpop.ErrTooLarge)
	_, err = v.VerifyProof(t.Context(), dpop.Request{Method: "GET", URL: ordersURL, AccessToken: token, Thumbprint: key.Thumbprint()})
	require.True(t, err == dpop.ErrMissing)
	accepts(t, newVerifier(t), get(long), key.Thumbprint())
}

func TestProofErrors(t *testing.T) {
	codes := map[string]int{}
	seen := map[string]bool{}
	for e := dpop.ErrMissing; e <= dpop.ErrReplayed; e++ {
		codes[e.Code()]++
		require.Equal(t, "dpop: "+e.Description(), e.Error())
		// AUTH-17: the characters of an error_description.
		require.Regexp(t, `^[\x20\x21\x23-\x5b\x5d-\x7e]+$`, e.Description())
		if e.Code() != "use_dpop_nonce" {
			require.False(t, seen[e.Description()], e.Description())
			seen[e.Description()] = true
		}
		err := error(e)
		require.Zero(t, testing.AllocsPerRun(10, func() { err = e; _ = err.Error }))
	}
	require.Equal(t, map[string]int{"": 1, "invalid_token": 1, "use_dpop_nonce": 3, "invalid_dpop_proof": 16}, codes)
	require.Empty(t, dpop.ErrTooLarge.Code(), "AMB-29")
	for _, none := range []dpop.ProofError{0, dpop.ErrReplayed + 1, 255} {
		require.Empty(t, none.Code())
		require.Empty(t, none.Hint())
		require.Equal(t, "dpop: unknown error", none.Error())
	}
	require.NotEmpty(t, dpop.ErrExpired.Hint())
	require.Equal(t, "DPoP proof required", dpop.ErrMissing.Description(), "AMB-05")
}

func TestExplain(t *testing.T) {
	v, key := newVerifier(t, dpop.WithOrigins("https://two.example/v1")), dpoptest.NewKey(t)
	t.Run("what a proof says beside what was expected", func(t *testing.T) {
		e := v.Explain(dpop.RequestOf(get(key.Proof("POST", ordersURL, token,
			dpoptest.Claim("htu", "https://other.example/a?secret=1#f"), dpoptest.IssuedAt(time.Now().Add(-time.Hour))))))
		require.Equal(t, "https://other.example/a", e.HTU)
		require.Equal(t, ordersURL, e.ExpectedHTU)
		require.Equal(t, "POST", e.HTM)
		require.True(t, e.HasIssuedAt)
		require.InDelta(t, -time.Hour, e.Skew, float64(5*time.Second))
	})
	t.Run("the origin that the request was sent to", func(t *testing.T) {
		r := get(key.Proof("GET", ordersURL, token))
		r.Host, r.RequestURI = "two.example", "/a?secret"
		require.Equal(t, "https://two.example/v1/a", v.Explain(dpop.RequestOf(r)).ExpectedHTU)
		r.Host = "evil.example"
		require.Equal(t, apiOrigin+"/a", v.Explain(dpop.RequestOf(r)).ExpectedHTU)
	})
	t.Run("nothing that a log could choke on", func(t *testing.T) {
		for htu, want := range map[string]string{
			"https://user:secret@api.example/a@b?q#f": "https://api.example/a@b",
			"user:secret@api.example":                 "api.example",
			"https://a@b@c":                           "https://c",
		} {
			require.Equal(t, want, v.Explain(dpop.RequestOf(get(key.Proof("GET", ordersURL, token, dpoptest.Claim("htu", htu))))).HTU)
		}
		e := v.Explain(dpop.RequestOf(get(key.Proof("A\r\nB"+strings.Repeat("x", 99), ordersURL, token,
			dpoptest.Claim("htu", "x\x1b[31m\n\u202e"+strings.Repeat("y", 999))))))
		require.Len(t, e.HTU, 256)
		require.Len(t, e.HTM, 32)
		require.Regexp(t, `^[\x20-\x7e]*$`, e.HTU+e.HTM)
	})
	t.Run("what cannot be read", func(t *testing.T) {
		for _, fields := range [][]string{nil, {"a", "b"}, {"x"}, {"e30.e30.AA"}} {
			e := v.Explain(dpop.RequestOf(get(fields...)))
			require.Equal(t, dpop.Explanation{ExpectedHTU: ordersURL}, e)
		}
		require.Zero(t, new(dpop.Verifier).Explain(dpop.RequestOf(&http.Request{})))
	})
	t.Run("it uses nothing up", func(t *testing.T) {
		r := get(key.Proof("GET", ordersURL, token))
		v.Explain(dpop.RequestOf(r))
		accepts(t, v, r, key.Thumbprint())
	})
}

func TestVerifierHasNoExportedFields(t *testing.T) {
	for i := range reflect.TypeFor[dpop.Verifier]().NumField() {
		require.False(t, reflect.TypeFor[dpop.Verifier]().Field(i).IsExported())
	}
}

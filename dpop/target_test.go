package dpop_test

import (
	"bufio"
	"crypto/sha256"
	"crypto/tls"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/keybound-go/middleware/dpop"
	"github.com/keybound-go/middleware/dpop/dpoptest"
	"github.com/stretchr/testify/require"
)

// htuMatches asks a Verifier, with a proof that is good apart from its htu.
func htuMatches(t *testing.T, v *dpop.Verifier, method, htu, target string) error {
	t.Helper()
	key := dpoptest.NewKey(t)
	_, err := v.VerifyProof(t.Context(), dpop.Request{
		Proofs: []string{key.Proof(method, apiOrigin+"/", token, dpoptest.Claim("htu", htu))},
		Method: method, URL: target, AccessToken: token, Thumbprint: key.Thumbprint(),
	})
	return err
}

func TestURIEquivalence(t *testing.T) {
	const h = "https://rs.example.com"
	v, err := dpop.New(h, dpop.WithOrigins(
		"http://example.com", "https://[2001:db8::1]", "https://xn--bcher-kva.example",
		"http://rs.example.com", "https://h", "https://[::ffff:1.2.3.4]",
	), dpop.DangerouslyAllowPlainHTTP())
	require.NoError(t, err)
	type row struct {
		id, htu, target string
		match           bool
	}
	rows := []row{
		{"URI-01 scheme and host in lower case", "HTTPS://RS.EXAMPLE.COM/r", h + "/r", true},
		{"URI-01 the path keeps its case", h + "/R", h + "/r", false},
		{"URI-01 a scheme that only folds to https", "http\u017f://rs.example.com/r", h + "/r", false},
		{"URI-02 default port", h + ":443/a", h + "/a", true},
		{"URI-02 default port of the target", h + "/a", h + ":443/a", true},
		{"URI-02 empty port", h + ":/a", h + "/a", true},
		{"URI-02 another port", h + ":8443/a", h + "/a", false},
		{"URI-02 the other scheme's port", "http://rs.example.com:443/a", h + "/a", false},
		{"URI-02 http's own port", "http://rs.example.com:80/a", "http://rs.example.com/a", true},
		{"URI-02 a port with a zero in front", h + ":0443/a", h + "/a", false},
		{"URI-02 a port that is none", h + ":44x/a", h + "/a", false},
		{"URI-03 unreserved is decoded", h + "/%7Euser", h + "/~user", true},
		{"URI-03 unreserved is decoded, in lower case hex", h + "/%7euser%2d%5f%2E", h + "/~user-_.", true},
		{"URI-03 the target is not decoded", h + "/~user", h + "/%7Euser", false},
		{"URI-03 the target as it is spelt", h + "/%7Euser", h + "/%7Euser", true},
		{"URI-03 the target as it is spelt, hex in another case", h + "/%7euser", h + "/%7Euser", true},
		{"URI-03 a letter of the target is not decoded", h + "/orders", h + "/%6frders", false},
		{"URI-03 half of the letters decoded", h + "/%7E/%7E", h + "/%7E/~", false},
		{"URI-03 a hex digit behind an encoded byte keeps its case", h + "/%2Fa", h + "/%2FA", false},
		{"URI-03 hex in another case, in the normal form", h + "/./a%2fb", h + "/a%2fb", true},
		{"URI-03 hex in upper case", h + "/a%2fb", h + "/a%2Fb", true},
		{"URI-03 an encoded slash is no slash", h + "/a%2Fb", h + "/a/b", false},
		{"URI-03 an encoded at-sign is no at-sign", h + "/u%40x", h + "/u@x", false},
		{"URI-03 a percent sign is decoded once", h + "/%2541", h + "/%41", false},
		{"URI-03 an encoded NUL stays", h + "/%00", h + "/%00", true},
		{"URI-04 dot segments", h + "/a/./b/../c", h + "/a/c", true},
		{"URI-04 dot segments after decoding", h + "/a/%2e%2E/c", h + "/c", true},
		{"URI-04 the target's dot segments stay", h + "/orders", h + "/admin/../orders", false},
		{"URI-04 the target's encoded dot segments stay", h + "/orders", h + "/admin/%2e%2e/orders", false},
		{"URI-04 the target's single dots stay", h + "/orders", h + "/./orders", false},
		{"URI-04 the target's dots at the end stay", h + "/a/", h + "/a/b/..", false},
		{"URI-04 dot segments that are spelt the same", h + "/admin/../orders", h + "/admin/../orders", true},
		{"URI-04 encoded dot segments that are spelt the same", h + "/a/%2E%2e/c", h + "/a/%2e%2E/c", true},
		{"URI-04 dot segments that are spelt otherwise", h + "/a/../c", h + "/a/%2e%2e/c", false},
		{"URI-04 encoded dot segments for plain ones", h + "/a/%2e%2e/c", h + "/a/../c", false},
		{"URI-04 above the root", h + "/../../c", h + "/c", true},
		{"URI-04 at the end", h + "/a/b/..", h + "/a/", true},
		{"URI-04 a single one at the end", h + "/a/.", h + "/a/", true},
		{"URI-04 three dots are a name", h + "/a/.../b", h + "/a/.../b", true},
		{"URI-04 three dots are not two", h + "/a/.../b", h + "/b", false},
		{"URI-05 an empty path is a slash", h, h + "/", true},
		{"URI-05 an empty path is a slash, with a query", h + "?x", h + "/", true},
		{"URI-06 trailing slash", h + "/a/", h + "/a", false},
		{"URI-06 double slash", h + "/a//b", h + "/a/b", false},
		{"URI-06 parameters", h + "/a;v=1", h + "/a", false},
		{"URI-06 the same parameters", h + "/a;v=1,2", h + "/a;v=1,2", true},
		{"URI-07 DPOP-4.3-09 query and fragment are dropped on both sides", h + "/r?x#f", h + "/r?y", true},
		{"URI-07 a query that looks like a path", h + "/r?/../q", h + "/r", true},
		{"URI-07 a fragment with a question mark", h + "/r#f?q", h + "/r", true},
		{"URI-07 an encoded question mark is a part of the path", h + "/r%3Fx", h + "/r", false},
		{"URI-08 userinfo", "https://user@rs.example.com/a", h + "/a", false},
		{"URI-08 empty userinfo", "https://@rs.example.com/a", h + "/a", false},
		{"URI-08 relative", "/a", h + "/a", false},
		{"URI-08 network-path", "//rs.example.com/a", h + "/a", false},
		{"URI-08 opaque", "https:rs.example.com/a", h + "/a", false},
		{"URI-08 one slash", "https:/rs.example.com/a", h + "/a", false},
		{"URI-08 invalid escape", h + "/a%", h + "/a%", false},
		{"URI-08 invalid escape of one digit", h + "/a%4", h + "/a%4", false},
		{"URI-08 space", h + "/a b", h + "/a%20b", false},
		{"URI-08 space on both sides", h + "/a b", h + "/a b", false},
		{"URI-08 control", h + "/a\x01", h + "/a\x01", false},
		{"URI-08 tab", h + "/a\tb", h + "/ab", false},
		{"URI-08 backslash", h + `/a\b`, h + "/a/b", false},
		{"URI-08 backslash on both sides", h + `/a\b`, h + `/a\b`, false},
		{"URI-08 non-ASCII is its escaped form", h + "/\u00e9", h + "/%C3%A9", true},
		{"URI-08 non-ASCII, escaped in lower case", h + "/caf\u00e9/\u65e5", h + "/caf%c3%a9/%e6%97%a5", true},
		{"URI-08 non-ASCII on both sides", h + "/\u00e9", h + "/\u00e9", true},
		{"URI-08 the target is not escaped", h + "/%C3%A9", h + "/\u00e9", false},
		{"URI-08 another letter", h + "/\u00e8", h + "/%C3%A9", false},
		{"URI-08 another form of the letter", h + "/e\u0301", h + "/%C3%A9", false},
		{"URI-08 non-ASCII in the host", "https://rs.\u00e9xample.com/a", h + "/a", false},
		{"URI-08 braces", h + "/a{b}", h + "/a%7Bb%7D", true},
		{"URI-08 braces on both sides", h + "/a{b}", h + "/a{b}", true},
		{"URI-08 all that no URI may hold", h + "/{}|\"^<>`", h + "/%7B%7D%7C%22%5E%3C%3E%60", true},
		{"URI-08 all that no URI may hold, on both sides", h + "/{}|\"^<>`", h + "/{}|\"^<>`", true},
		{"URI-08 escaped braces are no braces", h + "/%7Bb%7D", h + "/{b}", false},
		{"URI-08 invalid UTF-8, escaped", h + "/%FF", h + "/%FF", true},
		{"URI-08 a delete character", h + "/a\x7f", h + "/a%7F", false},
		{"URI-08 empty host", "https:///a", h + "/a", false},
		{"URI-08 port without host", "https://:443/a", h + "/a", false},
		{"URI-08 what browsers leave as it is", h + "/a[0]|b^c'", h + "/a[0]|b^c'", true},
		{"URI-09 IPv6", "https://[2001:DB8:0::0:1]/a", "https://[2001:db8::1]/a", true},
		{"URI-09 IPv6 with the default port", "https://[2001:db8::1]:443/a", "https://[2001:db8::1]/a", true},
		{"URI-09 another IPv6 address", "https://[2001:db8::2]/a", "https://[2001:db8::1]/a", false},
		{"URI-09 zone", "https://[2001:db8::1%25eth0]/a", "https://[2001:db8::1]/a", false},
		{"URI-09 zone, not encoded", "https://[2001:db8::1%eth0]/a", "https://[2001:db8::1]/a", false},
		{"URI-09 not closed", "https://[2001:db8::1/a", "https://[2001:db8::1]/a", false},
		{"URI-09 something behind the bracket", "https://[2001:db8::1]x/a", "https://[2001:db8::1]/a", false},
		{"URI-09 IPv4 in brackets", "https://[1.2.3.4]/a", "https://[::ffff:1.2.3.4]/a", false},
		{"URI-09 mapped IPv4 in both notations", "https://[::ffff:102:304]/a", "https://[::ffff:1.2.3.4]/a", true},
		{"URI-10 A-label in upper case", "https://XN--BCHER-KVA.example/a", "https://xn--bcher-kva.example/a", true},
		{"URI-10 U-label", "https://b\u00fccher.example/a", "https://xn--bcher-kva.example/a", false},
		{"URI-10 the Kelvin sign is no k", "https://xn--bcher-\u212ava.example/a", "https://xn--bcher-kva.example/a", false},
		{"URI-11 trailing dot of the host", "https://h./", "https://h/", false},
		{"DPOP-4.3-09c an encoded host", "https://%72s.example.com/a", h + "/a", false},
		{"DPOP-4.3-09 another path", h + "/b", h + "/a", false},
	}
	for _, vector := range rfcVectors(t, "uri-equivalence") {
		rows = append(rows, row{vector.ID, vector.Input.HTU, vector.Input.Target, vector.Expect.Match})
	}
	for _, tt := range rows {
		t.Run(tt.id, func(t *testing.T) {
			err := htuMatches(t, v, "GET", tt.htu, tt.target)
			if tt.match {
				require.NoError(t, err)
				return
			}
			require.Error(t, err)
			require.Contains(t, []error{dpop.ErrTarget, dpop.ErrMisdirected}, err)
		})
	}
	t.Run("URI-05 an empty path is no slash for OPTIONS", func(t *testing.T) {
		require.NoError(t, htuMatches(t, v, "OPTIONS", h, h))
		require.NoError(t, htuMatches(t, v, "OPTIONS", h+"/", h+"/"))
		require.True(t, htuMatches(t, v, "OPTIONS", h, h+"/") == dpop.ErrTarget)
		require.True(t, htuMatches(t, v, "OPTIONS", h+"/", h) == dpop.ErrTarget)
	})
	t.Run("AMB-24 the URL of a Request, exactly", func(t *testing.T) {
		v, err := dpop.New(h, dpop.CompareExactly())
		require.NoError(t, err)
		require.NoError(t, htuMatches(t, v, "GET", h+"/%7ea#f", h+"/%7ea?q"))
		require.True(t, htuMatches(t, v, "GET", h+"/~a", h+"/%7ea") == dpop.ErrTarget)
	})
	t.Run("the URL of a Request lies within an origin", func(t *testing.T) {
		v, err := dpop.New("https://api.example/v1")
		require.NoError(t, err)
		require.NoError(t, htuMatches(t, v, "GET", "https://api.example/v1/a", "https://api.example/v1/a"))
		require.NoError(t, htuMatches(t, v, "GET", "https://api.example/v1", "https://api.example/v1"))
		for _, uri := range []string{
			"https://api.example/v2/a", "https://api.example/v11", "https://api.example/", "https://evil.example/v1/a",
			"https://api.example/v1/../a", "https://api.example:8443/v1/a", "http://api.example/v1/a", "/v1/a", "",
		} {
			require.True(t, htuMatches(t, v, "GET", "https://api.example/v1/a", uri) == dpop.ErrMisdirected, uri)
		}
	})
}

// arriving returns what a server makes of the request line and the Host field.
func arriving(t *testing.T, key *dpoptest.Key, htu, line, host string) *http.Request {
	t.Helper()
	raw := line + "\r\n"
	if host != "" {
		raw += "Host: " + host + "\r\n"
	}
	r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(raw + "\r\n")))
	require.NoError(t, err)
	r.Header.Set("DPoP", key.Proof(r.Method, apiOrigin+"/", token, dpoptest.Claim("htu", htu)))
	return r
}

func TestTheTargetOfARequest(t *testing.T) {
	plain := []dpop.Option{}
	tests := []struct {
		name       string
		opts       []dpop.Option
		origin     string
		line, host string
		htu        string
		want       error
	}{
		{"DPOP-4.3-09 query on the request", plain, apiOrigin, "GET /r?x=1 HTTP/1.1", "api.example", apiOrigin + "/r", nil},
		{"DPOP-4.3-09 query and fragment in htu", plain, apiOrigin, "GET /r HTTP/1.1", "api.example", apiOrigin + "/r?q#f", nil},
		{"DPOP-4.3-09 another path", plain, apiOrigin, "GET /r HTTP/1.1", "api.example", apiOrigin + "/s", dpop.ErrTarget},
		{"DPOP-4.3-09b a stolen proof and the thief's name", plain, apiOrigin, "GET /r HTTP/1.1", "evil.example", "https://evil.example/r", dpop.ErrMisdirected},
		{"DPOP-4.3-09b a stolen proof and our name", plain, apiOrigin, "GET /r HTTP/1.1", "api.example", "https://evil.example/r", dpop.ErrTarget},
		{"DPOP-4.3-09b our proof and another name", plain, apiOrigin, "GET /r HTTP/1.1", "evil.example", apiOrigin + "/r", dpop.ErrMisdirected},
		{"DPOP-4.3-09b Host with the default port", plain, apiOrigin, "GET /r HTTP/1.1", "API.example:443", apiOrigin + "/r", nil},
		{"DPOP-4.3-09b Host with another port", plain, apiOrigin, "GET /r HTTP/1.1", "api.example:8443", apiOrigin + "/r", dpop.ErrMisdirected},
		{"DPOP-4.3-09b Host with http's port", plain, apiOrigin, "GET /r HTTP/1.1", "api.example:80", apiOrigin + "/r", dpop.ErrMisdirected},
		{"DPOP-4.3-09c normalisation of the claim", plain, apiOrigin, "GET /~a/c HTTP/1.1", "api.example", "HTTPS://api.example:443/%7ea/./b/../c", nil},
		{"DPOP-4.3-09c no normalisation of the request", plain, apiOrigin, "GET /%7ea/b/../c HTTP/1.1", "api.example", "HTTPS://api.example:443/~a/./c", dpop.ErrTarget},
		{"URI-04 the proof of /orders at /admin/../orders", plain, apiOrigin, "GET /admin/../orders HTTP/1.1", "api.example", apiOrigin + "/orders", dpop.ErrTarget},
		{"URI-03 the proof of /orders at /%6frders", plain, apiOrigin, "GET /%6frders HTTP/1.1", "api.example", apiOrigin + "/orders", dpop.ErrTarget},
		{"URI-04 absolute-form with dots", plain, apiOrigin, "GET https://api.example/admin/../orders HTTP/1.1", "api.example", apiOrigin + "/orders", dpop.ErrTarget},
		{"HTTP-10 no Host", plain, apiOrigin, "GET /r HTTP/1.0", "", apiOrigin + "/r", dpop.ErrMisdirected},
		{"HTTP-09 the proof says http", plain, apiOrigin, "GET /r HTTP/1.1", "api.example", "http://api.example/r", dpop.ErrTarget},
		{"URI-12 an encoded slash", plain, apiOrigin, "GET /a%2Fb HTTP/1.1", "api.example", apiOrigin + "/a%2fb", nil},
		{"URI-12 an encoded slash is not decoded", plain, apiOrigin, "GET /a%2Fb HTTP/1.1", "api.example", apiOrigin + "/a/b", dpop.ErrTarget},
		{"URI-12 two slashes in front are a path", plain, apiOrigin, "GET //evil.example/r HTTP/1.1", "api.example", apiOrigin + "//evil.example/r", nil},
		{"URI-12 two slashes in front are no host", plain, apiOrigin, "GET //evil.example/r HTTP/1.1", "api.example", "https://evil.example/r", dpop.ErrTarget},
		{"URI-08 a quote on both sides", plain, apiOrigin, "GET /a\"b HTTP/1.1", "api.example", apiOrigin + "/a\"b", nil},
		{"URI-08 raw UTF-8 on both sides", plain, apiOrigin, "GET /\u00e9 HTTP/1.1", "api.example", apiOrigin + "/\u00e9", nil},
		{"URI-08 P4 raw UTF-8 in htu alone", plain, apiOrigin, "GET /caf%C3%A9 HTTP/1.1", "api.example", apiOrigin + "/caf\u00e9", nil},
		{"URI-08 P4 raw UTF-8 in htu, below a prefix", plain, apiOrigin + "/\u00e9/v1", "GET /caf%C3%A9 HTTP/1.1", "api.example", apiOrigin + "/\u00e9/v1/caf\u00e9", nil},
		{"URI-08 a backslash on both sides", plain, apiOrigin, "GET /a\\b HTTP/1.1", "api.example", apiOrigin + "/a\\b", dpop.ErrTarget},
		{"URI-08 a number sign in the request", plain, apiOrigin, "GET /a#b HTTP/1.1", "api.example", apiOrigin + "/a#b", dpop.ErrTarget},
		{"URI-13 absolute-form", plain, apiOrigin, "GET https://api.example/r?q HTTP/1.1", "api.example", apiOrigin + "/r", nil},
		{"URI-13 absolute-form of another host", plain, apiOrigin, "GET https://other.example/r HTTP/1.1", "api.example", apiOrigin + "/r", dpop.ErrMisdirected},
		{"URI-13 absolute-form of another host and its proof", plain, apiOrigin, "GET https://other.example/r HTTP/1.1", "api.example", "https://other.example/r", dpop.ErrMisdirected},
		{"URI-13 absolute-form with another scheme", plain, apiOrigin, "GET http://api.example/r HTTP/1.1", "api.example", apiOrigin + "/r", dpop.ErrMisdirected},
		{"URI-13 absolute-form without a path", plain, apiOrigin, "GET https://api.example HTTP/1.1", "api.example", apiOrigin + "/", nil},
		{"URI-14 a prefix that the proxy strips", plain, apiOrigin + "/v1", "GET /r HTTP/1.1", "api.example", apiOrigin + "/v1/r", nil},
		{"URI-14 without the prefix", plain, apiOrigin + "/v1", "GET /r HTTP/1.1", "api.example", apiOrigin + "/r", dpop.ErrTarget},
		{"URI-14 another prefix", plain, apiOrigin + "/v1", "GET /r HTTP/1.1", "api.example", apiOrigin + "/v2/r", dpop.ErrTarget},
		{"URI-14 the prefix itself, with a slash", plain, apiOrigin + "/v1/", "GET / HTTP/1.1", "api.example", apiOrigin + "/v1/", nil},
		{"URI-14 the prefix itself, without", plain, apiOrigin + "/v1/", "GET / HTTP/1.1", "api.example", apiOrigin + "/v1", nil},
		{"URI-14 dots that lead out of the prefix", plain, apiOrigin + "/v1", "GET /../r HTTP/1.1", "api.example", apiOrigin + "/r", dpop.ErrTarget},
		{"URI-14 dots that lead out of the prefix, spelled alike", plain, apiOrigin + "/v1", "GET /../r HTTP/1.1", "api.example", apiOrigin + "/v1/../r", dpop.ErrTarget},
		{"URI-14 encoded dots that lead out of the prefix, spelled alike", plain, apiOrigin + "/v1", "GET /.%2e/r HTTP/1.1", "api.example", apiOrigin + "/v1/.%2e/r", dpop.ErrTarget},
		{"URI-14 more dots than dot segments have", plain, apiOrigin + "/v1", "GET /a..b/... HTTP/1.1", "api.example", apiOrigin + "/v1/a..b/...", nil},
		{"URI-14 encoded dots that lead out of the prefix", plain, apiOrigin + "/v1", "GET /%2e%2E/r HTTP/1.1", "api.example", apiOrigin + "/r", dpop.ErrTarget},
		{"URI-14 dots that lead to a namesake of the prefix", plain, apiOrigin + "/v1", "GET /../v10/r HTTP/1.1", "api.example", apiOrigin + "/v10/r", dpop.ErrTarget},
		{"URI-14 dots that lead out and back", plain, apiOrigin + "/v1", "GET /../v1/r HTTP/1.1", "api.example", apiOrigin + "/v1/r", dpop.ErrTarget},
		{"URI-14 dots within the prefix", plain, apiOrigin + "/v1", "GET /a/../r HTTP/1.1", "api.example", apiOrigin + "/v1/r", dpop.ErrTarget},
		{"URI-14 dots of the claim within the prefix", plain, apiOrigin + "/v1", "GET /r HTTP/1.1", "api.example", apiOrigin + "/v1/a/../r", nil},
		{"URI-14 dots of the claim out of the prefix and back", plain, apiOrigin + "/v1", "GET /r HTTP/1.1", "api.example", apiOrigin + "/v2/../v1/r", nil},
		{"URI-05 OPTIONS of the root is not the empty path", plain, apiOrigin, "OPTIONS / HTTP/1.1", "api.example", apiOrigin, dpop.ErrTarget},
		{"OPTIONS *", plain, apiOrigin, "OPTIONS * HTTP/1.1", "api.example", apiOrigin, nil},
		{"OPTIONS * is not the root", plain, apiOrigin, "OPTIONS * HTTP/1.1", "api.example", apiOrigin + "/", dpop.ErrTarget},
		{"OPTIONS of the root", plain, apiOrigin, "OPTIONS / HTTP/1.1", "api.example", apiOrigin + "/", nil},
		{"GET *", plain, apiOrigin, "GET * HTTP/1.1", "api.example", apiOrigin, dpop.ErrMisdirected},
		{"CONNECT", plain, apiOrigin, "CONNECT api.example:443 HTTP/1.1", "api.example:443", apiOrigin, dpop.ErrMisdirected},
		{"two origins, the first", []dpop.Option{dpop.WithOrigins("https://two.example")}, apiOrigin, "GET /r HTTP/1.1", "api.example", apiOrigin + "/r", nil},
		{"two origins, the second", []dpop.Option{dpop.WithOrigins("https://two.example")}, apiOrigin, "GET /r HTTP/1.1", "two.example", "https://two.example/r", nil},
		{"two origins, mixed up", []dpop.Option{dpop.WithOrigins("https://two.example")}, apiOrigin, "GET /r HTTP/1.1", "two.example", apiOrigin + "/r", dpop.ErrTarget},
		{"two prefixes of one host", []dpop.Option{dpop.WithOrigins(apiOrigin + "/b")}, apiOrigin + "/a", "GET /r HTTP/1.1", "api.example", apiOrigin + "/b/r", nil},
		{"the proxy's Host", []dpop.Option{dpop.WithInternalHosts("Backend:8080")}, apiOrigin, "GET /r HTTP/1.1", "backend:8080", apiOrigin + "/r", nil},
		{"the proxy's Host in htu", []dpop.Option{dpop.WithInternalHosts("backend:8080")}, apiOrigin, "GET /r HTTP/1.1", "backend:8080", "https://backend:8080/r", dpop.ErrTarget},
		{"another host than the proxy's", []dpop.Option{dpop.WithInternalHosts("backend:8080")}, apiOrigin, "GET /r HTTP/1.1", "backend:8081", apiOrigin + "/r", dpop.ErrMisdirected},
		{"AMB-24 exact: equal", []dpop.Option{dpop.CompareExactly()}, apiOrigin, "GET /%7ea?x HTTP/1.1", "api.example", apiOrigin + "/%7ea?y#z", nil},
		{"AMB-24 exact: dots that lead nowhere", []dpop.Option{dpop.CompareExactly()}, apiOrigin + "/v1", "GET /v1..v2 HTTP/1.1", "api.example", apiOrigin + "/v1/v1..v2", nil},
		{"AMB-24 exact: dots that lead out of the prefix", []dpop.Option{dpop.CompareExactly()}, apiOrigin + "/v1", "GET /%2E./r HTTP/1.1", "api.example", apiOrigin + "/v1/%2E./r", dpop.ErrTarget},
		{"AMB-24 exact: equivalent", []dpop.Option{dpop.CompareExactly()}, apiOrigin, "GET /%7ea HTTP/1.1", "api.example", apiOrigin + "/~a", dpop.ErrTarget},
		{"AMB-24 exact: case of the host", []dpop.Option{dpop.CompareExactly()}, apiOrigin, "GET /a HTTP/1.1", "api.example", "https://API.example/a", dpop.ErrTarget},
	}
	key := dpoptest.NewKey(t)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			v, err := dpop.New(tt.origin, tt.opts...)
			require.NoError(t, err)
			r := arriving(t, key, tt.htu, tt.line, tt.host)
			if tt.want == nil {
				accepts(t, v, r, key.Thumbprint())
				return
			}
			refuses(t, v, r, key.Thumbprint(), tt.want)
		})
	}
}

func TestTheAuthorityIsNotTakenFromOtherFields(t *testing.T) {
	// DPOP-4.3-09b never from X-Forwarded-* or Forwarded.
	v, key := newVerifier(t), dpoptest.NewKey(t)
	r := arriving(t, key, "https://evil.example/r", "GET /r HTTP/1.1", "api.example")
	r.Header.Set("X-Forwarded-Host", "evil.example")
	r.Header.Set("X-Forwarded-Proto", "https")
	r.Header.Set("Forwarded", "host=evil.example;proto=https")
	refuses(t, v, r, key.Thumbprint(), dpop.ErrTarget)
}

func TestAnAuthorityThatIsNone(t *testing.T) {
	// HTTP/2 lets such an :authority through to r.Host.
	v, key := newVerifier(t), dpoptest.NewKey(t)
	for _, host := range []string{
		"api.example#x", "api.example/x", "api.example?x", "api.example\\x", "x@api.example", "api.example:443:443",
		" api.example", "api.example ", "api.example.", "api.example:", "https://api.example", "API.EXAMPLE:", "ap\u0131.example",
	} {
		r := get(key.Proof("GET", ordersURL, token))
		r.Host = host
		if strings.HasSuffix(host, ":") {
			accepts(t, v, r, key.Thumbprint()) // URI-02: an empty port
			continue
		}
		refuses(t, v, r, key.Thumbprint(), dpop.ErrMisdirected)
	}
}

func TestARequestWithoutRequestURI(t *testing.T) {
	v, key := newVerifier(t), dpoptest.NewKey(t)
	request := func(uri string) *http.Request {
		r, err := http.NewRequest("GET", uri, nil)
		require.NoError(t, err)
		return r
	}
	t.Run("is taken by its URL", func(t *testing.T) {
		r := request(apiOrigin + "/a%2Fb?q")
		key.Sign(r, token)
		accepts(t, v, r, key.Thumbprint())
	})
	t.Run("of another host", func(t *testing.T) {
		r := request("https://evil.example/a")
		key.Sign(r, token)
		refuses(t, v, r, key.Thumbprint(), dpop.ErrMisdirected)
	})
	t.Run("that is opaque", func(t *testing.T) {
		r := request(apiOrigin + "/a")
		key.Sign(r, token)
		r.URL.Opaque = "//evil.example/b"
		refuses(t, v, r, key.Thumbprint(), dpop.ErrMisdirected)
	})
	t.Run("without a URL", func(t *testing.T) {
		r := request(apiOrigin + "/a")
		key.Sign(r, token)
		r.URL = nil
		refuses(t, v, r, key.Thumbprint(), dpop.ErrMisdirected)
	})
	t.Run("with a relative path", func(t *testing.T) {
		r := request(apiOrigin + "/a")
		key.Sign(r, token)
		r.URL.Path, r.URL.RawPath = "a", ""
		refuses(t, v, r, key.Thumbprint(), dpop.ErrMisdirected)
	})
}

func TestTheRawPathSurvivesRouting(t *testing.T) {
	// URI-12: behind StripPrefix and a mux that decodes.
	v, key := newVerifier(t), dpoptest.NewKey(t)
	handler := http.StripPrefix("/api", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		require.Equal(t, "/users/a/b", r.URL.Path)
		_, err := v.Verify(r, token, key.Thumbprint())
		require.NoError(t, err)
	}))
	r := httptest.NewRequest("GET", "/api/users/a%2Fb", nil)
	r.Host = "api.example"
	r.Header.Set("DPoP", key.Proof("GET", apiOrigin+"/api/users/a%2Fb", token))
	w := httptest.NewRecorder()
	handler.ServeHTTP(w, r)
	require.Equal(t, http.StatusOK, w.Code)
}

func TestHTTP2(t *testing.T) {
	// HTTP-10: :authority becomes r.Host.
	key := dpoptest.NewKey(t)
	var v *dpop.Verifier
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, err := v.Verify(r, token, key.Thumbprint()); err != nil || r.ProtoMajor != 2 {
			http.Error(w, r.Proto, http.StatusUnauthorized)
		}
	}))
	server.EnableHTTP2 = true
	server.TLS = &tls.Config{MinVersion: tls.VersionTLS12}
	server.StartTLS()
	defer server.Close()
	var err error
	v, err = dpop.New(server.URL)
	require.NoError(t, err)
	for host, want := range map[string]int{"": 200, "evil.example": 401} {
		r, err := http.NewRequest("GET", server.URL+"/a?b", nil)
		require.NoError(t, err)
		key.Sign(r, token)
		r.Host = host
		response, err := server.Client().Do(r)
		require.NoError(t, err)
		_, _ = io.Copy(io.Discard, response.Body)
		response.Body.Close()
		require.Equal(t, want, response.StatusCode, host)
	}
}

func TestARequestOfAnotherTransport(t *testing.T) {
	v, key := newVerifier(t), dpoptest.NewKey(t)
	hash := sha256.Sum256([]byte(token))
	good := func() dpop.Request {
		return dpop.Request{
			Method: "POST", Host: "api.example", Target: "/pets.v1.Pets/Feed?x=1",
			Proofs:    []string{key.Proof("POST", apiOrigin+"/pets.v1.Pets/Feed", token)},
			TokenHash: hash, Thumbprint: key.Thumbprint(),
		}
	}
	for _, tt := range []struct {
		name  string
		fault func(*dpop.Request)
		want  error
	}{
		{"as it is", func(*dpop.Request) {}, nil},
		{"with the token in the place of its hash", func(r *dpop.Request) { r.AccessToken, r.TokenHash = token, [32]byte{} }, nil},
		{"with a URL in the place of host and target", func(r *dpop.Request) { r.URL, r.Host, r.Target = apiOrigin+"/pets.v1.Pets/Feed", "", "" }, nil},
		{"DPOP-4.3-12 the hash of another token", func(r *dpop.Request) { r.TokenHash[0] ^= 1 }, dpop.ErrTokenHash},
		{"DPOP-4.3-08 another method", func(r *dpop.Request) { r.Method = "GET" }, dpop.ErrMethod},
		{"DPOP-4.3-09b another host", func(r *dpop.Request) { r.Host = "evil.example" }, dpop.ErrMisdirected},
		{"DPOP-4.3-09b no host", func(r *dpop.Request) { r.Host = "" }, dpop.ErrMisdirected},
		{"DPOP-4.3-09 another target", func(r *dpop.Request) { r.Target = "/pets.v1.Pets/Sell" }, dpop.ErrTarget},
		{"no target", func(r *dpop.Request) { r.Target = "" }, dpop.ErrMisdirected},
		{"neither target nor host", func(r *dpop.Request) { r.Host, r.Target = "", "" }, dpop.ErrMisdirected},
		{"DPOP-4.3-01 two proofs", func(r *dpop.Request) { r.Proofs = append(r.Proofs, r.Proofs[0]) }, dpop.ErrMultiple},
		{"DPOP-7.1-03 no proof", func(r *dpop.Request) { r.Proofs = nil }, dpop.ErrMissing},
	} {
		t.Run(tt.name, func(t *testing.T) {
			req := good()
			tt.fault(&req)
			_, err := v.VerifyProof(t.Context(), req)
			require.True(t, err == tt.want, "got %v, want %v", err, tt.want)
		})
	}
}

package dpopclient_test

import (
	"cmp"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"errors"
	"io"
	"math/big"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/keybound-go/middleware/dpop/dpopclient"
)

func TestEveryRequestHasItsOwnProof(t *testing.T) {
	t.Run("CLI-01 two sends have two jti and two signatures", func(t *testing.T) {
		tr, n := newTransport(t, ok, withToken())
		get(t, tr, api+"/r")
		get(t, tr, api+"/r")
		a, b := proofIn(t, n.seen[0]), proofIn(t, n.seen[1])
		require.NotEqual(t, a.claim("jti"), b.claim("jti"))
		require.NotEqual(t, a.Raw, b.Raw)
	})
	t.Run("CLI-01 a request sent again by the caller has a new proof", func(t *testing.T) {
		tr, n := newTransport(t, ok, withToken())
		req := request(t, "GET", api+"/r", nil)
		send(t, tr, req)
		send(t, tr, req)
		require.NotEqual(t, proofIn(t, n.seen[0]).claim("jti"), proofIn(t, n.seen[1]).claim("jti"))
	})
	t.Run("CLI-02 jti has 96 random bits or more and does not repeat", func(t *testing.T) {
		form := regexp.MustCompile(`^[A-Za-z0-9_-]{20,}$`)
		seen := make(map[string]bool)
		n := base(func(r *http.Request) {
			jti := jtiOf(t, r)
			if !form.MatchString(jti) {
				t.Fatal(jti)
			}
			seen[jti] = true
		})
		tr, err := dpopclient.New(quickSigner{}, dpopclient.WithOrigins(api), dpopclient.WithBase(n), withToken())
		require.NoError(t, err)
		req := request(t, "GET", api+"/r", nil)
		sends := 100_000
		if raceEnabled {
			sends = 10_000
		}
		for range sends {
			if _, err := tr.RoundTrip(req); err != nil {
				t.Fatal(err)
			}
		}
		require.Len(t, seen, sends)
		var alphabet [256]bool
		for jti := range seen {
			for i := range len(jti) {
				alphabet[jti[i]] = true
			}
		}
		symbols := 0
		for _, used := range alphabet {
			if used {
				symbols++
			}
		}
		require.GreaterOrEqual(t, symbols, 32, "20 of 32 symbols are 100 bits")
	})
}

// base answers 200 and shows each request to look.
func base(look func(*http.Request)) http.RoundTripper {
	return roundTrip(func(r *http.Request) (*http.Response, error) {
		look(r)
		return &http.Response{StatusCode: 200, Body: http.NoBody, Header: http.Header{}, Request: r}, nil
	})
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// quickSigner has a real key and a worthless signature, for tests of 100,000 proofs.
type quickSigner struct{}

func (quickSigner) Public() crypto.PublicKey { return make(ed25519.PublicKey, ed25519.PublicKeySize) }
func (quickSigner) Sign(io.Reader, []byte, crypto.SignerOpts) ([]byte, error) {
	return make([]byte, ed25519.SignatureSize), nil
}

// jtiOf reads the jti alone, for speed.
func jtiOf(t testing.TB, r *http.Request) string {
	_, rest, _ := strings.Cut(r.Header["Dpop"][0], ".")
	payload, _, _ := strings.Cut(rest, ".")
	claims, err := base64.RawURLEncoding.DecodeString(payload)
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ = strings.Cut(string(claims), `"jti":"`)
	jti, _, _ := strings.Cut(rest, `"`)
	return jti
}

func TestClaimsOfTheProof(t *testing.T) {
	tr, n := newTransport(t, ok, withToken(), dpopclient.DangerouslyAllowLoopbackHTTP(),
		dpopclient.WithOrigins("http://127.0.0.1:80", "https://[2001:DB8:0::1]:8443"))
	for _, c := range []struct{ name, method, url, htm, htu string }{
		{"CLI-03 query and fragment are dropped", "GET", api + "/r?a=b&c#f", "GET", api + "/r"},
		{"CLI-03 user information is dropped", "GET", "https://u:p@api.example/r", "GET", api + "/r"},
		{"CLI-03 an empty path is a slash", "GET", api, "GET", api + "/"},
		{"CLI-03 an empty path before a query is a slash", "GET", api + "?q", "GET", api + "/"},
		{"CLI-03 the host is in lower case", "GET", "https://API.Example/R", "GET", api + "/R"},
		{"CLI-03 the default port is dropped", "GET", "https://api.example:443/r", "GET", api + "/r"},
		{"CLI-03 the default port of http is dropped", "GET", "http://127.0.0.1:80/r", "GET", "http://127.0.0.1/r"},
		{"CLI-03 an IPv6 address is in its short form", "GET", "https://[2001:db8::0:1]:8443/r", "GET", "https://[2001:db8::1]:8443/r"},
		{"CLI-03 the path is sent and signed byte for byte", "GET", api + "/a%2Fb/%7Ec//d/./e;f=g/%40", "GET", api + "/a%2Fb/%7Ec//d/./e;f=g/%40"},
		{"CLI-03 what a path may not hold is escaped as net/http does", "GET", api + "/a b\"é\\", "GET", api + "/a%20b%22%C3%A9%5C"},
		{"CLI-03 htm is the method as it is", "patch", api + "/r", "patch", api + "/r"},
		{"CLI-03 a method with odd characters", "M-SEARCH!#$%&'*+.^_`|~", api + "/r", "M-SEARCH!#$%&'*+.^_`|~", api + "/r"},
		{"CLI-03 no method is GET", "", api + "/r", "GET", api + "/r"},
	} {
		t.Run(c.name, func(t *testing.T) {
			req := request(t, "GET", c.url, nil)
			req.Method = c.method
			send(t, tr, req)
			p := proofIn(t, n.last(t))
			require.Equal(t, c.htm, p.claim("htm"))
			require.Equal(t, c.htu, p.claim("htu"))
			require.Equal(t, tokenATH, p.claim("ath"))
			require.InDelta(t, time.Now().Unix(), issuedAt(p).Unix(), 2)
			require.NotContains(t, p.Claims, "nonce")
			require.Len(t, p.Claims, 5)
			require.Equal(t, []string{"DPoP " + token}, fieldsOf(n.last(t).Header, "Authorization"))
		})
	}
	t.Run("CLI-03 jwk holds the public members and nothing else", func(t *testing.T) {
		p := proofIn(t, n.last(t))
		require.Len(t, p.Header, 3)
		require.Len(t, p.JWK, 4)
		for _, private := range []string{"d", "p", "q", "dp", "dq", "qi", "oth", "k"} {
			require.NotContains(t, p.JWK, private)
		}
	})
	t.Run("CLI-03 the Host field, where set, is the authority that the server sees", func(t *testing.T) {
		tr, n := newTransport(t, ok, withToken(), dpopclient.WithOrigins("https://10.0.0.7:8443"))
		req := request(t, "GET", "https://10.0.0.7:8443/r", nil)
		req.Host = "api.example"
		send(t, tr, req)
		require.Equal(t, api+"/r", proofIn(t, n.last(t)).claim("htu"))
	})
}

func TestKeysAndAlgorithms(t *testing.T) {
	_, edKey, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	for _, c := range []struct {
		name    string
		key     crypto.Signer
		with    string
		want    string
		members int
	}{
		{"CLI-03 P-256 signs ES256", ecKey, "", "ES256", 4},
		{"CLI-03 P-384 signs ES384", newECKey(elliptic.P384()), "", "ES384", 4},
		{"CLI-03 P-521 signs ES512", newECKey(elliptic.P521()), "ES512", "ES512", 4},
		{"CLI-03 RSA signs PS256", rsaKey(), "", "PS256", 3},
		{"CLI-03 RSA signs RS256 when told so", rsaKey(), "RS256", "RS256", 3},
		{"CLI-03 Ed25519 signs Ed25519", edKey, "", "Ed25519", 3},
		{"CLI-03 Ed25519 signs EdDSA when told so", edKey, "EdDSA", "EdDSA", 3},
		{"CLI-03 a key behind an interface, as a KMS has it", opaque{ecKey}, "", "ES256", 4},
		{"CLI-03 an RSA key behind an interface", opaque{rsaKey()}, "", "PS256", 3},
	} {
		t.Run(c.name, func(t *testing.T) {
			n := &network{handler: ok}
			opts := []dpopclient.Option{dpopclient.WithOrigins(api), withToken(), dpopclient.WithBase(n)}
			if c.with != "" {
				opts = append(opts, dpopclient.WithAlgorithm(c.with))
			}
			tr, err := dpopclient.New(c.key, opts...)
			require.NoError(t, err)
			// Often, since one ECDSA integer in 256 is a byte shorter than its field.
			for range 20 {
				get(t, tr, api)
			}
			for _, r := range n.seen {
				p := proofIn(t, r)
				require.Equal(t, c.want, p.Header["alg"])
				require.Len(t, p.JWK, c.members)
			}
		})
	}
}

// opaque shows of a key what a key management service shows.
type opaque struct{ crypto.Signer }

func TestThumbprintsOfTheRFCs(t *testing.T) {
	fromHex := func(s string) []byte { return decode(t, s) }
	ec, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), append(append([]byte{4},
		fromHex("l8tFrhx-34tV3hRICRDY9zCkDlpBhF42UQUfWVAWBFs")...), fromHex("9VE4jf_Ok_o64zbTTlcuNJajHmt6v9TDVrU0CdvGRDA")...))
	require.NoError(t, err)
	modulus := "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw"
	for name, c := range map[string]struct {
		key  crypto.PublicKey
		want string
	}{
		"rfc9449-jkt": {ec, "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"},
		"rfc7638-3.1": {&rsa.PublicKey{N: new(big.Int).SetBytes(fromHex(modulus)), E: 65537}, "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"},
		"rfc8037-a3":  {ed25519.PublicKey(fromHex("11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo")), "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"},
	} {
		t.Run(name, func(t *testing.T) {
			tr, err := dpopclient.New(publicOnly{c.key}, dpopclient.WithOrigins(api))
			require.NoError(t, err)
			require.Equal(t, c.want, tr.Thumbprint())
		})
	}
}

// publicOnly is a signer whose device is gone, or returns nonsense.
type publicOnly struct{ key crypto.PublicKey }

var errDevice = errors.New("device gone")

func (p publicOnly) Public() crypto.PublicKey { return p.key }
func (p publicOnly) Sign(io.Reader, []byte, crypto.SignerOpts) ([]byte, error) {
	return nil, errDevice
}

// lying signs with whatever it was told to return.
type lying struct {
	crypto.Signer
	signature []byte
}

func (l lying) Sign(io.Reader, []byte, crypto.SignerOpts) ([]byte, error) { return l.signature, nil }

func TestABrokenSignerSendsNothing(t *testing.T) {
	for name, key := range map[string]crypto.Signer{
		"an error":               publicOnly{&ecKey.PublicKey},
		"nothing":                lying{ecKey, nil},
		"no ASN.1":               lying{ecKey, make([]byte, 64)},
		"integer zero":           lying{ecKey, []byte{0x30, 6, 2, 1, 0, 2, 1, 1}},
		"negative integer":       lying{ecKey, []byte{0x30, 6, 2, 1, 1, 2, 1, 0xff}},
		"bytes after it":         lying{ecKey, []byte{0x30, 6, 2, 1, 1, 2, 1, 1, 0}},
		"an integer too large":   lying{ecKey, append([]byte{0x30, 38, 2, 1, 1, 2, 33, 1}, make([]byte, 32)...)},
		"a short RSA signature":  lying{rsaKey(), make([]byte, 255)},
		"an RSA signature as EC": lying{ecKey, make([]byte, 256)},
	} {
		t.Run(name, func(t *testing.T) {
			n := &network{handler: ok}
			tr, err := dpopclient.New(key, dpopclient.WithOrigins(api), withToken(), dpopclient.WithBase(n))
			require.NoError(t, err)
			body := &closeCounter{}
			req := request(t, "POST", api, body)
			_, err = tr.RoundTrip(req)
			require.ErrorContains(t, err, "dpopclient: signer: ")
			if name == "an error" {
				require.ErrorIs(t, err, errDevice)
			}
			require.Empty(t, n.seen)
			require.Equal(t, 1, body.closed, "the body is closed on errors too")
		})
	}
}

type closeCounter struct{ closed int }

func (c *closeCounter) Read([]byte) (int, error) { return 0, io.EOF }
func (c *closeCounter) Close() error             { c.closed++; return nil }

func TestServerClock(t *testing.T) {
	date := func(ahead time.Duration, more ...string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Date", time.Now().Add(ahead).UTC().Format(http.TimeFormat))
			if len(more) > 0 {
				w.Header().Set(more[0], more[1])
			}
		}
	}
	for _, c := range []struct {
		name    string
		handler http.HandlerFunc
		opts    []dpopclient.Option
		want    time.Duration
	}{
		{"CLI-16 a clock that is slow", date(time.Hour), []dpopclient.Option{dpopclient.FollowServerClock()}, time.Hour},
		{"CLI-16 a clock that is fast", date(-10 * time.Minute), []dpopclient.Option{dpopclient.FollowServerClock()}, -10 * time.Minute},
		{"CLI-16 not without the option", date(time.Hour), nil, 0},
		{"CLI-16 Date is no finer than a second", date(-time.Second), []dpopclient.Option{dpopclient.FollowServerClock()}, 0},
		{"CLI-16 no proof is dated days ahead", date(25 * time.Hour), []dpopclient.Option{dpopclient.FollowServerClock()}, 0},
		{"CLI-16 a stored response is no clock", date(-time.Hour, "Age", "3600"), []dpopclient.Option{dpopclient.FollowServerClock()}, 0},
		{"CLI-16 a broken Date is ignored", date(0, "Date", "yesterday"), []dpopclient.Option{dpopclient.FollowServerClock()}, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				tr, n := newTransport(t, c.handler, append(c.opts, withToken(), dpopclient.WithOrigins("https://other.example"))...)
				get(t, tr, api)
				require.Equal(t, time.Now().Unix(), issuedAt(proofIn(t, n.last(t))).Unix(), "before the first response")
				time.Sleep(time.Minute)
				get(t, tr, api)
				require.Equal(t, time.Now().Add(c.want).Unix(), issuedAt(proofIn(t, n.last(t))).Unix())
				get(t, tr, "https://other.example")
				require.Equal(t, time.Now().Unix(), issuedAt(proofIn(t, n.last(t))).Unix(), "another server has its own clock")
			})
		})
	}
}

// Whatever a caller or a server puts in, a request either goes out with a proof
// that says exactly the same, or not at all.
func FuzzProof(f *testing.F) {
	f.Add("GET", "/r", "nonce", "token")
	f.Add("M\"", "/a\"\\\x00é%2f", "n\"", "t\n")
	f.Add("", "*", "eyJ7S_zG.eyJH0-Z.HX4w-7v", token)
	f.Add("PUT", "no-slash", "a\x7f", "a,b=")
	f.Fuzz(func(t *testing.T, method, path, nonce, accessToken string) {
		n := &network{handler: func(w http.ResponseWriter, r *http.Request) { challenge(w, nonce) }}
		tr, err := dpopclient.New(ecKey, dpopclient.WithOrigins(api), static(accessToken, "dpop"), dpopclient.WithBase(n))
		require.NoError(t, err)
		req := request(t, "GET", api, nil)
		req.Method, req.URL.Path = method, path
		if _, err := tr.RoundTrip(req); err != nil {
			require.Empty(t, n.seen)
			return
		}
		require.LessOrEqual(t, len(n.seen), 2)
		for i, r := range n.seen {
			p := proofIn(t, r)
			require.Equal(t, cmp.Or(method, "GET"), p.claim("htm"))
			require.Equal(t, api+cmp.Or(r.URL.EscapedPath(), "/"), p.claim("htu"))
			require.Equal(t, athOf(accessToken), p.claim("ath"))
			if i == 1 {
				require.Equal(t, nonce, p.claim("nonce"))
			}
		}
	})
}

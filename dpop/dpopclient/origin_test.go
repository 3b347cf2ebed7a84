package dpopclient_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/keybound-go/middleware/dpop/dpopclient"
)

// bare requires that a request on the wire has nothing worth stealing.
func bare(t testing.TB, r *http.Request) {
	t.Helper()
	for _, name := range []string{"Authorization", "DPoP", "Proxy-Authorization"} {
		require.Empty(t, fieldsOf(r.Header, name), "%s to %s", name, r.URL)
	}
}

// redirecting answers /from with a redirect to the target, anything else with 200.
func redirecting(code int, target string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/from" {
			w.Header().Set("Location", target)
			w.WriteHeader(code)
		}
	}
}

// outer is what golang.org/x/oauth2 does: it sets the token on every request that
// it sees, redirects included.
type outer struct{ http.RoundTripper }

func (o outer) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set("Authorization", "DPoP "+token)
	return o.RoundTripper.RoundTrip(r)
}

func TestRedirects(t *testing.T) {
	const other = "https://other.example"
	foreign := []string{
		other + "/to",
		"https://api.example:8443/to",      // net/http keeps Authorization for another port,
		"https://sub.api.example/to",       // for a subdomain,
		"https://api.example.evil.test/to", // but not for this.
		"https://api.example@evil.test/to",
		"//evil.test/to",
		"https://second.example/to", // configured, and still not the one that was asked
	}
	for _, target := range foreign {
		for _, code := range []int{302, 307} {
			for how, setup := range map[string]struct {
				opts []dpopclient.Option
				wrap func(http.RoundTripper) http.RoundTripper
				own  string
			}{
				"token source":               {opts: []dpopclient.Option{withToken()}},
				"the request's own header":   {own: "DPoP " + token},
				"a RoundTripper around ours": {wrap: func(rt http.RoundTripper) http.RoundTripper { return outer{rt} }},
			} {
				t.Run(fmt.Sprintf("CLI-10 %d to %s gets neither, token from %s", code, target, how), func(t *testing.T) {
					tr, n := newTransport(t, redirecting(code, target), append(setup.opts, dpopclient.WithOrigins("https://second.example"))...)
					var rt http.RoundTripper = tr
					if setup.wrap != nil {
						rt = setup.wrap(tr)
					}
					req := request(t, "POST", api+"/from", strings.NewReader("body"))
					req.Header["authorization"] = nil
					if setup.own != "" {
						req.Header.Set("Authorization", setup.own)
					}
					resp, err := (&http.Client{Transport: rt}).Do(req)
					require.NoError(t, err)
					resp.Body.Close()
					require.Len(t, n.seen, 2)
					require.Equal(t, tokenATH, proofIn(t, n.seen[0]).claim("ath"))
					bare(t, n.seen[1])
				})
			}
		}
	}
	t.Run("CLI-10 a redirect within the origin gets a fresh proof for the new URL", func(t *testing.T) {
		tr, n := newTransport(t, redirecting(302, "/to?q"), withToken())
		resp, err := (&http.Client{Transport: tr}).Post(api+"/from", "text/plain", strings.NewReader("body"))
		require.NoError(t, err)
		resp.Body.Close()
		first, second := proofIn(t, n.seen[0]), proofIn(t, n.seen[1])
		require.Equal(t, api+"/to", second.claim("htu"))
		require.Equal(t, "GET", second.claim("htm"))
		require.NotEqual(t, first.claim("jti"), second.claim("jti"))
		require.Equal(t, tokenATH, second.claim("ath"))
		require.Equal(t, []string{"DPoP " + token}, fieldsOf(n.seen[1].Header, "Authorization"))
	})
	t.Run("CLI-10 the request's own token goes along within the origin", func(t *testing.T) {
		tr, n := newTransport(t, redirecting(307, "https://api.example:443/to"))
		req := request(t, "GET", api+"/from", nil)
		req.Header.Set("Authorization", "DPoP "+token)
		resp, err := (&http.Client{Transport: tr}).Do(req)
		require.NoError(t, err)
		resp.Body.Close()
		require.Equal(t, tokenATH, proofIn(t, n.seen[1]).claim("ath"))
	})
	t.Run("CLI-10 another origin cannot aim the client's authority at a configured one", func(t *testing.T) {
		for _, target := range []string{api + "/pay", endpoint} {
			tr, n := newTransport(t, redirecting(307, target), withToken())
			resp, err := (&http.Client{Transport: tr}).Post(other+"/from", "text/plain", strings.NewReader("body"))
			require.NoError(t, err)
			resp.Body.Close()
			require.Len(t, n.seen, 2)
			bare(t, n.seen[0])
			bare(t, n.seen[1])
		}
	})
	t.Run("CLI-10 nor by a detour and back", func(t *testing.T) {
		tr, n := newTransport(t, func(w http.ResponseWriter, r *http.Request) {
			switch r.URL.Host + r.URL.Path {
			case "api.example/from":
				http.Redirect(w, r, other+"/detour", http.StatusTemporaryRedirect)
			case "other.example/detour":
				http.Redirect(w, r, api+"/back", http.StatusTemporaryRedirect)
			case "api.example/back":
				http.Redirect(w, r, api+"/again", http.StatusTemporaryRedirect)
			}
		}, withToken())
		resp, err := (&http.Client{Transport: tr}).Get(api + "/from")
		require.NoError(t, err)
		resp.Body.Close()
		require.Len(t, n.seen, 4)
		for _, r := range n.seen[1:] {
			bare(t, r)
		}
	})
	t.Run("CLI-10 a redirect of unknown descent gets nothing", func(t *testing.T) {
		tr, n := newTransport(t, ok, withToken())
		req := request(t, "GET", api, nil)
		req.Response = &http.Response{StatusCode: 302}
		send(t, tr, req)
		bare(t, n.last(t))
	})
	t.Run("CLI-10 the redirect of a challenged request is judged by what the caller asked", func(t *testing.T) {
		tr, n := newTransport(t, func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Host == "api.example" && proofIn(t, r).claim("nonce") == "" {
				challenge(w, "n")
				return
			}
			redirecting(302, other)(w, r)
		}, withToken())
		resp, err := (&http.Client{Transport: tr}).Get(api + "/from")
		require.NoError(t, err)
		resp.Body.Close()
		require.Len(t, n.seen, 3)
		bare(t, n.seen[2])
	})
	t.Run("CLI-11 a redirect to plain http is not followed", func(t *testing.T) {
		tr, n := newTransport(t, redirecting(302, "http://api.example/to"), withToken())
		_, err := (&http.Client{Transport: tr}).Get(api + "/from")
		require.ErrorIs(t, err, dpopclient.ErrInsecure)
		require.Len(t, n.seen, 1)
	})
	t.Run("CLI-10 the response does not carry token or proof back", func(t *testing.T) {
		tr, _ := newTransport(t, ok, withToken())
		req := request(t, "GET", api, nil)
		resp, err := tr.RoundTrip(req)
		require.NoError(t, err)
		require.Same(t, req, resp.Request)
	})
}

func TestWhoGetsWhat(t *testing.T) {
	const basic = "Basic Y2xpZW50OnNlY3JldA=="
	for _, c := range []struct {
		name   string
		url    string
		own    []string
		source dpopclient.Option
		err    error
		auth   string // on the wire
		ath    string // "-" for no proof at all
	}{
		{"CLI-10 a configured origin gets the source's token", api, nil, withToken(), nil, "DPoP " + token, tokenATH},
		{"CLI-10 the request's own token comes first", api, []string{"DPoP own"}, withToken(), nil, "DPoP own", athOf("own")},
		{"CLI-10 without a source the request's own token", api, []string{"dpop \t own "}, nil, nil, "DPoP own", athOf("own")},
		{"CLI-14 a token is opaque", api, []string{`DPoP {"not":"a|jwt"}..`}, nil, nil, `DPoP {"not":"a|jwt"}..`, athOf(`{"not":"a|jwt"}..`)},
		{"CLI-14 the source's too", api, nil, static("a.b.c.=%", "DPoP"), nil, "DPoP a.b.c.=%", athOf("a.b.c.=%")},
		{"CLI-10 no token, no proof", api, nil, nil, nil, "", "-"},
		{"CLI-10 an origin that is not configured gets nothing", "https://other.example", nil, withToken(), nil, "", "-"},
		{"CLI-10 another port is another origin", "https://api.example:8443", nil, withToken(), nil, "", "-"},
		{"CLI-10 a subdomain is another origin", "https://x.api.example", nil, withToken(), nil, "", "-"},
		{"CLI-10 a trailing dot is another origin", "https://api.example.", nil, withToken(), nil, "", "-"},
		{"CLI-10 a token for an origin that is not configured is refused", "https://other.example", []string{"DPoP " + token}, withToken(), dpopclient.ErrOrigin, "", ""},
		{"CLI-10 in lower case as well", "https://other.example", []string{"dpop\t" + token}, nil, dpopclient.ErrOrigin, "", ""},
		{"CLI-10 a Bearer token is a token", "https://other.example", []string{"Bearer " + token}, nil, dpopclient.ErrOrigin, "", ""},
		{"CLI-10 other schemes are the caller's affair", "https://other.example", []string{basic}, withToken(), nil, basic, "-"},
		{"CLI-10 at a configured origin too", api, []string{basic}, withToken(), nil, basic, "-"},
		{"CLI-10 user information in the URL does not keep the token away", "https://client:secret@api.example", []string{basic}, withToken(), nil, "DPoP " + token, tokenATH},
		{"CLI-09 Bearer is refused where DPoP is configured", api, []string{"bEARER " + token}, withToken(), dpopclient.ErrTokenType, "", ""},
		{"CLI-09 the token type is compared case-insensitively", api, nil, static(token, "dpop"), nil, "DPoP " + token, tokenATH},
		{"CLI-09 in any case", api, nil, static(token, "DPOP"), nil, "DPoP " + token, tokenATH},
		{"CLI-09 a Bearer token from the source is discarded", api, nil, static(token, "Bearer"), dpopclient.ErrTokenType, "", ""},
		{"CLI-09 so is one without a type", api, nil, static(token, ""), dpopclient.ErrTokenType, "", ""},
		{"CLI-09 so is one of a similar type", api, nil, static(token, "DPoP "), dpopclient.ErrTokenType, "", ""},
		{"an empty token is refused", api, nil, static("", "DPoP"), dpopclient.ErrToken, "", ""},
		{"a token with a line break is refused", api, nil, static("a\r\nX: y", "DPoP"), dpopclient.ErrToken, "", ""},
		{"a token with a space is refused", api, nil, static("a b", "DPoP"), dpopclient.ErrToken, "", ""},
		{"a token that is not ASCII is refused", api, nil, static("ä", "DPoP"), dpopclient.ErrToken, "", ""},
		{"an own token with a space is refused", api, []string{"DPoP a b"}, nil, dpopclient.ErrAuthorization, "", ""},
		{"an own scheme without a token is refused", api, []string{"DPoP"}, nil, dpopclient.ErrAuthorization, "", ""},
		{"two Authorization fields are refused", api, []string{"DPoP a", "DPoP a"}, nil, dpopclient.ErrAuthorization, "", ""},
		{"CLI-05 the token endpoint gets no token", endpoint, nil, withToken(), nil, "", ""},
		{"CLI-05 not even the caller's", endpoint, []string{"DPoP " + token}, nil, dpopclient.ErrOrigin, "", ""},
		{"CLI-05 but the client's authentication", endpoint + "?x=y", []string{basic}, withToken(), nil, basic, ""},
		{"CLI-05 another path of the authorization server gets nothing", "https://as.example/token/", nil, withToken(), nil, "", "-"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var opts []dpopclient.Option
			if c.source != nil {
				opts = append(opts, c.source)
			}
			tr, n := newTransport(t, ok, opts...)
			body := &closeCounter{}
			req := request(t, "POST", c.url, body)
			req.Header["authorization"] = c.own // Not the canonical spelling, which net/http sends as well.
			_, err := tr.RoundTrip(req)
			require.Equal(t, 1, body.closed)
			if c.err != nil {
				require.Equal(t, c.err, err)
				require.Empty(t, n.seen)
				return
			}
			require.NoError(t, err)
			require.Equal(t, c.auth, strings.Join(fieldsOf(n.last(t).Header, "Authorization"), "|"))
			if c.ath == "-" {
				require.Empty(t, fieldsOf(n.last(t).Header, "DPoP"))
				return
			}
			require.Equal(t, c.ath, proofIn(t, n.last(t)).claim("ath"))
		})
	}
	t.Run("CLI-10 a Host field does not make a configured origin of another", func(t *testing.T) {
		for at, host := range map[string]string{api: "other.example", "https://other.example": "api.example"} {
			tr, n := newTransport(t, ok, withToken())
			req := request(t, "GET", at, nil)
			req.Host = host
			send(t, tr, req)
			bare(t, n.last(t))
			req.Header.Set("Authorization", "DPoP "+token)
			_, err := tr.RoundTrip(req)
			require.Equal(t, dpopclient.ErrOrigin, err)
		}
	})
	t.Run("CLI-03 the caller's own DPoP fields are replaced, however spelled", func(t *testing.T) {
		tr, n := newTransport(t, ok, withToken())
		req := request(t, "GET", api, nil)
		req.Header["DPoP"], req.Header["dpop"], req.Header["Dpop"] = []string{"a"}, []string{"b"}, []string{"c"}
		send(t, tr, req)
		require.NotEqual(t, "a", proofIn(t, n.last(t)).Raw)
		require.Len(t, req.Header, 3)
	})
	t.Run("CLI-10 and taken away where none belongs", func(t *testing.T) {
		tr, n := newTransport(t, ok, withToken())
		req := request(t, "GET", "https://other.example", nil)
		req.Header["DPoP"] = []string{"a"}
		send(t, tr, req)
		bare(t, n.last(t))
	})
	t.Run("CLI-17 Proxy-Authorization is never sent", func(t *testing.T) {
		for _, u := range []string{api, endpoint, "https://other.example"} {
			tr, n := newTransport(t, ok, withToken())
			req := request(t, "GET", u, nil)
			req.Header["proxy-authorization"] = []string{"DPoP " + token}
			send(t, tr, req)
			require.Empty(t, fieldsOf(n.last(t).Header, "Proxy-Authorization"))
		}
	})
}

func TestHTTPSOnly(t *testing.T) {
	for _, c := range []struct {
		name, url string
		loopback  bool
		err       error
	}{
		{"CLI-11 plain http is refused", "http://api.example", false, dpopclient.ErrInsecure},
		{"CLI-11 to loopback as well", "http://127.0.0.1", false, dpopclient.ErrInsecure},
		{"CLI-11 with the option, loopback is not", "http://127.0.0.1:8080/r", true, nil},
		{"CLI-11 nor localhost", "http://LocalHost:8080/r", true, nil},
		{"CLI-11 nor IPv6", "http://[::1]:8080/r", true, nil},
		{"CLI-11 with the option, others still are", "http://api.example", true, dpopclient.ErrInsecure},
		{"CLI-11 a name that begins like loopback", "http://127.0.0.1.evil.test", true, dpopclient.ErrInsecure},
		{"CLI-11 a private address", "http://10.0.0.1", true, dpopclient.ErrInsecure},
		{"CLI-11 another scheme", "ftp://api.example", false, dpopclient.ErrInsecure},
	} {
		t.Run(c.name, func(t *testing.T) {
			var opts []dpopclient.Option
			if c.loopback {
				opts = append(opts, dpopclient.DangerouslyAllowLoopbackHTTP(), dpopclient.WithOrigins("http://127.0.0.1:8080",
					"http://localhost:8080", "http://[::1]:8080"))
			}
			tr, n := newTransport(t, ok, append(opts, withToken())...)
			_, err := tr.RoundTrip(request(t, "GET", c.url, nil))
			if c.err != nil {
				require.Equal(t, c.err, err)
				require.Empty(t, n.seen)
				return
			}
			require.NoError(t, err)
			require.Equal(t, strings.ToLower(c.url), proofIn(t, n.last(t)).claim("htu"))
		})
	}
}

func TestTargetsThatCannotBeSigned(t *testing.T) {
	for name, change := range map[string]func(*http.Request){
		"no URL":             func(r *http.Request) { r.URL = nil },
		"opaque URL":         func(r *http.Request) { r.URL.Opaque = "//other.example/r" },
		"path without slash": func(r *http.Request) { r.URL.Path = "r" },
		"asterisk":           func(r *http.Request) { r.Method, r.URL.Path = "OPTIONS", "*" },
		"method with quote":  func(r *http.Request) { r.Method = `GET","htu":"x` },
		"method with space":  func(r *http.Request) { r.Method = "GET /x" },
	} {
		t.Run(name, func(t *testing.T) {
			tr, n := newTransport(t, ok, withToken())
			body := &closeCounter{}
			req := request(t, "POST", api, body)
			change(req)
			_, err := tr.RoundTrip(req)
			require.Equal(t, dpopclient.ErrTarget, err)
			require.Empty(t, n.seen)
			require.Equal(t, 1, body.closed)
		})
	}
}

func TestContractOfARoundTripper(t *testing.T) {
	t.Run("CLI-12 the request is not modified", func(t *testing.T) {
		tr, _ := newTransport(t, demanding(t, "n", challenge), withToken())
		req := request(t, "POST", api+"/r?q", strings.NewReader("order"))
		req.Header.Set("X", "y")
		req.Header["dpop"] = []string{"mine"}
		req.Header.Set("Proxy-Authorization", "Basic x")
		before, body := req.Clone(req.Context()), req.Body
		send(t, tr, req)
		require.Equal(t, before.Header, req.Header)
		require.Equal(t, before.URL, req.URL)
		require.Equal(t, before.Host, req.Host)
		require.Equal(t, before.Method, req.Method)
		require.Equal(t, before.ContentLength, req.ContentLength)
		require.True(t, body == req.Body)
	})
	t.Run("CLI-12 a request without a Header", func(t *testing.T) {
		tr, n := newTransport(t, ok, withToken())
		req := request(t, "GET", api, nil)
		req.Header = nil
		send(t, tr, req)
		proofIn(t, n.last(t))
	})
	t.Run("CLI-12 many goroutines, one Transport", func(t *testing.T) {
		tr, n := newTransport(t, nil, withToken(), dpopclient.FollowServerClock())
		n.handler = func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("DPoP-Nonce", "n"+r.URL.Query().Get("i"))
			w.Header().Set("Date", "Sat, 21 Nov 2026 00:00:00 GMT")
			if r.URL.Query().Get("challenge") != "" {
				challenge(w, "c"+r.URL.Query().Get("i"))
			}
		}
		var wg sync.WaitGroup
		shared := request(t, "GET", api+"/?challenge=1", nil)
		for i := range 32 {
			wg.Go(func() {
				for range 4 {
					get(t, tr, fmt.Sprintf("%s/?i=%d", api, i))
					get(t, tr, fmt.Sprintf("%s?i=%d", endpoint, i))
					send(t, tr, shared)
				}
			})
		}
		wg.Wait()
		seen := make(map[string]bool)
		for _, r := range n.seen {
			seen[proofIn(t, r).claim("jti")] = true
		}
		require.Len(t, seen, len(n.seen), "every proof is one of a kind")
	})
	t.Run("a cancelled request is neither signed nor sent", func(t *testing.T) {
		n := &network{handler: ok}
		tr, err := dpopclient.New(publicOnly{&ecKey.PublicKey}, dpopclient.WithOrigins(api), withToken(), dpopclient.WithBase(n))
		require.NoError(t, err)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_, err = tr.RoundTrip(request(t, "GET", api, nil).WithContext(ctx))
		require.ErrorIs(t, err, context.Canceled, "the signer, which only fails, was not asked")
		require.Empty(t, n.seen)
	})
	t.Run("a request cancelled during the challenge is not retried", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		tr, n := newTransport(t, func(w http.ResponseWriter, r *http.Request) {
			cancel()
			challenge(w, "n")
		}, withToken())
		_, err := tr.RoundTrip(request(t, "GET", api, nil).WithContext(ctx))
		require.ErrorIs(t, err, context.Canceled)
		require.Len(t, n.seen, 1)
	})
	t.Run("the token source gets the request's context, and its error comes back", func(t *testing.T) {
		type key struct{}
		refused := errors.New("refused")
		tr, n := newTransport(t, ok, dpopclient.WithTokenSource(dpopclient.TokenSourceFunc(
			func(ctx context.Context) (string, string, error) {
				require.Equal(t, "v", ctx.Value(key{}))
				return token, "DPoP", refused
			})))
		_, err := tr.RoundTrip(request(t, "GET", api, nil).WithContext(context.WithValue(t.Context(), key{}, "v")))
		require.ErrorIs(t, err, refused)
		require.Empty(t, n.seen)
	})
	t.Run("the token source is asked once for a request and its retry", func(t *testing.T) {
		asked := 0
		tr, _ := newTransport(t, demanding(t, "n", challenge), dpopclient.WithTokenSource(dpopclient.TokenSourceFunc(
			func(context.Context) (string, string, error) { asked++; return token, "DPoP", nil })))
		require.Equal(t, 200, get(t, tr, api))
		require.Equal(t, 1, asked)
	})
	t.Run("the base's error comes back as it is", func(t *testing.T) {
		tr, err := dpopclient.New(ecKey, dpopclient.WithOrigins(api), dpopclient.WithBase(
			roundTrip(func(*http.Request) (*http.Response, error) { return nil, io.ErrUnexpectedEOF })))
		require.NoError(t, err)
		_, err = tr.RoundTrip(request(t, "GET", api, nil))
		require.Equal(t, io.ErrUnexpectedEOF, err)
	})
	t.Run("idle connections of the base can be closed", func(t *testing.T) {
		idle := &closer{}
		tr, err := dpopclient.New(ecKey, dpopclient.WithOrigins(api), dpopclient.WithBase(idle))
		require.NoError(t, err)
		(&http.Client{Transport: tr}).CloseIdleConnections()
		require.True(t, idle.closed)
	})
	t.Run("the zero Transport refuses", func(t *testing.T) {
		var tr dpopclient.Transport
		body := &closeCounter{}
		_, err := tr.RoundTrip(request(t, "POST", api, body))
		require.Equal(t, dpopclient.ErrUnready, err)
		require.Equal(t, 1, body.closed)
		require.Empty(t, tr.Thumbprint())
		tr.CloseIdleConnections()
	})
}

type closer struct {
	http.RoundTripper
	closed bool
}

func (c *closer) CloseIdleConnections() { c.closed = true }

package dpopclient_test

import (
	"crypto"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"testing/iotest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/keybound-go/middleware/dpop/dpopclient"
)

// demanding challenges every proof whose nonce is not the wanted one.
func demanding(t testing.TB, nonce string, challenge func(http.ResponseWriter, string)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if proofIn(t, r).claim("nonce") != nonce {
			challenge(w, nonce)
			return
		}
		_, _ = io.WriteString(w, "welcome")
	}
}

func TestNonceChallengeOfAResourceServer(t *testing.T) {
	t.Run("CLI-04 CLI-01 one retry, with the nonce and a new proof", func(t *testing.T) {
		tr, n := newTransport(t, demanding(t, "eyJ7S_zG.eyJH0-Z.HX4w-7v", challenge), withToken())
		status, body := send(t, tr, request(t, "GET", api+"/r?q", nil))
		require.Equal(t, 200, status)
		require.Equal(t, "welcome", body)
		require.Len(t, n.seen, 2)
		first, second := proofIn(t, n.seen[0]), proofIn(t, n.seen[1])
		require.NotContains(t, first.Claims, "nonce")
		require.Equal(t, "eyJ7S_zG.eyJH0-Z.HX4w-7v", second.claim("nonce"))
		require.NotEqual(t, first.claim("jti"), second.claim("jti"))
		require.Equal(t, tokenATH, second.claim("ath"))
		require.Equal(t, n.seen[0].URL, n.seen[1].URL)
		require.Equal(t, []string{"DPoP " + token}, fieldsOf(n.seen[1].Header, "Authorization"))
	})
	t.Run("CLI-04 exactly one retry, then the challenge is the caller's", func(t *testing.T) {
		count := 0
		tr, n := newTransport(t, func(w http.ResponseWriter, r *http.Request) {
			count++
			challenge(w, fmt.Sprint("n", count))
		}, withToken())
		status, body := send(t, tr, request(t, "GET", api, nil))
		require.Equal(t, 401, status)
		require.Equal(t, "nonce, please", body)
		require.Len(t, n.seen, 2)
	})
	t.Run("CLI-04 the same nonce again is not worth a retry", func(t *testing.T) {
		tr, n := newTransport(t, func(w http.ResponseWriter, r *http.Request) { challenge(w, "same") }, withToken())
		get(t, tr, api)
		require.Len(t, n.seen, 2)
		get(t, tr, api)
		require.Len(t, n.seen, 3, "the proof had the nonce already")
	})
	for _, mediaType := range []string{"application/grpc", "application/grpc-web+proto", "application/connect+json"} {
		t.Run("CLI-04 refusals with the status 200: "+mediaType, func(t *testing.T) {
			tr, n := newTransport(t, demanding(t, "n", func(w http.ResponseWriter, nonce string) {
				w.Header().Set("Content-Type", mediaType)
				w.Header().Set("WWW-Authenticate", `DPoP error="use_dpop_nonce"`)
				w.Header().Set("DPoP-Nonce", nonce)
			}), withToken())
			status, body := send(t, tr, request(t, "POST", api, strings.NewReader("message")))
			require.Equal(t, 200, status)
			require.Equal(t, "welcome", body)
			require.Len(t, n.seen, 2)
		})
	}
	for _, c := range []struct {
		name   string
		answer http.HandlerFunc
	}{
		{"CLI-04 the status 200 of HTTP is no challenge", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			w.Header().Set("WWW-Authenticate", `DPoP error="use_dpop_nonce"`)
			w.Header().Set("DPoP-Nonce", "n")
		}},
		{"CLI-04 another status is no challenge", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("WWW-Authenticate", `DPoP error="use_dpop_nonce"`)
			w.Header().Set("DPoP-Nonce", "n")
			w.WriteHeader(400)
		}},
		{"CLI-04 a token endpoint's answer is no challenge here", func(w http.ResponseWriter, r *http.Request) { tokenChallenge(w, "n") }},
		{"CLI-04 another error is no challenge", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("WWW-Authenticate", `DPoP error="invalid_token"`)
			w.Header().Set("DPoP-Nonce", "n")
			w.WriteHeader(401)
		}},
		{"CLI-04 CLI-13 an error under Bearer is no challenge", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("WWW-Authenticate", `DPoP algs="ES256", Bearer error="use_dpop_nonce"`)
			w.Header().Set("DPoP-Nonce", "n")
			w.WriteHeader(401)
		}},
		{"CLI-04 without a nonce there is nothing to try", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("WWW-Authenticate", `DPoP error="use_dpop_nonce"`)
			w.WriteHeader(401)
		}},
		{"CLI-17 a proxy's challenge is not answered", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Proxy-Authenticate", `DPoP error="use_dpop_nonce"`)
			w.Header().Set("DPoP-Nonce", "n")
			w.WriteHeader(407)
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			tr, n := newTransport(t, c.answer, withToken())
			get(t, tr, api)
			require.Len(t, n.seen, 1)
		})
	}
}

func TestBodyOfTheRetry(t *testing.T) {
	t.Run("CLI-04 the body is sent again through GetBody", func(t *testing.T) {
		tr, n := newTransport(t, demanding(t, "n", challenge), withToken())
		status, _ := send(t, tr, request(t, "POST", api, strings.NewReader("order")))
		require.Equal(t, 200, status)
		require.Equal(t, []string{"order", "order"}, n.bodies)
	})
	t.Run("CLI-04 without GetBody there is no retry, and the nonce is kept", func(t *testing.T) {
		tr, n := newTransport(t, demanding(t, "n", challenge), withToken())
		req := request(t, "POST", api, strings.NewReader("order"))
		req.GetBody = nil
		status, body := send(t, tr, req)
		require.Equal(t, 401, status)
		require.Equal(t, "nonce, please", body)
		require.Len(t, n.seen, 1)
		status, _ = send(t, tr, request(t, "GET", api, nil))
		require.Equal(t, 200, status)
		require.Len(t, n.seen, 2)
	})
	t.Run("CLI-04 no body needs no GetBody", func(t *testing.T) {
		tr, n := newTransport(t, demanding(t, "n", challenge), withToken())
		req := request(t, "DELETE", api, nil)
		req.Body = http.NoBody
		status, _ := send(t, tr, req)
		require.Equal(t, 200, status)
		require.Len(t, n.seen, 2)
	})
	t.Run("CLI-04 a GetBody that fails is an error", func(t *testing.T) {
		tr, n := newTransport(t, demanding(t, "n", challenge), withToken())
		req := request(t, "POST", api, strings.NewReader("order"))
		gone := errors.New("file gone")
		req.GetBody = func() (io.ReadCloser, error) { return nil, gone }
		_, err := tr.RoundTrip(req)
		require.ErrorIs(t, err, gone)
		require.Len(t, n.seen, 1)
	})
	t.Run("CLI-04 every body is closed, the retry's too if it cannot be signed", func(t *testing.T) {
		device := &failing{Signer: ecKey, good: 1}
		n := &network{handler: func(w http.ResponseWriter, r *http.Request) { challenge(w, "n") }}
		tr, err := dpopclient.New(device, dpopclient.WithOrigins(api), withToken(), dpopclient.WithBase(n))
		require.NoError(t, err)
		first, second := &closeCounter{}, &closeCounter{}
		req := request(t, "POST", api, first)
		req.GetBody = func() (io.ReadCloser, error) { return second, nil }
		_, err = tr.RoundTrip(req)
		require.ErrorIs(t, err, errDevice)
		require.Equal(t, 1, first.closed)
		require.Equal(t, 1, second.closed)
	})
}

// The base may still read the first body after it has returned the response.
func TestTheRetryWaitsForTheFirstBody(t *testing.T) {
	n := 0
	var first atomic.Bool // closed
	tr, err := dpopclient.New(ecKey, dpopclient.WithOrigins(api), withToken(), dpopclient.WithBase(roundTrip(func(r *http.Request) (*http.Response, error) {
		w := httptest.NewRecorder()
		if n++; n == 1 {
			challenge(w, "n")
			go func() {
				time.Sleep(50 * time.Millisecond)
				r.Body.Close()
				r.Body.Close()
				n, err := r.Body.Read(make([]byte, 1))
				require.Zero(t, n, "read after the end")
				require.Error(t, err)
			}()
		} else {
			require.True(t, first.Load())
			r.Body.Close()
		}
		return w.Result(), nil
	})))
	require.NoError(t, err)
	req := request(t, "POST", api, closing{strings.NewReader("order"), &first})
	req.GetBody = func() (io.ReadCloser, error) {
		require.True(t, first.Load(), "CLI-04 GetBody while the first body is in use")
		return io.NopCloser(strings.NewReader("order")), nil
	}
	status, _ := send(t, tr, req)
	require.Equal(t, 200, status)
}

type closing struct {
	io.Reader
	closed *atomic.Bool
}

func (c closing) Close() error { c.closed.Store(true); return nil }

func TestOverTheWire(t *testing.T) {
	srv := httptest.NewTLSServer(demanding(t, "n", challenge))
	t.Cleanup(srv.Close)
	t.Run("CLI-04 the refused response is drained and closed before the retry", func(t *testing.T) {
		refused := &watchedBody{}
		watched := roundTrip(func(r *http.Request) (*http.Response, error) {
			if refused.ReadCloser != nil {
				require.True(t, refused.drained, "or its connection is lost")
				require.True(t, refused.closed)
			}
			resp, err := srv.Client().Transport.RoundTrip(r)
			if err == nil && resp.StatusCode == 401 {
				refused.ReadCloser = resp.Body
				resp.Body = refused
			}
			return resp, err
		})
		tr, err := dpopclient.New(ecKey, dpopclient.WithOrigins(srv.URL), withToken(), dpopclient.WithBase(watched))
		require.NoError(t, err)
		resp, err := (&http.Client{Transport: tr}).Post(srv.URL, "text/plain", strings.NewReader("order"))
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
		require.Equal(t, 200, resp.StatusCode)
		require.NotNil(t, refused.ReadCloser)
	})
	t.Run("CLI-04 an endless refusal is not read to its end", func(t *testing.T) {
		endless := &countingBody{}
		tr, err := dpopclient.New(ecKey, dpopclient.WithOrigins(api), withToken(), dpopclient.WithBase(
			roundTrip(func(r *http.Request) (*http.Response, error) {
				w := httptest.NewRecorder()
				challenge(w, "n")
				resp := w.Result()
				resp.Body = endless
				return resp, nil
			})))
		require.NoError(t, err)
		_, err = tr.RoundTrip(request(t, "GET", api, nil))
		require.NoError(t, err)
		require.Less(t, endless.read, 1<<20)
		require.Equal(t, 1, endless.closed, "the second one is the caller's")
	})
}

type watchedBody struct {
	io.ReadCloser
	drained, closed bool
}

func (w *watchedBody) Read(b []byte) (int, error) {
	n, err := w.ReadCloser.Read(b)
	w.drained = w.drained || err == io.EOF
	return n, err
}

func (w *watchedBody) Close() error { w.closed = true; return w.ReadCloser.Close() }

type countingBody struct{ read, closed int }

func (c *countingBody) Read(b []byte) (int, error) { c.read += len(b); return len(b), nil }
func (c *countingBody) Close() error               { c.closed++; return nil }

// failing is a device that makes some good signatures first.
type failing struct {
	crypto.Signer
	good int
}

func (f *failing) Sign(rand io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	if f.good--; f.good < 0 {
		return nil, errDevice
	}
	return f.Signer.Sign(rand, digest, opts)
}

func TestNonceChallengeOfATokenEndpoint(t *testing.T) {
	form := url.Values{"grant_type": {"client_credentials"}}.Encode()
	post := func(t *testing.T) *http.Request {
		req := request(t, "POST", endpoint, strings.NewReader(form))
		req.SetBasicAuth("client", "secret")
		return req
	}
	t.Run("CLI-05 400 and JSON lead to one retry with the nonce", func(t *testing.T) {
		tr, n := newTransport(t, demanding(t, "as-nonce", tokenChallenge), withToken())
		status, _ := send(t, tr, post(t))
		require.Equal(t, 200, status)
		require.Equal(t, []string{form, form}, n.bodies)
		for _, r := range n.seen {
			p := proofIn(t, r)
			require.NotContains(t, p.Claims, "ath", "there is no token yet")
			require.Equal(t, endpoint, p.claim("htu"))
			user, _, _ := r.BasicAuth()
			require.Equal(t, "client", user, "client authentication stays")
		}
		require.Equal(t, "as-nonce", proofIn(t, n.last(t)).claim("nonce"))
	})
	t.Run("CLI-05 exactly one retry, and the caller can read the second answer", func(t *testing.T) {
		count := 0
		tr, n := newTransport(t, func(w http.ResponseWriter, r *http.Request) {
			count++
			tokenChallenge(w, fmt.Sprint("n", count))
		})
		status, body := send(t, tr, post(t))
		require.Equal(t, 400, status)
		require.Contains(t, body, "use_dpop_nonce")
		require.Len(t, n.seen, 2)
	})
	long := `{"error":"invalid_grant","pad":"` + strings.Repeat("x", 200_000) + `"}`
	for _, c := range []struct {
		name string
		code int
		body string
	}{
		{"CLI-05 another error reaches the caller whole", 400, `{"error":"invalid_grant"}`},
		{"CLI-05 a long answer reaches the caller whole", 400, long},
		{"CLI-05 what is not JSON reaches the caller whole", 400, "use_dpop_nonce"},
		{"CLI-05 an error that is not a string", 400, `{"error":["use_dpop_nonce"]}`},
		{"CLI-05 another status is no challenge", 500, `{"error":"use_dpop_nonce"}`},
		{"CLI-05 an empty answer", 400, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			tr, n := newTransport(t, func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("DPoP-Nonce", "n")
				w.WriteHeader(c.code)
				_, _ = io.WriteString(w, c.body)
			})
			status, body := send(t, tr, post(t))
			require.Equal(t, c.code, status)
			require.True(t, body == c.body)
			require.Len(t, n.seen, 1)
		})
	}
	t.Run("CLI-05 a resource server's 401 is no challenge here", func(t *testing.T) {
		tr, n := newTransport(t, func(w http.ResponseWriter, r *http.Request) { challenge(w, "n") })
		status, _ := send(t, tr, post(t))
		require.Equal(t, 401, status)
		require.Len(t, n.seen, 1)
	})
	t.Run("CLI-05 an answer that breaks off still gives what there was, and the error", func(t *testing.T) {
		cut := errors.New("connection reset")
		tr, err := dpopclient.New(ecKey, dpopclient.WithTokenEndpoint(endpoint), dpopclient.WithBase(
			roundTrip(func(r *http.Request) (*http.Response, error) {
				return &http.Response{StatusCode: 400, Header: http.Header{"Dpop-Nonce": {"n"}},
					Body: io.NopCloser(io.MultiReader(strings.NewReader("half"), iotest.ErrReader(cut)))}, nil
			})))
		require.NoError(t, err)
		resp, err := tr.RoundTrip(post(t))
		require.NoError(t, err)
		body, err := io.ReadAll(resp.Body)
		require.Equal(t, "half", string(body))
		require.ErrorIs(t, err, cut)
	})
	t.Run("CLI-15 a refresh uses the same key", func(t *testing.T) {
		tr, n := newTransport(t, ok)
		send(t, tr, post(t))
		send(t, tr, request(t, "POST", endpoint, strings.NewReader("grant_type=refresh_token&refresh_token=r")))
		require.Equal(t, proofIn(t, n.seen[0]).JWK, proofIn(t, n.seen[1]).JWK)
	})
}

func TestNewestNonce(t *testing.T) {
	t.Run("CLI-06 the newest nonce of any response is next", func(t *testing.T) {
		type step struct {
			code  int
			nonce string
		}
		steps := []step{{200, "a"}, {401, "b"}, {500, "c"}, {204, ""}, {403, "d"}, {200, "d"}, {304, "e"}, {200, ""}}
		i := 0
		tr, n := newTransport(t, func(w http.ResponseWriter, r *http.Request) {
			if steps[i].nonce != "" {
				w.Header().Set("DPoP-Nonce", steps[i].nonce)
			}
			w.WriteHeader(steps[i].code)
		}, withToken())
		want := ""
		for i = range steps {
			get(t, tr, api)
			require.Equal(t, want, proofIn(t, n.last(t)).claim("nonce"), "step %d", i)
			if steps[i].nonce != "" {
				want = steps[i].nonce
			}
		}
	})
	t.Run("CLI-06 the answer to a retry counts too", func(t *testing.T) {
		tr, n := newTransport(t, func(w http.ResponseWriter, r *http.Request) {
			if proofIn(t, r).claim("nonce") == "" {
				challenge(w, "first")
				return
			}
			w.Header().Set("DPoP-Nonce", "second")
		}, withToken())
		get(t, tr, api)
		get(t, tr, api)
		require.Equal(t, "second", proofIn(t, n.last(t)).claim("nonce"))
	})
	t.Run("CLI-04 CLI-05 a request without a proof is not retried", func(t *testing.T) {
		for _, demand := range []func(http.ResponseWriter, string){challenge, tokenChallenge} {
			tr, n := newTransport(t, func(w http.ResponseWriter, r *http.Request) { demand(w, "n") })
			get(t, tr, api)
			require.Len(t, n.seen, 1)
		}
	})
	t.Run("CLI-06 a request without a token learns as well", func(t *testing.T) {
		tr, n := newTransport(t, func(w http.ResponseWriter, r *http.Request) { w.Header().Set("DPoP-Nonce", "n") })
		get(t, tr, api)
		require.Empty(t, fieldsOf(n.last(t).Header, "DPoP"))
		req := request(t, "GET", api, nil)
		req.Header.Set("Authorization", "DPoP "+token)
		send(t, tr, req)
		require.Equal(t, "n", proofIn(t, n.last(t)).claim("nonce"))
	})
}

func TestNoncesAreKeptApart(t *testing.T) {
	// Every origin and role hands out its own nonce.
	tr, n := newTransport(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("DPoP-Nonce", r.URL.Host+strings.TrimSuffix(r.URL.Path, "2"))
	}, withToken(), dpopclient.WithOrigins("https://api.example:8443", "https://as.example"),
		dpopclient.WithTokenEndpoint("https://as.example/token2"))
	urls := []string{api, "https://api.example:8443", "https://as.example/", endpoint}
	for range 2 {
		for _, u := range urls {
			get(t, tr, u)
		}
	}
	for i, r := range n.seen {
		got := proofIn(t, r).claim("nonce")
		if i < len(urls) {
			require.Empty(t, got, "CLI-07 no other server's nonce reaches %s", r.URL)
			continue
		}
		require.Equal(t, r.URL.Host+r.URL.Path, got, "CLI-07")
	}
	t.Run("CLI-07 a resource server on the token endpoint's origin has its own", func(t *testing.T) {
		require.Equal(t, "as.example/", proofIn(t, n.seen[6]).claim("nonce"))
		require.Equal(t, "as.example/token", proofIn(t, n.seen[7]).claim("nonce"))
	})
	t.Run("CLI-07 two endpoints of one authorization server share theirs", func(t *testing.T) {
		get(t, tr, "https://as.example/token2")
		require.Equal(t, "as.example/token", proofIn(t, n.last(t)).claim("nonce"))
	})
	t.Run("CLI-07 the port is part of the origin, its default spelling is not", func(t *testing.T) {
		get(t, tr, "https://API.example:443/")
		require.Equal(t, "api.example", proofIn(t, n.last(t)).claim("nonce"))
	})
}

func TestUnusableNoncesAreIgnored(t *testing.T) {
	for _, c := range []struct {
		name   string
		values []string
	}{
		{"CLI-08 two fields", []string{"a", "b"}},
		{"CLI-08 two equal fields", []string{"a", "a"}},
		{"CLI-08 two fields that a proxy joined", []string{"a, b"}},
		{"CLI-08 empty", []string{""}},
		{"CLI-08 a space", []string{"a b"}},
		{"CLI-08 a quote", []string{`a"b`}},
		{"CLI-08 a backslash", []string{`a\b`}},
		{"CLI-08 a control character", []string{"a\x7f"}},
		{"CLI-08 not ASCII", []string{"ä"}},
		{"CLI-08 not UTF-8", []string{"a\xff"}},
		{"CLI-08 longer than any server needs", []string{strings.Repeat("n", dpopclient.MaxNonce+1)}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var values []string
			tr, n := newTransport(t, func(w http.ResponseWriter, r *http.Request) {
				w.Header()["Dpop-Nonce"] = values
				w.Header().Set("WWW-Authenticate", `DPoP error="use_dpop_nonce"`)
				w.WriteHeader(401)
			}, withToken())
			values = []string{"good"}
			get(t, tr, api)
			require.Len(t, n.seen, 2)
			values = c.values
			get(t, tr, api)
			require.Len(t, n.seen, 3, "no retry with such a nonce")
			get(t, tr, api)
			require.Equal(t, "good", proofIn(t, n.last(t)).claim("nonce"))
		})
	}
	t.Run("CLI-08 all of NQCHAR is good", func(t *testing.T) {
		var all []byte
		for c := byte(0x21); c <= 0x7e; c++ {
			if c != '"' && c != '\\' {
				all = append(all, c)
			}
		}
		tr, n := newTransport(t, demanding(t, string(all), challenge), withToken())
		require.Equal(t, 200, get(t, tr, api))
		require.Len(t, n.seen, 2)
	})
}

package remote_test

import (
	"bytes"
	"compress/gzip"
	"crypto/tls"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/keybound-go/middleware/internal/remote"
)

// visit makes a Resource for a real server and fetches once.
func visit(t *testing.T, url string, client *http.Client) (string, error) {
	t.Helper()
	r, err := remote.New(remote.Config[string]{
		Locate: remote.At(url), Decode: text, Client: client, AllowLoopbackHTTP: true,
	})
	require.NoError(t, err)
	defer r.Close()
	s, err := r.Get(t.Context())
	if err != nil {
		return "", err
	}
	return s.Value, nil
}

// trusting is the default client with srv's root.
func trusting(srv *httptest.Server) *http.Client {
	return remote.NewClient(remote.ClientConfig{TLS: srv.Client().Transport.(*http.Transport).TLSClientConfig})
}

func TestRedirects(t *testing.T) {
	goal := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "goal") })
	plain := httptest.NewServer(goal)
	defer plain.Close()
	other := httptest.NewTLSServer(goal)
	defer other.Close()
	mux := http.NewServeMux()
	mux.Handle("/goal", goal)
	mux.Handle("/here", http.RedirectHandler("/goal", http.StatusFound))
	mux.Handle("/plain", http.RedirectHandler(plain.URL, http.StatusFound))
	mux.Handle("/other", http.RedirectHandler(other.URL, http.StatusFound))
	mux.Handle("/twice", http.RedirectHandler("/other", http.StatusTemporaryRedirect))
	var rounds atomic.Int32
	mux.HandleFunc("/loop", func(w http.ResponseWriter, r *http.Request) {
		rounds.Add(1)
		http.Redirect(w, r, "/loop", http.StatusFound)
	})
	srv := httptest.NewTLSServer(mux)
	defer srv.Close()

	for _, tt := range []struct{ name, path, err string }{
		{"within the origin it is followed", "/here", ""},
		{"DISC-09 302 to http is an error", "/plain", "another origin"},
		{"DISC-09 302 to another origin is an error", "/other", "another origin"},
		{"DISC-09 the second hop is checked too", "/twice", "another origin"},
		{"DISC-09 not for ever", "/loop", "more than 3"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for _, client := range []*http.Client{trusting(srv), srv.Client()} { // ours, and one that is given
				body, err := visit(t, srv.URL+tt.path, client)
				if tt.err == "" {
					require.NoError(t, err)
					require.Equal(t, "goal", body)
					continue
				}
				require.ErrorContains(t, err, tt.err)
			}
		})
	}
	require.EqualValues(t, 2*4, rounds.Load(), "one request and three redirects for each client")
	t.Run("DISC-09 a POST is never repeated", func(t *testing.T) {
		_, err := trusting(srv).Post(srv.URL+"/here", "text/plain", strings.NewReader("secret"))
		require.ErrorContains(t, err, "a POST is not repeated")
	})
	t.Run("a stricter rule of the given client holds too", func(t *testing.T) {
		client := trusting(srv)
		client.CheckRedirect = func(*http.Request, []*http.Request) error { return errors.New("mine") }
		_, err := visit(t, srv.URL+"/here", client)
		require.ErrorContains(t, err, "mine")
	})
	t.Run("the given client is not changed", func(t *testing.T) {
		client := &http.Client{}
		remote.Harden(client)
		require.Nil(t, client.CheckRedirect)
	})
}

func TestAnOriginIsSchemeHostAndPort(t *testing.T) {
	for name, tt := range map[string]struct {
		from, to string
		followed bool
	}{
		"DISC-09 http on the same host and port":            {"https://issuer.example:8443/doc", "http://issuer.example:8443/doc", false},
		"DISC-09 http on the same host, either port unsaid": {"https://issuer.example/doc", "http://issuer.example/doc", false},
		"DISC-09 http on the port of https":                 {"https://issuer.example/doc", "http://issuer.example:443/doc", false},
		"DISC-09 another port":                              {"https://issuer.example/doc", "https://issuer.example:8443/doc", false},
		"DISC-09 a host under it":                           {"https://issuer.example/doc", "https://x.issuer.example/doc", false},
		"the port that is meant anyway":                     {"https://issuer.example/doc", "https://issuer.example:443/goal", true},
		"the host in capitals":                              {"https://issuer.example/doc", "https://ISSUER.example/goal", true},
	} {
		t.Run(name, func(t *testing.T) {
			r, s := start(t, func(c *remote.Config[string]) { c.Locate = remote.At(tt.from) })
			s.set(func(r *http.Request) (*http.Response, error) {
				if r.URL.String() == tt.from {
					return status(http.StatusFound, "", "Location", tt.to)(r)
				}
				return says("goal")(r)
			})
			if tt.followed {
				require.Equal(t, "goal", get(t, r))
				return
			}
			require.ErrorContains(t, r.Prefetch(t.Context()), "another origin")
			require.Equal(t, 1, s.count())
		})
	}
}

func TestTLS(t *testing.T) {
	goal := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "goal") })
	serve := func(t *testing.T, version uint16) *httptest.Server {
		srv := httptest.NewUnstartedServer(goal)
		srv.Config.ErrorLog = quiet
		srv.TLS = &tls.Config{MinVersion: tls.VersionTLS10, MaxVersion: version}
		srv.StartTLS()
		t.Cleanup(srv.Close)
		return srv
	}
	t.Run("FAPI-5.2 TLS 1.2 is spoken", func(t *testing.T) {
		srv := serve(t, tls.VersionTLS12)
		_, err := visit(t, srv.URL, trusting(srv))
		require.NoError(t, err)
	})
	t.Run("FAPI-5.2 TLS 1.1 is not, even if the given configuration would", func(t *testing.T) {
		srv := serve(t, tls.VersionTLS11)
		config := srv.Client().Transport.(*http.Transport).TLSClientConfig.Clone()
		config.MinVersion = tls.VersionTLS10
		_, err := visit(t, srv.URL, remote.NewClient(remote.ClientConfig{TLS: config}))
		require.ErrorContains(t, err, "protocol version")
		require.EqualValues(t, tls.VersionTLS10, config.MinVersion, "the given configuration is not changed")
	})
	t.Run("DISC-05 an untrusted certificate is an error", func(t *testing.T) {
		srv := serve(t, tls.VersionTLS13)
		_, err := visit(t, srv.URL, nil)
		require.ErrorContains(t, err, "certificate")
	})
}

func TestPlainHTTPNeedsTheOption(t *testing.T) {
	r, s := start(t, func(c *remote.Config[string]) { c.Locate = remote.At("http://127.0.0.1/doc") })
	require.ErrorContains(t, r.Prefetch(t.Context()), "https is required")
	require.Zero(t, s.count())
}

func TestABodyThatUnpacksToTooMuch(t *testing.T) {
	var bomb bytes.Buffer
	z := gzip.NewWriter(&bomb)
	z.Write(make([]byte, 8<<20))
	z.Close()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Encoding", "gzip")
		w.Write(bomb.Bytes())
	}))
	defer srv.Close()
	_, err := visit(t, srv.URL, nil)
	require.ErrorIs(t, err, remote.ErrTooLarge)
}

func TestReadBody(t *testing.T) {
	body, err := remote.ReadBody(strings.NewReader("four"), 4)
	require.NoError(t, err)
	require.Equal(t, "four", string(body))
	_, err = remote.ReadBody(strings.NewReader("fives"), 4)
	require.ErrorIs(t, err, remote.ErrTooLarge)
	_, err = remote.ReadBody(io.MultiReader(strings.NewReader("x"), brokenReader{}), 4)
	require.ErrorContains(t, err, "broken")
}

type brokenReader struct{}

func (brokenReader) Read([]byte) (int, error) { return 0, errors.New("broken") }

func TestCheckURL(t *testing.T) {
	for _, tt := range []struct {
		name, url string
		plain     remote.Plain
		err       string
	}{
		{"https", "https://issuer.example/keys?p=1", remote.NoPlain, ""},
		{"https in capitals", "HTTPS://Issuer.Example/", remote.NoPlain, ""},
		{"DISC-04 http", "http://issuer.example/keys", remote.NoPlain, "https is required"},
		{"DISC-04 http to loopback without the option", "http://127.0.0.1:8080/", remote.NoPlain, "https is required"},
		{"DISC-04 http to loopback with it", "http://127.0.0.1:8080/", remote.PlainByName, ""},
		{"DISC-04 http to ::1 with it", "http://[::1]:8080/", remote.PlainByName, ""},
		{"DISC-04 http to localhost with it", "http://localhost/", remote.PlainByName, ""},
		{"DISC-04 http elsewhere with it", "http://issuer.example/", remote.PlainByName, "https is required"},
		{"DISC-04 http to a name that looks like loopback", "http://127.0.0.1.issuer.example/", remote.PlainByName, "https is required"},
		{"DISC-04 http to localhost under a domain", "http://localhost.issuer.example/", remote.PlainByName, "https is required"},
		{"DISC-04 http to a private address", "http://10.0.0.1/", remote.PlainByName, "https is required"},
		{"DISC-04 http to the unspecified address", "http://0.0.0.0/", remote.PlainByName, "https is required"},
		{"DISC-04 http to a name whose address shows when it is dialled", "http://keycloak.test:8080/", remote.PlainByAddress, ""},
		{"DISC-04 http to localhost, judged by address", "http://localhost/", remote.PlainByAddress, ""},
		{"DISC-04 http to 127.0.0.2, judged by address", "http://127.0.0.2/", remote.PlainByAddress, ""},
		{"DISC-04 http to ::ffff:127.0.0.1, judged by address", "http://[::ffff:127.0.0.1]/", remote.PlainByAddress, ""},
		{"DISC-04 http to a private address, judged by it", "http://10.0.0.1/", remote.PlainByAddress, "https is required"},
		{"DISC-04 http to 0.0.0.0, judged by address", "http://0.0.0.0/", remote.PlainByAddress, "https is required"},
		{"DISC-04 http to ::, judged by address", "http://[::]/", remote.PlainByAddress, "https is required"},
		{"DISC-04 http to ::ffff:0.0.0.0, judged by address", "http://[::ffff:0.0.0.0]/", remote.PlainByAddress, "https is required"},
		{"file", "file://localhost/etc/passwd", remote.PlainByName, "https is required"},
		{"no scheme", "issuer.example/keys", remote.NoPlain, "not an absolute URL"},
		{"no host", "https:///keys", remote.NoPlain, "not an absolute URL"},
		{"port only", "https://:443/keys", remote.NoPlain, "not an absolute URL"},
		{"opaque", "https:issuer.example", remote.NoPlain, "not an absolute URL"},
		{"empty", "", remote.NoPlain, "not an absolute URL"},
		{"password", "https://user:hunter2@issuer.example/", remote.NoPlain, "user information"},
		{"fragment", "https://issuer.example/#keys", remote.NoPlain, "fragment"},
		{"empty fragment", "https://issuer.example/#", remote.NoPlain, "fragment"},
		{"control character", "https://issuer.example/hunter2\n", remote.NoPlain, "not a URL"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := remote.CheckURL(tt.url, tt.plain)
			if tt.err == "" {
				require.NoError(t, err)
				return
			}
			require.ErrorContains(t, err, tt.err)
			require.NotContains(t, err.Error(), "hunter2")
		})
	}
}

// The rule for plain http is no rule for https, which goes anywhere.
func TestLoopbackHTTPLeavesHTTPSAlone(t *testing.T) {
	resolve(t, map[string]string{"elsewhere.test": "192.0.2.1"})
	_, err := remote.NewClient(remote.ClientConfig{AllowLoopbackHTTP: true}).Get("https://elsewhere.test:1/")
	require.Error(t, err)
	require.NotContains(t, err.Error(), "loopback addresses only")
}

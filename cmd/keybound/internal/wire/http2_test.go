package wire_test

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/keybound-go/middleware/cmd/keybound/internal/wire"
)

// startHTTP2 is a server with HTTP/2 over TLS, and a client of it.
func startHTTP2(t *testing.T, h http.HandlerFunc) *wire.Client {
	t.Helper()
	server := httptest.NewUnstartedServer(h)
	server.EnableHTTP2 = true
	server.TLS = &tls.Config{ClientAuth: tls.RequestClientCert}
	server.StartTLS()
	t.Cleanup(server.Close)
	u, err := url.Parse(server.URL)
	require.NoError(t, err)
	pool := x509.NewCertPool()
	pool.AddCert(server.Certificate())
	client, err := wire.NewClient(u, "", &tls.Config{RootCAs: pool})
	require.NoError(t, err)
	return client
}

func TestARequestGoesOutInHTTP2(t *testing.T) {
	client := startHTTP2(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		w.Header().Set("X-Seen", strings.Join([]string{r.Proto, r.Method, r.Host, r.RequestURI, strings.Join(r.Header.Values("DPoP"), "+"), string(body), r.Trailer.Get("Late")}, " "))
		w.WriteHeader(http.StatusEarlyHints)
		_, _ = io.WriteString(w, strings.Repeat("x", 1<<20)) // more than a default window
	})
	offers, err := client.OffersHTTP2(t.Context(), nil)
	require.NoError(t, err)
	require.True(t, offers)
	client = client.Over2()
	long := strings.Repeat("b", 40<<10) // more than a frame
	res, err := client.Do(t.Context(), nil, wire.Request{Method: "POST", Target: "/a/../b?x", Body: long,
		Fields: []wire.Field{{"Host", "api.example"}, {"Trailer", "Late"}, {"DPoP", "a"}, {"DPoP", long}},
		Stream: []func(*wire.Stream){func(s *wire.Stream) { s.Trailers = []wire.Field{{"late", "t"}} }}})
	require.NoError(t, err)
	require.Equal(t, 200, res.Status)
	require.Equal(t, []int{103}, res.Informational)
	require.True(t, "HTTP/2.0 POST api.example /a/../b?x a+"+long+" "+long+" t" == res.Header.Get("X-Seen"))
	require.Len(t, res.Body, 1<<20)
}

func TestStreamsOfOneConnection(t *testing.T) {
	client := startHTTP2(t, func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, r.RequestURI) }).Over2()
	conn, err := client.Connect(t.Context(), nil)
	require.NoError(t, err)
	defer conn.Close()
	get := func(path string) wire.Stream {
		return wire.Stream{Fields: []wire.Field{{":method", "GET"}, {":scheme", "https"}, {":authority", client.Host}, {":path", path}}}
	}
	bad := get("/bad")
	bad.Fields = append(bad.Fields, wire.Field{Name: "Authorization", Value: "x"})
	answers := conn.Send(get("/1"), bad, get("/2"))
	require.Equal(t, "/1", string(answers[0].Body))
	require.Error(t, answers[1].Reset, "a name in upper case is malformed")
	require.Zero(t, answers[1].Status)
	require.Equal(t, "/2", string(answers[2].Body))
	require.Equal(t, "/3", string(conn.Send(get("/3"))[0].Body))

	connect := wire.Stream{Open: true, Fields: []wire.Field{{":method", "CONNECT"}, {":authority", client.Host}}}
	require.Equal(t, 200, conn.Send(connect)[0].Status, "net/http leaves CONNECT to the handler")
	client.Timeout = 1 // too short for anything
	_, err = client.Connect(t.Context(), nil)
	require.Error(t, err)
}

func TestWhatHTTP2CannotExpressIsNotSent(t *testing.T) {
	client := startHTTP2(t, func(http.ResponseWriter, *http.Request) {}).Over2()
	for why, r := range map[string]wire.Request{
		"authority apart": {Method: "GET", Target: "https://api.example/"},
		"no field":        {Method: "GET", Target: "/", Fields: []wire.Field{{"Transfer-Encoding", "chunked"}}},
		"lower case":      {Method: "GET", Target: "/", Fields: []wire.Field{{"DPoP", "a"}, {"dpop", "b"}}},
		"is none":         {Method: "GET", Target: "/", Fields: []wire.Field{{"DPoP ", "a"}}},
		"white space":     {Method: "GET", Target: "/", Fields: []wire.Field{{"DPoP", " a"}}},
		"pseudo-field":    {Method: "GET", Target: "/", Fields: []wire.Field{{"Host", "a"}, {"Host", "b"}}},
	} {
		_, err := client.Do(t.Context(), nil, r)
		var only *wire.OnlyHTTP1Error
		require.True(t, errors.As(err, &only), why)
		require.Contains(t, only.Why, why)
	}
}

func TestAServerWithoutHTTP2(t *testing.T) {
	server := httptest.NewTLSServer(http.NotFoundHandler())
	defer server.Close()
	u, err := url.Parse(server.URL)
	require.NoError(t, err)
	client, err := wire.NewClient(u, "", &tls.Config{InsecureSkipVerify: true})
	require.NoError(t, err)
	offers, err := client.OffersHTTP2(t.Context(), nil)
	require.NoError(t, err)
	require.False(t, offers)
	_, err = client.Over2().Connect(t.Context(), nil)
	require.ErrorIs(t, err, wire.ErrNoHTTP2)
}

func TestHTTP2WithPriorKnowledge(t *testing.T) {
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, r.Proto) }))
	server.Config.Protocols = new(http.Protocols)
	server.Config.Protocols.SetUnencryptedHTTP2(true)
	server.Start()
	defer server.Close()
	u, err := url.Parse(server.URL)
	require.NoError(t, err)
	client, err := wire.NewClient(u, "", nil)
	require.NoError(t, err)
	res, err := client.Over2().Do(t.Context(), nil, wire.Request{Method: "GET", Target: "/"})
	require.NoError(t, err)
	require.Equal(t, "HTTP/2.0", string(res.Body))
}

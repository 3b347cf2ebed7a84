package dpopclient_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/keybound-go/middleware/dpop/dpopclient"
)

// hearing is a server that keeps the id of every proof that it has read, answers the
// requests to /ok, and hangs up on others without an answer, for as many times as it
// is told. Once it has read a proof, it refuses it.
type hearing struct {
	*httptest.Server
	mu     sync.Mutex
	ids    map[string]int
	bodies []string
	hangUp int
}

func newHearing(t *testing.T, idle time.Duration) *hearing {
	h := &hearing{ids: map[string]int{}}
	h.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		h.mu.Lock()
		defer h.mu.Unlock()
		id := proofIn(t, r).claim("jti")
		if h.ids[id]++; h.ids[id] > 1 {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		if r.URL.Path != "/ok" && h.hangUp > 0 {
			h.hangUp--
			panic(http.ErrAbortHandler)
		}
		h.bodies = append(h.bodies, string(body))
	}))
	h.Config.IdleTimeout = idle
	h.Start()
	t.Cleanup(h.Close)
	return h
}

// prepare has h hang up so often.
func (h *hearing) prepare(hangUps int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.bodies, h.hangUp = nil, hangUps
}

// pool makes idle connections to h.
func (h *hearing) pool(t *testing.T, tr http.RoundTripper, connections int) {
	t.Helper()
	var all sync.WaitGroup
	start := make(chan struct{})
	for range connections {
		all.Go(func() {
			<-start
			require.Equal(t, 200, get(t, tr, h.URL+"/ok"))
		})
	}
	close(start)
	all.Wait()
}

func newWireTransport(t *testing.T, h *hearing) *dpopclient.Transport {
	t.Helper()
	base := http.DefaultTransport.(*http.Transport).Clone()
	base.MaxIdleConnsPerHost = 64
	t.Cleanup(base.CloseIdleConnections)
	tr, err := dpopclient.New(ecKey, dpopclient.WithOrigins(h.URL), dpopclient.DangerouslyAllowLoopbackHTTP(), dpopclient.WithBase(base), withToken())
	require.NoError(t, err)
	return tr
}

func TestARequestThatIsSentAgainHasAnotherProof(t *testing.T) {
	// B03, CLI-01: net/http repeats these on a connection that breaks.
	for _, tt := range []struct {
		name, method, body, idempotency string
		idle, hangUps                   int
	}{
		{"GET", "GET", "", "", 1, 1},
		{"HEAD", "HEAD", "", "", 1, 1},
		{"OPTIONS", "OPTIONS", "", "", 1, 1},
		{"a GET with a body", "GET", "question", "", 1, 1},
		{"a POST with an Idempotency-Key", "POST", "order", "k", 1, 1},
		{"a POST with an Idempotency-Key and no body", "POST", "", "k", 1, 1},
		{"with other idle connections", "GET", "", "", 8, 1},
		{"on a new connection after that", "GET", "", "", 8, 2},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := newHearing(t, time.Minute)
			tr := newWireTransport(t, h)
			h.pool(t, tr, tt.idle)
			h.prepare(tt.hangUps)
			req := request(t, tt.method, h.URL+"/r", nil)
			if tt.body != "" {
				req = request(t, tt.method, h.URL+"/r", strings.NewReader(tt.body))
			}
			if tt.idempotency != "" {
				req.Header.Set("Idempotency-Key", tt.idempotency)
			}
			resp, err := tr.RoundTrip(req)
			if err == nil {
				defer resp.Body.Close()
			}
			h.mu.Lock()
			defer h.mu.Unlock()
			for id, times := range h.ids {
				require.Equal(t, 1, times, id)
			}
			require.Zero(t, h.hangUp, "the server was to hang up")
			if err == nil {
				require.Equal(t, 200, resp.StatusCode)
				require.Equal(t, []string{tt.body}, h.bodies)
				return
			}
			// The last connection was a new one, on which net/http does not repeat.
			require.Greater(t, tt.hangUps, 1, err)
		})
	}
	t.Run("a POST is not sent again", func(t *testing.T) {
		h := newHearing(t, time.Minute)
		tr := newWireTransport(t, h)
		h.pool(t, tr, 1)
		h.prepare(1)
		_, err := tr.RoundTrip(request(t, "POST", h.URL+"/r", strings.NewReader("order")))
		require.Error(t, err)
		h.mu.Lock()
		defer h.mu.Unlock()
		require.Len(t, h.ids, 2)
	})
	t.Run("a server that always hangs up", func(t *testing.T) {
		h := newHearing(t, time.Minute)
		tr := newWireTransport(t, h)
		h.pool(t, tr, 1)
		h.prepare(1000)
		client := &http.Client{Transport: tr, Timeout: time.Minute}
		_, err := client.Get(h.URL + "/r")
		require.Error(t, err)
		h.mu.Lock()
		defer h.mu.Unlock()
		require.LessOrEqual(t, 1000-h.hangUp, 2, "once on the connection that was kept alive, once on a new one")
	})
}

func TestConnectionsThatTheServerHasClosed(t *testing.T) {
	// A server that closes what is idle, at about the time of the next request.
	h := newHearing(t, 5*time.Millisecond)
	tr := newWireTransport(t, h)
	for i := range 60 {
		time.Sleep(4500*time.Microsecond + time.Duration(i%20)*50*time.Microsecond)
		require.Equal(t, 200, get(t, tr, h.URL+"/ok"))
	}
}

func TestTheDefaultBaseFindsOutAboutSilentConnections(t *testing.T) {
	// G11: an HTTP/2 connection that swallows everything takes one request with it, and
	// not each one for as long as TCP believes in it. A bubble has no network, so this
	// looks at the setting.
	base := dpopclient.DefaultBase().(*http.Transport)
	require.NotNil(t, base.HTTP2)
	require.Positive(t, base.HTTP2.SendPingTimeout)
	require.Positive(t, base.HTTP2.PingTimeout)
	require.False(t, base == http.DefaultTransport, "the program's own is left alone")
}

func TestASlowBodyOfARefusalDoesNotHoldTheRetry(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if proofIn(t, r).claim("nonce") != "" {
			return
		}
		w.Header().Set("DPoP-Nonce", "n")
		w.Header().Set("WWW-Authenticate", `DPoP error="use_dpop_nonce"`)
		w.WriteHeader(http.StatusUnauthorized)
		_, _ = io.WriteString(w, "x")
		w.(http.Flusher).Flush()
		<-r.Context().Done() // The rest never comes.
	}))
	t.Cleanup(server.Close)
	tr, err := dpopclient.New(ecKey, dpopclient.WithOrigins(server.URL), dpopclient.DangerouslyAllowLoopbackHTTP(), withToken())
	require.NoError(t, err)
	t.Cleanup(tr.CloseIdleConnections)
	start := time.Now()
	require.Equal(t, 200, get(t, tr, server.URL+"/r"))
	require.Less(t, time.Since(start), 5*time.Second)
}

package issuers_test

import (
	"crypto/rand"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// chromium is a page in a browser, on an origin of its own, so that its calls are subject
// to CORS.
type chromium struct{}

func (chromium) name() string    { return "Chromium" }
func (chromium) can(k kind) bool { return slices.Contains(dpopKinds, k) }

func (chromium) open(t *testing.T, w *world, wish wish) session {
	s := &browserSession{browser: w.chromium(t), id: rand.Text()}
	answer := s.ask(t, map[string]string{
		"do": "token", "issuer": w.issuer.url, "client": wish.client, "secret": wish.client + "-secret", "resource": wish.resource,
	})
	require.NotEmpty(t, answer.Token)
	if wish.client == "nonces" {
		require.Equal(t, []int{400, 200}, answer.Attempts, "the issuer's own challenge")
	}
	s.accessToken = answer.Token
	return s
}

// browser is a running Chromium, with clients/page.html open.
type browser struct {
	mu       sync.Mutex
	commands chan map[string]string
	answers  chan browserAnswer
}

type browserAnswer struct {
	Error, Token string
	Status       int
	Attempts     []int // statuses
}

// chromium returns the browser of this world, which runs until the test t has ended that
// all the others are parts of.
func (w *world) chromium(t *testing.T) *browser {
	if w.browser == nil {
		program := need(t, "chromium", "chromium-browser", "google-chrome")
		need(t, "../node_modules/dpop/package.json")
		w.browser = startBrowser(w.top, program)
	}
	return w.browser
}

func startBrowser(t *testing.T, program string) *browser {
	b := &browser{commands: make(chan map[string]string), answers: make(chan browserAnswer)}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) { http.ServeFile(w, r, "../clients/page.html") })
	mux.HandleFunc("GET /dpop.js", func(w http.ResponseWriter, r *http.Request) {
		http.ServeFile(w, r, "../node_modules/dpop/build/index.js")
	})
	mux.HandleFunc("GET /command", func(w http.ResponseWriter, r *http.Request) {
		select {
		case command := <-b.commands:
			_ = json.NewEncoder(w).Encode(command)
		case <-r.Context().Done():
		}
	})
	mux.HandleFunc("POST /answer", func(_ http.ResponseWriter, r *http.Request) {
		var answer browserAnswer
		if err := json.NewDecoder(r.Body).Decode(&answer); err != nil {
			answer.Error = err.Error()
		}
		select {
		case b.answers <- answer:
		case <-r.Context().Done():
		}
	})
	pages := httptest.NewServer(mux)
	t.Cleanup(pages.Close)
	launch(t, exec.Command(program, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-dev-shm-usage",
		"--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync",
		"--ignore-certificate-errors", // TLS is not what is tested.
		"--user-data-dir="+t.TempDir(), pages.URL))
	return b
}

type browserSession struct {
	browser         *browser
	id, accessToken string
	knows           bool // the nonce of the service
}

func (s *browserSession) ask(t *testing.T, command map[string]string) (answer browserAnswer) {
	t.Helper()
	s.browser.mu.Lock()
	defer s.browser.mu.Unlock()
	command["session"] = s.id
	deadline := time.After(2 * time.Minute)
	select {
	case s.browser.commands <- command:
	case <-deadline:
		t.Fatal("the page does not ask for anything to do")
	}
	select {
	case answer = <-s.browser.answers:
	case <-deadline:
		t.Fatal("the page does not answer")
	}
	require.Empty(t, answer.Error)
	return answer
}

// exposedChallenges: a page gets through a nonce challenge because the service exposes
// it, and for no other reason.
func (w *world) exposedChallenges(t *testing.T) {
	s := chromium{}.open(t, w, wish{client: w.issuer.nonces, resource: audience, dpop: true}).(*browserSession)
	try := func(path string) (attempts []int, preflights int) {
		before := w.service.countPreflights()
		attempts = s.ask(t, map[string]string{"do": "call", "url": w.service.URL + path}).Attempts
		return attempts, w.service.countPreflights() - before
	}
	attempts, preflights := try(hidden)
	require.Equal(t, []int{401}, attempts, "a page has seen a nonce that is not exposed")
	require.Positive(t, preflights, "the calls are not subject to CORS")
	attempts, preflights = try(nonces + "/other") // not a URL whose preflight the browser still remembers
	require.Equal(t, []int{401, 200}, attempts)
	require.Positive(t, preflights, "the calls are not subject to CORS")
	sent, _ := w.service.last()
	require.NotEmpty(t, sent.Get("Origin"))
	require.NotEqual(t, w.service.URL, sent.Get("Origin"))
}

func (s *browserSession) token() string { return s.accessToken }

func (s *browserSession) call(t *testing.T, url string) int {
	t.Helper()
	answer := s.ask(t, map[string]string{"do": "call", "url": url})
	want := []int{200}
	if strings.HasSuffix(url, nonces) && !s.knows {
		want, s.knows = []int{401, 200}, true
	}
	require.Equal(t, want, answer.Attempts, "statuses on the way")
	return answer.Status
}

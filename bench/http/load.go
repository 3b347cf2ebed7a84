package main

import (
	"bufio"
	"crypto/rand"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/keybound-go/middleware/dpop/dpoptest"
)

// server is the other process, and a client of it that holds a key and a token.
type server struct {
	url, control string
	cmd          *exec.Cmd
	input        io.Closer

	key   *dpoptest.Key
	token string
}

func startServer() (*server, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(self, "-serve")
	cmd.Stderr = os.Stderr
	input, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	output, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	s := &server{cmd: cmd, input: input, key: dpoptest.NewKey(new(process))}
	line, err := bufio.NewReader(output).ReadString('\n')
	if err == nil {
		_, err = fmt.Sscan(line, &s.url, &s.control)
	}
	if err == nil {
		s.token, err = s.ask("/token", "jkt", s.key.Thumbprint())
	}
	if err != nil {
		s.stop()
	}
	return s, err
}

func (s *server) stop() {
	_ = s.input.Close()
	_ = s.cmd.Wait()
}

// ask puts a question to the server's control endpoint.
func (s *server) ask(path string, query ...string) (string, error) {
	q := make(url.Values)
	for i := 0; i+1 < len(query); i += 2 {
		q.Set(query[i], query[i+1])
	}
	res, err := http.Get(s.control + path + "?" + q.Encode())
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	return string(body), err
}

func (s *server) stats(query ...string) (st stats, err error) {
	body, err := s.ask("/stats", query...)
	if err == nil {
		err = json.Unmarshal([]byte(body), &st)
	}
	return st, err
}

// headers are the credentials of one request.
type headers struct{ authorization, proof string }

func (s *server) good(n int) []headers {
	all := make([]headers, n)
	for i := range all {
		all[i] = headers{"DPoP " + s.token, s.key.Proof("GET", s.url+"/guarded", s.token)}
	}
	return all
}

// client has a connection of its own.
func client() *http.Client {
	return &http.Client{Transport: &http.Transport{
		MaxConnsPerHost: 1,
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, // a certificate that httptest makes up
	}}
}

// send makes one request, and reports an unexpected status as an error.
func (s *server) send(c *http.Client, path string, h headers, status int) (time.Duration, error) {
	r, err := http.NewRequest(http.MethodGet, s.url+path, nil)
	if err != nil {
		return 0, err
	}
	if h.authorization != "" {
		r.Header["Authorization"] = []string{h.authorization}
		r.Header["Dpop"] = []string{h.proof}
	}
	begin := time.Now()
	res, err := c.Do(r)
	if err != nil {
		return 0, err
	}
	_, err = io.Copy(io.Discard, res.Body)
	took := time.Since(begin)
	_ = res.Body.Close()
	if err == nil && res.StatusCode != status {
		err = fmt.Errorf("%s: %s, %q", path, res.Status, res.Header.Values("WWW-Authenticate"))
	}
	return took, err
}

// sample is what a series of requests took.
type sample struct {
	latencies []time.Duration
	elapsed   time.Duration
	mallocs   uint64
}

func (s *sample) rate() float64        { return float64(len(s.latencies)) / s.elapsed.Seconds() }
func (s *sample) allocations() float64 { return float64(s.mallocs) / float64(len(s.latencies)) }

func (s *sample) percentile(p int) time.Duration {
	if len(s.latencies) == 0 {
		return 0
	}
	slices.Sort(s.latencies)
	return s.latencies[min(len(s.latencies)*p/100, len(s.latencies)-1)].Round(10 * time.Microsecond)
}

// compare sends as many requests to the bare and to the guarded handler, by turns.
func (s *server) compare(conns, total int) (bare, guarded *sample, err error) {
	clients := make([]*http.Client, conns)
	for i := range clients {
		clients[i] = client()
		defer clients[i].CloseIdleConnections()
	}
	bare, guarded = new(sample), new(sample)
	batch := max(10*conns, 200)
	warm := true // Connections are made, and the keys are fetched.
	for done := 0; done < total; {
		prepared := s.good(batch)
		for path, into := range map[string]*sample{"/bare": bare, "/guarded": guarded} {
			if warm {
				into = new(sample)
			}
			if err := s.batch(clients, path, prepared, into); err != nil {
				return nil, nil, err
			}
		}
		if !warm {
			done += batch
		}
		warm = false
	}
	return bare, guarded, nil
}

// batch sends one request for each of the prepared headers, over all clients.
func (s *server) batch(clients []*http.Client, path string, prepared []headers, into *sample) error {
	before, err := s.stats()
	if err != nil {
		return err
	}
	var (
		next     atomic.Int64
		mu       sync.Mutex
		firstErr error
		wg       sync.WaitGroup
	)
	begin := time.Now()
	for _, c := range clients {
		wg.Go(func() {
			var mine []time.Duration
			var err error
			for err == nil {
				i := int(next.Add(1)) - 1
				if i >= len(prepared) {
					break
				}
				var took time.Duration
				if took, err = s.send(c, path, prepared[i], http.StatusOK); err == nil {
					mine = append(mine, took)
				}
			}
			mu.Lock()
			defer mu.Unlock()
			into.latencies = append(into.latencies, mine...)
			if firstErr == nil {
				firstErr = err
			}
		})
	}
	wg.Wait()
	into.elapsed += time.Since(begin)
	after, err := s.stats()
	if err != nil {
		return err
	}
	into.mallocs += after.Mallocs - before.Mallocs
	return firstErr
}

// grow sends that many requests more and returns the server's heap before and after.
func (s *server) grow(total int) (before, after uint64, err error) {
	clients := []*http.Client{client(), client(), client(), client()}
	if err := s.batch(clients, "/guarded", s.good(100), new(sample)); err != nil {
		return 0, 0, err
	}
	time.Sleep(time.Second) // Connections of earlier clients go away.
	first, err := s.stats("gc", "1")
	if err != nil {
		return 0, 0, err
	}
	for done := 0; done < total; {
		n := min(2000, total-done)
		if err := s.batch(clients, "/guarded", s.good(n), new(sample)); err != nil {
			return 0, 0, err
		}
		done += n
	}
	defer func() {
		for _, c := range clients {
			c.CloseIdleConnections()
		}
	}()
	last, err := s.stats("gc", "1")
	return first.Heap, last.Heap, err
}

// bad returns requests that must be refused, of several kinds.
func (s *server) bad() ([]headers, error) {
	expired, err1 := s.ask("/token", "jkt", s.key.Thumbprint(), "expired", "1")
	unknown, err2 := s.ask("/token", "jkt", s.key.Thumbprint(), "kid", "unknown")
	if err := max(errorText(err1), errorText(err2)); err != "" {
		return nil, fmt.Errorf("%s", err)
	}
	foreign := dpoptest.NewKey(new(process))
	used := s.good(1)[0]
	c := client()
	defer c.CloseIdleConnections()
	if _, err := s.send(c, "/guarded", used, http.StatusOK); err != nil {
		return nil, err
	}
	proof := func(k *dpoptest.Key, token string) headers {
		return headers{"DPoP " + token, k.Proof("GET", s.url+"/guarded", token)}
	}
	return []headers{
		proof(s.key, rand.Text()),
		proof(s.key, strings.Repeat("a.", 2)+rand.Text()),
		proof(s.key, expired),
		proof(s.key, unknown),
		proof(foreign, s.token),
		{"DPoP " + s.token, "x"},
		used,
	}, nil
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// flooded sends good requests at a steady rate, for seconds by turns: alone,
// beside times as many requests to the bare handler, which is what any traffic
// does to them on this machine, and beside as many bad ones.
func (s *server) flooded(rate, times, windows int) (alone, busy, bad sample, err error) {
	hostile, err := s.bad()
	if err != nil {
		return alone, busy, bad, err
	}
	each := float64(rate*times) / 4
	for range windows {
		for _, phase := range []struct {
			into   *sample
			flood  []headers
			path   string
			status int
		}{
			{&alone, nil, "", 0},
			{&busy, hostile, "/bare", http.StatusOK},
			{&bad, hostile, "/guarded", http.StatusUnauthorized},
		} {
			stop := make(chan struct{})
			var flood sync.WaitGroup
			for worker := range 4 {
				if phase.flood != nil {
					flood.Go(func() { s.attack(phase.flood, phase.path, phase.status, worker, each, stop) })
				}
			}
			err := s.steady(rate, phase.into)
			close(stop)
			flood.Wait()
			if err != nil {
				return alone, busy, bad, err
			}
		}
	}
	return alone, busy, bad, nil
}

// steady sends good requests for a second, each at its time, whether or not the
// one before has been answered: the latency counts from that time.
func (s *server) steady(rate int, into *sample) error {
	prepared := s.good(rate)
	clients := []*http.Client{client(), client(), client(), client()}
	var mu sync.Mutex
	var wg sync.WaitGroup
	var firstErr error
	for _, c := range clients {
		defer c.CloseIdleConnections()
		if _, err := s.send(c, "/bare", headers{}, http.StatusOK); err != nil {
			return err
		}
	}
	begin := time.Now()
	for worker, c := range clients {
		wg.Go(func() {
			for i := worker; i < rate; i += len(clients) {
				due := begin.Add(time.Duration(i) * time.Second / time.Duration(rate))
				time.Sleep(time.Until(due))
				_, err := s.send(c, "/guarded", prepared[i], http.StatusOK)
				took := time.Since(due)
				mu.Lock()
				into.latencies = append(into.latencies, took)
				if firstErr == nil {
					firstErr = err
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	into.elapsed += time.Since(begin)
	return firstErr
}

// attack sends requests at a rate until it is stopped.
func (s *server) attack(flood []headers, path string, status, worker int, rate float64, stop <-chan struct{}) {
	c := client()
	defer c.CloseIdleConnections()
	begin := time.Now()
	for i := 0; ; i++ {
		select {
		case <-stop:
			return
		default:
		}
		due := begin.Add(time.Duration(float64(i) / rate * float64(time.Second)))
		time.Sleep(time.Until(due))
		if _, err := s.send(c, path, flood[(i+worker)%len(flood)], status); err != nil {
			new(process).Logf("bench: flood: %v", err)
		}
	}
}

package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"syscall"
	"time"

	"github.com/keybound-go/middleware/oidc/oidctest"
)

// result is what the rounds have found for one server.
type result struct {
	cpu      map[kind][]time.Duration // of one request
	p50, p99 map[kind][]time.Duration
	memory   []int64
	verdicts map[string]int // status by the name of the attack
}

func newResult() *result {
	return &result{
		cpu: make(map[kind][]time.Duration), p50: make(map[kind][]time.Duration), p99: make(map[kind][]time.Duration),
		verdicts: make(map[string]int),
	}
}

// server is one that runs.
type server struct {
	cmd     *exec.Cmd
	address string
	ended   chan error
}

// start runs a server on core 0, and waits until it answers.
func (w *world) start(ctx context.Context, c *contender) (*server, error) {
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command("taskset", append([]string{"-c", "0"}, c.command...)...)
	cmd.Env = append(append(os.Environ(), c.env...), "ISSUER="+w.issuer.URL, "AUDIENCE="+oidctest.Audience, "PORT="+strconv.Itoa(port))
	output, err := os.Create(".cache/" + c.name + ".log")
	if err != nil {
		return nil, err
	}
	defer func() { _ = output.Close() }()
	cmd.Stdout, cmd.Stderr = output, output
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	s := &server{cmd: cmd, address: net.JoinHostPort("127.0.0.1", strconv.Itoa(port)), ended: make(chan error, 1)}
	go func() { s.ended <- cmd.Wait() }()
	if err := s.ready(ctx, w, c.kinds()); err != nil {
		s.stop()
		return nil, fmt.Errorf("%w (see %s)", err, output.Name())
	}
	return s, nil
}

func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer func() { _ = l.Close() }()
	return l.Addr().(*net.TCPAddr).Port, nil
}

// ready waits until the bare handler answers, and makes sure that a request without
// credentials is refused and that good ones pass.
func (s *server) ready(ctx context.Context, w *world, kinds []kind) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	c := &conn{address: s.address}
	defer c.close()
	for {
		if c.expect(newMessage("GET", s.address, barePath), http.StatusOK) == nil {
			break
		}
		select {
		case err := <-s.ended:
			s.ended <- err // for stop
			return fmt.Errorf("the server ended before it listened: %v", err)
		case <-ctx.Done():
			return errors.New("the server does not listen")
		case <-time.After(100 * time.Millisecond):
		}
	}
	if status, err := c.send(newMessage("GET", s.address, guardedPath)); err != nil || status < 400 || status >= 500 {
		return fmt.Errorf("a request without credentials: status %d, error %v", status, err)
	}
	for _, k := range kinds {
		if err := c.expect(w.messages(k, s.address, 1)[0], http.StatusOK); err != nil {
			return fmt.Errorf("%s: %w", k, err)
		}
	}
	return nil
}

// stop ends the server that start has started.
func (s *server) stop() {
	_ = s.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-s.ended:
	case <-time.After(10 * time.Second):
		_ = s.cmd.Process.Kill()
		<-s.ended
	}
}

// measure runs one server through everything once.
func (w *world) measure(ctx context.Context, c *contender, s settings, into *result) error {
	server, err := w.start(ctx, c)
	if err != nil {
		return err
	}
	defer server.stop()
	if err := w.warm(ctx, server, c.kinds(), s); err != nil {
		return fmt.Errorf("warming up: %w", err)
	}
	for _, k := range c.kinds() {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := w.measureKind(server, k, s, into); err != nil {
			return fmt.Errorf("%s: %w", k, err)
		}
	}
	used, err := usageOf(server.cmd.Process.Pid)
	if err != nil {
		return err
	}
	into.memory = append(into.memory, used.rss)
	for _, a := range c.attacks() {
		status, err := a.try(w, server.address)
		if err != nil {
			return fmt.Errorf("%s: %w", a.name, err)
		}
		if before, ok := into.verdicts[a.name]; ok && before != status {
			return fmt.Errorf("%s: status %d, and %d in a round before", a.name, status, before)
		}
		into.verdicts[a.name] = status
	}
	return nil
}

// warmUpTime bounds how long a server is warmed up.
const warmUpTime = 3 * time.Minute

// warm sends requests of every kind by turns, until the server's processor time for them
// has stopped falling.
func (w *world) warm(ctx context.Context, server *server, kinds []kind, s settings) error {
	const batch, rounds = 100, 5 // before each look
	var looks settling
	begin := time.Now()
	for done := 0; done < s.warm && time.Since(begin) < warmUpTime && ctx.Err() == nil; {
		before, err := usageOf(server.cmd.Process.Pid)
		if err != nil {
			return err
		}
		for range rounds {
			for _, k := range kinds {
				if err := burst(server.address, s.conns, w.messages(k, server.address, batch)); err != nil {
					return err
				}
			}
		}
		done += batch * rounds * len(kinds)
		after, err := usageOf(server.cmd.Process.Pid)
		if err != nil {
			return err
		}
		if looks.settled(after.cpu - before.cpu) {
			return nil
		}
	}
	return ctx.Err()
}

// maxRequests bounds the requests of one kind in a round.
const maxRequests = 50_000

func (w *world) measureKind(server *server, k kind, s settings, into *result) error {
	var cpu time.Duration
	var requests int
	for cpu < s.cpu && requests < maxRequests {
		all := w.messages(k, server.address, 1000)
		before, err := usageOf(server.cmd.Process.Pid)
		if err != nil {
			return err
		}
		if err := burst(server.address, s.conns, all); err != nil {
			return err
		}
		after, err := usageOf(server.cmd.Process.Pid)
		if err != nil {
			return err
		}
		cpu += after.cpu - before.cpu
		requests += len(all)
	}
	into.cpu[k] = append(into.cpu[k], cpu/time.Duration(requests))

	all := w.messages(k, server.address, max(1, int(float64(s.rate)*s.window.Seconds())))
	latencies, err := steady(server.address, s.conns, s.rate, all)
	if err != nil {
		return err
	}
	into.p50[k] = append(into.p50[k], percentile(latencies, 50))
	into.p99[k] = append(into.p99[k], percentile(latencies, 99))
	return nil
}

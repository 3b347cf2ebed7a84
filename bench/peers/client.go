package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// message is one request as it goes over the wire.
type message []byte

// newMessage makes a GET or another request without a body. Fields are name and value by
// turns.
func newMessage(method, address, path string, fields ...string) message {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s HTTP/1.1\r\nHost: %s\r\n", method, path, address)
	for i := 0; i+1 < len(fields); i += 2 {
		fmt.Fprintf(&b, "%s: %s\r\n", fields[i], fields[i+1])
	}
	b.WriteString("\r\n")
	return message(b.String())
}

// conn is one connection that is kept alive. It is for one goroutine.
type conn struct {
	address string
	c       net.Conn
	r       *bufio.Reader
}

func (c *conn) close() {
	if c.c != nil {
		_ = c.c.Close()
		c.c = nil
	}
}

const timeout = 10 * time.Second

// send makes one exchange, and returns the status.
func (c *conn) send(m message) (int, error) {
	if c.c == nil {
		raw, err := net.DialTimeout("tcp", c.address, timeout)
		if err != nil {
			return 0, err
		}
		c.c, c.r = raw, bufio.NewReader(raw)
	}
	status, err := c.exchange(m)
	if err != nil {
		c.close()
	}
	return status, err
}

func (c *conn) exchange(m message) (int, error) {
	if err := c.c.SetDeadline(time.Now().Add(timeout)); err != nil {
		return 0, err
	}
	if _, err := c.c.Write(m); err != nil {
		return 0, err
	}
	res, err := http.ReadResponse(c.r, nil)
	if err != nil {
		return 0, err
	}
	_, err = io.Copy(io.Discard, res.Body)
	_ = res.Body.Close()
	if res.Close {
		c.close()
	}
	return res.StatusCode, err
}

// expect is send where only one status is right.
func (c *conn) expect(m message, status int) error {
	got, err := c.send(m)
	if err == nil && got != status {
		err = fmt.Errorf("status %d for a good request, %d expected", got, status)
	}
	return err
}

// burst sends all as fast as they are answered, over a number of connections.
func burst(address string, conns int, all []message) error {
	var next atomic.Int64
	return each(address, conns, func(c *conn, _ int) error {
		for {
			i := int(next.Add(1)) - 1
			if i >= len(all) {
				return nil
			}
			if err := c.expect(all[i], http.StatusOK); err != nil {
				return err
			}
		}
	})
}

// steady sends all at a rate, each at its time, whether or not those before have been
// answered as long as a connection is free. A latency counts from that time.
func steady(address string, conns, rate int, all []message) ([]time.Duration, error) {
	latencies := make([]time.Duration, len(all))
	begin := time.Now()
	err := each(address, conns, func(c *conn, worker int) error {
		for i := worker; i < len(all); i += conns {
			due := begin.Add(time.Duration(i) * time.Second / time.Duration(rate))
			time.Sleep(time.Until(due))
			if err := c.expect(all[i], http.StatusOK); err != nil {
				return err
			}
			latencies[i] = time.Since(due)
		}
		return nil
	})
	return latencies, err
}

func each(address string, conns int, do func(c *conn, worker int) error) error {
	errs := make([]error, conns)
	var wg sync.WaitGroup
	for worker := range conns {
		wg.Go(func() {
			c := &conn{address: address}
			defer c.close()
			errs[worker] = do(c, worker)
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

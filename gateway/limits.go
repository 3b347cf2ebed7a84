package main

import (
	"context"
	"io"
	"net/http"
	"time"
)

// The time that a client has for its part. A body may take for ever, as long as it
// moves.
const (
	headWithin = 10 * time.Second // the head of a request
	idleFor    = 2 * time.Minute  // between requests of one connection
	readWithin = 30 * time.Second // some of a body that is expected
	takeWithin = time.Minute      // what has been written of a response
	pingAfter  = 5 * time.Second  // of silence of a service or an issuer on HTTP/2
)

// limited returns r with a body whose client has readWithin for each read, and the
// ResponseController by which the response is limited.
//
// On HTTP/1.1, net/http reads what a handler has left of a body before it sends the
// response, so that the limit holds from the start and stays until the body has
// ended. On HTTP/2, an expired limit ends the body even if it is set anew, so that it
// stands during a read alone.
func limited(w http.ResponseWriter, r *http.Request) (*http.Request, *http.ResponseController) {
	rc := http.NewResponseController(w)
	_ = rc.SetWriteDeadline(time.Time{}) // that of the response before; without support there is none
	if r.Body == nil || r.Body == http.NoBody || r.ContentLength == 0 {
		return r, rc
	}
	if r.ProtoMajor == 1 {
		_ = rc.SetReadDeadline(time.Now().Add(readWithin))
	}
	r = r.WithContext(r.Context())
	r.Body = &limitedBody{ReadCloser: r.Body, rc: rc, always: r.ProtoMajor == 1}
	return r, rc
}

// limitedBody is the body of a request.
type limitedBody struct {
	io.ReadCloser
	rc     *http.ResponseController
	always bool // between reads too
}

func (b *limitedBody) Read(p []byte) (int, error) {
	_ = b.rc.SetReadDeadline(time.Now().Add(readWithin))
	n, err := b.ReadCloser.Read(p)
	if err == io.EOF || !b.always {
		_ = b.rc.SetReadDeadline(time.Time{})
	}
	return n, err
}

// patient is how a service is asked: for each read of its response, the service has
// the time that read_timeout says, as it has for the head; and the client has
// takeWithin to take what has been read.
type patient struct {
	http.RoundTripper
	timeout time.Duration // 0: for ever
}

func (p *patient) RoundTrip(r *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithCancel(r.Context())
	resp, err := p.RoundTripper.RoundTrip(r.WithContext(ctx))
	if err != nil {
		cancel()
		return nil, err
	}
	if resp.StatusCode == http.StatusSwitchingProtocols {
		context.AfterFunc(r.Context(), cancel)
		return resp, nil // the connection itself
	}
	b := &patientBody{ReadCloser: resp.Body, cancel: cancel, timeout: p.timeout}
	if t := tripOf(r.Context()); t != nil {
		b.rc = t.client
	}
	if p.timeout > 0 {
		b.timer = time.AfterFunc(p.timeout, cancel)
		b.timer.Stop()
	}
	resp.Body = b
	return resp, nil
}

// patientBody is the body of a response.
type patientBody struct {
	io.ReadCloser
	cancel  func()
	timer   *time.Timer // nil: none
	timeout time.Duration
	rc      *http.ResponseController // nil: none
}

func (b *patientBody) Read(p []byte) (int, error) {
	if b.timer != nil {
		b.timer.Reset(b.timeout)
		defer b.timer.Stop()
	}
	if b.rc != nil {
		_ = b.rc.SetWriteDeadline(time.Time{}) // on HTTP/2 it would end a stream that waits for its service
	}
	n, err := b.ReadCloser.Read(p)
	if b.rc != nil && n > 0 {
		_ = b.rc.SetWriteDeadline(time.Now().Add(takeWithin))
	}
	return n, err
}

func (b *patientBody) Close() error {
	defer b.cancel()
	return b.ReadCloser.Close()
}

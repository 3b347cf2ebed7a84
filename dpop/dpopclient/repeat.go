package dpopclient

import (
	"crypto/tls"
	"errors"
	"net/http"
	"net/http/httptrace"
	"sync/atomic"
)

// maxTransmissions bounds how many connections that turn out to be dead one request
// may find. Each costs net/http, and us, one that was idle.
const maxTransmissions = 16

var errStale = errors.New("dpopclient: every connection was closed by the server as the request was sent")

// repeats sees to it that net/http does not send one proof twice.
//
// When a connection that was kept alive breaks before the first byte of the answer,
// [http.Transport] sends a GET, HEAD or OPTIONS (or a request with an
// Idempotency-Key) once more, below any RoundTripper. The server may have read the
// first one, and then refuses the second for its proof.
//
// The repetition is noticed as it gets its connection. Over HTTP/1 that connection is
// the request's alone, so it is closed before anything is written to it, and
// the error makes the Transport send the request with another proof. An HTTP/2
// connection has other requests on it. There net/http repeats what the server says it
// has not processed (RFC 9113, section 8.7); if the server refuses the
// repetition all the same, the Transport answers with another proof too.
type repeats struct {
	connections atomic.Int32
	written     atomic.Bool // the proof may have left
	stopped     atomic.Bool // a repetition was kept from leaving
}

// watch returns out with a context that tells r.
func (r *repeats) watch(out *http.Request) *http.Request {
	return out.WithContext(httptrace.WithClientTrace(out.Context(), &httptrace.ClientTrace{
		GotConn:      r.gotConn,
		WroteHeaders: func() { r.written.Store(true) },
	}))
}

// gotConn is called before anything is written to the connection, once for each
// transmission.
func (r *repeats) gotConn(info httptrace.GotConnInfo) {
	if r.connections.Add(1) == 1 || !r.written.Load() || isHTTP2(info) {
		return
	}
	r.stopped.Store(true)
	info.Conn.Close()
}

func isHTTP2(info httptrace.GotConnInfo) bool {
	conn, ok := info.Conn.(interface{ ConnectionState() tls.ConnectionState })
	return ok && conn.ConnectionState().NegotiatedProtocol == "h2"
}

// spoiled reports whether the outcome is that of a repetition.
func (r *repeats) spoiled(resp *http.Response, err error) bool {
	if err != nil {
		return r.stopped.Load()
	}
	return resp != nil && resp.StatusCode == http.StatusUnauthorized && r.written.Load() && r.connections.Load() > 1
}

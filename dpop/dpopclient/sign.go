package dpopclient

import (
	"context"
	"net/http"
	"net/url"
	"sync/atomic"
)

// Sign returns the fields Authorization and DPoP for one transmission of a request to
// target, a URL of a configured origin, for transports that are not net/http, such as
// gRPC. The token is that of [WithTokenSource]; without one, Sign fails with [ErrToken].
// Every transmission needs fields of its own, a repeated one too: a proof is good once.
//
// learn takes the header of the answer, or its trailer, under canonical names. It keeps
// the nonce for the proofs to come, and reports whether the server refused the request
// because this proof lacked that nonce: then one more transmission is worth while. It may
// be called again as more of the answer arrives, and concurrently: a nonce that it knows
// already may be old by then, and is not kept twice.
//
// Errors are those of [Transport.RoundTrip].
func (t *Transport) Sign(ctx context.Context, method, target string) (header http.Header, learn func(answer http.Header) (again bool), err error) {
	u, err := url.Parse(target)
	if err != nil {
		return nil, nil, ErrTarget // whose text holds no URL
	}
	req := &http.Request{Method: method, URL: u, Header: make(http.Header)}
	req = req.WithContext(ctx)
	d, err := t.decide(req)
	switch {
	case err != nil:
		return nil, nil, err
	case d.peer == nil:
		return nil, nil, ErrOrigin
	case d.token == "":
		return nil, nil, ErrToken
	}
	nonce := d.nonce()
	out, err := t.outgoing(req, nil, d, nonce)
	if err != nil {
		return nil, nil, err
	}
	var known atomic.Pointer[string]
	return out.Header, func(answer http.Header) bool {
		if t.serverClock {
			d.peer.setClock(answer)
		}
		fresh := nonceIn(answer)
		if last := known.Swap(&fresh); fresh != "" && (last == nil || *last != fresh) {
			d.peer.keep(fresh)
		}
		return fresh != "" && fresh != nonce && asksForNonce(answer.Values("WWW-Authenticate"))
	}, nil
}

// AllowsLoopbackHTTP reports whether [DangerouslyAllowLoopbackHTTP] was given.
func (t *Transport) AllowsLoopbackHTTP() bool { return t.loopbackHTTP }

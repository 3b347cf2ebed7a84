package middleware

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"

	"github.com/keybound-go/middleware/dpop"
	"github.com/keybound-go/middleware/internal/headers"
	"github.com/keybound-go/middleware/internal/origins"
	"github.com/keybound-go/middleware/internal/peers"
	"github.com/keybound-go/middleware/mtlspop"
)

// Request is what a [Guard] judges: what a client has sent, whatever protocol it came
// by. [Guard.Wrap] and [Guard.Check] make one of an *http.Request; a transport of
// another kind, such as an RPC framework or a proxy that asks for a decision, makes one
// itself and gives it to [Guard.Judge]. A Request belongs to the caller, and the Guard
// does not change it.
type Request struct {
	// Method is what a proof's htm must be.
	Method string

	// Host is the Host field or :authority, and Target the request target with its
	// query, both as they arrived, neither decoded nor rewritten: "/orders?page=2".
	Host, Target string

	// URL takes their place for a message without a request line: absolute, and
	// within a configured origin.
	URL string

	// Header has the fields that the Guard reads, under their canonical names
	// (http.CanonicalHeaderKey): Authorization, Dpop, Early-Data, Origin, Cookie, the
	// fields of forwarded certificates, and whatever rules read. Every value that
	// arrived must be there: a second Authorization field refuses the request.
	Header http.Header

	// TLS is the connection between the immediate peer and this service; nil if that
	// peer did not use TLS.
	TLS *tls.ConnectionState

	// RemoteAddr is the transport address of the immediate peer, "IP:port". Never
	// take it from a header field.
	RemoteAddr string

	// LocalAddr is this service's end of the connection. Its network tells a unix
	// socket from TCP; without it RemoteAddr is taken for an IP address of the peer,
	// which a peer on a unix socket can choose.
	LocalAddr net.Addr

	// EarlyData says that the request may have come as TLS early data (RFC 8470). A
	// handshake in TLS that is not complete, and an Early-Data field, say so too.
	EarlyData bool

	received *http.Request // which this was made of, or which was made of this; nil: not yet
	native   bool          // received came first: it knows its peer and its URL
	body     bool          // RequestOf saw a body that no field of Header tells of
	odd      bool          // it is a request of HTTP/2 that RFC 9113 calls malformed
}

// RequestOf returns the Request that r is. It shares the header and the TLS state with
// r. The target is r.RequestURI, or that of r.URL for a request that no server received.
func RequestOf(r *http.Request) Request {
	q := nativeRequest(r)
	q.received, q.native = nil, false
	q.body = r.ContentLength != 0 || len(r.TransferEncoding) > 0 // net/http removes Transfer-Encoding; HTTP/2 has none
	q.LocalAddr = peers.Of(r).LocalAddr
	if q.Target == "" && r.URL != nil {
		q.Target = dpop.RequestOf(r).Target
		if r.URL.RawQuery != "" {
			q.Target += "?" + r.URL.RawQuery
		}
	}
	return q
}

// nativeRequest is RequestOf for the Guard itself, which can ask r for the rest.
// Trailers are no fields of it (RFC 9110, section 6.5).
func nativeRequest(r *http.Request) Request {
	return Request{
		Method: r.Method, Host: r.Host, Target: r.RequestURI, Header: r.Header, TLS: r.TLS, RemoteAddr: r.RemoteAddr,
		received: r, native: true, odd: r.ProtoMajor > 1 && isMalformed(r),
	}
}

// http returns the request in the form that rules, sessions and callbacks get. Its
// URL is empty if the target is none.
func (q *Request) http(ctx context.Context) *http.Request {
	if q.received != nil {
		return q.received
	}
	target := q.Target
	if q.URL != "" {
		target = q.URL
	}
	u, err := url.ParseRequestURI(target)
	if err != nil {
		u = new(url.URL)
	}
	host := q.Host
	if q.URL != "" {
		host = u.Host
	}
	r := &http.Request{
		Method: q.Method, URL: u, Host: host, RequestURI: q.Target, Header: q.Header,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Body: http.NoBody, TLS: q.TLS, RemoteAddr: q.RemoteAddr,
	}
	if q.LocalAddr != nil {
		ctx = context.WithValue(ctx, http.LocalAddrContextKey, q.LocalAddr)
	}
	q.received = r.WithContext(ctx)
	return q.received
}

// query is what stands behind the question mark: as a handler will see it.
func (q *Request) query() string {
	if q.native {
		return q.received.URL.RawQuery
	}
	target := q.Target
	if q.URL != "" {
		target = q.URL
	}
	_, query, _ := strings.Cut(target, "?")
	return query
}

// hasBadTarget reports whether the target could not have come with a request of HTTP.
// For HTTP/1.1 a net/http server refuses such itself.
func (q *Request) hasBadTarget() bool {
	if q.odd || q.native || q.Method == http.MethodConnect {
		return q.odd
	}
	target := q.Target
	if q.URL != "" {
		target = q.URL
	}
	_, err := url.ParseRequestURI(target)
	return err != nil
}

// isMalformed reports what net/http takes for a request of HTTP/2 in spite of
// RFC 9113, section 8.3.1: a method that is no token, a path in absolute form, and a Host
// field that names another host than :authority. A handler or proxy behind could read
// each in more than one way.
func isMalformed(r *http.Request) bool {
	if !headers.IsToken(r.Method) {
		return true
	}
	// The target of CONNECT is an authority, unless it asks for another protocol:
	// RFC 8441, section 4. A request that no server received has no RequestURI.
	t := r.RequestURI
	isAuthority := r.Method == http.MethodConnect && len(r.Header[":protocol"]) == 0 && !strings.Contains(t, "/")
	if t != "" && t[0] != '/' && t != "*" && !isAuthority {
		return true
	}
	for _, host := range r.Header["Host"] { // in HTTP/1.1 it is not in Header
		if !strings.EqualFold(host, r.Host) {
			return true
		}
	}
	return false
}

func (q *Request) peer() peers.Peer {
	if q.native {
		return peers.Of(q.received)
	}
	return peers.Peer{RemoteAddr: q.RemoteAddr, LocalAddr: q.LocalAddr}
}

// proof is what a proof in the request is checked against, apart from token and key.
func (q *Request) proof() dpop.Request {
	if q.native {
		return dpop.RequestOf(q.received)
	}
	return dpop.Request{Method: q.Method, Host: q.Host, Target: q.Target, URL: q.URL, Proofs: q.Header[headers.DPoP]}
}

// wasSentTo reports whether the request was sent to one of the given origins, which are
// in the form of package internal/origins. Nothing but these decides which Host is
// believed.
func (q *Request) wasSentTo(own []string) bool {
	r := q.proof()
	named, host := "", r.Host // named: the absolute form of the target
	switch {
	case r.URL != "":
		named = r.URL
	case !strings.HasPrefix(r.Target, "/") && r.Target != "*":
		named = r.Target
	}
	if named == "" {
		return slices.ContainsFunc(own, func(o string) bool { return origins.Answers(o, host) })
	}
	scheme, rest, ok := strings.Cut(named, "://")
	authority := rest
	if end := strings.IndexAny(rest, "/?#"); end >= 0 {
		authority = rest[:end]
	}
	return ok && slices.ContainsFunc(own, func(o string) bool {
		ownScheme, _, _ := strings.Cut(o, "://")
		return strings.ToLower(scheme) == ownScheme && origins.Answers(o, authority) && (r.URL != "" || origins.Answers(o, host))
	})
}

// certificate is what a certificate is looked for in.
func (q *Request) certificate() mtlspop.Request {
	p := q.peer()
	return mtlspop.Request{Header: q.Header, TLS: q.TLS, RemoteAddr: p.RemoteAddr, LocalAddr: p.LocalAddr}
}

// isEarlyData reports whether the request may have come as TLS early data: on a
// handshake that is not finished, or marked by a terminator in front. Any Early-Data
// field counts as "1", even if a client wrote it: the worst that a client can reach by
// lying is to be asked to try again (RFC 8470, sections 3 and 5.1).
func (q *Request) isEarlyData() bool {
	return q.EarlyData || q.TLS != nil && !q.TLS.HandshakeComplete || len(q.Header[headers.EarlyData]) > 0
}

// callerAddress is the default of WithCallerAddress.
func (q *Request) callerAddress() netip.Addr {
	return q.peer().Addr()
}

// isPreflight reports whether the request is a CORS preflight as the Fetch standard
// makes it: no browser sends one with a body, or asks with it for another protocol. A
// handler that forwards such a request would let its client speak with what is behind.
func (q *Request) isPreflight() bool {
	if q.Method != http.MethodOptions || len(q.Header["Upgrade"]) > 0 ||
		len(q.Header["Origin"]) != 1 || len(q.Header["Access-Control-Request-Method"]) != 1 {
		return false
	}
	if q.native {
		return q.received.ContentLength == 0 && len(q.received.TransferEncoding) == 0
	}
	length := q.Header["Content-Length"]
	return !q.body && len(q.Header["Transfer-Encoding"]) == 0 && (len(length) == 0 || len(length) == 1 && length[0] == "0")
}

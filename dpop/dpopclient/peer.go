package dpopclient

import (
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/keybound-go/middleware/internal/headers"
)

const (
	// maxNonce bounds what a server can make the client keep and send; the longest
	// known are encrypted ones of a few hundred bytes.
	maxNonce = 1024
	// minSkew is below what a Date field, which counts whole seconds, can tell.
	minSkew = 2 * time.Second
	// maxSkew is where a wrong Date is likelier than a wrong clock. A proof dated
	// far ahead would be good for as long, so no server may ask for it.
	maxSkew = 24 * time.Hour
)

// A peer is what is known about one origin in one role: memory per server is
// fixed, and there are only as many as were configured. It is safe for concurrent
// use.
type peer struct {
	nonce atomic.Pointer[string] // nil before the first
	skew  atomic.Int64           // its clock minus ours, as a time.Duration
}

// latest returns the newest nonce, or "".
func (p *peer) latest() string {
	if nonce := p.nonce.Load(); nonce != nil {
		return *nonce
	}
	return ""
}

// now is the time by the peer's clock, as far as it is known.
func (p *peer) now() time.Time { return time.Now().Add(time.Duration(p.skew.Load())) }

// learn keeps the nonce of a response, whatever its status (RFC 9449, section 8.2),
// and returns it; "" if there is none that can be used.
func (p *peer) learn(h http.Header) string {
	nonce := nonceIn(h)
	if nonce != "" {
		p.keep(nonce)
	}
	return nonce
}

// nonceIn returns the usable nonce of a response, or "".
func nonceIn(h http.Header) string {
	// RFC 9449, section 8: not more than one. Several say nothing about which counts.
	fields := h.Values("DPoP-Nonce")
	if len(fields) != 1 || !isNonce(fields[0]) {
		return ""
	}
	return fields[0]
}

func (p *peer) keep(nonce string) {
	if nonce != p.latest() {
		nonce = strings.Clone(nonce) // Or it would keep all fields of the response alive.
		p.nonce.Store(&nonce)
	}
}

// setClock takes the peer's clock from the Date field. A stored response (Age) tells
// when it was made, not what time it is.
func (p *peer) setClock(h http.Header) {
	date, err := http.ParseTime(h.Get("Date"))
	if err != nil || h.Get("Age") != "" {
		return
	}
	skew := time.Until(date)
	if skew.Abs() > maxSkew {
		return
	}
	if skew.Abs() < minSkew {
		skew = 0
	}
	p.skew.Store(int64(skew))
}

// isNonce reports whether s is 1*NQCHAR (RFC 9449, section 8.1) of a sane length.
func isNonce(s string) bool {
	return len(s) <= maxNonce && headers.IsNonce(s)
}

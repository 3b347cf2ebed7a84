package main

import (
	"net/http"
	"net/netip"
	"slices"
	"strings"

	"github.com/keybound-go/middleware/internal/peers"
)

// terminators are the peers whose word on a client's address and protocol counts.
func (d *deployment) terminators() *peers.Set {
	d.once.Do(func() { d.peers = peers.New(d.trusted, false, func(string) {}) })
	return d.peers
}

// callerAddress is the address that a wrong secret counts against: the peer, or if that
// is a terminator, the last address in X-Forwarded-For that no terminator has. What
// stands in front of it, any client can have written.
func (d *deployment) callerAddress(r *http.Request) netip.Addr {
	peer := peers.Of(r)
	address := peer.Addr()
	if !d.terminators().Trusts(peer) {
		return address
	}
	fields := strings.Split(strings.Join(r.Header["X-Forwarded-For"], ","), ",")
	for _, field := range slices.Backward(fields) {
		before, ok := forwardedAddress(strings.TrimSpace(field))
		if !ok {
			break // The terminator's own word remains.
		}
		address = before
		if !d.terminators().Holds(before) {
			break
		}
	}
	return address
}

// forwardedAddress reads an element of X-Forwarded-For. Some terminators write the
// port too, and IPv6 addresses in brackets.
func forwardedAddress(s string) (netip.Addr, bool) {
	if ap, err := netip.ParseAddrPort(s); err == nil {
		return ap.Addr().Unmap(), true
	}
	if inside, ok := strings.CutPrefix(s, "["); ok {
		s = strings.TrimSuffix(inside, "]")
	}
	addr, err := netip.ParseAddr(s)
	return addr.Unmap(), err == nil
}

package main

import (
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

// address is the address of a peer.
type address struct{ netip.Addr }

func parseAddress(remote string) (address, error) {
	ap, err := netip.ParseAddrPort(remote)
	return address{ap.Addr().Unmap()}, err
}

func (a address) in(p netip.Prefix) bool { return p.Contains(a.WithZone("")) }

// callerAddress is whom a wrong secret is held against: the peer, or if that is a
// terminator, the last address in X-Forwarded-For that no terminator has. What
// stands in front of it, anybody can have written.
func (d *deployment) callerAddress(r *http.Request) netip.Addr {
	peer, err := parseAddress(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	fields := strings.Split(strings.Join(r.Header["X-Forwarded-For"], ","), ",")
	for _, field := range slices.Backward(fields) {
		if !slices.ContainsFunc(d.trusted, peer.in) {
			break
		}
		before, err := netip.ParseAddr(strings.TrimSpace(field))
		if err != nil {
			break // The terminator's own word remains.
		}
		peer = address{before.Unmap()}
	}
	return peer.Addr
}

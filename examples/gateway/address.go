package main

import "net/netip"

// address is the address of a peer.
type address struct{ netip.Addr }

func parseAddress(remote string) (address, error) {
	ap, err := netip.ParseAddrPort(remote)
	return address{ap.Addr().Unmap()}, err
}

func (a address) in(p netip.Prefix) bool { return p.Contains(a.WithZone("")) }

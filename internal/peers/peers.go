// Package peers answers: did this come straight from a peer that the operator
// trusts?
//
// It is the one meaning of a trusted peer for the whole house: RequireTLS of
// package middleware, package mtlspop, package forwardauth and the gateway ask it.
// What counts is the transport alone: the network of the local end of the
// connection and the address of its remote end. No header field is ever read.
package peers

import (
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

// A Peer is the other end of the connection that a request came over.
type Peer struct {
	// RemoteAddr is "IP:port", as net/http sets Request.RemoteAddr. On a unix
	// socket it is whatever the peer chose to name its own end.
	RemoteAddr string

	// LocalAddr is our end, as [http.LocalAddrContextKey] holds it. Nil is a
	// request that no net/http server received: RemoteAddr is then taken at its
	// word.
	LocalAddr net.Addr
}

// Of returns the peer of r.
func Of(r *http.Request) Peer {
	local, _ := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
	return Peer{RemoteAddr: r.RemoteAddr, LocalAddr: local}
}

// OnUnixSocket reports whether the peer reached a unix socket of this process. The
// listener says so and RemoteAddr cannot: a peer on a unix socket may bind its own end to
// a file, and may name that file 10.0.0.1:80.
func (p Peer) OnUnixSocket() bool {
	return p.LocalAddr != nil && strings.HasPrefix(p.LocalAddr.Network(), "unix")
}

// Addr returns the IP address of the peer, an IPv4-mapped one as IPv4, which is how
// a dual-stack listener's IPv4 peers are named in configurations. It is the zero
// Addr if the peer has none: on any network other than TCP or UDP, and if
// RemoteAddr lacks a port, which some middleware must have taken away.
func (p Peer) Addr() netip.Addr {
	if p.LocalAddr != nil && !isIP(p.LocalAddr.Network()) {
		return netip.Addr{}
	}
	peer, err := netip.ParseAddrPort(p.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	if peer.Addr().Zone() != "" {
		return peer.Addr() // Unmap would drop the zone, and the address would match.
	}
	return peer.Addr().Unmap()
}

// isIP reports whether the addresses of a network are IP addresses.
func isIP(network string) bool {
	return strings.HasPrefix(network, "tcp") || strings.HasPrefix(network, "udp")
}

// A Set is the peers that an operator trusts. It is fixed by [New], and safe for
// concurrent use. The zero Set and the nil Set trust no peer.
type Set struct {
	prefixes []netip.Prefix
	unix     bool
}

// New returns the Set of all peers with an address in one of the prefixes and, if
// unixSockets is set, of all peers on unix sockets: there, the permissions of the
// socket's file decide.
//
// It calls problem with a text for each prefix that [Problem] objects to. Such a
// prefix trusts no peer.
func New(prefixes []netip.Prefix, unixSockets bool, problem func(text string)) *Set {
	s := &Set{unix: unixSockets}
	for _, prefix := range prefixes {
		if text := Problem(prefix); text != "" {
			problem(text)
			continue
		}
		s.prefixes = append(s.prefixes, prefix)
	}
	return s
}

// Empty reports whether the Set trusts no peer.
func (s *Set) Empty() bool { return s == nil || len(s.prefixes) == 0 && !s.unix }

// Trusts reports whether p is one of the peers. It does not allocate if the peer's
// address is one.
//
// An address with a zone is in no prefix: it names an interface of this machine,
// about which a prefix says nothing.
func (s *Set) Trusts(p Peer) bool {
	if s == nil {
		return false
	}
	if p.OnUnixSocket() {
		return s.unix
	}
	return s.holds(p.Addr())
}

// Holds reports whether addr is in one of the prefixes. It is for addresses that a
// trusted peer has told of, such as those of X-Forwarded-For; [Set.Trusts] judges
// the peer itself.
func (s *Set) Holds(addr netip.Addr) bool {
	return s != nil && addr.Zone() == "" && s.holds(addr.Unmap())
}

func (s *Set) holds(addr netip.Addr) bool {
	return slices.ContainsFunc(s.prefixes, func(p netip.Prefix) bool { return p.Contains(addr) })
}

// Overlap says what the two sets have in common, such as "10.1.0.0/16 and
// 10.0.0.0/8 overlap", or is "".
func (s *Set) Overlap(other *Set) string {
	if s.Empty() || other.Empty() {
		return ""
	}
	if s.unix && other.unix {
		return "both trust unix sockets"
	}
	for _, a := range s.prefixes {
		for _, b := range other.prefixes {
			if a.Overlaps(b) {
				return fmt.Sprintf("%v and %v overlap", a, b)
			}
		}
	}
	return ""
}

// The widest prefixes that one operator can own: no IPv4 network is wider than a /8
// such as 10.0.0.0/8 (RFC 1918, section 3), and no registry gives a member an IPv6
// network wider than a /16.
const (
	widest4 = 8
	widest6 = 16
)

var (
	// local6 may be trusted as a whole, although it is wider: the networks that
	// are never routed between operators (RFC 4193, section 3.1;
	// RFC 4291, section 2.5.6).
	local6 = []netip.Prefix{netip.MustParsePrefix("fc00::/7"), netip.MustParsePrefix("fe80::/10")}

	// embedding6 holds all of IPv4 each: 6to4 (RFC 3056, section 2) and the
	// well-known prefix of translators (RFC 6052, section 2.1).
	embedding6 = []netip.Prefix{netip.MustParsePrefix("2002::/16"), netip.MustParsePrefix("64:ff9b::/96")}
)

// Problem says why prefix cannot be trusted, beginning with the prefix, or is "".
// Refused are:
//
//   - the zero Prefix, and IPv4-mapped addresses, which are matched as IPv4;
//   - a prefix with bits set behind its length, which may mean a network or an
//     address;
//   - IPv4 prefixes wider than /8;
//   - IPv6 prefixes wider than /16, unless they lie in fc00::/7 or fe80::/10;
//   - IPv6 prefixes that stand for more of IPv4 than a /8: in 2002::/16 wider than
//     /24, in 64:ff9b::/96 wider than /104.
//
// So no prefix means all addresses, nor half of them, nor any other share of the
// Internet.
func Problem(prefix netip.Prefix) string {
	switch {
	case !prefix.IsValid():
		return prefix.String() + ": the zero Prefix is not valid"
	case prefix.Addr().Is4In6():
		return fmt.Sprintf("%v: IPv4 peers are matched as IPv4: write it so", prefix)
	case prefix != prefix.Masked():
		return fmt.Sprintf("%v has bits set behind its length: a network is %v, an address has the length %d",
			prefix, prefix.Masked(), prefix.Addr().BitLen())
	case tooWide(prefix):
		return fmt.Sprintf("%v is far too wide: there is no way to trust all addresses, or a large share of them", prefix)
	}
	return ""
}

func tooWide(prefix netip.Prefix) bool {
	if prefix.Addr().Is4() {
		return prefix.Bits() < widest4
	}
	within := func(outer netip.Prefix) bool { return prefix.Bits() >= outer.Bits() && outer.Overlaps(prefix) }
	if slices.ContainsFunc(local6, within) {
		return false
	}
	embeds := func(all netip.Prefix) bool { return all.Overlaps(prefix) && prefix.Bits() < all.Bits()+widest4 }
	return prefix.Bits() < widest6 || slices.ContainsFunc(embedding6, embeds)
}

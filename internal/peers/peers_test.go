package peers_test

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/keybound-go/middleware/internal/peers"
)

func set(t testing.TB, unix bool, prefixes ...string) *peers.Set {
	t.Helper()
	var parsed []netip.Prefix
	for _, p := range prefixes {
		parsed = append(parsed, netip.MustParsePrefix(p))
	}
	return peers.New(parsed, unix, func(text string) { t.Error(text) })
}

func TestPrefixesThatAreTooWideAreRefused(t *testing.T) {
	for prefix, want := range map[string]string{
		"10.0.0.0/8":           "",
		"192.0.2.1/32":         "",
		"fc00::/7":             "",
		"fd00::/8":             "",
		"fe80::/10":            "",
		"::1/128":              "",
		"2001:db8::/32":        "",
		"2600::/16":            "",
		"2002:a00::/24":        "",
		"64:ff9b::a00:0/104":   "",
		"0.0.0.0/0":            "far too wide",
		"0.0.0.0/1":            "far too wide",
		"128.0.0.0/1":          "far too wide",
		"64.0.0.0/2":           "far too wide",
		"10.0.0.0/7":           "far too wide",
		"::/0":                 "far too wide",
		"::/1":                 "far too wide",
		"8000::/1":             "far too wide",
		"2000::/3":             "far too wide",
		"2a00::/12":            "far too wide",
		"2600::/15":            "far too wide",
		"fc00::/6":             "far too wide",
		"fe80::/9":             "far too wide",
		"2002::/16":            "far too wide",
		"64:ff9b::/96":         "far too wide",
		"64:ff9b::/32":         "far too wide",
		"64:ff9b::8000:0/97":   "far too wide",
		"::ffff:0.0.0.0/96":    "as IPv4",
		"::ffff:10.0.0.0/104":  "as IPv4",
		"10.1.2.3/8":           "a network is 10.0.0.0/8, an address has the length 32",
		"10.1.2.3/0":           "bits set behind its length",
		"2001:db8::1/32":       "an address has the length 128",
		"255.255.255.255/1":    "bits set behind its length",
		"ffff:ffff:ffff::1/48": "bits set behind its length",
	} {
		t.Run(prefix, func(t *testing.T) {
			p := netip.MustParsePrefix(prefix)
			got := peers.Problem(p)
			if want == "" {
				require.Empty(t, got)
				return
			}
			require.Contains(t, got, want)
			require.Contains(t, got, prefix)

			var told []string
			s := peers.New([]netip.Prefix{p}, false, func(text string) { told = append(told, text) })
			require.Equal(t, []string{got}, told)
			require.True(t, s.Empty(), "what is refused is trusted all the same")
		})
	}
	require.Contains(t, peers.Problem(netip.Prefix{}), "not valid")
}

type addr string

func (a addr) Network() string { return string(a) }
func (a addr) String() string  { return "10.0.0.9:80" }

func TestThePeerIsJudgedByItsTransport(t *testing.T) {
	s := set(t, false, "10.0.0.0/24", "2001:db8::/32", "fe80::/10")
	unix := set(t, true, "10.0.0.0/24")
	tcp := &net.TCPAddr{}
	for _, c := range []struct {
		name             string
		remote           string
		local            net.Addr
		trusted, byAUnix bool
	}{
		{"an address of the prefix", "10.0.0.1:80", tcp, true, true},
		{"one over HTTP/3", "10.0.0.1:80", &net.UDPAddr{}, true, true},
		{"one of a request that no server received", "10.0.0.1:80", nil, true, true},
		{"one that a dual-stack listener shows", "[::ffff:10.0.0.1]:80", tcp, true, true},
		{"an IPv6 address", "[2001:db8::1]:80", tcp, true, false},
		{"another address", "10.0.1.1:80", tcp, false, false},
		{"no port", "10.0.0.1", tcp, false, false},
		{"a port alone", ":80", tcp, false, false},
		{"a name", "localhost:80", tcp, false, false},
		{"nothing", "", tcp, false, false},
		{"a zone", "[fe80::1%eth0]:80", tcp, false, false},
		{"a zone on a mapped address", "[::ffff:10.0.0.1%eth0]:80", tcp, false, false},
		{"R9 a unix socket whose peer calls itself an address", "10.0.0.1:80", &net.UnixAddr{Net: "unix"}, false, true},
		{"R9 the same with packets", "10.0.0.1:80", &net.UnixAddr{Net: "unixpacket"}, false, true},
		{"G14 an honest unix socket", "@", &net.UnixAddr{Net: "unix"}, false, true},
		{"G14 an honest unix socket, unnamed", "", &net.UnixAddr{Net: "unix"}, false, true},
		{"R9 any other network", "10.0.0.1:80", addr("vsock"), false, false},
		{"R9 a pipe", "10.0.0.1:80", addr("pipe"), false, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := peers.Peer{RemoteAddr: c.remote, LocalAddr: c.local}
			require.Equal(t, c.trusted, s.Trusts(p))
			require.Equal(t, c.byAUnix, unix.Trusts(p))

			r := httptest.NewRequest("GET", "/", nil)
			r.RemoteAddr = c.remote
			if c.local != nil {
				r = r.WithContext(context.WithValue(r.Context(), http.LocalAddrContextKey, c.local))
			}
			require.Equal(t, p, peers.Of(r))
			if c.trusted {
				require.Zero(t, testing.AllocsPerRun(10, func() { s.Trusts(peers.Of(r)) }))
			}
		})
	}
}

func TestNoPeerIsTrustedByDefault(t *testing.T) {
	for _, s := range []*peers.Set{nil, {}, set(t, false)} {
		require.True(t, s.Empty())
		require.False(t, s.Trusts(peers.Peer{RemoteAddr: "127.0.0.1:80"}))
		require.False(t, s.Trusts(peers.Peer{LocalAddr: &net.UnixAddr{Net: "unix"}}))
		require.False(t, s.Holds(netip.MustParseAddr("127.0.0.1")))
		require.Empty(t, s.Overlap(set(t, true, "127.0.0.0/8")))
	}
	require.True(t, set(t, false, "10.0.0.0/8").Holds(netip.MustParseAddr("::ffff:10.0.0.1")))
	require.False(t, set(t, false, "10.0.0.0/8").Holds(netip.MustParseAddr("::ffff:10.0.0.1%eth0")))
}

// R9: a real listener and a real peer, since this is about what net/http makes of
// them.
func TestAPeerOnAUnixSocketCannotNameItself(t *testing.T) {
	t.Chdir(t.TempDir()) // The names of sockets are short, and one must be an address.
	listener, err := net.Listen("unix", "service")
	require.NoError(t, err)
	named, unix := set(t, false, "10.0.0.0/8"), set(t, true)
	seen := make(chan peers.Peer, 1)
	server := &http.Server{Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { seen <- peers.Of(r) })}
	go server.Serve(listener)
	t.Cleanup(func() { server.Close() })

	for _, name := range []string{"", "10.0.0.1:80"} {
		client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(context.Context, string, string) (net.Conn, error) {
			var d net.Dialer
			if name != "" {
				d.LocalAddr = &net.UnixAddr{Name: name, Net: "unix"}
			}
			return d.Dial("unix", "service")
		}}}
		resp, err := client.Get("http://api.example/")
		require.NoError(t, err)
		resp.Body.Close()
		p := <-seen
		if name != "" {
			require.Equal(t, name, filepath.Base(p.RemoteAddr))
		}
		require.False(t, named.Trusts(p), p)
		require.True(t, unix.Trusts(p), p)
		require.False(t, p.Addr().IsValid())
	}
}

func TestOverlap(t *testing.T) {
	for _, c := range []struct {
		a, b *peers.Set
		want string
	}{
		{set(t, false, "10.0.0.0/24"), set(t, false, "10.0.1.0/24", "fc00::/7"), ""},
		{set(t, true, "10.0.0.0/24"), set(t, false, "10.0.1.0/24"), ""},
		{set(t, false, "10.0.0.0/24"), set(t, true, "10.0.1.0/24"), ""},
		{set(t, true, "10.0.0.0/24"), nil, ""},
		{set(t, false, "10.0.0.0/24", "10.1.0.0/16"), set(t, false, "192.0.2.0/24", "10.1.2.3/32"), "10.1.0.0/16 and 10.1.2.3/32 overlap"},
		{set(t, true, "10.0.0.0/24"), set(t, true, "10.0.1.0/24"), "both trust unix sockets"},
	} {
		require.Equal(t, c.want, c.a.Overlap(c.b))
	}
	a, b := set(t, false, "10.0.0.0/24"), set(t, false, "10.0.0.128/25")
	require.Equal(t, "10.0.0.128/25 and 10.0.0.0/24 overlap", b.Overlap(a))
}

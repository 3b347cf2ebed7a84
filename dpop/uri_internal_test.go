package dpop

import (
	"cmp"
	"net/netip"
	"net/url"
	"path"
	"strings"
	"testing"

	"github.com/keybound-go/middleware/internal/origins"
	"github.com/stretchr/testify/require"
)

// normal is appendURI for a URI that may have a query.
func normal(uri string) (string, bool) {
	scheme, authority, path, ok := splitURI(withoutQuery(uri))
	if !ok {
		return "", false
	}
	b, ok := origins.AppendAuthority([]byte(scheme+"://"), scheme, authority)
	if !ok {
		return "", false
	}
	b, ok = appendPath(b, path, false)
	return string(b), ok
}

// oracle is what net/url makes of a URI, where it can be compared: ASCII names, and
// paths in which nothing is or needs to be percent-encoded, for which path.Clean does
// what RFC 3986 does.
func oracle(uri string) (string, bool) {
	u, err := url.Parse(uri)
	if err != nil || u.User != nil || u.Opaque != "" || u.Host == "" || strings.Contains(uri, "%") || strings.ContainsFunc(uri, func(r rune) bool { return r > '~' || isEscapable(byte(r)) }) {
		return "", false
	}
	if u.Scheme != "https" && u.Scheme != "http" || strings.Contains(u.Path, "//") {
		return "", false
	}
	host, port := strings.ToLower(u.Hostname()), u.Port()
	if strings.Contains(host, ":") {
		addr, err := netip.ParseAddr(host)
		if err != nil {
			return "", false
		}
		host = "[" + addr.String() + "]"
	}
	if port != "" && (u.Scheme != "https" || port != "443") && (u.Scheme != "http" || port != "80") {
		host += ":" + port
	}
	p := path.Clean("/" + u.Path)
	if last := u.Path[strings.LastIndexByte(u.Path, '/')+1:]; p != "/" && (last == "" || last == "." || last == "..") {
		p += "/"
	}
	return u.Scheme + "://" + host + p, true
}

func FuzzURI(f *testing.F) {
	for _, seed := range []string{
		"https://api.example/a/b", "HTTPS://API.example:443/%7Ea/./../b?q#f", "https://[2001:DB8::1]:8443/", "http://h:/..",
		"https://h/a//b/../../c/.", "https://h/%2e%2E/%2f%zz", "https://u@h/", "https:///a", "//h/a", "https:h", "https://h/a b\\\x00\u00e9",
		"https://[::1%25eth0]/", "https://h:0443/...", "https://h/%25%34%31", "https://h?/../#", "https://h/a/..;/b", "https://[::ffff:1.2.3.4]/",
		"http://h/a\"{b}\u00e9",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, uri string) {
		got, ok := normal(uri)
		if !ok {
			return
		}
		again, ok := normal(got)
		if !ok || again != got {
			t.Errorf("not idempotent: %q -> %q -> %q, %t", uri, got, again, ok)
		}
		for i := range len(got) {
			if c := got[i]; c <= ' ' || c >= 0x7f || c == '\\' || c == '?' || c == '#' {
				t.Errorf("%q -> %q has %q", uri, got, c)
			}
		}
		scheme, authority, p, ok := splitURI(got)
		if !ok || p == "" || p[0] != '/' {
			t.Errorf("%q -> %q has no path", uri, got)
		}
		if segments := strings.Split(p, "/"); strings.Contains(p, "/./") || strings.Contains(p, "/../") ||
			segments[len(segments)-1] == "." || segments[len(segments)-1] == ".." {
			t.Errorf("%q -> %q has dot segments", uri, got)
		}
		if want, comparable := oracle(uri); comparable && got != want {
			t.Errorf("%q -> %q, net/url says %q", uri, got, want)
		}
		// Reflexive, also by the way that does not build the normal form; and a target
		// in normal form is what every spelling of it names.
		o := origin{scheme: scheme, authority: authority, root: scheme + "://" + authority, base: scheme + "://" + authority}
		_, _, raw, _ := splitURI(withoutQuery(uri))
		if !o.names(withoutQuery(uri), raw, false, false) || !o.names(got, p, false, false) || !o.names(withoutQuery(uri), p, false, false) {
			t.Errorf("%q is not itself", uri)
		}
		// The two rows of the table about dots and escapes: the target is never
		// normalised.
		if o.names(got, raw, false, false) && !strings.EqualFold(cmp.Or(raw, "/"), p) {
			t.Errorf("%q names the target %q", got, raw)
		}
		// An origin is its own host, and a longer path is another URI.
		if !o.answers(authority) || o.names(got+"x", raw, false, false) {
			t.Errorf("%q: %q", uri, got)
		}
	})
}

func FuzzOrigin(f *testing.F) {
	f.Add("https://api.example/v1", "/a/../b", "https://api.example/v1/b", "API.example:443")
	f.Add("http://localhost:80/", "", "http://localhost", "localhost")
	f.Add("https://[::1]/%2e%2e/x/", "/%2F", "https://[0::1]/x/%2f?", "[::1]")
	f.Add("http://p//", "/", "http://p/", "p")
	f.Fuzz(func(t *testing.T, base, raw, htu, host string) {
		o, err := newOrigin(base, true)
		if err != nil {
			return
		}
		again, err := newOrigin(o.base, true)
		require.NoError(t, err)
		require.Equal(t, o, again)
		if raw != "" && raw[0] != '/' {
			return
		}
		exact := o.names(htu, raw, false, true)
		if loose := o.names(htu, raw, false, false); exact && !loose {
			t.Errorf("%q under %q: exactly, but not loosely %q", raw, base, htu)
		}
		if exact && htu != o.base+raw {
			t.Errorf("%q is not exactly %q", htu, o.base+raw)
		}
		o.answers(host)
	})
}

func TestNormalising(t *testing.T) {
	t.Run("URI-15 a long URI takes linear time", func(t *testing.T) {
		for _, piece := range []string{"/..", "/.", "/a/..", "%2e", "/%2e%2e", "//", "/a"} {
			uri := "https://h/" + strings.Repeat(piece, 1<<18)
			_, ok := normal(uri)
			require.True(t, ok)
		}
	})
	t.Run("comparing does not allocate", func(t *testing.T) {
		o, err := newOrigin("https://api.example/v1", false)
		require.NoError(t, err)
		long := strings.Repeat("/segment", 20)
		require.Zero(t, testing.AllocsPerRun(100, func() {
			if !o.names("https://api.example/v1"+long, long, false, false) {
				t.Fatal("fast path")
			}
			if !o.answers("API.example:443") {
				t.Fatal("host")
			}
		})-1, "but for making the htu itself")
		htu := "HTTPS://api.example:443/v1/./%7Euser/../~user" + long
		raw := "/~user" + long
		require.Zero(t, testing.AllocsPerRun(100, func() {
			if !o.names(htu, raw, false, false) {
				t.Fatal("slow path")
			}
		}))
	})
}

func BenchmarkTarget(b *testing.B) {
	o, err := newOrigin("https://api.example", false)
	require.NoError(b, err)
	for name, htu := range map[string]string{
		"same": "https://api.example/users/42/orders", "equivalent": "https://API.example:443/users/42/./orders",
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if !o.names(htu, "/users/42/orders", false, false) {
					b.Fatal("refused")
				}
			}
		})
	}
}

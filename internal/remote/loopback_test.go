package remote_test

import (
	"context"
	"encoding/binary"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/keybound-go/middleware/internal/remote"
)

// resolve has the names of hosts stand for addresses as long as the test runs, by a
// name server of its own.
func resolve(t *testing.T, hosts map[string]string) {
	t.Helper()
	server, err := net.ListenPacket("udp", "127.0.0.1:0")
	require.NoError(t, err)
	old := net.DefaultResolver
	net.DefaultResolver = &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "udp", server.LocalAddr().String())
	}}
	t.Cleanup(func() {
		net.DefaultResolver = old
		server.Close()
	})
	go func() {
		for buf := make([]byte, 512); ; {
			n, from, err := server.ReadFrom(buf)
			if err != nil {
				return
			}
			server.WriteTo(nameAnswer(buf[:n], hosts), from)
		}
	}()
}

// nameAnswer answers one question (RFC 1035, section 4).
func nameAnswer(query []byte, hosts map[string]string) []byte {
	var labels []string
	i := 12
	for query[i] != 0 {
		labels = append(labels, string(query[i+1:i+1+int(query[i])]))
		i += 1 + int(query[i])
	}
	kind := binary.BigEndian.Uint16(query[i+1:])
	answer := append([]byte(nil), query[:i+5]...) // header and question
	copy(answer[2:12], []byte{0x84, 0, 0, 1, 0, 0, 0, 0, 0, 0})
	addr, err := netip.ParseAddr(hosts[strings.ToLower(strings.Join(labels, "."))])
	if err != nil || addr.Is4() != (kind == 1) || addr.Is6() != (kind == 28) {
		return answer
	}
	answer[7] = 1
	answer = append(answer, 0xc0, 12, byte(kind>>8), byte(kind), 0, 1, 0, 0, 0, 0)
	data := addr.AsSlice()
	return append(binary.BigEndian.AppendUint16(answer, uint16(len(data))), data...)
}

// DISC-04: not the name decides whether a host is this machine, but the address that
// is dialled.
func TestPlainHTTPIsJudgedByTheDialledAddress(t *testing.T) {
	resolve(t, map[string]string{
		"keycloak.test": "127.0.0.1", "six.test": "::1", "mapped.test": "::ffff:127.0.0.1",
		"elsewhere.test": "192.0.2.1", "private.test": "10.0.0.1", "any.test": "0.0.0.0", "any6.test": "::",
		"localhost.evil.test": "192.0.2.1",
	})
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte("goal")) }))
	defer srv.Close()
	port := srv.URL[strings.LastIndex(srv.URL, ":"):]
	for _, tt := range []struct{ host, err string }{
		{"keycloak.test", ""},
		{"KEYCLOAK.test", ""},
		{"mapped.test", ""},
		{"six.test", "connection refused"}, // permitted, and the server is not there
		{"elsewhere.test", "loopback addresses only"},
		{"private.test", "loopback addresses only"},
		{"any.test", "loopback addresses only"},
		{"any6.test", "loopback addresses only"},
		{"localhost.evil.test", "loopback addresses only"},
		{"10.0.0.1", "https is required"}, // known before it is dialled
	} {
		t.Run("DISC-04 "+tt.host, func(t *testing.T) {
			body, err := visit(t, "http://"+tt.host+port+"/", nil)
			if tt.err == "" {
				require.NoError(t, err)
				require.Equal(t, "goal", body)
				return
			}
			require.ErrorContains(t, err, tt.err)
		})
	}
	t.Run("DISC-04 a client of the user's making: the name decides", func(t *testing.T) {
		_, err := visit(t, "http://keycloak.test"+port+"/", new(http.Client))
		require.ErrorContains(t, err, "https is required")
	})
	t.Run("DISC-04 without the option a client sends no http at all", func(t *testing.T) {
		_, err := remote.NewClient(remote.ClientConfig{}).Get(srv.URL)
		require.ErrorContains(t, err, "https is required")
	})
}

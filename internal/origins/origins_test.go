package origins_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/keybound-go/middleware/internal/origins"
)

func TestOneOriginHasOneForm(t *testing.T) {
	for _, tt := range []struct{ scheme, authority, want string }{
		{"https", "api.example", "https://api.example"},
		{"HTTPS", "API.example:443", "https://api.example"},
		{"https", "api.example:", "https://api.example"},
		{"https", "api.example:80", "https://api.example:80"},
		{"http", "api.example:80", "http://api.example"},
		{"http", "api.example:443", "http://api.example:443"},
		{"https", "[2001:DB8:0:0::1]:443", "https://[2001:db8::1]"},
		{"https", "[::1]:8443", "https://[::1]:8443"},
		{"https", "127.0.0.1:8443", "https://127.0.0.1:8443"},
	} {
		require.Equal(t, tt.want, origins.Of(tt.scheme, tt.authority))
	}
}

func TestOnlyLoopbackIsThisMachine(t *testing.T) {
	for host, want := range map[string]bool{
		"localhost": true, "LocalHost": true, "127.0.0.1": true, "127.255.255.254": true, "::1": true, "::ffff:127.0.0.1": true,
		"": false, "0.0.0.0": false, "::": false, "::ffff:0.0.0.0": false, "10.0.0.1": false, "localhost.": false, "localhost.example": false,
		"127.0.0.1.example": false, "127.1": false, "[::1]": false, "2130706433": false, "0x7f.0.0.1": false, "fe80::1": false,
	} {
		require.Equal(t, want, origins.IsLoopback(host), host)
	}
}

package main

import (
	"net/http/httptest"
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestWhomAWrongSecretIsHeldAgainst(t *testing.T) {
	d := &deployment{trusted: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}}
	for _, test := range []struct {
		name, peer string
		fields     []string
		want       string
	}{
		{"a client", "192.0.2.1:1", nil, "192.0.2.1"},
		{"a client that writes the field itself", "192.0.2.1:1", []string{"192.0.2.9"}, "192.0.2.1"},
		{"a terminator's client", "10.0.0.1:1", []string{"192.0.2.1"}, "192.0.2.1"},
		{"a terminator's client that writes the field itself", "10.0.0.1:1", []string{"192.0.2.9, 192.0.2.1"}, "192.0.2.1"},
		{"the same on two lines", "10.0.0.1:1", []string{"192.0.2.9", "192.0.2.1"}, "192.0.2.1"},
		{"two terminators", "10.0.0.1:1", []string{"192.0.2.9, 192.0.2.1, 10.0.0.2"}, "192.0.2.1"},
		{"a client that claims to be a terminator", "10.0.0.1:1", []string{"192.0.2.9, 10.9.9.9, 192.0.2.1"}, "192.0.2.1"},
		{"a terminator itself", "10.0.0.1:1", nil, "10.0.0.1"},
		{"garbage from a terminator", "10.0.0.1:1", []string{"192.0.2.1, unknown"}, "10.0.0.1"},
		{"a dual-stack listener", "[::ffff:10.0.0.1]:1", []string{"::ffff:192.0.2.1"}, "192.0.2.1"},
		{"a terminator that writes the port", "10.0.0.1:1", []string{"192.0.2.1:40001"}, "192.0.2.1"},
		{"a terminator that writes brackets", "10.0.0.1:1", []string{"[2001:db8::1]"}, "2001:db8::1"},
		{"a terminator that writes both", "10.0.0.1:1", []string{"192.0.2.9, [2001:db8::1]:40001"}, "2001:db8::1"},
		{"no address", "@", []string{"192.0.2.1"}, "invalid IP"},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := httptest.NewRequest("GET", "/", nil)
			r.RemoteAddr = test.peer
			r.Header["X-Forwarded-For"] = test.fields
			require.Equal(t, test.want, d.callerAddress(r).String())
		})
	}
}

func netipOf(t *testing.T, address string) netip.AddrPort {
	t.Helper()
	ap, err := netip.ParseAddrPort(address)
	require.NoError(t, err)
	return ap
}

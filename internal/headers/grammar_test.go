package headers_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/keybound-go/middleware/internal/headers"
)

// Every byte, alone and at every place of a text that is longer than a machine word,
// is in the classes that the RFCs have it in.
func TestEveryByteIsInItsClasses(t *testing.T) {
	const alphanumeric = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
	for _, class := range []struct {
		name string
		is   func(string) bool
		in   func(c byte) bool
	}{
		{"token68", headers.IsToken68, func(c byte) bool { return strings.IndexByte(alphanumeric+"-._~+/", c) >= 0 }},
		{"token", headers.IsToken, func(c byte) bool { return strings.IndexByte(alphanumeric+"!#$%&'*+-.^_`|~", c) >= 0 }},
		{"VSCHAR without the space", headers.IsVisible, func(c byte) bool { return c > 0x20 && c < 0x7f }},
		{"NQCHAR", headers.IsNonce, func(c byte) bool { return c == 0x21 || 0x23 <= c && c <= 0x5b || 0x5d <= c && c <= 0x7e }},
		{"scope-token", headers.IsScope, func(c byte) bool { return c == 0x21 || 0x23 <= c && c <= 0x5b || 0x5d <= c && c <= 0x7e }},
	} {
		require.False(t, class.is(""), class.name)
		for c := range 256 {
			want := class.in(byte(c))
			require.Equal(t, want, class.is(string([]byte{byte(c)})), "%s: %#x", class.name, c)
			if class.name == "token68" && c == '=' {
				continue // the padding
			}
			for i := range 19 {
				text := []byte(strings.Repeat("a", 19))
				text[i] = byte(c)
				require.Equal(t, want, class.is(string(text)), "%s: %q", class.name, text)
			}
		}
	}
}

func TestThePaddingOfAToken68(t *testing.T) {
	for text, want := range map[string]bool{"a=": true, "a==": true, "aaaaaaaa=": true, "=": false, "a=a": false, "=a": false} {
		require.Equal(t, want, headers.IsToken68(text), text)
	}
}

func TestTheLeadingToken(t *testing.T) {
	for text, want := range map[string]string{"DPoP abc": "DPoP", "Bearer": "Bearer", "": "", " Bearer": "", "Basic\tx": "Basic", "é": "", "a,b": "a"} {
		require.Equal(t, want, headers.LeadingToken(text), text)
	}
}

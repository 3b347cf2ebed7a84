package headers_test

import (
	"strings"
	"testing"

	"github.com/keybound-go/middleware/internal/headers"
)

func TestIsToken68(t *testing.T) {
	for s, want := range map[string]bool{
		"": false, "=": false, "==": false, "a": true, "a=": true, "a==": true, "=a": false, "a=a": false, "a b": false,
		"mF_9.B5f-4.1JqM": true, "abc+/~==": true, "12345678": true, "12345678=": true, "12345678\n": false,
	} {
		if got := headers.IsToken68(s); got != want {
			t.Errorf("%q: %v", s, got)
		}
	}
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~+/"
	for c := range 256 {
		text := string([]byte{byte(c)})
		want := strings.Contains(alphabet, text)
		for before := range 20 {
			s := strings.Repeat("a", before) + text + strings.Repeat("b", 19-before)
			if got := headers.IsToken68(s); got != want && (c != '=' || before < 19) {
				t.Errorf("%q: %v", s, got)
			}
		}
	}
}

package dpopclient_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/keybound-go/middleware/dpop/dpopclient"
)

// CLI-13. FuzzChallengeRoundTrip writes challenges by the grammar of
// RFC 9110, section 11.6.1, in any spelling that it allows (tokens and quoted-strings,
// quoted-pairs, bad white space, empty elements, token68), and reads them again.
func FuzzChallengeRoundTrip(f *testing.F) {
	f.Add([]byte("DPoP error use_dpop_nonce algs ES256"))
	f.Add([]byte("\x00\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c\x0d\x0e\x0f\x10\x11\x12\x13\x14"))
	f.Add([]byte(`"\,= ` + "\t" + `"\,= ` + "\t" + strings.Repeat("xyz", 40)))
	f.Add([]byte(strings.Repeat("\xff\x80\x7f\x41", 60)))
	f.Fuzz(func(t *testing.T, choices []byte) {
		w := challengeWriter{choices: choices}
		want := w.challenges()
		got := dpopclient.ParseChallenges(w.line.String())
		require.Len(t, got, len(want), "%q", w.line.String())
		for i := range want {
			require.Equal(t, want[i], got[i], "%q", w.line.String())
		}
		asks := false
		for _, c := range want {
			asks = asks || strings.EqualFold(c.Scheme, "DPoP") && c.Params["error"] == "use_dpop_nonce"
		}
		require.Equal(t, asks, dpopclient.AsksForNonce([]string{w.line.String()}), "%q", w.line.String())
	})
}

// A challengeWriter spells challenges as its choices say; when they are used up it
// chooses the first of everything.
type challengeWriter struct {
	choices []byte
	line    strings.Builder
}

func (w *challengeWriter) choose(n int) int {
	if len(w.choices) == 0 {
		return 0
	}
	c := int(w.choices[0])
	w.choices = w.choices[1:]
	return c % n
}

func (w *challengeWriter) write(texts ...string) { w.line.WriteString(texts[w.choose(len(texts))]) }

func (w *challengeWriter) challenges() (list []dpopclient.Challenge) {
	w.write("", ",", " , ,", "\t,")
	for n := 1 + w.choose(4); len(list) < n; {
		c := dpopclient.Challenge{Scheme: []string{"DPoP", "dpop", "Bearer", "Negotiate", "x!#$%&'*+-.^_`|~1"}[w.choose(5)], Params: make(map[string]string)}
		w.line.WriteString(c.Scheme)
		switch w.choose(6) {
		case 4: // nothing
		case 5:
			w.write(" ", "   ")
			w.write("abc", "a-._~+/Z9", "YWJj=", "YWJj==")
		default:
			w.write(" ", "   ")
			w.params(c.Params)
		}
		list = append(list, c)
		if len(list) < n {
			w.write(", ", ",", " \t,\t ", ", ,, ")
		}
	}
	w.write("", ",", " ,")
	return list
}

func (w *challengeWriter) params(into map[string]string) {
	names := []string{"error", "algs", "realm", "error_description", "x-1", "scope"}
	for n, i := 1+w.choose(len(names)), 0; i < n; i++ {
		if i > 0 {
			w.write(", ", ",", " , ", ",,\t")
		}
		w.line.WriteString(names[i])
		w.write("=", " =", "= ", "\t = \t")
		into[names[i]] = w.value()
	}
}

func (w *challengeWriter) value() string {
	if w.choose(3) == 0 {
		text := []string{"use_dpop_nonce", "a", "1.5", "!#$%&'*+-.^_`|~"}[w.choose(4)]
		w.line.WriteString(text)
		return text
	}
	if w.choose(3) == 0 {
		w.line.WriteString(`"use_dpop_nonce"`)
		return "use_dpop_nonce"
	}
	// A quoted-string (RFC 9110, section 5.6.4): qdtext, and quoted-pairs of any of
	// HTAB, SP, VCHAR and obs-text.
	var text strings.Builder
	w.line.WriteByte('"')
	for range w.choose(12) {
		c := byte(w.choose(256))
		switch {
		case c == '\t', c >= ' ' && c != 0x7f:
		default:
			c = ','
		}
		if c == '"' || c == '\\' || w.choose(8) == 7 {
			w.line.WriteByte('\\')
		}
		w.line.WriteByte(c)
		text.WriteByte(c)
	}
	w.line.WriteByte('"')
	return text.String()
}

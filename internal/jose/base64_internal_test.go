package jose

import (
	"bytes"
	"crypto/rand"
	"testing"
)

// reference is appendDecoded by encoding/base64 alone.
func reference(dst, src []byte) ([]byte, bool) {
	if bytes.ContainsAny(src, "\r\n") {
		return dst, false
	}
	dst, err := base64url.AppendDecode(dst, src)
	return dst, err == nil
}

func requireSameBytes(t *testing.T, src []byte) {
	t.Helper()
	for _, dst := range [][]byte{nil, []byte("abc"), make([]byte, 3, 1000)} {
		got, ok := appendDecoded(dst, src)
		want, wantOK := reference(dst, src)
		if ok != wantOK || ok && !bytes.Equal(got, want) {
			t.Fatalf("%q: %q %v, encoding/base64 %q %v", src, got, ok, want, wantOK)
		}
	}
}

func TestBase64IsDecodedAsByEncodingBase64(t *testing.T) {
	plain := make([]byte, 64)
	rand.Read(plain)
	for n := range plain {
		src := encoded(plain[:n])
		requireSameBytes(t, src)
		for i := range src {
			for c := range 256 {
				changed := bytes.Clone(src)
				changed[i] = byte(c)
				requireSameBytes(t, changed)
			}
		}
		for cut := range src {
			requireSameBytes(t, src[:cut])
		}
	}
}

func FuzzBase64(f *testing.F) {
	for _, seed := range []string{"", "A", "AA", "AAA", "AAAA", "AAAB", "AAAAA", "AA==", "AAAA\n", "\r", "__--", "++//"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, src []byte) { requireSameBytes(t, src) })
}

func BenchmarkBase64(b *testing.B) {
	src := encoded(make([]byte, 600))
	dst := make([]byte, 0, 1000)
	for name, decode := range map[string]func(dst, src []byte) ([]byte, bool){"appendDecoded": appendDecoded, "encoding/base64": reference} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(src)))
			for b.Loop() {
				if _, ok := decode(dst, src); !ok {
					b.Fatal("refused")
				}
			}
		})
	}
}

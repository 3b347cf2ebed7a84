package seal

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
)

var (
	first  = bytes.Repeat([]byte{1}, 32)
	second = bytes.Repeat([]byte{2}, 32)
)

func ring(t testing.TB, domain string, keys ...[]byte) *Ring {
	t.Helper()
	r, problems := New(domain, keys...)
	require.Empty(t, problems)
	return r
}

func seal(t testing.TB, r *Ring, context, text, additional string) []byte {
	t.Helper()
	sealed, err := r.Seal([]byte("in front "), []byte(context), []byte(text), []byte(additional))
	require.NoError(t, err)
	require.Len(t, sealed, len("in front ")+len(text)+Overhead)
	return bytes.TrimPrefix(sealed, []byte("in front "))
}

func TestWhatIsSealedOpensInItsOwnPlaceOnly(t *testing.T) {
	r := ring(t, "domain", first)
	sealed := seal(t, r, "context", "text", "additional")
	text, ok := r.Open([]byte("context"), sealed, []byte("additional"))
	require.True(t, ok)
	require.Equal(t, "text", string(text))
	for name, other := range map[string]*Ring{"another key": ring(t, "domain", second), "another domain": ring(t, "another", first)} {
		_, ok := other.Open([]byte("context"), sealed, []byte("additional"))
		require.False(t, ok, name)
	}
	for _, place := range [][2]string{{"another", "additional"}, {"context", "another"}, {"", ""}} {
		_, ok := r.Open([]byte(place[0]), sealed, []byte(place[1]))
		require.False(t, ok, place)
	}
	for i := range sealed {
		for bit := range 8 {
			changed := bytes.Clone(sealed)
			changed[i] ^= 1 << bit
			_, ok := r.Open([]byte("context"), changed, []byte("additional"))
			require.False(t, ok, "%d %d", i, bit)
		}
		_, ok := r.Open([]byte("context"), sealed[:i], []byte("additional"))
		require.False(t, ok, "cut at %d", i)
	}
	require.NotEqual(t, sealed, seal(t, r, "context", "text", "additional"), "no two are alike")
}

func TestKeysAreExchanged(t *testing.T) {
	old := ring(t, "domain", first)
	both := ring(t, "domain", second, first)
	_, ok := both.Open(nil, seal(t, old, "", "text", ""), nil)
	require.True(t, ok)
	_, ok = old.Open(nil, seal(t, both, "", "text", ""), nil)
	require.False(t, ok, "the first key seals")
	names, err := both.Names()
	require.NoError(t, err)
	oldNames, err := old.Names()
	require.NoError(t, err)
	require.Equal(t, oldNames, names[1:])
	require.NotEqual(t, names[0], names[1])
}

// P1: a build with GOEXPERIMENT=boringcrypto has a cipher that cannot make nonces, and
// the FIPS 140 module one that must. What either has sealed opens with the other.
func TestBothWaysOfSealingAreTheSame(t *testing.T) {
	secret := bytes.Repeat([]byte{3}, 32)
	block, err := aes.NewCipher(secret)
	require.NoError(t, err)
	made, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		t.Skip("this build has one way: ", err)
	}
	given, err := cipher.NewGCM(block)
	if err != nil {
		t.Skip("this mode has one way: ", err)
	}
	ways := []sealer{{made, true}, {given, false}}
	for _, seals := range ways {
		sealed := seals.seal([]byte("x"), []byte("text"), []byte("a"))[1:]
		require.Len(t, sealed, len("text")+Overhead)
		for _, opens := range ways {
			text, err := opens.open(sealed, []byte("a"))
			require.NoError(t, err)
			require.Equal(t, "text", string(text))
			for i := range sealed {
				_, err = opens.open(sealed[:i], []byte("a"))
				require.Error(t, err)
			}
		}
	}
}

func TestKeysThatCannotBe(t *testing.T) {
	_, problems := New("domain", first[:31], second, nil, second)
	require.Equal(t, "[key 1 has 31 bytes, not 32 or more key 3 has 0 bytes, not 32 or more key 4 is key 2 again]", fmt.Sprint(problems))
}

func FuzzOpen(f *testing.F) {
	r := ring(f, "domain", first)
	f.Add(seal(f, r, "", "text", ""))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, sealed []byte) {
		if text, ok := r.Open(nil, sealed, nil); ok && string(text) != "text" {
			t.Errorf("%x opens as %q", sealed, text)
		}
	})
}

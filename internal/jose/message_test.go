package jose_test

import (
	"encoding/base64"
	"fmt"
	"strings"
	"testing"

	"github.com/keybound-go/middleware/internal/jose"
	"github.com/keybound-go/middleware/internal/josetest"
)

const goodHeader = `{"alg":"ES256","typ":"dpop+jwt","kid":"1"}`

func parse(compact string) error {
	_, err := jose.Parse(compact, testMaxSize)
	return err
}

func TestParseRefusesEveryOtherForm(t *testing.T) {
	good := josetest.Compact([]byte(goodHeader), []byte(`{}`), make([]byte, 64))
	if err := parse(good); err != nil {
		t.Fatal(err)
	}
	parts := strings.Split(good, ".")
	for _, test := range []struct {
		name    string
		compact string
		want    jose.Error
	}{
		{"BCP-bis-1 nothing at all", "", jose.ErrForm},
		{"BCP-bis-1 one part", parts[0], jose.ErrForm},
		{"BCP-bis-1 two parts", parts[0] + "." + parts[1], jose.ErrForm},
		{"BCP-bis-1 four parts", good + ".e30", jose.ErrForm},
		{"BCP-bis-1 six parts", good + ".e30.e30.e30", jose.ErrForm},
		{"BCP-bis-1 a JSON serialization", `{"payload":"e30","protected":"a.b.c"}`, jose.ErrForm},
		{"BCP-bis-1 surrounded by quotes", `"` + good + `"`, jose.ErrForm},
		{"BCP-bis-1 percent-encoded", strings.Replace(good, "e", "%65", 1), jose.ErrForm},
		{"BCP-bis-2 five parts are a JWE", good + ".e30.e30", jose.ErrEncrypted},
		{"B64-01 padding in the header", base64.URLEncoding.EncodeToString([]byte(goodHeader+" ")) + "." + parts[1] + "." + parts[2], jose.ErrForm},
		{"B64-01 padding in the payload", parts[0] + "." + parts[1] + "=." + parts[2], jose.ErrForm},
		{"B64-01 padding in the signature", good + "==", jose.ErrForm},
		{"B64-01 a newline at the end", good + "\n", jose.ErrForm},
		{"B64-01 a space in front", " " + good, jose.ErrForm},
		{"B64-02 trailing bits in the header", lastCharacterPlusOne(b64([]byte(goodHeader+" "))) + "." + parts[1] + "." + parts[2], jose.ErrForm},
		{"B64-02 trailing bits in the payload", parts[0] + ".e31." + parts[2], jose.ErrForm},
		{"B64-02 trailing bits in the signature", lastCharacterPlusOne(good), jose.ErrForm},
		{"an empty header", "." + parts[1] + "." + parts[2], jose.ErrHeader},
	} {
		t.Run(test.name, func(t *testing.T) {
			if err := parse(test.compact); err != test.want {
				t.Errorf("%q: %v, want %v", test.compact, err, test.want)
			}
		})
	}
}

// lastCharacterPlusOne changes only bits that the decoder throws away, if
// there are such bits.
func lastCharacterPlusOne(s string) string {
	return s[:len(s)-1] + string(s[len(s)-1]+1)
}

func TestParseTakesNoByteOutsideTheAlphabet(t *testing.T) {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	good := josetest.Compact([]byte(goodHeader), []byte(`{"a":"bcdefghi"}`), make([]byte, 64))
	positions := []int{strings.Index(good, ".") + 9, strings.LastIndex(good, ".") + 9}
	for c := range 256 {
		t.Run(fmt.Sprintf("B64-01 byte %#02x", c), func(t *testing.T) {
			for _, at := range positions {
				err := parse(good[:at] + string([]byte{byte(c)}) + good[at+1:])
				if allowed := strings.IndexByte(alphabet, byte(c)) >= 0; allowed != (err == nil) {
					t.Errorf("at %d: %v", at, err)
				}
				// Inserted, so that a decoder that skips it finds the same text.
				if strings.IndexByte(alphabet, byte(c)) < 0 {
					if err := parse(good[:at] + string([]byte{byte(c)}) + good[at:]); err == nil {
						t.Errorf("skipped at %d", at)
					}
				}
			}
		})
	}
}

func TestParseJudgesTheHeader(t *testing.T) {
	deep := func(n int) string { return strings.Repeat("[", n) + strings.Repeat("]", n) }
	for _, test := range []struct {
		name   string
		header string
		want   error
	}{
		{"the good header", goodHeader, nil},
		{"white space between tokens", " {\r\n\t\"alg\" : \"ES256\" } ", nil},
		{"an escaped name", `{"\u0061lg":"ES256"}`, nil},
		{"no alg", `{"typ":"dpop+jwt"}`, jose.ErrHeader},
		{"alg empty", `{"alg":""}`, jose.ErrHeader},
		{"alg null", `{"alg":null}`, jose.ErrHeader},
		{"alg an array", `{"alg":["ES256"]}`, jose.ErrHeader},
		{"alg a number", `{"alg":256}`, jose.ErrHeader},
		{"typ null", `{"alg":"ES256","typ":null}`, jose.ErrHeader},
		{"typ an array", `{"alg":"ES256","typ":["dpop+jwt"]}`, jose.ErrHeader},
		{"kid a number", `{"alg":"ES256","kid":1}`, jose.ErrHeader},
		{"BCP-3.10 kid is any text, and only text", `{"alg":"ES256","kid":"../../'; DROP TABLE keys;--\u0000\n"}`, nil},
		{"jwk a string", `{"alg":"ES256","jwk":"{}"}`, jose.ErrHeader},
		{"jwk an array", `{"alg":"ES256","jwk":[]}`, jose.ErrHeader},
		{"jwk null", `{"alg":"ES256","jwk":null}`, jose.ErrHeader},
		{"JWS-4 unknown members are ignored", `{"alg":"ES256","x":{"y":[1,null]},"cty":7}`, nil},
		{"BCP-3.10 jku, x5u and x5c are ignored", `{"alg":"ES256","jku":"https://evil.example/","x5u":"https://evil.example/","x5c":["AA"]}`, nil},
		{"JWS-4.1.11 crit names an extension", `{"alg":"ES256","crit":["exp"],"exp":1}`, jose.ErrCritical},
		{"JWS-4.1.11 crit names b64", `{"alg":"ES256","crit":["b64"],"b64":true}`, jose.ErrCritical},
		{"JWS-4.1.11 crit is empty", `{"alg":"ES256","crit":[]}`, jose.ErrCritical},
		{"JWS-4.1.11 crit is null", `{"alg":"ES256","crit":null}`, jose.ErrCritical},
		{"JWS-4.1.11 crit is a string", `{"alg":"ES256","crit":"b64"}`, jose.ErrCritical},
		{"JWS-4.1.11 crit names a registered member", `{"alg":"ES256","crit":["alg"]}`, jose.ErrCritical},
		{"JWS-4.1.11 crit with an escaped name", `{"alg":"ES256","\u0063rit":["exp"]}`, jose.ErrCritical},
		{"JWS-7797 b64 false", `{"alg":"ES256","b64":false}`, jose.ErrCritical},
		{"JWS-7797 b64 false and critical", `{"alg":"ES256","b64":false,"crit":["b64"]}`, jose.ErrCritical},
		{"JWS-7797 b64 a string", `{"alg":"ES256","b64":"true"}`, jose.ErrCritical},
		{"JWS-7797 b64 true is how it is anyway", `{"alg":"ES256","b64":true}`, nil},
		{"JSON-01 alg twice", `{"alg":"ES256","alg":"ES256"}`, jose.ErrHeader},
		{"JSON-01 alg twice, once escaped", `{"alg":"ES256","\u0061lg":"none"}`, jose.ErrHeader},
		{"JSON-01 twice in an ignored member", `{"alg":"ES256","x":[{"y":{"z":1,"z":1}}]}`, jose.ErrHeader},
		{"JSON-01 twice in the jwk", `{"alg":"ES256","jwk":{"kty":"EC","kty":"EC"}}`, jose.ErrHeader},
		{"JSON-02 ALG is another name", `{"alg":"ES256","ALG":"none","CRIT":["x"],"B64":false}`, nil},
		{"JSON-02 ALG alone is no alg", `{"ALG":"ES256"}`, jose.ErrHeader},
		{"JSON-03 BCP-3.7 invalid UTF-8", "{\"alg\":\"ES256\",\"x\":\"\xff\"}", jose.ErrHeader},
		{"JSON-03 BCP-3.7 invalid UTF-8 in a name", "{\"alg\":\"ES256\",\"\xc0\xaf\":1}", jose.ErrHeader},
		{"JSON-03 a byte order mark", "\ufeff" + goodHeader, jose.ErrHeader},
		{"JSON-03 a lone surrogate", `{"alg":"ES256","x":"\ud800"}`, jose.ErrHeader},
		{"JSON-03 UTF-16", "{\x00\"\x00a\x00l\x00g\x00\"\x00", jose.ErrHeader},
		{"JSON-04 not an object", `["alg","ES256"]`, jose.ErrHeader},
		{"JSON-04 null", `null`, jose.ErrHeader},
		{"JSON-04 something after it", goodHeader + `{}`, jose.ErrHeader},
		{"JSON-04 a NUL after it", goodHeader + "\x00", jose.ErrHeader},
		{"JSON-04 a comma too many", `{"alg":"ES256",}`, jose.ErrHeader},
		{"JSON-04 a comment", `{"alg":"ES256"/**/}`, jose.ErrHeader},
		{"JSON-04 cut short", `{"alg":"ES256"`, jose.ErrHeader},
		{"JSON-04 depth 8", `{"alg":"ES256","x":` + deep(7) + `}`, nil},
		{"JSON-04 depth 9", `{"alg":"ES256","x":` + deep(8) + `}`, jose.ErrTooDeep},
		{"JSON-04 a nesting bomb", `{"alg":"ES256","x":` + strings.Repeat("[", 5000), jose.ErrTooDeep},
	} {
		t.Run(test.name, func(t *testing.T) {
			if err := parse(josetest.Compact([]byte(test.header), []byte(`{}`), nil)); err != test.want {
				t.Errorf("%v, want %v", err, test.want)
			}
		})
	}
}

func TestParseReturnsWhatTheHeaderSays(t *testing.T) {
	const jwk = `{"kty":"EC",  "crv" :"P-256"}`
	m, err := jose.Parse(josetest.Compact([]byte(`{"kid":"a\u0000\"é","alg":"\u0045S256", "jwk": `+jwk+` ,"typ":"X"}`),
		[]byte("any\xffthing"), nil), testMaxSize)
	if err != nil {
		t.Fatal(err)
	}
	if m.Header.Algorithm != "ES256" || m.Header.Type != "X" || m.Header.KeyID != "a\x00\"é" || string(m.Header.JWK) != jwk {
		t.Errorf("%+v", m.Header)
	}
	if string(m.Payload) != "any\xffthing" {
		t.Errorf("%q", m.Payload)
	}
}

func TestParseReturnsNoMemoryThatAppendCouldShare(t *testing.T) {
	m, err := jose.Parse(goodProof(testKeys()["ES256"]), testMaxSize)
	if err != nil {
		t.Fatal(err)
	}
	key, _, err := jose.ParseKey(m.Header.JWK)
	if err != nil {
		t.Fatal(err)
	}
	if cap(m.Payload) != len(m.Payload) || cap(m.Header.JWK) != len(m.Header.JWK) {
		t.Error("append would write into what the message holds")
	}
	if err := m.Verify(key.Public); err != nil {
		t.Error(err)
	}
}

func TestParseKeepsToItsLimits(t *testing.T) {
	compact := josetest.Compact([]byte(goodHeader), []byte(`{"a":[{}]}`), nil)
	t.Run("LIM-01 exactly the maximum", func(t *testing.T) {
		if _, err := jose.Parse(compact, len(compact)); err != nil {
			t.Error(err)
		}
	})
	t.Run("LIM-01 one byte more, before anything else is looked at", func(t *testing.T) {
		for _, s := range []string{compact, strings.Repeat(".", len(compact))} {
			if _, err := jose.Parse(s, len(s)-1); err != jose.ErrTooLarge {
				t.Error(err)
			}
		}
	})
	t.Run("LIM-01 no size is no message", func(t *testing.T) {
		if _, err := jose.Parse(compact, 0); err != jose.ErrTooLarge {
			t.Error(err)
		}
	})
}

func TestIsTypeComparesMediaTypes(t *testing.T) {
	for _, test := range []struct {
		typ  string
		want bool
	}{
		{"at+jwt", true},
		{"at+JWT", true},
		{"AT+JWT", true},
		{"application/at+jwt", true},
		{"APPLICATION/At+Jwt", true},
		{"", false},
		{"JWT", false},
		{"dpop+jwt", false},
		{"application/", false},
		{"application/JWT", false},
		{"application/application/at+jwt", false},
		{"text/at+jwt", false},
		{"at+jwt ", false},
		{" at+jwt", false},
		{"at+jwt;v=1", false},
		{"at+jwtx", false},
		{"xapplication/at+jwt", false},
	} {
		t.Run("AMB-15 "+test.typ, func(t *testing.T) {
			if got := jose.IsType(test.typ, "at+jwt"); got != test.want {
				t.Errorf("%v", got)
			}
		})
	}
	t.Run("AMB-15 the Kelvin sign is not a k", func(t *testing.T) {
		if jose.IsType("\u212a+jwt", "k+jwt") {
			t.Error("folded beyond ASCII")
		}
	})
}

func TestNoKindOfErrorIsWithoutText(t *testing.T) {
	seen := map[string]jose.Error{}
	for e := jose.ErrForm; e <= jose.ErrKeySet; e++ {
		text := e.Error()
		if !strings.HasPrefix(text, "jose: ") || text == jose.Error(255).Error() {
			t.Errorf("%d: %q", e, text)
		}
		if other, dup := seen[text]; dup {
			t.Errorf("%d and %d: %q", e, other, text)
		}
		seen[text] = e
	}
}

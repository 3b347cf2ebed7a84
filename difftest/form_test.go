package difftest_test

import (
	"strings"
	"testing"

	gojose "github.com/go-jose/go-jose/v4"
	"github.com/golang-jwt/jwt/v5"
	"github.com/lestrrat-go/jwx/v3/jwe"
	"github.com/lestrrat-go/jwx/v3/jws"

	"github.com/keybound-go/middleware/internal/jose"
	"github.com/keybound-go/middleware/internal/josetest"
)

// FuzzForm: what any of the libraries, as lenient as they are, can read as a JWS or JWE
// is no opaque token here, and what is canonical here has the parts that they see. An
// issuer with such a library may take one token in many spellings: none of them may be
// remembered as a token of its own.
func FuzzForm(f *testing.F) {
	for _, header := range headers() {
		f.Add(josetest.Compact([]byte(header), []byte(`{}`), make([]byte, 64)))
	}
	encrypted := b64([]byte(`{"alg":"dir","enc":"A256GCM"}`)) + ".." + b64(make([]byte, 12)) + ".AA." + b64(make([]byte, 16))
	for _, text := range []string{encrypted, encrypted + "=", " " + encrypted, strings.Replace(encrypted, "..", ".AA.", 1), "opaque", "a.b.c", `{"payload":"","signatures":[]}`, "eyJhbGciOiJFUzI1NiJ9.e30.AA==", "ey\nJhbGciOiJFUzI1NiJ9.e30.AA", "77u_eyJhbGciOiJFUzI1NiJ9.e30.AA"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if strings.ContainsAny(text, " \t\r\n") {
			text = strings.NewReplacer(" ", "", "\t", "", "\r", "", "\n", "").Replace(text) // a token has none
		}
		form := jose.FormOf(text)
		signed, encrypted := false, false
		if _, err := gojose.ParseSignedCompact(text, everyAlgorithm); err == nil {
			signed = true
		}
		if _, _, err := jwt.NewParser().ParseUnverified(text, jwt.MapClaims{}); err == nil {
			signed = true
		}
		if _, err := jws.Parse([]byte(text)); err == nil && strings.Contains(text, ".") {
			signed = true
		}
		if _, err := gojose.ParseEncryptedCompact(text, []gojose.KeyAlgorithm{gojose.DIRECT, gojose.RSA_OAEP, gojose.ECDH_ES, gojose.A128KW}, []gojose.ContentEncryption{gojose.A128GCM, gojose.A256GCM, gojose.A128CBC_HS256}); err == nil {
			encrypted = true
		}
		if _, err := jwe.Parse([]byte(text)); err == nil && strings.Contains(text, ".") {
			encrypted = true
		}
		if (signed || encrypted) && form == jose.Opaque {
			t.Errorf("%q is opaque here, and JOSE for others", text)
		}
		if signed && !encrypted && form == jose.Encrypted || encrypted && !signed && form == jose.Signed {
			t.Errorf("%q: signed %t, encrypted %t for others, and ours says %d", text, signed, encrypted, form)
		}
		if (form == jose.Signed || form == jose.Encrypted) && !isCanonicalCompact(text) {
			t.Errorf("%q has more spellings", text)
		}
	})
}

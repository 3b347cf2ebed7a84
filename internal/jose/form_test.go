package jose_test

import (
	"encoding/base64"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/keybound-go/middleware/internal/jose"
)

func TestTheFormOfATokenIsNotAMatterOfSpelling(t *testing.T) {
	b64 := base64.RawURLEncoding.EncodeToString
	header := b64([]byte(`{"alg":"RS256"}`))
	jwe := b64([]byte(`{"alg":"RSA-OAEP","enc":"A256GCM"}`))
	payload, signature := b64([]byte(`{"sub":"a"}`)), b64([]byte("a signature of some bytes"))
	jws := header + "." + payload + "." + signature
	last := signature[len(signature)-1]
	for name, c := range map[string]struct {
		raw  string
		want jose.Form
	}{
		"R2 a JWS":                   {jws, jose.Signed},
		"R2 a JWE":                   {jwe + ".a2V5.aXY.dGV4dA.dGFn", jose.Encrypted},
		"R2 a JWE with a direct key": {jwe + "..aXY.dGV4dA.dGFn", jose.Encrypted},
		"R2 a dot at the end":        {jws + ".", jose.Malformed},
		"R2 two dots at the end: as many as a JWE": {jws + "..", jose.Malformed},
		"R2 three dots":                          {jws + "...", jose.Malformed},
		"R2 padding":                             {jws + "=", jose.Malformed},
		"R2 padding of the header":               {header + "=." + payload + "." + signature, jose.Malformed},
		"R2 another last character":              {jws[:len(jws)-1] + string(last+1), jose.Malformed},
		"R2 the alphabet of base64":              {header + "." + payload + ".a+b/", jose.Malformed},
		"R2 a character of no alphabet":          {"e*yJ" + jws[3:], jose.Malformed},
		"R2 an empty signature":                  {header + "." + payload + ".", jose.Malformed},
		"R2 an empty payload":                    {header + ".." + signature, jose.Malformed},
		"R2 a header alone":                      {header + ".", jose.Malformed},
		"R2 two parts":                           {header + "." + payload, jose.Malformed},
		"R2 a JWS with enc":                      {jwe + "." + payload + "." + signature, jose.Malformed},
		"R2 a JWE without enc":                   {header + ".a2V5.aXY.dGV4dA.dGFn", jose.Malformed},
		"R2 a JWE without alg":                   {b64([]byte(`{"enc":"A256GCM"}`)) + ".a2V5.aXY.dGV4dA.dGFn", jose.Malformed},
		"R2 a JWE whose enc is a number":         {b64([]byte(`{"alg":"x","enc":1}`)) + ".a2V5.aXY.dGV4dA.dGFn", jose.Malformed},
		"R2 a JWE without a tag":                 {jwe + ".a2V5.aXY.dGV4dA.", jose.Malformed},
		"R2 a JWE without an iv":                 {jwe + ".a2V5..dGV4dA.dGFn", jose.Malformed},
		"R2 a JWE without a text":                {jwe + ".a2V5.aXY..dGFn", jose.Malformed},
		"R2 a header that is no JSON":            {b64([]byte(`{foo}`)) + "." + payload + "." + signature, jose.Malformed},
		"R2 a header with a name twice":          {b64([]byte(`{"alg":"a","alg":"b"}`)) + "." + payload + "." + signature, jose.Malformed},
		"R2 white space before the header":       {b64([]byte(` {"alg":"RS256"}`)) + "." + payload + "." + signature, jose.Signed},
		"R2 a byte order mark before the header": {b64([]byte("\xef\xbb\xbf{\"alg\":\"RS256\"}")) + "." + payload + "." + signature, jose.Malformed},
		"R2 a decoder that stops at a strange byte": {
			header + "!\x7f~garbage." + payload + "." + signature, jose.Malformed},
		"R2 a JWS as JSON":                       {`{"payload":"x","signature":"y"}`, jose.Malformed},
		"an opaque token":                        {"2YotnFZFEjr1zCsicMWpAA", jose.Opaque},
		"an opaque token that starts like a JWS": {"eyJ2YotnFZFEjr1zCsicMWpAA", jose.Opaque},
		"an opaque token with a dot":             {"ory_at_abc.def", jose.Opaque},
		"an opaque token with two":               {"h.p.s", jose.Opaque},
		"a dot in front":                         {"." + jws, jose.Opaque},
		"nothing":                                {"", jose.Opaque},
		"a dot":                                  {".", jose.Opaque},
		"random bytes that happen to start with a {": {b64([]byte{'{', 0x81, 0xfe, 3, 200, 7}) + ".x", jose.Opaque},
	} {
		t.Run(name, func(t *testing.T) { require.Equal(t, c.want, jose.FormOf(c.raw)) })
	}
	require.Equal(t, jose.Malformed, jose.FormOf(jws+strings.Repeat(".", 10_000)))
}

func TestFormOfALongTokenIsCheap(t *testing.T) {
	raw := "x" + strings.Repeat(".", 16<<10)
	require.LessOrEqual(t, testing.AllocsPerRun(100, func() { jose.FormOf(raw) }), 1.0)
}

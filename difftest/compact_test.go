package difftest_test

import (
	"errors"
	"slices"
	"testing"

	gojose "github.com/go-jose/go-jose/v4"
	"github.com/golang-jwt/jwt/v5"
	"github.com/lestrrat-go/jwx/v3/jwa"
	"github.com/lestrrat-go/jwx/v3/jws"

	"github.com/keybound-go/middleware/internal/jose"
	"github.com/keybound-go/middleware/internal/josetest"
)

const maxSize = 64 << 10

// everyAlgorithm is what go-jose needs to be told to take whatever it knows.
var everyAlgorithm = []gojose.SignatureAlgorithm{
	gojose.ES256, gojose.ES384, gojose.ES512, gojose.EdDSA, gojose.PS256, gojose.PS384, gojose.PS512,
	gojose.RS256, gojose.RS384, gojose.RS512, gojose.HS256, gojose.HS384, gojose.HS512, "none",
}

var errTheirs = errors.New("refused")

// compact is a compact JWS whose signature is not looked at: its form and its header.
var compact = newTarget(target{
	name: "compact JWS",
	ours: func(_ testing.TB, s sample) (reading, error) {
		m, err := jose.Parse(s.text, maxSize)
		if err != nil {
			return nil, err
		}
		if !slices.Contains(jose.Algorithms(), m.Header.Algorithm) {
			return nil, jose.ErrAlgorithm // as every caller's list of algorithms says
		}
		return reading{"alg": m.Header.Algorithm, "typ": m.Header.Type, "kid": m.Header.KeyID, "payload": string(m.Payload)}, nil
	},
	theirs: map[string]parser{
		goJOSE: func(_ testing.TB, s sample) (reading, error) {
			m, err := gojose.ParseSignedCompact(s.text, everyAlgorithm)
			if err != nil {
				return nil, err
			}
			h := m.Signatures[0].Protected
			return reading{"alg": h.Algorithm, "kid": h.KeyID, "payload": string(m.UnsafePayloadWithoutVerification())}, nil
		},
		golangJWT: func(_ testing.TB, s sample) (reading, error) {
			p := jwt.NewParser(jwt.WithStrictDecoding())
			token, parts, err := p.ParseUnverified(s.text, jwt.MapClaims{})
			if err != nil {
				return nil, err
			}
			payload, err := p.DecodeSegment(parts[1])
			if err != nil {
				return nil, err
			}
			r := reading{"alg": token.Method.Alg(), "payload": string(payload)}
			for _, name := range []string{"typ", "kid"} {
				if v, ok := token.Header[name].(string); ok {
					r[name] = v
				}
			}
			return r, nil
		},
		jwxV3: func(_ testing.TB, s sample) (reading, error) {
			m, err := jws.Parse([]byte(s.text), jws.WithCompact())
			if err != nil {
				return nil, err
			}
			h := m.Signatures()[0].ProtectedHeaders()
			alg, ok := h.Algorithm()
			if !ok {
				return nil, errTheirs // there is nothing to verify with
			}
			r := reading{"alg": alg.String(), "payload": string(m.Payload())}
			if v, ok := h.Type(); ok {
				r["typ"] = v
			}
			if v, ok := h.KeyID(); ok {
				r["kid"] = v
			}
			return r, nil
		},
	},
})

func FuzzCompact(f *testing.F) {
	for _, alg := range []string{"ES256", "EdDSA"} {
		f.Add(goodProof(testKeys()[alg]))
	}
	for _, header := range headers() {
		f.Add(josetest.Compact([]byte(header), []byte(`{"a":[1]}`), make([]byte, 64)))
	}
	for _, text := range []string{"eyJhbGciOiJub25lIn0.e30.", "a.b.c.d.e", "eyJhbGciOiJFUzI1NiJ9.e30.AB", "eyJhbGciOiJFUzI1NiJ9.e30.AA==", "eyJhbGciOiJFUzI1NiJ9.e30\n.AA", "eyJhbGciOiJFUzI1NiJ9..AA", "eyJhbGciOiJFUzI1NiJ9.e30."} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) { compact.check(t, sample{text: text}) })
}

// signed is a JWS with the given header and payload, signed with EdDSA, and verified.
var signed = newTarget(target{
	name: "signed JWS",
	ours: func(_ testing.TB, s sample) (reading, error) {
		key := testKeys()["EdDSA"]
		m, err := jose.Parse(key.SignRaw([]byte(s.header), []byte(s.payload)), maxSize)
		if err != nil {
			return nil, err
		}
		if err := m.Verify(key.Signer.Public()); err != nil {
			return nil, err
		}
		return reading{"alg": m.Header.Algorithm, "kid": m.Header.KeyID, "payload": string(m.Payload)}, nil
	},
	theirs: map[string]parser{
		goJOSE: func(_ testing.TB, s sample) (reading, error) {
			key := testKeys()["EdDSA"]
			m, err := gojose.ParseSignedCompact(key.SignRaw([]byte(s.header), []byte(s.payload)), everyAlgorithm)
			if err != nil {
				return nil, err
			}
			payload, err := m.Verify(key.Signer.Public())
			return reading{"alg": m.Signatures[0].Protected.Algorithm, "kid": m.Signatures[0].Protected.KeyID, "payload": string(payload)}, err
		},
		golangJWT: func(_ testing.TB, s sample) (reading, error) {
			key := testKeys()["EdDSA"]
			p := jwt.NewParser(jwt.WithStrictDecoding(), jwt.WithoutClaimsValidation())
			token, err := p.Parse(key.SignRaw([]byte(s.header), []byte(s.payload)), func(*jwt.Token) (any, error) { return key.Signer.Public(), nil })
			if err != nil {
				return nil, err
			}
			return reading{"alg": token.Method.Alg()}, nil
		},
		jwxV3: func(_ testing.TB, s sample) (reading, error) {
			key := testKeys()["EdDSA"]
			text := key.SignRaw([]byte(s.header), []byte(s.payload))
			payload, err := jws.Verify([]byte(text), jws.WithKey(jwa.EdDSA(), key.Signer.Public()), jws.WithCompact())
			if err != nil {
				return nil, err
			}
			return reading{"payload": string(payload)}, nil
		},
	},
})

func FuzzSigned(f *testing.F) {
	for _, header := range headers() {
		f.Add([]byte(header), []byte(`{"jti":"1"}`))
	}
	f.Add([]byte(`{"alg":"EdDSA"}`), []byte(`{"jti":"1","jti":"2"}`))
	f.Fuzz(func(t *testing.T, header, payload []byte) {
		signed.check(t, sample{header: string(header), payload: string(payload)})
	})
}

// headers are seeds: each has something that parsers differ in.
func headers() []string {
	return []string{
		`{"alg":"EdDSA"}`, `{"alg":"EdDSA","typ":"at+jwt","kid":"1","x":{"y":[1]}}`, `{"alg":"EdDSA","b64":true}`, `{"alg":"EdDSA","b64":false}`,
		`{"alg":"EdDSA","crit":["b64"],"b64":true}`, `{"alg":"EdDSA","crit":["b64"],"b64":false}`, `{"alg":"EdDSA","crit":[]}`, `{"alg":"EdDSA","crit":["exp"],"exp":1}`,
		`{"alg":"EdDSA","alg":"EdDSA"}`, `{"alg":"none","alg":"EdDSA"}`, `{"alg":"EdDSA","alg":"none"}`, `{"alg":"ES256"}`, `{"ALG":"EdDSA"}`, `{"Alg":"none","alg":"EdDSA"}`, `{"alg":"EdDSA","KID":"2","kid":"1"}`,
		`{"alg":"EdDSA","kid":1}`, `{"alg":"EdDSA","kid":null}`, `{"alg":"EdDSA","typ":null}`, `{"alg":null}`, `{"alg":["EdDSA"]}`, `{"alg":"EdDSA","typ":["JWT"]}`, `{"alg":"EdDSA","jwk":null}`,
		`{"alg":"EdDSA","jwk":{}}`, `{"alg":"EdDSA","jwk":"x"}`, `{"alg":"EdDSA","x5c":["AA"]}`, `{"alg":"EdDSA","x5c":1}`, `{"alg":"EdDSA","jku":1}`, `{"alg":"EdDSA","x5u":"://"}`, `{"alg":"EdDSA","nonce":1}`, `{"alg":"EdDSA","cty":1}`,
		"{\"alg\":\"EdDSA\",\"kid\":\"\xff\"}", `{"alg":"EdDSA","kid":"\ud800"}`, "\ufeff" + `{"alg":"EdDSA"}`, `{"alg":"EdDSA"} `, `{"alg":"EdDSA"}{}`, `{"\u0061lg":"\u0045dDSA"}`,
		`{"alg":"HS256"}`, `{"alg":"none"}`, `{"alg":"Ed25519"}`, `{"alg":"ES256K"}`, `{"alg":"eddsa"}`, `{"alg":"EdDSA","enc":"A256GCM"}`, `{"alg":"EdDSA","zip":"DEF"}`,
		`{"alg":"EdDSA","x":[[[[[[[[[1]]]]]]]]]}`, `{"alg":"EdDSA","x":1e400}`, `{"alg":"EdDSA","x5t":1}`, `{"alg":"EdDSA","x5t#S256":[1]}`, `{"alg":"EdDSA","jwk":{"kty":"oct","k":"AA"}}`,
	}
}

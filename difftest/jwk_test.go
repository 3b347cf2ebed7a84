package difftest_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"encoding/hex"
	stdjson "encoding/json"
	"errors"
	"reflect"
	"slices"
	"testing"

	gojose "github.com/go-jose/go-jose/v4"
	gojosejson "github.com/go-jose/go-jose/v4/json"
	jsonv2 "github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/lestrrat-go/jwx/v3/jwk"

	"github.com/keybound-go/middleware/internal/jose"
)

// spki is the one spelling of a public key, whoever parsed it.
func spki(public any) (string, error) {
	der, err := x509.MarshalPKIXPublicKey(public)
	return hex.EncodeToString(der), err
}

// fitsHere: keys that verify tokens here, by what jose's documentation says of them.
func fitsHere(public any) bool {
	switch key := public.(type) {
	case *ecdsa.PublicKey:
		return slices.Contains([]string{"P-256", "P-384", "P-521"}, key.Params().Name)
	case *rsa.PublicKey:
		return 2048 <= key.N.BitLen() && key.N.BitLen() <= 4096 && key.E >= 3 && key.E%2 == 1 && key.N.Bit(0) == 1
	case ed25519.PublicKey:
		return true
	}
	return false
}

// proofKey is the jwk of a proof's header, with its RFC 7638 thumbprint.
var proofKey = newTarget(target{
	name: "jwk of a proof",
	ours: func(_ testing.TB, s sample) (reading, error) {
		if depth([]byte(s.text)) > 7 {
			return nil, jose.ErrTooDeep // in a header it is one deeper
		}
		key, thumbprint, err := jose.ParseKey([]byte(s.text))
		if err != nil {
			return nil, err
		}
		der, err := spki(key.Public)
		return reading{"key": der, "thumbprint": thumbprint}, err
	},
	theirs: map[string]parser{
		goJOSE: func(_ testing.TB, s sample) (reading, error) {
			var key gojose.JSONWebKey
			if err := key.UnmarshalJSON([]byte(s.text)); err != nil {
				return nil, err
			}
			if !key.IsPublic() || !key.Valid() || !fitsHere(key.Key) {
				return nil, errTheirs
			}
			sum, err := key.Thumbprint(crypto.SHA256)
			if err != nil {
				return nil, err
			}
			der, err := spki(key.Key)
			return reading{"key": der, "thumbprint": b64(sum)}, err
		},
		jwxV3: func(_ testing.TB, s sample) (reading, error) {
			key, err := jwk.ParseKey([]byte(s.text))
			if err != nil {
				return nil, err
			}
			public, err := publicOfJWX(key)
			if err != nil {
				return nil, err
			}
			sum, err := key.Thumbprint(crypto.SHA256)
			if err != nil {
				return nil, err
			}
			der, err := spki(public)
			return reading{"key": der, "thumbprint": b64(sum)}, err
		},
	},
})

// publicOfJWX is the public key that jwx has parsed and finds valid.
func publicOfJWX(key jwk.Key) (public any, err error) {
	if private, err := jwk.IsPrivateKey(key); err != nil || private {
		return nil, errTheirs
	}
	if err := key.Validate(); err != nil {
		return nil, err
	}
	if err := jwk.Export(key, &public); err != nil {
		return nil, err
	}
	if !fitsHere(public) {
		return nil, errTheirs
	}
	return public, nil
}

// published is one key of an issuer's key set, which must be fit to verify tokens.
var published = newTarget(target{
	name: "published key",
	ours: func(_ testing.TB, s sample) (reading, error) {
		keys, skipped, err := jose.ParseKeySet([]byte(`{"keys":[` + s.text + `]}`))
		if err != nil {
			return nil, err
		}
		if len(keys) != 1 || len(skipped) != 0 {
			return nil, errors.Join(skipped...)
		}
		der, err := spki(keys[0].Public)
		return reading{"key": der, "kid": keys[0].KeyID, "use": keys[0].Use}, err
	},
	theirs: map[string]parser{
		goJOSE: func(_ testing.TB, s sample) (reading, error) {
			var set gojose.JSONWebKeySet
			if err := gojosejson.Unmarshal([]byte(`{"keys":[`+s.text+`]}`), &set); err != nil {
				return nil, err
			}
			if len(set.Keys) != 1 {
				return nil, errTheirs
			}
			key := set.Keys[0]
			if !key.IsPublic() || !key.Valid() || !fitsHere(key.Key) || key.Use != "" && key.Use != "sig" {
				return nil, errTheirs
			}
			der, err := spki(key.Key)
			return reading{"key": der, "kid": key.KeyID, "use": key.Use}, err
		},
		jwxV3: func(_ testing.TB, s sample) (reading, error) {
			set, err := jwk.Parse([]byte(`{"keys":[` + s.text + `]}`))
			if err != nil {
				return nil, err
			}
			if set.Len() != 1 {
				return nil, errTheirs
			}
			key, _ := set.Key(0)
			public, err := publicOfJWX(key)
			if err != nil {
				return nil, err
			}
			use, ok := key.KeyUsage()
			if ok && use != "sig" && use != "" {
				return nil, errTheirs
			}
			if ops, ok := key.KeyOps(); ok && len(ops) > 0 && !slices.Contains(ops, jwk.KeyOpVerify) {
				return nil, errTheirs
			}
			der, err := spki(public)
			kid, _ := key.KeyID()
			return reading{"key": der, "kid": kid, "use": use}, err
		},
	},
})

// jwks are seeds: keys that never change, each with something that parsers differ in.
func jwks() []string {
	const (
		// Of RFC 7517, appendix A.1, and RFC 8037, appendix A.2.
		ec = `"kty":"EC","crv":"P-256","x":"MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4","y":"4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM"`
		ed = `"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"`
		n  = `0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw`
		r  = `"kty":"RSA","e":"AQAB","n":"` + n + `"`
	)
	list := []string{
		"{" + ec + "}", "{" + ed + "}", "{" + r + "}", "{" + ec + `,"kid":"1","use":"sig","alg":"ES256"}`, "{" + ec + `,"use":"enc"}`, "{" + ec + `,"key_ops":["sign"]}`,
		"{" + ec + `,"key_ops":["verify"]}`, "{" + ec + `,"key_ops":[]}`, "{" + ec + `,"alg":"ES384"}`, "{" + ec + `,"alg":"RS256"}`, "{" + ec + `,"alg":"HS256"}`, "{" + ec + `,"alg":"ECDH-ES"}`, "{" + ec + `,"alg":"new"}`,
		"{" + ec + `,"d":null}`, "{" + ec + `,"d":""}`, "{" + ec + `,"k":"AA"}`, "{" + ec + `,"p":"AA"}`, "{" + ed + `,"d":"nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A"}`,
		"{" + ec + `,"kid":null}`, "{" + ec + `,"use":null,"alg":null,"key_ops":null}`, "{" + ec + `,"kid":1}`, "{" + ec + `,"use":1}`, "{" + ec + `,"alg":1}`, "{" + ec + `,"key_ops":"verify"}`, "{" + ec + `,"use":""}`, "{" + ec + `,"alg":""}`, "{" + ec + `,"ext":true}`,
		"{" + ec + `,"n":"!","e":"g"}`, "{" + r + `,"x":"!"}`, "{" + ec + `,"x5c":["AA"]}`, "{" + ec + `,"x5u":"://"}`, "{" + ec + `,"x5t":"!"}`, "{" + ec + `,"x5t#S256":"AA"}`, "{" + ec + `,"KTY":"RSA"}`, "{" + ec + `,"kty":"RSA"}`, `{"kty":"RSA",` + ec + "}",
		`{"kty":"RSA","e":"AAEAAQ","n":"` + n + `"}`, `{"kty":"RSA","e":"AQAB","n":"AN` + n[1:] + `"}`, `{"kty":"RSA","e":"AQ","n":"` + n + `"}`, `{"kty":"RSA","e":"Ag","n":"` + n + `"}`, `{"kty":"RSA","e":"AQAAAAE","n":"` + n + `"}`, `{"kty":"RSA","e":"_____w","n":"` + n + `"}`,
		`{"kty":"RSA","e":"AQAB","n":"AA"}`, `{"kty":"RSA","e":"AQAB=","n":"` + n + `"}`, `{"kty":"EC","crv":"P-256","x":"AAAA","y":""}`, `{"kty":"EC","crv":"P-256","x":"MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4","y":"4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyN"}`,
		`{"kty":"EC","crv":"P-256","x":"MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4=","y":"4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM"}`, `{"kty":"EC","crv":"P-256","x":"AAAwoEJM0hwpRIOKLXXJKzfnbqINnwCJOjtO7oo8Cq_sPg","y":"4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM"}`,
		`{"kty":"EC","crv":"P-256","x":"MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4","y":"4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyE"}`, `{"kty":"EC","crv":"secp256k1","x":"AA","y":"AA"}`, `{"kty":"EC","crv":"P-224","x":"AA","y":"AA"}`, `{"kty":"EC","x":"AA"}`,
		`{"kty":"OKP","crv":"Ed25519","x":"AA"}`, `{"kty":"OKP","crv":"Ed25519","x":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"}`, `{"kty":"OKP","crv":"Ed448","x":"AA"}`, `{"kty":"OKP","crv":"X25519","x":"3p7bfXt9wbTTW2HC7OQ1Nz-DQ8hbeGdNrfx-FG-IK08"}`, `{"kty":"OKP","crv":"Ed25519","x":"__________________________________________8"}`,
		`{"kty":"oct","k":"AA"}`, `{"kty":"new"}`, `{}`, `{"kty":null}`, `[]`, `null`, `1`, ``, "{" + ec + `,"x":"MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4"}`, "{" + ec + `,"a":[[[[[[[1]]]]]]]}`, "{" + ec + ",\"kid\":\"\xff\"}",
		`{"kty":"EC","crv":"P-256","x":"\u004dKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4","y":"4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM"}`, `{"kty":"ec",` + ec[11:] + "}", "{" + ec + "} ", "{" + ec + `,"a":1e400}`,
		`{"kty":"EC","crv":"P-256","x":"MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv\n7D4","y":"4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM"}`, `{"kty":"EC","crv":"P-256","x":"MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D5","y":"4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM"}`,
	}
	return append(list, "{"+ec+"},{"+ed+"}", "{"+ec+`,"kid":"1"},1,{`+ed+`,"kid":"1"}`, "{"+ec+`},{"kty":"oct","k":"AA"},{`+r+"}", "{"+ec+"},{"+ec+"}", "{"+ec+"},[],null", "{"+ec+"},")
}

func FuzzKey(f *testing.F) {
	for _, text := range jwks() {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) { proofKey.check(t, sample{text: text}) })
}

func FuzzKeySet(f *testing.F) {
	for _, text := range jwks() {
		f.Add(text)
	}
	// A set is as good as its keys: the elements of the list decide one by one.
	f.Fuzz(func(t *testing.T, text string) {
		set := `{"keys":[` + text + `]}`
		got, skipped, err := jose.ParseKeySet([]byte(set))
		var theirs struct {
			Keys []jsontext.Value `json:"keys"`
		}
		if theirErr := jsonv2.Unmarshal([]byte(set), &theirs); theirErr != nil {
			if err == nil {
				t.Fatalf("%q: encoding/json/v2: %v", set, theirErr)
			}
			if stdjson.Valid([]byte(text)) {
				published.check(t, sample{text: text})
			}
			return
		}
		var want []jose.Key
		for _, element := range theirs.Keys {
			one, _, oneErr := jose.ParseKeySet([]byte(`{"keys":[` + string(element) + `]}`))
			if err == nil && oneErr != nil {
				t.Fatalf("%q is good within a set, and alone: %v", element, oneErr)
			}
			want = append(want, one...)
			published.check(t, sample{text: string(element)})
		}
		if err == nil && (len(got)+len(skipped) != len(theirs.Keys) || !reflect.DeepEqual(got, want)) {
			t.Fatalf("%q: %v, one by one %v", set, got, want)
		}
	})
}

package difftest_test

import (
	"crypto"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	gojose "github.com/go-jose/go-jose/v4"
	jsonv2 "github.com/go-json-experiment/json"
	"github.com/golang-jwt/jwt/v5"
	"github.com/lestrrat-go/jwx/v3/jwk"
	"github.com/lestrrat-go/jwx/v3/jws"

	"github.com/keybound-go/middleware/dpop"
	"github.com/keybound-go/middleware/internal/josetest"
)

const (
	proofURL   = "https://api.example/orders"
	proofToken = "token"
	bubbleTime = 946684800 // when the clock of a synctest bubble starts
	proofLife  = 60        // seconds
	proofSkew  = 30
)

// proofSigner never changes, so that the corpus holds proofs by its key.
var proofSigner = josetest.FromSigner("EdDSA", ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize)))

// dpopProof is a proof with the given header and payload, signed by proofSigner, for a
// GET of proofURL at the time when a bubble starts.
var dpopProof = newTarget(target{
	name:      "DPoP proof",
	tolerance: map[string]float64{goJOSE: 2e-6, jwxV3: 2e-6},
	ours: func(t testing.TB, s sample) (r reading, err error) {
		synctest.Test(t.(*testing.T), func(t *testing.T) {
			v, newErr := dpop.New("https://api.example", dpop.DangerouslyAllowReplay(), dpop.WithLifetime(proofLife*time.Second), dpop.WithSkew(proofSkew*time.Second))
			if newErr != nil {
				t.Fatal(newErr)
			}
			var p *dpop.Proof
			p, err = v.VerifyProof(t.Context(), dpop.Request{
				Method: "GET", URL: proofURL, AccessToken: proofToken, Thumbprint: proofSigner.Thumbprint(),
				Proofs: []string{proofSigner.SignRaw([]byte(s.header), []byte(s.payload))},
			})
			if err == nil {
				r = reading{"alg": p.Algorithm, "jkt": p.Thumbprint, "jti": p.ID, "nonce": p.Nonce, "time iat": timeField(p.IssuedAt)}
			}
		})
		return r, err
	},
	theirs: map[string]parser{
		jwxV3: func(_ testing.TB, s sample) (reading, error) {
			text := []byte(proofSigner.SignRaw([]byte(s.header), []byte(s.payload)))
			m, err := jws.Parse(text, jws.WithCompact())
			if err != nil {
				return nil, err
			}
			h := m.Signatures()[0].ProtectedHeaders()
			alg, _ := h.Algorithm()
			typ, _ := h.Type()
			key, ok := h.JWK()
			if !ok {
				return nil, errTheirs
			}
			if private, err := jwk.IsPrivateKey(key); err != nil || private {
				return nil, errTheirs
			}
			if _, err := jws.Verify(text, jws.WithKey(alg, key), jws.WithCompact()); err != nil {
				return nil, err
			}
			sum, err := key.Thumbprint(crypto.SHA256)
			if err != nil {
				return nil, err
			}
			var c referenceClaims
			if err := jsonv2.Unmarshal(m.Payload(), &c); err != nil {
				return nil, err
			}
			return c.judge(alg.String(), typ, b64(sum))
		},
		goJOSE: func(_ testing.TB, s sample) (reading, error) {
			text := proofSigner.SignRaw([]byte(s.header), []byte(s.payload))
			m, err := gojose.ParseSignedCompact(text, []gojose.SignatureAlgorithm{gojose.ES256, gojose.EdDSA})
			if err != nil {
				return nil, err
			}
			h := m.Signatures[0].Protected
			typ, _ := h.ExtraHeaders[gojose.HeaderType].(string)
			if h.JSONWebKey == nil || !h.JSONWebKey.IsPublic() {
				return nil, errTheirs
			}
			payload, err := m.Verify(h.JSONWebKey)
			if err != nil {
				return nil, err
			}
			sum, err := h.JSONWebKey.Thumbprint(crypto.SHA256)
			if err != nil {
				return nil, err
			}
			// The claims by golang-jwt, as a service with these two would have them.
			claims := jwt.MapClaims{}
			if err := json.Unmarshal(payload, &claims); err != nil {
				return nil, err
			}
			return judgeMap(claims, h.Algorithm, typ, b64(sum))
		},
	},
})

// referenceClaims are those of RFC 9449, section 4.2, as encoding/json/v2 reads them.
type referenceClaims struct {
	JTI   *string  `json:"jti"`
	HTM   *string  `json:"htm"`
	HTU   *string  `json:"htu"`
	ATH   *string  `json:"ath"`
	Nonce *string  `json:"nonce"`
	IAT   *float64 `json:"iat"`
	EXP   *float64 `json:"exp"`
	NBF   *float64 `json:"nbf"`
}

func judgeMap(claims jwt.MapClaims, alg, typ, jkt string) (reading, error) {
	var c referenceClaims
	for name, into := range map[string]**string{"jti": &c.JTI, "htm": &c.HTM, "htu": &c.HTU, "ath": &c.ATH, "nonce": &c.Nonce} {
		if v, ok := claims[name]; ok && v != nil {
			s, ok := v.(string)
			if !ok {
				return nil, errTheirs
			}
			*into = &s
		}
	}
	for name, get := range map[string]func() (*jwt.NumericDate, error){"iat": claims.GetIssuedAt, "exp": claims.GetExpirationTime, "nbf": claims.GetNotBefore} {
		date, err := get()
		if err != nil {
			return nil, err
		}
		if date == nil {
			continue
		}
		seconds := float64(date.Unix()) + float64(date.Nanosecond())/1e9
		switch name {
		case "iat":
			c.IAT = &seconds
		case "exp":
			c.EXP = &seconds
		case "nbf":
			c.NBF = &seconds
		}
	}
	return c.judge(alg, typ, jkt)
}

// judge makes the checks of RFC 9449, section 4.3, on what a library has read.
func (c *referenceClaims) judge(alg, typ, jkt string) (reading, error) {
	switch {
	case !strings.EqualFold(typ, "dpop+jwt") && !strings.EqualFold(typ, "application/dpop+jwt"):
		return nil, fmt.Errorf("typ %q", typ)
	case !slices.Contains([]string{"ES256", "EdDSA"}, alg):
		return nil, fmt.Errorf("alg %q", alg)
	case c.JTI == nil || c.HTM == nil || c.HTU == nil || c.ATH == nil || c.IAT == nil, *c.JTI == "", len(*c.JTI) > 512:
		return nil, fmt.Errorf("a claim is missing")
	case *c.HTM != "GET":
		return nil, fmt.Errorf("htm %q", *c.HTM)
	}
	htu, _, _ := strings.Cut(*c.HTU, "#")
	htu, _, _ = strings.Cut(htu, "?")
	ath := sha256.Sum256([]byte(proofToken))
	switch {
	case htu != proofURL:
		return nil, fmt.Errorf("htu %q", *c.HTU)
	case *c.ATH != b64(ath[:]):
		return nil, fmt.Errorf("ath %q", *c.ATH)
	case *c.IAT < bubbleTime-proofLife || *c.IAT > bubbleTime+proofSkew:
		return nil, fmt.Errorf("iat %v", *c.IAT)
	case c.EXP != nil && *c.EXP+proofSkew <= bubbleTime, c.NBF != nil && *c.NBF > bubbleTime+proofSkew:
		return nil, fmt.Errorf("exp or nbf")
	case jkt != proofSigner.Thumbprint():
		return nil, fmt.Errorf("jkt %q", jkt)
	}
	r := reading{"alg": alg, "jkt": jkt, "jti": *c.JTI, "nonce": "", "time iat": fmt.Sprintf("%.6f", *c.IAT)}
	if c.Nonce != nil {
		r["nonce"] = *c.Nonce
	}
	return r, nil
}

func proofHeader(more string) string {
	return `{"typ":"dpop+jwt","alg":"EdDSA","jwk":` + proofJWK("") + more + "}"
}

func proofJWK(more string) string {
	return `{"kty":"OKP","crv":"Ed25519","x":"O2onvM62pC1io6jQKm8Nc2UyFXcd4kOmOsBIoYtZ2ik"` + more + "}"
}

const proofATH = "PEaenWxYddN6Q_NT1PiOYfz4EsZu7jRXRlpAsNpBU-A"

// proofPayload is a good payload in which edit replaces something.
func proofPayload(edit ...string) string {
	return strings.NewReplacer(edit...).Replace(`{"jti":"1","htm":"GET","htu":"https://api.example/orders","iat":946684800,"ath":"` + proofATH + `"}`)
}

// proofs are seeds.
func proofs() (list []sample) {
	for _, header := range []string{
		proofHeader(""), proofHeader(`,"kid":"1"`), proofHeader(`,"kid":null`), proofHeader(`,"crit":[]`), proofHeader(`,"b64":false`), proofHeader(`,"alg":"EdDSA"`), proofHeader(`,"x":[[[[[[[[1]]]]]]]]`), proofHeader(`,"x":1e400`), proofHeader(`,"x5c":["AA"]`),
		proofHeader(",\"x\":\"\xff\""), proofHeader(`,"x":"\ud800"`), proofHeader(`,"TYP":"JWT"`), proofHeader("") + " ", proofHeader("") + "x", strings.ToUpper(proofHeader(""))[:8] + proofHeader("")[8:],
		`{"typ":"DPOP+JWT","alg":"EdDSA","jwk":` + proofJWK("") + `}`, `{"typ":"application/dpop+jwt","alg":"EdDSA","jwk":` + proofJWK("") + `}`, `{"typ":"JWT","alg":"EdDSA","jwk":` + proofJWK("") + `}`, `{"alg":"EdDSA","jwk":` + proofJWK("") + `}`,
		`{"typ":"dpop+jwt","alg":"Ed25519","jwk":` + proofJWK("") + `}`, `{"typ":"dpop+jwt","alg":"none","jwk":` + proofJWK("") + `}`, `{"typ":"dpop+jwt","alg":"ES256","jwk":` + proofJWK("") + `}`, `{"typ":"dpop+jwt","alg":"EdDSA"}`, `{"typ":"dpop+jwt","alg":"EdDSA","jwk":null}`,
		`{"typ":"dpop+jwt","alg":"EdDSA","jwk":` + proofJWK(`,"d":null`) + `}`, `{"typ":"dpop+jwt","alg":"EdDSA","jwk":` + proofJWK(`,"d":"AA"`) + `}`, `{"typ":"dpop+jwt","alg":"EdDSA","jwk":` + proofJWK(`,"k":"AA"`) + `}`, `{"typ":"dpop+jwt","alg":"EdDSA","jwk":` + proofJWK(`,"alg":"EdDSA"`) + `}`,
		`{"typ":"dpop+jwt","alg":"EdDSA","jwk":` + proofJWK(`,"alg":"ES256"`) + `}`, `{"typ":"dpop+jwt","alg":"EdDSA","jwk":` + proofJWK(`,"use":"enc"`) + `}`, `{"typ":"dpop+jwt","alg":"EdDSA","jwk":` + proofJWK(`,"key_ops":["sign"]`) + `}`, `{"typ":"dpop+jwt","alg":"EdDSA","jwk":` + proofJWK(`,"kid":1`) + `}`,
		`{"typ":"dpop+jwt","alg":"EdDSA","jwk":` + proofJWK(`,"n":"!"`) + `}`, `{"typ":"dpop+jwt","alg":"EdDSA","jwk":` + proofJWK(`,"x":"O2onvM62pC1io6jQKm8Nc2UyFXcd4kOmOsBIoYtZ2ik"`) + `}`, `{"typ":"dpop+jwt","alg":"EdDSA","jwk":` + strings.Replace(proofJWK(""), "2ik", "2il", 1) + `}`,
	} {
		list = append(list, sample{header: header, payload: proofPayload()})
	}
	for _, payload := range []string{
		proofPayload(`"1"`, `""`), proofPayload(`"1"`, `1`), proofPayload(`"1"`, `null`), proofPayload(`"1"`, `"`+strings.Repeat("j", 512)+`"`), proofPayload(`"1"`, `"`+strings.Repeat("j", 513)+`"`), proofPayload(`"1"`, "\"\xff\""), proofPayload(`"1"`, `"\ud800"`), proofPayload(`"1"`, `"\u0000"`),
		proofPayload("GET", "get"), proofPayload("GET", "POST"), proofPayload("GET", `G\u0045T`), proofPayload("orders", "orders?a=1#b"), proofPayload("orders", "orders#b?c"), proofPayload("orders", "Orders"), proofPayload("orders", "%6frders"), proofPayload("orders", "a/../orders"), proofPayload("orders", "./orders"), proofPayload("orders", "orders/"),
		proofPayload("api.example", "API.example"), proofPayload("api.example", "api.example:443"), proofPayload("https", "HTTPS"), proofPayload("https", "http"), proofPayload("api.example", "a@api.example"), proofPayload("api.example", "api.example."), proofPayload("orders", "orders%2f"), proofPayload("https://", `https:\/\/`), proofPayload("https://api.example", ""),
		proofPayload("946684800", "946684740"), proofPayload("946684800", "946684739"), proofPayload("946684800", "946684830"), proofPayload("946684800", "946684831"), proofPayload("946684800", "946684800.5"), proofPayload("946684800", "9466848e2"), proofPayload("946684800", `"946684800"`), proofPayload("946684800", "946684800000"), proofPayload("946684800", "1e400"), proofPayload("946684800", "null"), proofPayload("946684800", "946684740.0000001"), proofPayload("946684800", "946684739.9999999"),
		proofPayload("}", `,"exp":946684770}`), proofPayload("}", `,"exp":946684771}`), proofPayload("}", `,"exp":null}`), proofPayload("}", `,"exp":"x"}`), proofPayload("}", `,"nbf":946684830}`), proofPayload("}", `,"nbf":946684831}`), proofPayload("}", `,"nbf":"1"}`), proofPayload("}", `,"nonce":"n"}`), proofPayload("}", `,"nonce":1}`), proofPayload("}", `,"nonce":null}`), proofPayload("}", `,"exp":1e400}`), proofPayload("}", `,"nbf":-1e400}`),
		proofPayload("}", `,"jti":"2"}`), proofPayload("}", `,"JTI":"2"}`), proofPayload("}", `,"\u006ati":"2"}`), proofPayload("}", `,"a":[[[[[[[[1]]]]]]]]}`), proofPayload("}", `,"a":1e400}`), proofPayload("}", `}x`), proofPayload("}", `} `), proofPayload("U-A", "U-B"), proofPayload("U-A", "U-A="), `{}`, `[]`, ``, `null`,
	} {
		list = append(list, sample{header: proofHeader(""), payload: payload})
	}
	return list
}

func FuzzProof(f *testing.F) {
	for _, s := range proofs() {
		f.Add([]byte(s.header), []byte(s.payload))
	}
	f.Fuzz(func(t *testing.T, header, payload []byte) {
		dpopProof.check(t, sample{header: string(header), payload: string(payload)})
	})
}

package difftest_test

import (
	"encoding/json"
	"fmt"
	"strconv"
	"testing"
	"time"

	gojosejson "github.com/go-jose/go-jose/v4/json"
	gojosejwt "github.com/go-jose/go-jose/v4/jwt"
	"github.com/golang-jwt/jwt/v5"
	jwxjwt "github.com/lestrrat-go/jwx/v3/jwt"

	"github.com/keybound-go/middleware/oidc"
)

func init() {
	jwt.TimePrecision = time.Microsecond // a variable of the library
	jwxjwt.Settings(jwxjwt.WithNumericDateParsePrecision(6))
}

func timeField(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return strconv.FormatFloat(float64(t.Unix())+float64(t.Nanosecond())/1e9, 'f', 6, 64)
}

// claimSet is the payload of an access token: the registered claims of RFC 7519.
var claimSet = newTarget(target{
	name: "claim set",
	// go-jose cuts fractions off, and the others go by way of a float64.
	tolerance: map[string]float64{goJOSE: 1, golangJWT: 2e-6, jwxV3: 2e-6},
	ours: func(_ testing.TB, s sample) (reading, error) {
		token, err := oidc.TokenFromClaims([]byte(s.text))
		if err != nil {
			return nil, err
		}
		return reading{
			"iss": token.Issuer, "sub": token.Subject, "jti": token.ID, "aud": fmt.Sprintf("%q", token.Audience),
			"time exp": timeField(token.Expiry), "time nbf": timeField(token.NotBefore), "time iat": timeField(token.IssuedAt),
		}, nil
	},
	theirs: map[string]parser{
		goJOSE: func(_ testing.TB, s sample) (reading, error) {
			var c gojosejwt.Claims
			if err := gojosejson.Unmarshal([]byte(s.text), &c); err != nil {
				return nil, err
			}
			r := reading{"iss": c.Issuer, "sub": c.Subject, "jti": c.ID, "aud": fmt.Sprintf("%q", []string(c.Audience))}
			for name, date := range map[string]*gojosejwt.NumericDate{"time exp": c.Expiry, "time nbf": c.NotBefore, "time iat": c.IssuedAt} {
				if r[name] = ""; date != nil {
					r[name] = timeField(date.Time())
				}
			}
			return r, nil
		},
		golangJWT: func(_ testing.TB, s sample) (reading, error) {
			var c jwt.RegisteredClaims
			if err := json.Unmarshal([]byte(s.text), &c); err != nil {
				return nil, err
			}
			r := reading{"iss": c.Issuer, "sub": c.Subject, "jti": c.ID, "aud": fmt.Sprintf("%q", []string(c.Audience))}
			for name, date := range map[string]*jwt.NumericDate{"time exp": c.ExpiresAt, "time nbf": c.NotBefore, "time iat": c.IssuedAt} {
				if r[name] = ""; date != nil {
					r[name] = timeField(date.Time)
				}
			}
			return r, nil
		},
		jwxV3: func(_ testing.TB, s sample) (reading, error) {
			token := jwxjwt.New()
			if err := json.Unmarshal([]byte(s.text), token); err != nil {
				return nil, err
			}
			iss, _ := token.Issuer()
			sub, _ := token.Subject()
			jti, _ := token.JwtID()
			aud, _ := token.Audience()
			exp, _ := token.Expiration()
			nbf, _ := token.NotBefore()
			iat, _ := token.IssuedAt()
			return reading{
				"iss": iss, "sub": sub, "jti": jti, "aud": fmt.Sprintf("%q", aud),
				"time exp": timeField(exp), "time nbf": timeField(nbf), "time iat": timeField(iat),
			}, nil
		},
	},
})

func claimSets() []string {
	return []string{
		`{"iss":"https://issuer.example","sub":"alice","aud":"api","exp":1764422400,"nbf":1764422300,"iat":1764422300,"jti":"1"}`,
		`{"aud":["a","b"]}`, `{"aud":[]}`, `{"aud":""}`, `{"aud":null}`, `{"aud":["a",null]}`, `{"aud":["a",1]}`, `{"aud":1}`, `{"aud":{"a":"b"}}`, `{"aud":[["a"]]}`, `{"aud":true}`,
		`{"exp":1.5}`, `{"exp":1e9}`, `{"exp":1.764422400123456e9}`, `{"exp":-1.5}`, `{"exp":0}`, `{"exp":-0}`, `{"exp":"1764422400"}`, `{"exp":null}`, `{"exp":true}`, `{"exp":1e400}`, `{"exp":1e20}`, `{"exp":-1e20}`,
		`{"exp":1764422400000}`, `{"iat":1764422400000}`, `{"exp":253402300799}`, `{"exp":253402300800}`, `{"exp":-62135596800}`, `{"exp":9223372036854775807}`, `{"exp":[1]}`, `{"exp":""}`, `{"exp":{"a":1}}`, `{"exp":0.0000001}`, `{"exp":1e-400}`,
		`{"iat":"x"}`, `{"nbf":1e400}`, `{"nbf":null,"iat":null,"iss":null,"sub":null,"jti":null}`, `{"iss":1}`, `{"sub":["a"]}`, `{"jti":1}`, `{"iss":"a","iss":"b"}`, `{"exp":1,"\u0065xp":2}`, `{"ISS":"a"}`, `{"iss":"a","Iss":"b"}`, `{"EXP":5}`,
		"{\"sub\":\"\xff\"}", `{"sub":"\ud800"}`, `{"sub":"\ud83d\ude00"}`, `{"sub":"\u0000"}`, `[]`, `null`, `1`, ``, `{}`, ` {} `, `{}{}`, `{"a":` + nest(31) + `}`, `{"a":` + nest(40) + `}`, `{"a":1e400}`,
		`{"cnf":{}}`, `{"cnf":null}`, `{"cnf":{"jkt":"x"}}`, `{"cnf":{"jkt":"0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"}}`, `{"cnf":{"new":1}}`, `{"scope":1}`, `{"scope":"a b"}`, `{"client_id":1}`,
	}
}

func nest(n int) string {
	var b []byte
	for range n {
		b = append(b, '[')
	}
	for range n {
		b = append(b, ']')
	}
	return string(b)
}

func FuzzClaims(f *testing.F) {
	for _, text := range claimSets() {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) { claimSet.check(t, sample{text: text}) })
}

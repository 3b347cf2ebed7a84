package difftest_test

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"

	jsonv2 "github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/keybound-go/middleware/oidc"
	"github.com/keybound-go/middleware/oidc/clientauth"
	"github.com/keybound-go/middleware/oidc/introspect"
)

const (
	answerIssuer   = "https://issuer.example"
	answerAudience = "https://api.example"
)

// answering is an issuer whose introspection endpoint answers with body.
type answering struct {
	body  string
	asked atomic.Int32
}

func (a *answering) RoundTrip(r *http.Request) (*http.Response, error) {
	text := `{"issuer":"` + answerIssuer + `","jwks_uri":"` + answerIssuer + `/jwks","introspection_endpoint":"` + answerIssuer + `/introspect"}`
	if strings.HasSuffix(r.URL.Path, "/introspect") {
		a.asked.Add(1)
		text = a.body
	}
	return &http.Response{
		StatusCode: http.StatusOK, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Request: r,
		Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(bytes.NewReader([]byte(text))), ContentLength: int64(len(text)),
	}, nil
}

// answer is what an introspection endpoint says of a token (RFC 7662, section 2.2), at
// the time when a bubble starts. The other reader is encoding/json/v2 and the sentences
// of the RFC.
var answer = newTarget(target{
	name:      "introspection answer",
	tolerance: map[string]float64{jsonV2: 2e-6},
	ours: func(t testing.TB, s sample) (r reading, err error) {
		synctest.Test(t.(*testing.T), func(t *testing.T) {
			a := &answering{body: s.text}
			issuer, newErr := oidc.NewIssuer(answerIssuer, oidc.WithHTTPClient(&http.Client{Transport: a}))
			if newErr != nil {
				t.Fatal(newErr)
			}
			defer issuer.Close()
			i, newErr := introspect.New(issuer, answerAudience, clientauth.Public("api"), introspect.WithSkew(0))
			if newErr != nil {
				t.Fatal(newErr)
			}
			var token *oidc.Token
			token, err = i.VerifyToken(t.Context(), "opaque")
			if a.asked.Load() != 1 {
				t.Errorf("asked %d times", a.asked.Load())
			}
			if err != nil {
				return
			}
			r = reading{
				"sub": token.Subject, "aud": fmt.Sprintf("%q", token.Audience), "scope": strings.Join(token.Scopes, " "), "client_id": token.ClientID,
				"jkt": token.Confirmation.JKT, "x5t": token.Confirmation.X5T, "time exp": timeField(token.Expiry), "time nbf": timeField(token.NotBefore), "time iat": timeField(token.IssuedAt),
			}
		})
		return r, err
	},
	theirs: map[string]parser{jsonV2: readAnswer},
})

const jsonV2 = "encoding/json/v2"

func readAnswer(_ testing.TB, s sample) (reading, error) {
	var a struct {
		Active   jsontext.Value            `json:"active"`
		Issuer   *string                   `json:"iss"`
		Subject  *string                   `json:"sub"`
		ClientID *string                   `json:"client_id"`
		Scope    *string                   `json:"scope"`
		JTI      *string                   `json:"jti"`
		Type     *string                   `json:"token_type"`
		Audience jsontext.Value            `json:"aud"`
		EXP      *float64                  `json:"exp"`
		NBF      *float64                  `json:"nbf"`
		IAT      *float64                  `json:"iat"`
		CNF      jsontext.Value            `json:"cnf"`
		Rest     map[string]jsontext.Value `json:",inline"`
	}
	if err := jsonv2.Unmarshal([]byte(s.text), &a); err != nil {
		return nil, err
	}
	if string(a.Active) != "true" {
		return nil, errors.New("not active")
	}
	r := reading{"aud": "[]", "time exp": "", "time nbf": "", "time iat": ""}
	for name, v := range map[string]*string{"sub": a.Subject, "client_id": a.ClientID, "scope": a.Scope} {
		if r[name] = ""; v != nil {
			r[name] = *v
		}
	}
	// The grammar of RFC 6749, section 3.3, has one space between scopes.
	r["scope"] = strings.Join(strings.FieldsFunc(r["scope"], func(c rune) bool { return c == ' ' }), " ")
	var audience []string
	switch a.Audience.Kind() {
	case '"':
		audience = []string{""}
		if err := jsonv2.Unmarshal(a.Audience, &audience[0]); err != nil {
			return nil, err
		}
	case '[':
		if err := jsonv2.Unmarshal(a.Audience, &audience); err != nil {
			return nil, err
		}
	}
	if !slices.Contains(audience, answerAudience) {
		return nil, errors.New("for others")
	}
	r["aud"] = fmt.Sprintf("%q", audience)
	if a.Issuer != nil && *a.Issuer != answerIssuer {
		return nil, errors.New("of another issuer")
	}
	for name, n := range map[string]*float64{"time exp": a.EXP, "time nbf": a.NBF, "time iat": a.IAT} {
		if n != nil {
			r[name] = fmt.Sprintf("%.6f", *n)
		}
	}
	if a.EXP != nil && *a.EXP <= bubbleTime || a.NBF != nil && *a.NBF > bubbleTime || a.IAT != nil && *a.IAT > bubbleTime {
		return nil, errors.New("not now")
	}
	if a.CNF == nil {
		return r, nil
	}
	var cnf map[string]jsontext.Value
	if err := jsonv2.Unmarshal(a.CNF, &cnf); err != nil {
		return nil, err
	}
	bound := false
	for member, field := range map[string]string{"jkt": "jkt", "x5t#S256": "x5t"} {
		if cnf[member] == nil {
			continue
		}
		var text string
		err := jsonv2.Unmarshal(cnf[member], &text)
		digest, decodeErr := base64.RawURLEncoding.DecodeString(text)
		if err != nil || decodeErr != nil || len(text) != 43 || len(digest) != 32 {
			return nil, errTheirs
		}
		r[field], bound = b64(digest), true
	}
	if !bound {
		return nil, errors.New("bound to something unknown")
	}
	return r, nil
}

func answers() []string {
	good := func(more string) string {
		return `{"active":true,"aud":"https://api.example","sub":"alice","exp":946688400` + more + `}`
	}
	return []string{
		good(""), good(`,"scope":"a b","client_id":"c","iat":946684800,"nbf":946684800,"jti":"1","token_type":"Bearer","iss":"https://issuer.example"`),
		`{"active":false}`, `{"active":null}`, `{"active":"true"}`, `{"active":1}`, `{}`, ``, `[]`, `null`, "\ufeff" + good(""), good("") + " ", good("") + "x", `{"active":true}`, `{"active":true,"aud":"https://other.example"}`,
		good(`,"active":false`), good(`,"Active":false`), good(`,"sub":"bob"`), good(`,"SUB":"bob"`), good(`,"cnf":null`), good(`,"cnf":{}`), good(`,"cnf":{"jkt":"0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"}`), good(`,"cnf":{"jkt":"0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4J"}`), good(`,"cnf":{"jkt":"x"}`),
		good(`,"cnf":{"jkt":"0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I","x":1}`), good(`,"cnf":{"x5t#S256":"0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"}`), good(`,"cnf":{"new":"1"}`), good(`,"token_type":"DPoP"`), good(`,"token_type":"mac"`), good(`,"token_type":"N_A"`), good(`,"token_type":1`), good(`,"token_type":null`), good(`,"token_type":"refresh_token"`),
		good(`,"nbf":946684801`), good(`,"iat":946684801`), good(`,"iat":946684800000`), good(`,"iat":"946684800"`), good(`,"nbf":1e400`), good(`,"iss":"https://other.example"`), good(`,"iss":null`), good(`,"iss":1`), good(`,"scope":null`), good(`,"scope":["a"]`), good(`,"scope":"a  b"`), good(`,"scope":""`), good(`,"scope":" a"`), good(`,"scope":"a\tb"`),
		good(`,"client_id":1`), good(`,"client_id":null`), good(`,"jti":1`), good(`,"username":1`), good(`,"nonce":"n"`), good(`,"at_hash":"a"`), good(`,"events":{}`), good(`,"a":` + nest(31)), good(`,"a":` + nest(32)), good(`,"a":1e400`), good(",\"a\":\"\xff\""), good(`,"a":"\ud800"`),
		`{"active":true,"aud":["a","https://api.example"],"exp":946684801}`, `{"active":true,"aud":["https://api.example"],"exp":946684800}`, `{"active":true,"aud":["https://api.example",1]}`, `{"active":true,"aud":["https://api.example"]}`, `{"active":true,"aud":["https://api.example"],"exp":null}`, `{"active":true,"aud":["https://api.example"],"exp":"1"}`, `{"active":true,"aud":"https://api.example/"}`, `{"active":true,"aud":"HTTPS://api.example"}`, `{"active":true,"aud":{"a":1}}`,
	}
}

func FuzzAnswer(f *testing.F) {
	for _, text := range answers() {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) { answer.check(t, sample{text: text}) })
}

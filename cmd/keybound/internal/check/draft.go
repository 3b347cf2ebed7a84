package check

import (
	"crypto/tls"
	"encoding/json"
	"fmt"
	"maps"
	"strings"

	"github.com/keybound-go/middleware/cmd/keybound/internal/pen"
	"github.com/keybound-go/middleware/cmd/keybound/internal/wire"
)

// draft is a request in the making: good as it is, until a row changes one thing.
// What depends on something else is derived as late as possible, so that the change
// is the only fault: ath is of the changed token, the signature is over the changed
// claims.
type draft struct {
	method, path, query string
	scheme              string
	key                 *pen.Key
	cert                *tls.Certificate
	noProof, noToken    bool
	proofURL            string // htu, "" for the request's own

	tokenEdits   []func(*jwt)
	proofEdits   []func(*jwt)
	requestEdits []func(*wire.Request)
	tokenText    func(string) string // changes the finished token, after ath was taken of it

	// What was sent, once it is.
	token, proof string

	issuer *Issuer
	config *Config
}

// published returns a key that is in the issuer's set and must not be used, nil if the
// issuer publishes no such key.
func (d *draft) published(kid string) *pen.Key { return d.issuer.extra[kid] }

// signer returns the issuer's key for an algorithm.
func (d *draft) signer(alg string) *pen.Key { return d.issuer.Key(alg) }

// jwt is a JWT in the making.
type jwt struct {
	header, claims         map[string]any
	key                    *pen.Key
	headerText, claimsText func([]byte) []byte
	signature              func(signature []byte, input string) []byte
	compact                func(string) string
}

func (d *draft) onToken(f func(*jwt))            { d.tokenEdits = append(d.tokenEdits, f) }
func (d *draft) onProof(f func(*jwt))            { d.proofEdits = append(d.proofEdits, f) }
func (d *draft) onRequest(f func(*wire.Request)) { d.requestEdits = append(d.requestEdits, f) }

// unbind leaves cnf out of the token.
func (d *draft) unbind() { d.onToken(func(j *jwt) { delete(j.claims, "cnf") }) }

// field adds a field line to the request.
func (d *draft) field(name, value string) {
	d.onRequest(func(r *wire.Request) { r.Fields = append(r.Fields, wire.Field{Name: name, Value: value}) })
}

// replaceField changes the value of a field that the good request has.
func (d *draft) replaceField(name string, change func(string) string) {
	d.onRequest(func(r *wire.Request) {
		for i := range r.Fields {
			if r.Fields[i].Name == name {
				r.Fields[i].Value = change(r.Fields[i].Value)
			}
		}
	})
}

// without removes a field line.
func (d *draft) without(name string) {
	d.onRequest(func(r *wire.Request) {
		kept := r.Fields[:0]
		for _, f := range r.Fields {
			if !strings.EqualFold(f.Name, name) {
				kept = append(kept, f)
			}
		}
		r.Fields = kept
	})
}

func (j *jwt) text() string {
	full := map[string]any{"alg": j.key.Algorithm}
	if j.key.ID != "" {
		full["kid"] = j.key.ID
	}
	maps.Copy(full, j.header)
	for name, v := range full {
		if v == (absent{}) {
			delete(full, name)
		}
	}
	for name, v := range j.claims {
		if v == (absent{}) {
			delete(j.claims, name)
		}
	}
	header, claims := marshal(full), marshal(j.claims)
	if j.headerText != nil {
		header = j.headerText(header)
	}
	if j.claimsText != nil {
		claims = j.claimsText(claims)
	}
	input := pen.Encode(header) + "." + pen.Encode(claims)
	signature := j.key.SignInput(input)
	if j.signature != nil {
		signature = j.signature(signature, input)
	}
	text := input + "." + pen.Encode(signature)
	if j.compact != nil {
		text = j.compact(text)
	}
	return text
}

// absent leaves a member out of a JWT.
type absent struct{}

func marshal(v any) []byte {
	raw, err := json.Marshal(v)
	if err != nil {
		panic(fmt.Errorf("check: %w", err)) // a mistake in a row
	}
	return raw
}

// Edits of proofs.

func proofHeader(name string, value any) func(*draft) {
	return func(d *draft) { d.onProof(func(j *jwt) { j.header[name] = value }) }
}

func proofClaim(name string, value any) func(*draft) {
	return func(d *draft) { d.onProof(func(j *jwt) { j.claims[name] = value }) }
}

func proofClaimFrom(name string, change func(string) string) func(*draft) {
	return func(d *draft) {
		d.onProof(func(j *jwt) { s, _ := j.claims[name].(string); j.claims[name] = change(s) })
	}
}

func proofJWK(edit func(jwk map[string]any)) func(*draft) {
	return func(d *draft) {
		d.onProof(func(j *jwt) {
			if jwk, ok := j.header["jwk"].(map[string]any); ok {
				edit(jwk)
			}
		})
	}
}

func jwkMember(name string, value any) func(*draft) {
	return proofJWK(func(jwk map[string]any) {
		if value == (absent{}) {
			delete(jwk, name)
			return
		}
		jwk[name] = value
	})
}

func proofCompact(change func(string) string) func(*draft) {
	return func(d *draft) { d.onProof(func(j *jwt) { j.compact = change }) }
}

func proofSignature(change func(signature []byte, input string) []byte) func(*draft) {
	return func(d *draft) { d.onProof(func(j *jwt) { j.signature = change }) }
}

func proofClaimsText(change func([]byte) []byte) func(*draft) {
	return func(d *draft) { d.onProof(func(j *jwt) { j.claimsText = change }) }
}

func proofHeaderText(change func([]byte) []byte) func(*draft) {
	return func(d *draft) { d.onProof(func(j *jwt) { j.headerText = change }) }
}

// Edits of tokens.

func tokenHeader(name string, value any) func(*draft) {
	return func(d *draft) { d.onToken(func(j *jwt) { j.header[name] = value }) }
}

func tokenClaim(name string, value any) func(*draft) {
	return func(d *draft) { d.onToken(func(j *jwt) { j.claims[name] = value }) }
}

func tokenCompact(change func(string) string) func(*draft) {
	return func(d *draft) { d.onToken(func(j *jwt) { j.compact = change }) }
}

func tokenSignature(change func(signature []byte, input string) []byte) func(*draft) {
	return func(d *draft) { d.onToken(func(j *jwt) { j.signature = change }) }
}

func tokenClaimsText(change func([]byte) []byte) func(*draft) {
	return func(d *draft) { d.onToken(func(j *jwt) { j.claimsText = change }) }
}

func tokenHeaderText(change func([]byte) []byte) func(*draft) {
	return func(d *draft) { d.onToken(func(j *jwt) { j.headerText = change }) }
}

// cnf replaces the token's confirmation. jkt stands for the thumbprint of the key.
func cnf(make func(d *draft) any) func(*draft) {
	return func(d *draft) { d.onToken(func(j *jwt) { j.claims["cnf"] = make(d) }) }
}

func extra(name, value string) func(*draft) { return func(d *draft) { d.field(name, value) } }

func both(edits ...func(*draft)) func(*draft) {
	return func(d *draft) {
		for _, edit := range edits {
			edit(d)
		}
	}
}

// replace changes the first occurrence of a text in JSON.
func replace(old, new string) func([]byte) []byte {
	return func(b []byte) []byte {
		if !strings.Contains(string(b), old) {
			panic("check: nothing to replace: " + old) // a mistake in a row
		}
		return []byte(strings.Replace(string(b), old, new, 1))
	}
}

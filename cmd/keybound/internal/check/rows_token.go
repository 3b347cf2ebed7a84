package check

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/keybound-go/middleware/cmd/keybound/internal/pen"
	"github.com/keybound-go/middleware/cmd/keybound/internal/wire"
)

func itoa(n int) string { return strconv.Itoa(n) }

func decode64(s string) []byte {
	b, _ := base64.RawURLEncoding.DecodeString(s)
	return b
}

// tokens are the rows of RFC 9068 and of the JOSE texts about access tokens.
func (s *suite) tokens() {
	s.tokenKinds()
	s.keySets()
	s.tokenSignatures()
	s.tokenClaims()
	s.tokenForms()
}

func (s *suite) tokenKinds() {
	typ := text{"AT-4-01", "RFC 9068, section 4", Must,
		`The resource server MUST verify that the "typ" header value is "at+jwt" or "application/at+jwt" and reject tokens carrying any other value.`, needsJWT}
	s.accepted(typ,
		variant{"at+jwt", tokenHeader("typ", "at+jwt")},
		variant{"media-type", tokenHeader("typ", "application/at+jwt")},
		variant{"at+JWT", tokenHeader("typ", "at+JWT")}, // the spelling of RFC 9068, section 3
	)
	s.refused(typ, invalidToken,
		variant{"missing", tokenHeader("typ", absent{})},
		variant{"JWT", tokenHeader("typ", "JWT")},
		variant{"dpop+jwt", tokenHeader("typ", "dpop+jwt")},
		variant{"token-introspection+jwt", tokenHeader("typ", "token-introspection+jwt")},
		variant{"logout+jwt", tokenHeader("typ", "logout+jwt")},
		variant{"entity-statement+jwt", tokenHeader("typ", "entity-statement+jwt")},
		variant{"client-authentication+jwt", tokenHeader("typ", "client-authentication+jwt")},
		variant{"secevent+jwt", tokenHeader("typ", "secevent+jwt")},
		variant{"id_token+jwt", tokenHeader("typ", "id_token+jwt")},
		variant{"at", tokenHeader("typ", "at")},
		variant{"empty", tokenHeader("typ", "")},
		variant{"null", tokenHeader("typ", nil)},
		variant{"number", tokenHeader("typ", 1)},
		variant{"list", tokenHeader("typ", []string{"at+jwt"})},
		variant{"longer", tokenHeader("typ", "at+jwtx")},
		variant{"space-behind", tokenHeader("typ", "at+jwt ")},
	)
	s.refused(text{"AT-5-01", "RFC 9068, section 5; RFC 8725, section 3.12", Must,
		"The explicit typing required in this profile, in line with the recommendations in RFC 8725, helps the resource server to distinguish between JWT access tokens and OpenID Connect ID Tokens; JWTs of another kind are not access tokens.", needsJWT}, invalidToken,
		variant{"id-token", func(d *draft) {
			d.onToken(func(j *jwt) {
				j.header["typ"] = "JWT"
				for _, name := range []string{"client_id", "jti"} {
					delete(j.claims, name)
				}
				j.claims["nonce"], j.claims["at_hash"], j.claims["azp"], j.claims["aud"] = "n", "x", "keybound-check", "keybound-check"
			})
		}},
		variant{"id-token-for-this-audience", func(d *draft) {
			d.onToken(func(j *jwt) { j.header["typ"] = "JWT"; j.claims["nonce"], j.claims["at_hash"] = "n", "x" })
		}},
		variant{"logout-token", func(d *draft) {
			d.onToken(func(j *jwt) {
				j.header["typ"] = "logout+jwt"
				j.claims["events"] = map[string]any{"http://schemas.openid.net/event/backchannel-logout": map[string]any{}}
			})
		}},
		variant{"introspection-response", func(d *draft) {
			d.onToken(func(j *jwt) {
				j.header["typ"] = "token-introspection+jwt"
				j.claims = map[string]any{"iss": j.claims["iss"], "aud": j.claims["aud"], "iat": j.claims["iat"], "token_introspection": j.claims}
			})
		}},
	)
	s.add(text{"AT-X-01", "RFC 8725, section 3.12", Must,
		"A proof is no access token.", all(needsJWT, needsDPoP)}, "proof-as-token", func(p *play) {
		d := p.draft()
		d.token = d.key.Proof("GET", p.origin()+p.path(), "", "")
		p.refuse(p.send(d), dpopToken)
	})
}

func (s *suite) tokenSignatures() {
	t := text{"AT-4-05", "RFC 9068, section 4", Must,
		`The resource server MUST validate the signature of all incoming JWT access tokens according to RFC 7515 using the algorithm specified in the JWT "alg" Header Parameter.`, needsJWT}
	flip := func(i int) func([]byte, string) []byte {
		return func(sig []byte, _ string) []byte { sig[(i+len(sig))%len(sig)] ^= 1; return sig }
	}
	s.refused(t, invalidToken,
		variant{"first-byte", tokenSignature(flip(0))},
		variant{"last-byte", tokenSignature(flip(-1))},
		variant{"empty", tokenSignature(func([]byte, string) []byte { return nil })},
		variant{"cut", tokenSignature(func(sig []byte, _ string) []byte { return sig[:len(sig)-1] })},
		variant{"longer", tokenSignature(func(sig []byte, _ string) []byte { return append(sig, 0) })},
		variant{"zeros", tokenSignature(func(sig []byte, _ string) []byte { return make([]byte, len(sig)) })},
		variant{"swapped", tokenSignature(func(sig []byte, _ string) []byte {
			return append(slices.Clone(sig[len(sig)/2:]), sig[:len(sig)/2]...)
		})},
		variant{"claims-changed-afterwards", tokenCompact(func(t string) string {
			parts := strings.Split(t, ".")
			return parts[0] + "." + pen.Encode(replace(`{`, `{"admin":true,`)(decode64(parts[1]))) + "." + parts[2]
		})},
		variant{"header-changed-afterwards", tokenCompact(func(t string) string {
			parts := strings.Split(t, ".")
			return pen.Encode(replace(`{`, `{"a":1,`)(decode64(parts[0]))) + "." + parts[1] + "." + parts[2]
		})},
		variant{"subject-changed-afterwards", tokenCompact(func(t string) string {
			parts := strings.Split(t, ".")
			return parts[0] + "." + pen.Encode(replace("keybound-user", "keybound-root")(decode64(parts[1]))) + "." + parts[2]
		})},
		variant{"by-another-key", func(d *draft) { d.onToken(func(j *jwt) { j.key = unknownKey(j.key.ID) }) }},
		variant{"by-the-clients-key", func(d *draft) { d.onToken(func(j *jwt) { j.key = d.key.WithID(j.key.ID) }) }},
	)
	none := text{"AT-4-05", "RFC 9068, section 4", Must,
		`The resource server MUST reject any JWT in which the value of "alg" is "none".`, needsJWT}
	for _, name := range []string{"none", "None", "NONE", "nOnE"} {
		s.refused(none, invalidToken,
			variant{"alg-" + name + "-unsigned", both(tokenHeader("alg", name), tokenSignature(func([]byte, string) []byte { return nil }))},
			variant{"alg-" + name + "-signed", tokenHeader("alg", name)})
	}
	mac := func(secret func(p *pen.Key) []byte) func(*draft) {
		return func(d *draft) {
			d.onToken(func(j *jwt) {
				j.header["alg"] = "HS256"
				key := j.key
				j.signature = func(_ []byte, input string) []byte {
					h := hmac.New(sha256.New, secret(key))
					h.Write([]byte(input))
					return h.Sum(nil)
				}
			})
		}
	}
	der := func(k *pen.Key) []byte { b, _ := x509.MarshalPKIXPublicKey(k.Signer().Public()); return b }
	confusion := text{"BCP-3.1", "RFC 8725, sections 2.1 and 3.1", Must,
		"Libraries MUST enable the caller to specify a supported set of algorithms and MUST NOT use any other algorithms: a public key is no HMAC secret.", needsJWT}
	s.refused(confusion, invalidToken,
		variant{"HS256-with-the-public-key-in-PEM", mac(func(k *pen.Key) []byte {
			return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der(k)})
		})},
		variant{"HS256-with-the-public-key-in-DER", mac(der)},
		variant{"HS256-with-the-JWK", mac(func(k *pen.Key) []byte { return marshal(k.JWK()) })},
		variant{"HS256-with-nothing", mac(func(*pen.Key) []byte { return nil })},
		variant{"HS256-with-the-kid", mac(func(k *pen.Key) []byte { return []byte(k.ID) })},
		variant{"HS256-with-a-published-secret", both(mac(func(*pen.Key) []byte { return []byte(sharedSecret) }), tokenHeader("kid", "shared"))},
	)
	for _, alg := range []string{"ES384", "es256", "ES256K", "ES999", "HS512", "dir", ""} {
		name := alg
		if name == "" {
			name = "empty"
		}
		s.refused(confusion, invalidToken, variant{"alg-" + name, tokenHeader("alg", alg)})
	}
	s.refused(confusion, invalidToken,
		variant{"alg-missing", tokenHeader("alg", absent{})},
		variant{"alg-null", tokenHeader("alg", nil)},
		variant{"alg-list", tokenHeader("alg", []string{"ES256"})},
		variant{"key-for-another-algorithm", func(d *draft) {
			d.onToken(func(j *jwt) { j.header["kid"] = d.signer("RS256").ID })
		}},
	)
	keys := text{"AT-4-05", "RFC 9068, section 4", Must,
		"The resource server MUST use the keys provided by the authorization server.", needsJWT}
	attacker := func(header func(k *pen.Key) map[string]any) func(*draft) {
		return func(d *draft) {
			k := unknownKey("keybound-attacker")
			d.onToken(func(j *jwt) {
				j.key = k
				for name, v := range header(k) {
					j.header[name] = v
				}
			})
		}
	}
	s.refused(keys, invalidToken,
		variant{"unknown-kid", attacker(func(*pen.Key) map[string]any { return nil })},
		variant{"jwk-in-the-header", attacker(func(k *pen.Key) map[string]any { return map[string]any{"jwk": k.JWK()} })},
		variant{"jwk-in-the-header-without-kid", attacker(func(k *pen.Key) map[string]any { return map[string]any{"jwk": k.JWK(), "kid": absent{}} })},
		variant{"jwk-of-the-client-in-the-header", func(d *draft) {
			d.onToken(func(j *jwt) { j.key = d.key; j.header["jwk"] = d.key.JWK() })
		}},
		variant{"jku-in-the-header", attacker(func(*pen.Key) map[string]any { return map[string]any{"jku": "https://127.0.0.1:1/jwks"} })},
		variant{"x5u-in-the-header", attacker(func(*pen.Key) map[string]any { return map[string]any{"x5u": "https://127.0.0.1:1/x5u"} })},
		variant{"x5c-in-the-header", attacker(func(k *pen.Key) map[string]any {
			cert, err := pen.SelfSigned("x", time.Now().Add(-time.Minute))
			if err != nil {
				return nil
			}
			return map[string]any{"x5c": []string{base64.StdEncoding.EncodeToString(cert.Leaf.Raw)}}
		})},
		variant{"kid-of-a-file", attacker(func(*pen.Key) map[string]any { return map[string]any{"kid": "../../../../dev/null"} })},
		variant{"kid-of-sql", attacker(func(*pen.Key) map[string]any {
			return map[string]any{"kid": "x' UNION SELECT 'key'; -- " + hostile}
		})},
		variant{"kid-empty", attacker(func(*pen.Key) map[string]any { return map[string]any{"kid": ""} })},
		variant{"kid-number", attacker(func(*pen.Key) map[string]any { return map[string]any{"kid": 1} })},
		variant{"kid-null", attacker(func(*pen.Key) map[string]any { return map[string]any{"kid": nil} })},
		variant{"kid-missing", attacker(func(*pen.Key) map[string]any { return map[string]any{"kid": absent{}} })},
	)
	published := func(kid string) func(*draft) {
		return func(d *draft) {
			d.onToken(func(j *jwt) {
				if j.key = d.published(kid); j.key == nil {
					panic(outcome{status: Skipped, reason: "--plain-keys: the issuer publishes no such key"})
				}
			})
		}
	}
	s.refused(text{"JWKS-02", "RFC 7517, section 4.2; RFC 8414, section 2", Must,
		"use identifies the intended use of the public key: one for encryption verifies no signature.", needsJWT}, invalidToken,
		variant{"key-for-encryption", published("encryption")})
	s.refused(text{"JOSE-KEY-03", "RFC 7518, section 3.3", Must,
		"A key of size 2048 bits or larger MUST be used with these algorithms, also one that the issuer publishes.", needsJWT}, invalidToken,
		variant{"published-RSA-1024", published("small")})
	s.add(text{"JWKS-05", "RFC 9068, section 4; RFC 8725, section 3.10", Practice,
		"Invented key ids do not make the server fetch the keys each time.", needsJWT},
		"a-flood-of-unknown-kids", func(p *play) {
			path := "/jwks"
			before := p.Issuer.fetched(path)
			for range 30 {
				d := p.draft()
				d.onToken(func(j *jwt) { j.key = unknownKey(randomText()) })
				p.refuse(p.send(d), invalidToken)
			}
			if n := p.Issuer.fetched(path) - before; n > 5 {
				p.fail("%d fetches of the keys for 30 tokens with made-up kids", n)
			}
		})
	s.refused(text{"JWS-4.1.11", "RFC 7515, section 4.1.11", Must,
		"If any of the listed extension Header Parameters are not understood and supported by the recipient, then the JWS is invalid.", needsJWT}, invalidToken,
		variant{"token-crit-unknown", both(tokenHeader("crit", []string{"keybound"}), tokenHeader("keybound", 1))},
		variant{"token-crit-of-a-claim", both(tokenHeader("crit", []string{"exp"}), tokenHeader("exp", 1))},
		variant{"token-crit-empty", tokenHeader("crit", []string{})},
		variant{"token-crit-null", tokenHeader("crit", nil)},
		variant{"token-b64-false", both(tokenHeader("crit", []string{"b64"}), tokenHeader("b64", false))},
	)
	s.refused(text{"JWS-7797", "RFC 7797, section 7", Practice, "JSON Web Tokens MUST NOT use \"b64\" with a \"false\" value.", needsJWT}, invalidToken,
		variant{"token-b64-false-not-critical", tokenHeader("b64", false)})
	s.accepted(text{"JWS-4", "RFC 7515, section 4", Must,
		"Unless listed as a critical Header Parameter, per Section 4.1.11, all Header Parameters not defined by this specification MUST be ignored when not understood.", needsJWT},
		variant{"token-unknown-header", tokenHeader("keybound", map[string]any{"a": 1})},
		variant{"token-header-in-another-case", tokenHeader("ALG", "none")},
		variant{"token-cty", tokenHeader("cty", "x")},
	)
	s.tokenAlgorithms()
	malleable := func(t string) string {
		order, _ := new(big.Int).SetString("ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551", 16)
		parts := strings.Split(t, ".")
		sig := decode64(parts[2])
		other := new(big.Int).Sub(order, new(big.Int).SetBytes(sig[32:]))
		return parts[0] + "." + parts[1] + "." + pen.Encode(append(slices.Clone(sig[:32]), other.FillBytes(make([]byte, 32))...))
	}
	s.refused(text{"DPOP-7-01", "RFC 9449, section 7", Must,
		"ath is of the token as it was sent: the same claims in another spelling need another proof.",
		all(needsJWT, needsDPoP, not("the tokens are not ES256", func(c *Config) bool { return c.TokenAlg != "ES256" }))}, anyRefusal,
		variant{"token-respelt-after-the-proof", func(d *draft) { d.tokenText = malleable }})
}

// tokenAlgorithms are the rows about tokens that other algorithms of the issuer signed.
func (s *suite) tokenAlgorithms() {
	flip := func(sig []byte, _ string) []byte { sig[len(sig)/2] ^= 1; return sig }
	for _, alg := range []string{"RS256", "PS256", "ES256"} {
		by := func(d *draft) { d.onToken(func(j *jwt) { j.key = d.signer(alg) }) }
		known := all(needsJWT, not("FAPI 2.0 allows no RS256", func(c *Config) bool { return c.Profile == FAPI2 && alg == "RS256" }),
			not("the server takes tokens that --token-alg signs", func(c *Config) bool { return !c.AnyTokenAlg && c.TokenAlg != alg }))
		t := text{"AT-2.1-01", "RFC 9068, section 2.1", Must,
			"RS256 is among the algorithms of every conforming authorization server and resource server, and asymmetric cryptography is recommended.", known}
		s.accepted(t, variant{"by-" + alg, by})
		t = text{"AT-4-05", "RFC 9068, section 4", Must,
			"The signature of every token is validated, whatever algorithm made it.", known}
		s.refused(t, invalidToken,
			variant{alg + "-changed", both(by, tokenSignature(flip))},
			variant{alg + "-empty", both(by, tokenSignature(func([]byte, string) []byte { return nil }))},
			variant{alg + "-cut", both(by, tokenSignature(func(sig []byte, _ string) []byte { return sig[:len(sig)-1] }))},
			variant{alg + "-longer", both(by, tokenSignature(func(sig []byte, _ string) []byte { return append(sig, 0) }))},
			variant{alg + "-of-something-else", func(d *draft) {
				by(d)
				d.onToken(func(j *jwt) {
					key := j.key
					j.signature = func(_ []byte, input string) []byte { return key.SignInput(input + "x") }
				})
			}},
			variant{alg + "-claims-changed", both(by, tokenCompact(func(t string) string {
				parts := strings.Split(t, ".")
				return parts[0] + "." + pen.Encode(replace("keybound-user", "keybound-root")(decode64(parts[1]))) + "." + parts[2]
			}))},
		)
	}
	rsa := not("the server takes tokens that --token-alg signs", func(c *Config) bool { return !c.AnyTokenAlg })
	s.refused(text{"BCP-3.1", "RFC 8725, section 3.1", Must,
		"Each key MUST be used with exactly one algorithm: the issuer published this one for another.", all(needsJWT, rsa)}, invalidToken,
		variant{"PS256-by-the-key-for-RS256", func(d *draft) { d.onToken(func(j *jwt) { j.key = d.signer("RS256").As("PS256") }) }},
		variant{"RS256-by-the-key-for-PS256", func(d *draft) { d.onToken(func(j *jwt) { j.key = d.signer("PS256").As("RS256") }) }},
		variant{"RS384-by-the-key-for-RS256", func(d *draft) { d.onToken(func(j *jwt) { j.key = d.signer("RS256").As("RS384") }) }},
		variant{"kid-of-ES256-over-RS256", func(d *draft) {
			d.onToken(func(j *jwt) { j.key = d.signer("RS256"); j.header["kid"] = d.signer("ES256").ID })
		}},
	)
	s.accepted(text{"JWS-4.1.4", "RFC 7515, section 4.1.4", Practice,
		`The "kid" parameter is a hint: its use is optional, and a token without it is tried with the issuer's keys for its algorithm.`, needsJWT},
		variant{"no-kid", tokenHeader("kid", absent{})})
}

// draftBy is a good request with a token that the key has signed.
func (p *play) draftBy(key *pen.Key) *draft {
	d := p.draft()
	d.onToken(func(j *jwt) { j.key = key })
	return d
}

// soon accepts such a request as soon as the server has looked for the key.
func (p *play) soon(key *pen.Key) {
	for end := time.Now().Add(patience); ; time.Sleep(500 * time.Millisecond) {
		res := p.send(p.draftBy(key))
		if res.Status/100 != 2 && time.Now().Before(end) {
			continue
		}
		p.accept(res)
		return
	}
}

// keySets are the rows about keys that come and go, and what is said of them.
func (s *suite) keySets() {
	by := func(p *play, key *pen.Key, kid any) *wire.Response {
		d := p.draft()
		d.onToken(func(j *jwt) {
			j.key = key
			if kid != nil {
				j.header["kid"] = kid
			}
		})
		return p.send(d)
	}
	member := func(name string, value any) func(map[string]any) {
		return func(jwk map[string]any) {
			if value == (absent{}) {
				delete(jwk, name)
				return
			}
			jwk[name] = value
		}
	}
	s.add(text{"JWKS-03", "RFC 9068, section 4; OpenID Connect Core, section 10.1.1", Must,
		"The verifier knows to go back to the jwks_uri location to re-retrieve the keys when it sees an unfamiliar kid value.", all(needsJWT, needsES256)},
		"a-new-key", func(p *play) {
			key := p.Issuer.publish(nil)
			defer p.Issuer.withdraw(key)
			p.soon(key)
		})
	s.add(text{"JWKS-04", "RFC 7517, sections 4 and 5; RFC 9068, section 4", Practice,
		"use, key_ops and alg say what a key is for; each is optional. What is not understood, or lacks required members, is ignored. And the resource server MUST use the keys provided by the authorization server: not one that is no longer, once it has read the set again; that holds for tokens that it has seen before, too.", all(needsJWT, needsES256)},
		"keys-that-come-and-go", func(p *play) {
			old := p.Issuer.publish(nil)
			p.soon(old)
			seen := p.draftBy(old)
			p.accept(p.send(seen))
			p.Issuer.withdraw(old)
			type kind struct {
				name string
				good bool
				key  *pen.Key
				kid  any
			}
			var kinds []kind
			publish := func(name string, good bool, kid any, edit func(map[string]any)) {
				key := p.Issuer.publish(edit)
				kinds = append(kinds, kind{name, good, key, kid})
			}
			publish("key_ops verify", true, nil, member("key_ops", []string{"verify"}))
			publish("key_ops sign and verify", true, nil, both2(member("use", absent{}), member("key_ops", []string{"sign", "verify"})))
			publish("no alg", true, nil, member("alg", absent{}))
			publish("no use", true, nil, member("use", absent{}))
			publish("unknown members", true, nil, member("keybound", map[string]any{"a": 1}))
			publish("no kid", true, absent{}, member("kid", absent{}))
			publish("use enc", false, nil, member("use", "enc"))
			publish("key_ops encrypt", false, nil, both2(member("use", absent{}), member("key_ops", []string{"encrypt", "wrapKey"})))
			publish("key_ops empty", false, nil, both2(member("use", absent{}), member("key_ops", []string{})))
			publish("alg ES384", false, nil, member("alg", "ES384"))
			publish("alg PS256", false, nil, member("alg", "PS256"))
			publish("x missing", false, nil, member("x", absent{}))
			publish("kty unknown", false, nil, member("kty", "FOO"))
			publish("crv unknown", false, nil, member("crv", "secp256k1"))
			publish("kid of another", false, p.Issuer.Key("ES256").ID, nil)
			last := p.Issuer.publish(nil)
			defer func() {
				for _, k := range kinds {
					p.Issuer.withdraw(k.key)
				}
				p.Issuer.withdraw(last)
			}()
			p.soon(last)
			seen.proof = ""
			p.refuse(p.send(seen), invalidToken)
			for _, k := range kinds {
				switch res := by(p, k.key, k.kid); {
				case k.good && res.Status/100 != 2:
					p.fail("a token by a published key, %s, is refused: %s", k.name, answerText(res))
				case !k.good && res.Status/100 == 2:
					panic(outcome{status: Failed, reason: "a token by a published key, " + k.name + ", is accepted", accepted: true})
				case !k.good && res.Status >= 500:
					p.fail("a token by a published key, %s: %s", k.name, answerText(res))
				}
			}
			p.refuse(p.send(p.draftBy(old)), invalidToken)
			p.accept(p.send(p.draft()))
		})
}

// both2 is both for edits of a JWK.
func both2(a, b func(map[string]any)) func(map[string]any) {
	return func(jwk map[string]any) { a(jwk); b(jwk) }
}

func needsES256(c *Config) string {
	if c.TokenAlg != "ES256" {
		return "the tokens are not ES256"
	}
	return ""
}

func (s *suite) tokenClaims() {
	applies := func(c *Config) string { return "" }
	iss := text{"AT-4-03", "RFC 9068, section 4", Must,
		`The issuer identifier for the authorization server (which is typically obtained during discovery) MUST exactly match the value of the "iss" claim.`, needsJWT}
	change := func(name string, f func(string) any) func(*draft) {
		return func(d *draft) { d.onToken(func(j *jwt) { s, _ := j.claims[name].(string); j.claims[name] = f(s) }) }
	}
	s.refused(iss, invalidToken,
		variant{"other", tokenClaim("iss", "https://evil.example")},
		variant{"slash", change("iss", func(v string) any { return v + "/" })},
		variant{"upper-case", change("iss", func(v string) any { return strings.ToUpper(v) })},
		variant{"prefix", change("iss", func(v string) any { return v[:len(v)-1] })},
		variant{"longer", change("iss", func(v string) any { return v + ".evil.example" })},
		variant{"list", change("iss", func(v string) any { return []string{v} })},
		variant{"space-behind", change("iss", func(v string) any { return v + " " })},
		variant{"empty", tokenClaim("iss", "")},
		variant{"null", tokenClaim("iss", nil)},
		variant{"number", tokenClaim("iss", 1)},
		variant{"hostile", tokenClaim("iss", `"`+hostile+"\r\nX-Evil: 1")},
	)
	aud := text{"AT-4-04", "RFC 9068, section 4", Must,
		`The JWT access token MUST be rejected if "aud" does not contain a resource indicator of the current resource server as a valid audience.`, applies}
	s.refused(aud, invalidToken,
		variant{"other", tokenClaim("aud", "https://other.example")},
		variant{"other-list", tokenClaim("aud", []string{"https://other.example", "https://another.example"})},
		variant{"empty-list", tokenClaim("aud", []string{})},
		variant{"empty", tokenClaim("aud", "")},
		variant{"prefix", change("aud", func(v string) any { return v[:len(v)-1] })},
		variant{"longer", change("aud", func(v string) any { return v + "x" })},
		variant{"below", change("aud", func(v string) any { return v + "/admin" })},
		variant{"slash", change("aud", func(v string) any { return v + "/" })},
		variant{"upper-case", change("aud", func(v string) any { return strings.ToUpper(v) })},
		variant{"nested-list", change("aud", func(v string) any { return []any{[]string{v}} })},
		variant{"object", change("aud", func(v string) any { return map[string]any{v: true} })},
		variant{"several-in-one-text", change("aud", func(v string) any { return "https://other.example " + v })},
		variant{"comma-separated", change("aud", func(v string) any { return "https://other.example," + v })},
		variant{"number", tokenClaim("aud", 1)},
		variant{"null", tokenClaim("aud", nil)},
		variant{"wildcard", tokenClaim("aud", "*")},
	)
	s.accepted(aud,
		variant{"list", change("aud", func(v string) any { return []string{v} })},
		variant{"list-with-others", change("aud", func(v string) any { return []string{"https://other.example", v} })},
	)
	exp := text{"AT-4-06", "RFC 9068, section 4", Must,
		`The current time MUST be before the time represented by the "exp" claim. Implementers MAY provide for some small leeway, usually no more than a few minutes, to account for clock skew.`, applies}
	at := func(name string, ahead time.Duration) func(*draft) {
		return now(func() func(*draft) { return tokenClaim(name, unix(ahead)) })
	}
	s.refused(exp, invalidToken,
		variant{"an-hour-ago", at("exp", -time.Hour)},
		variant{"ten-minutes-ago", at("exp", -10*time.Minute)},
		variant{"one", tokenClaim("exp", 1)},
		variant{"zero", tokenClaim("exp", 0)},
		variant{"negative", tokenClaim("exp", -1)},
		variant{"text", now(func() func(*draft) { return tokenClaim("exp", fmt.Sprint(unix(time.Hour))) })},
		variant{"true", tokenClaim("exp", true)},
		variant{"list", now(func() func(*draft) { return tokenClaim("exp", []int64{unix(time.Hour)}) })},
	)
	t := exp
	t.applies = needsJWT
	s.refused(t, invalidToken,
		variant{"null", tokenClaim("exp", nil)},
		variant{"in-another-case", func(d *draft) {
			d.onToken(func(j *jwt) { j.claims["EXP"] = j.claims["exp"]; delete(j.claims, "exp") })
		}},
	)
	t.level = Practice
	s.refused(t, invalidToken, variant{"out-of-range", tokenClaim("exp", json.RawMessage("1e400"))})
	s.accepted(exp, variant{"fraction", now(func() func(*draft) { return tokenClaim("exp", float64(unix(time.Minute))+0.5) })})
	s.leeways()
	leeway := exp
	leeway.applies = not("--leeway does not say", func(c *Config) bool { return c.Leeway == 0 })
	s.add(leeway, "just-outside-the-leeway", func(p *play) {
		d := p.draft()
		at("exp", -p.Leeway-3*time.Second)(d)
		p.refuse(p.send(d), invalidToken)
	})
	s.add(leeway, "just-inside-the-leeway", func(p *play) {
		d := p.draft()
		at("exp", -p.Leeway+4*time.Second)(d)
		p.accept(p.send(d))
	})
	s.refused(text{"AT-4-08", "RFC 7519, section 4.1.5", Must,
		`The "nbf" (not before) claim identifies the time before which the JWT MUST NOT be accepted for processing.`, applies}, invalidToken,
		variant{"nbf-in-an-hour", at("nbf", time.Hour)},
		variant{"nbf-in-ten-minutes", at("nbf", 10*time.Minute)},
		variant{"nbf-text", tokenClaim("nbf", "later")},
	)
	s.accepted(text{"AT-4-08", "RFC 7519, section 4.1.5", Must,
		"The processing of the \"nbf\" claim requires that the current date/time MUST be after or equal to the not-before date/time listed in the \"nbf\" claim.", applies},
		variant{"nbf-now", at("nbf", 0)}, variant{"nbf-an-hour-ago", at("nbf", -time.Hour)})
	s.refused(text{"AT-4-08", "RFC 7519, section 4.1.6; FAPI 2.0, section 5.3.2.1", Practice,
		"A token that was issued in the future was not issued by a clock to be trusted.", needsJWT}, invalidToken,
		variant{"iat-in-an-hour", at("iat", time.Hour)},
		variant{"iat-text", tokenClaim("iat", "now")},
		variant{"iat-milliseconds", now(func() func(*draft) { return tokenClaim("iat", unix(0)*1000) })},
	)
	required := text{"AT-2.2-01", "RFC 9068, section 2.2", Must,
		"iss, exp, aud, sub, client_id, iat, jti: REQUIRED.", needsJWT}
	for _, name := range []string{"iss", "exp", "aud"} {
		s.refused(required, invalidToken, variant{"missing-" + name, tokenClaim(name, absent{})})
	}
	required.level = Practice // the token is no RFC 9068 token; not every server looks
	for _, name := range []string{"sub", "client_id", "iat", "jti"} {
		s.refused(required, invalidToken,
			variant{"missing-" + name, tokenClaim(name, absent{})},
			variant{"null-" + name, tokenClaim(name, nil)},
			variant{"list-" + name, tokenClaim(name, []string{"x"})})
	}
	s.accepted(text{"AT-2.2-01", "RFC 7519, section 4", Must,
		"All claims that are not understood by implementations MUST be ignored.", applies},
		variant{"unknown-claims", both(tokenClaim("keybound", map[string]any{"a": []int{1}}), tokenClaim("AUD", "x"), tokenClaim("roles", []string{"a"}))},
		variant{"fresh-token", func(*draft) {}},
		variant{"large-token", tokenClaim("groups", strings.Split(strings.Repeat("group-of-some-length ", 150), " "))},
	)
}

// leeways are the rows about times that are nearly right.
func (s *suite) leeways() {
	said := not("--leeway does not say", func(c *Config) bool { return c.Leeway < 10*time.Second })
	for _, t := range []text{
		{"AT-4-08", "RFC 7519, section 4.1.5", Must,
			"nbf: Implementers MAY provide for some small leeway, usually no more than a few minutes, to account for clock skew.", said},
		{"AT-4-08", "RFC 7519, section 4.1.6", Practice,
			"iat: The same leeway, for the same reason.", all(said, needsJWT)},
	} {
		name := strings.TrimSuffix(t.sentence[:3], ":")
		s.add(t, name+"-just-inside-the-leeway", func(p *play) {
			d := p.draft()
			tokenClaim(name, unix(p.Leeway-4*time.Second))(d)
			p.accept(p.send(d))
		})
		s.add(t, name+"-just-outside-the-leeway", func(p *play) {
			d := p.draft()
			tokenClaim(name, unix(p.Leeway+5*time.Second))(d)
			p.refuse(p.send(d), invalidToken)
		})
	}
	s.add(text{"AT-4-06", "RFC 9068, section 4", Must,
		`The current time MUST be before the time represented by the "exp" claim: also for a token that the server has accepted before.`,
		not("--leeway says no time that can be waited for", func(c *Config) bool { return c.Leeway == 0 || c.Leeway > 5*time.Second })},
		"a-token-that-passed-before", func(p *play) {
			d := p.draft()
			end := time.Now().Add(5 * time.Second)
			tokenClaim("exp", end.Unix())(d)
			p.accept(p.send(d))
			d.proof = ""
			p.accept(p.send(d))
			time.Sleep(time.Until(end.Add(p.Leeway + time.Second)))
			d.proof = ""
			p.refuse(p.send(d), invalidToken)
		})
	s.refused(text{"AT-2.2.3-01", "RFC 9068, section 2.2.3; RFC 8693, section 4.2", Practice,
		"scope is one string of space-delimited scopes: a value of another type names none.", not("--scope does not say what the target demands", func(c *Config) bool { return c.Scope == "" })}, anyRefusal,
		variant{"scope-number", tokenClaim("scope", 1)},
		variant{"scope-object", tokenClaim("scope", map[string]any{"orders:read": true})},
		variant{"scope-null", tokenClaim("scope", nil)},
		variant{"scope-true", tokenClaim("scope", true)},
	)
	s.accepted(text{"AT-2.2-01", "RFC 7519, section 2", Must,
		"NumericDate: a JSON numeric value representing the number of seconds from 1970-01-01T00:00:00Z UTC; non-integer values can be represented.", func(*Config) string { return "" }},
		variant{"exp-with-an-exponent", now(func() func(*draft) {
			return tokenClaim("exp", json.RawMessage(fmt.Sprintf("%d.5e1", unix(time.Minute)/10)))
		})},
		variant{"exp-far-away", tokenClaimWhere(func(c *Config) bool { return c.Profile != FAPI2 }, "exp", 253402300799)},
		variant{"nbf-zero", tokenClaim("nbf", 0)},
	)
	s.refused(text{"AT-4-06", "RFC 7519, section 2", Must,
		"NumericDate: a value that names no time that a server can hold is none, or one that is over.", func(*Config) string { return "" }}, invalidToken,
		variant{"exp-in-nanoseconds-before", tokenClaim("exp", json.RawMessage("-1e18"))},
		variant{"nbf-in-milliseconds", now(func() func(*draft) { return tokenClaim("nbf", unix(time.Hour)*1000) })},
		variant{"nbf-huge", tokenClaim("nbf", json.RawMessage("1e300"))},
	)
}

// tokenClaimWhere is tokenClaim where the server's profile has no word against it.
func tokenClaimWhere(applies func(*Config) bool, name string, value any) func(*draft) {
	return func(d *draft) {
		d.onToken(func(j *jwt) {
			if applies(d.config) {
				j.claims[name] = value
			}
		})
	}
}

func (s *suite) tokenForms() {
	t := text{"AT-4-02", "RFC 7519, section 7.2; RFC 8725, section 3.3", Must,
		"The token is exactly one signed JWT in compact form.", needsJWT}
	part := func(i int, change func(string) string) func(*draft) {
		return tokenCompact(func(t string) string {
			parts := strings.Split(t, ".")
			parts[i] = change(parts[i])
			return strings.Join(parts, ".")
		})
	}
	s.refused(t, anyRefusal,
		variant{"not-a-jwt", tokenCompact(func(string) string { return "token" })},
		variant{"two-parts", tokenCompact(func(t string) string { return t[:strings.LastIndexByte(t, '.')] })},
		variant{"four-parts", tokenCompact(func(t string) string { return t + ".e30" })},
		variant{"five-parts", tokenCompact(func(t string) string { return t + ".e30.e30" })},
		variant{"dot-behind", tokenCompact(func(t string) string { return t + "." })},
		variant{"two-dots-behind", tokenCompact(func(t string) string { return t + ".." })},
		variant{"padded", tokenCompact(func(t string) string { return t + "=" })},
		variant{"padded-twice", tokenCompact(func(t string) string { return t + "==" })},
		variant{"no-header", part(0, func(string) string { return "" })},
		variant{"no-payload", part(1, func(string) string { return "" })},
		variant{"standard-base64", part(0, func(h string) string { return "+/" + h[2:] })},
		variant{"nested", tokenCompact(func(t string) string {
			return pen.Encode([]byte(`{"cty":"JWT","alg":"none"}`)) + "." + pen.Encode([]byte(t)) + "."
		})},
		variant{"jwe", tokenCompact(func(string) string {
			return pen.Encode([]byte(`{"alg":"dir","enc":"A256GCM","typ":"at+jwt"}`)) + "..AAAAAAAAAAAAAAAA.AAAA.AAAAAAAAAAAAAAAAAAAAAA"
		})},
		variant{"very-long", tokenCompact(func(t string) string { return t + strings.Repeat("A", 20000) })},
	)
	s.refused(text{"B64-02", "RFC 4648, section 3.5", Practice,
		"One token has one spelling: what a cache, a block list or ath calls the same is the same.", needsJWT}, anyRefusal,
		variant{"token-signature-with-pad-bits", tokenCompact(func(t string) string { return t[:len(t)-1] + nextLetter(t[len(t)-1]) })})
	j := text{"JSON-01", "RFC 7515, section 4; RFC 8259", Must, jsonSentence, needsJWT}
	for name, fault := range inOrder(jsonFaults("sub")) {
		if name == "member-in-another-case" {
			continue // a missing sub, which not every server needs
		}
		if j.level = jsonLevel(name); name == "duplicate-the-last-wrong" {
			j.level = Practice // the last sub is as good as another
		}
		s.refused(j, invalidToken, variant{"token-claims-" + name, tokenClaimsText(fault)})
	}
	for name, fault := range inOrder(jsonFaults("typ")) {
		j.level = jsonLevel(name)
		s.refused(j, invalidToken, variant{"token-header-" + name, tokenHeaderText(fault)})
	}
	odd := text{"JSON-01", "RFC 8259", Must,
		"Whatever RFC 8259 lets stand in a member that means nothing is ignored (RFC 7515, section 4; RFC 7519, section 4).", needsJWT}
	for name, members := range inOrder(oddJSON) {
		s.accepted(odd, variant{"token-claims-with-" + name, tokenClaimsText(replace(`{`, `{`+members))})
		if name != "nested" {
			s.accepted(odd, variant{"token-header-with-" + name, tokenHeaderText(replace(`{`, `{`+members))})
		}
	}
	s.accepted(odd,
		variant{"token-escaped-solidus", tokenClaimsText(replace(`://`, `:\/\/`))},
		variant{"token-escaped-names", tokenClaimsText(func(b []byte) []byte {
			return replace(`"exp"`, `"\u0065xp"`)(replace(`"cnf"`, `"c\u006ef"`)(replace(`"aud"`, `"\u0061ud"`)(b)))
		})},
		variant{"token-whitespace", both(tokenClaimsText(indent), tokenHeaderText(indent))},
	)
	j.level = Must
	s.refused(j, invalidToken,
		variant{"token-two-subjects-admin-last", tokenClaimsText(func(b []byte) []byte {
			return append(b[:len(b)-1], `,"aud":"https://other.example"}`...)
		})},
		variant{"token-two-expiries-old-last", tokenClaimsText(func(b []byte) []byte { return append(b[:len(b)-1], `,"exp":1}`...) })},
		variant{"token-two-confirmations", func(d *draft) {
			d.onToken(func(j *jwt) {
				j.claimsText = func(b []byte) []byte {
					return append(b[:len(b)-1], `,"cnf":{"jkt":"`+unknownKey("").Thumbprint()+`"}}`...)
				}
			})
		}},
	)
}

package check

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/asn1"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math/big"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/keybound-go/middleware/cmd/keybound/internal/pen"
	"github.com/keybound-go/middleware/cmd/keybound/internal/wire"
)

func unix(ahead time.Duration) int64 { return time.Now().Add(ahead).Unix() }

// now makes an edit whose value is taken when the row is tried.
func now(f func() func(*draft)) func(*draft) { return func(d *draft) { f()(d) } }

// rsaKeys are the client's RSA keys, by size. They take long to make, so that one of
// each size serves all rows: each row has a token and a proof of its own.
var rsaKeys = struct {
	sync.Mutex
	bySize map[int]*rsa.PrivateKey
}{bySize: make(map[int]*rsa.PrivateKey)}

func sizedRSA(bits int, alg string) (*pen.Key, error) {
	rsaKeys.Lock()
	defer rsaKeys.Unlock()
	key := rsaKeys.bySize[bits]
	if key == nil {
		var err error
		if key, err = rsa.GenerateKey(rand.Reader, bits); err != nil {
			return nil, fmt.Errorf("check: %w", err)
		}
		rsaKeys.bySize[bits] = key
	}
	return pen.FromSigner(key, alg)
}

// clientKey makes a key of the client's for an algorithm.
func clientKey(alg string) (*pen.Key, error) {
	if strings.HasPrefix(alg, "RS") || strings.HasPrefix(alg, "PS") {
		return sizedRSA(2048, alg)
	}
	return pen.Generate(alg)
}

// otherKey is clientKey of another client.
func otherKey(alg string) (*pen.Key, error) {
	if strings.HasPrefix(alg, "RS") || strings.HasPrefix(alg, "PS") {
		return sizedRSA(2056, alg)
	}
	return pen.Generate(alg)
}

// withKey makes the proof by another kind of key, to which the token is bound.
func withKey(make func() (*pen.Key, error)) func(*draft) {
	return func(d *draft) {
		key, err := make()
		if err != nil {
			panic(outcome{status: Skipped, reason: err.Error()})
		}
		d.key = key
	}
}

// boundJWK binds the token to the key that the proof claims to have, so that nothing
// but the key itself is wrong.
func boundJWK(edit func(jwk map[string]any)) func(*draft) {
	return func(d *draft) {
		jwk := d.key.JWK()
		edit(jwk)
		d.onToken(func(j *jwt) { j.claims["cnf"] = map[string]any{"jkt": pen.Thumbprint(jwk)} })
		d.onProof(func(j *jwt) { j.header["jwk"] = jwk })
	}
}

// proofs are the rows of RFC 9449, sections 4 and 7, about one proof.
func (s *suite) proofs() {
	s.proofField()
	s.proofForm()
	s.proofMembers()
	s.proofTypesAndAlgorithms()
	s.proofSignatures()
	s.proofKeys()
	s.proofTimes()
	s.proofTokens()
	s.proofJSON()
}

func (s *suite) proofField() {
	rename := func(name string) func(*draft) {
		return func(d *draft) {
			d.onRequest(func(r *wire.Request) {
				for i := range r.Fields {
					if r.Fields[i].Name == "DPoP" {
						r.Fields[i].Name = name
					}
				}
			})
		}
	}
	s.accepted(text{"DPOP-4.1-01", "RFC 9449, section 4.1", Must,
		"Header field names are case insensitive; thus, DPoP, DPOP, dpop, etc., are all valid and equivalent header field names.", needsDPoP},
		variant{"DPOP", rename("DPOP")}, variant{"dpop", rename("dpop")}, variant{"Dpop", rename("Dpop")})
	value := func(change func(string) string) func(*draft) {
		return func(d *draft) { d.replaceField("DPoP", change) }
	}
	s.refused(text{"DPOP-4.1-02", "RFC 9449, section 4.1", Must,
		"The DPoP HTTP header field value uses the token68 syntax; case is significant in the header field value.", needsDPoP}, invalidProof,
		variant{"space-inside", value(func(p string) string { return p[:40] + " " + p[40:] })},
		variant{"quoted", value(func(p string) string { return `"` + p + `"` })},
		variant{"scheme-in-front", value(func(p string) string { return "DPoP " + p })},
		variant{"semicolon-behind", value(func(p string) string { return p + ";x=1" })},
		variant{"lower-case", value(strings.ToLower)},
		variant{"colon-in-front", value(func(p string) string { return ":" + p + ":" })},
		variant{"percent-encoded", value(func(p string) string { return strings.Replace(p, ".", "%2E", 1) })},
		variant{"obs-text", value(func(p string) string { return p + "\xff" })},
	)
	again := func(name string, change func(string) string) func(*draft) {
		return func(d *draft) {
			d.onRequest(func(r *wire.Request) {
				r.Fields = append(r.Fields, wire.Field{Name: name, Value: change(d.proof)})
			})
		}
	}
	same := func(p string) string { return p }
	s.refused(text{"DPOP-4.3-01", "RFC 9449, section 4.3, check 1", Must,
		"There is not more than one DPoP HTTP request header field.", needsDPoP}, invalidProof,
		variant{"twice-the-same", again("DPoP", same)},
		variant{"other-case-of-the-name", again("dpop", same)},
		variant{"garbage-second", again("DPoP", func(string) string { return "x" })},
		variant{"garbage-first", func(d *draft) {
			d.onRequest(func(r *wire.Request) { r.Fields = append([]wire.Field{{Name: "DPoP", Value: "x"}}, r.Fields...) })
		}},
		variant{"empty-second", again("DPoP", func(string) string { return "" })},
		variant{"joined-by-comma", value(func(p string) string { return p + ", " + p })},
		variant{"joined-without-space", value(func(p string) string { return p + "," + p })},
		variant{"comma-behind", value(func(p string) string { return p + "," })},
	)
}

func (s *suite) proofForm() {
	part := func(i int, change func(string) string) func(*draft) {
		return proofCompact(func(p string) string {
			parts := strings.Split(p, ".")
			parts[i] = change(parts[i])
			return strings.Join(parts, ".")
		})
	}
	s.refused(text{"DPOP-4.3-02", "RFC 9449, section 4.3, check 2", Must,
		"The DPoP HTTP request header field value is a single and well-formed JWT.", needsDPoP}, invalidProof,
		variant{"empty", proofCompact(func(string) string { return "" })},
		variant{"not-a-jwt", proofCompact(func(string) string { return "proof" })},
		variant{"one-part", proofCompact(func(p string) string { return strings.ReplaceAll(p, ".", "") })},
		variant{"two-parts", proofCompact(func(p string) string { return p[:strings.LastIndexByte(p, '.')] })},
		variant{"four-parts", proofCompact(func(p string) string { return p + ".e30" })},
		variant{"four-parts-empty", proofCompact(func(p string) string { return p + "." })},
		variant{"five-parts", proofCompact(func(p string) string { return p + ".e30.e30" })},
		variant{"no-header", part(0, func(string) string { return "" })},
		variant{"no-payload", part(1, func(string) string { return "" })},
		variant{"padded", proofCompact(func(p string) string { return p + "==" })},
		variant{"padded-header", part(0, func(h string) string { return h + "=" })},
		variant{"standard-base64", part(0, func(string) string { return "+/8" })},
		variant{"not-base64", part(1, func(c string) string { return "!" + c[1:] })},
		variant{"twice", proofCompact(func(p string) string { return p + p })},
		variant{"dot-in-front", proofCompact(func(p string) string { return "." + p })},
		variant{"json-serialization", proofCompact(func(p string) string {
			parts := strings.Split(p, ".")
			return `{"protected":"` + parts[0] + `","payload":"` + parts[1] + `","signature":"` + parts[2] + `"}`
		})},
		variant{"header-not-json", proofHeaderText(func([]byte) []byte { return []byte("header") })},
		variant{"payload-not-json", proofClaimsText(func([]byte) []byte { return []byte("claims") })},
	)
	s.refused(text{"B64-02", "RFC 4648, section 3.5", Practice,
		"Decoders may reject an encoding if the pad bits have not been set to zero: else one proof has several spellings.", needsDPoP}, invalidProof,
		variant{"signature-with-pad-bits", proofCompact(func(p string) string { return p[:len(p)-1] + nextLetter(p[len(p)-1]) })})
}

// nextLetter is the base64url letter that differs from c in its last bit.
func nextLetter(c byte) string {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	return string(alphabet[strings.IndexByte(alphabet, c)^1])
}

func (s *suite) proofMembers() {
	t := text{"DPOP-4.3-03", "RFC 9449, section 4.3, check 3", Must,
		"All required claims per Section 4.2 are contained in the JWT.", needsDPoP}
	wrong := map[string]any{"null": nil, "number": 17, "array": []string{"a"}, "object": map[string]any{"a": 1}, "true": true, "empty": ""}
	for _, name := range []string{"jti", "htm", "htu", "ath"} {
		s.refused(t, invalidProof, variant{"missing-" + name, proofClaim(name, absent{})})
		for _, kind := range []string{"null", "number", "array", "object", "true", "empty"} {
			s.refused(t, invalidProof, variant{name + "-" + kind, proofClaim(name, wrong[kind])})
		}
	}
	s.refused(t, invalidProof, variant{"missing-iat", proofClaim("iat", absent{})})
	for _, kind := range []string{"null", "array", "object", "true", "empty"} {
		s.refused(t, invalidProof, variant{"iat-" + kind, proofClaim("iat", wrong[kind])})
	}
	header := text{"DPOP-4.3-03", "RFC 9449, section 4.2", Must,
		"The JOSE Header of a DPoP JWT MUST contain at least the following parameters: typ, alg, jwk.", needsDPoP}
	for _, name := range []string{"typ", "alg", "jwk"} {
		s.refused(header, invalidProof, variant{"missing-" + name, proofHeader(name, absent{})})
		for _, kind := range []string{"null", "number", "array", "true", "empty"} {
			s.refused(header, invalidProof, variant{name + "-" + kind, proofHeader(name, wrong[kind])})
		}
	}
	s.refused(header, invalidProof,
		variant{"jwk-as-text", func(d *draft) {
			d.onProof(func(j *jwt) { raw, _ := json.Marshal(j.header["jwk"]); j.header["jwk"] = string(raw) })
		}},
		variant{"jwk-empty-object", proofHeader("jwk", map[string]any{})},
		variant{"jwk-in-the-claims", func(d *draft) {
			d.onProof(func(j *jwt) { j.claims["jwk"] = j.header["jwk"]; j.header["jwk"] = absent{} })
		}},
	)
	s.accepted(text{"DPOP-4.2-01", "RFC 9449, section 4.2", Must,
		"A DPoP proof MAY contain other JOSE Header Parameters or claims as defined by extension, profile, or deployment-specific requirements.", needsDPoP},
		variant{"unknown-header", proofHeader("keybound", map[string]any{"a": 1})},
		variant{"unknown-claim", proofClaim("keybound", []int{1})},
		variant{"iss-sub-aud", both(proofClaim("iss", "client"), proofClaim("sub", "client"), proofClaim("aud", "x"))},
		variant{"kid", proofHeader("kid", "../../etc/passwd")},
		variant{"cty", proofHeader("cty", "x")},
		variant{"claims-in-another-case", both(proofClaim("HTU", "https://evil.example/"), proofClaim("Htm", "PUT"), proofClaim("ATH", "x"))},
		variant{"header-in-another-case", both(proofHeader("ALG", "none"), proofHeader("Typ", "JWT"))},
		variant{"exp-and-nbf", now(func() func(*draft) {
			return both(proofClaim("nbf", unix(0)), proofClaim("exp", unix(5*time.Minute)))
		})},
	)
	s.accepted(text{"DPOP-4.2-04", "RFC 8725, section 3.10", Should,
		"jku and x5u may be attacked by SSRF: they are ignored in proofs.", needsDPoP},
		variant{"jku", proofHeader("jku", "https://127.0.0.1:1/jwks")},
		variant{"x5u", proofHeader("x5u", "https://127.0.0.1:1/x5u")})
	s.accepted(text{"DPOP-32", "RFC 9449, section 8", Practice,
		"A nonce that the server did not ask for, such as one of another server at the same origin, does no harm.",
		all(needsDPoP, not("the server demands nonces", func(c *Config) bool { return c.Nonces }))},
		variant{"nonce-unasked", proofClaim("nonce", "from-another-server")})
}

func (s *suite) proofTypesAndAlgorithms() {
	typ := text{"DPOP-4.3-04", "RFC 9449, section 4.3, check 4", Must,
		"The typ JOSE Header Parameter has the value dpop+jwt.", needsDPoP}
	for name, value := range inOrder(map[string]string{
		"JWT": "JWT", "at+jwt": "at+jwt", "dpop": "dpop", "jwt": "jwt", "space": "dpop+jwt ", "dpopjwt": "dpopjwt",
		"longer": "dpop+jwtx", "other-tree": "text/dpop+jwt", "twice": "application/application/dpop+jwt",
	}) {
		s.refused(typ, invalidProof, variant{"typ-" + name, proofHeader("typ", value)})
	}
	s.accepted(text{"DPOP-4.3-04", "RFC 7515, section 4.1.9", Practice,
		"A recipient using the media type value MUST treat it as if \"application/\" were prepended to any \"typ\" value not containing a '/'; media types compare case-insensitively.", needsDPoP},
		variant{"typ-media-type", proofHeader("typ", "application/dpop+jwt")},
		variant{"typ-upper", proofHeader("typ", "DPoP+JWT")})

	alg := text{"DPOP-4.3-05", "RFC 9449, section 4.3, check 5", Must,
		"The alg JOSE Header Parameter indicates a registered asymmetric digital signature algorithm, is not none, is supported by the application, and is acceptable per local policy.", needsDPoP}
	for _, name := range []string{"none", "None", "NONE", "nOnE"} {
		s.refused(alg, invalidProof,
			variant{"alg-" + name + "-unsigned", both(proofHeader("alg", name), proofSignature(func([]byte, string) []byte { return nil }))},
			variant{"alg-" + name + "-signed", proofHeader("alg", name)})
	}
	for _, name := range []string{"es256", "ES256 ", "ES256K", "ES384", "ES512", "RS256", "PS256", "EdDSA", "Ed25519", "ES999", "RS1", "dir", "A128KW", "HS256", "HS512"} {
		s.refused(alg, invalidProof, variant{"alg-" + strings.ReplaceAll(name, " ", "-space") + "-over-P-256", proofHeader("alg", name)})
	}
	mac := func(secret func(jwk map[string]any) []byte, hash string) func(*draft) {
		return func(d *draft) {
			d.onProof(func(j *jwt) {
				j.header["alg"] = hash
				jwk := d.key.JWK()
				j.signature = func(_ []byte, input string) []byte {
					h := hmac.New(sha256.New, secret(jwk))
					if hash == "HS512" {
						h = hmac.New(sha512.New, secret(jwk))
					}
					h.Write([]byte(input))
					return h.Sum(nil)
				}
			})
		}
	}
	asJSON := func(jwk map[string]any) []byte { return marshal(jwk) }
	s.refused(text{"DPOP-4.3-05", "RFC 8725, sections 2.1 and 3.1", Must,
		"Libraries MUST enable the caller to specify a supported set of algorithms and MUST NOT use any other algorithms: a MAC under a public key proves nothing, since everyone has that key.", needsDPoP}, invalidProof,
		variant{"HS256-keyed-with-the-jwk", mac(asJSON, "HS256")},
		variant{"HS256-keyed-with-x", mac(func(jwk map[string]any) []byte { return []byte(jwk["x"].(string)) }, "HS256")},
		variant{"HS512-keyed-with-nothing", mac(func(map[string]any) []byte { return nil }, "HS512")},
		variant{"HS256-with-an-oct-jwk", func(d *draft) {
			boundJWK(func(jwk map[string]any) { clear(jwk); jwk["kty"], jwk["k"] = "oct", pen.Encode([]byte("secret")) })(d)
			mac(func(map[string]any) []byte { return []byte("secret") }, "HS256")(d)
		}},
	)
	for _, name := range []string{"ES256", "ES384", "ES512", "PS256", "PS384", "PS512", "RS256", "RS384", "RS512", "EdDSA", "Ed25519"} {
		make := func() (*pen.Key, error) { return clientKey(name) }
		offered := func(c *Config) bool { return slices.Contains(c.Algorithms, name) }
		s.accepted(text{"AUTH-12", "RFC 9449, section 7.1", Must,
			"algs: the value of the parameter is a space-delimited list of JWS alg (Algorithm) header values: every one that is named works.",
			all(needsDPoP, not("algs does not name it", func(c *Config) bool { return !offered(c) }))},
			variant{name + "-offered", withKey(make)})
		s.refused(text{"AUTH-12", "RFC 9449, section 7.1", Must,
			"algs names what is acceptable: what it does not name is refused.",
			all(needsDPoP, not("algs names it", offered), not("the server names no algs", func(c *Config) bool { return len(c.Algorithms) == 0 }))},
			invalidProof, variant{name + "-not-offered", withKey(make)})
	}
	critical := text{"JWS-4.1.11", "RFC 7515, section 4.1.11", Must,
		"If any of the listed extension Header Parameters are not understood and supported by the recipient, then the JWS is invalid. Producers MUST NOT use the empty list \"[]\" as the \"crit\" value.", needsDPoP}
	s.refused(critical, invalidProof,
		variant{"crit-unknown", both(proofHeader("crit", []string{"keybound"}), proofHeader("keybound", 1))},
		variant{"crit-of-a-claim", both(proofHeader("crit", []string{"exp"}), proofHeader("exp", 1))},
		variant{"crit-empty", proofHeader("crit", []string{})},
		variant{"crit-null", proofHeader("crit", nil)},
		variant{"crit-string", proofHeader("crit", "exp")},
		variant{"crit-registered", proofHeader("crit", []string{"alg"})},
		variant{"crit-missing-member", proofHeader("crit", []string{"keybound"})},
	)
	b64 := text{"JWS-7797", "RFC 7797, section 7", Must,
		"JSON Web Tokens MUST NOT use \"b64\" with a \"false\" value.", needsDPoP}
	s.refused(b64, invalidProof, variant{"b64-false", both(proofHeader("crit", []string{"b64"}), proofHeader("b64", false))})
	b64.level = Practice // a reader that knows nothing of RFC 7797 ignores it
	s.refused(b64, invalidProof, variant{"b64-false-not-critical", proofHeader("b64", false)})
}

func (s *suite) proofSignatures() {
	zeros := func(n int) func([]byte, string) []byte {
		return func([]byte, string) []byte { return make([]byte, n) }
	}
	order, _ := new(big.Int).SetString("ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551", 16)
	asOrder := order.FillBytes(make([]byte, 32))
	flip := func(i int) func([]byte, string) []byte {
		return func(sig []byte, _ string) []byte { sig[(i+len(sig))%len(sig)] ^= 1; return sig }
	}
	s.refused(text{"DPOP-4.3-06", "RFC 9449, section 4.3, check 6", Must,
		"The JWT signature verifies with the public key contained in the jwk JOSE Header Parameter.", needsDPoP}, invalidProof,
		variant{"first-byte", proofSignature(flip(0))},
		variant{"last-byte", proofSignature(flip(-1))},
		variant{"middle-byte", proofSignature(flip(31))},
		variant{"empty", proofSignature(func([]byte, string) []byte { return nil })},
		variant{"63-bytes", proofSignature(func(sig []byte, _ string) []byte { return sig[:63] })},
		variant{"65-bytes", proofSignature(func(sig []byte, _ string) []byte { return append(sig, 0) })},
		variant{"128-bytes", proofSignature(func(sig []byte, _ string) []byte { return append(sig, sig...) })},
		variant{"zero-in-front", proofSignature(func(sig []byte, _ string) []byte { return append([]byte{0}, sig...) })},
		variant{"swapped", proofSignature(func(sig []byte, _ string) []byte { return append(slices.Clone(sig[32:]), sig[:32]...) })},
		variant{"zeros", proofSignature(zeros(64))},
		variant{"r-zero", proofSignature(func(sig []byte, _ string) []byte { return append(make([]byte, 32), sig[32:]...) })},
		variant{"s-zero", proofSignature(func(sig []byte, _ string) []byte { return append(slices.Clone(sig[:32]), make([]byte, 32)...) })},
		variant{"order-of-the-curve", proofSignature(func([]byte, string) []byte { return append(slices.Clone(asOrder), asOrder...) })},
		variant{"der", proofSignature(func(sig []byte, _ string) []byte {
			der, _ := asn1.Marshal(struct{ R, S *big.Int }{new(big.Int).SetBytes(sig[:32]), new(big.Int).SetBytes(sig[32:])})
			return der
		})},
		variant{"of-other-claims", func(d *draft) {
			d.onProof(func(j *jwt) {
				j.signature = func(_ []byte, input string) []byte { return d.key.SignInput(input + "x") }
			})
		}},
		variant{"of-the-payload-alone", func(d *draft) {
			d.onProof(func(j *jwt) {
				j.signature = func(_ []byte, input string) []byte { return d.key.SignInput(input[strings.IndexByte(input, '.')+1:]) }
			})
		}},
		variant{"claims-changed-afterwards", proofCompact(func(p string) string {
			parts := strings.Split(p, ".")
			raw, _ := base64.RawURLEncoding.DecodeString(parts[1])
			return parts[0] + "." + pen.Encode(bytes.Replace(raw, []byte(`{`), []byte(`{"a":1,`), 1)) + "." + parts[2]
		})},
		variant{"header-changed-afterwards", proofCompact(func(p string) string {
			parts := strings.Split(p, ".")
			raw, _ := base64.RawURLEncoding.DecodeString(parts[0])
			return pen.Encode(bytes.Replace(raw, []byte(`{`), []byte(`{"a":1,`), 1)) + "." + parts[1] + "." + parts[2]
		})},
		variant{"by-another-key", func(d *draft) { d.onProof(func(j *jwt) { j.key = unknownKey("") }) }},
		variant{"by-another-key-named-in-kid", func(d *draft) {
			d.onProof(func(j *jwt) { j.key = unknownKey(d.key.Thumbprint()) })
		}},
	)
}

func (s *suite) proofKeys() {
	private := text{"DPOP-4.3-07", "RFC 9449, section 4.3, check 7", Must,
		"The jwk JOSE Header Parameter does not contain a private key.", needsDPoP}
	s.refused(private, invalidProof, variant{"private-d", jwkMember("d", "AAAA")})
	// Private members of other kinds of keys, which a reader may ignore in this one.
	other := private
	other.level = Practice
	for _, name := range []string{"p", "q", "dp", "dq", "qi", "oth", "k"} {
		s.refused(other, invalidProof, variant{"private-" + name, jwkMember(name, "AAAA")})
	}
	s.refused(other, invalidProof, variant{"private-d-null", jwkMember("d", nil)})
	s.refused(private, invalidProof,
		variant{"the-real-d", func(d *draft) {
			d.onProof(func(j *jwt) {
				raw, err := d.key.PrivateJWK()
				if err == nil {
					var full map[string]any
					_ = json.Unmarshal(raw, &full)
					j.header["jwk"].(map[string]any)["d"] = full["d"]
				}
			})
		}})
	s.accepted(text{"JWK-4", "RFC 7517, section 4", Must,
		"Additional members can be present in the JWK; if not understood by implementations encountering them, they MUST be ignored.", needsDPoP},
		variant{"kid", jwkMember("kid", "1")},
		variant{"use-sig", jwkMember("use", "sig")},
		variant{"alg", jwkMember("alg", "ES256")},
		variant{"ext-and-key_ops", both(jwkMember("ext", true), jwkMember("key_ops", []string{"verify"}))},
		variant{"unknown", jwkMember("keybound", map[string]any{"a": []int{1}})},
		variant{"x5c", jwkMember("x5c", []string{"AAAA"})},
	)
	decode := func(jwk map[string]any, name string) []byte {
		b, _ := base64.RawURLEncoding.DecodeString(jwk[name].(string))
		return b
	}
	ec := text{"JOSE-KEY-01", "RFC 7518, section 6.2.1", Must,
		"x and y: the length of this octet string MUST be the full size of a coordinate for the curve specified in the \"crv\" parameter; and a point must be on its curve (RFC 8725, section 3.4).", needsDPoP}
	s.refused(ec, invalidProof,
		variant{"x-missing", boundJWK(func(j map[string]any) { delete(j, "x") })},
		variant{"y-missing", boundJWK(func(j map[string]any) { delete(j, "y") })},
		variant{"x-empty", boundJWK(func(j map[string]any) { j["x"] = "" })},
		variant{"x-number", boundJWK(func(j map[string]any) { j["x"] = 1 })},
		variant{"x-short", boundJWK(func(j map[string]any) { j["x"] = pen.Encode(decode(j, "x")[1:]) })},
		variant{"x-long", boundJWK(func(j map[string]any) { j["x"] = pen.Encode(append([]byte{0}, decode(j, "x")...)) })},
		variant{"y-long", boundJWK(func(j map[string]any) { j["y"] = pen.Encode(append([]byte{0}, decode(j, "y")...)) })},
		variant{"off-the-curve", boundJWK(func(j map[string]any) { y := decode(j, "y"); y[31] ^= 1; j["y"] = pen.Encode(y) })},
		variant{"origin", boundJWK(func(j map[string]any) { j["x"], j["y"] = pen.Encode(make([]byte, 32)), pen.Encode(make([]byte, 32)) })},
		variant{"x-beyond-the-field", boundJWK(func(j map[string]any) { j["x"] = pen.Encode(bytes.Repeat([]byte{0xff}, 32)) })},
		variant{"x-padded", boundJWK(func(j map[string]any) { j["x"] = j["x"].(string) + "=" })},
		variant{"x-with-line-break", boundJWK(func(j map[string]any) { x := j["x"].(string); j["x"] = x[:20] + "\n" + x[20:] })},
		variant{"x-with-pad-bits", boundJWK(func(j map[string]any) { x := j["x"].(string); j["x"] = x[:len(x)-1] + nextLetter(x[len(x)-1]) })},
		variant{"x-standard-base64", boundJWK(func(j map[string]any) { j["x"] = "+" + j["x"].(string)[1:] })},
		variant{"crv-missing", boundJWK(func(j map[string]any) { delete(j, "crv") })},
		variant{"crv-other", boundJWK(func(j map[string]any) { j["crv"] = "P-384" })},
		variant{"crv-unknown", boundJWK(func(j map[string]any) { j["crv"] = "secp256k1" })},
		variant{"crv-lower-case", boundJWK(func(j map[string]any) { j["crv"] = "p-256" })},
		variant{"kty-missing", boundJWK(func(j map[string]any) { delete(j, "kty") })},
		variant{"kty-lower-case", boundJWK(func(j map[string]any) { j["kty"] = "ec" })},
		variant{"kty-other", boundJWK(func(j map[string]any) { j["kty"] = "RSA" })},
	)
	s.refused(text{"BCP-3.1", "RFC 8725, section 3.1", Must,
		"Each key MUST be used with exactly one algorithm, and this MUST be checked when the cryptographic operation is performed.", needsDPoP}, invalidProof,
		variant{"jwk-alg-differs", jwkMember("alg", "ES384")},
		variant{"jwk-alg-none", jwkMember("alg", "none")},
		variant{"P-384-with-ES256", mixed("ES384", "ES256")},
		variant{"P-384-with-ES512", mixed("ES384", "ES512")},
		variant{"P-521-with-ES384", mixed("ES512", "ES384")},
		variant{"RSA-with-ES256", mixed("PS256", "ES256")},
		variant{"RSA-with-EdDSA", mixed("PS256", "EdDSA")},
		variant{"Ed25519-with-ES256", mixed("EdDSA", "ES256")},
		variant{"Ed25519-with-PS256", mixed("EdDSA", "PS256")},
		variant{"RSA-signed-as-RS256-called-PS256", mixed("RS256", "PS256")},
		variant{"RSA-signed-as-PS256-called-PS384", mixed("PS256", "PS384")},
		variant{"RSA-signed-as-PS512-called-PS256", mixed("PS512", "PS256")},
		variant{"jwk-alg-of-the-same-family", both(withKey(func() (*pen.Key, error) { return clientKey("PS256") }), jwkMember("alg", "PS384"))},
		variant{"jwk-oct-with-ES256", boundJWK(func(jwk map[string]any) { clear(jwk); jwk["kty"], jwk["k"] = "oct", pen.Encode([]byte("secret")) })},
	)
	for _, alg := range []string{"ES384", "ES512", "PS256", "PS384", "PS512", "EdDSA", "RS256"} {
		by := withKey(func() (*pen.Key, error) { return clientKey(alg) })
		offered := all(needsDPoP, not("algs does not name it", func(c *Config) bool { return !slices.Contains(c.Algorithms, alg) }))
		s.refused(text{"DPOP-4.3-06", "RFC 9449, section 4.3, check 6", Must,
			"The JWT signature verifies with the public key contained in the jwk JOSE header parameter: by every algorithm that is accepted.", offered}, invalidProof,
			variant{alg + "-first-byte", both(by, proofSignature(func(sig []byte, _ string) []byte { sig[0] ^= 1; return sig }))},
			variant{alg + "-last-byte", both(by, proofSignature(func(sig []byte, _ string) []byte { sig[len(sig)-1] ^= 1; return sig }))},
			variant{alg + "-empty", both(by, proofSignature(func([]byte, string) []byte { return nil }))},
			variant{alg + "-cut", both(by, proofSignature(func(sig []byte, _ string) []byte { return sig[:len(sig)-1] }))},
			variant{alg + "-longer", both(by, proofSignature(func(sig []byte, _ string) []byte { return append(sig, 0) }))},
			variant{alg + "-zeros", both(by, proofSignature(func(sig []byte, _ string) []byte { return make([]byte, len(sig)) }))},
			variant{alg + "-of-something-else", func(d *draft) {
				by(d)
				d.onProof(func(j *jwt) {
					j.signature = func(_ []byte, input string) []byte { return d.key.SignInput(input + "x") }
				})
			}},
			variant{alg + "-by-another-key", func(d *draft) {
				by(d)
				d.onProof(func(j *jwt) {
					other, err := otherKey(alg)
					if err != nil {
						panic(outcome{status: Skipped, reason: err.Error()})
					}
					j.key = other
				})
			}},
		)
	}
	for _, alg := range []string{"ES384", "ES512"} {
		edit := func(f func(map[string]any)) func(*draft) {
			return both(withKey(func() (*pen.Key, error) { return clientKey(alg) }), boundJWK(f))
		}
		s.refused(text{"JOSE-KEY-01", "RFC 7518, section 6.2.1", Must,
			"The length of x and y is the full size of a coordinate; a point is on its curve.", needsDPoP}, invalidProof,
			variant{alg + "-x-short", edit(func(j map[string]any) { j["x"] = pen.Encode(decode(j, "x")[1:]) })},
			variant{alg + "-y-long", edit(func(j map[string]any) { j["y"] = pen.Encode(append([]byte{0}, decode(j, "y")...)) })},
			variant{alg + "-off-the-curve", edit(func(j map[string]any) { y := decode(j, "y"); y[len(y)-1] ^= 1; j["y"] = pen.Encode(y) })},
			variant{alg + "-called-P-256", edit(func(j map[string]any) { j["crv"] = "P-256" })},
		)
	}
	s.refused(text{"JWA-3.5", "RFC 7518, section 3.5", Must,
		"RSASSA-PSS: the size of the salt value is the same size as the hash function output, the mask generation function uses the same hash.", needsDPoP}, invalidProof,
		variant{"PS256-with-a-salt-of-20-bytes", pss(crypto.SHA256, 20)},
		variant{"PS256-with-the-longest-salt", pss(crypto.SHA256, rsa.PSSSaltLengthAuto)},
		variant{"PS256-with-SHA-384", pss(crypto.SHA384, 48)},
	)
	s.refused(text{"JWA-3.4", "RFC 7518, section 3.4", Must,
		"ES256 is ECDSA using P-256 and SHA-256.", needsDPoP}, invalidProof,
		variant{"ES256-with-SHA-384", func(d *draft) {
			d.onProof(func(j *jwt) {
				j.signature = func(_ []byte, input string) []byte {
					sum := sha512.Sum384([]byte(input))
					r, t, err := ecdsa.Sign(rand.Reader, d.key.Signer().(*ecdsa.PrivateKey), sum[:])
					if err != nil {
						panic(outcome{status: Skipped, reason: err.Error()})
					}
					return append(r.FillBytes(make([]byte, 32)), t.FillBytes(make([]byte, 32))...)
				}
			})
		}})
	s.refused(text{"JOSE-KEY-03", "RFC 7518, sections 3.3 and 3.5", Must,
		"A key of size 2048 bits or larger MUST be used with these algorithms.", needsDPoP}, invalidProof,
		variant{"RSA-1024-PS256", withKey(func() (*pen.Key, error) { return sizedRSA(1024, "PS256") })},
		variant{"RSA-1024-RS256", withKey(func() (*pen.Key, error) { return sizedRSA(1024, "RS256") })},
		variant{"RSA-2047-PS256", withKey(func() (*pen.Key, error) { return sizedRSA(2047, "PS256") })},
	)
	rsaJWK := func(edit func(map[string]any)) func(*draft) {
		return both(withKey(func() (*pen.Key, error) { return clientKey("PS256") }), boundJWK(edit))
	}
	s.refused(text{"JOSE-KEY-04", "RFC 7518, section 6.3.1; RFC 8017, section 3.1", Must,
		"n and e are a valid RSA public key: e is odd, between 3 and n - 1.", needsDPoP}, invalidProof,
		variant{"e-1", rsaJWK(func(j map[string]any) { j["e"] = "AQ" })},
		variant{"e-even", rsaJWK(func(j map[string]any) { j["e"] = "AQAA" })},
		variant{"e-missing", rsaJWK(func(j map[string]any) { delete(j, "e") })},
		variant{"e-zero", rsaJWK(func(j map[string]any) { j["e"] = "AA" })},
		variant{"n-missing", rsaJWK(func(j map[string]any) { delete(j, "n") })},
		variant{"n-empty", rsaJWK(func(j map[string]any) { j["n"] = "" })},
		variant{"n-even", rsaJWK(func(j map[string]any) { n := decode(j, "n"); n[len(n)-1] &^= 1; j["n"] = pen.Encode(n) })},
		variant{"n-with-a-zero-in-front", rsaJWK(func(j map[string]any) { j["n"] = pen.Encode(append([]byte{0}, decode(j, "n")...)) })},
		variant{"e-with-a-zero-in-front", rsaJWK(func(j map[string]any) { j["e"] = "AAEAAQ" })},
		variant{"e-huge", rsaJWK(func(j map[string]any) { j["e"] = j["n"] })},
		variant{"e-text", rsaJWK(func(j map[string]any) { j["e"] = 65537 })},
		variant{"n-padded", rsaJWK(func(j map[string]any) { j["n"] = j["n"].(string) + "=" })},
		variant{"n-16384-bits", rsaJWK(func(j map[string]any) {
			n := bytes.Repeat([]byte{0xff}, 2048)
			j["n"] = pen.Encode(n)
		})},
	)
	s.accepted(text{"JOSE-KEY-07", "RFC 8032, section 5.1.3", Must,
		"A key whose encoding is below p is canonical, however near it is.", all(needsDPoP, not("algs does not name EdDSA", func(c *Config) bool { return !slices.Contains(c.Algorithms, "EdDSA") }))},
		variant{"next-to-the-edge", withKey(edgeEd25519)})
	identity := append([]byte{1}, make([]byte, 31)...)
	okp := func(edit func(map[string]any)) func(*draft) {
		return both(withKey(func() (*pen.Key, error) { return pen.Generate("EdDSA") }), boundJWK(edit))
	}
	s.refused(text{"JOSE-KEY-07", "RFC 8037, section 3.1; RFC 8032, section 8.9", Practice,
		"An Ed25519 key of small order verifies any message with a constant signature: a token bound to it is bound to nothing.", needsDPoP}, invalidProof,
		variant{"identity", both(okp(func(j map[string]any) { j["x"] = pen.Encode(identity) }),
			proofSignature(func([]byte, string) []byte { return append(slices.Clone(identity), make([]byte, 32)...) }))},
		variant{"zero-key", both(okp(func(j map[string]any) { j["x"] = pen.Encode(make([]byte, 32)) }),
			proofSignature(func([]byte, string) []byte { return make([]byte, 64) }))},
		variant{"identity-with-a-sign", smallOrder(append([]byte{1}, append(make([]byte, 30), 0x80)...))},
		variant{"identity-not-canonical", smallOrder(append([]byte{0xee}, append(bytes.Repeat([]byte{0xff}, 30), 0x7f)...))},
		variant{"identity-not-canonical-with-a-sign", smallOrder(append([]byte{0xee}, bytes.Repeat([]byte{0xff}, 31)...))},
		variant{"order-2", smallOrder(append([]byte{0xec}, append(bytes.Repeat([]byte{0xff}, 30), 0x7f)...))},
		variant{"order-4", smallOrder(make([]byte, 32))},
		variant{"order-4-with-a-sign", smallOrder(append(make([]byte, 31), 0x80))},
		variant{"order-4-not-canonical", smallOrder(append([]byte{0xed}, append(bytes.Repeat([]byte{0xff}, 30), 0x7f)...))},
		variant{"order-4-not-canonical-with-a-sign", smallOrder(append([]byte{0xed}, bytes.Repeat([]byte{0xff}, 31)...))},
		variant{"order-8", smallOrder(fromHex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"))},
		variant{"order-8-the-other", smallOrder(fromHex("c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a"))},
		variant{"order-8-with-a-sign", smallOrder(fromHex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85"))},
		variant{"x-31-bytes", okp(func(j map[string]any) { j["x"] = pen.Encode(decode(j, "x")[:31]) })},
		variant{"x-33-bytes", okp(func(j map[string]any) { j["x"] = pen.Encode(append(decode(j, "x"), 0)) })},
		variant{"X25519", okp(func(j map[string]any) { j["crv"] = "X25519" })},
		variant{"Ed448", okp(func(j map[string]any) { j["crv"] = "Ed448" })},
	)
}

// mixed signs with a key for one algorithm, and says another.
func mixed(key, alg string) func(*draft) {
	return both(withKey(func() (*pen.Key, error) { return clientKey(key) }), proofHeader("alg", alg))
}

// pss signs as PS256 with another hash or another size of the salt.
func pss(hash crypto.Hash, salt int) func(*draft) {
	return func(d *draft) {
		withKey(func() (*pen.Key, error) { return clientKey("PS256") })(d)
		d.onProof(func(j *jwt) {
			j.signature = func(_ []byte, input string) []byte {
				h := hash.New()
				h.Write([]byte(input))
				sig, err := rsa.SignPSS(rand.Reader, d.key.Signer().(*rsa.PrivateKey), hash, h.Sum(nil), &rsa.PSSOptions{SaltLength: salt})
				if err != nil {
					panic(outcome{status: Skipped, reason: err.Error()})
				}
				return sig
			}
		})
	}
}

func fromHex(s string) []byte {
	b, err := hex.DecodeString(s)
	if err != nil {
		panic(err) // a mistake in a row
	}
	return b
}

// smallOrder forges a proof by an Ed25519 key of small order: for one jti in eight at
// the least, the constant signature verifies at a server that does not look at the key.
func smallOrder(x []byte) func(*draft) {
	identity := append([]byte{1}, make([]byte, 31)...)
	signature := append(slices.Clone(identity), make([]byte, 32)...)
	return func(d *draft) {
		withKey(func() (*pen.Key, error) { return pen.Generate("EdDSA") })(d)
		boundJWK(func(j map[string]any) { j["x"] = pen.Encode(x) })(d)
		d.onProof(func(j *jwt) {
			j.compact = func(p string) string {
				parts := strings.Split(p, ".")
				var claims map[string]any
				_ = json.Unmarshal(decode64(parts[1]), &claims)
				for range 200 {
					claims["jti"] = randomText()
					input := parts[0] + "." + pen.Encode(marshal(claims))
					if ed25519.Verify(x, []byte(input), signature) {
						return input + "." + pen.Encode(signature)
					}
				}
				return p
			}
		})
	}
}

// edgeEd25519 makes a key whose encoding looks like one beyond the field, and is none.
func edgeEd25519() (*pen.Key, error) {
	for {
		public, private, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			return nil, fmt.Errorf("check: %w", err)
		}
		if public[0] >= 0xed && public[31]&0x7f == 0x7f {
			return pen.FromSigner(private, "EdDSA")
		}
	}
}

func (s *suite) proofTimes() {
	free := all(needsDPoP, not("the nonce's age replaces that of the proof (check 11)", func(c *Config) bool { return c.Nonces && c.Profile != MCP }))
	iat := func(ahead time.Duration) func(*draft) {
		return now(func() func(*draft) { return proofClaim("iat", unix(ahead)) })
	}
	window := text{"DPOP-4.3-11", "RFC 9449, section 4.3, check 11, and section 11.1", Must,
		"Servers MUST only accept DPoP proofs for a limited time after their creation (preferably only for a relatively brief period on the order of seconds or minutes).", free}
	s.refused(window, invalidProof,
		variant{"an-hour-ago", iat(-time.Hour)},
		variant{"ten-minutes-ago", iat(-10 * time.Minute)},
		variant{"a-day-ago", iat(-24 * time.Hour)},
		variant{"zero", proofClaim("iat", 0)},
		variant{"negative", proofClaim("iat", -1)},
	)
	s.refused(text{"DPOP-4.3-11", "RFC 9449, section 11.1", Must,
		"The server MAY accept DPoP proofs that carry an iat time in the reasonably near future (on the order of seconds or minutes): not in a far one.", free}, invalidProof,
		variant{"an-hour-ahead", iat(time.Hour)},
		variant{"ten-minutes-ahead", iat(10 * time.Minute)},
		variant{"a-year-ahead", iat(365 * 24 * time.Hour)},
		variant{"milliseconds", now(func() func(*draft) { return proofClaim("iat", unix(0)*1000) })},
		variant{"huge", proofClaim("iat", json.RawMessage("1e300"))},
		variant{"beyond-float64", proofClaim("iat", json.RawMessage("1e400"))},
		variant{"below-float64", proofClaim("iat", json.RawMessage("-1e400"))},
		variant{"next-to-zero", proofClaim("iat", json.RawMessage("1e-400"))},
		variant{"beyond-int64", proofClaim("iat", json.RawMessage("9223372036854775808"))},
		variant{"text", now(func() func(*draft) { return proofClaim("iat", fmt.Sprint(unix(0))) })},
	)
	s.accepted(text{"DPOP-11.1-02", "RFC 9449, section 11.1", Must,
		"Clocks differ: a proof made some seconds ago, or ahead of the server's clock by some, is good. (The OpenID Foundation's suite has 8 s ahead.)", needsDPoP},
		variant{"now", iat(0)}, variant{"5s-ago", iat(-5 * time.Second)}, variant{"8s-ahead", iat(8 * time.Second)},
		variant{"fraction", now(func() func(*draft) { return proofClaim("iat", float64(unix(0))+0.25) })},
		variant{"exponent", now(func() func(*draft) { return proofClaim("iat", json.RawMessage(fmt.Sprintf("%de-1", unix(0)*10))) })},
	)
	declared := func(name string, value func(*Config) time.Duration) func(*Config) string {
		return all(free, not("--"+name+" does not say", func(c *Config) bool { return value(c) == 0 }))
	}
	back, ahead := func(c *Config) time.Duration { return c.Window }, func(c *Config) time.Duration { return c.Ahead }
	edge := func(sign time.Duration, value func(*Config) time.Duration, beyond time.Duration, good bool) func(*play) {
		return func(p *play) {
			d := p.draft()
			iat(sign * (value(p.Config) + beyond))(d)
			if res := p.send(d); good {
				p.accept(res)
			} else {
				p.refuse(res, invalidProof)
			}
		}
	}
	t := window
	t.applies = declared("window", back)
	s.add(t, "just-inside-the-window", edge(-1, back, -4*time.Second, true))
	s.add(t, "just-outside-the-window", edge(-1, back, 3*time.Second, false))
	t.applies = declared("ahead", ahead)
	s.add(t, "just-inside-the-future", edge(1, ahead, -3*time.Second, true))
	s.add(t, "just-outside-the-future", edge(1, ahead, 4*time.Second, false))

	s.refused(text{"DPOP-4.2-03", "RFC 7519, sections 4.1.4 and 4.1.5", Practice,
		"exp and nbf are not required in proofs; where they are, they mean what they say.", needsDPoP}, invalidProof,
		variant{"exp-past", now(func() func(*draft) { return proofClaim("exp", unix(-time.Hour)) })},
		variant{"nbf-future", now(func() func(*draft) { return proofClaim("nbf", unix(time.Hour)) })},
		variant{"exp-text", proofClaim("exp", "later")},
		variant{"exp-null", proofClaim("exp", nil)},
		variant{"nbf-true", proofClaim("nbf", true)},
	)
	s.refused(text{"DPOP-4.2-03", "RFC 9449, section 11.1", Must,
		"An exp of the client's choice does not extend how long a proof is good.", free}, invalidProof,
		variant{"exp-does-not-extend", now(func() func(*draft) {
			return both(proofClaim("iat", unix(-time.Hour)), proofClaim("exp", unix(time.Hour)))
		})})
}

func (s *suite) proofTokens() {
	hash := text{"DPOP-4.3-12", "RFC 9449, section 4.3, check 12", Must,
		"Ensure that the value of the ath claim equals the hash of that access token.", needsDPoP}
	other := func(f func(token string) string) func(*draft) {
		return func(d *draft) { d.onProof(func(j *jwt) { j.claims["ath"] = f(d.token) }) }
	}
	s.refused(hash, invalidProof,
		variant{"of-another-token", proofClaim("ath", pen.Digest("another token"))},
		variant{"of-nothing", proofClaim("ath", pen.Digest(""))},
		variant{"of-the-field", other(func(t string) string { return pen.Digest("DPoP " + t) })},
		variant{"the-token", other(func(t string) string { return t })},
		variant{"padded", proofClaimFrom("ath", func(a string) string { return a + "=" })},
		variant{"cut", proofClaimFrom("ath", func(a string) string { return a[:42] })},
		variant{"longer", proofClaimFrom("ath", func(a string) string { return a + "A" })},
		variant{"lower-case", proofClaimFrom("ath", swapCase)},
		variant{"hex", other(func(t string) string { return fmt.Sprintf("%x", sha256.Sum256([]byte(t))) })},
		variant{"sha-512", other(func(t string) string { sum := sha512.Sum512([]byte(t)); return pen.Encode(sum[:]) })},
		variant{"half", other(func(t string) string { sum := sha256.Sum256([]byte(t)); return pen.Encode(sum[:16]) })},
	)
	s.add(text{"DPOP-7-01", "RFC 9449, section 7", Must,
		"Binding the token value to the proof in this way prevents a proof to be used with multiple different access token values across different requests.", needsDPoP},
		"proof-for-another-token", func(p *play) {
			one := p.draft()
			two := p.draft()
			two.key = one.key // both tokens are bound to it
			p.build(one)
			two.proof = one.proof
			p.refuse(p.send(two), invalidProof)
			p.accept(p.send(one)) // the proof is good for its own token
		})
	binding := text{"DPOP-4.3-12b", "RFC 9449, section 4.3, check 12", Must,
		"Confirm that the public key to which the access token is bound matches the public key from the DPoP proof.", needsDPoP}
	stolen := func(d *draft) {
		thief := unknownKey("")
		d.onProof(func(j *jwt) { j.key, j.header["jwk"] = thief, thief.JWK() })
	}
	s.refused(binding, dpopToken,
		variant{"another-key", stolen},
		variant{"another-key-with-the-right-kid", both(stolen, func(d *draft) {
			d.onProof(func(j *jwt) { j.header["kid"] = d.key.Thumbprint() })
		})},
		variant{"another-key-with-jkt-in-the-proof", both(stolen, func(d *draft) {
			d.onProof(func(j *jwt) { j.claims["cnf"] = map[string]any{"jkt": d.key.Thumbprint()} })
		})},
	)
	s.refused(binding, answer{[]int{401}, "DPoP", []string{"invalid_token", "invalid_dpop_proof"}},
		variant{"another-kind-of-key", func(d *draft) {
			jkt := d.key.Thumbprint()
			d.onToken(func(j *jwt) { j.claims["cnf"] = map[string]any{"jkt": jkt} })
			withKey(func() (*pen.Key, error) { return pen.Generate("EdDSA") })(d)
		}})
	thumb := text{"DPOP-6.1-01", "RFC 9449, section 6.1", Must,
		"The value of the jkt member MUST be the base64url encoding of the JWK SHA-256 Thumbprint of the DPoP public key (in JWK format) to which the access token is bound.", needsDPoP}
	jkt := func(f func(d *draft) any) func(*draft) {
		return cnf(func(d *draft) any { return map[string]any{"jkt": f(d)} })
	}
	s.refused(thumb, dpopToken,
		variant{"of-another-key", jkt(func(*draft) any { return unknownKey("").Thumbprint() })},
		variant{"padded", jkt(func(d *draft) any { return d.key.Thumbprint() + "=" })},
		variant{"cut", jkt(func(d *draft) any { return d.key.Thumbprint()[:42] })},
		variant{"longer", jkt(func(d *draft) any { return d.key.Thumbprint() + "A" })},
		variant{"lower-case", jkt(func(d *draft) any { return swapCase(d.key.Thumbprint()) })},
		variant{"empty", jkt(func(*draft) any { return "" })},
		variant{"null", jkt(func(*draft) any { return nil })},
		variant{"number", jkt(func(*draft) any { return 1 })},
		variant{"list", jkt(func(d *draft) any { return []string{d.key.Thumbprint()} })},
		variant{"object", jkt(func(d *draft) any { return map[string]any{"jkt": d.key.Thumbprint()} })},
		variant{"hex", jkt(func(d *draft) any {
			b, _ := base64.RawURLEncoding.DecodeString(d.key.Thumbprint())
			return fmt.Sprintf("%x", b)
		})},
		variant{"of-the-jwk-with-more-members", jkt(func(d *draft) any {
			jwk := d.key.JWK()
			jwk["alg"] = "ES256"
			return pen.Digest(string(marshal(jwk)))
		})},
		variant{"member-in-another-case", cnf(func(d *draft) any { return map[string]any{"JKT": d.key.Thumbprint()} })},
		variant{"at-the-top-level", func(d *draft) {
			d.unbind()
			d.onToken(func(j *jwt) { j.claims["jkt"] = d.key.Thumbprint() })
		}},
	)
	s.refused(text{"DPOP-X-02", "RFC 7800, section 3; RFC 9449, section 7.1", Practice,
		"A cnf whose members are all unknown binds the token to something that cannot be checked: access is not granted.", needsDPoP}, dpopToken,
		variant{"cnf-null", tokenClaim("cnf", nil)},
		variant{"cnf-text", tokenClaim("cnf", "x")},
		variant{"cnf-list", tokenClaim("cnf", []string{"x"})},
		variant{"cnf-empty", tokenClaim("cnf", map[string]any{})},
		variant{"cnf-unknown", tokenClaim("cnf", map[string]any{"keybound": "x"})},
		variant{"cnf-kid", tokenClaim("cnf", map[string]any{"kid": "x"})},
		variant{"cnf-jwk", cnf(func(d *draft) any { return map[string]any{"jwk": d.key.JWK()} })},
		variant{"cnf-jku", tokenClaim("cnf", map[string]any{"jku": "https://127.0.0.1:1/"})},
	)
	s.accepted(text{"DPOP-33", "RFC 7800, section 3.1", Must,
		"Members of cnf that are not understood are ignored, beside one that is enforced.", needsDPoP},
		variant{"cnf-unknown-beside-jkt", cnf(func(d *draft) any { return map[string]any{"jkt": d.key.Thumbprint(), "keybound": "x"} })})
	s.refused(text{"DPOP-7.1-02", "RFC 9449, section 7.1", Must,
		"A resource server is to check that the public key of the DPoP proof matches the public key to which the access token is bound: one that is bound to nothing matches none.", needsDPoP}, dpopToken,
		variant{"unbound-token", func(d *draft) { d.unbind() }})
	s.refused(text{"DPOP-7.1-03", "RFC 9449, section 7.1", Must,
		"For such an access token, a resource server MUST check that a DPoP proof was also received in the DPoP header field of the HTTP request.", needsDPoP},
		answer{[]int{401}, "DPoP", []string{"invalid_dpop_proof", "use_dpop_nonce"}},
		variant{"no-proof", func(d *draft) { d.noProof = true }},
		variant{"proof-in-the-query", func(d *draft) {
			d.onRequest(func(r *wire.Request) { r.Target += "?DPoP=" + r.Get("DPoP") })
			d.without("DPoP")
		}},
		variant{"proof-in-another-field", func(d *draft) {
			d.onRequest(func(r *wire.Request) {
				for i := range r.Fields {
					if r.Fields[i].Name == "DPoP" {
						r.Fields[i].Name = "X-DPoP"
					}
				}
			})
		}},
	)
	down := text{"DPOP-7.2-01", "RFC 9449, section 7.2", Must,
		"Such a protected resource MUST reject a DPoP-bound access token received as a bearer token.", needsDPoP}
	downgraded := answer{[]int{401}, "DPoP", []string{"invalid_token"}}
	s.refused(down, downgraded,
		variant{"as-bearer-without-proof", func(d *draft) { d.scheme, d.noProof = "Bearer", true }},
		variant{"as-bearer-with-proof", func(d *draft) { d.scheme = "Bearer" }},
		variant{"as-bearer-lower-case", func(d *draft) { d.scheme, d.noProof = "bearer", true }},
	)
	s.refused(text{"DPOP-7.2-02", "RFC 9449, section 7.2", Practice,
		"A server that takes DPoP-bound tokens alone refuses bearer tokens.",
		all(needsDPoP, not("the server takes unbound bearer tokens", func(c *Config) bool { return c.Unbound }))}, anyRefusal,
		variant{"unbound-bearer", func(d *draft) { d.unbind(); d.scheme, d.noProof = "Bearer", true }},
		variant{"unbound-bearer-with-proof", func(d *draft) { d.unbind(); d.scheme = "Bearer" }},
	)
	method := text{"DPOP-4.3-08", "RFC 9449, section 4.3, check 8", Must,
		"The htm claim matches the HTTP method of the current request. Method names are case-sensitive (RFC 9110, section 9.1).", needsDPoP}
	s.refused(method, invalidProof,
		variant{"lower-case", proofClaim("htm", "get")},
		variant{"other-method", proofClaim("htm", "POST")},
		variant{"HEAD-for-GET", proofClaim("htm", "HEAD")},
		variant{"space-behind", proofClaim("htm", "GET ")},
		variant{"prefix", proofClaim("htm", "GE")},
		variant{"longer", proofClaim("htm", "GETS")},
		variant{"star", proofClaim("htm", "*")},
		variant{"override", both(proofClaim("htm", "DELETE"), extra("X-HTTP-Method-Override", "DELETE"), extra("X-HTTP-Method", "DELETE"), extra("X-Method-Override", "DELETE"))},
		variant{"GET-proof-for-POST", both(func(d *draft) { d.method = "POST" }, proofClaim("htm", "GET"))},
		variant{"GET-proof-for-HEAD", both(func(d *draft) { d.method = "HEAD" }, proofClaim("htm", "GET"))},
		variant{"GET-proof-for-DELETE", both(func(d *draft) { d.method = "DELETE" }, proofClaim("htm", "GET"))},
	)
	t := method
	t.applies = all(needsDPoP, not("the target does not take POST", func(c *Config) bool { return !c.POST }))
	s.accepted(t, variant{"good-POST", func(d *draft) { d.method = "POST" }})
	t.applies = all(needsDPoP, not("the target does not take HEAD", func(c *Config) bool { return !c.HEAD }))
	s.accepted(t, variant{"good-HEAD", func(d *draft) { d.method = "HEAD" }})
}

func swapCase(s string) string {
	if lower := strings.ToLower(s); lower != s {
		return lower
	}
	return strings.ToUpper(s)
}

// jsonFaults are texts that JSON parsers read in different ways. member is one that
// the object has.
func jsonFaults(member string) map[string]func([]byte) []byte {
	quoted := `"` + member + `"`
	return map[string]func([]byte) []byte{
		"duplicate-the-first-wrong": replace(quoted, quoted+`:"x",`+quoted),
		"duplicate-the-last-wrong":  func(b []byte) []byte { return append(b[:len(b)-1], `,`+quoted+`:"x"}`...) },
		"duplicate-escaped":         replace(quoted, `"\u00`+fmt.Sprintf("%02x", member[0])+member[1:]+`":"x",`+quoted),
		"duplicate-unknown":         replace(`{`, `{"a":1,"a":1,`),
		"duplicate-nested":          replace(`{`, `{"a":{"b":1,"b":2},`),
		"bad-utf8":                  replace(`{`, "{\"a\":\"\xff\","),
		"lone-surrogate":            replace(`{`, `{"a":"\ud800",`),
		"byte-order-mark":           func(b []byte) []byte { return append([]byte("\xef\xbb\xbf"), b...) },
		"trailing-object":           func(b []byte) []byte { return append(b, "{}"...) },
		"trailing-text":             func(b []byte) []byte { return append(b, "x"...) },
		"in-a-list":                 func(b []byte) []byte { return append(append([]byte("["), b...), ']') },
		"null":                      func([]byte) []byte { return []byte("null") },
		"text":                      func([]byte) []byte { return []byte(`"x"`) },
		"comment":                   replace(`{`, `{/**/`),
		"trailing-comma":            func(b []byte) []byte { return append(b[:len(b)-1], ",}"...) },
		"control-character":         replace(`{`, "{\"a\":\"\x01\","),
		"leading-zero":              replace(`{`, `{"a":01,`),
		"not-a-number":              replace(`{`, `{"a":NaN,`),
		"deep-nesting":              replace(`{`, `{"a":`+strings.Repeat("[", 100)+strings.Repeat("]", 100)+`,`),
		"unfinished":                func(b []byte) []byte { return b[:len(b)-1] },
		"member-in-another-case":    replace(quoted, `"`+strings.ToUpper(member)+`"`),
		"single-quotes":             func(b []byte) []byte { return bytes.ReplaceAll(b, []byte(`"`), []byte(`'`)) },
		"vertical-tab-whitespace":   replace(`{`, "{\v"),
		"no-colon":                  replace(quoted+":", quoted),
		"no-comma":                  replace(`{`, `{"a":1 `),
		"no-value":                  replace(`{`, `{"a":,`),
		"name-without-quotes":       replace(`{`, `{a:1,`),
		"name-that-is-a-number":     replace(`{`, `{1:1,`),
		"leading-comma":             replace(`{`, `{,`),
		"bad-literal":               replace(`{`, `{"a":tru,`),
		"literal-in-upper-case":     replace(`{`, `{"a":TRUE,`),
		"bad-escape":                replace(`{`, `{"a":"\x41",`),
		"short-unicode-escape":      replace(`{`, `{"a":"\u12",`),
		"unicode-escape-of-letters": replace(`{`, `{"a":"\u12g4",`),
		"lone-low-surrogate":        replace(`{`, `{"a":"\udc00",`),
		"surrogates-turned-round":   replace(`{`, `{"a":"\ude00\ud83d",`),
		"high-surrogates-twice":     replace(`{`, `{"a":"\ud83d\ud83d",`),
		"surrogate-and-letter":      replace(`{`, `{"a":"\ud83dxxxxxx",`),
		"minus-alone":               replace(`{`, `{"a":-,`),
		"plus-sign":                 replace(`{`, `{"a":+1,`),
		"point-at-the-end":          replace(`{`, `{"a":1.,`),
		"point-in-front":            replace(`{`, `{"a":.5,`),
		"exponent-without-digits":   replace(`{`, `{"a":1e+,`),
		"hexadecimal":               replace(`{`, `{"a":0x10,`),
		"unfinished-list":           replace(`{`, `{"a":[1,`),
		"list-with-trailing-comma":  replace(`{`, `{"a":[1,],`),
		"list-without-comma":        replace(`{`, `{"a":[1 2],`),
		"list-that-ends-as-object":  replace(`{`, `{"a":[1},`),
		"object-that-ends-as-list":  replace(`{`, `{"a":{"b":1],`),
		"overlong-utf8":             replace(`{`, "{\"a\":\"\xc0\xaf\","),
		"surrogate-in-utf8":         replace(`{`, "{\"a\":\"\xed\xa0\x80\","),
		"cut-utf8":                  replace(`{`, "{\"a\":\"\xe2\x82\","),
		"duplicate-among-many":      replace(`{`, "{"+many(40)+`"n7":1,`),
		"duplicate-of-the-last":     replace(`{`, "{"+many(40)+`"n39":1,`),
		"duplicate-deep-inside":     replace(`{`, `{"a":[{"b":{"c":1,"d":2,"c":3}}],`),
		"duplicate-empty-name":      replace(`{`, `{"":1,"":2,`),
		"duplicate-name-escaped":    replace(`{`, `{"\u006e\/":1,"n/":2,`),
		"duplicate-name-surrogates": replace(`{`, "{\"\\ud83d\\ude00\":1,\"\U0001f600\":2,"),
		"empty":                     func([]byte) []byte { return nil },
		"space-alone":               func([]byte) []byte { return []byte("  ") },
		"empty-object":              func([]byte) []byte { return []byte("{}") },
		"number":                    func([]byte) []byte { return []byte("1") },
		"cut-in-a-text":             func(b []byte) []byte { return b[:len(b)-2] },
		"cut-in-half":               func(b []byte) []byte { return b[:len(b)/2] },
	}
}

// many are n members, each with a comma behind.
func many(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, `"n%d":%d,`, i, i)
	}
	return b.String()
}

// oddJSON are members that a strict reader takes.
var oddJSON = map[string]string{
	"numbers":            `"a":-0.5e+10,"b":0,"c":1E-2,"d":-0,"e":123456789012345678901234567890,"f":0e0,"g":10.01,`,
	"empty-values":       `"a":[],"b":{},"c":"","d":[[],{}],"":0,`,
	"literals":           `"a":true,"b":false,"c":null,`,
	"escapes":            `"a":"\b\f\n\r\t\/\\\"","b":"\u00e9\u20AC\ud83d\ude00","\u0063\n":1,`,
	"raw-utf8":           "\"\u00e9\":\"\u20ac\U0001f600\x7f\",",
	"many-members":       many(60),
	"same-names-apart":   `"a":{"x":1,"y":{"x":1}},"b":{"x":2},"c":[{"x":3},{"x":4}],`,
	"many-names-twice":   `"a":{` + strings.TrimSuffix(many(20), ",") + `},"b":{` + strings.TrimSuffix(many(20), ",") + `},`,
	"names-alike":        `"a":1,"A":2,"a ":3,"aa":4,"\u0000a":5,`,
	"whitespace":         " \t\r\n \"a\" \t:\r\n [ 1 , 2 ] , ",
	"nested":             `"a":[[{"b":[1,{"c":2}]}]],`,
	"a-long-text":        `"a":"` + strings.Repeat("long ", 300) + `",`,
	"values-like-syntax": `"a":"}{][,:\"","b":["]","}"],`,
}

// jsonLevel is Practice where the RFCs let a parser choose: the last of two members, a
// byte order mark that is ignored, a limit of one's own.
func jsonLevel(fault string) Level {
	switch fault {
	case "duplicate-among-many", "duplicate-of-the-last", "duplicate-deep-inside", "duplicate-empty-name", "duplicate-name-escaped", "duplicate-name-surrogates",
		"lone-low-surrogate", "surrogates-turned-round", "high-surrogates-twice", "surrogate-and-letter",
		"duplicate-the-first-wrong", "duplicate-escaped", "duplicate-unknown", "duplicate-nested", "deep-nesting", "lone-surrogate", "byte-order-mark":
		return Practice
	}
	return Must
}

const jsonSentence = "Header Parameter and claim names are unique, case-sensitive, and in UTF-8 JSON of exactly one object: what parsers read in different ways is refused (RFC 7515, section 4; RFC 7519, section 4; RFC 8725, section 3.7)."

func (s *suite) proofJSON() {
	t := text{"JSON-01", "RFC 7515, section 4; RFC 8259", Must, jsonSentence, needsDPoP}
	for name, fault := range inOrder(jsonFaults("htm")) {
		t.level = jsonLevel(name)
		s.refused(t, invalidProof, variant{"proof-claims-" + name, proofClaimsText(fault)})
	}
	for name, fault := range inOrder(jsonFaults("typ")) {
		t.level = jsonLevel(name)
		s.refused(t, invalidProof, variant{"proof-header-" + name, proofHeaderText(fault)})
	}
	odd := text{"JSON-01", "RFC 8259", Must,
		"Whatever RFC 8259 lets stand in a member that means nothing is ignored (RFC 7515, section 4; RFC 7519, section 4).", needsDPoP}
	for name, members := range inOrder(oddJSON) {
		s.accepted(odd, variant{"proof-claims-with-" + name, proofClaimsText(replace(`{`, `{`+members))})
		if name != "nested" { // headers may be held to less depth
			s.accepted(odd, variant{"proof-header-with-" + name, proofHeaderText(replace(`{`, `{`+members))})
		}
	}
	s.refused(t, invalidProof, variant{"proof-jwk-duplicate-x", proofHeaderText(replace(`"x"`, `"x":"AA","x"`))})
	s.accepted(text{"JSON-01", "RFC 8259, sections 2 and 7", Must,
		"Insignificant whitespace is allowed before or after any of the six structural characters; any character may be escaped.", needsDPoP},
		variant{"proof-whitespace", both(proofClaimsText(indent), proofHeaderText(indent))},
		variant{"proof-escaped-name", proofClaimsText(replace(`"htm"`, `"\u0068tm"`))},
		variant{"proof-escaped-solidus", proofClaimsText(replace(`://`, `:\/\/`))},
	)
}

func indent(b []byte) []byte {
	var out bytes.Buffer
	if err := json.Indent(&out, b, " ", "\t"); err != nil {
		panic(err) // a mistake in a row
	}
	return out.Bytes()
}

package dpoptest

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"encoding/asn1"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/big"
	"slices"
	"strings"
	"time"

	"github.com/keybound-go/middleware/internal/josetest"
)

// BrokenProof is a way to break a proof: one fault, and everything else good.
type BrokenProof struct {
	// Name is the kind of the fault and what it is, such as "ath-other-token".
	Name string
	// Code is the error code that the client must be told.
	Code string

	damage func(*draft)
}

// Proof makes a proof with the fault. The key should be one for ES256: faults of
// its curve and of its signature's form are those of that algorithm.
func (b BrokenProof) Proof(k *Key, method, uri, accessToken string) string {
	k.tb.Helper()
	d := k.draft(method, uri, accessToken)
	b.damage(d)
	return d.sign()
}

// UnusualProof is a proof that looks odd, and has to be accepted all the same.
type UnusualProof struct {
	Name   string
	change func(*draft)
}

// Proof makes the proof. The key should be one for ES256.
func (u UnusualProof) Proof(k *Key, method, uri, accessToken string) string {
	k.tb.Helper()
	d := k.draft(method, uri, accessToken)
	u.change(d)
	return d.sign()
}

// Broken returns the catalogue of broken proofs. A resource server with the
// default settings must refuse every one of them, with its code. It holds no
// proofs that are refused only because of their nonce, or because they come twice.
func Broken() []BrokenProof {
	var all []BrokenProof
	for _, faults := range []map[string]func(*draft){
		formFaults(), requiredFaults(), typeFaults(), algorithmFaults(), signatureFaults(),
		keyFaults(), requestFaults(), timeFaults(), tokenFaults(), jsonFaults(), extensionFaults(),
	} {
		for name, damage := range faults {
			all = append(all, BrokenProof{name, "invalid_dpop_proof", damage})
		}
	}
	all = append(all, BrokenProof{"other-key", "invalid_token", func(d *draft) {
		d.signer = josetest.NewKey("ES256")
		d.header["jwk"] = d.signer.JWK()
	}})
	slices.SortFunc(all, func(a, b BrokenProof) int { return strings.Compare(a.Name, b.Name) })
	return all
}

// Unusual returns the catalogue of good proofs that naive verifiers refuse.
func Unusual() []UnusualProof {
	var all []UnusualProof
	for name, change := range map[string]func(*draft){
		"ok-typ-upper":       func(d *draft) { d.header["typ"] = "DPoP+JWT" },
		"ok-typ-media-type":  func(d *draft) { d.header["typ"] = "application/dpop+jwt" },
		"ok-jwk-kid":         func(d *draft) { d.setJWK("kid", "1") },
		"ok-jwk-alg":         func(d *draft) { d.setJWK("alg", "ES256") },
		"ok-jwk-use":         func(d *draft) { d.setJWK("use", "enc") },
		"ok-jwk-key_ops":     func(d *draft) { d.setJWK("key_ops", []string{"sign"}); d.setJWK("ext", true) },
		"ok-hdr-extra":       func(d *draft) { d.header["x-extra"] = map[string]any{"a": 1} },
		"ok-hdr-case-ALG":    func(d *draft) { d.header["ALG"] = "none" },
		"ok-hdr-kid":         func(d *draft) { d.header["kid"] = "../../etc/passwd" },
		"ok-hdr-jku":         func(d *draft) { d.header["jku"] = "https://127.0.0.1:1/jwks" },
		"ok-hdr-x5u":         func(d *draft) { d.header["x5u"] = "https://127.0.0.1:1/x5u" },
		"ok-claim-extra":     func(d *draft) { d.claims["iss"] = "client"; d.claims["extra"] = []int{1} },
		"ok-claim-case-HTU":  func(d *draft) { d.claims["HTU"] = "https://evil.example/" },
		"ok-claim-exp-nbf":   func(d *draft) { d.claims["nbf"] = unix(0); d.claims["exp"] = unix(5 * time.Minute) },
		"ok-claim-nonce":     func(d *draft) { d.claims["nonce"] = "from-another-time" },
		"ok-iat-fraction":    func(d *draft) { d.claims["iat"] = float64(unix(0)) + 0.25 },
		"ok-iat-exponent":    func(d *draft) { d.claims["iat"] = json.RawMessage(fmt.Sprintf("%de-1", unix(0)*10)) },
		"ok-iat-8s-ahead":    func(d *draft) { d.claims["iat"] = unix(8 * time.Second) },
		"ok-iat-50s-ago":     func(d *draft) { d.claims["iat"] = unix(-50 * time.Second) },
		"ok-jti-512-bytes":   func(d *draft) { d.claims["jti"] = rand.Text() + strings.Repeat("j", 512-26) },
		"ok-jti-short":       func(d *draft) { d.claims["jti"] = rand.Text()[:11] },
		"ok-jti-unicode":     func(d *draft) { d.claims["jti"] = rand.Text() + "\u00e9\u2028" },
		"ok-htu-query":       func(d *draft) { d.claims["htu"] = d.claims["htu"].(string) + "?q=1" },
		"ok-htu-fragment":    func(d *draft) { d.claims["htu"] = d.claims["htu"].(string) + "#f?" },
		"ok-htu-upper":       func(d *draft) { d.claims["htu"] = upperOrigin(d.claims["htu"].(string)) },
		"ok-json-whitespace": func(d *draft) { d.claimsText = indent; d.headerText = indent },
		"ok-json-escapes":    func(d *draft) { d.claimsText = replace(`"htm"`, `"\u0068tm"`) },
	} {
		all = append(all, UnusualProof{name, change})
	}
	slices.SortFunc(all, func(a, b UnusualProof) int { return strings.Compare(a.Name, b.Name) })
	return all
}

// RFC 9449, section 4.3, check 2.
func formFaults() map[string]func(*draft) {
	compact := func(edit func(string) string) func(*draft) {
		return func(d *draft) { d.compact = edit }
	}
	return map[string]func(*draft){
		"form-one-part":   compact(func(s string) string { return strings.ReplaceAll(s, ".", "") }),
		"form-two-parts":  compact(func(s string) string { return s[:strings.LastIndexByte(s, '.')] }),
		"form-four-parts": compact(func(s string) string { return s + ".e30" }),
		"form-five-parts": compact(func(s string) string { return s + ".e30.e30" }),
		"form-no-header":  compact(func(s string) string { return s[strings.IndexByte(s, '.'):] }),
		"form-no-payload": compact(func(s string) string {
			p := strings.Split(s, ".")
			return p[0] + ".." + p[2]
		}),
		"form-padded":      compact(func(s string) string { return s + "==" }),
		"form-space":       compact(func(s string) string { return s[:40] + " " + s[40:] }),
		"form-quoted":      compact(func(s string) string { return `"` + s + `"` }),
		"form-comma":       compact(func(s string) string { return s + ", " + s }),
		"form-twice":       compact(func(s string) string { return s + s }),
		"form-obs-text":    compact(func(s string) string { return s + "\xff" }),
		"form-std-base64":  compact(func(s string) string { return "+/" + s[2:] }),
		"form-json":        compact(flattened),
		"form-not-base64":  compact(func(s string) string { return "!" + s[1:] }),
		"form-not-a-jwt":   compact(func(string) string { return "proof" }),
		"form-header-text": func(d *draft) { d.headerText = func([]byte) []byte { return []byte("header") } },
	}
}

// Check 3: what is required, and its JSON type.
func requiredFaults() map[string]func(*draft) {
	faults := map[string]func(*draft){
		"missing-alg": func(d *draft) { delete(d.header, "alg") },
		"missing-typ": func(d *draft) { delete(d.header, "typ") },
		"missing-jwk": func(d *draft) { delete(d.header, "jwk") },
		"alg-null":    func(d *draft) { d.header["alg"] = nil },
		"alg-array":   func(d *draft) { d.header["alg"] = []string{"ES256"} },
		"typ-null":    func(d *draft) { d.header["typ"] = nil },
		"typ-number":  func(d *draft) { d.header["typ"] = 1 },
		"jwk-null":    func(d *draft) { d.header["jwk"] = nil },
		"jwk-string":  func(d *draft) { d.header["jwk"] = "key" },
		"jti-long":    func(d *draft) { d.claims["jti"] = strings.Repeat("j", 513) },
		"jti-number":  func(d *draft) { d.claims["jti"] = 17 },
		"nonce-array": func(d *draft) { d.claims["nonce"] = []string{"n"} },
	}
	for _, name := range []string{"jti", "htm", "htu", "iat", "ath"} {
		faults["missing-"+name] = func(d *draft) { delete(d.claims, name) }
		faults[name+"-null"] = func(d *draft) { d.claims[name] = nil }
		faults[name+"-object"] = func(d *draft) { d.claims[name] = map[string]any{"": d.claims[name]} }
		faults[name+"-array"] = func(d *draft) { d.claims[name] = []any{d.claims[name]} }
		faults[name+"-empty"] = func(d *draft) { d.claims[name] = "" }
		faults[name+"-true"] = func(d *draft) { d.claims[name] = true }
	}
	return faults
}

// Check 4.
func typeFaults() map[string]func(*draft) {
	faults := map[string]func(*draft){}
	for name, typ := range map[string]string{
		"typ-jwt": "JWT", "typ-at": "at+jwt", "typ-empty": "", "typ-space": "dpop+jwt ",
		"typ-twice": "application/application/dpop+jwt", "typ-other": "example/dpop+jwt",
		"typ-parameter": "dpop+jwt; charset=utf-8", "typ-prefix": "application/",
		"typ-long": "dpop+jwts", "typ-kelvin": "dpop+j\u212at",
	} {
		faults[name] = func(d *draft) { d.header["typ"] = typ }
	}
	return faults
}

// Check 5.
func algorithmFaults() map[string]func(*draft) {
	faults := map[string]func(*draft){
		"alg-none-unsigned": func(d *draft) {
			d.header["alg"] = "none"
			d.compact = func(s string) string { return s[:strings.LastIndexByte(s, '.')+1] }
		},
	}
	for name, alg := range map[string]string{
		"alg-none": "none", "alg-nOnE": "nOnE", "alg-empty": "", "alg-HS256": "HS256",
		"alg-lower": "es256", "alg-unknown": "XS256", "alg-space": "ES256 ", "alg-ES256K": "ES256K",
		"alg-RSA-OAEP": "RSA-OAEP", "alg-ES384": "ES384", "alg-PS256": "PS256", "alg-EdDSA": "EdDSA",
	} {
		faults[name] = func(d *draft) { d.header["alg"] = alg }
	}
	return faults
}

// Check 6. The signature r || s with n-s in the place of s is a good one.
func signatureFaults() map[string]func(*draft) {
	signature := func(edit func([]byte) []byte) func(*draft) {
		return func(d *draft) {
			d.compact = func(s string) string {
				i := strings.LastIndexByte(s, '.') + 1
				raw, _ := base64.RawURLEncoding.DecodeString(s[i:])
				return s[:i] + base64.RawURLEncoding.EncodeToString(edit(raw))
			}
		}
	}
	return map[string]func(*draft){
		"sig-empty":   signature(func([]byte) []byte { return nil }),
		"sig-zero":    signature(func(s []byte) []byte { return make([]byte, len(s)) }),
		"sig-63":      signature(func(s []byte) []byte { return s[:63] }),
		"sig-65":      signature(func(s []byte) []byte { return append(s, 0) }),
		"sig-flipped": signature(func(s []byte) []byte { s[10] ^= 1; return s }),
		"sig-swap":    signature(func(s []byte) []byte { return append(bytes.Clone(s[32:]), s[:32]...) }),
		"sig-der":     signature(der),
		"sig-noncanonical-b64": func(d *draft) {
			d.compact = func(s string) string {
				const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
				last := strings.IndexByte(alphabet, s[len(s)-1])
				return s[:len(s)-1] + alphabet[last|1:][:1]
			}
		},
		"sig-other-key": func(d *draft) { d.signer = josetest.NewKey("ES256") },
		"sig-other-header": func(d *draft) {
			d.compact = func(s string) string {
				p := strings.Split(s, ".")
				d.header["kid"] = "other"
				p[0] = base64.RawURLEncoding.EncodeToString(marshal(d.header))
				return strings.Join(p, ".")
			}
		},
	}
}

// Check 7, and keys that are none. "jwk-oct" and what follows cannot have a good
// signature, since there is no key that could have made it.
func keyFaults() map[string]func(*draft) {
	faults := map[string]func(*draft){
		"jwk-private-null": func(d *draft) { d.setJWK("d", nil) },
		"jwk-short-x":      func(d *draft) { d.setJWK("x", d.jwk("x")[:42]) },
		"jwk-long-x":       func(d *draft) { d.setJWK("x", "AA"+d.jwk("x")) },
		"jwk-padded-x":     func(d *draft) { d.setJWK("x", d.jwk("x")+"=") },
		"jwk-newline":      func(d *draft) { d.setJWK("x", d.jwk("x")[:20]+"\n"+d.jwk("x")[20:]) },
		"jwk-number":       func(d *draft) { d.setJWK("x", 1) },
		"jwk-crv-other":    func(d *draft) { d.setJWK("crv", "P-384") },
		"jwk-crv-K":        func(d *draft) { d.setJWK("crv", "secp256k1") },
		"jwk-kty-lower":    func(d *draft) { d.setJWK("kty", "ec") },
		"jwk-alg-other":    func(d *draft) { d.setJWK("alg", "ES384") },
		"jwk-off-curve":    func(d *draft) { d.setJWK("y", d.jwk("x")) },
		"jwk-zero-point":   func(d *draft) { d.setJWK("x", strings.Repeat("A", 43)); d.setJWK("y", strings.Repeat("A", 43)) },
		"jwk-x-ge-p":       func(d *draft) { d.setJWK("x", strings.Repeat("_", 42)+"8") },
		"jwk-oct":          func(d *draft) { d.header["jwk"] = map[string]any{"kty": "oct", "k": "AAAA"} },
		"jwk-empty":        func(d *draft) { d.header["jwk"] = map[string]any{} },
		"jwk-P-384-ES256": func(d *draft) {
			k := josetest.NewKey("ES384")
			d.header["jwk"] = k.JWK()
		},
		"jwk-rsa-1024": func(d *draft) {
			d.header["alg"] = "PS256"
			private, err := rsa.GenerateKey(rand.Reader, 1024)
			if err != nil {
				// FIPS 140-only mode has no such keys, and nothing to sign with.
				modulus := bytes.Repeat([]byte{0xff}, 128)
				d.header["jwk"] = map[string]any{"kty": "RSA", "e": "AQAB", "n": base64.RawURLEncoding.EncodeToString(modulus)}
				return
			}
			d.signer = josetest.FromSigner("PS256", private)
			d.header["jwk"] = d.signer.JWK()
		},
		"jwk-ed25519-small-order": func(d *draft) {
			// Any attacker can sign for the identity: R = identity, s = 0.
			identity := append([]byte{1}, make([]byte, 31)...)
			d.header["alg"] = "Ed25519"
			d.header["jwk"] = map[string]any{"kty": "OKP", "crv": "Ed25519", "x": base64.RawURLEncoding.EncodeToString(identity)}
			d.compact = func(s string) string {
				sig := append(identity, make([]byte, 32)...)
				return s[:strings.LastIndexByte(s, '.')+1] + base64.RawURLEncoding.EncodeToString(sig)
			}
		},
		"jwk-x25519": func(d *draft) {
			d.header["alg"] = "EdDSA"
			d.header["jwk"] = map[string]any{"kty": "OKP", "crv": "X25519", "x": strings.Repeat("A", 43)}
		},
	}
	for _, name := range []string{"d", "p", "q", "dp", "dq", "qi", "oth", "k"} {
		faults["jwk-private-"+name] = func(d *draft) { d.setJWK(name, "AAAA") }
	}
	return faults
}

// Checks 8 and 9.
func requestFaults() map[string]func(*draft) {
	htu := func(edit func(string) string) func(*draft) {
		return func(d *draft) { d.claims["htu"] = edit(d.claims["htu"].(string)) }
	}
	rest := func(s string) string { return s[strings.Index(s, "://")+3:] }
	return map[string]func(*draft){
		"htm-lower":        func(d *draft) { d.claims["htm"] = strings.ToLower(d.claims["htm"].(string)) },
		"htm-other":        func(d *draft) { d.claims["htm"] = "PURGE" },
		"htm-space":        func(d *draft) { d.claims["htm"] = d.claims["htm"].(string) + " " },
		"htu-other-path":   htu(func(s string) string { return s + "x" }),
		"htu-slash":        htu(func(s string) string { return s + "/" }),
		"htu-other-host":   htu(func(s string) string { return "https://evil.example/" + rest(s) }),
		"htu-subdomain":    htu(func(s string) string { return "https://x." + rest(s) }),
		"htu-trailing-dot": htu(func(s string) string { return strings.Replace(s, rest(s), strings.Replace(rest(s), "/", "./", 1), 1) }),
		"htu-other-scheme": htu(func(s string) string { return "wss://" + rest(s) }),
		"htu-no-scheme":    htu(func(s string) string { return "//" + rest(s) }),
		"htu-opaque":       htu(func(s string) string { return "https:" + rest(s) }),
		"htu-relative":     htu(func(s string) string { return "/" + rest(s) }),
		"htu-userinfo":     htu(func(s string) string { return "https://user@" + rest(s) }),
		"htu-other-port": htu(func(s string) string {
			return strings.Replace(s, rest(s), strings.Replace(rest(s), "/", ":8444/", 1), 1)
		}),
		"htu-space":         htu(func(s string) string { return s + " " }),
		"htu-leading-space": htu(func(s string) string { return " " + s }),
		"htu-backslash":     htu(func(s string) string { return s + `\..\` }),
		"htu-bad-escape":    htu(func(s string) string { return s + "%zz" }),
		"htu-control":       htu(func(s string) string { return s + "\x00" }),
		"htu-non-ascii":     htu(func(s string) string { return s + "\u00e9" }),
		"htu-no-host":       htu(func(s string) string { return "https:///" + rest(s) }),
	}
}

// Check 11.
func timeFaults() map[string]func(*draft) {
	faults := map[string]func(*draft){
		"claim-exp-past":   func(d *draft) { d.claims["exp"] = unix(-time.Hour) },
		"claim-exp-string": func(d *draft) { d.claims["exp"] = "later" },
		"claim-exp-null":   func(d *draft) { d.claims["exp"] = nil },
		"claim-nbf-future": func(d *draft) { d.claims["nbf"] = unix(time.Hour) },
		"claim-nbf-true":   func(d *draft) { d.claims["nbf"] = true },
	}
	for name, iat := range map[string]any{
		"iat-hour-ago": unix(-time.Hour), "iat-hour-ahead": unix(time.Hour),
		"iat-62s-ago": unix(-62 * time.Second), "iat-61s-ahead": unix(61 * time.Second),
		"iat-zero": 0, "iat-negative": -1, "iat-huge": json.RawMessage("1e300"),
		"iat-beyond-int64": json.RawMessage("9223372036854775808"),
		"iat-milliseconds": unix(0) * 1000, "iat-string": fmt.Sprint(unix(0)),
	} {
		faults[name] = func(d *draft) { d.claims["iat"] = iat }
	}
	return faults
}

// Check 12.
func tokenFaults() map[string]func(*draft) {
	ath := func(edit func(string) string) func(*draft) {
		return func(d *draft) { d.claims["ath"] = edit(d.claims["ath"].(string)) }
	}
	return map[string]func(*draft){
		"ath-other-token": ath(func(string) string { return TokenHash("another token") }),
		"ath-of-nothing":  ath(func(string) string { return TokenHash("") }),
		"ath-padded":      ath(func(s string) string { return s + "=" }),
		"ath-truncated":   ath(func(s string) string { return s[:42] }),
		"ath-longer":      ath(func(s string) string { return s + "A" }),
		"ath-lower":       ath(swapCase),
		"ath-hex": ath(func(s string) string {
			raw, _ := base64.RawURLEncoding.DecodeString(s)
			return fmt.Sprintf("%x", raw)
		}),
	}
}

// JSON that parsers read in different ways.
func jsonFaults() map[string]func(*draft) {
	claims := func(edit func([]byte) []byte) func(*draft) { return func(d *draft) { d.claimsText = edit } }
	header := func(edit func([]byte) []byte) func(*draft) { return func(d *draft) { d.headerText = edit } }
	return map[string]func(*draft){
		"dup-htm":           claims(replace(`"htm"`, `"htm":"DELETE","htm"`)),
		"dup-htm-escaped":   claims(replace(`"htm"`, `"\u0068tm":"DELETE","htm"`)),
		"dup-ath":           claims(replace(`"ath"`, `"ath":"x","ath"`)),
		"dup-unknown":       claims(replace(`{`, `{"a":1,"a":1,`)),
		"dup-alg":           header(replace(`"alg"`, `"alg":"none","alg"`)),
		"dup-jwk-x":         header(replace(`"x"`, `"x":"AA","x"`)),
		"case-HTU":          claims(replace(`"htu"`, `"HTU"`)),
		"case-Ath":          claims(replace(`"ath"`, `"Ath"`)),
		"case-Typ":          header(replace(`"typ"`, `"Typ"`)),
		"json-bad-utf8":     claims(replace(`{`, "{\"a\":\"\xff\",")),
		"json-surrogate":    claims(replace(`{`, `{"a":"\ud800",`)),
		"json-bom":          claims(func(b []byte) []byte { return append([]byte("\xef\xbb\xbf"), b...) }),
		"json-trailing":     claims(func(b []byte) []byte { return append(b, "{}"...) }),
		"json-array":        claims(func(b []byte) []byte { return append(append([]byte("["), b...), ']') }),
		"json-null":         claims(func([]byte) []byte { return []byte("null") }),
		"json-not":          claims(func([]byte) []byte { return []byte("claims") }),
		"json-comment":      claims(replace(`{`, `{/**/`)),
		"json-deep":         claims(replace(`{`, `{"a":`+strings.Repeat("[", 100)+strings.Repeat("]", 100)+`,`)),
		"json-header-array": header(func(b []byte) []byte { return append(append([]byte("["), b...), ']') }),
		"json-header-trail": header(func(b []byte) []byte { return append(b, "{}"...) }),
	}
}

// RFC 7515, section 4.1.11, and RFC 7797.
func extensionFaults() map[string]func(*draft) {
	return map[string]func(*draft){
		"hdr-crit":       func(d *draft) { d.header["crit"] = []string{"exp"}; d.header["exp"] = 1 },
		"hdr-crit-empty": func(d *draft) { d.header["crit"] = []string{} },
		"hdr-crit-null":  func(d *draft) { d.header["crit"] = nil },
		"hdr-b64-false":  func(d *draft) { d.header["b64"] = false },
		"hdr-b64-crit":   func(d *draft) { d.header["crit"] = []string{"b64"}; d.header["b64"] = true },
	}
}

func (d *draft) jwk(name string) string {
	return d.header["jwk"].(map[string]any)[name].(string)
}

func unix(ahead time.Duration) int64 { return time.Now().Add(ahead).Unix() }

func indent(text []byte) []byte {
	var out bytes.Buffer
	if err := json.Indent(&out, text, " ", "\t"); err != nil {
		panic(err)
	}
	return out.Bytes()
}

func replace(old, new string) func([]byte) []byte {
	return func(text []byte) []byte {
		if !bytes.Contains(text, []byte(old)) {
			panic("dpoptest: nothing to replace: " + old)
		}
		return bytes.Replace(text, []byte(old), []byte(new), 1)
	}
}

// flattened is the JSON serialization of RFC 7515, section 7.2.2.
func flattened(s string) string {
	p := strings.Split(s, ".")
	return string(marshal(map[string]any{"protected": p[0], "payload": p[1], "signature": p[2]}))
}

func der(signature []byte) []byte {
	half := len(signature) / 2
	return must(asn1.Marshal(struct{ R, S *big.Int }{
		new(big.Int).SetBytes(signature[:half]), new(big.Int).SetBytes(signature[half:]),
	}))
}

func upperOrigin(uri string) string {
	i := strings.Index(uri, "://") + 3
	if j := strings.IndexByte(uri[i:], '/'); j >= 0 {
		return strings.ToUpper(uri[:i+j]) + uri[i+j:]
	}
	return strings.ToUpper(uri)
}

// swapCase gives another text that is the same to a comparison that ignores case.
func swapCase(s string) string {
	if lower := strings.ToLower(s); lower != s {
		return lower
	}
	return strings.ToUpper(s)
}

func marshal(v any) []byte { return must(json.Marshal(v)) }

func must[T any](v T, err error) T {
	if err != nil {
		panic("dpoptest: " + err.Error())
	}
	return v
}

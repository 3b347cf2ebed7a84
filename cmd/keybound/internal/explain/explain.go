// Package explain answers "why was this request refused?" It makes every check of a
// guard on a request that is on paper, in order, without stopping at the first one that
// fails, and says for each what it got, what it expected, which section of which RFC
// wants it, and which setting would change it.
//
// It reads tokens and proofs and never shows them: what it prints are single claims.
// It works offline, unless it is given the issuer's keys.
package explain

import (
	"cmp"
	"crypto"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/keybound-go/middleware/cmd/keybound/internal/pen"
	"github.com/keybound-go/middleware/cmd/keybound/internal/profile"
	"github.com/keybound-go/middleware/oidc"
)

// Verdict of one check.
type Verdict string

// The verdicts. Unknown is what cannot be told from the paper.
const (
	Pass    Verdict = "pass"
	Fail    Verdict = "FAIL"
	Unknown Verdict = "?"
)

// Step is one check.
type Step struct {
	Group, Name string
	Verdict     Verdict
	Got         string
	Expected    string
	Section     string
	Setting     string // what would change the verdict
}

// Config is how the service is configured.
type Config struct {
	Origins  []string // of dpop.New; empty for the request's own
	Issuer   string
	Audience []string
	Profile  string // the name of a profile of package oidc, in any case; empty for RFC9068
	// Lifetime and Skew are the window of iat of proofs, and Leeway that of tokens.
	Lifetime, Skew, Leeway time.Duration
	Algorithms             []string // of proofs
	TokenAlgorithms        []string
	Nonces                 bool // proofs need a nonce
	Unbound                bool // middleware.AllowUnbound
	TokenOnly              bool // there is no request: scheme and proof are not looked at
	// Keys are the issuer's, by kid; nil if they are not known.
	Keys        map[string]crypto.PublicKey
	Certificate *x509.Certificate // that the client showed, nil for none
	Now         time.Time         // zero for the request's own time, or the present
}

// Defaults of the library.
var (
	defaultProofAlgorithms = []string{"ES256", "ES384", "ES512", "PS256", "PS384", "PS512", "EdDSA", "Ed25519"}
	defaultTokenAlgorithms = []string{"ES256", "ES384", "ES512", "PS256", "PS384", "PS512", "RS256", "RS384", "RS512", "EdDSA", "Ed25519"}
)

// examination is a request under explanation.
type examination struct {
	Config
	r     *Request
	steps []Step
	group string
	now   time.Time
	asOf  string // how times were judged, where the request does not say when it was made

	scheme, token string
	jkt, x5t      string
	hasCnf        bool
}

// Explain makes every check.
func Explain(r *Request, c Config) []Step {
	if c.Lifetime == 0 {
		c.Lifetime = time.Minute
	}
	if c.Skew == 0 {
		c.Skew = 30 * time.Second
	}
	if c.Leeway == 0 {
		c.Leeway = 30 * time.Second
	}
	if len(c.Algorithms) == 0 {
		c.Algorithms = defaultProofAlgorithms
	}
	if len(c.TokenAlgorithms) == 0 {
		c.TokenAlgorithms = defaultTokenAlgorithms
	}
	e := &examination{Config: c, r: r, now: c.Now}
	if e.now.IsZero() {
		e.now = r.Time
	}
	if e.now.IsZero() {
		e.now = time.Now()
		e.asOf = ", as of now: --at says when the request was made"
	}
	if e.credentials() {
		e.accessToken()
		e.binding()
		e.certificate()
		e.proof()
		e.rest()
	}
	return e.steps
}

// check adds a step. got and expected are only shown where they are not empty.
func (e *examination) check(name string, good bool, got, expected, section, setting string) bool {
	s := Step{Group: e.group, Name: name, Verdict: Pass, Got: got, Expected: expected, Section: section, Setting: setting}
	if !good {
		s.Verdict = Fail
	} else {
		s.Setting = ""
	}
	e.steps = append(e.steps, s)
	return good
}

func (e *examination) unknown(name, why, section, setting string) {
	e.steps = append(e.steps, Step{Group: e.group, Name: name, Verdict: Unknown, Got: why, Section: section, Setting: setting})
}

const token68 = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~+/"

// credentials finds the token; false if there is nothing more to look at.
func (e *examination) credentials() bool {
	e.group = "Authorization"
	fields := e.r.values("Authorization")
	if !e.check("one Authorization field", len(fields) == 1, fmt.Sprint(len(fields)), "1", "RFC 6750, section 2; RFC 9449, section 7.2", "the client must send one") {
		return false
	}
	scheme, rest, _ := strings.Cut(fields[0], " ")
	e.scheme, e.token = strings.ToLower(scheme), strings.TrimLeft(rest, " ")
	if !strings.Contains(fields[0], " ") {
		scheme = "a value without a scheme" // which may be the token
	}
	if !e.check("scheme", e.scheme == "dpop" || e.scheme == "bearer", scheme, "DPoP or Bearer", "RFC 9449, section 7.1", "the client must use the scheme of its token_type") {
		return false
	}
	trimmed := strings.TrimRight(e.token, "=")
	e.check("the token is one token68", trimmed != "" && strings.Trim(trimmed, token68) == "", "", "", "RFC 9449, section 7.1", "the client must send the token and nothing else")
	query := false
	if u, err := e.r.complete(); err == nil {
		for pair := range strings.FieldsFuncSeq(u.RawQuery, func(r rune) bool { return r == '&' || r == ';' }) {
			name, _, _ := strings.Cut(pair, "=")
			query = query || name == "access_token"
		}
	}
	e.check("no token in the query besides", !query, "", "", "RFC 6750, section 2", "middleware.IgnoreQueryToken")
	return e.token != ""
}

// accessToken looks at the token: RFC 9068 with RFC 8725.
func (e *examination) accessToken() {
	e.group = "token"
	if !strings.Contains(e.token, ".") {
		e.unknown("the token says what it means", "it is opaque: only the issuer can tell", "RFC 7662", "introspect.New")
		return
	}
	j, problem := readJWT(e.token)
	if !e.check("a well-formed JWT", problem == "", problem, "", "RFC 7515, section 7.1; RFC 8725, section 3.7", "oidc.WithMaxTokenSize, if it is its size; the issuer otherwise") {
		return
	}
	e.tokenHeader(j)
	e.tokenSignature(j)
	e.tokenClaims(j.claims)
	e.tokenTimes(j.claims)
	e.confirmation(j.claims)
}

func (e *examination) tokenHeader(j *jwt) {
	if e.isRFC9068() {
		typ := text(j.header["typ"])
		short := strings.ToLower(strings.TrimPrefix(strings.ToLower(typ), "application/"))
		e.check("typ", short == "at+jwt", quoted(j.header["typ"]), "at+jwt", "RFC 9068, section 4", e.profile(oidc.RFC9068))
	} else if v, err := profile.Named(e.Profile); err != nil {
		e.check("profile", false, e.Profile, "", "", err.Error())
	} else {
		advice := e.profile(v)
		e.check("an access token by the profile "+v.String(), advice == "", "typ "+quoted(j.header["typ"]), "", "RFC 9068, section 4", advice)
	}
	alg := text(j.header["alg"])
	e.check("alg", slices.Contains(e.TokenAlgorithms, alg), quoted(j.header["alg"]), strings.Join(e.TokenAlgorithms, " "), "RFC 8725, section 3.1", "oidc.WithAlgorithms")
	_, crit := j.header["crit"]
	e.check("no critical extension", !crit, "", "", "RFC 7515, section 4.1.11", "")
}

func (e *examination) isRFC9068() bool {
	return e.Profile == "" || strings.EqualFold(e.Profile, oidc.RFC9068.String())
}

// profile is what to do about a token that is no access token by the profile, or "".
func (e *examination) profile(by oidc.Vendor) string {
	switch fits, advice, err := profile.Fits(e.token, by); {
	case err != nil:
		return err.Error()
	case fits:
		return ""
	default:
		return "the token " + advice
	}
}

func (e *examination) tokenSignature(j *jwt) {
	const section = "RFC 9068, section 4"
	if e.Keys == nil {
		e.unknown("signature", "the issuer's keys are not at hand (--jwks, --online)", section, "")
		return
	}
	kid := text(j.header["kid"])
	var candidates []crypto.PublicKey
	if key, ok := e.Keys[kid]; ok && kid != "" {
		candidates = append(candidates, key)
	} else if kid == "" {
		for _, key := range e.Keys {
			candidates = append(candidates, key)
		}
	}
	if !e.check("signing key", len(candidates) > 0, quoted(j.header["kid"]), "a published key", section, "the issuer must publish it; a key that was just rotated in is found after oidc.WithCooldown") {
		return
	}
	good := slices.ContainsFunc(candidates, func(key crypto.PublicKey) bool { return verify(text(j.header["alg"]), key, j.input, j.signature) })
	e.check("signature", good, "", "", section, "the token was changed, or is of another issuer")
}

func (e *examination) tokenClaims(claims map[string]any) {
	if e.Issuer != "" {
		e.check("iss", claims["iss"] == any(e.Issuer), quoted(claims["iss"]), quoted(e.Issuer), "RFC 9068, section 4", "oidc.New(issuer, ...): spelt as the token has it")
	} else {
		e.unknown("iss", "it is "+quoted(claims["iss"])+"; --issuer says what is expected", "RFC 9068, section 4", "oidc.New")
	}
	aud := list(claims["aud"])
	if len(e.Audience) > 0 {
		good := slices.ContainsFunc(e.Audience, func(a string) bool { return slices.Contains(aud, a) })
		e.check("aud", good, quoted(claims["aud"]), strings.Join(e.Audience, " or "), "RFC 9068, section 4", "the audience of oidc.New, oidc.WithAudiences, or the issuer's configuration (in Keycloak an audience mapper)")
	} else {
		e.unknown("aud", "it is "+quoted(claims["aud"])+"; --audience says what is expected", "RFC 9068, section 4", "oidc.New")
	}
	if !e.isRFC9068() {
		return
	}
	var missing []string
	for _, name := range []string{"iss", "exp", "aud", "sub", "client_id", "iat", "jti"} {
		if claims[name] == nil {
			missing = append(missing, name)
		}
	}
	if !e.check("required claims", len(missing) == 0, without(missing), "iss exp aud sub client_id iat jti", "RFC 9068, section 2.2", cmp.Or(e.profile(oidc.RFC9068), "the issuer must set them, or oidc.Described")) {
		return
	}
	if v, given := claims["scope"]; given && v != nil {
		_, isString := v.(string)
		e.check("scope", isString, quoted(v), "a string", "RFC 9068, section 2.2.3", cmp.Or(e.profile(oidc.RFC9068), "the issuer must write scopes as a string, or oidc.Described"))
	}
}

func (e *examination) tokenTimes(claims map[string]any) {
	exp, ok := number(claims["exp"])
	ago := e.now.Sub(seconds(exp)).Round(time.Second)
	got := quoted(claims["exp"])
	if ok && ago > 0 {
		got = fmt.Sprintf("expired %v ago", ago) + e.asOf
	} else if ok {
		got = fmt.Sprintf("in %v", -ago)
	}
	e.check("exp", ok && ago < e.Leeway, got, "in the future", "RFC 9068, section 4", "the client must get a new token; oidc.WithSkew for clocks that differ")
	for _, name := range []string{"nbf", "iat"} {
		v, given := claims[name]
		if !given || v == nil {
			continue
		}
		t, ok := number(v)
		ahead := seconds(t).Sub(e.now).Round(time.Second)
		e.check(name, ok && ahead <= e.Leeway, ahead.String()+" ahead", "not in the future", "RFC 7519, section 4.1", "oidc.WithSkew, or the issuer's clock")
	}
}

func (e *examination) confirmation(claims map[string]any) {
	raw, given := claims["cnf"]
	e.hasCnf = given
	if !given {
		return
	}
	cnf, ok := raw.(map[string]any)
	e.jkt, e.x5t = text(cnf["jkt"]), text(cnf["x5t#S256"])
	_, hasJKT := cnf["jkt"]
	_, hasX5T := cnf["x5t#S256"]
	ok = ok && (hasJKT || hasX5T) && (!hasJKT || isDigest(e.jkt)) && (!hasX5T || isDigest(e.x5t))
	e.check("cnf", ok, strings.Join(names(cnf), ", "), "jkt, x5t#S256, or both: 43 characters of base64url", "RFC 9449, section 6.1; RFC 8705, section 3.1", "oidc.DangerouslyIgnoreConfirmation, for members that another component enforces")
}

// binding compares the scheme with what the token is bound to.
func (e *examination) binding() {
	e.group = "binding"
	if e.TokenOnly && strings.Contains(e.token, ".") {
		e.unknown("the token is bound and the client proves it", boundTo(e.jkt, e.x5t)+"; there is no request to look at", "RFC 9449, section 7.1; RFC 8705, section 3", "give the proof too (--proof-file), or the whole request")
		return
	}
	opaque := !strings.Contains(e.token, ".")
	switch {
	case opaque:
		e.unknown("what the token is bound to", "only introspection can tell", "RFC 9449, section 6.2; RFC 8705, section 3.2", "introspect.New")
	case e.jkt != "" && e.scheme == "bearer":
		e.check("a DPoP-bound token comes under the DPoP scheme", false, "Bearer", "DPoP", "RFC 9449, section 7.2", "the client must use the scheme DPoP and send a proof")
	case e.jkt == "" && e.scheme == "dpop":
		e.check("a token under the DPoP scheme is bound to a key", false, "no cnf.jkt", "cnf.jkt", "RFC 9449, section 7.1", "the token request must carry a proof, and the issuer must have DPoP switched on for the client")
	case !e.hasCnf:
		e.check("the token is bound", e.Unbound, "no cnf", "cnf.jkt or cnf.x5t#S256", "RFC 9700, section 2.2.1", "middleware.AllowUnbound takes bearer tokens")
	default:
		e.check("the scheme fits the binding", true, e.scheme, "", "RFC 9449, section 7.1", "")
	}
}

// boundTo says what a token is bound to.
func boundTo(jkt, x5t string) string {
	switch {
	case jkt != "" && x5t != "":
		return "it is bound to a DPoP key and to a certificate"
	case jkt != "":
		return "it is bound to a DPoP key"
	case x5t != "":
		return "it is bound to a certificate"
	}
	return "it is bound to nothing: the service must accept such tokens (middleware.AllowUnbound)"
}

func (e *examination) certificate() {
	if e.x5t == "" {
		return
	}
	e.group = "certificate"
	if e.Certificate == nil {
		file := "--certificate FILE"
		if e.r.CertificateFile != "" {
			file = "--certificate " + e.r.CertificateFile
		}
		e.unknown("x5t#S256", "the client's certificate is not at hand: "+file, "RFC 8705, section 3", "mtlspop.RequestClientCert, or mtlspop.WithForwardedCertificate behind a terminator")
		return
	}
	got := pen.CertificateThumbprint(e.Certificate.Raw)
	e.check("x5t#S256", sameDigest(got, e.x5t), got, e.x5t, "RFC 8705, section 3", "the client must use the certificate that it obtained the token with; a renewed one needs a new token. Behind a terminator the service sees the certificate that is forwarded (keybound doctor)")
}

// proof makes the twelve checks of RFC 9449, section 4.3.
func (e *examination) proof() {
	if e.TokenOnly || e.scheme != "dpop" && e.jkt == "" {
		return
	}
	e.group = "proof"
	fields := e.r.values("DPoP")
	if !e.check("1: one DPoP field", len(fields) == 1, fmt.Sprint(len(fields)), "1", "RFC 9449, section 4.3, check 1", "the client must send one; a proxy may remove it, or join two") {
		return
	}
	j, problem := readJWT(fields[0])
	if !e.check("2: one well-formed JWT", problem == "", problem, "", "RFC 9449, section 4.3, check 2", "dpop.WithMaxSize, if it is its size; the client otherwise") {
		return
	}
	jwk, isObject := j.header["jwk"].(map[string]any)
	var wrong []string
	for _, name := range []string{"jti", "htm", "htu", "ath"} {
		if s, ok := j.claims[name].(string); !ok || s == "" {
			wrong = append(wrong, name)
		}
	}
	if _, ok := number(j.claims["iat"]); !ok {
		wrong = append(wrong, "iat")
	}
	if !isObject {
		wrong = append(wrong, "jwk")
	}
	if n, given := j.claims["nonce"]; given {
		if _, ok := n.(string); !ok {
			wrong = append(wrong, "nonce")
		}
	}
	if len(text(j.claims["jti"])) > 512 {
		wrong = append(wrong, "jti (longer than 512 bytes)")
	}
	e.check("3: all that is required", len(wrong) == 0, without(wrong), "typ alg jwk; jti htm htu iat ath", "RFC 9449, section 4.3, check 3", "the client; Inrupt's Solid clients send no ath and cannot be served")
	e.proofHeader(j, jwk)
	e.proofRequest(j)
	e.proofTimes(j)
	e.proofToken(j, jwk)
}

func (e *examination) proofHeader(j *jwt, jwk map[string]any) {
	typ := strings.ToLower(text(j.header["typ"]))
	e.check("4: typ", strings.TrimPrefix(typ, "application/") == "dpop+jwt", quoted(j.header["typ"]), "dpop+jwt", "RFC 9449, section 4.3, check 4", "the client")
	alg := text(j.header["alg"])
	e.check("5: alg", slices.Contains(e.Algorithms, alg), quoted(j.header["alg"]), strings.Join(e.Algorithms, " "), "RFC 9449, section 4.3, check 5", "dpop.WithAlgorithms")
	_, crit := j.header["crit"]
	_, b64 := j.header["b64"]
	e.check("5: no critical extension", !crit && !b64, "", "", "RFC 7515, section 4.1.11", "the client")
	key, err := pen.ParsePublic(jwk)
	problem := "it does not verify"
	if err != nil {
		problem = strings.TrimPrefix(err.Error(), "pen: ")
	} else if weak(key) {
		err, problem = errWeak, "the key is of small order: it verifies anything"
	}
	if a := text(jwk["alg"]); jwk["alg"] != nil && !sameAlgorithm(a, alg) {
		err, problem = errWeak, "alg of the jwk is "+quoted(jwk["alg"])
	}
	good := err == nil && verify(alg, key, j.input, j.signature)
	if good {
		problem = ""
	}
	e.check("6: signature by jwk", good, problem, "", "RFC 9449, section 4.3, check 6", "the client; keybound proof makes one that verifies")
	var private []string
	for _, name := range []string{"d", "p", "q", "dp", "dq", "qi", "oth", "k"} {
		if _, has := jwk[name]; has {
			private = append(private, name)
		}
	}
	e.check("7: no private key in jwk", len(private) == 0, strings.Join(private, ", "), "", "RFC 9449, section 4.3, check 7", "the client must make a new key at once: this one has been published")
}

func (e *examination) proofRequest(j *jwt) {
	e.check("8: htm", text(j.claims["htm"]) == e.r.Method, quoted(j.claims["htm"]), e.r.Method, "RFC 9449, section 4.3, check 8", "the client: methods are case-sensitive (fetch sends patch as it is)")
	u, err := e.r.complete()
	if err != nil || u.Host == "" {
		e.unknown("9: htu", "the URL of the request is not known: it claims "+htuText(j.claims["htu"]), "RFC 9449, section 4.3, check 9", "dpop.New(origin)")
		return
	}
	path := u.EscapedPath()
	if path == "" {
		path = "/"
	}
	origins := e.Origins
	if len(origins) == 0 {
		origins = []string{u.Scheme + "://" + u.Host}
	}
	good := slices.ContainsFunc(origins, func(origin string) bool { return sameTarget(text(j.claims["htu"]), origin, path) })
	e.check("9: htu", good, htuText(j.claims["htu"]), strings.Join(origins, " or ")+path, "RFC 9449, section 4.3, check 9", "dpop.New(origin): the one that clients use, with a prefix that a proxy strips; dpop.WithInternalHosts where a proxy replaces Host")
}

func (e *examination) proofTimes(j *jwt) {
	nonce, hasNonce := j.claims["nonce"]
	switch {
	case e.Nonces && !hasNonce:
		e.check("10: nonce", false, "none", "the newest DPoP-Nonce of this service", "RFC 9449, section 4.3, check 10", "the client must repeat the request with it; dpop.WithNonces demands it")
	case hasNonce && text(nonce) != "":
		e.unknown("10: nonce", "there is one; only the service can tell whether it is recent and its own", "RFC 9449, section 4.3, check 10", "dpop.NewNonces: the same key at every replica")
	default:
		e.check("10: nonce", true, "none", "", "RFC 9449, section 4.3, check 10", "")
	}
	iat, ok := number(j.claims["iat"])
	age := e.now.Sub(seconds(iat)).Round(time.Second)
	inside := ok && age <= e.Lifetime && -age <= e.Skew
	if e.Nonces && hasNonce && !inside && ok {
		e.unknown("11: iat", fmt.Sprintf("%v old; a good nonce makes up for it", age), "RFC 9449, section 4.3, check 11", "dpop.MCP keeps the window all the same")
	} else {
		e.check("11: iat", inside, fmt.Sprintf("%v old", age)+e.asOf, fmt.Sprintf("at most %v old and %v ahead", e.Lifetime, e.Skew), "RFC 9449, section 4.3, check 11", "the client must make a new proof for each request, by a clock that is right; dpop.WithLifetime, dpop.WithSkew; nonces (dpop.WithNonces) make its clock irrelevant")
	}
	if exp, given := j.claims["exp"]; given {
		t, ok := number(exp)
		e.check("11: exp", ok && e.now.Before(seconds(t).Add(e.Skew)), quoted(exp), "in the future", "RFC 7519, section 4.1.4", "the client")
	}
	if nbf, given := j.claims["nbf"]; given {
		t, ok := number(nbf)
		e.check("11: nbf", ok && !e.now.Add(e.Skew).Before(seconds(t)), quoted(nbf), "in the past", "RFC 7519, section 4.1.5", "the client")
	}
}

func (e *examination) proofToken(j *jwt, jwk map[string]any) {
	want := pen.Digest(e.token)
	e.check("12: ath", text(j.claims["ath"]) == want, quoted(j.claims["ath"]), want, "RFC 9449, section 4.3, check 12", "the client must hash the very token that it sends; a refreshed one needs a new proof")
	if e.jkt == "" {
		if !strings.Contains(e.token, ".") {
			e.unknown("12: key", "only introspection tells cnf.jkt; the proof's key is "+pen.Thumbprint(jwk), "RFC 9449, section 4.3, check 12", "")
		}
		return
	}
	got := pen.Thumbprint(jwk)
	e.check("12: key", sameDigest(got, e.jkt), got, e.jkt, "RFC 9449, section 4.3, check 12", "the client must sign with the key that it obtained the token with")
}

// Suspects says what is left where no check on paper fails and the server has refused the
// request.
func Suspects(code string) string {
	switch code {
	case "invalid_dpop_proof":
		return "The proof fits the request that the client sent, so the service saw another one, or sees another time: a prefix that a proxy strips belongs into the origin of dpop.New, a proxy must keep Host, the proof was used before, or the service's clock is wrong."
	case "use_dpop_nonce":
		return "The service wants a nonce of its own: the client must repeat the request with the one in DPoP-Nonce. If each nonce is refused, replicas have different nonce keys."
	case "invalid_token":
		return "The token looks good on paper: it may be revoked, signed by another issuer (--online), or bound to a certificate that does not reach the service: TLS ends at a proxy that forwards none, or another one (--certificate)."
	case "invalid_request":
		return "The request that reached the service is malformed: a proxy added a second Authorization or DPoP field, or a certificate field."
	}
	return ""
}

// rest names what a request on paper cannot show.
func (e *examination) rest() {
	e.group = "beyond the paper"
	if e.scheme == "dpop" {
		e.unknown("replay", "whether the proof was used before is in the service's memory", "RFC 9449, section 11.1", "the client must make a proof for each request; dpop.WithReplayCache")
	}
	e.unknown("revocation and rules", "whether the token was revoked, and what the route demands (scopes, claims, step-up)", "RFC 7662; RFC 6750, section 3.1", "middleware.WithRules, introspect.Then")
}

// without says what is missing, or of a wrong type.
func without(names []string) string {
	if len(names) == 0 {
		return ""
	}
	return "without a good " + strings.Join(names, ", ")
}

func text(v any) string { s, _ := v.(string); return s }

func list(v any) []string {
	switch v := v.(type) {
	case string:
		return []string{v}
	case []any:
		var all []string
		for _, x := range v {
			all = append(all, text(x))
		}
		return all
	}
	return nil
}

func names(m map[string]any) []string {
	var all []string
	for name := range m {
		all = append(all, name)
	}
	slices.Sort(all)
	return all
}

// quoted shows a claim, cut to size.
func quoted(v any) string {
	if v == nil {
		return "nothing"
	}
	raw, err := json.Marshal(v)
	if err != nil {
		return "something that is not JSON"
	}
	if len(raw) > 200 {
		return string(raw[:200]) + "..."
	}
	return string(raw)
}

// htuText shows htu without a query, which may have a token in it, and without userinfo.
func htuText(v any) string {
	s, ok := v.(string)
	if !ok {
		return quoted(v)
	}
	if i := strings.IndexAny(s, "?#"); i >= 0 {
		s = s[:i] + "?..."
	}
	if scheme, rest, ok := strings.Cut(s, "://"); ok {
		host, path, _ := strings.Cut(rest, "/")
		if i := strings.LastIndexByte(host, '@'); i >= 0 {
			s = scheme + "://...@" + host[i+1:] + "/" + path
		}
	}
	return quoted(s)
}

func number(v any) (float64, bool) {
	n, ok := v.(json.Number)
	if !ok {
		return 0, false
	}
	f, err := n.Float64()
	return f, err == nil && f >= 0 && f < math.MaxInt32*100
}

func seconds(f float64) time.Time {
	whole, part := math.Modf(f)
	return time.Unix(int64(whole), int64(part*1e9))
}

func isDigest(s string) bool {
	raw, err := base64.RawURLEncoding.DecodeString(s)
	return err == nil && len(raw) == 32 && len(s) == 43
}

// sameDigest compares what is encoded: RFC 8705's own example has pad bits.
func sameDigest(a, b string) bool {
	x, err1 := base64.RawURLEncoding.DecodeString(a)
	y, err2 := base64.RawURLEncoding.DecodeString(b)
	return err1 == nil && err2 == nil && string(x) == string(y)
}

func sameAlgorithm(a, b string) bool {
	ed := []string{"EdDSA", "Ed25519"}
	return a == b || slices.Contains(ed, a) && slices.Contains(ed, b)
}

package main

import (
	"slices"
	"strings"
	"time"

	"github.com/keybound-go/middleware"
)

// openIDConnect is the configuration of one openid-connect plugin.
type openIDConnect struct {
	*mapping
	issuer        string
	metadataURL   string   // "" to find it
	issuers       []string // whose tokens are accepted
	bearer        bool
	introspection bool
	credentials   bool
	cookies       // a cookie may stand for a token

	proof                    // DPoP
	certificate              // mutual TLS
	validateMethods bool     // refuse methods that cannot be bound
	client                   // this gateway at the issuer
	asking                   // how tokens are asked about
	grant                    // how client credentials become tokens
	demands         []demand // what a token must say
	audiences       []string // what aud must name one of; none: not checked
	leeway          time.Duration
	cooldown        time.Duration // between fetches for unknown keys; 0: the library's
	timeout         time.Duration // of requests to the issuer; 0: the library's

	resource *middleware.ProtectedResource // nil: not described

	upstream
	unauthorized, forbidden string
	display                 bool // what went wrong goes into the body
	passPreflights          bool
}

// proof is what the plugin demands of proofs of keys.
type proof struct {
	dpop     string // off, optional or strict
	lifetime time.Duration
	nonces   bool
}

// client is how this gateway authenticates itself to the issuer.
type client struct {
	clientID, secret, auth, alg string
	jwk                         *mapping
	certificateID               string
}

// asking is how tokens are asked about.
type asking struct {
	endpoint          string
	signedAnswers     bool
	jwts              bool // ask about these too
	remember          bool
	lifetime, refusal time.Duration // -1: the library's default
	stale             time.Duration
}

// grant is how client credentials become tokens.
type grant struct {
	endpoint      string
	scopes        []string
	audience      []string
	secretInBody  bool
	tokenLifetime time.Duration // 0: the library's default
}

// demand is one of the pairs x_required and x_claim: one of the elements must
// hold, all words of an element together.
type demand struct {
	claim    []string
	scopes   bool // the claim is the token's scope
	elements [][]string
}

func readOpenIDConnect(m *mapping) *openIDConnect {
	p := &openIDConnect{mapping: m}
	p.readIssuer()
	p.readResource()
	p.readMethods()
	p.readSession()
	p.readProof()
	p.readCertificate()
	p.validateMethods = m.flag("proof_of_possession_auth_methods_validation", true)
	p.readClient()
	p.readIntrospection()
	p.readGrant()
	for _, what := range [][2]string{{"audience", "aud"}, {"scopes", "scope"}, {"groups", "groups"}, {"roles", "roles"}} {
		p.readDemand(what[0], what[1])
	}
	p.readUpstream()
	p.unauthorized = m.text("unauthorized_error_message", "Unauthorized")
	p.forbidden = m.text("forbidden_error_message", "Forbidden")
	p.display = m.flag("display_errors", false)
	p.passPreflights = !m.flag("run_on_preflight", true)
	p.timeout = m.duration("timeout", time.Millisecond, 0)
	p.leeway = m.duration("leeway", time.Second, -1)
	p.readCooldown()
	p.readFixed()
	p.check()
	m.done(whyNot)
	return p
}

// readIssuer also takes the URL of the issuer's metadata, in both of its forms.
func (p *openIDConnect) readIssuer() {
	const openID, oauth = "/.well-known/openid-configuration", "/.well-known/oauth-authorization-server"
	p.issuer = p.text("issuer", "")
	if !p.has("issuer") {
		p.add(p.at, "%s: issuer is missing", p.where)
	}
	switch before, after, found := strings.Cut(p.issuer, oauth); {
	case found: // RFC 8414, section 3.1: before the path
		p.metadataURL, p.issuer = p.issuer, before+after
	case strings.HasSuffix(p.issuer, openID):
		p.metadataURL, p.issuer = p.issuer, strings.TrimSuffix(p.issuer, openID)
	}
	p.issuers = p.texts("issuers_allowed", p.issuer)
	if len(p.issuers) == 0 {
		p.wrong("issuers_allowed", "is empty")
	}
}

func (p *openIDConnect) readMethods() {
	if !p.has("auth_methods") {
		p.bearer = true
	}
	for _, method := range p.texts("auth_methods") {
		switch method {
		case "bearer":
			p.bearer = true
		case "introspection":
			p.introspection = true
		case "client_credentials":
			p.credentials = true
		case "session":
			p.cookies.session = true
		default:
			p.wrong("auth_methods", "%q is not supported; it can be bearer, introspection, client_credentials, session", method)
		}
	}
	if p.has("auth_methods") && len(p.texts("auth_methods")) == 0 {
		p.wrong("auth_methods", "is empty: nobody could pass")
	}
}

func (p *openIDConnect) readProof() {
	p.dpop = p.oneOf("proof_of_possession_dpop", "off", "off", "optional", "strict")
	p.proof.lifetime = p.duration("dpop_proof_lifetime", time.Second, 0)
	p.nonces = p.flag("dpop_use_nonce", false)
	if p.dpop == "off" && (p.nonces || p.proof.lifetime != 0) {
		p.add(p.at, "%s: dpop_use_nonce and dpop_proof_lifetime need proof_of_possession_dpop", p.where)
	}
}

func (p *openIDConnect) readClient() {
	p.clientID = p.only("client_id")
	p.secret = p.only("client_secret")
	p.alg = p.only("client_alg")
	p.certificateID = p.text("tls_client_auth_cert_id", "")
	fallback := "none"
	if p.secret != "" {
		fallback = "client_secret_basic"
	}
	if p.auth = p.only("client_auth"); p.auth == "" {
		p.auth = fallback
	}
	methods := []string{"client_secret_basic", "client_secret_post", "client_secret_jwt", "private_key_jwt", "tls_client_auth", "self_signed_tls_client_auth", "none"}
	if !slices.Contains(methods, p.auth) {
		p.wrong("client_auth", "%q is not supported; it can be %s", p.auth, strings.Join(methods, ", "))
	}
	switch keys := p.list("client_jwk"); len(keys) {
	case 0:
	case 1:
		p.jwk = keys[0]
	default:
		p.wrong("client_jwk", "has %d elements: one client is supported", len(keys))
	}
}

func (p *openIDConnect) readIntrospection() {
	p.asking = asking{
		endpoint: p.text("introspection_endpoint", ""),
		jwts:     p.flag("introspect_jwt_tokens", false),
		remember: p.flag("cache_introspection", true),
		lifetime: p.duration("cache_ttl", time.Second, -1),
		refusal:  p.duration("cache_ttl_neg", time.Second, -1),
		stale:    p.duration("cache_ttl_resurrect", time.Second, 0),
	}
	if most := p.duration("cache_ttl_max", time.Second, 0); most > 0 && (p.asking.lifetime < 0 || most < p.asking.lifetime) {
		p.asking.lifetime = most
	}
	p.oneOf("introspection_hint", "access_token", "access_token")
	const plain, signed = "application/json", "application/token-introspection+jwt"
	p.signedAnswers = p.oneOf("introspection_accept", plain, plain, signed) == signed
}

func (p *openIDConnect) readGrant() {
	p.grant = grant{
		endpoint:     p.text("token_endpoint", ""),
		scopes:       p.texts("scopes"),
		audience:     p.texts("audience"),
		secretInBody: p.auth == "client_secret_post",
	}
	if p.asking.lifetime > 0 {
		p.tokenLifetime = p.asking.lifetime
	}
	if !p.flag("cache_tokens", true) {
		p.tokenLifetime = time.Second // the least: the issuer is asked once for those who come together
	}
	// The key of what is remembered is a MAC over id, secret and request, so that it includes the
	// scopes in any case, and its salt is random.
	p.flag("token_cache_key_include_scope", true)
	p.text("cache_tokens_salt", "")
}

// readDemand reads one pair x_required and x_claim.
func (p *openIDConnect) readDemand(what, claim string) {
	d := demand{claim: p.texts(what+"_claim", claim)}
	d.scopes = what == "scopes" && slices.Equal(d.claim, []string{"scope"})
	for _, element := range p.texts(what + "_required") {
		words := strings.Fields(element)
		if len(words) == 0 {
			p.wrong(what+"_required", "an element without words")
		}
		d.elements = append(d.elements, words)
	}
	if len(d.claim) == 0 {
		p.wrong(what+"_claim", "is empty")
	}
	if len(d.elements) == 0 {
		return
	}
	if what == "audience" && slices.Equal(d.claim, []string{"aud"}) {
		for _, words := range d.elements {
			p.audiences = append(p.audiences, words...)
		}
		slices.Sort(p.audiences)
		p.audiences = slices.Compact(p.audiences)
		if !slices.ContainsFunc(d.elements, func(words []string) bool { return len(words) > 1 }) {
			return // what the token verifier checks is all of it
		}
	}
	p.demands = append(p.demands, d)
}

// readCooldown reads the least time between two attempts. As in Kong, it is another
// one after a failure.
func (p *openIDConnect) readCooldown() {
	const key = "rediscovery_lifetime"
	if !p.has(key) {
		return
	}
	found := len(p.problems.list)
	p.cooldown = p.duration(key, time.Second, 0)
	if len(p.problems.list) == found && (p.cooldown < time.Second || p.cooldown > time.Hour) {
		p.wrong(key, "%v is refused on purpose: under a second, anybody could turn this gateway against the issuer, and beyond an hour, its new keys would be found too late", p.cooldown)
	}
}

// readFixed reads what can be said and not changed.
func (p *openIDConnect) readFixed() {
	p.mustBe("verify_signature", true, "anybody can write a token that nobody signed")
	p.mustBe("verify_claims", true, "a token would never expire, and those for other services would be accepted")
	p.mustBe("ssl_verify", true, "whoever is in between could hand out keys of his own; name a private CA with -issuer-ca")
	p.mustBe("expose_error_code", true, "without the error code a client cannot tell that it needs a nonce or another token")
	p.mustBe("search_user_info", false, "what a token permits is said by the token")
	for _, key := range []string{"bearer_token_param_type", "client_credentials_param_type"} {
		for _, place := range p.texts(key, "header") {
			if place != "header" {
				p.wrong(key, "%q is refused on purpose: query strings end up in logs, and bodies are not read; it can be header", place)
			}
		}
	}
	if p.duration("cache_ttl_min", time.Second, 0) != 0 {
		p.wrong("cache_ttl_min", "is refused on purpose: it would keep tokens beyond their expiry")
	}
}

// checkPlainHTTP refuses what package oidc would, and says what to do instead.
func (p *openIDConnect) checkPlainHTTP(key string, urls ...string) {
	for _, raw := range urls {
		if strings.HasPrefix(raw, "http://") && !isPlainLoopback(raw) {
			p.wrong(key, "%s is refused on purpose: over plain HTTP, whoever is in between makes the tokens; give the issuer a certificate and an https URL, "+
				"and name a private CA with -issuer-ca (for development, http is good at a loopback address: localhost, 127.0.0.1, [::1])", raw)
		}
	}
}

// check finds settings that do not go together.
func (p *openIDConnect) check() {
	p.checkPlainHTTP("issuer", p.issuer)
	p.checkPlainHTTP("introspection_endpoint", p.asking.endpoint)
	p.checkPlainHTTP("token_endpoint", p.grant.endpoint)
	if p.has("issuers_allowed") {
		p.checkPlainHTTP("issuers_allowed", p.issuers...)
	}
	strict := "proof_of_possession_dpop"
	if p.dpop != "strict" {
		strict = "proof_of_possession_mtls"
	}
	if p.credentials && p.validateMethods && (p.dpop == "strict" || p.mtls == "strict") {
		p.wrong("auth_methods", "client_credentials cannot be bound, which %s: strict demands; "+
			"remove it, or set proof_of_possession_auth_methods_validation: false to exempt it", strict)
	}
	if (p.introspection || p.asking.jwts) && p.clientID == "" {
		p.wrong("auth_methods", "introspection needs a client_id")
	}
	if p.asking.jwts && !p.bearer && !p.introspection && !p.credentials {
		p.wrong("introspect_jwt_tokens", "needs one of the auth_methods that bring tokens")
	}
	if len(p.issuers) > 1 && (p.introspection || p.asking.jwts) {
		p.wrong("issuers_allowed", "several issuers and introspection exclude each other: only one of them can be asked")
	}
	if strings.HasPrefix(p.auth, "client_secret") && p.secret == "" && p.clientID != "" {
		p.wrong("client_auth", "%s needs a client_secret", p.auth)
	}
}

// checkReferences finds ids that nothing has.
func (p *openIDConnect) checkReferences(c *configuration) {
	if strings.HasSuffix(p.auth, "tls_client_auth") {
		if p.certificateID == "" {
			p.wrong("client_auth", "%s needs tls_client_auth_cert_id", p.auth)
		} else if c.certificates[p.certificateID] == nil {
			p.wrong("tls_client_auth_cert_id", "there is no certificate with the id %q in certificates", p.certificateID)
		}
	}
	for _, id := range p.authorities {
		if c.authorities[id] == nil {
			p.header.wrong("ca_certificates", "there is no CA with the id %q in ca_certificates", id)
		}
	}
}

// whyNot knows more about some keys than that they are not supported.
func whyNot(key string) string {
	switch {
	case strings.HasPrefix(key, "session_memcached_"), strings.HasPrefix(key, "session_redis_"):
		return "is not supported: a session is in its cookie, and there is nothing to store"
	case key == "session_rolling_timeout":
		return "is not supported: the cookie is written anew when half of session_idling_timeout has passed"
	case strings.HasPrefix(key, "login_"), strings.HasPrefix(key, "logout_"), strings.HasPrefix(key, "authorization_"), key == "redirect_uri":
		return "is not supported: users do not log in here"
	case key == "anonymous", strings.HasPrefix(key, "consumer_"), strings.HasPrefix(key, "credential_"):
		return "is not supported: there are no consumers"
	case key == "extra_jwks_uris":
		return "is refused on purpose: whoever publishes there could make tokens of this issuer"
	case strings.HasPrefix(key, "bearer_token_cookie"):
		return "is refused on purpose: a token in a cookie is sent by other sites too"
	}
	return ""
}

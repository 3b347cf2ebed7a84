package kongfile

import (
	"cmp"
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"
)

// OpenIDConnect is the configuration of one openid-connect plugin.
type OpenIDConnect struct {
	entity
	Issuer      string
	MetadataURL string // "" to find it
	// MetadataIssuer is what the metadata may call the issuer besides, where services
	// reach it under another name than clients do; "" for nothing.
	MetadataIssuer string
	JWKSURI        string   // "" for what the metadata says
	Issuers        []string // whose tokens are accepted

	Bearer            bool
	Introspection     bool
	ClientCredentials bool
	Sessions          bool // a cookie may stand for a token

	Proof           Proof
	Certificate     Certificate
	ValidateMethods bool // refuse methods that cannot be bound
	Client          Client
	Introspect      Introspect
	Grant           Grant
	Session         Session
	Redis           *Redis // what replicas share; nil: nothing

	Demands         []Demand      // what a token must say
	Forbidden       []string      // claims that a token must not have
	Audiences       []string      // what aud must name one of; none: not checked
	MaxAge          time.Duration // since the user has signed in; 0: any
	Leeway          time.Duration // -1: the library's
	Cooldown        time.Duration // between fetches for unknown keys; 0: the library's
	Timeout         time.Duration // of requests to the issuer; 0: the library's
	PassPreflights  bool
	Upstream        Upstream
	Resource        *Resource // nil: not described
	Unauthorized    string
	ForbiddenText   string
	DisplayErrors   bool // what went wrong goes into the body
	HideCredentials bool
}

// Proof is what a plugin demands of proofs of keys.
type Proof struct {
	Mode     string        // off, optional or strict
	Lifetime time.Duration // 0: the library's
	Nonces   bool
}

// Client is how the gateway authenticates itself to the issuer.
type Client struct {
	ID, Secret    string
	Auth          string // a method of the registry of RFC 7591, or none
	Algorithm     string // of assertions; "" for the method's
	Key           *ClientKey
	CertificateID string
}

// Introspect is how tokens are asked about.
type Introspect struct {
	Endpoint          string
	Auth              string // another method than Client.Auth, or ""
	SignedAnswers     bool
	JWTs              bool // ask about these too
	Remember          bool
	Lifetime, Refusal time.Duration // -1: the library's
	Stale             time.Duration
}

// Grant is how client credentials become tokens.
type Grant struct {
	Endpoint      string
	Scopes        []string
	Audience      []string
	Parameters    [][2]string // names and values
	SecretInBody  bool
	TokenLifetime time.Duration // 0: the library's
}

// Demand is one of the pairs x_required and x_claim: one of the elements must hold,
// all words of an element together.
type Demand struct {
	Claim  []string
	Scopes bool // the claim is the token's scope
	AnyOf  [][]string
}

var openIDKeys = byName(Keys)

func (f *File) readOpenIDConnect(m *mapping) *OpenIDConnect {
	m.known = openIDKeys
	p := &OpenIDConnect{entity: entity{m}}
	p.readIssuer()
	p.readResource()
	p.readMethods()
	p.readSession()
	p.readProof()
	p.readCertificate()
	p.ValidateMethods = m.flag("proof_of_possession_auth_methods_validation", true)
	p.readClient()
	p.readIntrospection()
	p.readGrant()
	p.readRedis()
	for _, what := range [][2]string{{"audience", "aud"}, {"scopes", "scope"}, {"groups", "groups"}, {"roles", "roles"}} {
		p.readDemand(what[0], what[1])
	}
	p.readFurtherDemands()
	p.readUpstream()
	p.Unauthorized = m.text("unauthorized_error_message", "Unauthorized")
	p.ForbiddenText = m.text("forbidden_error_message", "Forbidden")
	p.DisplayErrors = m.flag("display_errors", false)
	p.PassPreflights = !m.flag("run_on_preflight", true)
	p.Timeout = m.duration("timeout", time.Millisecond, 0)
	p.Leeway = m.duration("leeway", time.Second, -1)
	p.readCooldown()
	p.readFixed()
	p.check()
	m.done(whyNotOlder)
	p.addWarnings(f)
	return p
}

// readIssuer also takes the URL of the issuer's metadata, in both of its forms.
func (p *OpenIDConnect) readIssuer() {
	const openID, oauth = "/.well-known/openid-configuration", "/.well-known/oauth-authorization-server"
	p.Issuer = p.m.text("issuer", "")
	if !p.Given("issuer") {
		p.Mistake("issuer is missing")
	}
	switch before, after, found := strings.Cut(p.Issuer, oauth); {
	case found: // RFC 8414, section 3.1: before the path
		p.MetadataURL, p.Issuer = p.Issuer, before+after
	case strings.HasSuffix(p.Issuer, openID):
		p.MetadataURL, p.Issuer = p.Issuer, strings.TrimSuffix(p.Issuer, openID)
	}
	p.JWKSURI = p.m.text("jwks_endpoint", "")
	p.Issuers = p.m.texts("issuers_allowed", p.Issuer)
	switch {
	case len(p.Issuers) == 0:
		p.Wrong("issuers_allowed", "is empty")
	case slices.Contains(p.Issuers, p.Issuer):
	case len(p.Issuers) > 1:
		p.Wrong("issuers_allowed", "has several issuers, and issuer is none of them: its metadata describes one; give each issuer a plugin of its own, or name issuer too if its tokens count")
	default:
		// issuer is where the metadata is, by a name that this network has, and
		// issuers_allowed what tokens say.
		if p.MetadataURL == "" {
			p.MetadataURL = strings.TrimSuffix(p.Issuer, "/") + openID
		}
		p.MetadataIssuer, p.Issuer = p.Issuer, p.Issuers[0]
	}
}

func (p *OpenIDConnect) readMethods() {
	if !p.Given("auth_methods") {
		p.Bearer = true
	}
	methods := p.m.texts("auth_methods")
	for _, method := range methods {
		switch method {
		case "bearer":
			p.Bearer = true
		case "introspection":
			p.Introspection = true
		case "client_credentials":
			p.ClientCredentials = true
		case "session":
			p.Sessions = true
		default:
			instead := cmp.Or(insteadOf[method], "it can be bearer, introspection, client_credentials, session")
			p.Wrong("auth_methods", "%q is not supported: %s", method, instead)
		}
	}
	if p.Given("auth_methods") && len(methods) == 0 {
		p.Wrong("auth_methods", "is empty: no request could pass")
	}
}

// insteadOf says what to do in the place of Kong's other auth_methods.
var insteadOf = map[string]string{
	"authorization_code": "users do not log in here; put an application or a proxy that signs users in before this service, and let it send their tokens",
	"password":           "a client sends no passwords of users (RFC 9700, section 2.4); it gets a token from the issuer, and sends that as bearer",
	"refresh_token":      "a client refreshes its own tokens, and sends access tokens as bearer",
	"userinfo":           "user info says nothing of who a token is for; set introspection, and the issuer is asked about each token",
	"kong_oauth2":        "tokens of Kong's own OAuth plugin have no issuer to ask; let an issuer make them, and set bearer",
}

func (p *OpenIDConnect) readProof() {
	const lifetime, kongs = "dpop_proof_lifetime", 300 * time.Second
	p.Proof.Mode = p.m.oneOf("proof_of_possession_dpop", "off", "off", "optional", "strict")
	p.Proof.Lifetime = p.m.duration(lifetime, time.Second, 0)
	p.Proof.Nonces = p.m.flag("dpop_use_nonce", false)
	if p.Proof.Mode != "off" {
		return
	}
	if p.Proof.Nonces || p.Proof.Lifetime != 0 && p.Proof.Lifetime != kongs {
		p.Mistake("dpop_use_nonce and dpop_proof_lifetime need proof_of_possession_dpop")
	}
}

var clientAuthMethods = []string{"client_secret_basic", "client_secret_post", "client_secret_jwt", "private_key_jwt", "tls_client_auth", "self_signed_tls_client_auth", "none"}

func (p *OpenIDConnect) readClient() {
	c := &p.Client
	c.ID = p.m.only("client_id")
	c.Secret = p.m.only("client_secret")
	c.Algorithm = p.m.only("client_alg")
	c.CertificateID = p.m.text("tls_client_auth_cert_id", "")
	if c.Auth = p.m.only("client_auth"); c.Auth == "" {
		c.Auth = "none"
		if c.Secret != "" {
			c.Auth = "client_secret_basic"
		}
	}
	if !slices.Contains(clientAuthMethods, c.Auth) {
		p.Wrong("client_auth", "%q is not supported; it can be %s", c.Auth, strings.Join(clientAuthMethods, ", "))
	}
	switch keys := p.m.list("client_jwk"); len(keys) {
	case 0:
	case 1:
		c.Key = readJWK(keys[0], c.Algorithm)
	default:
		p.Wrong("client_jwk", "has %d elements: one client is supported", len(keys))
	}
}

func (p *OpenIDConnect) readIntrospection() {
	i := &p.Introspect
	*i = Introspect{
		Endpoint: p.m.text("introspection_endpoint", ""),
		JWTs:     p.m.flag("introspect_jwt_tokens", false),
		Remember: p.m.flag("cache_introspection", true),
		Lifetime: p.m.duration("cache_ttl", time.Second, -1),
		Refusal:  p.m.duration("cache_ttl_neg", time.Second, -1),
		Stale:    p.m.duration("cache_ttl_resurrect", time.Second, 0),
	}
	if most := p.m.duration("cache_ttl_max", time.Second, 0); most > 0 && (i.Lifetime < 0 || most < i.Lifetime) {
		i.Lifetime = most
	}
	p.m.oneOf("introspection_hint", "access_token", "access_token")
	const plain, signed = "application/json", "application/token-introspection+jwt"
	i.SignedAnswers = p.m.oneOf("introspection_accept", plain, plain, signed) == signed
	if auth := p.m.oneOf("introspection_endpoint_auth_method", "", clientAuthMethods...); auth != p.Client.Auth {
		i.Auth = auth
	}
}

func (p *OpenIDConnect) readGrant() {
	g := &p.Grant
	*g = Grant{Endpoint: p.m.text("token_endpoint", ""), Scopes: p.m.texts("scopes"), Audience: p.m.texts("audience")}
	// The caller's own id and secret go there, so that two methods are possible.
	auth := p.m.text("token_endpoint_auth_method", "")
	switch auth {
	case "", "client_secret_basic", p.Client.Auth:
	case "client_secret_post":
	default:
		p.Wrong("token_endpoint_auth_method", "%q is not supported: callers have ids and secrets; it can be client_secret_basic, client_secret_post", auth)
	}
	g.SecretInBody = auth == "client_secret_post" || auth == "" && p.Client.Auth == "client_secret_post"
	names, values := p.m.texts("token_post_args_names"), p.m.texts("token_post_args_values")
	if len(names) != len(values) {
		p.Wrong("token_post_args_names", "has %d elements, and token_post_args_values %d", len(names), len(values))
	}
	for k := range min(len(names), len(values)) {
		g.Parameters = append(g.Parameters, [2]string{names[k], values[k]})
	}
	if p.Introspect.Lifetime > 0 {
		g.TokenLifetime = p.Introspect.Lifetime
	}
	if !p.m.flag("cache_tokens", true) {
		g.TokenLifetime = time.Second // the least: the issuer is asked once for requests that come together
	}
	// The key of what is remembered is a MAC over id, secret and request, so that it
	// includes the scopes in any case, and its salt is random.
	p.m.flag("token_cache_key_include_scope", true)
	p.m.text("cache_tokens_salt", "")
}

// readDemand reads one pair x_required and x_claim.
func (p *OpenIDConnect) readDemand(what, claim string) {
	d := Demand{Claim: p.m.texts(what+"_claim", claim)}
	d.Scopes = what == "scopes" && slices.Equal(d.Claim, []string{"scope"})
	for _, element := range p.m.texts(what + "_required") {
		words := strings.Fields(element)
		if len(words) == 0 {
			p.Wrong(what+"_required", "an element without words")
		}
		d.AnyOf = append(d.AnyOf, words)
	}
	if len(d.Claim) == 0 {
		p.Wrong(what+"_claim", "is empty")
	}
	if len(d.AnyOf) == 0 {
		return
	}
	if what == "audience" && slices.Equal(d.Claim, []string{"aud"}) {
		for _, words := range d.AnyOf {
			p.Audiences = append(p.Audiences, words...)
		}
		slices.Sort(p.Audiences)
		p.Audiences = slices.Compact(p.Audiences)
		if !slices.ContainsFunc(d.AnyOf, func(words []string) bool { return len(words) > 1 }) {
			return // what the token verifier checks is all of it
		}
	}
	p.Demands = append(p.Demands, d)
}

// readFurtherDemands reads what is not a pair: the Google Workspace domain of the
// user, claims that must be absent, and how long ago the user signed in.
func (p *OpenIDConnect) readFurtherDemands() {
	if domains := p.m.texts("domains"); len(domains) > 0 {
		d := Demand{Claim: []string{"hd"}}
		for _, domain := range domains {
			d.AnyOf = append(d.AnyOf, []string{domain})
		}
		p.Demands = append(p.Demands, d)
	}
	p.Forbidden = p.m.texts("claims_forbidden")
	if p.MaxAge = p.m.duration("max_age", time.Second, 0); p.Given("max_age") && p.MaxAge < time.Second {
		p.Wrong("max_age", "is less than a second: no token could pass")
	}
}

func (p *OpenIDConnect) readCooldown() {
	const key = "rediscovery_lifetime"
	if !p.Given(key) {
		return
	}
	found := len(p.m.Problems.list)
	p.Cooldown = p.m.duration(key, time.Second, 0)
	if len(p.m.Problems.list) == found && (p.Cooldown < time.Second || p.Cooldown > time.Hour) {
		p.Wrong(key, "%v is refused on purpose: under a second, any client could turn this gateway against the issuer, and beyond an hour, its new keys would be found too late", p.Cooldown)
	}
}

// readFixed reads what can be said and not changed.
func (p *OpenIDConnect) readFixed() {
	p.m.mustBe("verify_signature", true, "any client could write its own tokens")
	p.m.mustBe("verify_claims", true, "a token would never expire, and those for other services would be accepted")
	p.m.mustBe("ssl_verify", true, "an attacker in between could hand out other keys; name a private CA with -issuer-ca")
	p.m.mustBe("expose_error_code", true, "without the error code a client cannot tell that it needs a nonce or another token")
	p.m.mustBe("search_user_info", false, "what a token permits is said by the token")
	p.m.mustBe("introspection_check_active", true, "a token that the issuer has revoked would be accepted")
	for _, key := range []string{"bearer_token_param_type", "client_credentials_param_type"} {
		for _, where := range p.m.texts(key, "header") {
			if where != "header" {
				p.Wrong(key, "%q is refused on purpose: query strings end up in logs, and bodies are not read; it can be header", where)
			}
		}
	}
	if p.m.duration("cache_ttl_min", time.Second, 0) != 0 {
		p.Wrong("cache_ttl_min", "is refused on purpose: it would keep tokens beyond their expiry")
	}
}

// checkPlainHTTP refuses what package oidc would, and says what to do instead.
func (p *OpenIDConnect) checkPlainHTTP(key string, urls ...string) {
	for _, raw := range urls {
		if strings.HasPrefix(raw, "http://") && !IsForDevelopment(raw) {
			p.Wrong(key, "%s is refused on purpose: over plain HTTP, an attacker in between makes the tokens; give the issuer a certificate and an https URL, "+
				"and name a private CA with -issuer-ca (for development, http is good at localhost, at a loopback address, and at a name under .test or .localhost that stands for one)", raw)
		}
	}
}

// check finds settings that do not go together.
func (p *OpenIDConnect) check() {
	if p.MetadataURL != "" {
		p.checkPlainHTTP("issuer", p.MetadataURL)
	} else {
		p.checkPlainHTTP("issuer", p.Issuer)
	}
	p.checkPlainHTTP("jwks_endpoint", p.JWKSURI)
	p.checkPlainHTTP("introspection_endpoint", p.Introspect.Endpoint)
	p.checkPlainHTTP("token_endpoint", p.Grant.Endpoint)
	if p.Given("issuers_allowed") {
		p.checkPlainHTTP("issuers_allowed", p.Issuers...)
	}
	strict := "proof_of_possession_dpop"
	if p.Proof.Mode != "strict" {
		strict = "proof_of_possession_mtls"
	}
	asks := p.Introspection || p.Introspect.JWTs
	for _, rule := range []struct {
		broken    bool
		key, text string
	}{
		{p.ClientCredentials && p.ValidateMethods && (p.Proof.Mode == "strict" || p.Certificate.Mode == "strict"), "auth_methods",
			"client_credentials cannot be bound, which " + strict + ": strict demands; " +
				"remove it, or set proof_of_possession_auth_methods_validation: false to exempt it"},
		{asks && p.Client.ID == "", "auth_methods", "introspection needs a client_id"},
		{p.Introspect.JWTs && !p.Bearer && !p.Introspection && !p.ClientCredentials, "introspect_jwt_tokens", "needs one of the auth_methods that bring tokens"},
		{asks && len(p.Issuers) > 1, "issuers_allowed", "several issuers and introspection exclude each other: only one of them can be asked"},
		{p.JWKSURI != "" && len(p.Issuers) > 1, "jwks_endpoint", "several issuers and jwks_endpoint exclude each other: its publisher could make the tokens of all"},
		{strings.HasPrefix(p.Client.Auth, "client_secret") && p.Client.Secret == "" && p.Client.ID != "", "client_auth", p.Client.Auth + " needs a client_secret"},
		{strings.HasPrefix(p.Introspect.Auth, "client_secret") && p.Client.Secret == "", "introspection_endpoint_auth_method", p.Introspect.Auth + " needs a client_secret"},
	} {
		if rule.broken {
			p.Wrong(rule.key, "%s", rule.text)
		}
	}
}

// checkReferences finds ids that nothing has.
func (p *OpenIDConnect) checkReferences(f *File) {
	for key, auth := range map[string]string{"client_auth": p.Client.Auth, "introspection_endpoint_auth_method": p.Introspect.Auth} {
		switch {
		case !strings.HasSuffix(auth, "tls_client_auth"):
		case p.Client.CertificateID == "":
			p.Wrong(key, "%s needs tls_client_auth_cert_id", auth)
		case f.Certificates[p.Client.CertificateID] == nil:
			p.Wrong("tls_client_auth_cert_id", "there is no certificate with the id %q in certificates", p.Client.CertificateID)
		}
	}
	if h := p.Certificate.Header; h != nil {
		f.checkAuthorities(h.entity, h.Authorities)
	}
}

// addWarnings adds what an operator should know of a plugin that starts.
func (p *OpenIDConnect) addWarnings(f *File) {
	warn := func(key, format string, args ...any) { f.warn(p.PlaceOf(key), fmt.Sprintf(format, args...)) }
	if !p.Given("auth_methods") {
		warn("auth_methods", "auth_methods is missing or Kong's default: bearer alone is accepted; set it")
	}
	if p.m.values["bearer_token_param_type"] != nil && !p.Given("bearer_token_param_type") && !p.m.isNull("bearer_token_param_type") {
		warn("bearer_token_param_type", "bearer_token_param_type is Kong's default: it is read as header; clients that send tokens in a query or a body are refused")
	}
	if len(p.Audiences) == 0 && !p.Given("audience_required") {
		f.warn(p.Place(), "audience_required is missing: the audience is not checked, so that a token for any other service of this issuer is accepted; set it")
	}
	for _, issuer := range p.Issuers {
		if IsForDevelopment(issuer) {
			warn("issuer", "the issuer is on plain HTTP, which is for development: a program that answers on that port makes the tokens")
		}
	}
	if p.Client.Auth == "private_key_jwt" && p.Client.Key == nil {
		warn("client_auth", "client_jwk is missing: the key is a new one with each start; set it, or let the issuer fetch /openid-connect/jwks from -admin")
	}
}

// whyNotOlder knows keys that older releases of Kong had.
func whyNotOlder(key string) string {
	switch {
	case strings.HasPrefix(key, "session_redis_"), strings.HasPrefix(key, "session_memcached_"):
		return noStore
	case strings.HasPrefix(key, "consumer_"):
		return noConsumers
	case strings.HasPrefix(key, "session_"):
		return "is not supported: Kong 3 has other names for the settings of sessions"
	}
	return ""
}

// IsForDevelopment reports whether a URL is on plain HTTP, and names a host that can
// be this machine: a loopback address, localhost, or a name under .localhost or .test
// (RFC 6761), of which package oidc finds out when it dials.
func IsForDevelopment(raw string) bool {
	u, err := url.Parse(raw)
	if err != nil || u.Scheme != "http" {
		return false
	}
	host, _, _ := strings.Cut(u.Hostname(), "%")
	addr, err := netip.ParseAddr(host)
	return host == "localhost" || IsDevelopmentName(raw) || err == nil && addr.IsLoopback()
}

// IsDevelopmentName reports whether a URL is on plain HTTP, and its host has a name
// under .localhost or .test.
func IsDevelopmentName(raw string) bool {
	u, err := url.Parse(raw)
	if err != nil || u.Scheme != "http" {
		return false
	}
	host := strings.ToLower(u.Hostname())
	return strings.HasSuffix(host, ".localhost") || strings.HasSuffix(host, ".test")
}

package main

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/keybound-go/middleware/gateway/kongfile"
	"github.com/keybound-go/middleware/oidc"
)

// issuerOptions are the options of an issuer.
func (p *program) issuerOptions(o *kongfile.OpenIDConnect, issuer string) (opts []string) {
	if slices.ContainsFunc([]string{issuer, o.MetadataURL, o.JWKSURI}, kongfile.IsForDevelopment) {
		opts = append(opts, "oidc.DangerouslyAllowLoopbackHTTP()")
	}
	if issuer != o.Issuer {
		return opts
	}
	if o.MetadataIssuer != "" || o.MetadataURL != "" {
		opts = append(opts, "oidc.WithMetadataURL("+p.text(o.MetadataURL)+")")
	}
	if o.MetadataIssuer != "" {
		opts = append(opts, "oidc.WithMetadataIssuer("+p.text(o.MetadataIssuer)+")")
	}
	if o.JWKSURI != "" {
		opts = append(opts, "oidc.WithJWKSURI("+p.text(o.JWKSURI)+")")
	}
	if o.Cooldown > 0 {
		opts = append(opts, "oidc.WithCooldown("+p.time(o.Cooldown)+")")
	}
	if o.Timeout > 0 {
		opts = append(opts, "oidc.WithHTTPClient(&http.Client{Timeout: "+p.time(o.Timeout)+"})")
	}
	return opts
}

// checks are the audience and the options of verifiers, in the words of a room.
func (p *program) checks(o *kongfile.OpenIDConnect, room, issuer string) (audience string, opts []string) {
	audience = `""`
	if len(o.Audiences) > 0 {
		audience = p.text(o.Audiences[0])
	} else {
		opts = append(opts, room+".DangerouslyAcceptAnyAudience()")
		if room == "introspect" {
			opts = append(opts, "introspect.DangerouslyAllowMissingAudience()")
		}
	}
	if room == "oidc" {
		if profile := slices.Concat(p.d.profiles(issuer))[len(p.d.profiles(issuer))-1]; profile != oidc.RFC9068 {
			opts = append(opts, "oidc.WithProfile(oidc."+profile.String()+")")
		}
	}
	if room == "oidc" && len(p.d.audienceless) > 0 {
		opts = append(opts, "oidc.DangerouslyAllowMissingAudience("+p.texts(p.d.audienceless)+")")
	}
	if len(o.Audiences) > 1 {
		opts = append(opts, room+".WithAudiences("+p.texts(o.Audiences[1:])+")")
	}
	if o.Leeway >= 0 {
		opts = append(opts, room+".WithSkew("+p.time(o.Leeway)+")")
	}
	return audience, opts
}

// tokens is the option that verifies tokens.
func (p *program) tokens(o *kongfile.OpenIDConnect) string {
	p.ours("oidc")
	asks := o.Introspection || o.Introspect.JWTs
	if len(o.Issuers) == 1 && !asks && !o.ClientCredentials {
		audience, opts := p.checks(o, "oidc", o.Issuer)
		return "middleware.WithTokens(" + call("oidc.New", append([]string{p.text(o.Issuer), audience}, append(p.issuerOptions(o, o.Issuer), opts...)...)...) + ")"
	}
	var verifiers []string
	for _, issuer := range o.Issuers {
		audience, opts := p.checks(o, "oidc", issuer)
		if issuer == o.Issuer {
			verifiers = append(verifiers, call(p.issuer(o)+".Verifier", append([]string{audience}, opts...)...))
		} else {
			verifiers = append(verifiers, call("oidc.New", append([]string{p.text(issuer), audience}, append(p.issuerOptions(o, issuer), opts...)...)...))
		}
	}
	if !asks {
		if len(verifiers) == 1 {
			return "middleware.WithTokens(" + verifiers[0] + ")"
		}
		for i := range verifiers {
			verifiers[i] = "must(" + verifiers[i] + ")"
		}
		return "middleware.WithTokens(" + call("oidc.AnyOf", verifiers...) + ")"
	}
	introspector := p.introspector(o)
	if o.Introspection && !o.Bearer {
		return "middleware.WithTokens(" + introspector + ")"
	}
	v := p.variable("opaque")
	p.say("%s := must(%s)", v, introspector)
	jwts := "must(" + verifiers[0] + ")"
	switch {
	case o.Introspect.JWTs && o.Introspection:
		return fmt.Sprintf("middleware.WithTokens(introspect.OrElse(must(introspect.Then(%s, %s)), %s))", jwts, v, v)
	case o.Introspect.JWTs:
		return fmt.Sprintf("middleware.WithTokens(introspect.Then(%s, %s))", jwts, v)
	}
	return fmt.Sprintf("middleware.WithTokens(introspect.OrElse(%s, %s))", jwts, v)
}

// issuer returns the variable of the issuer, which several parts share, and writes the
// statement that makes it unless another plugin has.
func (p *program) issuer(o *kongfile.OpenIDConnect) string {
	made := call("oidc.NewIssuer", append([]string{p.text(o.Issuer)}, p.issuerOptions(o, o.Issuer)...)...)
	if p.issuers[made] == "" {
		p.issuers[made] = p.variable("issuer")
		p.say("%s := must(%s)", p.issuers[made], made)
	}
	return p.issuers[made]
}

func (p *program) introspector(o *kongfile.OpenIDConnect) string {
	p.ours("oidc/introspect")
	audience, opts := p.checks(o, "introspect", o.Issuer)
	i := &o.Introspect
	add := func(format string, args ...any) { opts = append(opts, fmt.Sprintf("introspect."+format, args...)) }
	if i.Endpoint != "" {
		add("WithEndpoint(%s)", p.text(i.Endpoint))
	}
	if i.SignedAnswers {
		add("RequireSigned()")
	}
	switch {
	case !i.Remember:
		add("WithAnswerLifetime(0), introspect.WithRefusalLifetime(0)")
	default:
		if i.Lifetime >= 0 {
			add("WithAnswerLifetime(%s)", p.time(i.Lifetime))
		}
		if i.Refusal >= 0 {
			add("WithRefusalLifetime(%s)", p.time(i.Refusal))
		}
		if i.Stale > 0 {
			add("WithStaleAnswers(%s)", p.time(i.Stale))
		}
	}
	return call("introspect.New", append([]string{p.issuer(o), audience, p.clientAuth(o, cmp.Or(i.Auth, o.Client.Auth))}, opts...)...)
}

func (p *program) clientAuth(o *kongfile.OpenIDConnect, method string) string {
	p.ours("oidc/clientauth")
	id := p.text(o.Client.ID)
	alg := ""
	if o.Client.Algorithm != "" {
		alg = fmt.Sprintf(", clientauth.WithAlgorithm(%q)", o.Client.Algorithm)
	}
	switch method {
	case "client_secret_basic":
		return fmt.Sprintf("clientauth.SecretBasic(%s, %s)", id, p.secret(o.Client.Secret, "CLIENT_SECRET"))
	case "client_secret_post":
		return fmt.Sprintf("clientauth.SecretPost(%s, %s)", id, p.secret(o.Client.Secret, "CLIENT_SECRET"))
	case "client_secret_jwt":
		return fmt.Sprintf("clientauth.SecretJWT(%s, %s%s)", id, p.secret(o.Client.Secret, "CLIENT_SECRET"), alg)
	case "tls_client_auth", "self_signed_tls_client_auth":
		p.std("crypto/tls")
		p.needs = append(p.needs, "client.crt and client.key, the certificate of tls_client_auth_cert_id")
		v := p.variable("certificate")
		p.say("%s := must(tls.LoadX509KeyPair(\"client.crt\", \"client.key\"))", v)
		name := map[string]string{"tls_client_auth": "TLS", "self_signed_tls_client_auth": "SelfSignedTLS"}[method]
		return fmt.Sprintf("clientauth.%s(%s, func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &%s, nil })", name, id, v)
	case "private_key_jwt":
		p.std("crypto")
		p.std("crypto/x509")
		p.std("encoding/pem")
		p.std("os")
		p.needs = append(p.needs, "client-key.pem, the private key of the client at the issuer (PKCS #8); /openid-connect/jwks publishes the other half")
		if !p.names["keys"] { // one key for all plugins
			block, keys := p.variable("block"), p.variable("keys")
			p.say("%s, _ := pem.Decode(must(os.ReadFile(\"client-key.pem\")))", block)
			p.say("%s := must(clientauth.NewKeys(clientauth.Key{Signer: must(x509.ParsePKCS8PrivateKey(%s.Bytes)).(crypto.Signer)}))", keys, block)
			p.say("http.Handle(\"GET /openid-connect/jwks\", %s)", keys)
		}
		return fmt.Sprintf("clientauth.PrivateKeyJWT(%s, keys%s)", id, alg)
	}
	return fmt.Sprintf("clientauth.Public(%s)", id)
}

func (p *program) exchange(o *kongfile.OpenIDConnect) []string {
	p.ours("oidc/exchange")
	var opts []string
	add := func(format string, args ...any) { opts = append(opts, fmt.Sprintf("exchange."+format, args...)) }
	g := &o.Grant
	if g.Endpoint != "" {
		add("WithEndpoint(%s)", p.text(g.Endpoint))
	}
	if len(g.Scopes) > 0 {
		add("WithScopes(%s)", p.texts(g.Scopes))
	}
	for _, audience := range g.Audience {
		add("WithParameter(\"audience\", %s)", p.text(audience))
	}
	for _, parameter := range g.Parameters {
		add("WithParameter(%q, %s)", parameter[0], p.text(parameter[1]))
	}
	if g.SecretInBody {
		add("SendSecretInBody()")
	}
	if g.TokenLifetime > 0 {
		add("WithTokenLifetime(%s)", p.time(g.TokenLifetime))
	}
	made := []string{"middleware.WithExchange(" + call("exchange.New", append([]string{p.issuer(o)}, opts...)...) + ")"}
	if !o.Bearer && !o.Introspection {
		made = append(made, "middleware.RequireExchange()")
	}
	if !o.ValidateMethods {
		made = append(made, "middleware.DangerouslyExemptExchange()")
	}
	return made
}

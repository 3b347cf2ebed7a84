package doctor

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/keybound-go/middleware/cmd/keybound/internal/pen"
	"github.com/keybound-go/middleware/cmd/keybound/internal/profile"
	"github.com/keybound-go/middleware/cmd/keybound/internal/wire"
	"github.com/keybound-go/middleware/oidc"
)

// issuer looks at the issuer's metadata and keys, as the service does.
func (c *Config) issuer(ctx context.Context) error {
	if c.Issuer == "" {
		c.skip("issuer", "--issuer does not say which")
		return nil
	}
	u, err := url.Parse(c.Issuer)
	if err != nil || u.Host == "" {
		return fmt.Errorf("%q is not a URL", c.Issuer)
	}
	if u.Scheme != "https" {
		c.finding("issuer/https", "warning", "the issuer is not https", "Serve the issuer over https; for development, oidc.DangerouslyAllowLoopbackHTTP or another setting of that name.")
	}
	origin, path := u.Scheme+"://"+u.Host, strings.TrimSuffix(u.EscapedPath(), "/")
	var problems []error
	for _, at := range []string{origin + path + "/.well-known/openid-configuration", origin + "/.well-known/oauth-authorization-server" + path} {
		doc, err := c.fetch(ctx, at)
		if err != nil {
			problems = append(problems, err)
			continue
		}
		c.judgeMetadata(ctx, at, doc)
		return nil
	}
	c.finding("issuer/metadata", "error", "there is no metadata: "+errors.Join(problems...).Error(),
		"The identifier must be the one in iss, to the letter: compare the slash at its end, and the realm. oidc.WithMetadataURL names another place; --cacert names the CA.")
	return nil
}

func (c *Config) judgeMetadata(ctx context.Context, at string, doc map[string]any) {
	if doc["issuer"] != c.Issuer {
		c.finding("issuer/identifier", "error", fmt.Sprintf("%s is the document of %v", at, doc["issuer"]), fmt.Sprintf("Give oidc.New the issuer as the document spells it: %v (RFC 8414, section 3.3).", doc["issuer"]))
		return
	}
	c.pass("issuer/metadata", "%s", at)
	jwks, _ := doc["jwks_uri"].(string)
	set, err := c.fetch(ctx, jwks)
	if err != nil {
		c.finding("issuer/keys", "error", "the keys cannot be had: "+err.Error(), "The service must reach jwks_uri too: firewall, proxy (HTTPS_PROXY) or CA.")
		return
	}
	list, _ := set["keys"].([]any)
	usable, problems := 0, []string(nil)
	for _, k := range list {
		jwk, _ := k.(map[string]any)
		if jwk["use"] == "enc" {
			continue
		}
		if _, err := pen.ParsePublic(jwk); err != nil {
			problems = append(problems, fmt.Sprintf("%v: %s", jwk["kid"], strings.TrimPrefix(err.Error(), "pen: ")))
			continue
		}
		usable++
		if jwk["d"] != nil {
			c.finding("issuer/keys", "error", fmt.Sprintf("the key %v is published with its private part", jwk["kid"]), "Replace the key at the issuer at once: anyone can sign tokens with it.")
		}
	}
	if usable == 0 {
		c.finding("issuer/keys", "error", "no published key can verify a signature: "+strings.Join(problems, "; "), "The issuer must publish a public signing key: EC P-256, P-384, P-521, RSA from 2048 bits, or Ed25519.")
		return
	}
	text := fmt.Sprintf("%d usable", usable)
	if len(problems) > 0 {
		text += ", not usable: " + strings.Join(problems, "; ")
	}
	c.pass("issuer/keys", "%s", text)
}

func (c *Config) fetch(ctx context.Context, at string) (map[string]any, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, at, nil)
	if err != nil {
		return nil, err
	}
	res, err := c.HTTP.Do(r)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s answers %s", at, res.Status)
	}
	var doc map[string]any
	if err := json.NewDecoder(io.LimitReader(res.Body, 1<<20)).Decode(&doc); err != nil {
		return nil, fmt.Errorf("%s: %w", at, err)
	}
	return doc, nil
}

// token looks into the client's own token, which a client other than this one has no
// business to do (RFC 9068, section 6).
func (c *Config) token(_ context.Context) error {
	for id, raw := range map[string]string{"token/dpop": c.Token, "token/certificate": c.CertificateToken} {
		if raw == "" {
			continue
		}
		claims, isJWT := decodeJWT(raw)
		if !isJWT {
			c.pass(id, "opaque: the service needs introspection (oidc/introspect)")
			continue
		}
		c.judgeToken(id, raw, claims)
	}
	return nil
}

func decodeJWT(raw string) (claims map[string]any, ok bool) {
	parts := strings.Split(raw, ".")
	if len(parts) != 3 {
		return nil, false
	}
	text, err := base64.RawURLEncoding.DecodeString(parts[1])
	return claims, err == nil && json.Unmarshal(text, &claims) == nil
}

func (c *Config) judgeToken(id, raw string, claims map[string]any) {
	before := len(c.findings)
	if iss, _ := claims["iss"].(string); c.Issuer != "" && iss != c.Issuer {
		c.finding(id+"/issuer", "error", fmt.Sprintf("iss is %q, not %q", iss, c.Issuer), "Give oidc.New the issuer as the token spells it, to the letter.")
	}
	var aud []string
	switch v := claims["aud"].(type) {
	case string:
		aud = []string{v}
	case []any:
		for _, a := range v {
			s, _ := a.(string)
			aud = append(aud, s)
		}
	}
	if c.Audience != "" && !slices.Contains(aud, c.Audience) {
		c.finding(id+"/audience", "error", fmt.Sprintf("aud is %q and does not name %q", aud, c.Audience),
			"The issuer must put the service into aud: ask with --resource or --audience; in Keycloak, an audience mapper at the client; then oidc.New(issuer, audience) takes the same.")
	}
	cnf, _ := claims["cnf"].(map[string]any)
	if id == "token/dpop" {
		jkt, _ := cnf["jkt"].(string)
		switch {
		case jkt == "":
			c.finding(id+"/binding", "error", "the token is not bound to the key: it has no cnf.jkt", "The token request must carry a proof (keybound call --key --issuer), and the issuer must have DPoP switched on for the client.")
		case c.Key != nil && jkt != c.Key.Thumbprint():
			c.finding(id+"/binding", "error", "the token is bound to another key than --key", "Use the key that was used to obtain the token.")
		}
	} else if x5t, _ := cnf["x5t#S256"].(string); x5t == "" || c.Certificate != nil && x5t != pen.CertificateThumbprint(c.Certificate.Certificate[0]) {
		c.finding(id+"/binding", "error", "the token is not bound to the certificate of --cert", "Obtain the token over the same certificate, from the issuer's mTLS alias, with certificate-bound tokens switched on for the client.")
	}
	fits, advice, err := profile.Fits(raw, oidc.RFC9068)
	switch {
	case len(c.findings) != before || err != nil:
	case fits:
		c.pass(id, "needs no profile: it is as RFC 9068 has it")
	default:
		c.pass(id, "%s", advice)
	}
}

// resourceMetadata looks at the document of RFC 9728.
func (c *Config) resourceMetadata(ctx context.Context) error {
	res, err := c.send(ctx, nil, c.bare())
	if err != nil {
		return err
	}
	challenges, _ := wire.Challenges(res.Header)
	pointed := ""
	for _, ch := range challenges {
		if m := ch.Get("resource_metadata"); m != "" {
			pointed = m
		}
	}
	target := "/.well-known/oauth-protected-resource"
	if c.path != "/" {
		target += c.path
	}
	if pointed != "" {
		u, err := url.Parse(pointed)
		if err != nil || u.Host != c.Target.Host || u.Scheme != c.Target.Scheme {
			c.finding("resource-metadata", "error", "resource_metadata in the challenge is "+pointed+", which is another origin than the service's", "Give ProtectedResource.Identifier as clients call the resource.")
			return nil
		}
		target = u.EscapedPath()
	}
	doc := make(map[string]any)
	res = c.try(ctx, nil, wire.Request{Method: "GET", Target: target})
	if json.Unmarshal(res.Body, &doc) != nil || res.Status != 200 {
		if pointed != "" {
			c.finding("resource-metadata", "error", fmt.Sprintf("the challenge points to %s, which answers %s", pointed, describe(res)), "Serve the document outside of the guard: mux.Handle(guard.Metadata()). A proxy must let /.well-known/ pass.")
		} else {
			c.skip("resource-metadata", "the service does not describe itself (middleware.WithProtectedResource)")
		}
		return nil
	}
	if pointed == "" {
		c.finding("resource-metadata", "warning", "the document exists and no challenge points to it", "middleware.WithProtectedResource puts resource_metadata into the challenges.")
	}
	servers, _ := doc["authorization_servers"].([]any)
	if c.Issuer != "" && len(servers) > 0 && !slices.Contains(servers, any(c.Issuer)) {
		c.finding("resource-metadata", "error", fmt.Sprintf("authorization_servers is %v and does not name %s", servers, c.Issuer), "ProtectedResource.AuthorizationServers must name the issuers whose tokens oidc.New takes.")
	}
	resource, _ := doc["resource"].(string)
	if want := c.htu(); strings.TrimSuffix(resource, "/") != strings.TrimSuffix(want, "/") {
		c.finding("resource-metadata", "warning", fmt.Sprintf("resource is %q, the request URL is %q", resource, want), "Strict clients want them to be the same (RFC 9728, section 3.3): a guard for each resource path (Guard.ForResource).")
	} else if pointed != "" {
		c.pass("resource-metadata", "%s", resource)
	}
	if c.Audience == "" {
		c.Audience = resource
	}
	return nil
}

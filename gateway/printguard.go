package main

import (
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"

	"github.com/keybound-go/middleware/gateway/kongfile"
)

// guard writes the statements that make the guard of a plugin, and returns its
// variable.
func (p *program) guard(o *kongfile.OpenIDConnect) string {
	v := p.variable("guard")
	if name, ok := p.fromEnv[o.Issuer]; ok && p.d.profile == nil && os.Getenv(name) == "" {
		p.say("// The tokens are those of RFC 9068. For Keycloak, add oidc.WithProfile(oidc.Keycloak), or tell print-go by -profile Keycloak.")
	}
	opts := []string{p.tokens(o)}
	if o.Proof.Mode != "off" {
		opts = append(opts, p.dpop(o))
	}
	if o.Certificate.Mode != "off" {
		opts = append(opts, p.mtls(o))
	}
	if o.Proof.Mode != "strict" && o.Certificate.Mode != "strict" {
		opts = append(opts, "middleware.AllowUnbound()")
	}
	if o.ClientCredentials {
		opts = append(opts, p.exchange(o)...)
	}
	if o.Sessions {
		opts = append(opts, p.session(o))
	}
	if rules := p.rules(o); len(rules) > 0 {
		opts = append(opts, "middleware.WithRules("+strings.Join(rules, ", ")+")")
	}
	if o.Resource != nil {
		opts = append(opts, p.resource(o.Resource))
	}
	if o.PassPreflights {
		opts = append(opts, "middleware.PassPreflights()")
	}
	if o.Given("unauthorized_error_message") || o.Given("forbidden_error_message") || o.DisplayErrors {
		opts = append(opts, fmt.Sprintf(`middleware.WithDenyHandler(func(w http.ResponseWriter, r *http.Request, d middleware.Denial) {
			text := map[int]string{401: %q, 403: %q}[d.Status]
			http.Error(w, text+" "+d.Description, d.Status)
		})`, o.Unauthorized, o.ForbiddenText))
	}
	if len(p.f.Services) > 0 {
		if o.Upstream.TokenHeader == "" {
			opts = append(opts, "middleware.HideCredentials()")
		} else {
			opts = append(opts, "middleware.ForwardBearer()")
		}
	}
	p.say("%s := must(middleware.New(\n\t\t%s,\n\t))", v, strings.Join(opts, ",\n\t\t"))
	return v
}

func (p *program) rules(o *kongfile.OpenIDConnect) (rules []string) {
	if o.Proof.Mode == "strict" {
		rules = append(rules, "middleware.DPoPBound()")
	}
	if o.Certificate.Mode == "strict" {
		rules = append(rules, "middleware.CertificateBound()")
	}
	for _, d := range o.Demands {
		var anyOf []string
		for _, words := range d.AnyOf {
			if d.Scopes {
				anyOf = append(anyOf, "middleware.Scopes("+quotedList(words)+")")
				continue
			}
			var allOf []string
			for _, word := range words {
				allOf = append(allOf, fmt.Sprintf("middleware.Claim([]string{%s}, %q)", quotedList(d.Claim), word))
			}
			if len(allOf) == 1 {
				anyOf = append(anyOf, allOf[0])
			} else {
				anyOf = append(anyOf, call("middleware.AllOf", allOf...))
			}
		}
		if len(anyOf) == 1 {
			rules = append(rules, anyOf[0])
		} else {
			rules = append(rules, call("middleware.AnyOf", anyOf...))
		}
	}
	if len(o.Forbidden) > 0 {
		p.std("encoding/json")
		rules = append(rules, fmt.Sprintf(`middleware.RuleFunc("claims_forbidden", func(_ *http.Request, c *middleware.Credential) bool {
			var claims map[string]json.RawMessage
			if c.Token.Claims(&claims) != nil {
				return false
			}
			for _, name := range []string{%s} {
				if _, ok := claims[name]; ok {
					return false
				}
			}
			return true
		})`, quotedList(o.Forbidden)))
	}
	if o.MaxAge > 0 {
		rules = append(rules, "middleware.StepUp("+p.time(o.MaxAge)+")")
	}
	return rules
}

func (p *program) session(o *kongfile.OpenIDConnect) string {
	p.ours("session")
	s := &o.Session
	opts := []string{"[]byte(" + p.secret(s.Secret, "SESSION_SECRET") + ")"}
	if s.Name != "" {
		opts = append(opts, fmt.Sprintf("session.WithCookieName(%q)", s.Name))
	}
	if s.Path != "/" {
		opts = append(opts, fmt.Sprintf("session.WithPath(%q)", s.Path))
	}
	if s.Domain != "" {
		opts = append(opts, fmt.Sprintf("session.WithDomain(%q)", s.Domain))
	}
	if s.SameSite != http.SameSiteLaxMode {
		opts = append(opts, map[http.SameSite]string{http.SameSiteStrictMode: "session.WithSameSite(http.SameSiteStrictMode)", http.SameSiteNoneMode: "session.WithSameSite(http.SameSiteNoneMode)"}[s.SameSite])
	}
	if o.Given("session_idling_timeout") {
		opts = append(opts, "session.WithIdleTimeout("+p.time(s.Idle)+")")
	}
	if o.Given("session_absolute_timeout") {
		opts = append(opts, "session.WithLifetime("+p.time(s.Lifetime)+")")
	}
	return "middleware.WithSession(" + call("session.New", opts...) + ")"
}

func (p *program) resource(r *kongfile.Resource) string {
	fields := []string{"Identifier: " + p.text(r.Identifier), "AuthorizationServers: []string{" + p.texts(r.AuthorizationServers) + "}"}
	if len(r.Scopes) > 0 {
		fields = append(fields, "Scopes: []string{"+quotedList(r.Scopes)+"}")
	}
	for name, value := range map[string]string{"Name": r.Name, "Documentation": r.Documentation, "JWKSURI": r.JWKSURI} {
		if value != "" {
			fields = append(fields, name+": "+p.text(value))
		}
	}
	slices.Sort(fields)
	return "middleware.WithProtectedResource(middleware.ProtectedResource{" + strings.Join(fields, ", ") + "})"
}

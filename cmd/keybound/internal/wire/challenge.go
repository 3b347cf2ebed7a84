package wire

import (
	"fmt"
	"net/http"
	"strings"
)

// Challenge is one element of WWW-Authenticate (RFC 9110, section 11.6.1). Names of
// parameters are in lower case.
type Challenge struct {
	Scheme string
	Params []Param
}

// Param is one auth-param with its value unquoted.
type Param struct{ Name, Value string }

// Get returns a parameter, "" if there is none.
func (c Challenge) Get(name string) string {
	for _, p := range c.Params {
		if p.Name == name {
			return p.Value
		}
	}
	return ""
}

// Has reports whether the challenge has the parameter.
func (c Challenge) Has(name string) bool {
	for _, p := range c.Params {
		if p.Name == name {
			return true
		}
	}
	return false
}

// Challenges reads all WWW-Authenticate fields of a response. problems are breaches
// of the grammar, in words; what could be read is returned nevertheless.
func Challenges(h http.Header) (found []Challenge, problems []string) {
	for _, line := range h.Values("WWW-Authenticate") {
		p := parser{rest: line}
		part, err := p.challenges()
		found = append(found, part...)
		if err != nil {
			problems = append(problems, err.Error())
		}
	}
	for _, c := range found {
		seen := make(map[string]bool)
		for _, p := range c.Params {
			if seen[p.Name] {
				problems = append(problems, fmt.Sprintf("parameter %s stands twice in one %s challenge", p.Name, c.Scheme))
			}
			seen[p.Name] = true
		}
	}
	return found, problems
}

// Find returns the first challenge of a scheme, by its name in any case.
func Find(all []Challenge, scheme string) (Challenge, bool) {
	for _, c := range all {
		if strings.EqualFold(c.Scheme, scheme) {
			return c, true
		}
	}
	return Challenge{}, false
}

const (
	alphanumeric = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
	tchar        = alphanumeric + "!#$%&'*+-.^_`|~"
	token68      = alphanumeric + "-._~+/"
)

type parser struct{ rest string }

func (p *parser) blank() { p.rest = strings.TrimLeft(p.rest, " \t") }

func (p *parser) token() string {
	after := strings.TrimLeft(p.rest, tchar)
	token := p.rest[:len(p.rest)-len(after)]
	p.rest = after
	return token
}

func (p *parser) challenges() (found []Challenge, err error) {
	for {
		p.rest = strings.TrimLeft(p.rest, " \t,")
		if p.rest == "" {
			return found, nil
		}
		name := p.token()
		if name == "" {
			return found, fmt.Errorf("WWW-Authenticate cannot be read from %q on", short(p.rest))
		}
		if len(found) > 0 && strings.HasPrefix(strings.TrimLeft(p.rest, " \t"), "=") {
			if err := p.param(&found[len(found)-1], name); err != nil {
				return found, err
			}
			continue
		}
		found = append(found, Challenge{Scheme: name})
		p.blank()
		if p.rest == "" || p.rest[0] == ',' {
			continue
		}
		if p.skipToken68() {
			continue
		}
		first := p.token()
		if first == "" || !strings.HasPrefix(strings.TrimLeft(p.rest, " \t"), "=") {
			return found, fmt.Errorf("after the scheme %s stands neither a parameter nor a token68", name)
		}
		if err := p.param(&found[len(found)-1], first); err != nil {
			return found, err
		}
	}
}

// skipToken68 drops a token68, such as that of Negotiate.
func (p *parser) skipToken68() bool {
	after := strings.TrimLeft(strings.TrimLeft(p.rest, token68), "=")
	trimmed := strings.TrimLeft(after, " \t")
	if trimmed != "" && trimmed[0] != ',' {
		return false
	}
	p.rest = trimmed
	return true
}

func (p *parser) param(c *Challenge, name string) error {
	p.blank()
	p.rest = strings.TrimPrefix(p.rest, "=")
	p.blank()
	value, err := p.value(name)
	if err != nil {
		return err
	}
	c.Params = append(c.Params, Param{strings.ToLower(name), value})
	p.blank()
	if p.rest != "" && p.rest[0] != ',' {
		return fmt.Errorf("after the parameter %s no comma follows", name)
	}
	return nil
}

func (p *parser) value(name string) (string, error) {
	if !strings.HasPrefix(p.rest, `"`) {
		if value := p.token(); value != "" {
			return value, nil
		}
		return "", fmt.Errorf("parameter %s has no value", name)
	}
	var b strings.Builder
	for i := 1; i < len(p.rest); i++ {
		switch c := p.rest[i]; {
		case c == '"':
			p.rest = p.rest[i+1:]
			return b.String(), nil
		case c == '\\' && i+1 < len(p.rest):
			i++
			b.WriteByte(p.rest[i])
		default:
			b.WriteByte(c)
		}
	}
	return "", fmt.Errorf("the quoted value of parameter %s has no end", name)
}

func short(s string) string {
	if len(s) > 20 {
		return s[:20] + "..."
	}
	return s
}

// Explain says in words what a refusal means and what the caller can do about it.
func Explain(status int, h http.Header) []string {
	var words []string
	found, problems := Challenges(h)
	for _, c := range found {
		words = append(words, c.words())
	}
	for _, p := range problems {
		words = append(words, "The challenge breaks the grammar: "+p+".")
	}
	if status == http.StatusServiceUnavailable {
		line := "The service can decide nothing at present (503). The token may be good: keep it and try again"
		if after := h.Get("Retry-After"); after != "" {
			line += " in " + after + " s"
		}
		words = append(words, line+".")
	}
	if status == http.StatusUnauthorized && len(found) == 0 {
		words = append(words, "The response is 401 without a challenge, which RFC 9110, section 15.5.2, does not allow: this may be a proxy, not the service.")
	}
	return words
}

var meanings = map[string]string{
	"invalid_token":                    "the access token is expired, revoked, made for another service, or not bound to this key or certificate: get a new one with the same key",
	"invalid_dpop_proof":               "the DPoP proof was refused: compare its htm, htu, iat and ath with the request (keybound explain)",
	"use_dpop_nonce":                   "the service wants the nonce from DPoP-Nonce in the proof: send the request again with it",
	"insufficient_scope":               "the token lacks a scope",
	"invalid_request":                  "the request is malformed: exactly one token, in one Authorization field",
	"insufficient_user_authentication": "the user has to authenticate again, or more strongly (RFC 9470)",
}

func (c Challenge) words() string {
	code := c.Get("error")
	line := "The service accepts " + c.Scheme
	if code != "" {
		meaning, known := meanings[code]
		if !known {
			meaning = "error " + code
		}
		line = c.Scheme + ": " + meaning
		if d := c.Get("error_description"); d != "" {
			line += ` ("` + d + `")`
		}
	}
	if s := c.Get("scope"); s != "" {
		line += "; scope wanted: " + s
	}
	if a := c.Get("algs"); a != "" {
		line += "; proofs may be signed with " + a
	}
	if a := c.Get("acr_values"); a != "" {
		line += "; acr wanted: " + a
	}
	if m := c.Get("max_age"); m != "" {
		line += "; authentication not older than " + m + " s"
	}
	if m := c.Get("resource_metadata"); m != "" {
		line += "; the service describes itself at " + m
	}
	return line + "."
}

package dpopclient

import "strings"

// A challenge is one element of WWW-Authenticate (RFC 9110, section 11.6.1).
type challenge struct {
	scheme string
	params []param
}

// A param is one auth-param; its value is unquoted.
type param struct{ name, value string }

// param returns the value of the parameter called name. A name that occurs twice,
// which RFC 9110, section 11.2 forbids, has no value.
func (c challenge) param(name string) string {
	value, seen := "", false
	for _, p := range c.params {
		if !strings.EqualFold(p.name, name) {
			continue
		}
		if seen {
			return ""
		}
		value, seen = p.value, true
	}
	return value
}

// asksForNonce reports whether one of the DPoP challenges among the field lines
// has the error use_dpop_nonce. An error under another scheme is not DPoP's.
func asksForNonce(lines []string) bool {
	for _, line := range lines {
		for _, c := range parseChallenges(line) {
			if strings.EqualFold(c.scheme, "DPoP") && c.param("error") == nonceError {
				return true
			}
		}
	}
	return false
}

// parseChallenges reads one field line. It is total, and takes linear time: what
// is not a challenge or a parameter is skipped up to the next comma, and costs the
// elements around it nothing. A line stands for itself, so that a quote left open
// in one cannot swallow the next.
func parseChallenges(line string) []challenge {
	var found []challenge
	p := parser{rest: line}
	for {
		p.skip(" \t,")
		if p.rest == "" {
			return found
		}
		name := p.token()
		switch {
		case name == "":
			// Not an element at all.
		case p.startsParam():
			p.paramInto(found, name)
		default:
			// A scheme that runs on into other characters is an unknown one.
			found = append(found, challenge{scheme: name + p.until(" \t,")})
			if p.schemeData(found) {
				continue // the challenge's first parameter follows without a comma
			}
		}
		p.toComma()
	}
}

// A parser consumes a field line from its front.
type parser struct{ rest string }

func (p *parser) skip(cutset string) { p.rest = strings.TrimLeft(p.rest, cutset) }

func (p *parser) token() string {
	rest := strings.TrimLeft(p.rest, tchar)
	token := p.rest[:len(p.rest)-len(rest)]
	p.rest = rest
	return token
}

func (p *parser) until(stops string) string {
	n := strings.IndexAny(p.rest, stops)
	if n < 0 {
		n = len(p.rest)
	}
	text := p.rest[:n]
	p.rest = p.rest[n:]
	return text
}

// startsParam reports whether the token just read is the name of a parameter:
// "=" follows, with optional bad white space before it.
func (p *parser) startsParam() bool {
	return strings.HasPrefix(strings.TrimLeft(p.rest, " \t"), "=")
}

// paramInto reads `= value` and adds it to the last challenge. A parameter before
// any scheme, or with a broken value, is dropped.
func (p *parser) paramInto(found []challenge, name string) {
	p.skip(" \t")
	p.rest = strings.TrimPrefix(p.rest, "=")
	p.skip(" \t")
	value, ok := p.value()
	p.skip(" \t")
	ok = ok && (p.rest == "" || p.rest[0] == ',')
	if !ok || len(found) == 0 {
		return
	}
	last := &found[len(found)-1]
	last.params = append(last.params, param{name, value})
}

// schemeData looks at what follows a scheme: a token68 is dropped, and more reports
// whether parameters follow.
func (p *parser) schemeData(found []challenge) (more bool) {
	blank := strings.TrimLeft(p.rest, " \t")
	if len(blank) == len(p.rest) || blank == "" || blank[0] == ',' {
		return false
	}
	p.rest = blank
	after := strings.TrimLeft(blank, token68)
	after = strings.TrimLeft(strings.TrimLeft(after, "="), " \t")
	if after == "" || after[0] == ',' {
		p.rest = after
		return false
	}
	// Only a parameter may follow a scheme without a comma: a second token is not
	// the next scheme.
	next := parser{rest: blank}
	return next.token() != "" && next.startsParam()
}

// value reads a token or a quoted-string; ok is false if it is neither.
func (p *parser) value() (value string, ok bool) {
	if !strings.HasPrefix(p.rest, `"`) {
		value = p.token()
		return value, value != ""
	}
	var b strings.Builder
	for i := 1; i < len(p.rest); i++ {
		switch c := p.rest[i]; {
		case c == '"':
			p.rest = p.rest[i+1:]
			return b.String(), true
		case c == '\\' && i+1 < len(p.rest):
			i++
			b.WriteByte(p.rest[i])
		default:
			b.WriteByte(c)
		}
	}
	p.rest = ""
	return "", false
}

// toComma drops the rest of a broken element, minding quotes.
func (p *parser) toComma() {
	for p.rest != "" && p.rest[0] != ',' {
		if p.rest[0] == '"' {
			p.value()
			continue
		}
		p.rest = p.rest[1:]
	}
}

const (
	alphanumeric = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
	token68      = alphanumeric + "-._~+/"          // RFC 9110, section 11.2.
	tchar        = alphanumeric + "!#$%&'*+-.^_`|~" // RFC 9110, section 5.6.2.
)

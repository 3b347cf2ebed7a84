package kongfile

import (
	"cmp"
	"net/http"
	"strings"
	"time"
)

// Session is how a session is kept.
type Session struct {
	Secret       string
	Name         string // of the cookie; "" for one by default, see Cookie
	Path, Domain string
	SameSite     http.SameSite
	Idle         time.Duration // 0: the library's, which is Kong's
	Lifetime     time.Duration // 0: the library's, which is Kong's
	suffix       string        // of the name by default, where another plugin has it too
}

// minSessionSecret is what package session demands of a key.
const minSessionSecret = 32

func (p *OpenIDConnect) readSession() {
	if !p.Sessions {
		for _, key := range p.m.keys {
			if k := p.m.known[key.Value]; strings.HasPrefix(key.Value, "session_") && k != nil && k.Values != "" && p.Given(key.Value) {
				p.Wrong(key.Value, "needs session among the auth_methods")
			}
		}
		return
	}
	m, s := p.m, &p.Session
	s.Secret = m.text("session_secret", "")
	s.Name = m.text("session_cookie_name", "")
	s.Path = m.text("session_cookie_path", "/")
	s.Domain = m.text("session_cookie_domain", "")
	s.SameSite = map[string]http.SameSite{"Strict": http.SameSiteStrictMode, "None": http.SameSiteNoneMode}[m.oneOf("session_cookie_same_site", "Lax", "Strict", "Lax", "None")]
	s.SameSite = cmp.Or(s.SameSite, http.SameSiteLaxMode)
	s.Idle = m.duration("session_idling_timeout", time.Second, 0)
	s.Lifetime = m.duration("session_absolute_timeout", time.Second, 0)
	m.mustBe("session_cookie_http_only", true, "a script that is injected into a page could read the cookie")
	m.mustBe("session_cookie_secure", true, "an attacker on the path could copy the cookie")
	m.mustBe("session_remember", false, "a session ends with its token, and users do not log in here")
	if storage := m.text("session_storage", "cookie"); storage != "" && storage != "cookie" {
		p.Wrong("session_storage", "%q is not supported: a session is in its cookie, and there is nothing to store; it can be cookie", storage)
	}
	switch n := len(s.Secret); {
	case !p.Given("session_secret"):
		p.Wrong("auth_methods", "session needs a session_secret")
	case n > 0 && n < minSessionSecret:
		p.Wrong("session_secret", "has %d bytes: %d or more are needed, from a cryptographic random source", n, minSessionSecret)
	}
	if !p.Bearer && !p.Introspection {
		p.Wrong("auth_methods", "session needs bearer or introspection beside it: a session begins with a token")
	}
}

// checkSessions finds plugins that would read, overwrite or cut off each other's
// cookies: a session that one of them has begun would pass by the other's rules, or
// end with the other's. Where both have the name by default, they get names of their
// own instead.
func (f *File) checkSessions() {
	var before []*Plugin
	for _, p := range f.Attached {
		if p.OpenID == nil || !p.Enabled || !p.OpenID.Sessions || p.OpenID.Session.Secret == "" {
			continue
		}
		found := len(f.Problems.list)
		for _, other := range before {
			p.checkSessionBeside(other)
		}
		p.Broken = p.Broken || len(f.Problems.list) > found
		before = append(before, p)
	}
}

func (p *Plugin) checkSessionBeside(other *Plugin) {
	mine, its := &p.OpenID.Session, &other.OpenID.Session
	name := mine.cookie()
	switch {
	case isPartName(name, its.cookie()), isPartName(its.cookie(), name):
		p.OpenID.Wrong("session_cookie_name", "another plugin's long sessions have cookies of that name")
	case name != its.cookie():
	case mine.Secret == its.Secret:
		p.OpenID.Wrong("session_secret", "another plugin has the same one and the same cookie; each needs its own")
	case mine.Domain == its.Domain && !within(mine.Path, its.Path) && !within(its.Path, mine.Path):
		// A browser keeps the two apart and sends each where it belongs.
	case mine.Name == "" && p.target != "":
		mine.suffix = "_" + onlyToken(p.target)
	case its.Name == "" && other.target != "":
		its.suffix = "_" + onlyToken(other.target)
	default:
		p.OpenID.Wrong("session_cookie_name", "another plugin (%s) has the cookie %q too, and each would end the sessions of the other; give each plugin a session_cookie_name of its own", other.Place(), name)
	}
}

// onlyToken replaces what the name of a cookie cannot have.
func onlyToken(s string) string {
	return strings.Map(func(r rune) rune {
		if isToken(string(r)) && r != '-' {
			return r
		}
		return '_'
	}, s)
}

// within reports whether a cookie with the one path is sent to the other
// (RFC 6265, section 5.1.4).
func within(path, of string) bool {
	return path == of || strings.HasPrefix(path, strings.TrimSuffix(of, "/")+"/")
}

// isPartName reports whether a cookie with that name may be a further part of another.
func isPartName(name, of string) bool {
	rest, ok := strings.CutPrefix(name, of)
	return ok && len(rest) == 2 && rest[0] == '-' && '0' <= rest[1] && rest[1] <= '9'
}

// Cookie is the name of the cookie of a session.
func (s *Session) Cookie() string { return s.cookie() + s.suffix }

// cookie is the name, were this plugin the only one.
func (s *Session) cookie() string {
	const host, secure = "__Host-session", "__Secure-session" // as package session names it
	switch {
	case s.Name != "":
		return s.Name
	case s.Domain != "" || s.Path != "/":
		return secure
	}
	return host
}

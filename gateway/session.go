package main

import (
	"cmp"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/keybound-go/middleware/session"
)

// cookies are how a session is kept.
type cookies struct {
	session                  bool // a cookie may stand for a token
	key                      string
	cookieName               string // "" for the library's
	cookiePath, cookieDomain string
	sameSite                 http.SameSite
	idle, lifetime           time.Duration // 0: the library's, which are Kong's
}

// minSessionSecret is what package session demands of a key.
const minSessionSecret = 32

func (p *openIDConnect) readSession() {
	if !p.cookies.session {
		for _, key := range p.mapping.keys {
			if strings.HasPrefix(key.Value, "session_") && p.has(key.Value) {
				p.wrong(key.Value, "needs session among the auth_methods")
			}
		}
		return
	}
	p.cookies.key = p.text("session_secret", "")
	p.cookieName = p.text("session_cookie_name", "")
	p.cookiePath = p.text("session_cookie_path", "/")
	p.cookieDomain = p.text("session_cookie_domain", "")
	p.sameSite = map[string]http.SameSite{"Strict": http.SameSiteStrictMode, "None": http.SameSiteNoneMode}[p.oneOf("session_cookie_same_site", "Lax", "Strict", "Lax", "None")]
	p.sameSite = cmp.Or(p.sameSite, http.SameSiteLaxMode)
	p.idle = p.duration("session_idling_timeout", time.Second, 0)
	p.cookies.lifetime = p.duration("session_absolute_timeout", time.Second, 0)
	p.mustBe("session_cookie_http_only", true, "a script that is injected into a page could read the cookie")
	p.mustBe("session_cookie_secure", true, "anybody on the path could copy the cookie")
	p.mustBe("session_remember", false, "a session ends with its token, and users do not log in here")
	if s := p.text("session_storage", "cookie"); s != "" && s != "cookie" {
		p.wrong("session_storage", "%q is not supported: a session is in its cookie, and there is nothing to store; it can be cookie", s)
	}
	switch n := len(p.cookies.key); {
	case !p.has("session_secret"):
		p.wrong("auth_methods", "session needs a session_secret")
	case n > 0 && n < minSessionSecret:
		p.wrong("session_secret", "has %d octets: %d or more are needed, from a cryptographic random source", n, minSessionSecret)
	}
	if !p.bearer && !p.introspection {
		p.wrong("auth_methods", "session needs bearer or introspection beside it: a session begins with a token")
	}
}

func (p *openIDConnect) newSessions() (*session.Sessions, error) {
	opts := []session.Option{session.WithSameSite(p.sameSite), session.WithPath(p.cookiePath)}
	if p.cookieName != "" {
		opts = append(opts, session.WithCookieName(p.cookieName))
	}
	if p.cookieDomain != "" {
		opts = append(opts, session.WithDomain(p.cookieDomain))
	}
	if p.has("session_idling_timeout") {
		opts = append(opts, session.WithIdleTimeout(p.idle))
	}
	if p.has("session_absolute_timeout") {
		opts = append(opts, session.WithLifetime(p.cookies.lifetime))
	}
	return session.New([]byte(p.cookies.key), opts...)
}

// checkSessions finds plugins that would read each other's cookies: a session that
// one of them has begun would pass by the other's rules, or fail by them.
func (c *configuration) checkSessions() {
	var before []*openIDConnect
	for _, p := range c.attached {
		if p.openID == nil || !p.enabled || !p.openID.cookies.session || p.openID.cookies.key == "" {
			continue
		}
		same := func(other *openIDConnect) bool {
			return other.cookies.key == p.openID.cookies.key && other.cookie() == p.openID.cookie()
		}
		if slices.ContainsFunc(before, same) {
			p.openID.wrong("session_secret", "another plugin has the same one and the same cookie; each needs its own")
			p.broken = true
		}
		overlaps := func(other *openIDConnect) bool {
			return isPartName(p.openID.cookie(), other.cookie()) || isPartName(other.cookie(), p.openID.cookie())
		}
		if slices.ContainsFunc(before, overlaps) {
			p.openID.wrong("session_cookie_name", "another plugin's long sessions have cookies of that name")
			p.broken = true
		}
		before = append(before, p.openID)
	}
}

// isPartName reports whether a cookie with that name may be a further part of another.
func isPartName(name, of string) bool {
	rest, ok := strings.CutPrefix(name, of)
	return ok && len(rest) == 2 && rest[0] == '-' && '0' <= rest[1] && rest[1] <= '9'
}

// cookie is the name of the cookie.
func (p *openIDConnect) cookie() string {
	const host, secure = "__Host-session", "__Secure-session" // as package session names it
	switch {
	case p.cookieName != "":
		return p.cookieName
	case p.cookieDomain != "" || p.cookiePath != "/":
		return secure
	}
	return host
}

package main

import (
	"github.com/keybound-go/middleware/gateway/kongfile"
	"github.com/keybound-go/middleware/session"
)

// newSessions makes the sessions of one plugin.
func newSessions(p *kongfile.OpenIDConnect) (*session.Sessions, error) {
	s := &p.Session
	opts := []session.Option{session.WithSameSite(s.SameSite), session.WithPath(s.Path)}
	if s.Name != "" || s.Cookie() != (&kongfile.Session{Path: s.Path, Domain: s.Domain}).Cookie() {
		opts = append(opts, session.WithCookieName(s.Cookie()))
	}
	if s.Domain != "" {
		opts = append(opts, session.WithDomain(s.Domain))
	}
	if p.Given("session_idling_timeout") {
		opts = append(opts, session.WithIdleTimeout(s.Idle))
	}
	if p.Given("session_absolute_timeout") {
		opts = append(opts, session.WithLifetime(s.Lifetime))
	}
	return session.New([]byte(s.Secret), opts...)
}

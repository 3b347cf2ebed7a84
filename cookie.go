package middleware

import (
	"net/http"

	"github.com/keybound-go/middleware/session"
)

// readSession takes the credentials from the session, for a request without an
// Authorization field.
func (g *Guard) readSession(r *http.Request) (sent credentials, err error) {
	s, err := g.sessions.Read(r)
	switch err {
	case nil:
	case session.ErrCrossOrigin:
		return sent, ErrCrossOrigin
	default:
		return sent, ErrNoCredentials
	}
	sent = credentials{scheme: schemeBearer, raw: s.Token, session: true}
	if s.Scheme == schemeDPoP.String() {
		sent.scheme = schemeDPoP
	}
	return sent, nil
}

// keepSession begins the session of a client that has presented a token, and
// keeps it from ending while it is in use.
//
// Precondition: the request has passed.
func (g *Guard) keepSession(h http.Header, r *http.Request, v *verified) {
	if v.scheme == schemeBasic {
		return
	}
	if v.session {
		h.Add("Vary", "Cookie")
		if len(h["Cache-Control"]) == 0 {
			h.Set("Cache-Control", "private")
		}
	}
	if g.sessions.Save(h, r, session.Session{Scheme: v.scheme.String(), Token: v.raw}) {
		h.Set("Cache-Control", "no-store")
	}
}

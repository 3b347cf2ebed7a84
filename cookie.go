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
func (g *Guard) keepSession(f *fields, r *http.Request, v *verified) {
	if v.scheme == schemeBasic {
		return
	}
	if v.session {
		f.vary, f.caching = append(f.vary, "Cookie"), cachingPrivate
	}
	h := make(http.Header, 1)
	if g.sessions.Save(h, r, session.Session{Scheme: v.scheme.String(), Token: v.raw}) {
		f.cookies, f.caching = h["Set-Cookie"], cachingNone
	}
}

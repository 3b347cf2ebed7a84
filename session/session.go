package session

import (
	"bytes"
	"errors"
	"net/http"
	"time"
)

// Sessions reads and writes the cookies of one guard's sessions. Make one with
// [New]; the zero Sessions, and a nil one, knows no session. It never changes, and
// is safe for concurrent use.
type Sessions struct {
	sealers   []sealer // the first one writes, all of them read
	cookie    http.Cookie
	idle      time.Duration
	lifetime  time.Duration
	protected *http.CrossOriginProtection
}

// Session is what a cookie stands for.
type Session struct {
	// Scheme is the scheme under which the token was presented when the session
	// began: "DPoP" or "Bearer".
	Scheme string
	// Token is the access token.
	Token string

	started, used time.Time // to the second
}

// Error says why a request has no session. It is comparable with == and costs no
// allocation.
type Error uint8

// The kinds of Error.
const (
	_ Error = iota
	// ErrNone: there is no cookie, or none that this Sessions has written, or its
	// session is over.
	ErrNone
	// ErrCrossOrigin: there is a session, but the request is another site's.
	ErrCrossOrigin
)

// Error returns a fixed text.
func (e Error) Error() string {
	switch e {
	case ErrNone:
		return "session: none"
	case ErrCrossOrigin:
		return "session: request from another origin"
	}
	return "session: unknown error"
}

// New makes Sessions whose cookies are sealed with key: 32 octets or more from a
// cryptographic random source, which are copied. Guards that share neither their
// rules nor their issuers should not share a key.
//
// New reports every mistake in its arguments at once, joined with
// [errors.Join]. It starts nothing and does no I/O.
func New(key []byte, opts ...Option) (*Sessions, error) {
	c := config{
		keys:     [][]byte{bytes.Clone(key)},
		path:     "/",
		sameSite: http.SameSiteLaxMode,
		secure:   true,
		idle:     defaultIdle,
		lifetime: defaultLifetime,
	}
	for _, opt := range opts {
		if opt == nil {
			c.problem("nil Option")
			continue
		}
		opt.apply(&c)
	}
	if !c.has("WithIdleTimeout") {
		c.idle = min(c.idle, c.lifetime)
	}
	s := &Sessions{
		sealers:  c.sealers(),
		idle:     c.idle,
		lifetime: c.lifetime,
		cookie: http.Cookie{
			Name: c.cookieName(), Path: c.path, Domain: c.domain, Secure: c.secure, HttpOnly: true, SameSite: c.sameSite,
		},
		protected: c.protection(),
	}
	c.checkCookie(&s.cookie)
	if err := errors.Join(c.problems...); err != nil {
		return nil, err
	}
	return s, nil
}

// Read returns the session of the request. The error is [ErrNone] or
// [ErrCrossOrigin].
func (s *Sessions) Read(r *http.Request) (Session, error) {
	read, ok := s.open(r)
	switch {
	case !ok:
		return Session{}, ErrNone
	case s.isCrossOrigin(r):
		return Session{}, ErrCrossOrigin
	}
	return read, nil
}

func (s *Sessions) isCrossOrigin(r *http.Request) bool {
	if len(r.Header["Upgrade"]) > 0 {
		// The handshake of a WebSocket is a GET whose page can read what follows, and write.
		asUnsafe := *r
		asUnsafe.Method = http.MethodPost
		r = &asUnsafe
	}
	return s.protected.Check(r) != nil
}

// open returns the session of the request's cookie, if it is not over.
func (s *Sessions) open(r *http.Request) (Session, bool) {
	if s == nil || len(s.sealers) == 0 {
		return Session{}, false
	}
	sealed, ok := s.collect(r)
	if !ok {
		return Session{}, false
	}
	now := time.Now()
	for _, sealer := range s.sealers {
		if text, ok := sealer.open(s.cookie.Name, sealed); ok {
			read, ok := decode(text)
			return read, ok && s.alive(read, now)
		}
	}
	return Session{}, false
}

// alive reports whether a session is not over. One that is used in the future by
// more than clocks of replicas differ is one that no replica has written.
func (s *Sessions) alive(read Session, now time.Time) bool {
	return now.Sub(read.started) < s.lifetime && now.Sub(read.used) < s.idle && read.used.Sub(now) < clockSkew
}

// Save adds to h, the header of the response to r, what keeps next as the session
// of this client. It reports whether that took a new cookie: none is needed if
// r's session is of the same token and was written less than half of the idle
// timeout ago. A session with another token begins anew.
//
// A token that does not fit into the cookies, of about 10 KiB or more, starts no
// session: the client goes on presenting it.
//
// Preconditions: next.Token has been verified for r, and next.Scheme is "DPoP" or
// "Bearer".
func (s *Sessions) Save(h http.Header, r *http.Request, next Session) (written bool) {
	if s == nil || len(s.sealers) == 0 {
		return false
	}
	now := time.Now()
	next.started, next.used = now, now
	if before, ok := s.open(r); ok && before.Token == next.Token && before.Scheme == next.Scheme {
		if now.Sub(before.used) < s.idle/2 {
			return false
		}
		next.started = before.started
	}
	text, ok := encode(next)
	if !ok {
		return false
	}
	return s.write(h, r, s.sealers[0].seal(s.cookie.Name, text))
}

// End adds to h, the header of the response to r, what removes the cookies of r's
// session from the client: a log-out.
func (s *Sessions) End(h http.Header, r *http.Request) {
	if s != nil && len(s.sealers) > 0 {
		s.remove(h, r, 0)
	}
}

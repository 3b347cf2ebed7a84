package session

import (
	"bytes"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/keybound-go/middleware/internal/options"
	"github.com/keybound-go/middleware/internal/seal"
)

// Sessions reads and writes the cookies of one guard's sessions. Make one with
// [New]; the zero Sessions, and a nil one, knows no session. It never changes, and
// is safe for concurrent use.
type Sessions struct {
	ring      *seal.Ring // nil in the zero Sessions
	cookie    http.Cookie
	names     []string // that the cookie may have; the first one, unless it is another Sessions'
	idle      time.Duration
	lifetime  time.Duration
	protected *http.CrossOriginProtection
	trusted   []string
}

// Session is what a cookie stands for.
type Session struct {
	// Scheme is the scheme under which the token was presented when the session
	// began: "DPoP" or "Bearer".
	Scheme string
	// Token is the access token.
	Token string
	// Ends is when the session that was read is over at the latest, used or not. Save
	// does not look at it.
	Ends time.Time

	started, used time.Time // to the second
}

// Format writes the session without its token, whatever the verb.
func (s Session) Format(f fmt.State, _ rune) {
	fmt.Fprintf(f, "session.Session{Scheme:%q, Token:(%d bytes)}", s.Scheme, len(s.Token))
}

// LogValue is the session without its token.
func (s Session) LogValue() slog.Value { return slog.StringValue(fmt.Sprint(s)) }

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

// New makes Sessions whose cookies are sealed with key: 32 bytes or more from a
// cryptographic random source, which are copied. Guards that share neither their
// rules nor their issuers should not share a key.
//
// New reports every mistake in its arguments at once, joined with
// [errors.Join], and what this build of Go cannot do. It starts nothing and does no
// I/O.
func New(key []byte, opts ...Option) (*Sessions, error) {
	c := config{
		Set:      options.For("session"),
		keys:     [][]byte{bytes.Clone(key)},
		path:     "/",
		sameSite: http.SameSiteLaxMode,
		idle:     defaultIdle,
		lifetime: defaultLifetime,
	}
	options.Each(c.Set, opts, func(opt Option) { opt.apply(&c) })
	if !c.Given("WithIdleTimeout") {
		c.idle = min(c.idle, c.lifetime)
	}
	s := &Sessions{
		ring:     c.ring(),
		idle:     c.idle,
		lifetime: c.lifetime,
		cookie: http.Cookie{
			Name: c.cookieName(), Path: c.path, Domain: c.domain, Secure: c.secure(), HttpOnly: true, SameSite: c.sameSite,
		},
		protected: c.protection(),
		trusted:   c.trusted,
	}
	c.checkCookie(&s.cookie)
	s.names = c.cookieNames(s)
	if err := c.Err(); err != nil {
		return nil, err
	}
	return s, nil
}

// ring checks the keys that the caller has given.
func (c *config) ring() *seal.Ring {
	ring, problems := seal.New(sealDomain, c.keys...)
	for _, problem := range problems {
		c.Problem("%w", problem)
	}
	return ring
}

// cookieNames are the name of the cookie, and those for clients that have another
// Sessions' cookie under it: one for each key.
func (c *config) cookieNames(s *Sessions) []string {
	names := []string{s.cookie.Name}
	if s.ring == nil {
		return names
	}
	suffixes, err := s.ring.Names()
	if err != nil {
		c.Problem("%w", err)
	}
	for _, suffix := range suffixes {
		names = append(names, s.cookie.Name+"."+suffix)
	}
	return names
}

// Read returns the session of the request. The error is [ErrNone] or
// [ErrCrossOrigin].
func (s *Sessions) Read(r *http.Request) (Session, error) {
	read, _, ok := s.open(r)
	switch {
	case !ok:
		return Session{}, ErrNone
	case s.isCrossOrigin(r):
		return Session{}, ErrCrossOrigin
	}
	read.Ends = read.started.Add(s.lifetime)
	return read, nil
}

// isCrossOrigin reports whether the page of another origin has made a browser send a
// request that may change something, or read what follows.
func (s *Sessions) isCrossOrigin(r *http.Request) bool {
	if len(r.Header["Upgrade"]) > 0 {
		// The handshake of a WebSocket is a GET whose page can read what follows, and
		// write.
		asUnsafe := *r
		asUnsafe.Method = http.MethodPost
		r = &asUnsafe
	}
	if s.protected.Check(r) != nil {
		return true
	}
	switch r.Method {
	case http.MethodGet, http.MethodHead, http.MethodOptions:
		return false
	}
	// CrossOriginProtection compares hosts only, as a server behind a proxy must. Here
	// the cookie says what the scheme is.
	origins := r.Header["Origin"]
	return len(origins) > 1 ||
		len(origins) == 1 && s.cookie.Secure && isPlainHTTP(origins[0]) && !slices.Contains(s.trusted, origins[0])
}

func isPlainHTTP(origin string) bool {
	const scheme = "http://"
	return len(origin) >= len(scheme) && strings.EqualFold(origin[:len(scheme)], scheme)
}

// open returns the session of the request's cookie, if it is not over, and the name
// of the cookie.
func (s *Sessions) open(r *http.Request) (read Session, name string, ok bool) {
	if s == nil || s.ring == nil {
		return Session{}, "", false
	}
	now := time.Now()
	for _, name := range s.names {
		if read, ok := s.under(r, name); ok && s.alive(read, now) {
			return read, name, true
		}
	}
	return Session{}, "", false
}

// under returns the session of the request's cookie with that name, if it is ours.
func (s *Sessions) under(r *http.Request, name string) (Session, bool) {
	sealed, ok := collect(r, name)
	if !ok {
		return Session{}, false
	}
	text, ok := s.unseal(name, sealed)
	if !ok {
		return Session{}, false
	}
	return decode(text)
}

// isOthers reports whether the request has a cookie with that name that is not ours.
func (s *Sessions) isOthers(r *http.Request, name string) bool {
	if len(r.CookiesNamed(name)) == 0 {
		return false
	}
	_, ours := s.under(r, name)
	return !ours
}

// alive reports whether a session is not over. If its last use lies ahead by more than
// the clocks of replicas differ, no replica has written it.
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
	if s == nil || s.ring == nil {
		return false
	}
	now := time.Now()
	next.started, next.used = now, now
	before, name, ok := s.open(r)
	if ok && before.Token == next.Token && before.Scheme == next.Scheme {
		if now.Sub(before.used) < s.idle/2 {
			return false
		}
		next.started = before.started
	}
	to := s.nameFor(r, name)
	text, ok := encode(next)
	if !ok {
		return false
	}
	sealed, ok := s.seal(to, text)
	if !ok || !s.write(h, r, to, sealed) {
		return false
	}
	if name != "" && name != to {
		s.remove(h, r, name, 0)
	}
	return true
}

// nameFor returns the name under which to keep a session that the client has under
// the name has, if any.
func (s *Sessions) nameFor(r *http.Request, has string) string {
	if has == s.names[0] || has == "" && !s.isOthers(r, s.names[0]) {
		return s.names[0]
	}
	// The first key's: those of previous keys go with them.
	return s.names[1]
}

// End adds to h, the header of the response to r, what removes the cookies of r's
// session from the client: a log-out. The sessions of other Sessions stay.
func (s *Sessions) End(h http.Header, r *http.Request) {
	if s == nil || s.ring == nil {
		return
	}
	for _, name := range s.names {
		if !s.isOthers(r, name) {
			s.remove(h, r, name, 0)
		}
	}
}

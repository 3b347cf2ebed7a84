package session_test

import (
	"bytes"
	"crypto/rand"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/keybound-go/middleware/session"
)

var (
	key   = []byte("a key of thirty-two bytes or mor")
	other = []byte("another key of thirty-two bytes!")
)

func newSessions(t testing.TB, opts ...session.Option) *session.Sessions {
	t.Helper()
	s, err := session.New(key, opts...)
	require.NoError(t, err)
	return s
}

// browser keeps cookies as a browser does, for one origin.
type browser struct{ cookies map[string]string }

func (b *browser) request(method string) *http.Request {
	r := httptest.NewRequest(method, "https://api.example/r", nil)
	r.TLS = &tls.ConnectionState{HandshakeComplete: true}
	for name, value := range b.cookies {
		r.AddCookie(&http.Cookie{Name: name, Value: value})
	}
	return r
}

// take does what the Set-Cookie fields of h say, and returns how many there were.
func (b *browser) take(t testing.TB, h http.Header) int {
	t.Helper()
	if b.cookies == nil {
		b.cookies = make(map[string]string)
	}
	for _, line := range h["Set-Cookie"] {
		c, err := http.ParseSetCookie(line)
		require.NoError(t, err)
		require.Less(t, len(line), 4096, "what a browser keeps")
		if c.MaxAge < 0 {
			delete(b.cookies, c.Name)
		} else {
			b.cookies[c.Name] = c.Value
		}
	}
	return len(h["Set-Cookie"])
}

// begin starts a session with that token.
func begin(t testing.TB, s *session.Sessions, token string) *browser {
	t.Helper()
	b, h := &browser{}, http.Header{}
	require.True(t, s.Save(h, b.request("GET"), session.Session{Scheme: "DPoP", Token: token}))
	b.take(t, h)
	return b
}

func TestACookieStandsForItsToken(t *testing.T) {
	s := newSessions(t)
	for _, scheme := range []string{"DPoP", "Bearer"} {
		b, h := &browser{}, http.Header{}
		require.True(t, s.Save(h, b.request("GET"), session.Session{Scheme: scheme, Token: "token"}))
		b.take(t, h)
		read, err := s.Read(b.request("GET"))
		require.NoError(t, err)
		require.Equal(t, "token", read.Token)
		require.Equal(t, scheme, read.Scheme)
	}
	require.False(t, s.Save(http.Header{}, (&browser{}).request("GET"), session.Session{Scheme: "Basic", Token: "secret"}))
	require.False(t, s.Save(http.Header{}, (&browser{}).request("GET"), session.Session{Scheme: "DPoP"}))
}

func TestTheCookieIsOneThatBrowsersProtect(t *testing.T) {
	h := http.Header{}
	newSessions(t).Save(h, (&browser{}).request("GET"), session.Session{Scheme: "DPoP", Token: "a-token"})
	line := h.Get("Set-Cookie")
	require.True(t, strings.HasPrefix(line, "__Host-session="), line)
	for _, attribute := range []string{"; Path=/", "; HttpOnly", "; Secure", "; SameSite=Lax"} {
		require.Contains(t, line, attribute)
	}
	require.NotContains(t, line, "Domain")
	require.NotContains(t, line, "a-token")
}

func TestEveryChangedCookieIsNone(t *testing.T) {
	s := newSessions(t)
	b := begin(t, s, "token")
	sealed := b.cookies["__Host-session"]
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_."
	for i := range sealed {
		changed := alphabet[(strings.IndexByte(alphabet, sealed[i])+7)%len(alphabet)]
		b.cookies["__Host-session"] = sealed[:i] + string(changed) + sealed[i+1:]
		_, err := s.Read(b.request("GET"))
		require.Equal(t, session.ErrNone, err, "position %d", i)
	}
	for _, value := range []string{"", "1", "1.", "1.A", "1.AAAA", "1." + strings.Repeat("A", 21), "1." + strings.Repeat("A", 22), "0." + sealed[2:], "2." + sealed[2:], "5." + sealed[2:], sealed[:len(sealed)-1], sealed + "A", sealed[2:]} {
		b.cookies["__Host-session"] = value
		_, err := s.Read(b.request("GET"))
		require.Equal(t, session.ErrNone, err, "%q", value)
	}
}

// One session has one spelling, however its text is divided, and whatever a lenient
// decoder would pass over.
func TestASessionHasOneSpelling(t *testing.T) {
	s := newSessions(t)
	for size := range 4 {
		b := begin(t, s, strings.Repeat("x", 5+size))
		sealed := b.cookies["__Host-session"]
		for _, more := range []string{"A", "AA", "AAA", "!", "=", "==", "!!!!"} {
			b.cookies["__Host-session"] = sealed + more
			_, err := s.Read(b.request("GET"))
			require.Equal(t, session.ErrNone, err, "%q behind it", more)
		}
	}
	b := begin(t, s, strings.Repeat("x", 5000))
	sealed := b.cookies["__Host-session"][2:] + b.cookies["__Host-session-1"]
	for i, sizes := range [][]int{{1000, 2000, 500, 700}, {3000}, {3501}, {1700, 1700, 1700}} {
		rest, divided := sealed, &browser{cookies: map[string]string{}}
		for i, size := range append(sizes, len(sealed)) {
			name := "__Host-session"
			if i > 0 {
				name = fmt.Sprint(name, "-", i)
			}
			divided.cookies[name], rest = rest[:min(size, len(rest))], rest[min(size, len(rest)):]
		}
		divided.cookies["__Host-session"] = fmt.Sprint(len(sizes)+1, ".", divided.cookies["__Host-session"])
		_, err := s.Read(divided.request("GET"))
		if i == 3 { // none of the parts is too large
			require.NoError(t, err)
		} else {
			require.Equal(t, session.ErrNone, err, sizes)
		}
	}
}

// What is not of these Sessions is left to whom it belongs to.
func TestCookiesOfOthersStay(t *testing.T) {
	s := newSessions(t)
	b := &browser{cookies: map[string]string{"__Host-session": "garbage", "-1": "another's", "__Host-session-4": "another's"}}
	h := http.Header{}
	require.True(t, s.Save(h, b.request("GET"), session.Session{Scheme: "DPoP", Token: "token"}))
	require.Equal(t, 1, b.take(t, h))
	require.Equal(t, "garbage", b.cookies["__Host-session"])
	read, err := s.Read(b.request("GET"))
	require.NoError(t, err)
	require.Equal(t, "token", read.Token)
	h = http.Header{}
	s.End(h, b.request("GET"))
	b.take(t, h)
	require.Equal(t, map[string]string{"__Host-session": "garbage", "-1": "another's", "__Host-session-4": "another's"}, b.cookies)

	// A session stays under its name when the other one's cookie is gone.
	h = http.Header{}
	require.True(t, s.Save(h, b.request("GET"), session.Session{Scheme: "DPoP", Token: "token"}))
	b.take(t, h)
	delete(b.cookies, "__Host-session")
	h = http.Header{}
	require.True(t, s.Save(h, b.request("GET"), session.Session{Scheme: "DPoP", Token: "another token"}))
	require.Equal(t, 1, b.take(t, h))
	require.NotContains(t, b.cookies, "__Host-session")
}

func TestACookieOpensUnderItsNameAndKeyOnly(t *testing.T) {
	b := begin(t, newSessions(t), "token")
	sealed := b.cookies["__Host-session"]

	renamed := newSessions(t, session.WithCookieName("__Host-other"))
	b.cookies["__Host-other"] = sealed
	_, err := renamed.Read(b.request("GET"))
	require.Equal(t, session.ErrNone, err)

	rekeyed, err := session.New(other)
	require.NoError(t, err)
	_, err = rekeyed.Read(b.request("GET"))
	require.Equal(t, session.ErrNone, err)

	rotated, err := session.New(other, session.WithPreviousKeys(key))
	require.NoError(t, err)
	read, err := rotated.Read(b.request("GET"))
	require.NoError(t, err)
	require.Equal(t, "token", read.Token)
}

func TestTwoCookiesOfOneNameAreNone(t *testing.T) {
	s := newSessions(t)
	r := begin(t, s, "token").request("GET")
	for name, value := range begin(t, s, "of another client").cookies {
		r.AddCookie(&http.Cookie{Name: name, Value: value})
	}
	_, err := s.Read(r)
	require.Equal(t, session.ErrNone, err)
}

func TestLongTokensTakeSeveralCookies(t *testing.T) {
	s := newSessions(t)
	long := strings.Repeat("x", 9000)
	b := begin(t, s, long)
	require.Len(t, b.cookies, 4)
	read, err := s.Read(b.request("GET"))
	require.NoError(t, err)
	require.Equal(t, long, read.Token)

	for name := range b.cookies {
		less := &browser{cookies: map[string]string{}}
		for n, v := range b.cookies {
			if n != name {
				less.cookies[n] = v
			}
		}
		_, err := s.Read(less.request("GET"))
		require.Equal(t, session.ErrNone, err, "without %s", name)
	}

	h := http.Header{}
	require.True(t, s.Save(h, b.request("GET"), session.Session{Scheme: "DPoP", Token: "short"}))
	b.take(t, h)
	require.Len(t, b.cookies, 1, "what is left over is removed")

	require.False(t, s.Save(http.Header{}, b.request("GET"), session.Session{Scheme: "DPoP", Token: strings.Repeat("x", 11000)}))
}

func TestASessionEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSessions(t, session.WithIdleTimeout(10*time.Minute), session.WithLifetime(time.Hour))
		alive := func(b *browser) bool {
			_, err := s.Read(b.request("GET"))
			return err == nil
		}
		use := func(b *browser) int {
			h := http.Header{}
			s.Save(h, b.request("GET"), session.Session{Scheme: "DPoP", Token: "token"})
			return b.take(t, h)
		}

		b := begin(t, s, "token")
		time.Sleep(10*time.Minute - time.Second)
		require.True(t, alive(b))
		time.Sleep(time.Second)
		require.False(t, alive(b), "idle")

		b = begin(t, s, "token")
		for range 11 {
			time.Sleep(5*time.Minute - time.Second)
			require.Zero(t, use(b), "no new cookie for a fresh one")
			time.Sleep(time.Second)
			require.True(t, alive(b))
			require.Equal(t, 1, use(b))
		}
		time.Sleep(5*time.Minute - time.Second)
		require.True(t, alive(b))
		time.Sleep(time.Second)
		require.False(t, alive(b), "the lifetime is over, however busy")
	})
}

func TestAClockThatIsAheadIsForgivenAndAForeignOneIsNot(t *testing.T) {
	var tomorrow, soon, limit *browser
	synctest.Test(t, func(t *testing.T) {
		s := newSessions(t)
		begun := time.Now()
		time.Sleep(4 * time.Minute)
		soon = begin(t, s, "token")
		time.Sleep(time.Minute)
		limit = begin(t, s, "token")
		time.Sleep(time.Hour)
		tomorrow = begin(t, s, "token")
		require.NotZero(t, begun)
	})
	synctest.Test(t, func(t *testing.T) { // begins at the same time again
		s := newSessions(t)
		_, err := s.Read(soon.request("GET"))
		require.NoError(t, err)
		_, err = s.Read(limit.request("GET"))
		require.Equal(t, session.ErrNone, err)
		_, err = s.Read(tomorrow.request("GET"))
		require.Equal(t, session.ErrNone, err)
	})
}

func TestANewTokenBeginsANewSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSessions(t, session.WithIdleTimeout(time.Hour), session.WithLifetime(time.Hour))
		b := begin(t, s, "token")
		time.Sleep(40 * time.Minute)
		h := http.Header{}
		require.True(t, s.Save(h, b.request("GET"), session.Session{Scheme: "DPoP", Token: "the next token"}))
		b.take(t, h)
		time.Sleep(40 * time.Minute)
		read, err := s.Read(b.request("GET"))
		require.NoError(t, err)
		require.Equal(t, "the next token", read.Token)
	})
}

func TestASessionOfAnotherSchemeBeginsAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSessions(t, session.WithIdleTimeout(time.Hour), session.WithLifetime(time.Hour))
		b := begin(t, s, "token")
		h := http.Header{}
		require.False(t, s.Save(h, b.request("GET"), session.Session{Scheme: "DPoP", Token: "token"}))
		require.Empty(t, h)
		time.Sleep(10 * time.Minute)
		require.True(t, s.Save(h, b.request("GET"), session.Session{Scheme: "Bearer", Token: "token"}))
		b.take(t, h)
		read, err := s.Read(b.request("GET"))
		require.NoError(t, err)
		require.Equal(t, "Bearer", read.Scheme)
		require.Equal(t, time.Now().Add(time.Hour), read.Ends, "a session begins anew, and ends a lifetime later")
	})
}

func TestASessionSaysWhenItEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSessions(t, session.WithIdleTimeout(10*time.Minute), session.WithLifetime(time.Hour))
		b := begin(t, s, "token")
		ends := time.Now().Add(time.Hour)
		time.Sleep(6 * time.Minute)
		h := http.Header{}
		require.True(t, s.Save(h, b.request("GET"), session.Session{Scheme: "DPoP", Token: "token"}))
		b.take(t, h)
		read, err := s.Read(b.request("GET"))
		require.NoError(t, err)
		require.Equal(t, ends, read.Ends, "use does not move the end")
	})
}

// The sizes at which a token takes another cookie, and at which it takes too many.
func TestTokensOfEverySizeComeBackOrBeginNoSession(t *testing.T) {
	s := newSessions(t)
	most := 0
	for size := 10_300; size < 10_600; size++ {
		b, h := &browser{}, http.Header{}
		token := strings.Repeat("x", size)
		if !s.Save(h, b.request("GET"), session.Session{Scheme: "DPoP", Token: token}) {
			require.Empty(t, h)
			continue
		}
		require.True(t, most == 0 || most == size-1, "%d fits, and %d did not", size, size-1)
		most = size
		b.take(t, h)
		require.Len(t, b.cookies, 4)
		read, err := s.Read(b.request("GET"))
		require.NoError(t, err)
		require.Equal(t, token, read.Token)
	}
	require.Less(t, most, 10_599)
	require.NotZero(t, most)
	for size := 2500; size < 2700; size++ {
		b := begin(t, s, strings.Repeat("x", size))
		read, err := s.Read(b.request("GET"))
		require.NoError(t, err)
		require.Len(t, read.Token, size)
		for name, value := range b.cookies {
			require.NotEmpty(t, value, "%s of %d", name, size)
		}
	}
}

func TestErrorsSayWhich(t *testing.T) {
	require.Equal(t, "session: none", session.ErrNone.Error())
	require.Equal(t, "session: request from another origin", session.ErrCrossOrigin.Error())
	require.Equal(t, "session: unknown error", session.Error(0).Error())
	require.Equal(t, `session.Session{Scheme:"DPoP", Token:(5 bytes)}`, fmt.Sprint(session.Session{Scheme: "DPoP", Token: "token"}))
}

func TestRequestsOfOtherSites(t *testing.T) {
	s := newSessions(t, session.WithTrustedOrigins("https://app.example", "http://old.example"))
	b := begin(t, s, "token")
	for _, test := range []struct {
		method, site, origin string
		want                 error
	}{
		{"POST", "same-origin", "https://api.example", nil},
		{"POST", "none", "", nil},
		{"POST", "", "", nil}, // no browser
		{"POST", "", "https://api.example", nil},
		{"POST", "cross-site", "https://evil.example", session.ErrCrossOrigin},
		{"POST", "same-site", "https://evil.example", session.ErrCrossOrigin},
		{"POST", "", "https://evil.example", session.ErrCrossOrigin},
		// R11: an attacker on the path can write into the pages of http://api.example.
		{"POST", "", "http://api.example", session.ErrCrossOrigin},
		{"POST", "", "HTTP://api.example", session.ErrCrossOrigin},
		{"POST", "same-origin", "http://api.example", session.ErrCrossOrigin},
		{"POST", "same-origin", "http://", session.ErrCrossOrigin},
		{"DELETE", "", "http://api.example", session.ErrCrossOrigin},
		{"WebSocket", "", "http://api.example", session.ErrCrossOrigin},
		{"GET", "", "http://api.example", nil},
		{"POST", "", "http://old.example", nil}, // named by WithTrustedOrigins
		{"POST", "", "https://old.example", session.ErrCrossOrigin},
		{"POST", "", "null", session.ErrCrossOrigin},
		{"POST", "", "https://api.example, https://evil.example", session.ErrCrossOrigin},
		{"DELETE", "cross-site", "https://evil.example", session.ErrCrossOrigin},
		{"POST", "cross-site", "https://app.example", nil},
		{"GET", "cross-site", "https://evil.example", nil},
		{"WebSocket", "cross-site", "https://evil.example", session.ErrCrossOrigin},
		{"WebSocket", "same-site", "https://evil.example", session.ErrCrossOrigin},
		{"WebSocket", "", "https://evil.example", session.ErrCrossOrigin},
		{"WebSocket", "same-origin", "https://api.example", nil},
		{"WebSocket", "cross-site", "https://app.example", nil},
	} {
		r := b.request(test.method)
		if test.method == "WebSocket" {
			r.Method = "GET"
			r.Header.Set("Upgrade", "websocket")
		}
		if test.site != "" {
			r.Header.Set("Sec-Fetch-Site", test.site)
		}
		if test.origin != "" {
			r.Header.Set("Origin", test.origin)
		}
		_, err := s.Read(r)
		require.Equal(t, test.want, err, "%+v", test)
	}
}

func TestTwoOriginFieldsAreNoOrigin(t *testing.T) {
	s := newSessions(t)
	r := begin(t, s, "token").request("POST")
	r.Header["Origin"] = []string{"https://api.example", "https://api.example"}
	_, err := s.Read(r)
	require.Equal(t, session.ErrCrossOrigin, err)
}

func TestWithoutSecureThePagesOfPlainHTTPAreTheServicesOwn(t *testing.T) {
	s := newSessions(t, session.DangerouslyAllowPlainHTTP())
	r := begin(t, s, "token").request("POST")
	r.Header.Set("Origin", "http://api.example")
	_, err := s.Read(r)
	require.NoError(t, err)
}

func TestSessionsOfSeveralKeysLiveSideBySide(t *testing.T) {
	// One host, two guards, two keys, and the default name.
	one := newSessions(t)
	two, err := session.New(other)
	require.NoError(t, err)
	b := begin(t, one, "first token")
	has := func(s *session.Sessions, token string) {
		t.Helper()
		read, err := s.Read(b.request("GET"))
		if token == "" {
			require.Equal(t, session.ErrNone, err)
			return
		}
		require.NoError(t, err)
		require.Equal(t, token, read.Token)
	}
	save := func(s *session.Sessions, token string) {
		t.Helper()
		h := http.Header{}
		require.True(t, s.Save(h, b.request("GET"), session.Session{Scheme: "DPoP", Token: token}))
		b.take(t, h)
	}
	has(two, "")
	save(two, "second token")
	has(one, "first token")
	has(two, "second token")
	save(one, strings.Repeat("long ", 1000))
	save(two, strings.Repeat("longer ", 1000))
	has(one, strings.Repeat("long ", 1000))
	has(two, strings.Repeat("longer ", 1000))
	for _, s := range []*session.Sessions{one, two} {
		r := b.request("GET")
		r.AddCookie(&http.Cookie{Name: "theme", Value: "dark"})
		r.AddCookie(&http.Cookie{Name: "__Host-session.2", Value: "others"})
		require.Equal(t, []string{"theme=dark; __Host-session.2=others"}, s.Strip(r.Header)["Cookie"],
			"no handler sees a session, of whichever key")
	}

	// The key of the second one is exchanged: its session goes along, and stays when the
	// old key is dropped.
	key3 := []byte("the third key of thirty-two bytes")
	two, err = session.New(key3, session.WithPreviousKeys(other))
	require.NoError(t, err)
	has(two, strings.Repeat("longer ", 1000))
	save(two, "third token")
	two, err = session.New(key3)
	require.NoError(t, err)
	has(two, "third token")
	has(one, strings.Repeat("long ", 1000))

	h := http.Header{}
	two.End(h, b.request("GET"))
	b.take(t, h)
	has(two, "")
	has(one, strings.Repeat("long ", 1000))
	h = http.Header{}
	one.End(h, b.request("GET"))
	b.take(t, h)
	require.Empty(t, b.cookies)
}

func TestNothingThatPrintsASessionShowsItsToken(t *testing.T) {
	secrets := []string{"S3CR3T-T0KEN", string(key), fmt.Sprint(key), fmt.Sprintf("%x", key), fmt.Sprintf("%#v", key), string(other), fmt.Sprint(other)}
	s, err := session.New(key, session.WithPreviousKeys(other))
	require.NoError(t, err)
	read := session.Session{Scheme: "DPoP", Token: "S3CR3T-T0KEN"}
	for _, v := range []any{s, *s, read, &read, []session.Session{read}, map[string]any{"session": read, "sessions": s}, session.ErrNone} {
		printed := ""
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
			printed += fmt.Sprintf(verb+"\n", v)
		}
		var text, js bytes.Buffer
		slog.New(slog.NewTextHandler(&text, nil)).Info("printed", "value", v)
		slog.New(slog.NewJSONHandler(&js, nil)).Info("printed", "value", v)
		printed += text.String()
		if _, nested := v.(map[string]any); !nested && reflect.TypeOf(v).Kind() != reflect.Slice {
			printed += js.String() // encoding/json looks into the values of maps and slices itself
		}
		for _, secret := range secrets {
			require.NotContains(t, printed, secret)
		}
	}
}

func TestEndRemovesEveryPart(t *testing.T) {
	s := newSessions(t)
	b := begin(t, s, strings.Repeat("x", 9000))
	b.cookies["__Host-session-4"] = "another's" // no session has so many
	h := http.Header{}
	s.End(h, b.request("POST"))
	b.take(t, h)
	require.Equal(t, map[string]string{"__Host-session-4": "another's"}, b.cookies)
	delete(b.cookies, "__Host-session-4")
	h = http.Header{}
	s.End(h, b.request("POST"))
	require.Empty(t, h, "nothing to remove")
}

func TestStripTakesOutTheSessionAlone(t *testing.T) {
	s := newSessions(t, session.WithCookieName("sid"))
	for _, test := range []struct {
		lines, want []string
	}{
		{[]string{"sid=1"}, nil},
		{[]string{"a=b; sid=1;sid-1=2; sid-4=kept; sid-10=kept; c=d"}, []string{"a=b; sid-4=kept; sid-10=kept; c=d"}},
		{[]string{"sid =1; a=b", "\tsid-3\t=2"}, []string{"a=b"}},
		{[]string{"SID=kept; sidx=kept"}, []string{"SID=kept; sidx=kept"}},
		{[]string{"sid"}, nil},
		{[]string{"-1=kept; =kept; .01234567=kept"}, []string{"-1=kept; =kept; .01234567=kept"}},
		{[]string{"sid.01234567=1; sid.89abcdef-2=2; a=b"}, []string{"a=b"}},
		{[]string{"sid.0123456=kept; sid.0123456g=kept; sid.012345678=kept; sid.01234567x=kept"}, []string{"sid.0123456=kept; sid.0123456g=kept; sid.012345678=kept; sid.01234567x=kept"}},
		{[]string{"sid-0=kept; sid-=kept; sid-1x=kept; sid+1=kept; sid-3=1; sid-1=1"}, []string{"sid-0=kept; sid-=kept; sid-1x=kept; sid+1=kept"}},
		{[]string{"sid=1; \u2000__Host-csrf=evil; __Host-csrf=mine"}, []string{"\u2000__Host-csrf=evil; __Host-csrf=mine"}},
	} {
		h := http.Header{"Cookie": test.lines, "X": {"y"}}
		before := strings.Join(test.lines, "|")
		got := s.Strip(h)
		require.Equal(t, test.want, got["Cookie"], "%q", test.lines)
		require.Equal(t, []string{"y"}, got["X"])
		require.Equal(t, before, strings.Join(h["Cookie"], "|"), "the header itself stays")
		_, has := got["Cookie"]
		require.Equal(t, test.want != nil, has)
		delete(got, "X")
		_, same := h["X"]
		require.Equal(t, !slices.Equal(test.want, test.lines), same, "it is copied only if there is something to take out")
	}
}

func TestTheZeroSessionsKnowNone(t *testing.T) {
	for _, s := range []*session.Sessions{nil, {}} {
		r := begin(t, newSessions(t), "token").request("GET")
		r.AddCookie(&http.Cookie{Name: "-1", Value: "another's"})
		_, err := s.Read(r)
		require.Equal(t, session.ErrNone, err)
		h := http.Header{}
		require.False(t, s.Save(h, r, session.Session{Scheme: "DPoP", Token: "token"}))
		s.End(h, r)
		require.Empty(t, h)
		require.Equal(t, r.Header, s.Strip(r.Header))
	}
}

func TestNewReportsEveryMistake(t *testing.T) {
	for _, test := range []struct {
		name string
		opts []session.Option
		want string
	}{
		{"a nil option", []session.Option{nil}, "option 1 is nil"},
		{"an option given twice", []session.Option{session.WithIdleTimeout(time.Minute), session.WithIdleTimeout(time.Minute)}, "WithIdleTimeout is given twice"},
		{"a short previous key", []session.Option{session.WithPreviousKeys([]byte("short"))}, "key 2 has 5 bytes, not 32 or more"},
		{"the same key again", []session.Option{session.WithPreviousKeys(other, key)}, "key 3 is key 1 again"},
		{"an empty name", []session.Option{session.WithCookieName("")}, "WithCookieName: empty"},
		{"a name that is none", []session.Option{session.WithCookieName("a b")}, "the cookie is not valid"},
		{"a relative path", []session.Option{session.WithPath("app")}, `WithPath: "app" does not begin with a slash`},
		{"an empty domain", []session.Option{session.WithDomain("")}, "WithDomain: empty"},
		{"a domain that is none", []session.Option{session.WithDomain("a b")}, "the cookie is not valid"},
		{"no mode of SameSite", []session.Option{session.WithSameSite(http.SameSiteDefaultMode)}, "WithSameSite: neither"},
		{"SameSite=None in the clear", []session.Option{session.WithSameSite(http.SameSiteNoneMode), session.DangerouslyAllowPlainHTTP()}, "SameSite=None demands Secure"},
		{"__Host- with a domain", []session.Option{session.WithCookieName("__host-x"), session.WithDomain("api.example")}, "the prefix demands Secure, the path / and no domain"},
		{"__Host- with a path", []session.Option{session.WithCookieName("__Host-x"), session.WithPath("/app")}, "the prefix demands Secure, the path / and no domain"},
		{"__Secure- in the clear", []session.Option{session.WithCookieName("__Secure-x"), session.DangerouslyAllowPlainHTTP()}, "the prefix demands Secure"},
		{"no idle time", []session.Option{session.WithIdleTimeout(0)}, "WithIdleTimeout: 0s is not between"},
		{"no lifetime", []session.Option{session.WithLifetime(time.Second)}, "WithLifetime: 1s is not between"},
		{"idle for longer than alive", []session.Option{session.WithIdleTimeout(time.Hour), session.WithLifetime(time.Minute)}, "is longer than the lifetime"},
		{"no origin", []session.Option{session.WithTrustedOrigins()}, "no origin given"},
		{"an origin that is none", []session.Option{session.WithTrustedOrigins("app.example")}, "WithTrustedOrigins: "},
	} {
		t.Run(test.name, func(t *testing.T) {
			s, err := session.New(key, test.opts...)
			require.Nil(t, s)
			require.ErrorContains(t, err, test.want)
		})
	}
	_, err := session.New([]byte("short"), session.WithCookieName(""), session.WithPath("x"))
	require.Len(t, strings.Split(err.Error(), "\n"), 3, "%v", err)
}

func TestTheDefaultNameFollowsTheOptions(t *testing.T) {
	for _, test := range []struct {
		opts []session.Option
		want string
	}{
		{nil, "__Host-session"},
		{[]session.Option{session.WithDomain("example.com")}, "__Secure-session"},
		{[]session.Option{session.WithPath("/app")}, "__Secure-session"},
		{[]session.Option{session.DangerouslyAllowPlainHTTP()}, "session"},
	} {
		b := begin(t, newSessions(t, test.opts...), "token")
		require.Contains(t, b.cookies, test.want)
		require.Len(t, b.cookies, 1)
	}
	_, err := session.New(key, session.WithLifetime(time.Minute)) // the default idle timeout follows
	require.NoError(t, err)
}

func TestNoTwoCookiesAreAlike(t *testing.T) {
	s := newSessions(t)
	seen := make(map[string]bool)
	for range 100 {
		value := begin(t, s, "token").cookies["__Host-session"]
		salt := value[:2+20] // 15 of its 16 bytes: each cookie has a key of its own
		require.False(t, seen[salt])
		seen[salt] = true
	}
}

// FuzzRead: whatever a client sends, only what was sealed opens, and nothing panics.
func FuzzRead(f *testing.F) {
	s, err := session.New(key)
	require.NoError(f, err)
	f.Add("__Host-session=" + begin(f, s, rand.Text()).cookies["__Host-session"] + "x")
	f.Add("__Host-session=1.; __Host-session-1=AAAA")
	f.Add("__Host-session=4." + strings.Repeat("A", 3500) + "; __Host-session-1=; __Host-session-2=\"\"; __Host-session-3=,")
	f.Fuzz(func(t *testing.T, cookies string) {
		r := httptest.NewRequest("GET", "https://api.example/", nil)
		r.Header["Cookie"] = []string{cookies}
		if _, err := s.Read(r); err != session.ErrNone {
			t.Fatalf("%q opened", cookies)
		}
		s.Save(http.Header{}, r, session.Session{Scheme: "DPoP", Token: "t"})
		s.End(http.Header{}, r)
		stripped := s.Strip(r.Header)
		r.Header = stripped
		if len(r.CookiesNamed("__Host-session")) > 0 {
			t.Fatalf("%q left a session in %q", cookies, stripped)
		}
		// Everything else is what net/http saw before, under the same names.
		before := &http.Request{Header: http.Header{"Cookie": {cookies}}}
		others := slices.DeleteFunc(before.Cookies(), func(c *http.Cookie) bool {
			rest, ok := strings.CutPrefix(c.Name, "__Host-session")
			return ok && slices.Contains([]string{"", "-1", "-2", "-3"}, rest)
		})
		if got := r.Cookies(); len(got) != len(others) {
			t.Fatalf("%q: %v, not %v", cookies, got, others)
		}
		for i, c := range r.Cookies() {
			if c.Name != others[i].Name || c.Value != others[i].Value {
				t.Fatalf("%q: %v, not %v", cookies, c, others[i])
			}
		}
	})
}

package middleware_test

import (
	"context"
	"net"
	"net/http"
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/keybound-go/middleware"
	"github.com/keybound-go/middleware/dpop"
	"github.com/keybound-go/middleware/internal/caller"
	"github.com/keybound-go/middleware/oidc"
)

// A transport of another kind gets from Judge what Wrap would have answered.
func TestJudgeSaysWhatWrapAnswers(t *testing.T) {
	w := newWorld(t)
	nonces := dpop.WithNonces(agingNonces{}, nil)
	g := w.guard(both(withSession(), middleware.ExposeHeaders(), middleware.PassPreflights(), middleware.WithRules(middleware.Scopes("orders:read")))...)
	withNonces := w.guard(middleware.WithDPoP(dpop.New(origin, nonces)))
	strict := w.guard(both(middleware.RequireTLS())...)
	broken := g.Require(middleware.Scopes("never"))
	for name, row := range map[string]struct {
		guard *middleware.Guard
		make  func() *http.Request
	}{
		"a good proof":         {g, func() *http.Request { return w.dpopRequest("/r?q=1") }},
		"a good certificate":   {g, func() *http.Request { return w.certRequest("/r") }},
		"no credentials":       {g, func() *http.Request { return get("/r") }},
		"of another origin":    {g, func() *http.Request { r := get("/r"); r.Header.Set("Origin", "https://app.example"); return r }},
		"a missing scope":      {broken, func() *http.Request { return w.dpopRequest("/r") }},
		"a token in the query": {g, func() *http.Request { return w.dpopRequest("/r?a=1;access_token=x") }},
		"a preflight":          {g, preflight},
		"a preflight with a body": {g, func() *http.Request {
			r := preflight()
			r.ContentLength = 1
			r.Header.Set("Content-Length", "1")
			return r
		}},
		"early data":                {g, func() *http.Request { r := w.dpopRequest("/r"); r.Header.Set("Early-Data", "1"); return r }},
		"plain HTTP":                {strict, func() *http.Request { r := w.dpopRequest("/r"); r.TLS = nil; return r }},
		"a nonce is asked for":      {withNonces, func() *http.Request { return w.dpopRequest("/r") }},
		"without a key of the host": {g, func() *http.Request { r := w.dpopRequest("/r"); r.Host = "other.example"; return r }},
	} {
		t.Run(name, func(t *testing.T) {
			first := row.make()
			a := serve(row.guard, first)
			second := row.make()
			v := row.guard.Judge(second.Context(), middleware.RequestOf(second))
			require.Equal(t, a.called, v.Pass)
			if !v.Pass {
				require.Equal(t, a.Code, v.Denial.Status)
				require.Error(t, v.Err)
				require.Equal(t, a.Body.String(), string(v.Body))
				require.Nil(t, v.Forward)
			} else {
				require.NoError(t, v.Err)
				require.NotNil(t, v.Forward)
			}
			require.Equal(t, len(a.Header()["Set-Cookie"]), len(v.Header["Set-Cookie"]))
			a.Header().Del("Set-Cookie")
			v.Header.Del("Set-Cookie")
			require.Equal(t, a.Header(), v.Header)
		})
	}
}

func TestJudgeOfAMessageThatDidNotComeByHTTP(t *testing.T) {
	w := newWorld(t)
	g := w.guard()
	token := w.dpopToken()
	message := func(url string) middleware.Request {
		return middleware.Request{
			Method: "POST", URL: url,
			Header: http.Header{"Authorization": {"DPoP " + token}, "Dpop": {w.proof("POST", origin+"/queue/orders", token)}},
		}
	}
	v := g.Judge(context.Background(), message(origin+"/queue/orders"))
	require.NoError(t, v.Err)
	require.True(t, v.Pass)
	ctx := middleware.NewContext(context.Background(), v.Credential)
	c, ok := middleware.FromContext(ctx)
	require.True(t, ok)
	require.Equal(t, w.key.Thumbprint(), c.Proof.Thumbprint)
	_, ok = middleware.FromContext(middleware.NewContext(ctx, nil))
	require.False(t, ok)

	v = g.Judge(context.Background(), message(origin+"/queue/others"))
	require.False(t, v.Pass)
	require.Equal(t, 401, v.Denial.Status)

	require.Equal(t, middleware.ErrQueryToken, g.Judge(context.Background(), message(origin+"/queue/orders?access_token=x")).Err)
	for _, target := range []string{"", "no slash", "/%zz", "\x00"} {
		q := message("")
		q.Host, q.Target = "api.example", target
		require.Equal(t, middleware.ErrBadTarget, g.Judge(context.Background(), q).Err, "%q", target)
	}
	early := message(origin + "/queue/orders")
	early.EarlyData = true
	require.Equal(t, middleware.ErrTooEarly, g.Judge(context.Background(), early).Err)
	require.Equal(t, middleware.ErrNoCredentials, g.Judge(context.Background(), middleware.Request{Method: "GET", Target: "/"}).Err)

	require.False(t, new(middleware.Guard).Judge(context.Background(), message(origin+"/queue/orders")).Pass)
	require.Equal(t, 503, new(middleware.Guard).Judge(context.Background(), middleware.Request{}).Denial.Status)
	require.False(t, middleware.Verdict{}.Pass)
}

// A credential that a transport puts into a context is for handlers: a guard inside
// verifies for itself.
func TestAGuardDoesNotRelyOnNewContext(t *testing.T) {
	w := newWorld(t)
	g := w.guard()
	r := w.dpopRequest("/r")
	v := g.Judge(r.Context(), middleware.RequestOf(r))
	require.True(t, v.Pass)
	serve(g, get("/r").WithContext(middleware.NewContext(context.Background(), v.Credential))).refused(t, 401)
	serve(g, r.WithContext(middleware.NewContext(context.Background(), v.Credential))).refused(t, 401)
}

// The address of the caller is for verifiers that serve callers fairly.
func TestTheCallersAddressIsInTheContextOfAVerifier(t *testing.T) {
	w := newWorld(t)
	seen := &addressReader{TokenVerifier: w.verifier()}
	peer := netip.MustParseAddr("192.0.2.7")
	for name, row := range map[string]struct {
		opts []middleware.Option
		addr string
		over net.Addr
		want netip.Addr
	}{
		"the peer":             {nil, "192.0.2.7:1234", nil, peer},
		"IPv4 in IPv6":         {nil, "[::ffff:192.0.2.7]:1234", nil, peer},
		"a unix socket":        {nil, "192.0.2.7:1234", &net.UnixAddr{Name: "s", Net: "unix"}, netip.Addr{}},
		"no address":           {nil, "@", nil, netip.Addr{}},
		"as the operator says": {[]middleware.Option{middleware.WithCallerAddress(func(*http.Request) netip.Addr { return peer })}, "198.51.100.1:1", nil, peer},
		"a panic":              {[]middleware.Option{middleware.WithCallerAddress(func(*http.Request) netip.Addr { panic("a bug") })}, "198.51.100.1:1", nil, netip.Addr{}},
	} {
		t.Run(name, func(t *testing.T) {
			g, err := middleware.New(both(append(row.opts, middleware.WithTokens(seen, nil))...)...)
			require.NoError(t, err)
			r := w.dpopRequest("/r")
			r.RemoteAddr = row.addr
			if row.over != nil {
				r = r.WithContext(context.WithValue(r.Context(), http.LocalAddrContextKey, row.over))
			}
			serve(g, r).accepted(t)
			require.Equal(t, row.want, seen.addr)
		})
	}
}

// addressReader sees what address a verifier that throttles would see.
type addressReader struct {
	middleware.TokenVerifier
	addr netip.Addr
}

func (a *addressReader) VerifyToken(ctx context.Context, raw string) (*oidc.Token, error) {
	a.addr = caller.Address(context.WithoutCancel(ctx))
	return a.TokenVerifier.VerifyToken(ctx, raw)
}

package introspect_test

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/keybound-go/middleware/internal/issuertest"
	"github.com/keybound-go/middleware/oidc"
	"github.com/keybound-go/middleware/oidc/clientauth"
	"github.com/keybound-go/middleware/oidc/introspect"
	"github.com/keybound-go/middleware/oidc/oidctest"
)

// owners answers of the token "client/…" that it is client's.
func owners(delay time.Duration) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		time.Sleep(delay)
		client, _, good := strings.Cut(r.PostFormValue("token"), "/")
		if !good {
			issuertest.WriteJSON(w, 200, map[string]any{"active": false})
			return
		}
		issuertest.WriteJSON(w, 200, issuertest.GoodAnswer(issuertest.With("client_id", client), issuertest.With("sub", client)))
	}
}

// TestOneClientCannotTakeWhatOthersNeed is R2.
func TestOneClientCannotTakeWhatOthersNeed(t *testing.T) {
	t.Run("R2 places in the memory", func(t *testing.T) {
		as := issuertest.New()
		as.Introspect = owners(0)
		i := newIntrospector(t, as, introspect.WithAnswerLifetime(time.Hour), introspect.WithCacheSize(2000))
		const victims = 500
		for n := range victims {
			accept(t, i, fmt.Sprintf("victim%d/1", n))
		}
		for n := range 10_000 {
			token := fmt.Sprint("attacker/", n)
			for range 4 { // remembered: free of charge
				accept(t, i, token)
			}
		}
		before := len(as.Asked())
		for n := range victims {
			accept(t, i, fmt.Sprintf("victim%d/1", n))
		}
		require.LessOrEqual(t, len(as.Asked())-before, victims/50)
		active, _ := introspect.Remembered(i)
		require.LessOrEqual(t, active, 2000)
	})
	t.Run("R2 places in the memory, among the users of one client", func(t *testing.T) {
		as := issuertest.New()
		as.Introspect = func(w http.ResponseWriter, r *http.Request) {
			user, _, _ := strings.Cut(r.PostFormValue("token"), "/")
			issuertest.WriteJSON(w, 200, issuertest.GoodAnswer(issuertest.With("client_id", "app"), issuertest.With("sub", user)))
		}
		i := newIntrospector(t, as, introspect.WithAnswerLifetime(time.Hour), introspect.WithCacheSize(2000))
		for n := range 500 {
			accept(t, i, fmt.Sprintf("user%d/1", n))
		}
		for n := range 10_000 {
			accept(t, i, fmt.Sprint("attacker/", n))
		}
		before := len(as.Asked())
		for n := range 500 {
			accept(t, i, fmt.Sprintf("user%d/1", n))
		}
		require.LessOrEqual(t, len(as.Asked())-before, 10)
	})
	t.Run("R2 entries in the store", func(t *testing.T) {
		as := issuertest.New()
		as.Introspect = owners(0)
		shared := new(sharedMap)
		i := newIntrospector(t, as, introspect.WithStore(shared, nil), introspect.WithCacheSize(400))
		for n := range 2000 {
			accept(t, i, fmt.Sprint("attacker/", n))
		}
		require.LessOrEqual(t, len(shared.values), 101)
		accept(t, i, "victim/1")
		require.LessOrEqual(t, len(shared.values), 102)
	})
	t.Run("R2 slots for tokens that are known", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			as := issuertest.New()
			as.Introspect = owners(0)
			i := newIntrospector(t, as)
			for n := range 1000 {
				accept(t, i, fmt.Sprint("attacker/", n))
			}
			accept(t, i, "victim/1")
			time.Sleep(time.Minute)
			as.Introspect = owners(300 * time.Millisecond)
			var flood sync.WaitGroup
			for n := range 1000 {
				flood.Go(func() { accept(t, i, fmt.Sprint("attacker/", n)) })
			}
			synctest.Wait()
			start := time.Now()
			accept(t, i, "victim/1")
			require.Equal(t, 300*time.Millisecond, time.Since(start))
			flood.Wait()
		})
	})
	t.Run("R2 slots for tokens that are not known, by caller", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			as := issuertest.New()
			as.Introspect = owners(300 * time.Millisecond)
			i := newIntrospector(t, as)
			from := func(address string) context.Context {
				return oidc.ContextWithCaller(t.Context(), netip.MustParseAddr(address))
			}
			var flood sync.WaitGroup
			for n := range 3000 {
				flood.Go(func() {
					ctx, cancel := context.WithTimeout(from(fmt.Sprintf("2001:db8:1:%x::1", n)), 5*time.Second) // one site
					defer cancel()
					_, _ = i.VerifyToken(ctx, fmt.Sprint("made-up", n))
				})
			}
			synctest.Wait()
			for n := range 10 {
				start := time.Now()
				_, err := i.VerifyToken(from("2001:db8:2::1"), fmt.Sprintf("victim/%d", n))
				require.NoError(t, err)
				require.Equal(t, 300*time.Millisecond, time.Since(start))
			}
			flood.Wait()
			time.Sleep(time.Second) // until the last questions have ended, whose callers have given up
		})
	})
	t.Run("R2 without an address all share one queue, in turn with those that have one", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			as := issuertest.New()
			as.Introspect = owners(time.Second)
			i := newIntrospector(t, as)
			for _, flooder := range []context.Context{t.Context(), oidc.ContextWithCaller(t.Context(), netip.MustParseAddr("192.0.2.1"))} {
				var flood sync.WaitGroup
				for n := range 500 {
					flood.Go(func() { _, _ = i.VerifyToken(flooder, fmt.Sprint("made-up", n)) })
				}
				synctest.Wait()
				start := time.Now()
				_, err := i.VerifyToken(oidc.ContextWithCaller(t.Context(), netip.MustParseAddr("192.0.2.7")), fmt.Sprint("victim/", time.Now().UnixNano()))
				require.NoError(t, err)
				require.Equal(t, time.Second, time.Since(start))
				flood.Wait()
				time.Sleep(time.Minute)
			}
		})
	})
}

// TestSpellingsOfOneToken is R2 and R4.
func TestSpellingsOfOneToken(t *testing.T) {
	b64 := base64.RawURLEncoding.EncodeToString
	jws := b64([]byte(`{"alg":"RS256"}`)) + "." + b64([]byte(`{"sub":"a"}`)) + "." + b64([]byte("0123456789abcdef"))
	as := issuertest.New()
	as.Introspect = issuertest.Saying(issuertest.GoodAnswer())
	i := newIntrospector(t, as)
	accept(t, i, jws)
	for _, other := range []string{jws + ".", jws + "..", jws + "=", jws + "===", jws[:len(jws)-1] + "h", strings.Replace(jws, ".", "=.", 1), jws + strings.Repeat(".", 9000)} {
		_, err := i.VerifyToken(t.Context(), other)
		require.Equal(t, oidc.ErrMalformed, err, "R2 %.100q", other)
	}
	require.Len(t, as.Asked(), 1)
	active, refused := introspect.Remembered(i)
	require.Equal(t, []int{1, 0}, []int{active, refused}, "R2 nothing is remembered of the others")
}

func TestOrElseGivesNoSecondChance(t *testing.T) {
	issuer := newIssuer(t)
	// As an issuer reads tokens that ignores dots and padding at the end.
	issuer.Break(oidctest.Introspection, func(h http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_ = r.ParseForm()
			r.PostForm.Set("token", strings.TrimRight(r.PostForm.Get("token"), ".="))
			h.ServeHTTP(w, r)
		})
	})
	i, err := newFrom(t, issuer.URL, "", clientauth.SecretBasic("client", "secret"), introspect.DangerouslyAcceptAnyAudience(), oidc.WithHTTPClient(issuer.Client()))
	require.NoError(t, err)
	f, err := introspect.OrElse(newVerifier(t, issuer), i)
	require.NoError(t, err)
	raw := issuer.Token(oidctest.Claim("aud", "https://other.example"))
	_, err = f.VerifyToken(t.Context(), raw)
	require.Equal(t, oidc.ErrAudience, err)
	for _, suffix := range []string{".", "..", "....", "=", "==", "."} {
		_, err = f.VerifyToken(t.Context(), raw+suffix)
		require.Equal(t, oidc.ErrMalformed, err, "R4 %q", suffix)
	}
	require.Zero(t, issuer.Fetches(oidctest.Introspection))
	accept(t, f, issuer.Token())
	accept(t, f, issuer.OpaqueToken())
	b64 := base64.RawURLEncoding.EncodeToString
	_, err = f.VerifyToken(t.Context(), b64([]byte(`{"alg":"dir","enc":"A256GCM"}`))+"..aXY.dGV4dA.dGFn")
	require.Equal(t, oidc.ErrInactive, err, "R4 a JWE is opaque")
	_, err = f.VerifyToken(t.Context(), b64([]byte(`{"alg":"RS256","enc":"A256GCM"}`))+".YQ.YQ")
	require.Equal(t, oidc.ErrMalformed, err, "R4 enc in what looks like a JWS")
}

// TestAQuestionSurvivesAConnectionThatTheIssuerCloses is R8.
func TestAQuestionSurvivesAConnectionThatTheIssuerCloses(t *testing.T) {
	issuer := oidctest.NewIssuer(t, oidctest.WithClient(oidctest.Registration{ID: "api", Secret: strings.Repeat("s", 32), Method: "client_secret_jwt"}))
	i, err := newFrom(t, issuer.URL, oidctest.Audience, clientauth.SecretJWT("api", strings.Repeat("s", 32)), oidc.WithHTTPClient(issuer.Client()))
	require.NoError(t, err)
	accept(t, i, issuer.OpaqueToken())
	for _, aborts := range []int{1, 2} {
		left := aborts
		var mu sync.Mutex
		issuer.Break(oidctest.Introspection, func(h http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				mu.Lock()
				defer mu.Unlock()
				if left--; left >= 0 {
					panic(http.ErrAbortHandler)
				}
				h.ServeHTTP(w, r)
			})
		})
		_, err := i.VerifyToken(t.Context(), issuer.OpaqueToken())
		if aborts == 1 {
			require.NoError(t, err, "R8 the second time with an assertion of its own, which the issuer accepts once")
		} else {
			issuertest.RequireOutage(t, err)
		}
	}
}

// deaf is a transport that ignores the context of its requests.
type deaf struct{ end, under chan struct{} }

func (d deaf) RoundTrip(*http.Request) (*http.Response, error) {
	d.under <- struct{}{}
	<-d.end
	return nil, http.ErrServerClosed
}

// TestATransportThatIgnoresItsContext is R14.
func TestATransportThatIgnoresItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		transport := deaf{make(chan struct{}), make(chan struct{}, 1_000_000)}
		i, err := newFrom(t, issuertest.Issuer, issuertest.Audience, clientauth.Public("api"),
			oidc.WithHTTPClient(&http.Client{Transport: transport}), introspect.WithEndpoint("https://as.example/introspect"))
		require.NoError(t, err)
		var asked atomic.Int64
		for n := range 2000 {
			go func() {
				_, _ = i.VerifyToken(oidc.ContextWithCaller(t.Context(), netip.AddrFrom4([4]byte{10, 0, byte(n >> 8), byte(n)})), fmt.Sprint("t", n))
				asked.Add(1)
			}()
		}
		for n := range 20 {
			time.Sleep(time.Minute)
			for m := range 200 {
				go func() { _, _ = i.VerifyToken(t.Context(), fmt.Sprint("u", n, "-", m)) }()
			}
		}
		time.Sleep(time.Hour)
		require.EqualValues(t, 2000, asked.Load())
		require.LessOrEqual(t, len(transport.under), 640+160, "R14 what ignores its context is bounded")
		start := time.Now()
		_, err = i.VerifyToken(t.Context(), "another")
		issuertest.RequireOutage(t, err)
		require.ErrorContains(t, err, "ignores its context")
		require.LessOrEqual(t, time.Since(start), 11*time.Second, "R14")
		require.NoError(t, i.Close())
		close(transport.end)
		time.Sleep(time.Second)
		_, err = i.VerifyToken(t.Context(), "another")
		require.True(t, errors.Is(err, http.ErrServerClosed), "R14 and recovers: %v", err)
	})
	t.Run("R14 an answer that comes after its time is not remembered", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			as := issuertest.New()
			inactive := issuertest.Saying(map[string]any{"active": false})
			var asked atomic.Int64
			as.Introspect = func(w http.ResponseWriter, r *http.Request) {
				if asked.Add(1) > 1 {
					inactive(w, r)
					return
				}
				time.Sleep(time.Minute)
				issuertest.WriteJSON(w, 200, issuertest.GoodAnswer())
			}
			i, err := newFrom(t, issuertest.Issuer, issuertest.Audience, clientauth.Public("api"),
				oidc.WithHTTPClient(&http.Client{Transport: withoutContext{as}}), introspect.WithEndpoint("https://as.example/introspect"))
			require.NoError(t, err)
			_, err = i.VerifyToken(t.Context(), "revoked")
			issuertest.RequireOutage(t, err)
			_, err = i.VerifyToken(t.Context(), "revoked")
			require.Equal(t, oidc.ErrInactive, err)
			time.Sleep(2 * time.Minute)
			active, _ := introspect.Remembered(i)
			require.Zero(t, active)
		})
	})
}

type withoutContext struct{ as *issuertest.AS }

func (w withoutContext) RoundTrip(r *http.Request) (*http.Response, error) {
	return w.as.RoundTrip(r.WithContext(context.Background()))
}

package introspect_test

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"net/http"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keybound-go/middleware/internal/issuertest"
	"github.com/keybound-go/middleware/oidc"
	"github.com/keybound-go/middleware/oidc/clientauth"
	"github.com/keybound-go/middleware/oidc/introspect"
	"github.com/stretchr/testify/require"
)

func accept(t testing.TB, v interface {
	VerifyToken(context.Context, string) (*oidc.Token, error)
}, token string) *oidc.Token {
	t.Helper()
	tok, err := v.VerifyToken(t.Context(), token)
	require.NoError(t, err)
	return tok
}

func TestIntrospectionMemory(t *testing.T) {
	for name, c := range map[string]struct {
		exp  any
		opts []any
		live time.Duration
	}{
		"INTRO-4-01 an answer is believed for a minute":        {time.Hour, nil, time.Minute},
		"INTRO-4-01 but not beyond exp":                        {20 * time.Second, nil, 20 * time.Second},
		"INTRO-4-01 also when it may live longer":              {2 * time.Minute, []any{introspect.WithAnswerLifetime(time.Hour)}, 2 * time.Minute},
		"INTRO-4-01 an answer without exp lives no longer":     {nil, nil, time.Minute},
		"INTRO-4-01 nor one with an exp at the end of time":    {time.Unix(253402300799, 0), nil, time.Minute},
		"INTRO-4-01 a lifetime of 0 asks for every request":    {time.Hour, []any{introspect.WithAnswerLifetime(0)}, 0},
		"INTRO-4-01 past exp, but within skew, asks each time": {-time.Second, nil, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				as := issuertest.New()
				edit := issuertest.Without("exp")
				switch exp := c.exp.(type) {
				case time.Duration:
					edit = issuertest.With("exp", time.Now().Add(exp).Unix())
				case time.Time:
					edit = issuertest.With("exp", exp.Unix())
				}
				as.Introspect = issuertest.Saying(issuertest.GoodAnswer(edit, issuertest.With("cnf", map[string]any{"jkt": issuertest.Thumbprint})))
				i := newIntrospector(t, as, c.opts...)
				accept(t, i, "opaque")
				if c.live > 0 {
					time.Sleep(c.live - time.Nanosecond)
					require.Equal(t, issuertest.Thumbprint, accept(t, i, "opaque").Confirmation.JKT, "INTRO-2.2-04 cnf is enforced on remembered answers")
					require.Len(t, as.Asked(), 1)
					time.Sleep(time.Nanosecond)
				}
				_, _ = i.VerifyToken(t.Context(), "opaque")
				require.Len(t, as.Asked(), 2)
			})
		})
	}
	t.Run("INTRO-2.2-03 an active answer that we refuse is remembered as a refusal", func(t *testing.T) {
		for _, edit := range []func(map[string]any){issuertest.With("exp", 1), issuertest.With("aud", "x"), issuertest.With("cnf", 1)} {
			as := issuertest.New()
			as.Introspect = issuertest.Saying(issuertest.GoodAnswer(edit))
			i := newIntrospector(t, as)
			for range 3 {
				_, err := i.VerifyToken(t.Context(), "opaque")
				require.Equal(t, "invalid_token", code(err))
			}
			require.Len(t, as.Asked(), 1)
		}
	})
	t.Run("INTRO-4-01 a token that is revoked is noticed, and its answer forgotten", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			as := issuertest.New()
			as.Introspect = issuertest.Saying(issuertest.GoodAnswer())
			i := newIntrospector(t, as, introspect.WithStaleAnswers(time.Hour))
			accept(t, i, "opaque")
			as.Introspect = issuertest.Saying(map[string]any{"active": false})
			time.Sleep(time.Minute)
			_, err := i.VerifyToken(t.Context(), "opaque")
			require.Equal(t, oidc.ErrInactive, err)
			as.Down.Store(true)
			time.Sleep(time.Minute)
			_, err = i.VerifyToken(t.Context(), "opaque")
			issuertest.RequireOutage(t, err)
		})
	})
	t.Run("INTRO-4-03 a refusal is remembered for ten seconds", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			as := issuertest.New()
			as.Introspect = issuertest.Saying(map[string]any{"active": false})
			i := newIntrospector(t, as)
			for range 3 {
				_, err := i.VerifyToken(t.Context(), "opaque")
				require.Equal(t, oidc.ErrInactive, err)
			}
			require.Len(t, as.Asked(), 1)
			as.Introspect = issuertest.Saying(issuertest.GoodAnswer())
			time.Sleep(10*time.Second - 1)
			_, err := i.VerifyToken(t.Context(), "opaque")
			require.Equal(t, oidc.ErrInactive, err)
			time.Sleep(time.Nanosecond)
			accept(t, i, "opaque")
		})
	})
	t.Run("INTRO-4-03 when there is no room for another refusal, the one that ends first is forgotten", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			as := issuertest.New()
			as.Introspect = issuertest.Saying(map[string]any{"active": false})
			i := newIntrospector(t, as, introspect.WithCacheSize(8), introspect.WithRefusalLifetime(time.Minute))
			refuse := func(n, wantAsked int) {
				t.Helper()
				_, err := i.VerifyToken(t.Context(), fmt.Sprint("t", n))
				require.Equal(t, oidc.ErrInactive, err)
				require.Len(t, as.Asked(), wantAsked)
				time.Sleep(time.Second)
			}
			for n := range 8 {
				refuse(n, n+1)
			}
			for n := range 8 {
				refuse(n, 8)
			}
			refuse(8, 9)
			for n := 1; n <= 8; n++ {
				refuse(n, 9)
			}
			refuse(0, 10)
		})
	})
	t.Run("what a caller does to its token reaches no other caller", func(t *testing.T) {
		as := issuertest.New()
		as.Introspect = issuertest.Saying(issuertest.GoodAnswer())
		i := newIntrospector(t, as)
		accept(t, i, "opaque").Confirmation.JKT = "forged"
		accept(t, i, "opaque").Subject = "mallory"
		require.Equal(t, "alice", accept(t, i, "opaque").Subject)
		require.Empty(t, accept(t, i, "opaque").Confirmation)
	})
	t.Run("each token has its own answer", func(t *testing.T) {
		as := issuertest.New()
		as.Introspect = func(w http.ResponseWriter, r *http.Request) {
			issuertest.WriteJSON(w, 200, issuertest.GoodAnswer(issuertest.With("sub", "of "+r.PostFormValue("token"))))
		}
		i := newIntrospector(t, as)
		var wg sync.WaitGroup
		for n := range 200 {
			wg.Go(func() {
				token := fmt.Sprint("t", n%20)
				if tok, err := i.VerifyToken(t.Context(), token); err != nil || tok.Subject != "of "+token {
					t.Errorf("%s: %v, %v", token, tok, err)
				}
			})
		}
		wg.Wait()
		require.Len(t, as.Asked(), 20)
	})
}

func TestIntrospectionFlights(t *testing.T) {
	t.Run("INTRO-4-03 a hundred requests with one token ask once", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			as := issuertest.New()
			as.Introspect = func(w http.ResponseWriter, _ *http.Request) {
				time.Sleep(time.Second)
				issuertest.WriteJSON(w, 200, issuertest.GoodAnswer())
			}
			i := newIntrospector(t, as, introspect.WithAnswerLifetime(time.Minute))
			var wg sync.WaitGroup
			for range 100 {
				wg.Go(func() { accept(t, i, "opaque") })
			}
			wg.Wait()
			require.Len(t, as.Asked(), 1)
		})
	})
	t.Run("INTRO-4-03 a caller that gives up takes the answer from no other caller", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			as := issuertest.New()
			as.Introspect = func(w http.ResponseWriter, _ *http.Request) {
				time.Sleep(time.Second)
				issuertest.WriteJSON(w, 200, issuertest.GoodAnswer())
			}
			i := newIntrospector(t, as)
			first, cancel := context.WithCancel(t.Context())
			gone := make(chan error)
			go func() {
				_, err := i.VerifyToken(first, "opaque")
				gone <- err
			}()
			synctest.Wait()
			second := make(chan error)
			go func() {
				_, err := i.VerifyToken(t.Context(), "opaque")
				second <- err
			}()
			synctest.Wait()
			cancel()
			err := <-gone
			require.ErrorIs(t, err, context.Canceled)
			issuertest.RequireOutage(t, err)
			require.NoError(t, <-second)
			require.Len(t, as.Asked(), 1)
		})
	})
	t.Run("INTRO-4-03 questions under way are bounded, and callers queue", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			as := issuertest.New()
			var now, most atomic.Int64
			as.Introspect = func(w http.ResponseWriter, _ *http.Request) {
				n := now.Add(1)
				for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
				}
				time.Sleep(time.Second)
				now.Add(-1)
				issuertest.WriteJSON(w, 200, issuertest.GoodAnswer())
			}
			i := newIntrospector(t, as)
			var wg sync.WaitGroup
			for n := range 500 {
				wg.Go(func() { accept(t, i, fmt.Sprint("t", n)) })
			}
			wg.Wait()
			require.EqualValues(t, 128, most.Load())
		})
	})
	t.Run("INTRO-4-03 callers with one token ask once, also those that had to queue", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			as := issuertest.New()
			as.Introspect = func(w http.ResponseWriter, _ *http.Request) {
				time.Sleep(time.Second)
				issuertest.WriteJSON(w, 200, issuertest.GoodAnswer())
			}
			i := newIntrospector(t, as)
			var wg sync.WaitGroup
			for n := range 128 {
				wg.Go(func() { accept(t, i, fmt.Sprint("t", n)) })
			}
			synctest.Wait()
			for range 100 {
				wg.Go(func() { accept(t, i, "queued") })
			}
			wg.Wait()
			require.Len(t, as.Asked(), 129)

			// None of those who queued has kept a slot.
			start := time.Now()
			for n := range 128 {
				wg.Go(func() { accept(t, i, fmt.Sprint("later", n)) })
			}
			wg.Wait()
			require.Equal(t, time.Second, time.Since(start))
		})
	})
	t.Run("INTRO-4-03 a flood of made-up tokens does not keep known ones from being asked about again", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			as := issuertest.New()
			as.Introspect = func(w http.ResponseWriter, r *http.Request) {
				time.Sleep(500 * time.Millisecond)
				if strings.HasPrefix(r.PostFormValue("token"), "good") {
					issuertest.WriteJSON(w, 200, issuertest.GoodAnswer())
					return
				}
				issuertest.WriteJSON(w, 200, map[string]any{"active": false})
			}
			for _, lifetime := range []time.Duration{time.Minute, 0} {
				i := newIntrospector(t, as, introspect.WithAnswerLifetime(lifetime))
				accept(t, i, "good")
				time.Sleep(lifetime)
				var flood sync.WaitGroup
				for n := range 128 * 4 {
					flood.Go(func() { _, _ = i.VerifyToken(t.Context(), fmt.Sprint("made-up", n)) })
				}
				synctest.Wait()
				start := time.Now()
				accept(t, i, "good")
				require.Equal(t, 500*time.Millisecond, time.Since(start))
				flood.Wait()
			}
		})
	})
	t.Run("INTRO-4-03 questions about known tokens are bounded, too", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			as := issuertest.New()
			as.Introspect = issuertest.Saying(issuertest.GoodAnswer())
			i := newIntrospector(t, as)
			for n := range 200 {
				accept(t, i, fmt.Sprint("t", n))
			}
			var now, most atomic.Int64
			as.Introspect = func(w http.ResponseWriter, _ *http.Request) {
				n := now.Add(1)
				for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
				}
				time.Sleep(time.Second)
				now.Add(-1)
				issuertest.WriteJSON(w, 200, issuertest.GoodAnswer())
			}
			time.Sleep(time.Minute)
			var wg sync.WaitGroup
			for n := range 200 {
				wg.Go(func() { accept(t, i, fmt.Sprint("t", n)) })
			}
			wg.Wait()
			require.EqualValues(t, 128, most.Load())
		})
	})
	t.Run("INTRO-4-03 who queues gives up with its context, or when a flight would", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			as := issuertest.New()
			as.Introspect = func(w http.ResponseWriter, _ *http.Request) { time.Sleep(time.Minute) }
			i := newIntrospector(t, as)
			var wg sync.WaitGroup
			for n := range 128 {
				wg.Go(func() { _, _ = i.VerifyToken(t.Context(), fmt.Sprint("t", n)) })
			}
			synctest.Wait()
			ctx, cancel := context.WithTimeout(t.Context(), time.Second/2)
			defer cancel()
			_, err := i.VerifyToken(ctx, "queued")
			require.ErrorIs(t, err, context.DeadlineExceeded)
			issuertest.RequireOutage(t, err)
			_, err = i.VerifyToken(t.Context(), "queued")
			require.ErrorContains(t, err, "too many questions")
			issuertest.RequireOutage(t, err)
			wg.Wait()
			time.Sleep(time.Minute) // an issuer that does not listen ends late
		})
	})
	t.Run("INTRO-2.3-01 an issuer that never answers is given up on after ten seconds", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			as := issuertest.New()
			as.Introspect = func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }
			i := newIntrospector(t, as)
			start := time.Now()
			_, err := i.VerifyToken(t.Context(), "opaque")
			issuertest.RequireOutage(t, err)
			require.Equal(t, 10*time.Second, time.Since(start))
		})
	})
	t.Run("a panic in a callback is an outage, not the end of the process", func(t *testing.T) {
		as := issuertest.New()
		auth := clientauth.Bearer("api", func(context.Context) (string, error) { panic("boom") })
		i := newIntrospectorAs(t, as, auth)
		_, err := i.VerifyToken(t.Context(), "opaque")
		issuertest.RequireOutage(t, err)
		_, err = i.VerifyToken(t.Context(), "opaque")
		require.ErrorContains(t, err, "panic while asking the issuer: a value of type string")
		require.NotContains(t, err.Error(), "boom", "R10")
	})
}

func TestStaleAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		as := issuertest.New()
		as.Introspect = issuertest.Saying(issuertest.GoodAnswer(issuertest.With("exp", time.Now().Add(3*time.Minute).Unix())))
		strict := newIntrospector(t, as)
		lenient := newIntrospector(t, as, introspect.WithStaleAnswers(time.Minute))
		long := newIntrospector(t, as, introspect.WithStaleAnswers(time.Hour))
		for _, i := range []*introspect.Introspector{strict, lenient, long} {
			accept(t, i, "opaque")
		}
		as.Down.Store(true)
		time.Sleep(time.Minute)

		_, err := strict.VerifyToken(t.Context(), "opaque")
		issuertest.RequireOutage(t, err)
		accept(t, lenient, "opaque")
		_, err = lenient.VerifyToken(t.Context(), "unknown")
		issuertest.RequireOutage(t, err)

		time.Sleep(time.Minute - time.Nanosecond)
		accept(t, lenient, "opaque")
		time.Sleep(time.Nanosecond)
		_, err = lenient.VerifyToken(t.Context(), "opaque")
		issuertest.RequireOutage(t, err)

		time.Sleep(time.Minute - time.Nanosecond)
		accept(t, long, "opaque")
		time.Sleep(time.Nanosecond) // exp
		_, err = long.VerifyToken(t.Context(), "opaque")
		issuertest.RequireOutage(t, err)
	})
	t.Run("INTRO-4-01 what the issuer makes of other tokens keeps no revoked one alive", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			as := issuertest.New()
			var revoked atomic.Bool
			as.Introspect = func(w http.ResponseWriter, r *http.Request) {
				switch {
				case r.PostFormValue("token") != "stolen":
					issuertest.WriteJSON(w, 400, map[string]any{"error": "unsupported_token_type"})
				case revoked.Load():
					issuertest.WriteJSON(w, 200, map[string]any{"active": false})
				default:
					issuertest.WriteJSON(w, 200, issuertest.GoodAnswer())
				}
			}
			i := newIntrospector(t, as, introspect.WithStaleAnswers(time.Hour))
			accept(t, i, "stolen")
			revoked.Store(true)
			time.Sleep(time.Minute)
			_, err := i.VerifyToken(t.Context(), "made-up")
			issuertest.RequireOutage(t, err)
			_, err = i.VerifyToken(t.Context(), "stolen")
			require.Equal(t, oidc.ErrInactive, err)
		})
	})
	t.Run("INTRO-4-01 nor does a client that goes away before the issuer has answered", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			as := issuertest.New()
			as.Introspect = issuertest.Saying(issuertest.GoodAnswer())
			i := newIntrospector(t, as, introspect.WithStaleAnswers(time.Hour))
			accept(t, i, "revoked")
			as.Introspect = func(w http.ResponseWriter, _ *http.Request) {
				time.Sleep(time.Second)
				issuertest.WriteJSON(w, 200, map[string]any{"active": false})
			}
			time.Sleep(time.Minute)
			ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
			defer cancel()
			_, err := i.VerifyToken(ctx, "revoked")
			issuertest.RequireOutage(t, err)
			time.Sleep(time.Second)
			_, err = i.VerifyToken(t.Context(), "revoked")
			require.Equal(t, oidc.ErrInactive, err)
		})
	})
	t.Run("a known token does not wait for the time-out of each attempt", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			as := issuertest.New()
			as.Introspect = issuertest.Saying(issuertest.GoodAnswer())
			i := newIntrospector(t, as, introspect.WithStaleAnswers(time.Hour))
			accept(t, i, "opaque")
			as.Introspect = func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }
			time.Sleep(time.Minute)
			start := time.Now()
			for range 100 {
				accept(t, i, "opaque")
			}
			require.Equal(t, 10*time.Second, time.Since(start))
		})
	})
}

// TestKilledIssuer is issue 4's: no request with a known token fails, none is
// accepted that should not be.
func TestKilledIssuer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		as := issuertest.New()
		as.Introspect = func(w http.ResponseWriter, r *http.Request) {
			if strings.HasPrefix(r.PostFormValue("token"), "good") {
				issuertest.WriteJSON(w, 200, issuertest.GoodAnswer())
			} else {
				issuertest.WriteJSON(w, 200, map[string]any{"active": false})
			}
		}
		i := newIntrospector(t, as, introspect.WithStaleAnswers(time.Hour))
		for n := range 8 {
			accept(t, i, fmt.Sprint("good", n))
		}
		var wg sync.WaitGroup
		for worker := range 8 {
			wg.Go(func() {
				for n := range 600 { // ten minutes
					if n == 100 && worker == 0 {
						as.Down.Store(true)
					}
					if _, err := i.VerifyToken(t.Context(), fmt.Sprint("good", (n+worker)%8)); err != nil {
						t.Errorf("a known token fails: %v", err)
					}
					if _, err := i.VerifyToken(t.Context(), fmt.Sprint("bad", worker, n)); err == nil {
						t.Error("an inactive token is accepted")
					}
					time.Sleep(time.Second)
				}
			})
		}
		wg.Wait()
	})
}

// flood answers as cheaply as an HTTP client allows: "inactive" to all but one token.
type flood struct{ asked atomic.Int64 }

var floodType = []string{"application/json"}

func (f *flood) RoundTrip(r *http.Request) (*http.Response, error) {
	f.asked.Add(1)
	answer := `{"active":false}`
	if body, _ := io.ReadAll(r.Body); strings.Contains(string(body), "token=known") {
		answer = `{"active":true,"aud":"` + issuertest.Audience + `"}`
	}
	return &http.Response{
		StatusCode: 200,
		Header:     http.Header{"Content-Type": floodType},
		Body:       io.NopCloser(strings.NewReader(answer)),
		Request:    r,
	}, nil
}

type sharedMap struct {
	mu     sync.Mutex
	values map[[32]byte][]byte
	ttl    time.Duration
	err    error
	gets   int
}

func (m *sharedMap) Get(_ context.Context, key [32]byte) ([]byte, bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.gets++
	v, ok := m.values[key]
	return v, ok, m.err
}

func (m *sharedMap) Set(_ context.Context, key [32]byte, value []byte, ttl time.Duration) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.values == nil {
		m.values = make(map[[32]byte][]byte)
	}
	m.values[key], m.ttl = value, ttl
	return m.err
}

// TestFlood sends invented tokens, and checks that what is remembered
// of them stays bounded while a good token stays known.
func TestFlood(t *testing.T) {
	t.Parallel()
	tokens := 100_000
	if testing.Short() || raceDetector {
		tokens = 50_000
	}
	if s := os.Getenv("FLOOD"); s != "" { // CI sends a million by night
		var err error
		tokens, err = strconv.Atoi(s)
		require.NoError(t, err, "FLOOD")
	}
	f := new(flood)
	i, err := newFrom(t, issuertest.Issuer, issuertest.Audience, clientauth.Public("api"), introspect.WithCacheSize(1000), introspect.WithAnswerLifetime(time.Hour),
		oidc.WithHTTPClient(&http.Client{Transport: f}), introspect.WithEndpoint("https://as.example/introspect"))
	require.NoError(t, err)
	const good = "known"
	accept(t, i, good)
	before := heap()
	var wg sync.WaitGroup
	for worker := range 4 {
		wg.Go(func() {
			for n := range tokens / 4 {
				if _, err := i.VerifyToken(t.Context(), fmt.Sprint(worker, ".", n)); err != oidc.ErrInactive {
					t.Errorf("token %d: %v", n, err)
					return
				}
				if n%1000 == 0 {
					if _, err := i.VerifyToken(t.Context(), good); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	wg.Wait()
	active, refused := introspect.Remembered(i)
	require.Equal(t, 1, active)
	require.LessOrEqual(t, refused, 1000)
	require.EqualValues(t, tokens+1, f.asked.Load(), "INTRO-4-03 the good token was asked about once")
	require.Less(t, heap(), before+8<<20)
}

func TestFloodOfGoodTokens(t *testing.T) {
	as := issuertest.New()
	as.Introspect = issuertest.Saying(issuertest.GoodAnswer())
	i := newIntrospector(t, as, introspect.WithCacheSize(100))
	for n := range 2000 {
		accept(t, i, fmt.Sprint(n))
	}
	active, _ := introspect.Remembered(i)
	require.LessOrEqual(t, active, 100)
}

func TestRememberedAnswerCostsOneToken(t *testing.T) {
	if raceDetector {
		t.Skip("the race detector allocates")
	}
	as := issuertest.New()
	as.Introspect = issuertest.Saying(issuertest.GoodAnswer())
	i := newIntrospector(t, as)
	token := strings.Repeat("t", 900)
	accept(t, i, token)
	require.LessOrEqual(t, testing.AllocsPerRun(100, func() { _, _ = i.VerifyToken(context.Background(), token) }), 1.0)
	as.Introspect = issuertest.Saying(map[string]any{"active": false})
	_, _ = i.VerifyToken(t.Context(), "refused")
	require.Zero(t, testing.AllocsPerRun(100, func() { _, _ = i.VerifyToken(context.Background(), "refused") }))
}

func BenchmarkRememberedAnswer(b *testing.B) {
	as := issuertest.New()
	as.Introspect = issuertest.Saying(issuertest.GoodAnswer())
	i := newIntrospector(b, as, introspect.WithAnswerLifetime(time.Hour))
	token := strings.Repeat("t", 900)
	accept(b, i, token)
	b.Run("baseline SHA-256 of the token", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			sha256.Sum256([]byte(token))
		}
	})
	b.Run("VerifyToken", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := i.VerifyToken(context.Background(), token); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

func TestSharedCache(t *testing.T) {
	t.Run("replicas share an answer, and its age", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			as := issuertest.New()
			as.Introspect = issuertest.Saying(issuertest.GoodAnswer(issuertest.With("cnf", map[string]any{"x5t#S256": issuertest.Thumbprint})))
			shared := new(sharedMap)
			one, two := newIntrospector(t, as, introspect.WithStore(shared, nil)), newIntrospector(t, as, introspect.WithStore(shared, nil))
			accept(t, one, "opaque")
			require.Equal(t, time.Minute, shared.ttl)
			time.Sleep(40 * time.Second)
			require.Equal(t, issuertest.Thumbprint, accept(t, two, "opaque").Confirmation.X5T)
			require.Len(t, as.Asked(), 1)
			time.Sleep(20 * time.Second)
			accept(t, two, "opaque")
			require.Len(t, as.Asked(), 2, "a minute after the question, whoever asked it")
		})
	})
	t.Run("INTRO-4-02 neither key nor value holds the token", func(t *testing.T) {
		as := issuertest.New()
		as.Introspect = issuertest.Saying(issuertest.GoodAnswer())
		shared := new(sharedMap)
		accept(t, newIntrospector(t, as, introspect.WithStore(shared, nil)), "opaque-token-material")
		for key, value := range shared.values {
			require.NotContains(t, string(key[:])+string(value), "opaque-token-material")
		}
		require.Len(t, shared.values, 1)
	})
	t.Run("refusals are not shared: an attacker can make any number of them", func(t *testing.T) {
		as := issuertest.New()
		as.Introspect = issuertest.Saying(map[string]any{"active": false})
		shared := new(sharedMap)
		_, err := newIntrospector(t, as, introspect.WithStore(shared, nil)).VerifyToken(t.Context(), "opaque")
		require.Equal(t, oidc.ErrInactive, err)
		require.Empty(t, shared.values)
	})
	t.Run("INTRO-4-01 a token that was refused here is not accepted by an answer from before", func(t *testing.T) {
		for name, opts := range map[string][]any{
			"the refusal is remembered for ten seconds": nil,
			"refusals are not remembered":               {introspect.WithRefusalLifetime(0)},
			"the refusal was displaced by others":       {introspect.WithCacheSize(8)},
		} {
			synctest.Test(t, func(t *testing.T) {
				as := issuertest.New()
				as.Introspect = issuertest.Saying(issuertest.GoodAnswer())
				shared := new(sharedMap)
				opts := append(opts, introspect.WithStore(shared, nil), introspect.WithAnswerLifetime(time.Hour))
				one, two := newIntrospector(t, as, opts...), newIntrospector(t, as, opts...)
				accept(t, one, "revoked")
				time.Sleep(time.Minute)
				as.Introspect = issuertest.Saying(map[string]any{"active": false})
				shared.err = issuertest.ErrDown{} // or else two would not ask
				for n := range 9 {
					for _, token := range []string{"revoked", fmt.Sprint("made-up", n)} {
						_, err := two.VerifyToken(t.Context(), token)
						require.Equal(t, oidc.ErrInactive, err)
					}
				}
				shared.err = nil
				for range 58 {
					_, err := two.VerifyToken(t.Context(), "revoked")
					require.Equal(t, oidc.ErrInactive, err, name)
					time.Sleep(time.Minute)
				}

				// One that became good again is asked about by a caller, and shared.
				as.Introspect = issuertest.Saying(issuertest.GoodAnswer(issuertest.Without("exp")))
				shared.values = nil
				three := newIntrospector(t, as, opts...)
				accept(t, three, "revoked")
				asked := len(as.Asked())
				accept(t, two, "revoked")
				require.Len(t, as.Asked(), asked, name)
			})
		}
	})
	t.Run("a store that is down slows nothing but itself", func(t *testing.T) {
		as := issuertest.New()
		as.Introspect = issuertest.Saying(issuertest.GoodAnswer())
		i := newIntrospector(t, as, introspect.WithStore(&sharedMap{err: oidc.ErrInactive}, nil))
		accept(t, i, "opaque")
		accept(t, i, "opaque")
		require.Len(t, as.Asked(), 1)
	})
	t.Run("IJWT-X-01 an answer under another token's key is none", func(t *testing.T) {
		as := issuertest.New()
		as.Introspect = func(w http.ResponseWriter, r *http.Request) {
			issuertest.WriteJSON(w, 200, issuertest.GoodAnswer(issuertest.With("sub", r.PostFormValue("token"))))
		}
		shared := new(sharedMap)
		accept(t, newIntrospector(t, as, introspect.WithStore(shared, nil)), "alice")
		var good []byte
		for _, v := range shared.values {
			good = v
		}
		// Whatever key is asked for, the store says what it knows of alice.
		lying := lyingCache(good)
		require.Equal(t, "bob", accept(t, newIntrospector(t, as, introspect.WithStore(lying, nil)), "bob").Subject)
	})
	t.Run("a value that is cut, empty, or not ours is none", func(t *testing.T) {
		as := issuertest.New()
		as.Introspect = issuertest.Saying(issuertest.GoodAnswer())
		shared := new(sharedMap)
		accept(t, newIntrospector(t, as, introspect.WithStore(shared, nil)), "opaque")
		var key [32]byte
		for k := range shared.values {
			key = k
		}
		good := shared.values[key]
		for _, bad := range [][]byte{nil, {}, good[:20], good[:41], good[:len(good)-2], append([]byte{9}, good[1:]...)} {
			shared.values[key] = bad
			asked := len(as.Asked())
			accept(t, newIntrospector(t, as, introspect.WithStore(shared, nil)), "opaque")
			require.Len(t, as.Asked(), asked+1, "%q", bad)
		}
	})
	t.Run("IJWT-5-02 who wants signed answers takes no plain one from the store", func(t *testing.T) {
		as := issuertest.New()
		as.Introspect = issuertest.Saying(issuertest.GoodAnswer())
		shared := new(sharedMap)
		accept(t, newIntrospector(t, as, introspect.WithStore(shared, nil)), "opaque")
		signed := newIntrospector(t, as, introspect.WithStore(shared, nil), introspect.RequireSigned(), oidc.WithJWKSURI("https://as.example/jwks"))
		_, err := signed.VerifyToken(t.Context(), "opaque")
		issuertest.RequireOutage(t, err)
	})
	t.Run("INTRO-4-04 the answer of one issuer is none of another, though it names no issuer", func(t *testing.T) {
		as := issuertest.New()
		as.Introspect = issuertest.Saying(issuertest.GoodAnswer(issuertest.Without("iss")))
		shared := new(sharedMap)
		accept(t, newIntrospector(t, as, introspect.WithStore(shared, nil)), "opaque")
		as.Down.Store(true)
		other, err := newFrom(t, "https://other.example", issuertest.Audience, clientauth.SecretBasic("api", "s3cret"),
			oidc.WithHTTPClient(as.Client()), introspect.WithStore(shared, nil), introspect.WithEndpoint("https://as.example/introspect"))
		require.NoError(t, err)
		_, err = other.VerifyToken(t.Context(), "opaque")
		issuertest.RequireOutage(t, err)
	})
	t.Run("INTRO-2.2-03 a shared answer is judged like our own", func(t *testing.T) {
		as := issuertest.New()
		as.Introspect = issuertest.Saying(issuertest.GoodAnswer())
		shared := new(sharedMap)
		accept(t, newIntrospector(t, as, introspect.WithStore(shared, nil)), "opaque")
		other, err := newFrom(t, issuertest.Issuer, "https://other.example", clientauth.SecretBasic("api", "s3cret"),
			oidc.WithHTTPClient(as.Client()), introspect.WithStore(shared, nil), introspect.WithEndpoint("https://as.example/introspect"))
		require.NoError(t, err)
		_, err = other.VerifyToken(t.Context(), "opaque")
		require.Equal(t, oidc.ErrAudience, err)
		require.Len(t, as.Asked(), 2, "another audience is another question")
	})
	t.Run("an answer from a clock ahead of ours lives no longer for it", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			as := issuertest.New()
			as.Introspect = issuertest.Saying(issuertest.GoodAnswer())
			shared := new(sharedMap)
			accept(t, newIntrospector(t, as, introspect.WithStore(shared, nil)), "opaque")
			for _, v := range shared.values {
				copy(v[33:], []byte{0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff})
			}
			i := newIntrospector(t, as, introspect.WithStore(shared, nil))
			accept(t, i, "opaque")
			require.Len(t, as.Asked(), 1)
			shared.values = nil
			time.Sleep(time.Minute)
			accept(t, i, "opaque")
			require.Len(t, as.Asked(), 2)
		})
	})
}

type lyingCache []byte

func (c lyingCache) Get(context.Context, [32]byte) ([]byte, bool, error)        { return c, true, nil }
func (c lyingCache) Set(context.Context, [32]byte, []byte, time.Duration) error { return nil }

package check_test

import (
	"net/http"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/keybound-go/middleware/cmd/keybound/internal/check"
)

// downLab is a lab whose server can stop to answer.
func downLab(t *testing.T) (l *lab, answer *atomic.Bool, guarded *handmade) {
	t.Helper()
	l, answer = newLab(t), new(atomic.Bool)
	answer.Store(true)
	guarded = &handmade{issuer: l.issuer, origin: l.server.URL, seen: make(map[string]bool)}
	l.server.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !answer.Load() {
			panic(http.ErrAbortHandler)
		}
		guarded.ServeHTTP(w, r)
	})
	return l, answer, guarded
}

// A server that is down refuses nothing and accepts nothing: what would be read as a
// refusal, or as a fault that was found, is no result.
func TestAServerThatIsDownHasNoResult(t *testing.T) {
	for name, dies := range map[string]func(l *lab, answer *atomic.Bool){
		"closed":      func(l *lab, _ *atomic.Bool) { l.server.CloseClientConnections(); l.server.Listener.Close() },
		"aborts":      func(_ *lab, answer *atomic.Bool) { answer.Store(false) },
		"never began": nil,
	} {
		t.Run(name, func(t *testing.T) {
			l, answer, _ := downLab(t)
			c := l.config(t, check.RFC9449, "/orders")
			if dies == nil {
				l.server.Listener.Close()
			}
			// After these rows, one that wants a refusal and one that wants none.
			for _, last := range []string{"AUTH-01/good-request", "AUTH-04/proof-without-token"} {
				c.Only = func(id string) bool { return id == last }
				c.Progress = func(int, int, string) { dies(l, answer) }
				results, err := check.Run(t.Context(), c)
				require.ErrorIs(t, err, check.ErrNoAnswer)
				require.Empty(t, results)
				if name == "closed" {
					break
				}
				answer.Store(true)
			}
		})
	}
}

// One broken connection is an answer like another: a server that answers everything else
// is there.
func TestABrokenConnectionIsAResult(t *testing.T) {
	l, _, guarded := downLab(t)
	l.server.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == "POST" {
			panic(http.ErrAbortHandler)
		}
		guarded.ServeHTTP(w, r)
	})
	c := l.config(t, check.RFC9449, "/orders")
	c.Only = func(id string) bool { return id == "DPOP-11.3-01/POST" || id == "AUTH-10/form-body" }
	results, err := check.Run(t.Context(), c)
	require.NoError(t, err)
	require.Len(t, results, 1+1)
}

func TestAServerThatRefusesAllIsNoneThatPasses(t *testing.T) {
	l, _, guarded := downLab(t)
	refuses := new(atomic.Bool)
	l.server.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if refuses.Load() {
			w.Header().Set("WWW-Authenticate", `DPoP algs="ES256"`)
			w.WriteHeader(401)
			return
		}
		guarded.ServeHTTP(w, r)
	})
	c := l.config(t, check.RFC9449, "/orders")
	c.Only = func(id string) bool { return id == "AUTH-04/no-credentials" }
	c.Progress = func(int, int, string) { refuses.Store(true) }
	_, err := check.Run(t.Context(), c)
	require.ErrorIs(t, err, check.ErrRefusesAll)
}

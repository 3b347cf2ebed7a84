// Package doors answers: does a door into a guard decide as the guard does?
//
// A door is a way for requests to reach a guard: a wrapped handler, an RPC interceptor, a
// framework's middleware, a proxy's subrequest. [Run] sends the corpus through one, and
// owns the line of that door in docs/doors.md. It is for tests, also those of the nested
// modules of this repository.
package doors

import (
	"context"
	"flag"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/keybound-go/middleware"
	"github.com/keybound-go/middleware/internal/corpus"
	"github.com/keybound-go/middleware/mtlspop"
	"github.com/keybound-go/middleware/mtlspop/mtlspoptest"
)

// Update is the flag of a test that writes what it otherwise compares.
var Update = flag.Bool("update", false, "write generated pages, such as this door's line of docs/doors.md, anew")

// Door is a way into a guard.
type Door struct {
	// Name is what docs/doors.md calls it, and Folder where its package is, from the
	// root of the repository: "." is the root.
	Name, Folder string

	// Place is where its requests arrive. The zero Place is GET https://api.example/r.
	Place corpus.Place

	// Certificates are how its guards get certificates, beside the connection.
	Certificates []mtlspop.Option

	// Options are further settings of its guards, such as how refusals are written.
	Options []middleware.Option

	// Cannot says in a sentence why a case cannot be sent through the door, or returns
	// nothing if it can. The page repeats each sentence.
	Cannot func(corpus.Case) string

	// Open puts a guard behind the door. It returns a function that sends requests
	// through the door as long as t runs.
	Open func(t *testing.T, g *middleware.Guard) (send func(Question) Answer)
}

// Question is a request that a client sends.
type Question struct {
	Case    corpus.Case
	Request *http.Request       // as net/http would receive it, with its TLS state
	Client  *mtlspoptest.Client // that has the certificate of Request.TLS; nil without
}

// Answer is what came of a Question.
type Answer struct {
	Passed bool // the handler behind the door was called
	// Status and Header are what the client sees of a refusal, in HTTP's terms. They are
	// zero and nil for a door that has none.
	Status int
	Header http.Header
}

// Run sends each case of the corpus through the door: the verdict, the reason that the
// operator is told, and the status, challenges and nonce that the client sees must be
// those of the corpus. The guard must be asked once for each request.
func Run(t *testing.T, d Door) {
	t.Helper()
	w := corpus.NewWorld(t, d.Place)
	w.Certificates = d.Certificates
	page, attempted := newLine(d), 0
	for _, c := range corpus.Cases(t) {
		if d.Cannot != nil {
			if why := d.Cannot(c); why != "" {
				page.skip(c, why)
				continue
			}
		}
		t.Run(c.Name, func(t *testing.T) {
			page.ran(c)
			var told outcomes
			send := d.Open(t, w.Guard(c, append(slices.Clone(d.Options), middleware.WithObserver(told.observe))...))
			q := Question{c, w.Request(c), w.Client(c)}
			if c.Request.SentBefore {
				first := q
				first.Request = q.Request.Clone(q.Request.Context())
				if a := send(first); !a.Passed {
					t.Fatalf("the first of two equal requests is refused: %+v, %+v", a, told.take())
				}
				told.take()
			}
			compare(t, c.Verdict, send(q), told.take())
		})
		attempted++
	}
	if !t.Failed() && page.runs() == attempted { // all of them: -run can choose some

		page.settle(t)
	}
}

// outcomes collects what an observer is told.
type outcomes struct {
	mu  sync.Mutex
	all []middleware.Outcome
}

func (o *outcomes) observe(_ context.Context, told middleware.Outcome) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.all = append(o.all, told)
}

func (o *outcomes) take() (all []middleware.Outcome) {
	o.mu.Lock()
	defer o.mu.Unlock()
	all, o.all = o.all, nil
	return all
}

func compare(t *testing.T, want corpus.Verdict, got Answer, told []middleware.Outcome) {
	t.Helper()
	if len(told) != 1 {
		t.Fatalf("the guard has decided %d times about one request: %+v", len(told), told)
	}
	o, pass := told[0], want.Status == 0
	if got.Passed != pass {
		t.Errorf("passed: %v, want %v (%v)", got.Passed, pass, o.Err)
	}
	if o.Reason != want.Reason {
		t.Errorf("reason: %q, want %q (%v)", o.Reason, want.Reason, o.Err)
	}
	if pass {
		return
	}
	if got.Status != 0 && got.Status != want.Status {
		t.Errorf("status: %d, want %d", got.Status, want.Status)
	}
	if got.Header == nil {
		return
	}
	if challenges := Challenges(got.Header); !slices.Equal(challenges, want.Challenges) {
		t.Errorf("challenges: %q, want %q", challenges, want.Challenges)
	}
	if nonce := got.Header.Get("DPoP-Nonce") != ""; nonce != want.Nonce {
		t.Errorf("a nonce: %v, want %v", nonce, want.Nonce)
	}
	if caching := got.Header.Values("Cache-Control"); !slices.Equal(caching, []string{"no-store"}) {
		t.Errorf("Cache-Control: %q", caching)
	}
}

// Challenges returns those of the WWW-Authenticate fields, as the corpus spells them: a
// scheme and, with a space between, its error code. A field may hold several.
func Challenges(h http.Header) (all []string) {
	for _, field := range h.Values("WWW-Authenticate") {
		for _, part := range elements(field) {
			name, value, parameter := strings.Cut(part, "=")
			scheme, first, begins := strings.Cut(name, " ")
			switch {
			case !parameter || begins: // "DPoP algs=..." or "DPoP"
				all = append(all, scheme)
				name = first
			case len(all) == 0:
				continue
			}
			if name == "error" {
				all[len(all)-1] += " " + strings.Trim(value, `"`)
			}
		}
	}
	return all
}

// elements splits a field at the commas outside of quoted strings.
func elements(field string) (all []string) {
	begin, quoted := 0, false
	for i := 0; i < len(field); i++ {
		switch {
		case quoted && field[i] == '\\':
			i++
		case field[i] == '"':
			quoted = !quoted
		case field[i] == ',' && !quoted:
			all = append(all, strings.TrimSpace(field[begin:i]))
			begin = i + 1
		}
	}
	return append(all, strings.TrimSpace(field[begin:]))
}

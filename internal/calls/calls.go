// Package calls answers: what did a request wait for?
//
// A decision may need an answer over the network: from the issuer about its metadata, its
// keys or a token, from a store about used proofs. Code that waits for one notes it in
// the [Log] that the context of the request carries. The root package puts a Log there if
// an operator wants to know, and reads it once the decision is made; without one, a call
// costs a look at the context.
package calls

import (
	"context"
	"sync"
	"time"
)

// The parts that are asked. Their names are stable: metrics and spans carry them.
const (
	Metadata      = "metadata"
	Keys          = "keys"
	Introspection = "introspection"
	TokenEndpoint = "token_endpoint"
	ReplayCache   = "replay_cache"
	Revocation    = "revocation"
	Resolve       = "resolve"
)

// Call is one question, as the request saw it. Another request may have asked it; this
// one waited for the answer too.
type Call struct {
	Part   string
	Begin  time.Time
	Time   time.Duration
	Failed bool // there was no answer
}

// maxCalls is how many calls of one request are kept.
const maxCalls = 16

// Log keeps the calls of one request. Its methods may be called concurrently, also when
// the request is over.
type Log struct {
	mu    sync.Mutex
	calls []Call
	taken bool
}

func (l *Log) add(c Call) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.taken && len(l.calls) < maxCalls {
		l.calls = append(l.calls, c)
	}
}

// Take returns the calls so far. Later ones are not kept.
func (l *Log) Take() []Call {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.taken = true
	return l.calls
}

type key struct{}

// Context is a context whose calls are kept.
type Context struct {
	context.Context
	Log Log
}

// Value answers for the Log.
func (c *Context) Value(k any) any {
	if k == (key{}) {
		return &c.Log
	}
	return c.Context.Value(k)
}

// Pending is a call under way. The Log does not keep the zero Pending.
type Pending struct {
	log   *Log
	part  string
	begin time.Time
}

// Begin is called before a question on behalf of ctx goes over the network.
func Begin(ctx context.Context, part string) Pending {
	log, ok := ctx.Value(key{}).(*Log)
	if !ok {
		return Pending{}
	}
	return Pending{log, part, time.Now()}
}

// End is called when the answer has arrived, or when there will be none.
func (p Pending) End(failed bool) {
	if p.log != nil {
		p.log.add(Call{p.part, p.begin, time.Since(p.begin), failed})
	}
}

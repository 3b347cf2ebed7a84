package middleware

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/keybound-go/middleware/internal/remote"
	"github.com/keybound-go/middleware/oidc"
)

// Ready reports whether the guard can decide now, for a readiness probe: it fails only
// if no decision is possible, because no key of any issuer was ever had, or the replay
// cache does not answer. What has to be fetched is fetched; each issuer and each store
// is asked once per cooldown at the most, however often Ready is called. An error is
// the operator's, and holds no secret. ctx bounds the wait.
func (g *Guard) Ready(ctx context.Context) (err error) {
	if g.config == nil {
		return errZeroGuard
	}
	defer func() {
		if p := recover(); p != nil {
			err = panicError("middleware: panic in Ready of a part: " + printable(p))
		}
	}()
	problems := []error{ready(ctx, g.tokens)}
	if g.exchange != nil {
		problems = append(problems, g.exchange.Prefetch(ctx))
	}
	if g.dpop != nil {
		problems = append(problems, g.dpop.Ready(ctx))
	}
	return errors.Join(problems...)
}

func ready(ctx context.Context, part any) error {
	switch p := part.(type) {
	case interface{ Ready(context.Context) error }:
		return p.Ready(ctx)
	case interface{ Prefetch(context.Context) error }:
		return p.Prefetch(ctx)
	}
	return nil
}

// Close ends what the parts of the guard have started: background refreshes, questions to
// an issuer that are under way (their requests are answered with 503), and idle
// connections. Call it once the server has shut down. It closes the TokenVerifier and the
// Exchange, also if they were not made for this guard alone; an [oidc.Issuer] that they
// borrow is its owner's to close. A guard and those that [Guard.Require] made of it share
// their parts, and are closed together. The guard may be used afterwards, but what it
// knows grows old. Close may be called more than once.
func (g *Guard) Close() error {
	if g.config == nil {
		return nil
	}
	var problems []error
	if part, ok := g.tokens.(interface{ Close() error }); ok {
		problems = append(problems, part.Close())
	}
	if g.exchange != nil {
		problems = append(problems, g.exchange.Close())
	}
	return errors.Join(problems...)
}

// Status is how a guard is doing, for an operator: it can be shown as JSON, and holds
// no secret, and nothing of any token but the issuer that the function given to
// [tenants.New] failed for, which a client may have invented.
type Status struct {
	// Issuers is the state of metadata and keys, as far as the TokenVerifier knows it,
	// and that of the issuer of [WithExchange].
	Issuers []oidc.Status `json:"issuers,omitempty"`
	// Memories are what this process remembers, each with how many entries it holds
	// and how many it has room for (0 if it cannot say): "tokens" that were verified,
	// "introspection" answers, used "proofs".
	Memories []struct {
		Name string `json:"name"`
		Size int    `json:"size"`
		Room int    `json:"room,omitempty"`
	} `json:"memories,omitempty"`
	// Failures count the decisions that could not be made since the start, by reason.
	Failures []struct {
		Reason string    `json:"reason"` // as of [Outcome]
		Count  uint64    `json:"count"`
		Last   time.Time `json:"last"`
		Error  string    `json:"error"` // of the last one
	} `json:"failures,omitempty"`
}

// Status returns the state at this moment. It touches no network.
func (g *Guard) Status() (s Status) {
	if g.config == nil {
		return s
	}
	if r, ok := g.tokens.(interface{ Statuses() []oidc.Status }); ok {
		s.Issuers = r.Statuses()
		tokens, answers := 0, 0
		for _, i := range s.Issuers {
			tokens, answers = tokens+i.CachedTokens-i.CachedAnswers, answers+i.CachedAnswers
		}
		s.remember("tokens", tokens, 0)
		s.remember("introspection", answers, 0)
	}
	if g.exchange != nil && !slices.ContainsFunc(s.Issuers, func(i oidc.Status) bool { return i.Issuer == g.exchange.Issuer().URL() }) {
		s.Issuers = append(s.Issuers, g.exchange.Issuer().Status())
	}
	if g.dpop != nil {
		if cache := g.dpop.Memory(); cache != nil {
			held, room := cache.Len()
			s.remember("proofs", held, room)
		}
	}
	g.failures.list(&s)
	return s
}

// memory is an element of Status.Memories.
type memory struct {
	Name string `json:"name"`
	Size int    `json:"size"`
	Room int    `json:"room,omitempty"`
}

func (s *Status) remember(name string, size, room int) {
	s.Memories = append(s.Memories, memory{name, size, room})
}

// failures counts decisions that could not be made. Its methods may be called
// concurrently. There are as many entries as reasons.
type failures struct {
	mu sync.Mutex
	by map[string]*failure
}

// failure is an element of Status.Failures.
type failure struct {
	Reason string    `json:"reason"`
	Count  uint64    `json:"count"`
	Last   time.Time `json:"last"`
	Error  string    `json:"error"`
}

func (f *failures) add(reason string, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.by == nil {
		f.by = make(map[string]*failure)
	}
	one := f.by[reason]
	if one == nil {
		one = &failure{Reason: reason}
		f.by[reason] = one
	}
	one.Count++
	one.Last, one.Error = time.Now(), err.Error()
}

func (f *failures) list(s *Status) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, reason := range slices.Sorted(maps.Keys(f.by)) {
		s.Failures = append(s.Failures, *f.by[reason])
	}
}

// backgroundLogger is where changes go that no request waits for: to the logger of the
// guard that was made last with one, or to slog.Default.
var backgroundLogger atomic.Pointer[slog.Logger]

// observeBackground has the failures and recoveries of background refreshes logged,
// once for the process: a key set that cannot be refreshed serves on for a day, and
// no request would tell.
var observeBackground = sync.OnceFunc(func() {
	lines := new(quiet)
	remote.Observe(func(c remote.Change) {
		state := "failed"
		if c.Err == nil {
			state = "recovered"
		}
		if !lines.allows(state+" "+c.URL, time.Now()) {
			return
		}
		l := backgroundLogger.Load()
		if l == nil {
			if l = slog.Default(); !c.Background && c.Err != nil {
				return // the request that waits for it is a line already
			}
		}
		var fields attrs
		fields.text("url", c.URL) // not known as long as metadata cannot be had
		if !c.LastGood.IsZero() {
			fields = append(fields, slog.Time("last_good", c.LastGood))
		}
		if c.Err == nil {
			l.LogAttrs(context.Background(), slog.LevelInfo, "issuer document can be fetched again", fields...)
			return
		}
		fields.text("error", c.Err.Error())
		l.LogAttrs(context.Background(), slog.LevelWarn, "issuer document cannot be fetched", fields...)
	})
})

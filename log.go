package middleware

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

// WithLogger logs every refusal to l, one line each: at level Error if no decision
// could be made (503), at Info if the client is at fault. A request that passes and
// that rules which are [Staged] in report would refuse is a line at Info too. The keys
// are those of [Outcome.LogValue], at the top level of the record, and part of the API.
//
// New logs what [Guard.Describe] notes: bearer tokens that are accepted, used proofs
// that are remembered by this process only. The failure and the recovery of background
// refreshes of issuers' documents go to the logger of the guard that was made last, or
// to [slog.Default] if no guard has one.
//
// Without WithLogger and [WithObserver], decisions with status 5xx go to
// [slog.Default], at most one line per reason in ten seconds. A logger with
// [slog.DiscardHandler] is silence.
func WithLogger(l *slog.Logger) Option {
	return part("WithLogger", l, nil, func(b *builder) { b.logger = l })
}

// The messages of log lines.
const (
	logRefused    = "request refused"
	logWouldDeny  = "request would be refused"
	quietInterval = 10 * time.Second
)

// begin tells the operator once what a guard with a logger enforces, as far as it is
// not what one would expect.
func (g *Guard) begin() {
	observeBackground()
	if g.logger == nil {
		return
	}
	backgroundLogger.Store(g.logger)
	for _, note := range g.Describe().Notes {
		g.logger.Info("guard made", slog.String("note", note))
	}
}

// tell tells the operator of a decision.
func (g *Guard) tell(ctx context.Context, q *Request, d decision, begin time.Time) {
	if d.err != nil && g.denial(d.err).Status >= 500 {
		g.failures.add(reasonOf(d.err), d.err)
	}
	switch {
	case g.observer == nil && d.err == nil && (d.inspection == nil || d.reported == nil):
		return // The usual case costs nothing.
	case g.observer == nil && g.logger == nil:
		g.tellDefault(ctx, q, d)
		return
	}
	var total time.Duration
	if !begin.IsZero() {
		total = time.Since(begin)
	}
	o := g.outcome(q, d, total)
	if g.logger != nil {
		o.log(ctx, g.logger)
	}
	if g.observer != nil {
		g.observer(ctx, o)
	}
}

// tellDefault is for operators who have configured neither a logger nor an observer.
func (g *Guard) tellDefault(ctx context.Context, q *Request, d decision) {
	if d.err == nil || g.denial(d.err).Status < 500 || !g.quiet.allows(reasonOf(d.err), time.Now()) {
		return
	}
	o := g.outcome(q, d, 0)
	o.log(ctx, slog.Default())
}

func (o *Outcome) log(ctx context.Context, l *slog.Logger) {
	level, message := slog.LevelInfo, logRefused
	switch {
	case o.Err == nil && o.WouldDeny == "":
		return
	case o.Err == nil:
		message = logWouldDeny
	case o.Status >= 500:
		level = slog.LevelError
	}
	if l.Enabled(ctx, level) {
		l.LogAttrs(ctx, level, message, o.LogValue().Group()...)
	}
}

// quiet lets one line per reason pass in an interval. Its methods may be called
// concurrently.
type quiet struct {
	mu   sync.Mutex
	last map[string]time.Time
}

func (q *quiet) allows(reason string, now time.Time) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if last, ok := q.last[reason]; ok && now.Sub(last) < quietInterval {
		return false
	}
	if q.last == nil || len(q.last) > 1000 { // of URLs there may be many
		q.last = make(map[string]time.Time)
	}
	q.last[reason] = now
	return true
}

package remote

import (
	"errors"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"time"
)

const (
	// unstatedLifetime is for an answer that does not say how long it is good.
	unstatedLifetime = 15 * time.Minute

	// renewalsInARow is how many renewals may follow each other without a
	// pause as long as each brings something new. Two rotations of a key in
	// quick succession are both found; an issuer that answers something else
	// each time cannot be asked without end.
	renewalsInARow = 4

	// longestFailureCooldown bounds the wait after failures where the cooldown
	// does not: an operator who sets a long cooldown wants fewer renewals, not a longer
	// outage.
	longestFailureCooldown = 30 * time.Second
)

// pace decides when the next attempt may be made. It knows no lock.
type pace struct {
	cooldown, failure time.Duration

	failures  int       // in a row
	renewals  int       // in a row: each brought something new, within a cooldown of the one before
	renewedAt time.Time // end of the last renewal
	retryAt   time.Time // no attempt at all before this
	renewAt   time.Time // no renewal before this
	refreshAt time.Time // the answer's lifetime ends
}

func (p *pace) succeeded(now time.Time, lifetime time.Duration) {
	p.failures, p.retryAt = 0, time.Time{}
	p.refreshAt = now.Add(lifetime)
}

// renewed starts the cooldown, unless the renewal was worth it.
func (p *pace) renewed(now time.Time, news bool) {
	if now.Sub(p.renewedAt) >= p.cooldown {
		p.renewals = 0
	}
	p.renewedAt = now
	if p.renewals++; news && p.renewals < renewalsInARow {
		return
	}
	p.renewals = 0
	p.renewAt = now.Add(p.cooldown)
}

// failed starts the wait after a failure: doubled each time, with up to an
// eighth on top so that a fleet does not come back in step.
func (p *pace) failed(now time.Time, err error) {
	limit := max(min(p.cooldown, longestFailureCooldown), p.failure)
	wait := p.failure
	for n := p.failures; n > 0 && wait < limit; n-- {
		wait *= 2
	}
	wait = min(wait, limit)
	p.failures++
	if e, ok := errors.AsType[retryError](err); ok && e.RetryAfter() > 0 {
		// The wait of another document, already drawn out: follow it, do not add to it.
		p.retryAt = now.Add(min(e.RetryAfter(), limit))
		return
	}
	p.retryAt = now.Add(wait + rand.N(wait/8+1))
}

func (p *pace) nextAttempt() time.Time { return later(p.retryAt, p.renewAt) }
func (p *pace) nextRefresh() time.Time { return later(p.refreshAt, p.retryAt) }

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// lifetime reads how long an answer is good, in the order of RFC 9111, section 4.2.1,
// less the Age that a cache on the way reports (section 4.2.3).
func lifetime(h http.Header) time.Duration {
	stated, ok := maxAge(h.Values("Cache-Control"))
	if !ok {
		stated, ok = expires(h)
	}
	if !ok {
		return unstatedLifetime
	}
	age, _ := deltaSeconds(h.Get("Age"))
	return max(stated-age, 0)
}

// maxAge reports the Cache-Control lifetime. no-store and no-cache count as
// zero: a server that sends them wants to be asked as often as possible.
func maxAge(fields []string) (d time.Duration, ok bool) {
	for _, field := range fields {
		for directive := range strings.SplitSeq(field, ",") {
			name, value, _ := strings.Cut(strings.TrimSpace(directive), "=")
			switch strings.ToLower(name) {
			case "no-store", "no-cache":
				return 0, true
			case "max-age":
				if seconds, good := deltaSeconds(strings.Trim(value, `"`)); good && !ok {
					d, ok = seconds, true
				}
			}
		}
	}
	return d, ok
}

func expires(h http.Header) (time.Duration, bool) {
	until, err := http.ParseTime(h.Get("Expires"))
	if err != nil {
		return 0, false
	}
	from, err := http.ParseTime(h.Get("Date"))
	if err != nil {
		from = time.Now()
	}
	return until.Sub(from), true
}

// deltaSeconds parses RFC 9111, section 1.2.2, cut at a year: far beyond any
// upper bound in use here, and far from overflow.
func deltaSeconds(s string) (time.Duration, bool) {
	const year = 365 * 24 * time.Hour
	n, err := strconv.ParseUint(s, 10, 64)
	if errors.Is(err, strconv.ErrRange) {
		return year, true
	}
	if err != nil {
		return 0, false
	}
	return time.Duration(min(n, uint64(year/time.Second))) * time.Second, true
}

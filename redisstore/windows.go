package redisstore

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/keybound-go/middleware/internal/replayset"
)

const (
	// pollInterval is how old may be what a process knows of the others, and
	// so how long after its last word a process may go by what it knew then.
	pollInterval = 5 * time.Second
	// minPolls of them are for how long a record stays at least: long enough for every
	// process to have heard of the one that made it.
	minPolls = 3
	// maxWindow is more than any Verifier has, and horizon more than any proof lives.
	maxWindow = 2 * time.Hour
	horizon   = 2*maxWindow + time.Hour
)

// windows knows for how long the Verifiers of all replicas accept proofs, so that a
// record stays for the longest of them: replicas may have different settings, as
// while a change of them is being rolled out.
//
// Each process writes what it remembers for into a hash in the store, with the time,
// at least every pollInterval while it is in use. It reads what the others remember
// for, and does so from then on. For what was recorded before, under a
// shorter window, the arithmetic is that of [replayset.Promise].
type windows struct {
	client redis.UniversalClient
	key    string
	poll   time.Duration // pollInterval, except in tests

	turn  chan struct{} // holds one token: refreshing, or changing state
	state atomic.Pointer[view]
}

// view never changes.
type view struct {
	own      replayset.Window    // of the Verifiers of this process
	shared   replayset.Window    // of all
	promises []replayset.Promise // of all, this process's earlier ones included
	at       time.Time           // when this was read from the store
}

func newWindows(client redis.UniversalClient, prefix string) *windows {
	w := &windows{client: client, key: prefix + "windows", poll: pollInterval, turn: make(chan struct{}, 1)}
	w.state.Store(new(view))
	return w
}

// until returns for how long the proof of u must stay in the store. It asks the store
// what the others remember for if it has not done so lately.
func (w *windows) until(ctx context.Context, u replayset.Use) (time.Time, error) {
	k := w.state.Load()
	if !w.serves(k, u.Window) {
		var err error
		if k, err = w.refresh(ctx, u.Window); err != nil {
			return time.Time{}, err
		}
	}
	now := time.Now()
	if err := replayset.Judge(&u, k.shared, k.promises, now); err != nil {
		return time.Time{}, err
	}
	until := u.Until(k.shared, now)
	if least := now.Add(minPolls * w.poll); until.Before(least) {
		until = least
	}
	return until, nil
}

// serves reports whether k is fresh enough, for a Verifier with the given window.
func (w *windows) serves(k *view, window replayset.Window) bool {
	return k.own.Join(window) == k.own && time.Since(k.at) < w.poll
}

// refresh tells the others what this process remembers for, and reads what they do.
func (w *windows) refresh(ctx context.Context, window replayset.Window) (*view, error) {
	select {
	case w.turn <- struct{}{}:
		defer func() { <-w.turn }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	k := w.state.Load()
	if w.serves(k, window) {
		return k, nil // by the one that had the turn before
	}
	next := &view{own: k.own.Join(window), at: time.Now()}
	next.shared = next.own.Join(k.shared)
	// Reading comes first, so that the word of this process is not of too short a window.
	// What another process writes in between, this one hears next time; that is soon
	// enough, since no record stays for less than some polls.
	entries, err := w.client.HGetAll(ctx, w.key).Result()
	if err != nil {
		return nil, err
	}
	stale := next.read(entries, w.poll)
	pipe := w.client.Pipeline()
	pipe.HSet(ctx, w.key, format(next.shared), next.at.UnixMilli())
	pipe.PExpire(ctx, w.key, horizon)
	if _, err := pipe.Exec(ctx); err != nil {
		return nil, err
	}
	w.state.Store(next)
	if len(stale) > 0 {
		_ = w.client.HDel(ctx, w.key, stale...).Err() // The next one tries again.
	}
	return next, nil
}

// read takes over what the entries say, and returns those that are of no use any more.
func (k *view) read(entries map[string]string, poll time.Duration) (stale []string) {
	k.promises = nil
	for field, value := range entries {
		window, ok := parse(field)
		millis, err := strconv.ParseInt(value, 10, 64)
		last := time.UnixMilli(millis)
		if !ok || err != nil || k.at.Sub(last) > horizon {
			stale = append(stale, field)
			continue
		}
		k.shared = k.shared.Join(window)
		k.promises = append(k.promises, replayset.Promise{Window: window, Last: last.Add(poll)})
	}
	return stale
}

// format writes a window as a field of the hash.
func format(w replayset.Window) string {
	return fmt.Sprintf("%d,%d,%d,%d", w.IssuedAt.Milliseconds(), w.Nonce.Milliseconds(), w.Skew.Milliseconds(), w.Slack.Milliseconds())
}

func parse(field string) (w replayset.Window, ok bool) {
	into := [...]*time.Duration{&w.IssuedAt, &w.Nonce, &w.Skew, &w.Slack}
	numbers := strings.Split(field, ",")
	if len(numbers) != len(into) {
		return w, false
	}
	for i, number := range numbers {
		millis, err := strconv.ParseInt(number, 10, 64)
		if err != nil || millis < 0 || millis > maxWindow.Milliseconds() {
			return w, false
		}
		*into[i] = time.Duration(millis) * time.Millisecond
	}
	return w, true
}

package redisstore

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

const (
	// maxBatches pipelines are under way at the same time. One would do for the
	// server; with more, a connection that hangs does not hold all requests.
	maxBatches = 4
	// maxBatch commands go into one pipeline.
	maxBatch = 256
)

// batcher records the proofs of concurrent requests in one pipeline: while the server
// works on one, the next requests gather for the next. A request that comes alone is
// sent at once. (The AutoPipeliner of go-redis is experimental, waits for company, and
// keeps goroutines.)
type batcher struct {
	client  redis.UniversalClient
	timeout time.Duration

	mu      sync.Mutex
	waiting []*recording
	running int
}

// recording is one proof on its way into the store. Its outcome is there when done is
// closed.
type recording struct {
	ctx  context.Context // the request's, with a deadline
	key  string
	mark string
	ttl  int64 // in milliseconds

	done  chan struct{}
	fresh bool
	err   error
}

// record returns the outcome, or the error of r's context if that is over first. The
// proof may be recorded then or may not be.
func (b *batcher) record(r *recording) (fresh bool, err error) {
	b.mu.Lock()
	if b.running < maxBatches {
		b.running++
		b.mu.Unlock()
		defer b.handOver()
		return recordAlone(r.ctx, b.client, r)
	}
	r.done = make(chan struct{})
	b.waiting = append(b.waiting, r)
	b.mu.Unlock()
	select {
	case <-r.done:
		return r.fresh, r.err
	case <-r.ctx.Done():
		return false, r.ctx.Err()
	}
}

// handOver ends the turn of a request that was sent alone. What has gathered goes on
// without it.
func (b *batcher) handOver() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.waiting) == 0 {
		b.running--
		return
	}
	go b.run()
}

// run sends batches until nothing waits.
//
// Invariant: nothing waits unless maxBatches are running.
func (b *batcher) run() {
	for {
		b.mu.Lock()
		batch := b.waiting
		if len(batch) > maxBatch {
			batch = batch[:maxBatch:maxBatch]
		}
		b.waiting = b.waiting[len(batch):]
		if len(batch) == 0 {
			b.waiting = nil
			b.running--
			b.mu.Unlock()
			return
		}
		b.mu.Unlock()
		b.send(batch)
	}
}

// send finishes all of batch.
func (b *batcher) send(batch []*recording) {
	defer func() {
		p := recover()
		for _, r := range batch {
			select {
			case <-r.done:
			default:
				r.fresh, r.err = false, fmt.Errorf("panic in the client: %T", p)
				close(r.done)
			}
		}
	}()
	// A request that is over has been refused already.
	batch = slices.DeleteFunc(batch, func(r *recording) bool {
		over := r.ctx.Err() != nil
		if over {
			r.err = r.ctx.Err()
			close(r.done)
		}
		return over
	})
	switch len(batch) {
	case 0:
	case 1:
		r := batch[0]
		r.fresh, r.err = recordAlone(r.ctx, b.client, r)
		close(r.done)
	default:
		// No request must be able to end the pipeline of the others.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(batch[0].ctx), b.timeout)
		defer cancel()
		recordTogether(ctx, b.client, batch)
	}
}

// recordAlone is the one round trip, and a second one for what has been there before.
//
// A reply can get lost on its way, and the client then sends the command again. A
// bare SET NX finds what the first one has left, and would call an honest proof a
// replay. So every call leaves a mark of its own, which is the same however often its
// command is sent, and which no other call has: a proof with our mark has been used
// by this call alone.
func recordAlone(ctx context.Context, client redis.UniversalClient, r *recording) (fresh bool, err error) {
	set := r.set(ctx)
	if err := client.Process(ctx, set); err != nil || set.Val() {
		return err == nil, err
	}
	return r.isOwn(client.Get(ctx, r.key))
}

// recordTogether does the same for several. Those that are fresh do not wait for the
// second round trip of the others.
func recordTogether(ctx context.Context, client redis.UniversalClient, batch []*recording) {
	sets := make([]*redis.BoolCmd, len(batch))
	pipe := client.Pipeline()
	for i, r := range batch {
		sets[i] = r.set(ctx)
		_ = pipe.Process(ctx, sets[i]) // It only queues.
	}
	_, _ = pipe.Exec(ctx) // Each command has its own error.
	var present []*recording
	for i, r := range batch {
		if r.err = sets[i].Err(); r.err == nil && !sets[i].Val() {
			present = append(present, r)
			continue
		}
		r.fresh = r.err == nil
		close(r.done)
	}
	if len(present) == 0 {
		return
	}
	gets := make([]*redis.StringCmd, len(present))
	for i, r := range present {
		gets[i] = pipe.Get(ctx, r.key)
	}
	_, _ = pipe.Exec(ctx)
	for i, r := range present {
		r.fresh, r.err = r.isOwn(gets[i])
		close(r.done)
	}
}

// set is the command that records r. The mark is an integer since Redis keeps that in
// the value's place, where a text would take memory of its own.
func (r *recording) set(ctx context.Context) *redis.BoolCmd {
	return redis.NewBoolCmd(ctx, "set", r.key, r.mark, "px", strconv.FormatInt(r.ttl, 10), "nx")
}

// isOwn reports whether what is in r's place is what r has left there.
func (r *recording) isOwn(get *redis.StringCmd) (bool, error) {
	switch left, err := get.Result(); {
	case errors.Is(err, redis.Nil):
		return false, nil // it has expired in the meantime
	case err != nil:
		return false, err
	default:
		return left == r.mark, nil
	}
}

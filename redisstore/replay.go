package redisstore

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/keybound-go/middleware/dpop"
	"github.com/keybound-go/middleware/internal/options"
	"github.com/keybound-go/middleware/internal/replayset"
)

const (
	defaultReplayPrefix = "dpop:"
	defaultTimeout      = 250 * time.Millisecond

	// A proof that is good for longer than that is a mistake of the caller.
	maxAhead = 24 * time.Hour

	// idBytes of the SHA-256 tell proofs apart, as dpop.ReplayCache permits.
	idBytes = 16
)

var _ dpop.ReplayCache = (*ReplayCache)(nil)

// ReplayCache is a [dpop.ReplayCache] that all the replicas of a service share.
// Make one with [NewReplayCache]; the zero ReplayCache returns errors. It is safe
// for concurrent use, keeps no goroutine beyond its calls, and needs no closing: the
// client belongs to the caller, and is given a hook that notices failing connections.
type ReplayCache struct {
	client  redis.UniversalClient // nil in the zero ReplayCache
	prefix  string
	timeout time.Duration
	local   *known   // nil: none
	batches *batcher // nil: each call for itself
	windows *windows
	dials   *dials
}

// NewReplayCache makes a ReplayCache on the server, the sentinels or the cluster
// that client talks to. It touches no network; see [ReplayCache.Check].
//
// It reports every mistake in its arguments at once: an option, a client that does
// not stop at deadlines (set ContextTimeoutEnabled), a [redis.Ring], which
// asks another server when one is down, and that server knows nothing, or a
// [redis.ClusterClient] that reads from replicas, which know it too late.
func NewReplayCache(client redis.UniversalClient, opts ...ReplayOption) (*ReplayCache, error) {
	c := newConfig(defaultReplayPrefix, defaultTimeout)
	c.checkClient("NewReplayCache", client)
	switch client := client.(type) {
	case *redis.Ring:
		c.Problem("NewReplayCache: a Ring forgets proofs when one of its servers is down")
	case *redis.ClusterClient:
		if o := client.Options(); o.ReadOnly || o.RouteByLatency || o.RouteRandomly {
			c.Problem("NewReplayCache: the client reads from replicas, which do not know yet what has been written: leave out ReadOnly, RouteByLatency and RouteRandomly")
		}
	}
	options.Each(c.Set, opts, func(opt ReplayOption) { opt.applyReplay(c) })
	if err := c.Err(); err != nil {
		return nil, err
	}
	r := &ReplayCache{
		client: client, prefix: c.prefix, timeout: c.timeout, local: newKnown(c.cacheSize),
		windows: newWindows(client, c.prefix), dials: watchDials(client),
	}
	// The nodes of a cluster fail one by one: a pipeline would wait for the slowest.
	if single, ok := client.(*redis.Client); ok {
		r.batches = &batcher{client: single, timeout: c.timeout}
	}
	return r, nil
}

var (
	errNotNew   = errors.New("redisstore: not made by its constructor")
	errPast     = errors.New("redisstore: replay cache: proof from a time that is forgotten")
	errFarAhead = fmt.Errorf("redisstore: replay cache: asked to remember a proof for more than %v", maxAhead)
)

// Add is [dpop.ReplayCache.Add]. It asks the server once about a proof that is fresh,
// twice about one that is not, and gives up with an error after the time set by
// [WithTimeout]. The proof may be recorded then or may not be; it is not accepted
// in either case. jkt is not used.
//
// Calls at the same time share round trips. For a Verifier of package dpop, the proof is
// remembered for the longest window of all Verifiers, here and at other replicas.
func (c *ReplayCache) Add(ctx context.Context, _ string, id [32]byte, until time.Time) (fresh bool, err error) {
	if c.client == nil {
		return false, errNotNew
	}
	d := digest(id[:idBytes])
	if c.local.has(d) {
		return false, nil
	}
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	if use, ok := replayset.UseFrom(ctx); ok {
		if until, err = c.windows.until(ctx, use); err != nil {
			return false, c.failed(err)
		}
	}
	ttl, err := lifeOf(until)
	if err != nil {
		return false, err
	}
	r := &recording{ctx: ctx, key: c.key(d), mark: strconv.FormatInt(int64(rand.Uint64()), 10), ttl: ttl}
	if c.batches != nil {
		fresh, err = c.batches.record(r)
	} else {
		fresh, err = recordAlone(ctx, c.client, r)
	}
	if err != nil {
		return false, c.failed(err)
	}
	c.local.add(d)
	return fresh, nil
}

func (c *ReplayCache) failed(err error) error {
	if errors.Is(err, replayset.ErrTooOld) || errors.Is(err, replayset.ErrAhead) {
		return err // The Verifier knows what they mean: the store is well.
	}
	return c.dials.explained("replay cache", err)
}

// lifeOf is the time from now to until in whole milliseconds, rounded up, and never
// zero. The server counts it from when it gets the command, which is later.
func lifeOf(until time.Time) (milliseconds int64, err error) {
	ahead := time.Until(until)
	switch {
	case ahead < 0:
		return 0, errPast
	case ahead > maxAhead:
		return 0, errFarAhead
	}
	return int64(ahead/time.Millisecond) + 1, nil
}

// key has a fixed length and an alphabet without the braces that choose a cluster's
// node, so that proofs spread over all nodes.
func (c *ReplayCache) key(d digest) string {
	var buf [64 + (idBytes*8+5)/6]byte
	return string(base64.RawURLEncoding.AppendEncode(append(buf[:0], c.prefix...), d[:]))
}

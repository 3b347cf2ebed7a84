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
)

const (
	defaultReplayPrefix = "dpop:"
	defaultTimeout      = 250 * time.Millisecond

	// A proof that is good for longer than that is a mistake of the caller.
	maxAhead = 24 * time.Hour

	// idOctets of the SHA-256 tell proofs apart, as dpop.ReplayCache permits.
	idOctets = 16
)

var _ dpop.ReplayCache = (*ReplayCache)(nil)

// ReplayCache is a [dpop.ReplayCache] that all the replicas of a service share.
// Make one with [NewReplayCache]; the zero ReplayCache returns errors. It is safe
// for concurrent use, starts no goroutine, and needs no closing: the client
// belongs to the caller.
type ReplayCache struct {
	client  redis.UniversalClient
	prefix  string
	timeout time.Duration
	local   *known // nil: none
}

// NewReplayCache makes a ReplayCache on the server, the sentinels or the cluster
// that client talks to. It touches no network; see [ReplayCache.Check].
//
// It reports every mistake in its arguments at once: an option, a client that does
// not stop at deadlines (set ContextTimeoutEnabled), a [redis.Ring], which
// asks another server when one is down, and that server knows nothing, or a
// [redis.ClusterClient] that reads from replicas, which know it too late.
func NewReplayCache(client redis.UniversalClient, opts ...ReplayOption) (*ReplayCache, error) {
	c := config{prefix: defaultReplayPrefix, timeout: defaultTimeout}
	c.checkClient("NewReplayCache", client)
	switch client := client.(type) {
	case *redis.Ring:
		c.problem("NewReplayCache: a Ring forgets proofs when one of its servers is down")
	case *redis.ClusterClient:
		if o := client.Options(); o.ReadOnly || o.RouteByLatency || o.RouteRandomly {
			c.problem("NewReplayCache: the client reads from replicas, which do not know yet what has been written: leave out ReadOnly, RouteByLatency and RouteRandomly")
		}
	}
	for _, opt := range opts {
		if isNil(opt) {
			c.problem("nil ReplayOption")
			continue
		}
		opt.applyReplay(&c)
	}
	if err := errors.Join(c.problems...); err != nil {
		return nil, err
	}
	return &ReplayCache{client: client, prefix: c.prefix, timeout: c.timeout, local: newKnown(c.localTier)}, nil
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
func (c *ReplayCache) Add(ctx context.Context, _ string, id [32]byte, until time.Time) (fresh bool, err error) {
	if c.client == nil {
		return false, errNotNew
	}
	ttl, err := lifeOf(until)
	if err != nil {
		return false, err
	}
	d := digest(id[:idOctets])
	if c.local.has(d) {
		return false, nil
	}
	if fresh, err = c.record(ctx, d, ttl); err != nil {
		return false, fmt.Errorf("redisstore: replay cache: %w", err)
	}
	c.local.add(d)
	return fresh, nil
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

// record is the one round trip, and a second one for what has been there before.
//
// A reply can get lost on its way, and the client then sends the command again. A
// bare SET NX finds what the first one has left, and would call an honest proof a
// replay. So every call leaves a mark of its own, which is the same however often its
// command is sent, and which no other call has: a proof with our mark has been used
// by nobody else.
//
// The mark is an integer since Redis keeps that in the value's place, where a text
// would take memory of its own.
func (c *ReplayCache) record(ctx context.Context, d digest, ttl int64) (fresh bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	key, mark := c.key(d), strconv.FormatInt(int64(rand.Uint64()), 10)
	set := redis.NewBoolCmd(ctx, "set", key, mark, "px", ttl, "nx")
	if err := c.client.Process(ctx, set); err != nil {
		return false, err
	}
	if set.Val() {
		return true, nil
	}
	switch left, err := c.client.Get(ctx, key).Result(); {
	case errors.Is(err, redis.Nil):
		return false, nil // it has expired in the meantime
	case err != nil:
		return false, err
	default:
		return left == mark, nil
	}
}

// key has a fixed length and an alphabet without the braces that choose a cluster's
// node, so that proofs spread over all nodes.
func (c *ReplayCache) key(d digest) string {
	var buf [64 + (idOctets*8+5)/6]byte
	return string(base64.RawURLEncoding.AppendEncode(append(buf[:0], c.prefix...), d[:]))
}

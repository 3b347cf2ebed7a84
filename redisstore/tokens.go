package redisstore

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/keybound-go/middleware/oidc/introspect"
)

const (
	defaultTokenPrefix  = "introspection:"
	defaultTokenTimeout = 100 * time.Millisecond // the issuer can be asked instead
)

var _ introspect.Store = (*TokenCache)(nil)

// ErrForeignEntry is reported for an entry that does not open: it was sealed with a
// key that this process does not have, or somebody has changed it, or put it where it
// does not belong. It is a miss.
var ErrForeignEntry = errors.New("redisstore: token cache: an entry was sealed with another key or tampered with")

// TokenCache is an [introspect.Store] that all the replicas of a service share. What
// it stores is encrypted: who can read the store learns how many tokens there are and
// how long their claims are, and who can write to it can make entries vanish, not
// make a token good. Make one with [NewTokenCache]; the zero TokenCache returns
// errors. It is safe for concurrent use, starts no goroutine, and needs no closing.
type TokenCache struct {
	client  redis.UniversalClient
	prefix  string
	timeout time.Duration
	report  func(error) // nil: none
	keys    []sealer    // the first one seals, all open
}

// NewTokenCache makes a TokenCache on the server, the sentinels or the cluster that client
// talks to, sealed with key: 32 octets or more from a cryptographic random source,
// the same at every replica. The key is copied. See [WithPreviousKeys] for how to
// change it.
//
// It reports every mistake in its arguments at once, and touches no network. As with
// [NewReplayCache], the client must have ContextTimeoutEnabled.
func NewTokenCache(client redis.UniversalClient, key []byte, opts ...TokenOption) (*TokenCache, error) {
	c := config{prefix: defaultTokenPrefix, timeout: defaultTokenTimeout}
	c.checkClient("NewTokenCache", client)
	for _, opt := range opts {
		if isNil(opt) {
			c.problem("nil TokenOption")
			continue
		}
		opt.applyToken(&c)
	}
	keys := c.sealers(key)
	if err := errors.Join(c.problems...); err != nil {
		return nil, err
	}
	return &TokenCache{client: client, prefix: c.prefix, timeout: c.timeout, report: c.report, keys: keys}, nil
}

// Get is [introspect.Store.Get]. An entry that does not open, or is older than its
// ttl, is not found.
func (c *TokenCache) Get(ctx context.Context, key [32]byte) (value []byte, found bool, err error) {
	if c.client == nil {
		return nil, false, errNotNew
	}
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	sealed, err := c.client.Get(ctx, c.key(key)).Bytes()
	switch {
	case errors.Is(err, redis.Nil):
		return nil, false, nil
	case err != nil:
		return nil, false, c.failed(err)
	}
	for _, k := range c.keys {
		if entry, ok := k.open(key, sealed); ok {
			value, found = unexpired(entry)
			return value, found, nil
		}
	}
	if c.report != nil {
		c.report(ErrForeignEntry)
	}
	return nil, false, nil
}

// Set is [introspect.Store.Set].
func (c *TokenCache) Set(ctx context.Context, key [32]byte, value []byte, ttl time.Duration) error {
	if c.client == nil {
		return errNotNew
	}
	ttl = ttl.Truncate(time.Millisecond)
	if ttl <= 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	// The end is sealed too: the store forgets only if nobody restores what it had.
	entry := binary.BigEndian.AppendUint64(make([]byte, 0, entryHeader+len(value)), uint64(time.Now().Add(ttl).UnixMilli()))
	sealed := c.keys[0].seal(key, append(entry, value...))
	if err := c.client.Set(ctx, c.key(key), sealed, ttl).Err(); err != nil {
		return c.failed(err)
	}
	return nil
}

// entryHeader is the end of an entry, in Unix milliseconds.
const entryHeader = 8

func unexpired(entry []byte) (value []byte, ok bool) {
	if len(entry) < entryHeader || time.Now().UnixMilli() >= int64(binary.BigEndian.Uint64(entry)) {
		return nil, false
	}
	return entry[entryHeader:], true
}

func (c *TokenCache) failed(err error) error {
	err = fmt.Errorf("redisstore: token cache: %w", err)
	if c.report != nil {
		c.report(err)
	}
	return err
}

func (c *TokenCache) key(key [32]byte) string {
	return c.prefix + base64.RawURLEncoding.EncodeToString(key[:])
}

package redisstore

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/keybound-go/middleware/internal/options"
	"github.com/keybound-go/middleware/internal/seal"
	"github.com/keybound-go/middleware/oidc/introspect"
)

const (
	defaultTokenPrefix  = "introspection:"
	defaultTokenTimeout = 100 * time.Millisecond // the issuer can be asked instead

	// sealDomain keeps what is derived here apart from any other use of the keys.
	sealDomain  = "github.com/keybound-go/middleware/redisstore tokens v1"
	sealVersion = 1
)

var _ introspect.Store = (*TokenCache)(nil)

// ErrForeignEntry is reported for an entry that does not open: it was sealed with a
// key that this process does not have, was changed, or was put where it does not belong.
// It is a miss.
var ErrForeignEntry = errors.New("redisstore: token cache: an entry was sealed with another key or tampered with")

// TokenCache is an [introspect.Store] that all the replicas of a service share. What it
// stores is encrypted: a reader of the store learns how many tokens there are and how
// long their claims are, and a writer can make entries vanish, but no token good. Make
// one with [NewTokenCache]; the zero TokenCache returns errors. It is safe for
// concurrent use, starts no goroutine, and needs no closing.
type TokenCache struct {
	client  redis.UniversalClient
	prefix  string
	timeout time.Duration
	report  func(error) // nil: none
	ring    *seal.Ring
	dials   *dials
}

// NewTokenCache makes a TokenCache on the server, the sentinels or the cluster that
// client talks to, sealed with key: 32 bytes or more from a cryptographic random
// source, the same at every replica. The key is copied. See [WithPreviousKeys] for how
// to change it.
//
// It reports every mistake in its arguments at once, and touches no network. As with
// [NewReplayCache], the client must have ContextTimeoutEnabled.
func NewTokenCache(client redis.UniversalClient, key []byte, opts ...TokenOption) (*TokenCache, error) {
	c := newConfig(defaultTokenPrefix, defaultTokenTimeout)
	c.checkClient("NewTokenCache", client)
	options.Each(c.Set, opts, func(opt TokenOption) { opt.applyToken(c) })
	ring, problems := seal.New(sealDomain, append([][]byte{key}, c.previous...)...)
	for _, problem := range problems {
		c.Problem("NewTokenCache: %w", problem)
	}
	if err := c.Err(); err != nil {
		return nil, err
	}
	return &TokenCache{
		client: client, prefix: c.prefix, timeout: c.timeout, report: c.report, ring: ring, dials: watchDials(client),
	}, nil
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
	if entry, ok := c.open(key, sealed); ok {
		value, found = unexpired(entry)
		return value, found, nil
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
	// The end is sealed too: an attacker with the store's backup could restore the entry.
	entry := binary.BigEndian.AppendUint64(make([]byte, 0, entryHeader+len(value)), uint64(time.Now().Add(ttl).UnixMilli()))
	sealed, err := c.seal(key, append(entry, value...))
	if err != nil {
		return c.failed(err)
	}
	if err := c.client.Set(ctx, c.key(key), sealed, ttl).Err(); err != nil {
		return c.failed(err)
	}
	return nil
}

// seal seals an entry for its place, so that it opens nowhere else. The additional data
// binds what the derived key binds already, for a reader that trusts the one more
// than the other, and the version, which nothing else does.
func (c *TokenCache) seal(place [32]byte, entry []byte) ([]byte, error) {
	out := append(make([]byte, 0, 1+len(entry)+seal.Overhead), sealVersion)
	return c.ring.Seal(out, place[:], entry, append(place[:], sealVersion))
}

func (c *TokenCache) open(place [32]byte, sealed []byte) (entry []byte, ok bool) {
	if len(sealed) < 1 || sealed[0] != sealVersion {
		return nil, false
	}
	return c.ring.Open(place[:], sealed[1:], append(place[:], sealVersion))
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
	err = c.dials.explained("token cache", err)
	if c.report != nil {
		c.report(err)
	}
	return err
}

func (c *TokenCache) key(key [32]byte) string {
	return c.prefix + base64.RawURLEncoding.EncodeToString(key[:])
}

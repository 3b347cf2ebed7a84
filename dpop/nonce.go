package dpop

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"time"

	"github.com/keybound-go/middleware/internal/options"
)

// NonceSource makes nonces and recognises them. Implementations must be safe for
// concurrent use. An error is the service's trouble: the request gets a 503.
type NonceSource interface {
	// Issue returns a nonce that it has not returned before, and that no client or
	// attacker can foretell. RFC 9449, section 8.1, permits visible ASCII without the
	// double quote and the backslash; at most 512 bytes are accepted back.
	Issue(ctx context.Context) (string, error)

	// IssuedAt returns when this source, or a replica of it, issued nonce. ok is
	// false if none did, and for whatever else a client may send. It need not
	// judge the age: the Verifier does. A source that forgets a nonce within the
	// proof lifetime costs its client a retry. One that recognises a nonce that it
	// has not issued lets an attacker prepare proofs for later.
	IssuedAt(ctx context.Context, nonce string) (at time.Time, ok bool, err error)
}

// A nonce is a time, some randomness, and a MAC of both, in base64url.
const (
	minNonceKey = 32

	nonceTime   = 8 // milliseconds since the epoch, big-endian
	nonceRandom = 8 // so that no two are equal
	nonceBody   = nonceTime + nonceRandom
	nonceMAC    = 16
	nonceSize   = nonceBody + nonceMAC

	// nonceDomain keeps these MACs apart from any other use of the key.
	nonceDomain = "github.com/keybound-go/middleware/dpop nonce v1\x00"
)

// Nonces is a [NonceSource] without a memory: a nonce carries the time of its
// issue and a MAC. Every replica with the same key accepts it. Make one with
// [NewNonces]; the zero Nonces returns errors. It is safe for concurrent use.
type Nonces struct {
	keys func() nonceKeys // a function, since nothing that prints a Nonces looks into it
}

// nonceKeys all recognise nonces; the first one makes them.
type nonceKeys [][]byte

// NonceOption configures [Nonces].
type NonceOption interface{ applyNonces(*nonceConfig) }

type nonceConfig struct {
	*options.Set
	keys nonceKeys
}

type nonceOptionFunc func(*nonceConfig)

func (f nonceOptionFunc) applyNonces(c *nonceConfig) { f(c) }

// WithPreviousKeys also recognises nonces that were made with one of the given keys.
//
// To rotate keys without refusing a client, first give the new key to every replica
// as a previous one, then exchange it with the old one on every replica, and drop the
// old one after the proof lifetime.
func WithPreviousKeys(keys ...[]byte) NonceOption {
	copies := make(nonceKeys, len(keys))
	for i, k := range keys {
		copies[i] = bytes.Clone(k)
	}
	return nonceOptionFunc(func(c *nonceConfig) {
		if c.Once("WithPreviousKeys") {
			c.keys = append(c.keys, copies...)
		}
	})
}

// NewNonces makes nonces with key, and recognises those that were made with key or
// one of [WithPreviousKeys]. Keys have 32 bytes or more from a cryptographic random
// source; they are copied.
func NewNonces(key []byte, opts ...NonceOption) (*Nonces, error) {
	c := nonceConfig{Set: options.For("dpop"), keys: nonceKeys{bytes.Clone(key)}}
	options.Each(c.Set, opts, func(opt NonceOption) { opt.applyNonces(&c) })
	for i, k := range c.keys {
		if len(k) < minNonceKey {
			c.Problem("NewNonces: key %d has %d bytes, not %d or more", i+1, len(k), minNonceKey)
		}
		for j, other := range c.keys[:i] {
			if bytes.Equal(k, other) {
				c.Problem("NewNonces: key %d is key %d again", i+1, j+1)
			}
		}
	}
	if err := c.Err(); err != nil {
		return nil, err
	}
	return &Nonces{keys: func() nonceKeys { return c.keys }}, nil
}

var errNoNonceKey = errors.New("dpop: Nonces was not made by NewNonces")

// Issue returns a nonce of 43 characters. The context is not used.
func (n *Nonces) Issue(context.Context) (string, error) {
	if n == nil || n.keys == nil {
		return "", errNoNonceKey
	}
	var raw [nonceSize]byte
	binary.BigEndian.PutUint64(raw[:], uint64(time.Now().UnixMilli()))
	rand.Read(raw[nonceTime:nonceBody])
	copy(raw[nonceBody:], nonceTag(n.keys()[0], raw[:nonceBody]))
	return base64.RawURLEncoding.EncodeToString(raw[:]), nil
}

// IssuedAt returns when nonce was made. The context is not used.
func (n *Nonces) IssuedAt(_ context.Context, nonce string) (at time.Time, ok bool, err error) {
	if n == nil || n.keys == nil {
		return time.Time{}, false, errNoNonceKey
	}
	if len(nonce) != base64.RawURLEncoding.EncodedLen(nonceSize) {
		return time.Time{}, false, nil
	}
	var raw [nonceSize]byte
	size, err := base64.RawURLEncoding.Strict().Decode(raw[:], []byte(nonce))
	if err != nil || size != nonceSize {
		return time.Time{}, false, nil
	}
	for _, key := range n.keys() {
		ok = ok || hmac.Equal(raw[nonceBody:], nonceTag(key, raw[:nonceBody]))
	}
	if !ok {
		return time.Time{}, false, nil
	}
	return time.UnixMilli(int64(binary.BigEndian.Uint64(raw[:]))), true, nil
}

func nonceTag(key, body []byte) []byte {
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(nonceDomain))
	mac.Write(body)
	return mac.Sum(nil)[:nonceMAC]
}

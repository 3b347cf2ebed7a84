package redisstore

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
)

const (
	minKey = 32

	// sealDomain keeps what is derived here apart from any other use of a key.
	sealDomain  = "github.com/keybound-go/middleware/redisstore tokens v1"
	sealVersion = 1
	sealKeySize = 32 // AES-256
)

// sealer encrypts entries: AES-256-GCM with a random nonce, under a key that is derived
// for each entry's place. So the number of entries has no limit that matters (random
// nonces repeat at 2^32 under one key, and here that is 2^32 answers for one
// token), and an entry opens nowhere but in its own place.
type sealer struct{ secret []byte }

// sealers checks the keys that the caller has given.
func (c *config) sealers(key []byte) (all []sealer) {
	for i, k := range append([][]byte{key}, c.previous...) {
		if len(k) < minKey {
			c.problem("NewTokenCache: key %d has %d octets, not %d or more", i+1, len(k), minKey)
			continue
		}
		for j, other := range append([][]byte{key}, c.previous...)[:i] {
			if bytes.Equal(k, other) {
				c.problem("NewTokenCache: key %d is key %d again", i+1, j+1)
			}
		}
		secret, err := hkdf.Extract(sha256.New, k, []byte(sealDomain))
		if err != nil {
			c.problem("NewTokenCache: %w", err)
		}
		all = append(all, sealer{secret})
	}
	return all
}

// at returns the cipher for one place.
func (s sealer) at(place [32]byte) cipher.AEAD {
	key, err := hkdf.Expand(sha256.New, s.secret, string(place[:]), sealKeySize)
	if err != nil {
		panic("redisstore: " + err.Error()) // not with these sizes
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		panic("redisstore: " + err.Error())
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		panic("redisstore: " + err.Error())
	}
	return aead
}

func (s sealer) seal(place [32]byte, entry []byte) []byte {
	aead := s.at(place)
	out := append(make([]byte, 0, 1+len(entry)+aead.Overhead()), sealVersion)
	return aead.Seal(out, nil, entry, additional(place))
}

func (s sealer) open(place [32]byte, sealed []byte) (entry []byte, ok bool) {
	if len(sealed) < 1 || sealed[0] != sealVersion {
		return nil, false
	}
	entry, err := s.at(place).Open(nil, nil, sealed[1:], additional(place))
	return entry, err == nil
}

// additional binds what the derived key binds already, for a reader who trusts the
// one more than the other, and the version, which nothing else does.
func additional(place [32]byte) []byte { return append(place[:], sealVersion) }

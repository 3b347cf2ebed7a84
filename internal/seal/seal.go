// Package seal answers "how does a replica keep a secret where others can read and
// write?": in a cookie, or in a store. What is sealed opens on every replica
// with the same key, and nowhere else.
//
// A [Ring] encrypts with AES-256-GCM and a random nonce, under a key that HKDF derives
// for each context: a salt, or the place where the text is kept. So the number of
// texts has no limit that matters. (Random nonces repeat at 2^32 under one key.)
package seal

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
)

const (
	// MinKey is how many bytes a key has at least.
	MinKey = 32

	keySize   = 32 // AES-256
	nonceSize = 12
	tagSize   = 16
)

// Overhead is how much longer than its text a sealed one is, in bytes.
const Overhead = nonceSize + tagSize

// Ring seals and opens. Make one with [New]. It never changes, and is safe for
// concurrent use.
type Ring struct {
	// The first one seals, all of them open. A function, since nothing that prints a
	// Ring, or what holds one, looks into it; with some verbs fmt follows pointers.
	secrets func() [][]byte
}

// New makes a Ring that seals with the first key and opens what any of them sealed.
// domain keeps what is derived here apart from any other use of the keys. The problems
// are complete sentences without the room in front, and name a key by its number.
//
// New tries each key out: what the build or its FIPS mode cannot do is found here.
func New(domain string, keys ...[]byte) (*Ring, []error) {
	var problems []error
	var secrets [][]byte
	for i, key := range keys {
		if len(key) < MinKey {
			problems = append(problems, fmt.Errorf("key %d has %d bytes, not %d or more", i+1, len(key), MinKey))
			continue
		}
		for j, other := range keys[:i] {
			if bytes.Equal(key, other) {
				problems = append(problems, fmt.Errorf("key %d is key %d again", i+1, j+1))
			}
		}
		secret, err := hkdf.Extract(sha256.New, key, []byte(domain))
		if err == nil {
			err = try(secret)
		}
		if err != nil {
			problems = append(problems, fmt.Errorf("key %d: this build cannot encrypt with it: %w", i+1, err))
			continue
		}
		secrets = append(secrets, secret)
	}
	if len(problems) > 0 {
		return nil, problems
	}
	return &Ring{func() [][]byte { return secrets }}, nil
}

// try seals and opens something.
func try(secret []byte) error {
	c, err := under(secret, nil)
	if err != nil {
		return err
	}
	_, err = c.open(c.seal(nil, []byte("text"), nil), nil)
	return err
}

// Seal appends the sealed text to dst. It opens with the same context and the same
// additional data only; neither is kept.
func (r *Ring) Seal(dst, context, text, additional []byte) ([]byte, error) {
	c, err := under(r.secrets()[0], context)
	if err != nil {
		return nil, err
	}
	return c.seal(dst, text, additional), nil
}

// Open returns the text, or false for everything that no key of the Ring has sealed
// like that.
func (r *Ring) Open(context, sealed, additional []byte) (text []byte, ok bool) {
	for _, secret := range r.secrets() {
		c, err := under(secret, context)
		if err != nil {
			return nil, false
		}
		if text, err := c.open(sealed, additional); err == nil {
			return text, true
		}
	}
	return nil, false
}

// Names returns a short public name of each key, in their order, that tells nothing of
// the key.
func (r *Ring) Names() ([]string, error) {
	var names []string
	for _, secret := range r.secrets() {
		name, err := hkdf.Expand(sha256.New, secret, "name", 4)
		if err != nil {
			return nil, err
		}
		names = append(names, fmt.Sprintf("%x", name))
	}
	return names, nil
}

// sealer is one cipher. A sealed text begins with its nonce.
type sealer struct {
	aead   cipher.AEAD
	nonces bool // aead makes nonces of its own
}

// under returns the sealer for one context.
func under(secret, context []byte) (sealer, error) {
	key, err := hkdf.Expand(sha256.New, secret, string(context), keySize)
	if err != nil {
		return sealer{}, err
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return sealer{}, err
	}
	// The FIPS 140 module wants to make the nonces; BoringCrypto's cipher cannot. The
	// result is the same.
	if aead, err := cipher.NewGCMWithRandomNonce(block); err == nil {
		return sealer{aead, true}, nil
	}
	aead, err := cipher.NewGCM(block)
	return sealer{aead, false}, err
}

func (s sealer) seal(dst, text, additional []byte) []byte {
	if s.nonces {
		return s.aead.Seal(dst, nil, text, additional)
	}
	var nonce [nonceSize]byte
	rand.Read(nonce[:])
	return s.aead.Seal(append(dst, nonce[:]...), nonce[:], text, additional)
}

func (s sealer) open(sealed, additional []byte) ([]byte, error) {
	if s.nonces {
		return s.aead.Open(nil, nil, sealed, additional)
	}
	if len(sealed) < nonceSize {
		return nil, fmt.Errorf("seal: %d bytes are no sealed text", len(sealed))
	}
	return s.aead.Open(nil, sealed[:nonceSize], sealed[nonceSize:], additional)
}

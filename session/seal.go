package session

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"time"
)

const (
	minKey = 32

	// sealDomain keeps what is derived here apart from any other use of a key.
	sealDomain  = "github.com/keybound-go/middleware/session v1"
	sealSalt    = 16
	sealKeySize = 32 // AES-256
)

// What is sealed: version, scheme, two times, token.
const (
	version    = 1
	bearer     = 'B'
	dpop       = 'D'
	headerSize = 1 + 1 + 8 + 8
)

// encoding is strict, so that a cookie has one spelling.
var encoding = base64.RawURLEncoding.Strict()

// sealer encrypts cookies: AES-256-GCM under a key that is derived for each of
// them from a random salt, so that their number has no limit that matters. The
// name of the cookie is authenticated with it: a cookie opens under no other name.
type sealer struct{ secret []byte }

// sealers checks the keys that the caller has given.
func (c *config) sealers() (all []sealer) {
	for i, k := range c.keys {
		if len(k) < minKey {
			c.problem("key %d has %d octets, not %d or more", i+1, len(k), minKey)
			continue
		}
		for j, other := range c.keys[:i] {
			if bytes.Equal(k, other) {
				c.problem("key %d is key %d again", i+1, j+1)
			}
		}
		secret, err := hkdf.Extract(sha256.New, k, []byte(sealDomain))
		if err != nil {
			c.problem("key %d: %w", i+1, err)
			continue
		}
		all = append(all, sealer{secret})
	}
	return all
}

// with returns the cipher for one salt.
func (s sealer) with(salt []byte) cipher.AEAD {
	key, err := hkdf.Expand(sha256.New, s.secret, string(salt), sealKeySize)
	if err != nil {
		panic("session: " + err.Error()) // not with these sizes
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		panic("session: " + err.Error())
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		panic("session: " + err.Error())
	}
	return aead
}

// seal returns the text of a cookie with that name.
func (s sealer) seal(name string, text []byte) string {
	var salt [sealSalt]byte
	rand.Read(salt[:])
	return encoding.EncodeToString(s.with(salt[:]).Seal(salt[:], nil, text, []byte(name)))
}

func (s sealer) open(name, sealed string) (text []byte, ok bool) {
	raw, err := encoding.DecodeString(sealed)
	if err != nil || len(raw) < sealSalt {
		return nil, false
	}
	text, err = s.with(raw[:sealSalt]).Open(nil, nil, raw[sealSalt:], []byte(name))
	return text, err == nil
}

// encode returns what is sealed of a session.
func encode(s Session) (text []byte, ok bool) {
	var scheme byte
	switch s.Scheme {
	case "DPoP":
		scheme = dpop
	case "Bearer":
		scheme = bearer
	default:
		return nil, false
	}
	text = append(make([]byte, 0, headerSize+len(s.Token)), version, scheme)
	text = binary.BigEndian.AppendUint64(text, uint64(s.started.Unix()))
	text = binary.BigEndian.AppendUint64(text, uint64(s.used.Unix()))
	return append(text, s.Token...), s.Token != ""
}

// decode is the other way round.
func decode(text []byte) (s Session, ok bool) {
	if len(text) <= headerSize || text[0] != version {
		return Session{}, false
	}
	switch text[1] {
	case dpop:
		s.Scheme = "DPoP"
	case bearer:
		s.Scheme = "Bearer"
	default:
		return Session{}, false
	}
	s.started = time.Unix(int64(binary.BigEndian.Uint64(text[2:])), 0)
	s.used = time.Unix(int64(binary.BigEndian.Uint64(text[10:])), 0)
	s.Token = string(text[headerSize:])
	return s, true
}

package session

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/binary"
	"time"
)

const (
	// sealDomain keeps what is derived here apart from any other use of a key.
	sealDomain = "github.com/keybound-go/middleware/session v1"
	sealSalt   = 16
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

// seal returns the text of a cookie with that name. The name is authenticated with
// it: a cookie opens under no other name.
func (s *Sessions) seal(name string, text []byte) (sealed string, ok bool) {
	var salt [sealSalt]byte
	rand.Read(salt[:])
	raw, err := s.ring.Seal(salt[:], salt[:], text, []byte(name))
	return encoding.EncodeToString(raw), err == nil
}

func (s *Sessions) unseal(name, sealed string) (text []byte, ok bool) {
	raw, err := encoding.DecodeString(sealed)
	if err != nil || len(raw) < sealSalt {
		return nil, false
	}
	return s.ring.Open(raw[:sealSalt], raw[sealSalt:], []byte(name))
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

// decode returns what encode has encoded.
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

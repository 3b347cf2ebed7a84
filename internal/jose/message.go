package jose

import (
	"bytes"
	"crypto/sha256"
	"strings"
)

// Message is one well-formed compact JWS. Its signature is not yet verified: see
// [Message.Verify]. It shares no memory with other
// messages. Its fields are not to be changed.
type Message struct {
	Header Header

	// Payload is the decoded payload, unchecked: it is for [strictjson.Object].
	Payload []byte

	signed    []byte // the signing input: header.payload as received
	signature []byte // decoded
}

// HashOf is the SHA-256 of a token as it was sent. It hashes a copy that the stack has
// room for, if the token is of an ordinary size: a conversion would allocate one.
func HashOf(compact string) [sha256.Size]byte {
	var buf [2048]byte
	return sha256.Sum256(append(buf[:0], compact...))
}

// maxHeaderDepth bounds the header's JSON; a jwk in it has depth 2.
const maxHeaderDepth = 8

// Parse takes compact apart. It refuses what is longer than maxSize bytes
// before it looks at or allocates anything. It does not look into the payload, and
// does no cryptography.
//
// The error is an [Error]: ErrTooLarge, ErrForm, ErrEncrypted, ErrTooDeep (of the
// header), ErrHeader or ErrCritical.
func Parse(compact string, maxSize int) (*Message, error) {
	if len(compact) > maxSize {
		return nil, ErrTooLarge
	}
	switch strings.Count(compact, ".") {
	case 2:
	case 4:
		return nil, ErrEncrypted
	default:
		return nil, ErrForm
	}
	m := new(Message)
	header, ok := m.split(compact)
	if !ok {
		return nil, ErrForm
	}
	if fault := m.Header.parse(header); fault != 0 {
		return nil, fault
	}
	return m, nil
}

// split decodes the three parts. One buffer holds compact and all that is
// decoded from it.
func (m *Message) split(compact string) (header []byte, ok bool) {
	buf := make([]byte, 0, len(compact)+base64url.DecodedLen(len(compact)))
	buf = append(buf, compact...)
	first := bytes.IndexByte(buf, '.')
	second := bytes.LastIndexByte(buf, '.')
	part := func(encoded []byte) []byte {
		start := len(buf)
		decoded, valid := appendDecoded(buf, encoded)
		ok = ok && valid
		buf = decoded
		return buf[start:len(buf):len(buf)]
	}
	ok = true
	header = part(buf[:first])
	m.Payload = part(buf[first+1 : second])
	m.signature = part(buf[second+1 : len(compact)])
	m.signed = buf[:second:second]
	return header, ok
}

package dpop

import (
	"context"
	"time"
)

// NonceSource makes nonces and recognises them. Implementations must be safe for
// concurrent use. An error is the service's trouble and answered with 503.
type NonceSource interface {
	// Issue returns a nonce that it has not returned before, of the characters
	// that RFC 9449, section 8.1, permits, and that nobody can foretell.
	Issue(ctx context.Context) (string, error)
	// IssuedAt returns when this source, or a replica of it, issued nonce.
	// ok is false if none did. It need not judge the age.
	IssuedAt(ctx context.Context, nonce string) (at time.Time, ok bool, err error)
}
type Nonces struct{}

func NewNonces(key []byte, previous ...[]byte) (*Nonces, error) { panic("todo") }
func (n *Nonces) Issue(ctx context.Context) (string, error)     { panic("todo") }
func (n *Nonces) IssuedAt(ctx context.Context, nonce string) (at time.Time, ok bool, err error) {
	panic("todo")
}

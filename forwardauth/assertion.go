package forwardauth

import (
	"crypto"
	"fmt"

	"github.com/keybound-go/middleware"
	"github.com/keybound-go/middleware/internal/identity"
)

// Signer signs assertions for one service. It is safe for concurrent use, and does not
// show its key when it is printed.
type Signer struct{ signer *identity.Signer }

// NewSigner returns a Signer for the service of that name, which its [Receiver] must have
// as well. The key is the Handler's own: RSA of 2048 to 4096 bits, P-256, P-384, P-521 or
// Ed25519, and used for nothing else.
func NewSigner(service string, key crypto.Signer) (*Signer, error) {
	s, err := identity.NewSigner(service, key)
	if err != nil {
		return nil, fmt.Errorf("forwardauth: %w", err)
	}
	return &Signer{s}, nil
}

// String names the service and the public key.
func (s *Signer) String() string {
	if s == nil {
		return "forwardauth.Signer(none)"
	}
	return fmt.Sprintf("forwardauth.Signer(%v)", s.signer)
}

// GoString is String.
func (s *Signer) GoString() string { return s.String() }

// assert returns the assertion that the holder of c has sent the request q.
func (s *Signer) assert(c *middleware.Credential, q middleware.Request) (string, error) {
	return s.signer.Assert(c, q)
}

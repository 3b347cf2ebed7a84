package dpop

import (
	"context"
	"net/http"
)

// Verifier checks DPoP proofs. Make one with [New]; the zero Verifier refuses
// everything. It is safe for concurrent use.
type Verifier struct{}

func New(origin string, opts ...Option) (*Verifier, error) { panic("todo") }

// CheckField checks the shape of the DPoP field without any crypto: exactly one field line, within the size limit, token68.
func (v *Verifier) CheckField(h http.Header) error { panic("todo") }

func (v *Verifier) Verify(r *http.Request, accessToken, jkt string) (*Proof, error) { panic("todo") }

func (v *Verifier) VerifyProof(ctx context.Context, req Request) (*Proof, error) { panic("todo") }

// NextNonce returns the nonce to put into the response: always one if p is nil (a refusal),
// one when p's nonce nears the end of its life, else "". Without nonces: "".
func (v *Verifier) NextNonce(ctx context.Context, p *Proof) (string, error) { panic("todo") }

// Algorithms returns the accepted algorithms in order, for the challenge's algs.
func (v *Verifier) Algorithms() []string { panic("todo") }

// Origins returns the configured external origins, normalised.
func (v *Verifier) Origins() []string { panic("todo") }

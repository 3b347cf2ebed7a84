// Package dpop answers "is this proof good for this request and this token?"
package dpop

import (
	"context"
	"crypto"
	"net/http"
	"time"
)

// CONTRACT STUB: dpop's owner replaces this file, keeping these names.

type Verifier struct{}
type Option interface{ apply(*int) }

// Proof is a DPoP proof that passed every check.
type Proof struct {
	Thumbprint string // jkt of the proof's key
	PublicKey  crypto.PublicKey
	Algorithm  string
	ID         string // jti
	Nonce      string
	IssuedAt   time.Time
}

type ReplayCache interface {
	Add(ctx context.Context, jkt string, id [32]byte, until time.Time) (fresh bool, err error)
}

// NonceSource makes and recognises nonces.
type NonceSource interface {
	// Issue returns a nonce that it has not returned before.
	Issue(ctx context.Context) (string, error)
	// IssuedAt returns when this source (or a replica with the same keys) issued nonce; ok is false if it did not.
	IssuedAt(ctx context.Context, nonce string) (at time.Time, ok bool, err error)
}

func New(origin string, opts ...Option) (*Verifier, error) { panic("stub") }

// CheckField checks the shape of the DPoP field without any crypto: exactly one field line, within the size limit, token68.
func (v *Verifier) CheckField(h http.Header) error { panic("stub") }

func (v *Verifier) Verify(r *http.Request, accessToken, jkt string) (*Proof, error) { panic("stub") }

type Request struct {
	Proof, Method, URL, AccessToken, Thumbprint string
}

func (v *Verifier) VerifyProof(ctx context.Context, req Request) (*Proof, error) { panic("stub") }

// NextNonce returns the nonce to put into the response: always one if p is nil (a refusal),
// one when p's nonce nears the end of its life, else "". Without nonces: "".
func (v *Verifier) NextNonce(ctx context.Context, p *Proof) (string, error) { panic("stub") }

// Algorithms returns the accepted algorithms in order, for the challenge's algs.
func (v *Verifier) Algorithms() []string { panic("stub") }

// Origins returns the configured external origins, normalised.
func (v *Verifier) Origins() []string { panic("stub") }

// Explanation is what a proof claims beside what was expected; nothing in it is verified. For logs only.
type Explanation struct {
	HTU, ExpectedHTU string // without query and fragment, printable, truncated
	HTM              string
	Skew             time.Duration // iat minus now; zero if there is no iat
	HasIssuedAt      bool
}

// Explain re-reads the proof of a refused request for the operator.
func (v *Verifier) Explain(r *http.Request) Explanation { panic("stub") }

// ProofError says why a proof is not accepted; comparable with ==.
type ProofError uint8

const (
	_ ProofError = iota
	ErrMissing
	ErrTooLarge
	ErrReplayed
)

func (e ProofError) Error() string       { panic("stub") } // "dpop: " + Description
func (e ProofError) Code() string        { panic("stub") } // invalid_dpop_proof, use_dpop_nonce, invalid_token (key mismatch), "" for ErrTooLarge and non-kinds
func (e ProofError) Description() string { panic("stub") }
func (e ProofError) Hint() string        { panic("stub") }

package dpop

import (
	"crypto"
	"time"
)

// Proof is a DPoP proof that passed every check. It belongs to the caller.
type Proof struct {
	Thumbprint string           // of the key that signed it: RFC 7638, SHA-256, base64url
	PublicKey  crypto.PublicKey // *ecdsa.PublicKey, *rsa.PublicKey or ed25519.PublicKey
	Algorithm  string           // alg
	ID         string           // jti
	Nonce      string           // nonce as sent; checked only if the Verifier uses nonces
	IssuedAt   time.Time        // iat; with nonces, whatever the client's clock says

	nonceIssued time.Time // zero without nonces
}

// Request is what a proof is checked against when there is no [http.Request].
type Request struct {
	Proof       string // the value of the DPoP field
	Method      string // compared with htm
	URL         string // absolute, external; within a configured origin
	AccessToken string
	Thumbprint  string // jkt of the token's confirmation claim
}

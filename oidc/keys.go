package oidc

import (
	"context"
	"crypto"

	"github.com/keybound-go/middleware/jwks"
)

// KeySource is where a [Verifier] gets the keys of its issuer.
// [github.com/keybound-go/middleware/jwks.Source] is one.
//
// Implementations are called concurrently. What they answer decides whose
// tokens are accepted: a source must hold the keys of one issuer only.
//
// A source may also have a method Generation() uint64: as long as it returns the
// same value, and that is not 0, Contains answers the same. It spares the cache
// of verified tokens a call of Contains for each request.
type KeySource interface {
	// Keys returns the keys that may have signed a token with these header members; kid
	// is "" if there is none. At most 16 of them are tried. Both arguments come from
	// the client. If there is no such key, the error is jwks.ErrNoKey, or one that
	// wraps it: the token is refused. With any other error the answer to the request is
	// 503.
	Keys(ctx context.Context, alg, kid string) ([]crypto.PublicKey, error)

	// Contains reports, without waiting for anything, whether the issuer still
	// publishes key. Once it does not, tokens that the key signed are not accepted any
	// more, cached or not.
	Contains(key crypto.PublicKey) bool
}

// maxKeys limits how many signatures one token may cost.
const maxKeys = 16

// generations is the optional part of KeySource.
type generations interface{ Generation() uint64 }

var (
	_ KeySource   = (*jwks.Source)(nil)
	_ generations = (*jwks.Source)(nil)
)

package middleware

import (
	"context"
	"fmt"
	"net/http"

	"github.com/keybound-go/middleware/dpop"
)

// answer is verify with what the response needs: the nonce for the next proof.
func (g *Guard) answer(r *http.Request) decision {
	d := g.verify(r)
	if !g.wantsNonce(d) {
		return d
	}
	var proof *dpop.Proof // nil for a refusal: a new nonce in any case
	if d.err == nil {
		proof = d.verified.Proof
	}
	nonce, err := g.nextNonce(r.Context(), proof)
	if err != nil && isNonceChallenge(d.err) {
		// The error is ours: a client that must have a nonce cannot be challenged without one.
		d.err = err
	}
	// Otherwise a source of nonces that is down costs the client one challenge later on.
	d.nonce = nonce
	return d
}

// wantsNonce reports whether the client could use a nonce.
func (g *Guard) wantsNonce(d decision) bool {
	if d.err == nil {
		return d.verified.by.dpop != nil
	}
	e, ok := asClientError(d.err)
	return ok && statusOf(e) == http.StatusUnauthorized && g.challenges.offersTo(d, schemeDPoP)
}

func isNonceChallenge(err error) bool {
	e, ok := err.(dpop.ProofError)
	return ok && e.Code() == "use_dpop_nonce"
}

func (g *Guard) nextNonce(ctx context.Context, p *dpop.Proof) (nonce string, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("middleware: panic in the nonce source: %s", printable(p))
		}
	}()
	return g.dpop.NextNonce(ctx, p)
}

package dpop

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/keybound-go/middleware/internal/headers"
	"github.com/keybound-go/middleware/internal/options"
	"github.com/keybound-go/middleware/internal/outage"
)

// Verifier checks DPoP proofs. Make one with [New]; the zero Verifier refuses
// everything. It is safe for concurrent use and never changes.
type Verifier struct {
	origins       []origin
	internalHosts []string // normal
	algorithms    []string
	lifetime      time.Duration
	skew          time.Duration
	maxSize       int
	exactHTU      bool
	plainHTTP     bool
	checkIssuedAt bool        // iat too where nonces decide
	replay        ReplayCache // nil only with DangerouslyAllowReplay
	nonces        NonceSource // nil: off
	failOpen      func(error) // nil: fail closed
	readiness     *readiness
}

// New makes a Verifier for the service that clients know as origin: scheme, host,
// port if it is not the default one, and a path prefix if a proxy strips one
// ("https://api.example/v1"). The scheme is https, or http on a loopback host.
//
// New reports every mistake in its arguments at once, joined with
// [errors.Join]. It starts nothing and does no I/O.
func New(origin string, opts ...Option) (*Verifier, error) {
	c := config{
		Set:        options.For("dpop"),
		origins:    []string{origin},
		algorithms: []string{"ES256", "ES384", "ES512", "PS256", "PS384", "PS512", "EdDSA", "Ed25519"},
		lifetime:   defaultLifetime,
		skew:       defaultSkew,
		maxSize:    defaultMaxSize,
	}
	options.Each(c.Set, opts, func(opt Option) { opt.apply(&c) })
	v := &Verifier{
		readiness:     new(readiness),
		origins:       c.parseOrigins(),
		internalHosts: c.parseInternalHosts(),
		algorithms:    c.algorithms,
		lifetime:      c.lifetime,
		skew:          c.skew,
		maxSize:       c.maxSize,
		exactHTU:      c.exactHTU,
		plainHTTP:     c.plainHTTP,
		checkIssuedAt: c.Given("CheckIssuedAt"),
		replay:        c.replay,
		nonces:        c.nonces,
		failOpen:      c.failOpen,
	}
	if err := c.err(); err != nil {
		return nil, err
	}
	if v.replay == nil && !c.Given("DangerouslyAllowReplay") {
		cache, err := NewMemoryCache()
		if err != nil {
			return nil, err
		}
		v.replay = cache
	}
	if cache, ok := v.replay.(*MemoryCache); ok {
		cache.ledger.Join(v.window(), time.Now())
	}
	return v, nil
}

// Format writes the origins of v, whatever the verb: caches and nonce sources may hold
// secrets.
func (v Verifier) Format(f fmt.State, _ rune) {
	fmt.Fprintf(f, "dpop.Verifier%q", v.Settings().Origins)
}

// Verify checks the proof in r's DPoP field, for an access token that is bound to
// the key with the thumbprint jkt. Preconditions: accessToken is verified, and jkt
// is what it is bound to, in canonical base64url. An empty one refuses the request:
// it does not mean that there is nothing to check.
//
// It is [Verifier.VerifyProof] of [RequestOf] r. It does not read the body and does
// not change r.
func (v *Verifier) Verify(r *http.Request, accessToken, jkt string) (*Proof, error) {
	req := RequestOf(r)
	req.AccessToken, req.Thumbprint = accessToken, jkt
	return v.VerifyProof(r.Context(), req)
}

// VerifyProof checks the one proof in req against the rest of req.
//
// The error is a [ProofError] if the proof is to blame. Every other error is
// ours: of the replay cache, of the nonce source, or of the caller, such as a
// Request without Thumbprint. A nil error uses the proof up: the same one fails
// the next time.
func (v *Verifier) VerifyProof(ctx context.Context, req Request) (*Proof, error) {
	if err := v.usable(&req); err != nil {
		return nil, err
	}
	if err := v.checkField(req.Proofs); err != nil {
		return nil, err
	}
	t, ok := targetOf(&req)
	if !ok {
		return nil, ErrMisdirected
	}
	if req.AccessToken != "" {
		req.TokenHash = sha256.Sum256([]byte(req.AccessToken))
	}
	return v.verify(ctx, req, t)
}

// checkField is check 1 of RFC 9449, section 4.3.
// Check 1: one field (RFC 9449, section 4.1).
func (v *Verifier) checkField(proofs []string) error {
	switch {
	case len(proofs) == 0:
		return ErrMissing
	case len(proofs) > 1:
		return ErrMultiple
	case len(proofs[0]) > v.maxSize:
		return ErrTooLarge
	}
	return nil
}

// usable finds the caller's mistakes that would make checks meaningless.
func (v *Verifier) usable(req *Request) error {
	switch {
	case v == nil || len(v.origins) == 0:
		return errNotNew
	case req.Thumbprint == "":
		return errNoThumbprint
	case req.AccessToken == "" && req.TokenHash == [sha256.Size]byte{}:
		return errNoToken
	case req.AccessToken != "" && req.TokenHash != [sha256.Size]byte{}:
		return errTwoTokens
	case req.URL != "" && (req.Host != "" || req.Target != ""):
		return errTwoTargets
	}
	return nil
}

// judgesIssuedAt reports whether iat must lie in the window.
func (v *Verifier) judgesIssuedAt() bool { return v.nonces == nil || v.checkIssuedAt }

// NextNonce returns the nonce to send along with the response: always one if p is
// nil, which stands for a refusal, and for an accepted p one if its nonce has used
// up half of its lifetime. Otherwise, and without nonces, it returns "".
func (v *Verifier) NextNonce(ctx context.Context, p *Proof) (string, error) {
	if v.nonces == nil {
		return "", nil
	}
	if p != nil && time.Since(p.nonceIssued) <= v.lifetime/2 {
		return "", nil
	}
	nonce, err := v.nonces.Issue(ctx)
	if err == nil && !headers.IsNonce(nonce) {
		err = errors.New("issued a nonce of characters that RFC 9449, section 8.1, forbids")
	}
	if err != nil {
		return "", outage.As(outage.Nonces, fmt.Errorf("dpop: nonce source: %w", err))
	}
	return nonce, nil
}

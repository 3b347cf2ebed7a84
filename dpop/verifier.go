package dpop

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/keybound-go/middleware/internal/headers"
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
	replay        ReplayCache // nil only with DangerouslyAllowReplay
	nonces        NonceSource // nil: off
	failOpen      func(error) // nil: fail closed
}

// New makes a Verifier for the service that clients know as origin: scheme, host,
// port if it is not the default one, and a path prefix if a proxy strips one
// ("https://api.example/v1"). The scheme is https, or http on a loopback host.
//
// New reports every mistake in its arguments at once, joined with
// [errors.Join]. It starts nothing and does no I/O.
func New(origin string, opts ...Option) (*Verifier, error) {
	c := config{
		origins:    []string{origin},
		algorithms: []string{"ES256", "ES384", "ES512", "PS256", "PS384", "PS512", "EdDSA", "Ed25519"},
		lifetime:   defaultLifetime,
		skew:       defaultSkew,
		maxSize:    defaultMaxSize,
	}
	for _, opt := range opts {
		if isNil(opt) {
			c.problem("nil Option")
			continue
		}
		opt.apply(&c)
	}
	v := &Verifier{
		origins:       c.parseOrigins(),
		internalHosts: c.parseInternalHosts(),
		algorithms:    c.algorithms,
		lifetime:      c.lifetime,
		skew:          c.skew,
		maxSize:       c.maxSize,
		exactHTU:      c.exactHTU,
		replay:        c.replay,
		nonces:        c.nonces,
		failOpen:      c.failOpen,
	}
	if err := c.err(); err != nil {
		return nil, err
	}
	if v.replay == nil && !c.allowReplay {
		cache, err := NewMemoryCache()
		if err != nil {
			return nil, err
		}
		v.replay = cache
	}
	return v, nil
}

// CheckField judges the DPoP field by its shape alone, without any crypto:
// whether there is exactly one, within the size limit, and made of the
// characters of token68 (RFC 9449, section 4.1). It does not allocate. The error
// is ErrMissing, ErrMultiple, ErrTooLarge or ErrMalformed.
func (v *Verifier) CheckField(h http.Header) error {
	field, err := v.field(h)
	if err != nil {
		return err
	}
	if !headers.IsToken68(field) {
		return ErrMalformed
	}
	return nil
}

// field is check 1 of RFC 9449, section 4.3.
func (v *Verifier) field(h http.Header) (string, error) {
	field, n := headers.Single(h, headers.DPoP)
	switch {
	case n == 0:
		return "", ErrMissing
	case n > 1:
		return "", ErrMultiple
	case len(field) > v.maxSize:
		return "", ErrTooLarge
	}
	return field, nil
}

// Verify checks the proof in r's DPoP field, for an access token that is bound to
// the key with the thumbprint jkt. Preconditions: accessToken is verified, and
// jkt is what it is bound to, in canonical base64url. An empty one does not
// mean that there is nothing to check: it refuses the request.
//
// The target URI is a configured origin with the raw path of r.RequestURI. A
// request without RequestURI, which is one that was not received by a server, is
// taken by its r.URL.
//
// The error is a [ProofError] if the proof is to blame. Every other error is
// ours: of the replay cache, of the nonce source, or of the caller. A nil error
// uses the proof up: the same one fails the next time.
//
// Verify does not read the body and does not change r.
func (v *Verifier) Verify(r *http.Request, accessToken, jkt string) (*Proof, error) {
	if accessToken == "" {
		return nil, errNoToken
	}
	field, t, err := v.read(r, jkt)
	if err != nil {
		return nil, err
	}
	return v.verify(r.Context(), Request{Proof: field, Method: r.Method, Thumbprint: jkt}, sha256.Sum256([]byte(accessToken)), t)
}

// VerifyHash is [Verifier.Verify] for a caller that knows the SHA-256 of the
// access token already, for instance as the key of a cache: hashing a token
// twice is a good part of what a request costs beside the signature.
func (v *Verifier) VerifyHash(r *http.Request, tokenHash [sha256.Size]byte, jkt string) (*Proof, error) {
	field, t, err := v.read(r, jkt)
	if err != nil {
		return nil, err
	}
	return v.verify(r.Context(), Request{Proof: field, Method: r.Method, Thumbprint: jkt}, tokenHash, t)
}

// read takes from the request what the checks need.
func (v *Verifier) read(r *http.Request, jkt string) (field string, t target, err error) {
	if err := v.usable(jkt); err != nil {
		return "", target{}, err
	}
	if field, err = v.field(r.Header); err != nil {
		return "", target{}, err
	}
	t, ok := targetOf(r)
	if !ok {
		return "", target{}, ErrMisdirected
	}
	return field, t, nil
}

// VerifyProof makes the same checks as [Verifier.Verify] for what did not come
// as an HTTP request, such as a message from a queue. req.URL, which takes the
// place of the request line and the Host field, must lie within a configured origin.
func (v *Verifier) VerifyProof(ctx context.Context, req Request) (*Proof, error) {
	if err := v.usable(req.Thumbprint); err != nil {
		return nil, err
	}
	switch {
	case req.AccessToken == "":
		return nil, errNoToken
	case req.Proof == "":
		return nil, ErrMissing
	case len(req.Proof) > v.maxSize:
		return nil, ErrTooLarge
	}
	return v.verify(ctx, req, sha256.Sum256([]byte(req.AccessToken)), target{url: withoutQuery(req.URL), emptyPath: req.Method == http.MethodOptions})
}

// usable finds the caller's mistakes that would make checks meaningless.
func (v *Verifier) usable(jkt string) error {
	switch {
	case v == nil || len(v.origins) == 0:
		return errNotNew
	case jkt == "":
		return errNoThumbprint
	}
	return nil
}

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
	if err == nil && !isNonce(nonce) {
		err = errors.New("issued a nonce of characters that RFC 9449, section 8.1, forbids")
	}
	if err != nil {
		return "", fmt.Errorf("dpop: nonce source: %w", err)
	}
	return nonce, nil
}

// Algorithms returns the accepted algorithms in their configured order, for the
// algs of a challenge. The slice is the caller's.
func (v *Verifier) Algorithms() []string { return slices.Clone(v.algorithms) }

// Origins returns the configured external origins in their normal form, path
// prefix included, the one given to [New] first. The slice is the caller's.
func (v *Verifier) Origins() []string {
	bases := make([]string, len(v.origins))
	for i, o := range v.origins {
		bases[i] = o.base
	}
	return bases
}

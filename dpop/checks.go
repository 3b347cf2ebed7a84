package dpop

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/keybound-go/middleware/internal/calls"
	"github.com/keybound-go/middleware/internal/jose"
	"github.com/keybound-go/middleware/internal/outage"
	"github.com/keybound-go/middleware/internal/replayset"
	"github.com/keybound-go/middleware/internal/strictjson"
)

const (
	// The header holds a jwk, the claims hold nothing that is nested.
	maxDepth = 8
	// RFC 9449, section 11.1: oversized jti values.
	maxID = 512
	// For sources that store nonces; our own have 43 bytes.
	maxNonce = 512
)

// inspection is one proof on its way through the checks. It starts with what the
// proof is checked against; each check leaves what it has found.
type inspection struct {
	*Verifier
	now     time.Time
	req     Request
	target  target
	origins []origin // that the proof may name

	message    *jose.Message
	key        jose.Key
	thumbprint string
	claims     claims

	// start is when the proof's lifetime begins: at iat or, with nonces, when
	// its nonce was issued.
	start time.Time
}

// claims are those of RFC 9449, section 4.2, and two of RFC 7519 that some
// clients add. All others are ignored.
type claims struct {
	ID        string                 // jti
	Method    []byte                 // htm, within the payload
	URI       string                 // htu
	IssuedAt  strictjson.NumericDate // iat
	TokenHash []byte                 // ath, within the payload
	Nonce     string                 // nonce
	Expiry    strictjson.NumericDate // exp
	NotBefore strictjson.NumericDate // nbf
}

// read takes the claims from a payload. After an error, what stood in front of
// the fault is there.
func (c *claims) read(payload []byte) error {
	var o strictjson.Object
	for o.Start(payload, maxDepth); o.Next(); {
		switch string(o.Name()) {
		case "jti":
			o.Text(&c.ID)
		case "htm":
			o.Bytes(&c.Method)
		case "htu":
			o.Text(&c.URI)
		case "iat":
			o.NearestDate(&c.IssuedAt)
		case "ath":
			o.Bytes(&c.TokenHash)
		case "nonce":
			o.Text(&c.Nonce)
		case "exp":
			o.NearestDate(&c.Expiry)
		case "nbf":
			o.NearestDate(&c.NotBefore)
		}
	}
	return o.Err()
}

// verify makes the checks that the package documentation lists, in its order,
// from the second on. Every one is made for every proof.
//
// Precondition: req has one proof, and the hash of the token.
func (v *Verifier) verify(ctx context.Context, req Request, t target) (*Proof, error) {
	of, err := v.originsOf(&req)
	if err != nil {
		return nil, err
	}
	p := inspection{Verifier: v, now: time.Now(), req: req, target: t, origins: of}
	for _, check := range [...]func(*inspection) error{
		(*inspection).checkForm,
		(*inspection).checkType,
		(*inspection).checkAlgorithm,
		(*inspection).checkKey,
		(*inspection).checkClaims,
		(*inspection).checkMethod,
		(*inspection).checkURI,
		(*inspection).checkTime,
		(*inspection).checkTokenHash,
		(*inspection).checkBinding,
		(*inspection).checkSignature,
	} {
		if err := check(&p); err != nil {
			return nil, err
		}
	}
	// The two that may ask a store come after everything that a stranger can fail.
	if err := p.checkNonce(ctx); err != nil {
		return nil, err
	}
	if err := p.checkReplay(ctx); err != nil {
		return nil, err
	}
	return p.proof(), nil
}

// Check 2: one well-formed JWT.
func (p *inspection) checkForm() error {
	m, err := jose.Parse(p.req.Proofs[0], p.maxSize)
	if err != nil {
		return ErrMalformed
	}
	p.message = m
	return nil
}

// Check 4: typ, as a media type (RFC 7515, section 4.1.9).
func (p *inspection) checkType() error {
	if !jose.IsType(p.message.Header.Type, "dpop+jwt") {
		return ErrType
	}
	return nil
}

// Check 5: alg is one that the operator accepts. New has made sure that all of
// those are asymmetric.
func (p *inspection) checkAlgorithm() error {
	if !slices.Contains(p.algorithms, p.message.Header.Algorithm) {
		return ErrAlgorithm
	}
	return nil
}

// Check 7, and what RFC 8725, section 3.1, adds: the key is public, sound, and one
// for this algorithm.
func (p *inspection) checkKey() error {
	if p.message.Header.JWK == nil {
		return ErrKey
	}
	key, thumbprint, err := jose.ParseKey(p.message.Header.JWK)
	switch err {
	case nil:
	case jose.ErrPrivateKey:
		return ErrPrivateKey
	default:
		return ErrKey
	}
	if key.Usable(p.message.Header.Algorithm) != nil {
		return ErrKey
	}
	p.key, p.thumbprint = key, thumbprint
	return nil
}

// Check 3: the required claims. nonce and ath are those that a resource demands
// (section 7); a missing nonce is check 10's to find.
func (p *inspection) checkClaims() error {
	switch p.claims.read(p.message.Payload) {
	case nil:
	case strictjson.ErrTooDeep:
		return ErrMalformed
	default:
		return ErrClaims
	}
	c := &p.claims
	if c.ID == "" || len(c.Method) == 0 || c.URI == "" || len(c.TokenHash) == 0 || !c.IssuedAt.Present() {
		return ErrClaims
	}
	if len(c.ID) > maxID {
		return ErrClaims
	}
	return nil
}

// Check 8: methods are case-sensitive (RFC 9110, section 9.1).
func (p *inspection) checkMethod() error {
	if string(p.claims.Method) != p.req.Method {
		return ErrMethod
	}
	return nil
}

// Check 9.
func (p *inspection) checkURI() error {
	return p.checkTarget(&p.target, withoutQuery(p.claims.URI), p.origins)
}

// Check 11: the skew is for clocks that are ahead only. With nonces, the age of the
// nonce decides in the place of iat, in check 10, or, with [CheckIssuedAt], beside it.
func (p *inspection) checkTime() error {
	c := &p.claims
	p.start = c.IssuedAt.Time()
	if p.judgesIssuedAt() {
		if p.start.After(p.now.Add(p.skew)) {
			return ErrNotYetValid
		}
		if p.now.Sub(p.start) > p.lifetime {
			return ErrExpired
		}
	}
	// RFC 7519, sections 4.1.4 and 4.1.5. These two can only shorten the window.
	if c.Expiry.Present() && !p.now.Before(c.Expiry.Time().Add(p.skew)) {
		return ErrExpired
	}
	if c.NotBefore.Present() && c.NotBefore.Time().After(p.now.Add(p.skew)) {
		return ErrNotYetValid
	}
	return nil
}

// Check 12, first half: ath is the token's.
// A proof goes with one token (RFC 9449, section 7).
func (p *inspection) checkTokenHash() error {
	var want [43]byte
	base64.RawURLEncoding.Encode(want[:], p.req.TokenHash[:])
	if subtle.ConstantTimeCompare(p.claims.TokenHash, want[:]) != 1 {
		return ErrTokenHash
	}
	return nil
}

// Check 12, second half: the token is bound to the proof's key.
func (p *inspection) checkBinding() error {
	if subtle.ConstantTimeCompare([]byte(p.thumbprint), []byte(p.req.Thumbprint)) != 1 {
		return ErrKeyMismatch
	}
	return nil
}

// Check 6.
func (p *inspection) checkSignature() error {
	if p.message.Verify(p.key.Public) != nil {
		return ErrSignature
	}
	return nil
}

// Check 10, and 11 with nonces. Without them a nonce is ignored: clients send
// what they have got from the same origin earlier.
func (p *inspection) checkNonce(ctx context.Context) error {
	if p.nonces == nil {
		return nil
	}
	if p.claims.Nonce == "" {
		return ErrNonceMissing
	}
	if len(p.claims.Nonce) > maxNonce {
		return ErrNonceUnknown
	}
	issued, ok, err := p.nonces.IssuedAt(ctx, p.claims.Nonce)
	if err != nil {
		return outage.As(outage.Nonces, fmt.Errorf("dpop: nonce source: %w", err))
	}
	if !ok || issued.After(p.now.Add(p.skew)) {
		return ErrNonceUnknown
	}
	if p.now.Sub(issued) > p.lifetime {
		return ErrNonceExpired
	}
	p.start = issued
	return nil
}

// Section 11.1: each proof once.
func (p *inspection) checkReplay(ctx context.Context) error {
	if p.replay == nil {
		return nil
	}
	fresh, err := p.record(ctx, replayID(p.thumbprint, p.claims.ID))
	switch {
	case err == nil && fresh:
		return nil
	case err == nil:
		return ErrReplayed
	case errors.Is(err, replayset.ErrAhead):
		return ErrNotYetValid
	case errors.Is(err, replayset.ErrTooOld) && p.nonces != nil:
		return ErrNonceExpired
	case errors.Is(err, replayset.ErrTooOld):
		return ErrExpired
	case p.failOpen != nil && ctx.Err() == nil:
		// A client that hangs up must not be able to cause the error by that.
		p.failOpen(err)
		return nil
	default:
		return outage.As(outage.ReplayCache, fmt.Errorf("dpop: replay cache: %w", err))
	}
}

// record asks the cache.
func (p *inspection) record(ctx context.Context, id [sha256.Size]byte) (fresh bool, err error) {
	use := replayset.Use{Window: p.window(), IssuedAt: p.claims.IssuedAt.Time()}
	if p.nonces != nil {
		use.Nonce = p.start
	}
	if cache, ok := p.replay.(*MemoryCache); ok {
		return cache.add(use, p.thumbprint, id)
	}
	call := calls.Begin(ctx, calls.ReplayCache)
	failed := true // stays if it panics
	defer func() { call.End(failed) }()
	fresh, err = p.replay.Add(replayset.NewContext(ctx, use), p.thumbprint, id, use.Until(use.Window, p.now))
	failed = err != nil && !errors.Is(err, replayset.ErrTooOld) && !errors.Is(err, replayset.ErrAhead)
	return fresh, err
}

// window is for how long any replica accepts a proof, if their clocks differ by the
// skew at the most. The second is for the time that the checks take.
func (v *Verifier) window() replayset.Window {
	slack := max(v.skew, time.Second)
	w := replayset.Window{Skew: v.skew, Slack: slack}
	if v.nonces != nil {
		w.Nonce = v.lifetime + slack
	} else {
		w.IssuedAt = v.lifetime + slack
	}
	return w
}

// replayID is SHA-256 of the key's thumbprint and the jti. The thumbprint has 43
// bytes always, so that no other pair gives the same input.
func replayID(thumbprint, jti string) [sha256.Size]byte {
	var buf [43 + maxID]byte
	return sha256.Sum256(append(append(buf[:0], thumbprint...), jti...))
}

func (p *inspection) proof() *Proof {
	proof := &Proof{
		Thumbprint: p.thumbprint,
		PublicKey:  p.key.Public,
		Algorithm:  p.message.Header.Algorithm,
		ID:         p.claims.ID,
		Nonce:      p.claims.Nonce,
		IssuedAt:   p.claims.IssuedAt.Time(),
	}
	if p.nonces != nil {
		proof.nonceIssued = p.start
	}
	return proof
}

package oidc

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"

	"github.com/keybound-go/middleware/internal/jose"
)

// Verifiers verifies the tokens of several issuers, each by its own [Verifier].
// Make one with [AnyOf]. Its methods may be called concurrently. The zero
// Verifiers, and a nil one, accepts nothing.
type Verifiers struct {
	verifiers []*Verifier
	byIssuer  map[string]*Verifier
	maxSize   int // of the Verifier that accepts the longest tokens
	guesses   guesses
}

// guesses tell, by the hash of a token, whose cache is likely to have it: what a
// known token costs must not grow with the number of issuers. A wrong guess, or
// none, costs no more than to read the token's iss, and decides nothing: each
// Verifier has a cache of its own, by its own limit, with what it has verified by
// its own keys.
//
// Only a token that was verified leaves a guess, so that a stranger can neither
// take them away nor plant any.
type guesses [1 << 13]atomic.Pointer[Verifier]

func (g *guesses) of(id [sha256.Size]byte) *atomic.Pointer[Verifier] {
	return &g[binary.LittleEndian.Uint64(id[:])%uint64(len(g))]
}

// AnyOf returns a verifier of the tokens of several issuers. The token's iss,
// which is not verified at that time, only chooses the Verifier: keys, algorithms,
// audience and profile are those of this one issuer, so that no issuer can make a token
// that passes for another's (RFC 8725, section 3.8).
//
// Each Verifier has the cache of verified tokens that it was made with: a flood of
// tokens from one issuer takes no room from the others.
//
// Two Verifiers of the same issuer, or with the same [KeySource], are a mistake.
// AnyOf reports every mistake at once.
func AnyOf(vs ...*Verifier) (*Verifiers, error) {
	s := &Verifiers{byIssuer: make(map[string]*Verifier)}
	var problems []error
	if len(vs) == 0 {
		problems = append(problems, errors.New("oidc: AnyOf needs at least one Verifier"))
	}
	for i, v := range vs {
		if err := s.add(v); err != nil {
			problems = append(problems, fmt.Errorf("oidc: AnyOf: Verifier %d %w", i+1, err))
		}
	}
	if err := errors.Join(problems...); err != nil {
		return nil, err
	}
	return s, nil
}

func (s *Verifiers) add(v *Verifier) error {
	if v.insides() == nil {
		return errors.New("was not made by New")
	}
	if s.byIssuer[v.issuer.URL()] != nil {
		return fmt.Errorf("is of %s again", v.issuer.URL())
	}
	for _, other := range s.verifiers {
		if v.inside.Signers.SameKeys(&other.inside.Signers) {
			return fmt.Errorf("of %s has the key source of %s", v.issuer.URL(), other.issuer.URL())
		}
	}
	s.verifiers = append(s.verifiers, v)
	s.byIssuer[v.issuer.URL()] = v
	s.maxSize = max(s.maxSize, v.inside.Checks.MaxSize)
	return nil
}

// VerifyToken verifies a JWT access token of any of the issuers, with the errors
// of [Verifier.VerifyToken]. A token of none of them is [ErrIssuer].
func (s *Verifiers) VerifyToken(ctx context.Context, raw string) (*Token, error) {
	if s == nil || len(s.verifiers) == 0 {
		return nil, errNoVerifier
	}
	if len(raw) > s.maxSize {
		return nil, ErrTooLarge
	}
	id := jose.HashOf(raw)
	guess := s.guesses.of(id)
	first := guess.Load()
	if first != nil {
		if t, err, hit := first.cached(id); hit {
			return t, err
		}
	}
	m, iss, err := parseToken(raw, s.maxSize)
	if err != nil {
		return nil, err
	}
	v := s.byIssuer[string(iss)]
	if v == nil {
		return nil, ErrIssuer
	}
	if len(raw) > v.inside.Checks.MaxSize {
		return nil, ErrTooLarge
	}
	if v == first {
		return v.verify(ctx, id, m) // its cache was asked
	}
	t, err, hit := v.cached(id)
	if !hit {
		t, err = v.verify(ctx, id, m)
	}
	if err == nil {
		guess.Store(v)
	}
	return t, err
}

// Prefetch is [Verifier.Prefetch] for each issuer in turn. It joins their errors.
func (s *Verifiers) Prefetch(ctx context.Context) error {
	return s.each(func(v *Verifier) error { return v.Prefetch(ctx) })
}

// Close closes every Verifier.
func (s *Verifiers) Close() error { return s.each((*Verifier).Close) }

func (s *Verifiers) each(do func(*Verifier) error) error {
	if s == nil {
		return nil
	}
	var problems []error
	for _, v := range s.verifiers {
		problems = append(problems, do(v))
	}
	return errors.Join(problems...)
}

// Policy combines the Policies of the Verifiers, the laxest value of each: what it
// promises holds for the tokens of every issuer.
func (s *Verifiers) Policy() Policy {
	if s == nil || len(s.verifiers) == 0 {
		return Policy{}
	}
	p := s.verifiers[0].Policy()
	slices.Sort(p.Algorithms)
	for _, v := range s.verifiers[1:] {
		p = p.With(v.Policy())
	}
	return p
}

// Ready reports whether tokens of any of the issuers can be verified now: it is nil as
// soon as the keys of one are at hand. An issuer that is down is no reason to take a
// service out of rotation while another one's tokens are good. Each issuer is asked
// no more often than its cooldown allows.
func (s *Verifiers) Ready(ctx context.Context) error {
	if s == nil || len(s.verifiers) == 0 {
		return errNoVerifier
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	answers := make(chan error, len(s.verifiers))
	for _, v := range s.verifiers {
		go func() { answers <- v.Prefetch(ctx) }()
	}
	var problems []error
	for range s.verifiers {
		err := <-answers
		if err == nil {
			return nil
		}
		problems = append(problems, err)
	}
	return errors.Join(problems...)
}

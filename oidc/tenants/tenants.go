package tenants

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/maphash"
	"runtime"
	"sync/atomic"
	"time"

	"github.com/keybound-go/middleware/internal/caller"
	"github.com/keybound-go/middleware/internal/calls"
	"github.com/keybound-go/middleware/internal/issuer"
	"github.com/keybound-go/middleware/internal/jose"
	"github.com/keybound-go/middleware/internal/outage"
	"github.com/keybound-go/middleware/internal/recall"
	"github.com/keybound-go/middleware/oidc"
)

// Tenants verifies the tokens of issuers that are not known at start: those of the
// tenants in a database, which come and go. Make one with [New]. Its methods may
// be called concurrently. The zero Tenants, and a nil one, accepts nothing.
//
// # Which issuer
//
// The iss of a token is not verified yet when it chooses the tenant, and serves no other
// purpose. It must be a plain https URL of at most 512 bytes, with the host in lower case
// and without port 443, query and fragment: everything else is [oidc.ErrIssuer]. Nothing
// is fetched for an issuer that resolve did not approve.
//
// # What is remembered
//
// A tenant is live from its first token on: Tenants keeps its Verifier, and with it the
// keys of its issuer. [WithMaxTenants] bounds how many; the one whose tokens were used
// least recently makes room, and is resolved again when it is back. Requests that it is
// serving finish normally. Tenants without a verified token have places of their own, so
// that invented tokens of approved issuers push out no tenant that has one.
//
// Verified tokens are remembered by all tenants together, see [WithCacheSize]; the
// places are divided fairly among tenants, and within a tenant among clients. The caches
// of the Verifiers are not used: give them [oidc.WithCacheSize](0).
//
// A refusal by resolve is remembered for [WithRefusalLifetime], an error of resolve for a
// second. The memory for both is bounded and divided among callers (see
// [oidc.ContextWithCaller]), so that a caller that invents issuers only displaces its own
// earlier ones. At most one call of resolve for each issuer runs at a time. Concurrent
// calls are divided among callers too, and calls for issuers that resolve approved before
// have slots of their own.
//
// What is known of a tenant stays until the tenant makes room or [Tenants.Forget] is
// called. After a change in the database, call Forget in each process.
type Tenants struct {
	resolve         func(ctx context.Context, issuer string) (*oidc.Verifier, error)
	policy          *oidc.Policy // nil: none is declared
	needOrigins     bool
	refusalLifetime time.Duration

	tokens   recall.Memory[*tenantEntry]
	cacheOff bool
	verdicts recall.Memory[verdict]  // of resolve; a live tenant needs none
	approved recall.Memory[struct{}] // issuers that were live once
	flights  *recall.Flights[*tenant]
	live     liveTenants

	// generations count the calls of Forget, by the hash of the issuer. An answer to a
	// question of an earlier generation is dropped. If two issuers share a counter,
	// Forget of one costs the other at most an answer that is under way.
	generations [1 << 10]atomic.Uint64
}

// tenantEntry is a verified token of a tenant.
type tenantEntry struct {
	token     oidc.Token
	signature issuer.Signature
	of        *tenant
}

// verdict is why an issuer has no Verifier: [oidc.ErrIssuer], or an outage of resolve.
type verdict struct {
	err   error
	until time.Time
}

const (
	// maxRoutedSize bounds the tokens that are read to find their tenant. Only then the
	// limit of its Verifier is known.
	maxRoutedSize = 64 << 10

	verdictPlaces   = 10_000 // of refusals and errors of resolve
	failureLifetime = time.Second

	// maxTries is how often a request starts again because its tenant was forgotten or
	// made room in the meantime.
	maxTries = 4
)

var (
	errNoTenants  = errors.New("tenants: this Tenants was not made by New")
	errClosed     = errors.New("tenants: this Tenants is closed: no more tenants are resolved")
	errForgotten  = errors.New("tenants: the tenant was forgotten, or made room, while it was resolved")
	errNoVerifier = errors.New("resolve returned a Verifier that was not made by oidc.New")
	errNothing    = errors.New("resolve returned neither a Verifier nor an error; oidc.ErrIssuer says that there is no such tenant")
)

// New returns a verifier of the tokens of tenants. resolve decides which issuers are
// tenants. It returns
//
//   - a Verifier of this very issuer, character for character, that [oidc.New] has made
//     for this call: it then belongs to the Tenants, which closes it;
//   - [oidc.ErrIssuer], also wrapped, if there is no such tenant: the token is refused
//     with 401;
//   - any other error if resolve does not know: the answer is 503, and the token may be
//     good.
//
// The answer is 503 too if resolve panics, returns nothing within 10 seconds, or returns
// a Verifier that is nil, that it returned before, that is closed, that borrows its
// [oidc.Issuer], or that has the [oidc.KeySource] of another tenant.
//
// Any client can make Tenants call resolve with an invented issuer. So resolve must look
// the issuer up, in a table or by a pattern with a fixed host, and must fetch nothing
// from it. resolve may be called concurrently for different issuers. Its answer serves
// every request: ctx has no values of the request that caused the call. ctx ends after 10
// seconds, and with [Tenants.Close].
//
// New reports every mistake at once. It starts no goroutine.
func New(resolve func(ctx context.Context, issuer string) (*oidc.Verifier, error), opts ...Option) (*Tenants, error) {
	c := newConfig(opts)
	if resolve == nil {
		c.Problem("New: resolve is nil")
	}
	if err := c.Err(); err != nil {
		return nil, err
	}
	return &Tenants{
		resolve:         resolve,
		policy:          c.policy,
		needOrigins:     c.Given("RequireOrigins"),
		refusalLifetime: c.refusalLifetime,
		tokens:          recall.NewMemory[*tenantEntry](c.cacheSize),
		cacheOff:        c.cacheSize == 0,
		verdicts:        recall.NewMemory[verdict](verdictPlaces),
		approved:        recall.NewMemory[struct{}](max(4*c.most, verdictPlaces)),
		flights:         recall.NewFlights[*tenant]("tenants"),
		live:            newLiveTenants(c.most),
	}, nil
}

// VerifyToken verifies a JWT access token of any tenant, with the errors of
// [oidc.Verifier.VerifyToken]. For a token whose issuer is no tenant the error is
// [oidc.ErrIssuer]. If resolve gives no answer, the error has no code.
func (s *Tenants) VerifyToken(ctx context.Context, raw string) (*oidc.Token, error) {
	if s == nil || s.resolve == nil {
		return nil, errNoTenants
	}
	if len(raw) > maxRoutedSize {
		return nil, oidc.ErrTooLarge
	}
	id := jose.HashOf(raw)
	if t, err, hit := s.cached(id); hit {
		return t, err
	}
	m, iss, err := issuer.ParseToken(raw, maxRoutedSize)
	if err != nil {
		return nil, err
	}
	if !isRoutable(iss) {
		return nil, oidc.ErrIssuer
	}
	return s.verify(ctx, string(iss), id, raw, m)
}

// cached looks for a token that has been verified before. Its cost does not depend on the
// number of tenants.
func (s *Tenants) cached(id [sha256.Size]byte) (t *oidc.Token, err error, hit bool) {
	if s.cacheOff {
		return nil, nil, false
	}
	e, ok := s.tokens.Get(id)
	if !ok {
		return nil, nil, false
	}
	by := e.of.serving()
	if by == nil || !by.inside.Signers.Include(&e.signature) {
		s.tokens.Delete(id)
		return nil, nil, false
	}
	now := time.Now()
	if err := e.token.CheckTimes(now, by.inside.Checks.Skew); err != nil {
		s.tokens.Delete(id)
		return nil, err, true
	}
	e.of.touch(now)
	copied := e.token
	return &copied, nil, true
}

// verify is VerifyToken after the parsing. If the tenant is forgotten meanwhile, its
// verdict does not count: the request starts again and resolve is asked anew.
func (s *Tenants) verify(ctx context.Context, iss string, id [sha256.Size]byte, raw string, m *jose.Message) (*oidc.Token, error) {
	for range maxTries {
		t, err := s.tenant(ctx, iss)
		if err != nil {
			return nil, err
		}
		token, err, counts := s.verifyBy(ctx, t, id, raw, m)
		if counts {
			return token, err
		}
	}
	return nil, outage.As(outage.Tenants, errForgotten)
}

// verifyBy verifies the token by the Verifier of t. counts is false if t was forgotten
// before the end.
//
// Precondition: the caller has acquired t, which verifyBy releases.
func (s *Tenants) verifyBy(ctx context.Context, t *tenant, id [sha256.Size]byte, raw string, m *jose.Message) (token *oidc.Token, err error, counts bool) {
	defer func() { counts = s.live.release(t) }()
	by := t.by.Load()
	switch {
	case by == nil: // forgotten since it was acquired
		return nil, errForgotten, false
	case len(raw) > by.inside.Checks.MaxSize:
		return nil, oidc.ErrTooLarge, true
	}
	e := &tenantEntry{of: t}
	verified, err := issuer.VerifyToken(ctx, by.Verifier, id, m, &e.signature)
	if err != nil {
		return nil, err, true
	}
	token = verified.(*oidc.Token)
	e.token = *token
	s.live.prove(t)
	if !s.cacheOff {
		s.tokens.Set(id, recall.OwnerOf(t.issuer, token.ClientID), token.Expiry, e)
	}
	return token, nil, true
}

// tenant returns the tenant with the issuer iss, acquired.
func (s *Tenants) tenant(ctx context.Context, iss string) (*tenant, error) {
	for range maxTries {
		if t := s.live.acquire(iss); t != nil {
			return t, nil
		}
		generation := s.generationOf(iss).Load()
		q := question{iss, generation, keyOf(iss, generation), recall.Owner{}}
		if v, known := s.remembered(&q); known {
			return nil, v.err
		}
		var by recall.Question
		q.owner, by = s.asker(ctx, iss)
		call := calls.Begin(ctx, calls.Resolve)
		t, err := s.flights.Do(ctx, q.key, by, func(ctx context.Context) (*tenant, error) { return s.learn(ctx, &q) })
		call.End(err != nil && err != oidc.ErrIssuer && err != errForgotten)
		switch {
		case err == nil && s.live.hold(t):
			return t, nil
		case err == nil, err == errForgotten: // t made room again, or was forgotten
		case s.generationOf(iss).Load() != generation: // the answer is from before Forget
		case err == oidc.ErrIssuer:
			return nil, err
		default:
			return nil, outage.As(outage.Tenants, fmt.Errorf("tenants: %s: %w", iss, err))
		}
	}
	return nil, outage.As(outage.Tenants, errForgotten)
}

// question is one to resolve.
type question struct {
	issuer     string
	generation uint64
	key        [sha256.Size]byte
	owner      recall.Owner // of the answer
}

// asker says which caller a question about iss counts against. An issuer that was
// approved before makes no difference: any caller can name that one too.
func (s *Tenants) asker(ctx context.Context, iss string) (recall.Owner, recall.Question) {
	address := caller.Address(ctx)
	q := recall.Question{Lane: recall.LaneOfCaller(address)}
	_, q.Known = s.approved.Get(sha256.Sum256([]byte(iss)))
	if !address.IsValid() {
		return recall.Owner{}, q
	}
	return recall.OwnerOf(recall.Site(address).String(), ""), q
}

func (s *Tenants) remembered(q *question) (v verdict, known bool) {
	v, ok := s.verdicts.Get(q.key)
	return v, ok && time.Now().Before(v.until)
}

func (s *Tenants) remember(q *question, err error, lifetime time.Duration) {
	until := time.Now().Add(lifetime)
	s.verdicts.Set(q.key, q.owner, until, verdict{err, until})
}

// rememberFailure remembers an error of resolve for a second: a tenant that works again
// is hardly delayed.
func (s *Tenants) rememberFailure(q *question, err error) {
	s.remember(q, outage.As(outage.Tenants, fmt.Errorf("tenants: %s: %w", q.issuer, err)), failureLifetime)
}

var generationSeed = maphash.MakeSeed()

func (s *Tenants) generationOf(iss string) *atomic.Uint64 {
	return &s.generations[maphash.String(generationSeed, iss)%uint64(len(s.generations))]
}

func keyOf(iss string, generation uint64) [sha256.Size]byte {
	var buf [maxIssuerSize + 8]byte
	return sha256.Sum256(append(binary.BigEndian.AppendUint64(buf[:0], generation), iss...))
}

// learn finds out whether an issuer is a tenant, and makes it live. It runs once at a
// time for each issuer and generation.
func (s *Tenants) learn(ctx context.Context, q *question) (*tenant, error) {
	// The flight before may have landed after the caller had looked.
	if t := s.live.find(q.issuer); t != nil {
		return t, nil
	}
	if v, known := s.remembered(q); known {
		return nil, v.err
	}
	if !s.live.begin() {
		return nil, errClosed
	}
	defer s.live.end()
	deadline, _ := ctx.Deadline()
	ctx, cancel := context.WithDeadline(s.live.ctx, deadline) // without the values of a request
	defer cancel()
	v, err := s.ask(ctx, q.issuer)
	if err == nil {
		err = s.take(v, q.issuer)
	}
	late := ctx.Err() != nil // the callers may already have got the answer that there is none
	switch {
	case err == nil && late:
		_ = v.Close()
		return nil, context.Cause(ctx)
	case late:
		return nil, fmt.Errorf("%w: %v", context.Cause(ctx), err)
	case errors.Is(err, oidc.ErrIssuer):
		s.remember(q, oidc.ErrIssuer, s.refusalLifetime)
		return nil, oidc.ErrIssuer
	case err != nil:
		err = ours(err)
		s.rememberFailure(q, err)
		return nil, err
	}
	t := newTenant(q.issuer, v)
	if err := s.live.add(t, func() bool { return s.generationOf(q.issuer).Load() == q.generation }); err != nil {
		_ = v.Close()
		if err != errForgotten && err != errClosed {
			s.rememberFailure(q, err)
		}
		return nil, err
	}
	s.approved.Set(sha256.Sum256([]byte(q.issuer)), recall.OwnerOf(q.issuer, ""), time.Now().Add(24*time.Hour), struct{}{})
	return t, nil
}

// ask calls resolve, and turns a panic in it into an error.
func (s *Tenants) ask(ctx context.Context, iss string) (v *oidc.Verifier, err error) {
	defer func() {
		if p := recover(); p != nil {
			v, err = nil, fmt.Errorf("resolve panicked: %s", panicText(p))
		}
	}()
	return s.resolve(ctx, iss)
}

// panicText tells a programming error from a panic whose text may hold a secret.
func panicText(panicked any) string {
	if err, ok := panicked.(runtime.Error); ok {
		return err.Error()
	}
	return fmt.Sprintf("a value of type %T", panicked)
}

// take makes v a Verifier of this Tenants, or says why it cannot be one.
func (s *Tenants) take(v *oidc.Verifier, iss string) error {
	if v == nil {
		return errNothing
	}
	inside := issuer.InsideVerifier(v)
	switch {
	case inside == nil:
		return errNoVerifier
	case inside.Issuer.URL != iss:
		return fmt.Errorf("resolve returned a Verifier of another issuer, %s", inside.Issuer.URL)
	case !inside.OwnsIssuer:
		return errors.New("resolve returned a Verifier that borrows its Issuer, which Tenants could not close; use oidc.New")
	case inside.Closed.Load():
		return errors.New("resolve returned a Verifier that is closed; make one for each call")
	case !inside.Taken.CompareAndSwap(false, true):
		return errors.New("resolve returned a Verifier that a Tenants has, or had; make one for each call")
	}
	if err := s.admits(v.Policy(), inside); err != nil {
		_ = v.Close() // resolve may have used it
		return err
	}
	return nil
}

// ours returns err without the oidc.TokenError that it may wrap, of a token that resolve
// has looked at itself: the client must not be refused because of that token.
func ours(err error) error {
	if _, isClients := errors.AsType[oidc.TokenError](err); isClients {
		return errors.New(err.Error())
	}
	return err
}

// Forget drops what is known of an issuer: its Verifier, its tokens, its refusal. Once it
// has returned, no token is accepted by an earlier answer of resolve, even if a
// verification or resolve was under way. The next token of the issuer makes Tenants call
// resolve again.
func (s *Tenants) Forget(issuer string) {
	if s == nil || s.resolve == nil {
		return
	}
	s.live.forget(issuer, s.generationOf(issuer))
}

// Close closes the Verifiers of all live tenants, cancels the context of the calls of
// resolve that are under way, and waits for both, at most one second for calls that
// ignore their context. Live tenants go on serving with the keys that they have, which
// are not refreshed; no more tenants are resolved. Close may be called more than once.
func (s *Tenants) Close() error {
	if s == nil || s.resolve == nil {
		return nil
	}
	return s.live.close()
}

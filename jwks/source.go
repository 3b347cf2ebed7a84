package jwks

import (
	"context"
	"crypto"
	"net/http"
	"slices"
	"time"

	"github.com/keybound-go/middleware/internal/calls"
	"github.com/keybound-go/middleware/internal/jose"
	"github.com/keybound-go/middleware/internal/remote"
)

// A Source is one issuer's key set, kept fresh. Its methods may be called
// concurrently. The zero Source has no keys and never will.
type Source struct {
	keys *remote.Resource[*keySet]
	algs []string // that can be verified at all
}

// New returns a Source for the JWK Set at url, which must be https. It starts
// nothing, touches no network, and reports every mistake at once.
func New(url string, opts ...Option) (*Source, error) {
	c := newConfig(opts)
	if _, err := remote.CheckURL(url, remote.PlainFor(c.remote.AllowLoopbackHTTP, c.remote.Client)); err != nil {
		c.Join(renamed(err))
	}
	c.remote.Locate = remote.At(url)
	return newSource(c)
}

// NewLocated is New for a jwks_uri that has to be found out first, by
// discovery. locate is called before each fetch, never concurrently, in the
// background, for no particular request; its context ends with the attempt. It may
// return another URL each time. If its error has a method RetryAfter()
// time.Duration, the next attempt follows after that time.
func NewLocated(locate func(context.Context) (string, error), opts ...Option) (*Source, error) {
	c := newConfig(opts)
	if locate == nil {
		c.Problem("NewLocated: locate is nil")
	}
	c.remote.Locate = func(ctx context.Context) ([]string, error) {
		url, err := locate(ctx)
		return []string{url}, err
	}
	return newSource(c)
}

func newSource(c *config) (*Source, error) {
	c.remote.Part = calls.Keys
	c.remote.Accept = "application/jwk-set+json, application/json;q=0.9"
	c.remote.Decode = func(body []byte, _ http.Header) (*keySet, error) {
		// No look at Content-Type: issuers send all sorts (RFC 7517, section 8.5).
		return parseKeySet(body, c.maxKeys)
	}
	c.remote.Same = func(a, b *keySet) bool { return a.generation == b.generation }
	keys, err := remote.New(c.remote)
	if err != nil {
		c.Join(renamed(err))
	}
	if err := c.Err(); err != nil {
		return nil, err
	}
	return &Source{keys: keys, algs: jose.Algorithms()}, nil
}

// Keys returns the keys that may verify a signature by alg under kid, 1 to 16
// of them; kid is "" if the token names none, and then every key that can verify
// alg is a candidate. The slice is the caller's; the keys are shared and must
// not be modified.
//
// A kid under which the set has a usable key never causes a fetch, whether or
// not that key fits alg. An unknown one causes a fetch that the caller waits for, no
// longer than ctx; while the cooldown holds there is none. No such key: [ErrNoKey]. No
// set, or an unknown kid while the set cannot be refreshed, so that it may well
// be the issuer's newest: an error that wraps [ErrUnavailable].
func (s *Source) Keys(ctx context.Context, alg, kid string) ([]crypto.PublicKey, error) {
	if s.keys == nil {
		return nil, ErrUnavailable
	}
	if !slices.Contains(s.algs, alg) {
		return nil, ErrNoKey // no key of any set would help
	}
	snapshot, err := s.keys.Get(ctx)
	if err != nil {
		return nil, unavailable(err)
	}
	keys, known := snapshot.Value.candidates(alg, kid)
	if !known {
		if snapshot, err = s.keys.Renew(ctx, snapshot); err != nil {
			return nil, unavailable(err)
		}
		keys, _ = snapshot.Value.candidates(alg, kid)
	}
	switch {
	case len(keys) == 0:
		return nil, ErrNoKey
	case len(keys) > maxCandidates:
		return nil, ErrTooManyKeys
	}
	return slices.Clone(keys), nil
}

// Contains reports, without touching the network, whether key is in the set in
// use: whether a signature that it made in the past would still count. It is
// false if there is no set, or one beyond [WithMaxStale], so that what depends
// on the key is asked for again, and [Source.Keys] can tell the outage.
func (s *Source) Contains(key crypto.PublicKey) bool {
	set := s.set()
	return set != nil && set.contains(key)
}

// Generation identifies the content of the set in use: as long as it has the
// same value, [Source.Contains] answers the same. It is 0 if there is no set, or
// one beyond [WithMaxStale]. Like Contains it never touches the network; it
// takes no lock and allocates nothing.
func (s *Source) Generation() uint64 {
	if set := s.set(); set != nil {
		return set.generation
	}
	return 0
}

func (s *Source) set() *keySet {
	if s.keys == nil {
		return nil
	}
	if snapshot := s.keys.Peek(); snapshot != nil {
		return snapshot.Value
	}
	return nil
}

// Prefetch makes sure that there is a set: for the start of a service, and for
// its readiness probe. With a set at hand it returns at once.
func (s *Source) Prefetch(ctx context.Context) error {
	if s.keys == nil {
		return ErrUnavailable
	}
	if err := s.keys.Prefetch(ctx); err != nil {
		return unavailable(err)
	}
	return nil
}

// Close ends the background work; it waits for a fetch under way, and may be
// called more than once. The last set still serves until it is too old.
func (s *Source) Close() error {
	if s.keys == nil {
		return nil
	}
	return s.keys.Close()
}

// A Status tells an operator how a [Source] is doing. It holds no secret.
type Status struct {
	URL         string    // last asked, without query; "" if not yet located
	Keys        int       // in use
	KeyIDs      []string  // those of the keys in use that have one, sorted
	Skipped     []string  // why keys of the set are not in use
	FetchedAt   time.Time // of the set in use; zero if there is none
	Stale       bool      // the set is older than the limit and not served any more
	LastAttempt time.Time // zero if there was none
	LastError   string    // of the last attempt; "" if it was good
	NextAttempt time.Time // before this, nothing is fetched on behalf of a request; zero: any time
	NextRefresh time.Time // when the background refresh is due; zero before the first success and after Close
}

// Status returns the state at this moment.
func (s *Source) Status() Status {
	if s.keys == nil {
		return Status{}
	}
	st := s.keys.Status()
	status := Status{
		URL:         st.URL,
		FetchedAt:   st.FetchedAt,
		Stale:       st.Stale,
		LastAttempt: st.LastAttempt,
		LastError:   st.LastError,
		NextAttempt: st.NextAttempt,
		NextRefresh: st.NextRefresh,
	}
	if set := s.set(); set != nil {
		status.Keys = len(set.thumbprints)
		status.KeyIDs = set.keyIDs()
		status.Skipped = slices.Clone(set.skipped)
	}
	return status
}

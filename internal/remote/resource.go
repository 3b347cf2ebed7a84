package remote

import (
	"context"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/keybound-go/middleware/internal/calls"
)

// A Snapshot is one good answer. It is shared and must not be modified.
type Snapshot[T any] struct {
	Value     T
	URL       string    // where it came from
	FetchedAt time.Time // when the answer was complete

	sum      [32]byte      // SHA-256 of the body
	lifetime time.Duration // as the server stated it, within the bounds
}

// A Resource is one document, kept fresh. Its methods may be called
// concurrently. The zero Resource is not usable: see [New].
type Resource[T any] struct {
	cfg     Config[T]
	client  *http.Client
	leash   *Leash
	ctx     context.Context // of everything in the background; ends with Close
	cancel  context.CancelFunc
	flights sync.WaitGroup // flights under way: none, or one that is landing and one that starts; and the first look of the clock
	clock   sync.Once      // wound after the first success

	// Invariant: written only by the flight under way; read by any goroutine.
	current atomic.Pointer[Snapshot[T]]

	mu     sync.Mutex
	flight *flight // nil if none is under way
	pace   pace
	last   attempt
	closed bool
	alarm  *time.Timer // starts the clock; nil before it is wound
}

// attempt is what is remembered of the last one.
type attempt struct {
	at  time.Time // when it ended
	url string
	err error
}

// maxAstray is how many requests of one Resource may go on after the end of their
// attempt. Attempts follow each other, so that more than a few come of a transport
// that never returns.
const maxAstray = 4

// New returns a Resource. It starts nothing and touches no network, and
// reports every problem of cfg at once.
func New[T any](cfg Config[T]) (*Resource[T], error) {
	cfg.complete()
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	client := cfg.Client
	if client == nil {
		client = NewClient(ClientConfig{AllowLoopbackHTTP: cfg.AllowLoopbackHTTP})
	}
	ctx, cancel := context.WithCancel(context.Background())
	return &Resource[T]{
		cfg:    cfg,
		client: Harden(client),
		leash:  NewLeash(maxAstray),
		ctx:    ctx,
		cancel: cancel,
		pace:   pace{cooldown: cfg.Cooldown, failure: cfg.FailureCooldown},
	}, nil
}

// Peek returns the last good answer, or nil if there is none or it is older
// than MaxStale. It never touches the network and takes no lock.
func (r *Resource[T]) Peek() *Snapshot[T] {
	s := r.current.Load()
	if s == nil || time.Since(s.FetchedAt) > r.cfg.MaxStale {
		return nil
	}
	return s
}

// Get returns the last good answer. If there is none it fetches one, and waits
// for it no longer than ctx; but within the wait after a failure it returns
// the reason of that failure at once. Its errors are *[UnavailableError].
func (r *Resource[T]) Get(ctx context.Context) (*Snapshot[T], error) {
	if s := r.Peek(); s != nil {
		return s, nil
	}
	return r.newer(ctx, nil, first)
}

// Renew returns an answer newer than seen, which came from [Resource.Get]. It
// makes at most one fetch per cooldown, and within it returns seen at once. A
// fetch that brought something new starts no cooldown, so that two changes in
// a row are both found (up to a limit). Its errors are *[UnavailableError].
func (r *Resource[T]) Renew(ctx context.Context, seen *Snapshot[T]) (*Snapshot[T], error) {
	return r.newer(ctx, seen, renewal)
}

func (r *Resource[T]) newer(ctx context.Context, seen *Snapshot[T], why purpose) (*Snapshot[T], error) {
	f, err := r.board(seen, why)
	if err != nil {
		return nil, err
	}
	if f != nil {
		if err := r.wait(ctx, f); err != nil {
			return nil, err
		}
	}
	if s := r.Peek(); s != nil {
		return s, nil
	}
	return nil, &UnavailableError{cause: errStale}
}

// wait waits for the end of a flight, no longer than ctx.
func (r *Resource[T]) wait(ctx context.Context, f *flight) (err error) {
	call := calls.Begin(ctx, r.cfg.Part)
	defer func() { call.End(err != nil) }()
	select {
	case <-f.done:
		return f.err
	case <-ctx.Done():
		return &UnavailableError{cause: context.Cause(ctx)}
	}
}

// Prefetch makes sure that there is an answer: for the start of a service,
// and for its readiness probe. With an answer at hand it returns at once.
func (r *Resource[T]) Prefetch(ctx context.Context) error {
	_, err := r.Get(ctx)
	return err
}

// Close ends the background work, waits for a flight under way, and may be
// called more than once. The last answer still serves until it is older than
// MaxStale; nothing is fetched any more.
func (r *Resource[T]) Close() error {
	r.mu.Lock()
	r.closed = true
	if r.alarm != nil {
		r.alarm.Stop()
	}
	r.mu.Unlock()
	r.cancel()
	r.flights.Wait()
	if r.cfg.Client == nil {
		r.client.CloseIdleConnections()
	}
	return nil
}

// A Status tells an operator how a Resource is doing.
type Status struct {
	URL         string    // last asked, without query; "" if not yet located
	FetchedAt   time.Time // of the answer in use; zero if there is none
	Stale       bool      // the answer is older than the limit and not served any more
	LastAttempt time.Time // zero if there was none
	LastError   string    // of the last attempt; "" if it was good
	NextAttempt time.Time // before this, nothing is fetched on behalf of a request; zero: any time
	NextRefresh time.Time // when the background work is due; zero before the first success and after Close
}

// Status returns the state at this moment. It holds no secret.
func (r *Resource[T]) Status() Status {
	r.mu.Lock()
	defer r.mu.Unlock()
	st := Status{
		URL:         r.last.url,
		LastAttempt: r.last.at,
		NextAttempt: r.pace.nextAttempt(),
	}
	if r.last.err != nil {
		st.LastError = r.last.err.Error()
	}
	if s := r.current.Load(); s != nil {
		st.FetchedAt = s.FetchedAt
		st.Stale = r.Peek() == nil
		if !r.closed {
			st.NextRefresh = r.pace.nextRefresh()
		}
	}
	return st
}

package remote

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/lestrrat-go/httprc"
)

// tick is the grain of the background schedule; httprc allows no finer one.
const tick = time.Second

// windClock has the clock start when the first answer is over. A Resource that is closed
// before that, as that of a tenant that makes room, needs no goroutine for it.
func (r *Resource[T]) windClock() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.closed {
		r.alarm = time.AfterFunc(time.Until(r.pace.nextRefresh()), r.ring)
	}
}

// ring starts the clock, unless the Resource is closed. Close waits for it.
func (r *Resource[T]) ring() {
	r.mu.Lock()
	closed := r.closed
	if !closed {
		r.flights.Add(1)
	}
	r.mu.Unlock()
	if !closed {
		defer r.flights.Done()
		r.startClock()
	}
}

// startClock has httprc call [poll.Get] whenever the answer's lifetime is
// over. httprc stays off the request path: its Get ignores the context and
// waits behind a refresh in flight, and its Refresh adds a poll that never
// ends. It is given no URL either, since ours may move.
//
// Its goroutines end with r.ctx. (If that happens in the very instant between the
// end of a poll and the wait for the next, httprc misses the wake-up, and one
// idle goroutine of it remains.)
//
// The one httprc.Get here puts the entry on the schedule, which Register does not do,
// and makes the first refresh.
func (r *Resource[T]) startClock() {
	cache := httprc.NewCache(r.ctx, httprc.WithRefreshWindow(tick), httprc.WithFetcherWorkerCount(1))
	const name = "resource"
	err := cache.Register(name,
		httprc.WithHTTPClient(poll(func() time.Duration { return r.refresh(r.ctx) })),
		httprc.WithMinRefreshInterval(tick),
		httprc.WithTransformer(httprc.TransformFunc(discard)))
	if err == nil {
		_, err = cache.Get(r.ctx, name)
	}
	_ = err // only that the Resource was closed: Register refuses nothing without a whitelist
}

// refresh fetches if the answer's lifetime is over, and returns the time until
// the next look.
func (r *Resource[T]) refresh(ctx context.Context) time.Duration {
	r.mu.Lock()
	f := r.flight
	if f == nil && !r.closed && time.Until(r.pace.nextRefresh()) <= 0 {
		f = r.launch(refresh)
	}
	r.mu.Unlock()
	if f != nil {
		select {
		case <-f.done:
		case <-ctx.Done():
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return time.Until(r.pace.nextRefresh())
}

// poll stands in for httprc's HTTP client. The request is made with our own
// limits and its result published before it returns; what httprc gets to see
// is an empty answer whose lifetime is the time until the next poll.
type poll func() time.Duration

// Get implements httprc.HTTPClient.
func (p poll) Get(string) (*http.Response, error) {
	seconds := int(max(p(), tick)+tick-1) / int(tick)
	return &http.Response{
		StatusCode: http.StatusOK,
		Header:     http.Header{"Cache-Control": {fmt.Sprintf("max-age=%d", seconds)}},
		Body:       io.NopCloser(bytes.NewReader(nil)),
	}, nil
}

func discard(string, *http.Response) (any, error) { return nil, nil }

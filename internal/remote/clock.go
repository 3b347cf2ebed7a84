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

// startClock has httprc call [poll.Get] whenever the answer's lifetime is
// over. httprc stays off the request path: its Get ignores the context and
// waits behind a refresh in flight, and its Refresh adds a poll that never
// ends. It is given no URL either, since ours may move.
//
// Its goroutines end with r.ctx. (If that happens in the very instant between the
// end of a poll and the wait for the next, httprc misses the wake-up, and one
// idle goroutine of it remains.)
//
// The one httprc.Get here only puts the entry on the schedule, which Register
// does not do. It makes no request: the answer has just been fetched.
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

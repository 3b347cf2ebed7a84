package dpoptest_test

import (
	"testing"

	"github.com/keybound-go/middleware/dpop"
	"github.com/keybound-go/middleware/dpop/dpoptest"
)

// A test of a replay cache of one's own.
func ExampleTestReplayCache() {
	TestMyStore := func(t *testing.T) {
		dpoptest.TestReplayCache(t, func() dpop.ReplayCache {
			store, err := dpop.NewMemoryCache() // yours
			if err != nil {
				t.Fatal(err)
			}
			return store
		})
	}
	_ = TestMyStore
}

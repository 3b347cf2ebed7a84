package dpoptest_test

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/keybound-go/middleware/dpop"
	"github.com/keybound-go/middleware/dpop/dpoptest"
)

// A test of a handler that demands proofs.
func Example() {
	TestOrders := func(t *testing.T) {
		key := dpoptest.NewKey(t)
		verifier, err := dpop.New("https://api.example")
		if err != nil {
			t.Fatal(err)
		}
		handler := func(r *http.Request) error {
			_, err := verifier.Verify(r, "token", key.Thumbprint())
			return err
		}

		r := httptest.NewRequest("GET", "https://api.example/orders", nil)
		key.Sign(r, "token")
		if err := handler(r); err != nil {
			t.Error(err)
		}
		for _, broken := range dpoptest.Broken() {
			t.Run(broken.Name, func(t *testing.T) {
				r.Header.Set("DPoP", broken.Proof(key, "GET", "https://api.example/orders", "token"))
				if handler(r) == nil {
					t.Error("accepted")
				}
			})
		}
	}
	_ = TestOrders
}

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

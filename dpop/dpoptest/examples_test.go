package dpoptest_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/keybound-go/middleware/dpop/dpoptest"
)

// A proof that is spoilt on purpose, to see a service refuse it.
func ExampleKey_Proof() {
	t := new(testing.T) // the test's own
	key := dpoptest.NewKey(t)
	old := key.Proof("GET", "https://api.example/orders", "token", dpoptest.IssuedAt(time.Now().Add(-time.Hour)))
	withoutID := key.Proof("GET", "https://api.example/orders", "token", dpoptest.WithoutClaim("jti"))
	fmt.Println(strings.Count(old, "."), strings.Count(withoutID, "."))
	// Output: 2 2
}

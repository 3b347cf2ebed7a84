package connectguard_test

import (
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"

	"github.com/keybound-go/middleware"
	"github.com/keybound-go/middleware/connectguard"
	"github.com/keybound-go/middleware/dpop"
	"github.com/keybound-go/middleware/oidc"
)

// The guard in front of the handlers of connect-go: a refusal has the form of the
// client's protocol.
func ExampleDeny() {
	guard, err := middleware.New(
		middleware.WithTokens(oidc.New("https://issuer.example", "https://api.example")),
		middleware.WithDPoP(dpop.New("https://api.example")),
		middleware.WithDenyHandler(connectguard.Deny),
	)
	if err != nil {
		log.Fatal(err)
	}
	r := httptest.NewRequest("POST", "/shop.Orders/List", strings.NewReader("{}"))
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Connect-Protocol-Version", "1")
	w := httptest.NewRecorder()
	guard.Wrap(http.NotFoundHandler()).ServeHTTP(w, r)
	fmt.Println(w.Code, strings.Contains(w.Body.String(), "unauthenticated"))
	// Output: 401 true
}

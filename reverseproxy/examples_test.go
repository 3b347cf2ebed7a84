package reverseproxy_test

import (
	"errors"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"
	"net/url"

	"github.com/keybound-go/middleware/reverseproxy"
)

// The query, the path and the fields reach the service as the client sent them; what the
// guard sets reaches the client.
func ExampleNew() {
	service := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, r.RequestURI)
	}))
	defer service.Close()
	target, err := url.Parse(service.URL)
	if err != nil {
		log.Fatal(err)
	}
	proxy, err := reverseproxy.New(target)
	if err != nil {
		log.Fatal(err)
	}
	w := httptest.NewRecorder()
	proxy.ServeHTTP(w, httptest.NewRequest("GET", "/a%2Fb?x=1;y=2", nil)) // under guard.Wrap
	fmt.Println(w.Code, w.Body)
	// Output: 200 /a%2Fb?x=1;y=2
}

// An ErrorHandler of one's own need not log that a client went away.
func ExampleIsClientGone() {
	r := httptest.NewRequest("GET", "/orders", nil)
	fmt.Println(reverseproxy.IsClientGone(r, errors.New("connection refused")))
	// Output: false
}

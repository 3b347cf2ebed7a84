package jwks_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"time"

	"github.com/keybound-go/middleware/jwks"
)

// For how long the keys of an issuer that is away are good, and how often it is asked,
// are settings; what New refuses, it refuses with every mistake at once.
func ExampleNew() {
	_, err := jwks.New("http://issuer.example/keys", jwks.WithMaxStale(-time.Hour))
	fmt.Println(err != nil)

	source, err := jwks.New("https://issuer.example/keys",
		jwks.WithRefreshInterval(5*time.Minute, time.Hour),
		jwks.WithMaxStale(24*time.Hour),
		jwks.WithCooldown(10*time.Second, time.Second),
	)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer source.Close()
	fmt.Println(source.Status().Keys, "keys") // nothing is fetched until a key is asked for
	// Output:
	// true
	// 0 keys
}

// What an operator sees of a source: which keys it has, and which of the published ones
// it has left out and why.
func ExampleSource_Status() {
	issuer := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, `{"keys":[
			{"kty":"OKP","crv":"Ed25519","kid":"good","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"},
			{"kty":"oct","kid":"shared","k":"c2VjcmV0"}]}`)
	}))
	defer issuer.Close()
	source, err := jwks.New(issuer.URL, jwks.DangerouslyAllowLoopbackHTTP())
	if err != nil {
		fmt.Println(err)
		return
	}
	defer source.Close()
	if err := source.Prefetch(context.Background()); err != nil {
		fmt.Println(err)
	}
	st := source.Status()
	fmt.Println(st.KeyIDs, len(st.Skipped))
	// Output: [good] 1
}

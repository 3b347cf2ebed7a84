package reverseproxy_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/keybound-go/middleware/reverseproxy"
)

// answeredBody is a body of a server that has begun to write the response: the last part
// comes with its end, and each read after that fails.
type answeredBody struct{ ended bool }

func (b *answeredBody) Read(p []byte) (int, error) {
	if b.ended {
		return 0, http.ErrBodyReadAfterClose
	}
	b.ended = true
	return copy(p, "body"), io.EOF
}

func (b *answeredBody) Close() error { return nil }

func TestAServiceMayAnswerAsSoonAsItHasTheBody(t *testing.T) {
	service := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		text, _ := io.ReadAll(r.Body)
		_, _ = w.Write(text)
	}))
	defer service.Close()
	at, err := url.Parse(service.URL)
	require.NoError(t, err)
	proxy, err := reverseproxy.New(at)
	require.NoError(t, err)
	r := httptest.NewRequest("POST", "/", &answeredBody{})
	r.ContentLength = int64(len("body"))
	w := httptest.NewRecorder()
	proxy.ServeHTTP(w, r)
	require.Equal(t, 200, w.Code)
	require.Equal(t, "body", w.Body.String())
}

package ogen_test

import (
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/keybound-go/middleware"
	"github.com/keybound-go/middleware/examples/frameworks/frameworktest"
	"github.com/keybound-go/middleware/examples/frameworks/ogen"
	"github.com/keybound-go/middleware/internal/doors"
	"github.com/keybound-go/middleware/middlewaretest"
)

func service(t *testing.T) func(*middleware.Guard) http.Handler {
	yaml, err := os.ReadFile("../api.yaml")
	require.NoError(t, err)
	return frameworktest.Must(t, func(g *middleware.Guard) (http.Handler, error) { return ogen.New(g, yaml) })
}

func TestTheService(t *testing.T) { frameworktest.Run(t, service(t), middleware.ForwardBearer()) }

func TestDoors(t *testing.T) {
	doors.Run(t, frameworktest.Door("ogen", "ogen", service(t), middleware.ForwardBearer()))
}

// The code was made of one document, and runs with another.
func TestDocumentsThatDifferAreClosed(t *testing.T) {
	yaml, err := os.ReadFile("../api.yaml")
	require.NoError(t, err)
	w := middlewaretest.NewWorld(t)
	ask := func(text string) int {
		h, err := ogen.New(w.Guard(middleware.ForwardBearer()), []byte(text))
		require.NoError(t, err)
		rec := httptest.NewRecorder()
		h.ServeHTTP(rec, httptest.NewRequest("GET", "/orders/1", nil))
		return rec.Code
	}
	require.Equal(t, 401, ask(string(yaml)))
	require.Equal(t, 503, ask(strings.Replace(string(yaml), "operationId: getOrder", "operationId: renamed", 1)), "the operation is not in the document")
	require.Equal(t, 401, ask(strings.Replace(string(yaml), "security: [{ oauth2: [] }]", "security: []", 1)), "the code has security, the document has none")
}

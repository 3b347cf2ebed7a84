package introspect_test

import (
	"encoding/json"
	"io"
	"log"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/keybound-go/middleware/internal/issuertest"
	"github.com/keybound-go/middleware/oidc"
	"github.com/keybound-go/middleware/oidc/oidctest"
)

// identifier is the issuer of tests with an oidctest.Issuer: one without a network.
const identifier = "https://issuer.example/realms/main"

func newIssuer(t testing.TB, opts ...oidctest.Option) *oidctest.Issuer {
	t.Helper()
	return oidctest.NewIssuer(t, append([]oidctest.Option{oidctest.InMemory(identifier)}, opts...)...)
}

var (
	newFrom           = issuertest.NewFrom
	newIntrospector   = issuertest.NewIntrospector
	newIntrospectorAs = issuertest.NewIntrospectorAs
)

// newVerifier returns a Verifier of issuer's tokens.
func newVerifier(t testing.TB, issuer *oidctest.Issuer, opts ...oidc.Option) *oidc.Verifier {
	t.Helper()
	v, err := oidc.New(issuer.URL, oidctest.Audience, append([]oidc.Option{oidc.WithHTTPClient(issuer.Client())}, opts...)...)
	require.NoError(t, err)
	t.Cleanup(func() { _ = v.Close() })
	return v
}

// code is the RFC 6750 code of this module's error, "" if it has none.
func code(err error) string {
	if coded, ok := err.(interface{ Code() string }); ok {
		return coded.Code()
	}
	return ""
}

func discardLog() *log.Logger { return log.New(io.Discard, "", 0) }

// rawJSON is a JSON text that encoding/json would not write.
type rawJSON = json.RawMessage

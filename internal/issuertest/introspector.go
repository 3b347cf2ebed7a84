package issuertest

import (
	"errors"
	"testing"

	"github.com/keybound-go/middleware/oidc"
	"github.com/keybound-go/middleware/oidc/clientauth"
	"github.com/keybound-go/middleware/oidc/introspect"
	"github.com/stretchr/testify/require"
)

// NewFrom makes an oidc.Issuer and an Introspector that borrows it, from the options
// of both. The Issuer is closed with the test.
func NewFrom(t testing.TB, url, audience string, auth clientauth.Method, opts ...any) (*introspect.Introspector, error) {
	t.Helper()
	var issuers []oidc.IssuerOption
	var own []introspect.Option
	for _, o := range opts {
		switch o := o.(type) {
		case oidc.IssuerOption:
			issuers = append(issuers, o)
		case introspect.Option:
			own = append(own, o)
		default:
			own = append(own, nil)
		}
	}
	issuer, err := oidc.NewIssuer(url, issuers...)
	if err == nil {
		t.Cleanup(func() { _ = issuer.Close() })
	}
	i, err2 := introspect.New(issuer, audience, auth, own...)
	return i, errors.Join(err, err2)
}

// NewIntrospector returns an Introspector that asks as.
func NewIntrospector(t testing.TB, as *AS, opts ...any) *introspect.Introspector {
	t.Helper()
	return NewIntrospectorAs(t, as, clientauth.SecretBasic("api", "s3cret"), opts...)
}

// NewIntrospectorAs is NewIntrospector with a given client authentication.
func NewIntrospectorAs(t testing.TB, as *AS, auth clientauth.Method, opts ...any) *introspect.Introspector {
	t.Helper()
	opts = append([]any{
		oidc.WithHTTPClient(as.Client()),
		// Without metadata to refresh, nothing runs in the background.
		introspect.WithEndpoint("https://as.example/introspect"),
	}, opts...)
	i, err := NewFrom(t, Issuer, Audience, auth, opts...)
	require.NoError(t, err)
	t.Cleanup(func() { _ = i.Close() })
	return i
}

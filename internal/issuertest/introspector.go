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
	issuer, own, err := NewIssuer[introspect.Option](t, url, opts)
	i, err2 := introspect.New(issuer, audience, auth, own...)
	return i, errors.Join(err, err2)
}

// NewIssuer makes an oidc.Issuer of the options that are its own, and returns the
// others, which are those of the room O that borrows it. What is neither is nil among
// them. The Issuer is closed with the test.
func NewIssuer[O any](t testing.TB, url string, opts []any) (issuer *oidc.Issuer, own []O, err error) {
	t.Helper()
	var issuers []oidc.IssuerOption
	for _, o := range opts {
		if o, ok := o.(oidc.IssuerOption); ok {
			issuers = append(issuers, o)
			continue
		}
		o, _ := o.(O)
		own = append(own, o)
	}
	issuer, err = oidc.NewIssuer(url, issuers...)
	if err == nil {
		t.Cleanup(func() { _ = issuer.Close() })
	}
	return issuer, own, err
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

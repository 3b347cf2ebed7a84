package mtlspop_test

import (
	"bytes"
	"context"
	"crypto/fips140"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/keybound-go/middleware/mtlspop"
	"github.com/keybound-go/middleware/mtlspop/mtlspoptest"
	"github.com/keybound-go/middleware/mtlspop/revocation"
)

// R10: no value of these packages prints a credential of a request, or what a part of
// the operator's panics or fails with.
func TestNothingThatPrintsHoldsASecret(t *testing.T) {
	const secret = "S3CR3T"
	ca := mtlspoptest.NewCA(t, "Root")
	alice := ca.Issue("alice")
	r := httptest.NewRequest("GET", "https://api.example/?access_token="+secret, nil)
	r.Header.Set("Authorization", "DPoP "+secret)
	r.Header.Set("DPoP", secret)
	r.Header.Set("Cookie", secret)
	r.TLS = requestOver(alice).TLS
	v := newVerifier(t, mtlspop.WithRoots(ca.Pool()), mtlspop.WithForwardedCertificate("Client-Cert", mtlspop.RFC9440, trusted))
	evidence, err := v.Verify(r, alice.Thumbprint())
	require.NoError(t, err)
	var checks []revocation.Option
	if fips140.Enforced() {
		checks = append(checks, revocation.AskListsOnly())
	}
	checker, err := revocation.New(checks...)
	require.NoError(t, err)

	values := []any{mtlspop.RequestOf(r), &mtlspop.Verifier{}, v, evidence, checker, mtlspop.XFCC(2), mtlspop.RequestClientCert(nil),
		struct{ Request mtlspop.Request }{mtlspop.RequestOf(r)}}
	for kind := range mtlspop.BindingError(12) {
		values = append(values, kind, error(kind), kind.Hint())
	}
	for _, x5t := range []string{secret, "", alice.Thumbprint() + secret} {
		_, err := v.Verify(r, x5t)
		require.Error(t, err)
		values = append(values, err)
	}
	forged := forwardedFrom(trustedPeer, "Client-Cert", secret)
	_, err = v.Verify(forged, alice.Thumbprint())
	values = append(values, err)
	_, err = mtlspop.New(mtlspop.WithRevocation(revocation.New(revocation.WithHosts(""))))
	values = append(values, err)

	panics := newVerifier(t, mtlspop.WithRoots(ca.Pool()), mtlspop.WithRevocation(checkerFunc(
		func(context.Context, []*x509.Certificate) error { return errors.New("the CA is silent") }), nil))
	_, err = panics.Verify(r, alice.Thumbprint())
	require.Error(t, err)
	values = append(values, err)

	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%d"} {
		text := fmt.Sprintf(verb, mtlspop.RequestOf(r))
		require.Contains(t, text, `from "192.0.2.1:1234", TLS: true`)
		require.Contains(t, text, `"Authorization" "Cookie" "Dpop"`)
	}
	for _, value := range values {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
			require.NotContains(t, fmt.Sprintf(verb, value), secret, "%T under %s", value, verb)
			require.NotContains(t, fmt.Sprintf(verb, value), fmt.Sprintf("%x", secret), "%T under %s", value, verb)
		}
		var text bytes.Buffer
		for _, h := range []slog.Handler{slog.NewTextHandler(&text, nil), slog.NewJSONHandler(&text, nil)} {
			slog.New(h).Info("value", "value", value)
		}
		require.NotContains(t, text.String(), secret, "%T in a log", value)
	}
}

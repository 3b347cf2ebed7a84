package dpopclient_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rand"
	"fmt"
	"log/slog"
	"math/big"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/keybound-go/middleware/dpop/dpopclient"
)

// A source as a careless user writes one.
type carelessSource struct{ Secret string }

func (s carelessSource) Token(context.Context) (string, string, error) { return s.Secret, "DPoP", nil }

func TestNothingThatPrintsATransportHoldsASecret(t *testing.T) {
	// R10
	n := &network{handler: func(w http.ResponseWriter, r *http.Request) { w.Header().Set("DPoP-Nonce", "S3CR3T-N0NCE") }}
	tr, err := dpopclient.New(ecKey, dpopclient.WithBase(n), dpopclient.WithOrigins(api), dpopclient.WithTokenSource(carelessSource{"S3CR3T-T0KEN"}))
	require.NoError(t, err)
	require.Equal(t, 200, get(t, tr, api))
	private, err := ecKey.Bytes()
	require.NoError(t, err)
	_, edKey, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	ed, err := dpopclient.New(edKey, dpopclient.WithOrigins(api))
	require.NoError(t, err)
	for name, v := range map[string]any{"Ed25519": ed, "Ed25519 by value": *ed, "Transport": tr, "by value": *tr, "Option": dpopclient.WithTokenSource(carelessSource{"S3CR3T-T0KEN"})} {
		var text, js bytes.Buffer
		slog.New(slog.NewTextHandler(&text, nil)).Info("printed", "value", v)
		slog.New(slog.NewJSONHandler(&js, nil)).Info("printed", "value", v)
		all := text.String() + js.String()
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
			all += fmt.Sprintf(verb+"\n", v)
		}
		require.NotRegexp(t, `(\d{1,3} ){12}`, all, "%s: a list of bytes", name)
		for _, secret := range []string{"S3CR3T", fmt.Sprint(private), fmt.Sprintf("%x", private), scalar(t, ecKey), proofIn(t, n.last(t)).Raw} {
			require.NotContains(t, all, secret, name)
		}
	}
}

// scalar is the private key as a decimal number, as fmt prints it.
func scalar(t *testing.T, key *ecdsa.PrivateKey) string {
	t.Helper()
	raw, err := key.Bytes()
	require.NoError(t, err)
	return new(big.Int).SetBytes(raw).String()
}

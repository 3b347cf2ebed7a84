package pen_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/keybound-go/middleware/cmd/keybound/internal/pen"
)

func TestKeysSurviveTheirFiles(t *testing.T) {
	for _, alg := range pen.Algorithms {
		key, err := pen.Generate(alg)
		require.NoError(t, err)
		jwk, err := key.PrivateJWK()
		require.NoError(t, err)
		asPEM, err := key.PrivatePEM()
		require.NoError(t, err)

		again, err := pen.Parse(jwk)
		require.NoError(t, err, alg)
		require.Equal(t, key.Thumbprint(), again.Thumbprint())
		require.Equal(t, alg, again.Algorithm)
		requireSigned(t, again)

		again, err = pen.Parse(append([]byte("-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n"), asPEM...))
		require.NoError(t, err, alg)
		require.Equal(t, key.Thumbprint(), again.Thumbprint())
		requireSigned(t, again)

		public, err := pen.ParsePublic(key.JWK())
		require.NoError(t, err)
		require.True(t, key.Signer().Public().(interface{ Equal(crypto.PublicKey) bool }).Equal(public))
	}
}

func TestAKeyOfASet(t *testing.T) {
	member := func(key *pen.Key, more string) string {
		jwk, err := key.PrivateJWK()
		require.NoError(t, err)
		return more + strings.TrimPrefix(string(jwk), "{")
	}
	for _, alg := range pen.Algorithms {
		key, err := pen.Generate(alg)
		require.NoError(t, err)
		other, err := pen.Generate("ES256")
		require.NoError(t, err)
		for name, set := range map[string]string{
			"as oauth2c has it": `{"keys": [` + member(other, `{"use": "enc", "kid": "e", `) + `, ` + member(key, `{"use": "sig", "kid": "k", `) + `]}`,
			"one alone":         `{"keys": [` + member(key, `{`) + `]}`,
		} {
			again, err := pen.Parse([]byte(set))
			require.NoError(t, err, name)
			require.Equal(t, key.Thumbprint(), again.Thumbprint(), name)
			require.Equal(t, alg, again.Algorithm)
			requireSigned(t, again)
		}
		for name, set := range map[string]string{
			"none":           `{"keys": []}`,
			"for encryption": `{"keys": [` + member(key, `{"use": "enc", `) + `]}`,
			"of two, which?": `{"keys": [` + member(key, `{`) + `, ` + member(other, `{`) + `]}`,
			"no list":        `{"keys": {}}`,
		} {
			_, err := pen.Parse([]byte(set))
			require.ErrorContains(t, err, "pen: ", name)
		}
	}
}

func requireSigned(t *testing.T, key *pen.Key) {
	t.Helper()
	parts := strings.Split(key.Proof("GET", "https://api.example/", "token", "n"), ".")
	require.Len(t, parts, 3)
	signature, err := base64.RawURLEncoding.Strict().DecodeString(parts[2])
	require.NoError(t, err)
	sum := sha256.Sum256([]byte(parts[0] + "." + parts[1]))
	switch public := key.Signer().Public().(type) {
	case *ecdsa.PublicKey:
		if key.Algorithm == "ES256" {
			require.Len(t, signature, 64)
			r, s := new(big.Int).SetBytes(signature[:32]), new(big.Int).SetBytes(signature[32:])
			require.True(t, ecdsa.Verify(public, sum[:], r, s))
		}
	case *rsa.PublicKey:
		if key.Algorithm == "PS256" {
			require.NoError(t, rsa.VerifyPSS(public, crypto.SHA256, sum[:], signature, nil))
		} else {
			require.NoError(t, rsa.VerifyPKCS1v15(public, crypto.SHA256, sum[:], signature))
		}
	case ed25519.PublicKey:
		require.True(t, ed25519.Verify(public, []byte(parts[0]+"."+parts[1]), signature))
	}
}

func TestTheThumbprintIsThatOfRFC7638(t *testing.T) {
	// RFC 7638, section 3.1.
	const n = "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw"
	jwk := map[string]any{"kty": "RSA", "n": n, "e": "AQAB", "alg": "RS256", "kid": "2011-04-29"}
	require.Equal(t, "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs", pen.Thumbprint(jwk))
}

func TestBrokenKeyFilesAreRefusedWithoutShowingThem(t *testing.T) {
	key, err := pen.Generate("ES256")
	require.NoError(t, err)
	good, err := key.PrivateJWK()
	require.NoError(t, err)
	edit := func(name string, value any) []byte {
		var m map[string]any
		require.NoError(t, json.Unmarshal(good, &m))
		m[name] = value
		raw, err := json.Marshal(m)
		require.NoError(t, err)
		return raw
	}
	for name, data := range map[string][]byte{
		"nothing":         nil,
		"text":            []byte("key"),
		"not JSON":        append([]byte("{"), good...),
		"public":          edit("d", ""),
		"other curve":     edit("crv", "P-384"),
		"unknown curve":   edit("crv", "secp256k1"),
		"other algorithm": edit("alg", "ES384"),
		"symmetric":       edit("kty", "oct"),
		"certificate":     pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte("x")}),
		"encrypted":       pem.EncodeToMemory(&pem.Block{Type: "ENCRYPTED PRIVATE KEY", Bytes: []byte("x")}),
		"broken":          pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: []byte("x")}),
	} {
		_, err := pen.Parse(data)
		require.ErrorContains(t, err, "pen: ", name)
		var m map[string]string
		_ = json.Unmarshal(good, &m)
		require.NotContains(t, err.Error(), m["d"], name)
	}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s"} {
		var m map[string]string
		_ = json.Unmarshal(good, &m)
		require.NotContains(t, fmt.Sprintf(verb, key), m["d"])
	}
}

func TestCertificates(t *testing.T) {
	ca, err := pen.NewAuthority("CA")
	require.NoError(t, err)
	server, err := ca.Server("localhost", "127.0.0.1")
	require.NoError(t, err)
	_, err = server.Leaf.Verify(x509.VerifyOptions{Roots: ca.Pool(), DNSName: "localhost"})
	require.NoError(t, err)
	client, err := ca.Client("alice")
	require.NoError(t, err)
	again, err := ca.Reissue(client)
	require.NoError(t, err)
	require.False(t, bytes.Equal(client.Leaf.Raw, again.Leaf.Raw))
	require.Equal(t, client.Leaf.RawSubjectPublicKeyInfo, again.Leaf.RawSubjectPublicKeyInfo)
}

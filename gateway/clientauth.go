package main

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"fmt"

	"github.com/keybound-go/middleware/gateway/kongfile"
	"github.com/keybound-go/middleware/oidc/clientauth"
)

// newClientAuth returns how the gateway authenticates itself for one plugin by a
// method, and the keys that it publishes for that, if any.
func newClientAuth(p *kongfile.OpenIDConnect, method string, certificates map[string]*tls.Certificate) (clientauth.Method, *clientKeys, error) {
	certificate := func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
		return certificates[p.Client.CertificateID], nil
	}
	switch method {
	case "client_secret_basic":
		return clientauth.SecretBasic(p.Client.ID, p.Client.Secret), nil, nil
	case "client_secret_post":
		return clientauth.SecretPost(p.Client.ID, p.Client.Secret), nil, nil
	case "client_secret_jwt":
		if p.Client.Algorithm == "" {
			return clientauth.SecretJWT(p.Client.ID, p.Client.Secret), nil, nil
		}
		return clientauth.SecretJWT(p.Client.ID, p.Client.Secret, clientauth.WithAlgorithm(p.Client.Algorithm)), nil, nil
	case "tls_client_auth":
		return clientauth.TLS(p.Client.ID, certificate), nil, nil
	case "self_signed_tls_client_auth":
		return clientauth.SelfSignedTLS(p.Client.ID, certificate), nil, nil
	case "private_key_jwt":
		key, err := newClientKey(p)
		if err != nil {
			return nil, nil, err
		}
		keys, err := clientauth.NewKeys(key)
		if err != nil {
			return nil, nil, err
		}
		return clientauth.PrivateKeyJWT(p.Client.ID, keys), &clientKeys{keys, p}, nil
	}
	return clientauth.Public(p.Client.ID), nil, nil
}

// newClientKey is the key of client_jwk or, as in Kong, a new one.
func newClientKey(p *kongfile.OpenIDConnect) (key clientauth.Key, err error) {
	if k := p.Client.Key; k != nil {
		return clientauth.Key{KeyID: k.KeyID, Algorithm: k.Algorithm, Signer: k.Signer}, nil
	}
	return generateKey(p.Client.Algorithm)
}

func generateKey(alg string) (key clientauth.Key, err error) {
	switch alg {
	case "", "ES256":
		key.Signer, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case "ES384":
		key.Signer, err = ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	case "ES512":
		key.Signer, err = ecdsa.GenerateKey(elliptic.P521(), rand.Reader)
	case "EdDSA":
		_, key.Signer, err = newEd25519()
	case "RS256", "RS384", "RS512", "PS256", "PS384", "PS512":
		key.Algorithm = alg
		key.Signer, err = rsa.GenerateKey(rand.Reader, 2048)
	default:
		err = fmt.Errorf("client_alg: %q is not supported", alg)
	}
	return key, err
}

func newEd25519() (ed25519.PublicKey, crypto.Signer, error) {
	public, private, err := ed25519.GenerateKey(rand.Reader)
	return public, private, err
}

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
	"sync"

	"github.com/keybound-go/middleware/gateway/kongfile"
	"github.com/keybound-go/middleware/oidc/clientauth"
)

// newClientAuth returns how the gateway authenticates itself for one plugin by a
// method, and the keys that it publishes for that, if any.
func (d *deployment) newClientAuth(p *kongfile.OpenIDConnect, method string, certificates map[string]*tls.Certificate) (clientauth.Method, *clientKeys, error) {
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
		keys, err := d.generated.keysOf(p)
		if err != nil {
			return nil, nil, err
		}
		return clientauth.PrivateKeyJWT(p.Client.ID, keys), &clientKeys{keys, p}, nil
	}
	return clientauth.Public(p.Client.ID), nil, nil
}

// clientKeyStore has the keys that the gateway has made, as Kong does where the file
// gives none. They outlive a change of the configuration: the issuer has fetched them.
type clientKeyStore struct {
	mu  sync.Mutex
	all map[[3]string]*clientauth.Keys // by issuer, client and algorithm
}

func (s *clientKeyStore) keysOf(p *kongfile.OpenIDConnect) (*clientauth.Keys, error) {
	if k := p.Client.Key; k != nil {
		return clientauth.NewKeys(clientauth.Key{KeyID: k.KeyID, Algorithm: k.Algorithm, Signer: k.Signer})
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	at := [3]string{p.Issuer, p.Client.ID, p.Client.Algorithm}
	if keys := s.all[at]; keys != nil {
		return keys, nil
	}
	key, err := generateKey(p.Client.Algorithm)
	if err != nil {
		return nil, err
	}
	keys, err := clientauth.NewKeys(key)
	if err == nil {
		if s.all == nil {
			s.all = make(map[[3]string]*clientauth.Keys)
		}
		s.all[at] = keys
	}
	return keys, err
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

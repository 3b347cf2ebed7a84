package oidctest

import (
	"crypto"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/x509"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"time"
)

// methods are the client authentication methods that the endpoints know.
var methods = []string{
	"client_secret_basic", "client_secret_post", "client_secret_jwt", "private_key_jwt",
	"tls_client_auth", "self_signed_tls_client_auth", "none",
}

// Registration is what the issuer knows of a client.
type Registration struct {
	ID     string
	Secret string // for the three methods with a secret

	// Method is the client authentication method (RFC 7591, section 2) that the client
	// must use. If it is empty, the client may use every method that it has credentials
	// for; a client without credentials needs no authentication.
	Method string

	Keys        []crypto.PublicKey // for private_key_jwt
	Subject     string             // the certificate's distinguished name, for tls_client_auth
	Certificate *x509.Certificate  // for self_signed_tls_client_auth

	CertificateBound bool // tokens are bound to the certificate of the request
}

var errClient = errors.New("client authentication failed")

// authenticate finds out which client sent r, and by which method.
func (i *Issuer) authenticate(r *http.Request) (Registration, error) {
	id, method, ok := claimedClient(r)
	if !ok {
		return Registration{}, errors.New("more than one client authentication method")
	}
	i.mu.Lock()
	client, known := i.clients[id]
	i.mu.Unlock()
	if !known || client.Method != "" && !sameMethod(client.Method, method) || !i.proves(client, method, r) {
		return Registration{}, errClient
	}
	return client, nil
}

// sameMethod: nothing on the wire tells the two methods with a certificate, or
// the two with an assertion, apart.
func sameMethod(registered, seen string) bool {
	switch registered {
	case "self_signed_tls_client_auth":
		registered = "tls_client_auth"
	case "client_secret_jwt":
		registered = "private_key_jwt"
	}
	return registered == seen
}

// claimedClient looks at the outside of the request only.
func claimedClient(r *http.Request) (id, method string, ok bool) {
	form := r.PostForm
	var found []string
	if user, _, basic := r.BasicAuth(); basic {
		// RFC 6749, section 2.3.1: both are form-encoded.
		if decoded, err := url.QueryUnescape(user); err == nil {
			id = decoded
		}
		found = append(found, "client_secret_basic")
	}
	if form.Has("client_secret") {
		id = form.Get("client_id")
		found = append(found, "client_secret_post")
	}
	if form.Has("client_assertion") {
		var claims struct {
			Subject string `json:"sub"`
		}
		if parts, err := splitJWS(form.Get("client_assertion")); err == nil {
			_ = json.Unmarshal(parts.payload, &claims)
		}
		id = claims.Subject
		found = append(found, "private_key_jwt")
	}
	if len(found) == 0 {
		id, method = form.Get("client_id"), "none"
		if r.TLS != nil && len(r.TLS.PeerCertificates) > 0 {
			method = "tls_client_auth"
		}
		return id, method, true
	}
	return id, found[0], len(found) == 1
}

func (i *Issuer) proves(client Registration, method string, r *http.Request) bool {
	switch method {
	case "client_secret_basic":
		_, password, _ := r.BasicAuth()
		secret, err := url.QueryUnescape(password)
		return err == nil && client.hasSecret(secret)
	case "client_secret_post":
		return client.hasSecret(r.PostForm.Get("client_secret"))
	case "private_key_jwt":
		return i.checkAssertion(client, r) == nil
	case "tls_client_auth":
		cert := r.TLS.PeerCertificates[0]
		return client.Subject != "" && cert.Subject.String() == client.Subject ||
			client.Certificate != nil && cert.Equal(client.Certificate) ||
			client.needsNothing()
	default:
		return client.needsNothing()
	}
}

func (c Registration) hasSecret(secret string) bool {
	return c.Secret != "" && subtle.ConstantTimeCompare([]byte(c.Secret), []byte(secret)) == 1
}

func (c Registration) needsNothing() bool {
	return c.Method == "none" ||
		c.Method == "" && c.Secret == "" && c.Keys == nil && c.Subject == "" && c.Certificate == nil
}

// checkAssertion is RFC 7523, section 3, with OpenID Connect Core, section 9.
func (i *Issuer) checkAssertion(client Registration, r *http.Request) error {
	if r.PostForm.Get("client_assertion_type") != "urn:ietf:params:oauth:client-assertion-type:jwt-bearer" {
		return errClient
	}
	jws, err := splitJWS(r.PostForm.Get("client_assertion"))
	if err != nil || !client.signed(jws) {
		return errClient
	}
	var c struct {
		Issuer   string          `json:"iss"`
		Subject  string          `json:"sub"`
		Audience json.RawMessage `json:"aud"`
		ID       string          `json:"jti"`
		Expiry   float64         `json:"exp"`
	}
	if err := json.Unmarshal(jws.payload, &c); err != nil {
		return errClient
	}
	var list []string
	if json.Unmarshal(c.Audience, &list) != nil {
		list = []string{""}
		if json.Unmarshal(c.Audience, &list[0]) != nil {
			return errClient
		}
	}
	known := []string{i.URL, i.Endpoint(TokenEndpoint), i.Endpoint(Introspection)}
	switch {
	case c.Issuer != client.ID || c.Subject != client.ID,
		!slices.ContainsFunc(list, func(a string) bool { return slices.Contains(known, a) }),
		c.Expiry < float64(time.Now().Unix()),
		c.ID == "" || !i.firstUse("assertion "+c.ID):
		return errClient
	}
	return nil
}

func (c Registration) signed(j *jws) bool {
	if j.header.Algorithm == "HS256" {
		mac := hmac.New(sha256.New, []byte(c.Secret))
		mac.Write([]byte(j.input))
		return c.Secret != "" && c.Method != "private_key_jwt" && hmac.Equal(mac.Sum(nil), j.signature)
	}
	return c.Method != "client_secret_jwt" &&
		slices.ContainsFunc(c.Keys, func(key crypto.PublicKey) bool { return j.verify(key) })
}

// firstUse remembers an id and reports whether it is new.
func (i *Issuer) firstUse(id string) bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.used[id] {
		return false
	}
	i.used[id] = true
	return true
}

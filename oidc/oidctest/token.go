package oidctest

import (
	"crypto"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/keybound-go/middleware/internal/josetest"
)

// Change makes a token differ from the issuer's usual one. Changes apply in the
// order in which they are given.
type Change func(*Draft)

// Draft is a token that is not signed yet.
type Draft struct {
	Header map[string]any
	Claims map[string]any

	issuer *Issuer
	key    *josetest.Key
}

// Rename moves a claim to another name.
func (d *Draft) Rename(from, to string) {
	if v, ok := d.Claims[from]; ok {
		d.Claims[to] = v
		delete(d.Claims, from)
	}
}

// Token returns an access token as RFC 9068 has it, changed as told: signed with
// the current key, for the issuer's audience, good for five minutes, unbound,
// with the subject "user-1" and the client id "client".
func (i *Issuer) Token(changes ...Change) string {
	d := i.draft(changes)
	token := d.key.Sign(d.Header, d.Claims)
	i.remember(token, d.Claims)
	return token
}

// OpaqueToken returns a token that says nothing by itself. Introspection answers
// what the claims of [Issuer.Token] with the same changes would be.
func (i *Issuer) OpaqueToken(changes ...Change) string {
	token := rand.Text()
	i.remember(token, i.draft(changes).Claims)
	return token
}

// Revoke makes a token inactive for introspection.
func (i *Issuer) Revoke(token string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	delete(i.issued, token)
}

// Forget makes every token inactive for introspection, and keeps none of them.
func (i *Issuer) Forget() {
	i.mu.Lock()
	defer i.mu.Unlock()
	clear(i.issued)
}

func (i *Issuer) remember(token string, claims map[string]any) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.issued[token] = claims
}

func (i *Issuer) draft(changes []Change) *Draft {
	now := time.Now()
	d := &Draft{
		issuer: i,
		Header: map[string]any{"typ": "at+jwt"},
		Claims: map[string]any{
			"iss":       i.URL,
			"aud":       i.settings.audience,
			"sub":       "user-1",
			"client_id": "client",
			"jti":       rand.Text(),
			"iat":       now.Unix(),
			"exp":       now.Add(5 * time.Minute).Unix(),
		},
		key: i.signer(),
	}
	for _, change := range slices.Concat(changes, i.settings.changes) {
		change(d)
	}
	maps.DeleteFunc(d.Header, func(_ string, v any) bool { return v == nil })
	return d
}

// Claim sets a claim to anything that encoding/json can encode; nil is JSON null.
func Claim(name string, value any) Change {
	return func(d *Draft) { d.Claims[name] = value }
}

// Without leaves claims out.
func Without(names ...string) Change {
	return func(d *Draft) {
		for _, name := range names {
			delete(d.Claims, name)
		}
	}
}

// Rename moves a claim, if it is there, to another name.
func Rename(from, to string) Change {
	return func(d *Draft) { d.Rename(from, to) }
}

// Header sets a header member; nil leaves it out.
func Header(name string, value any) Change {
	return func(d *Draft) { d.Header[name] = value }
}

// Scope sets scope.
func Scope(scopes ...string) Change { return Claim("scope", strings.Join(scopes, " ")) }

// ExpiresIn sets exp, counted from now. It may be negative.
func ExpiresIn(d time.Duration) Change {
	return func(t *Draft) { t.Claims["exp"] = time.Now().Add(d).Unix() }
}

// BoundToKey sets cnf.jkt: the RFC 7638 thumbprint of a DPoP key (RFC 9449, section 6.1).
func BoundToKey(jkt string) Change { return confirm("jkt", jkt) }

// BoundToCertificate sets cnf.x5t#S256 (RFC 8705, section 3.1).
func BoundToCertificate(cert *x509.Certificate) Change {
	sum := sha256.Sum256(cert.Raw)
	return confirm("x5t#S256", base64.RawURLEncoding.EncodeToString(sum[:]))
}

// confirm adds a member to cnf.
func confirm(method, thumbprint string) Change {
	return func(d *Draft) {
		cnf := map[string]any{method: thumbprint}
		if before, ok := d.Claims["cnf"].(map[string]any); ok {
			maps.Copy(cnf, before)
			cnf[method] = thumbprint
		}
		d.Claims["cnf"] = cnf
	}
}

// ForClient makes it a token of the client credentials grant: the client speaks
// for itself (RFC 9068, section 2.2).
func ForClient(id string) Change {
	return func(d *Draft) { d.Claims["client_id"], d.Claims["sub"] = id, id }
}

// SignedBy signs with another key than the issuer's. alg, and the kid of the
// issuer's key, go into the header.
func SignedBy(alg string, key crypto.Signer) Change {
	return func(d *Draft) {
		kid := d.key.KeyID
		d.key = josetest.FromSigner(alg, key)
		d.key.KeyID = kid
	}
}

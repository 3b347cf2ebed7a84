package oidc

import (
	"crypto"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strconv"
	"sync"
	"time"
)

// clientKeysMaxAge is how long an issuer may keep the published keys.
const clientKeysMaxAge = 5 * time.Minute

// ClientKey is a private key that signs the assertions of [PrivateKeyJWT]. It
// does not show its key when it is printed.
type ClientKey struct {
	// Signer holds the key: RSA with 2048 to 4096 bits, P-256, P-384, P-521 or Ed25519. A
	// key service works: what is called is Sign, or SignMessage if Signer is a crypto.MessageSigner. Both
	// must be safe for concurrent use.
	Signer crypto.Signer
	// KeyID is the kid. "" is the thumbprint of the key (RFC 7638).
	KeyID string
	// Algorithm is the alg. "" is the one that belongs to the curve: ES256, ES384, ES512 or EdDSA; and
	// PS256 for RSA, since FAPI 2.0 forbids RS256, which can be given here.
	Algorithm string
}

func (k ClientKey) String() string       { return fmt.Sprintf("oidc.ClientKey(%q)", k.KeyID) }
func (k ClientKey) GoString() string     { return k.String() }
func (k ClientKey) LogValue() slog.Value { return slog.StringValue(k.String()) }

// ClientKeys are the keys of [PrivateKeyJWT], and an http.Handler that publishes
// their public halves as a JWK Set for the issuer: mount it at the jwks_uri that
// this client is registered with. What it serves is public, and needs no guard.
//
//	keys, err := oidc.NewClientKeys(oidc.ClientKey{Signer: signer})
//	...
//	mux.Handle("/jwks.json", keys)
//	introspector, err := oidc.NewIntrospector(issuer, audience, oidc.PrivateKeyJWT("api", keys))
//
// All methods may be called concurrently. The zero ClientKeys is not usable.
type ClientKeys struct {
	mu       sync.Mutex
	current  *signingKey
	previous *signingKey // nil: none
	next     *signingKey // published, signs from the time since; nil: none
	since    time.Time
}

// NewClientKeys returns ClientKeys that sign with current. previous, if any, is
// published beside it: after a restart, an issuer may still be looking at an
// assertion that the previous key signed.
func NewClientKeys(current ClientKey, previous ...ClientKey) (*ClientKeys, error) {
	if len(previous) > 1 {
		return nil, errors.New("oidc: NewClientKeys: more than one previous key")
	}
	var k ClientKeys
	var err, err2 error
	k.current, err = newSigningKey(current)
	if len(previous) == 1 {
		k.previous, err2 = newSigningKey(previous[0])
	}
	if err = errors.Join(err, err2); err != nil {
		return nil, err
	}
	if k.previous != nil && k.previous.id == k.current.id {
		return nil, errors.New("oidc: NewClientKeys: both keys have the same KeyID")
	}
	return &k, nil
}

// Rotate makes next the key that signs. It is published at once and signs after
// lead, so that issuers see it before they need it: what [ClientKeys.ServeHTTP]
// serves may be kept for five minutes, and a lead of that is never too short. The
// current key then becomes the previous one, which stays published until the
// next rotation, and the one before that is forgotten.
//
// A second call within lead replaces the key that was waiting. With a lead of 0,
// next signs at once.
func (k *ClientKeys) Rotate(next ClientKey, lead time.Duration) error {
	key, err := newSigningKey(next)
	if err != nil {
		return err
	}
	if lead < 0 {
		return fmt.Errorf("oidc: Rotate: the lead %v is negative", lead)
	}
	now := time.Now()
	k.mu.Lock()
	defer k.mu.Unlock()
	k.promote(now)
	if key.id == k.current.id || k.previous != nil && key.id == k.previous.id {
		return fmt.Errorf("oidc: Rotate: the KeyID %q is taken", key.id)
	}
	k.next, k.since = key, now.Add(lead)
	k.promote(now)
	return nil
}

// Withdraw stops publishing the previous key, for one that got into wrong hands,
// and reports whether there was one. Issuers notice within the five minutes that
// they may keep the set for.
func (k *ClientKeys) Withdraw() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.promote(time.Now())
	had := k.previous != nil
	k.previous = nil
	return had
}

// promote makes the waiting key the current one when its time has come.
//
// Precondition: k.mu is held.
func (k *ClientKeys) promote(now time.Time) {
	if k.next == nil || now.Before(k.since) {
		return
	}
	k.previous, k.current, k.next = k.current, k.next, nil
}

func (k *ClientKeys) signing(now time.Time) *signingKey {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.promote(now)
	return k.current
}

func (k *ClientKeys) published(now time.Time) (keys []json.RawMessage) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.promote(now)
	for _, key := range []*signingKey{k.next, k.current, k.previous} {
		if key != nil {
			keys = append(keys, key.jwk)
		}
	}
	return keys
}

// ServeHTTP answers GET and HEAD with the public keys (RFC 7517, section 5) and a
// Cache-Control of five minutes, and other methods with 405.
func (k *ClientKeys) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		http.Error(w, http.StatusText(http.StatusMethodNotAllowed), http.StatusMethodNotAllowed)
		return
	}
	body, err := json.Marshal(struct {
		Keys []json.RawMessage `json:"keys"`
	}{k.published(time.Now())})
	if err != nil {
		http.Error(w, http.StatusText(http.StatusInternalServerError), http.StatusInternalServerError)
		return
	}
	h := w.Header()
	h.Set("Content-Type", "application/jwk-set+json") // RFC 7517, section 8.5.2
	h.Set("Content-Length", strconv.Itoa(len(body)))
	h.Set("Cache-Control", "public, max-age="+strconv.Itoa(int(clientKeysMaxAge/time.Second)))
	h.Set("X-Content-Type-Options", "nosniff")
	if r.Method == http.MethodGet {
		_, _ = w.Write(body) // An issuer that hangs up asks again.
	}
}

func (k *ClientKeys) String() string       { return "oidc.ClientKeys" }
func (k *ClientKeys) GoString() string     { return k.String() }
func (k *ClientKeys) LogValue() slog.Value { return slog.StringValue(k.String()) }

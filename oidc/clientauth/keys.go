package clientauth

import (
	"crypto"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/keybound-go/middleware/internal/options"
)

// clientKeysMaxAge is how long an issuer may keep the published keys.
const clientKeysMaxAge = 5 * time.Minute

// Key is a private key that signs the assertions of [PrivateKeyJWT]. It
// does not show its key when it is printed.
type Key struct {
	// Signer holds the key: RSA with 2048 to 4096 bits, P-256, P-384, P-521 or Ed25519.
	// A key service works: what is called is Sign, or SignMessage if Signer is a
	// crypto.MessageSigner. Both must be safe for concurrent use.
	Signer crypto.Signer
	// KeyID is the kid. "" is the thumbprint of the key (RFC 7638).
	KeyID string
	// Algorithm is the alg. "" is the one that belongs to the curve: ES256, ES384,
	// ES512 or EdDSA; and PS256 for RSA, since FAPI 2.0 forbids RS256, which can be
	// given here.
	Algorithm string
}

func (k Key) String() string       { return fmt.Sprintf("clientauth.Key(%q)", k.KeyID) }
func (k Key) GoString() string     { return k.String() }
func (k Key) LogValue() slog.Value { return slog.StringValue(k.String()) }

// Keys are the keys of [PrivateKeyJWT], and an http.Handler that publishes
// their public halves as a JWK Set for the issuer: mount it at the jwks_uri that
// this client is registered with. What it serves is public, and needs no guard.
//
//	keys, err := clientauth.NewKeys(clientauth.Key{Signer: signer})
//	...
//	mux.Handle("/jwks.json", keys)
//	i, err := introspect.New(issuer, audience, clientauth.PrivateKeyJWT("api", keys))
//
// All methods may be called concurrently. The zero Keys is not usable.
type Keys struct {
	mu       sync.Mutex
	current  *signingKey
	previous []*signingKey
	next     *signingKey // published, signs from the time since; nil: none
	since    time.Time
}

// NewKeys returns Keys that sign with current. It reports every mistake at once.
func NewKeys(current Key, opts ...KeysOption) (*Keys, error) {
	set, k := options.For("clientauth"), new(Keys)
	options.Each(set, opts, func(o KeysOption) { o.apply(set, k) })
	var err error
	k.current, err = newSigningKey(current)
	set.Join(err)
	if err := set.Err(); err != nil {
		return nil, err
	}
	for i, key := range k.previous {
		if key.id == k.current.id || slices.ContainsFunc(k.previous[:i], func(p *signingKey) bool { return p.id == key.id }) {
			set.Problem("NewKeys: two keys have the KeyID %q", key.id)
		}
	}
	if err := set.Err(); err != nil {
		return nil, err
	}
	return k, nil
}

// KeysOption is a setting of [NewKeys].
type KeysOption interface{ apply(*options.Set, *Keys) }

type keysOption func(*options.Set, *Keys)

func (o keysOption) apply(s *options.Set, k *Keys) { o(s, k) }

// WithPreviousKeys publishes keys beside the current one: after a restart, an
// issuer may still be looking at an assertion that a previous key signed.
func WithPreviousKeys(keys ...Key) KeysOption {
	return keysOption(func(s *options.Set, k *Keys) {
		if !s.Once("WithPreviousKeys") {
			return
		}
		if len(keys) == 0 {
			s.Problem("WithPreviousKeys: no key given")
		}
		for _, key := range keys {
			signing, err := newSigningKey(key)
			s.Join(err)
			k.previous = append(k.previous, signing)
		}
	})
}

// Rotate makes next the key that signs. It is published at once and signs after
// lead, so that issuers see it before they need it: what [Keys.ServeHTTP]
// serves may be kept for five minutes, and a lead of that is never too short. The
// current key then becomes the previous one, which stays published until the next
// rotation; keys before it are forgotten.
//
// A second call within lead replaces the key that was waiting. With a lead of 0,
// next signs at once.
func (k *Keys) Rotate(next Key, lead time.Duration) error {
	key, err := newSigningKey(next)
	if err != nil {
		return err
	}
	if lead < 0 {
		return fmt.Errorf("clientauth: Rotate: the lead %v is negative", lead)
	}
	now := time.Now()
	k.mu.Lock()
	defer k.mu.Unlock()
	k.promote(now)
	if key.id == k.current.id || slices.ContainsFunc(k.previous, func(p *signingKey) bool { return p.id == key.id }) {
		return fmt.Errorf("clientauth: Rotate: the KeyID %q is taken", key.id)
	}
	k.next, k.since = key, now.Add(lead)
	k.promote(now)
	return nil
}

// Withdraw stops publishing previous keys, for one that got into wrong hands, and
// reports whether there was any. Issuers notice within the five minutes that
// they may keep the set for.
func (k *Keys) Withdraw() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.promote(time.Now())
	had := len(k.previous) > 0
	k.previous = nil
	return had
}

// promote makes the waiting key the current one when its time has come.
//
// Precondition: k.mu is held.
func (k *Keys) promote(now time.Time) {
	if k.next == nil || now.Before(k.since) {
		return
	}
	k.previous, k.current, k.next = []*signingKey{k.current}, k.next, nil
}

func (k *Keys) signing(now time.Time) *signingKey {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.promote(now)
	return k.current
}

func (k *Keys) published(now time.Time) (keys []json.RawMessage) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.promote(now)
	for _, key := range append([]*signingKey{k.next, k.current}, k.previous...) {
		if key != nil {
			keys = append(keys, key.jwk)
		}
	}
	return keys
}

// ServeHTTP answers GET and HEAD with the public keys (RFC 7517, section 5) and a
// Cache-Control of five minutes, and other methods with 405.
func (k *Keys) ServeHTTP(w http.ResponseWriter, r *http.Request) {
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

func (k *Keys) String() string       { return "clientauth.Keys" }
func (k *Keys) GoString() string     { return k.String() }
func (k *Keys) LogValue() slog.Value { return slog.StringValue(k.String()) }

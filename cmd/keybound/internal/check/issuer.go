package check

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"

	"github.com/keybound-go/middleware/cmd/keybound/internal/pen"
)

// Issuer is the issuer that the server under test trusts. It publishes metadata and
// keys, and answers introspection. Serve it at its URL. Its methods may be called
// concurrently.
type Issuer struct {
	URL string

	keys  map[string]*pen.Key // by algorithm
	extra map[string]*pen.Key // keys that must not be used, by kid

	mu      sync.Mutex
	tokens  map[string]map[string]any
	fault   func(w http.ResponseWriter, r *http.Request) bool // of introspection
	asked   []introspection
	fetches map[string]int // path -> requests
	current []publication  // beside keys, for a while
}

// introspection is one request to the introspection endpoint.
type introspection struct {
	method, query, contentType, authorization string
	form                                      url.Values
}

// NewIssuer makes an issuer with fresh keys. plain leaves out the keys that verifiers
// must ignore, for servers that cannot read such a set at all.
func NewIssuer(identifier string, plain bool) (*Issuer, error) {
	i := &Issuer{URL: identifier, keys: make(map[string]*pen.Key), extra: make(map[string]*pen.Key), tokens: make(map[string]map[string]any), fetches: make(map[string]int)}
	for _, alg := range []string{"ES256", "RS256", "PS256"} {
		key, err := pen.Generate(alg)
		if err != nil {
			return nil, err
		}
		// Another name in each run: verifiers do not look for a known one again.
		i.keys[alg] = key.WithID(strings.ToLower(alg) + "-" + rand.Text()[:8])
	}
	if plain {
		return i, nil
	}
	encryption, err := pen.Generate("ES256")
	if err != nil {
		return nil, err
	}
	i.extra["encryption"] = encryption.WithID("encryption")
	small, err := sizedRSA(1024, "RS256")
	if err != nil {
		return nil, err
	}
	i.extra["small"] = small.WithID("small")
	return i, nil
}

// At returns an issuer with i's keys under another identifier, which needs no time for
// making any.
func (i *Issuer) At(identifier string) *Issuer {
	return &Issuer{URL: identifier, keys: i.keys, extra: i.extra, tokens: make(map[string]map[string]any), fetches: make(map[string]int)}
}

// Key returns the published key for an algorithm.
func (i *Issuer) Key(alg string) *pen.Key { return i.keys[alg] }

// publication is a key and how it is published.
type publication struct {
	key *pen.Key
	jwk map[string]any
}

// publish makes a key and publishes it, with what edit makes of its JWK; nil makes
// nothing of it.
func (i *Issuer) publish(edit func(jwk map[string]any)) *pen.Key {
	key := unknownKey("es256-" + rand.Text()[:8])
	jwk := key.JWK()
	jwk["kid"], jwk["alg"], jwk["use"] = key.ID, "ES256", "sig"
	if edit != nil {
		edit(jwk)
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	i.current = append(i.current, publication{key, jwk})
	return key
}

// withdraw ends the publication of a key.
func (i *Issuer) withdraw(key *pen.Key) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.current = slices.DeleteFunc(i.current, func(p publication) bool { return p.key == key })
}

// sharedSecret is published as an oct key, which no verifier may use.
const sharedSecret = "keybound-check-published-secret-which-signs-nothing"

// Register makes an opaque token active, with these claims.
func (i *Issuer) Register(token string, claims map[string]any) {
	answer := maps.Clone(claims)
	if _, ok := answer["active"]; !ok {
		answer["active"] = true
	}
	if _, ok := answer["token_type"]; !ok {
		answer["token_type"] = "Bearer"
		if c, ok := answer["cnf"].(map[string]any); ok && c["jkt"] != nil {
			answer["token_type"] = "DPoP"
		}
	}
	for name, v := range answer {
		if v == (absent{}) {
			delete(answer, name)
		}
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	i.tokens[token] = answer
}

func (i *Issuer) breakIntrospection(f func(w http.ResponseWriter, r *http.Request) bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.fault = f
}

func (i *Issuer) fetched(path string) int {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.fetches[path]
}

func (i *Issuer) lastAsked() (introspection, bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if len(i.asked) == 0 {
		return introspection{}, false
	}
	return i.asked[len(i.asked)-1], true
}

// ServeHTTP implements http.Handler.
func (i *Issuer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	u, _ := url.Parse(i.URL)
	base := strings.TrimSuffix(u.EscapedPath(), "/")
	i.mu.Lock()
	i.fetches[r.URL.Path]++
	i.mu.Unlock()
	switch r.URL.EscapedPath() {
	case base + "/.well-known/openid-configuration", "/.well-known/oauth-authorization-server" + base:
		i.answer(w, i.metadata(u.Scheme+"://"+u.Host+base))
	case base + "/jwks":
		i.answer(w, map[string]any{"keys": i.published()})
	case base + "/introspect":
		i.introspect(w, r)
	default:
		http.NotFound(w, r)
	}
}

func (i *Issuer) metadata(base string) map[string]any {
	return map[string]any{
		"issuer": i.URL, "jwks_uri": base + "/jwks", "token_endpoint": base + "/token",
		"authorization_endpoint": base + "/authorize", "introspection_endpoint": base + "/introspect",
		"response_types_supported": []string{"code"}, "subject_types_supported": []string{"public"},
		"id_token_signing_alg_values_supported":         []string{"ES256", "RS256", "PS256"},
		"introspection_endpoint_auth_methods_supported": []string{"client_secret_basic"},
		"dpop_signing_alg_values_supported":             []string{"ES256", "PS256", "EdDSA"},
		"tls_client_certificate_bound_access_tokens":    true,
	}
}

func (i *Issuer) published() []any {
	list := []any{}
	for _, alg := range []string{"ES256", "RS256", "PS256"} {
		jwk := i.keys[alg].JWK()
		jwk["kid"], jwk["alg"], jwk["use"] = i.keys[alg].ID, alg, "sig"
		list = append(list, jwk)
	}
	i.mu.Lock()
	for _, p := range i.current {
		list = append(list, p.jwk)
	}
	i.mu.Unlock()
	if key, ok := i.extra["encryption"]; ok {
		jwk := key.JWK()
		jwk["kid"], jwk["use"] = key.ID, "enc"
		small := i.extra["small"].JWK()
		small["kid"], small["use"], small["alg"] = "small", "sig", "RS256"
		list = append(list, jwk, small,
			map[string]any{"kty": "FOO", "kid": "future", "x": "AA"},
			map[string]any{"kty": "oct", "kid": "shared", "k": pen.Encode([]byte(sharedSecret)), "alg": "HS256"})
	}
	return list
}

func (i *Issuer) introspect(w http.ResponseWriter, r *http.Request) {
	if err := r.ParseForm(); err != nil {
		http.Error(w, "form", http.StatusBadRequest)
		return
	}
	i.mu.Lock()
	i.asked = append(i.asked, introspection{r.Method, r.URL.RawQuery, r.Header.Get("Content-Type"), r.Header.Get("Authorization"), r.PostForm})
	fault := i.fault
	answer, known := i.tokens[r.PostForm.Get("token")]
	i.mu.Unlock()
	if fault != nil && fault(w, r) {
		return
	}
	if !known {
		answer = map[string]any{"active": false}
	}
	i.answer(w, answer)
}

func (i *Issuer) answer(w http.ResponseWriter, doc any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(doc) // the server went away
}

// unknownKey is a key that the issuer does not publish, under a name of its choice.
func unknownKey(id string) *pen.Key {
	key, err := pen.Generate("ES256")
	if err != nil {
		panic(fmt.Errorf("check: %w", err)) // crypto/rand does not fail
	}
	return key.WithID(id)
}

func randomText() string { return rand.Text() }

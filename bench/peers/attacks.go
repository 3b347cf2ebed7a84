package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/keybound-go/middleware/dpop/dpoptest"
	"github.com/keybound-go/middleware/oidc/oidctest"
)

// attack is what a server is asked to refuse.
type attack struct {
	name string
	dpop bool // it comes with a proof
	// make returns what goes over the wire. The last is the attack; those before are good.
	make func(w *world, address string) []message
}

func attacks() []attack {
	one := func(m func(w *world, address string) message) func(*world, string) []message {
		return func(w *world, address string) []message { return []message{m(w, address)} }
	}
	// The proof of a good request, but for these options.
	proof := func(opts ...dpoptest.ProofOption) func(*world, string) []message {
		return one(func(w *world, address string) message {
			token := w.bound()
			return withProof(address, token, w.proof(address, token, opts...))
		})
	}
	token := func(changes ...oidctest.Change) func(*world, string) []message {
		return one(func(w *world, address string) message { return w.bearer(address, changes...) })
	}
	return []attack{
		{replayed, true, func(w *world, address string) []message {
			token := w.bound()
			m := withProof(address, token, w.proof(address, token))
			return []message{m, m}
		}},
		{"proof for another URL", true, one(func(w *world, address string) message {
			token := w.bound()
			return withProof(address, token, w.key.Proof("GET", "http://"+address+"/other", token))
		})},
		{"proof for another method", true, one(func(w *world, address string) message {
			token := w.bound()
			return withProof(address, token, w.key.Proof("POST", url(address), token))
		})},
		{"proof without `ath`", true, proof(dpoptest.WithoutClaim("ath"))},
		{"proof for another token", true, one(func(w *world, address string) message {
			return withProof(address, w.bound(), w.proof(address, w.bound()))
		})},
		{"proof of an hour ago", true, proof(dpoptest.IssuedAt(time.Now().Add(-time.Hour)))},
		{"proof with `alg` none", true, one(func(w *world, address string) message {
			token := w.bound()
			return withProof(address, token, unsigned(w.proof(address, token)))
		})},
		{"proof with an unknown `crit`", true, proof(dpoptest.Header("crit", []string{"ext"}), dpoptest.Header("ext", true))},
		{"token bound to another key", true, one(func(w *world, address string) message {
			token := w.bound()
			return withProof(address, token, w.thiefs.Proof("GET", url(address), token))
		})},
		{boundAsBearer, false, one(func(w *world, address string) message {
			return w.bearer(address, oidctest.BoundToKey(w.key.Thumbprint()))
		})},
		{"token with `alg` none", false, one(func(w *world, address string) message {
			return newMessage("GET", address, guardedPath, "Authorization", "Bearer "+unsigned(w.issuer.Token()))
		})},
		{"token signed by another key", false, token(oidctest.SignedBy("ES256", newSigner()))},
		{"token that expired an hour ago", false, token(oidctest.ExpiresIn(-time.Hour))},
		{"token for another audience", false, token(oidctest.Claim("aud", "https://other.example"))},
		{"token with an unknown `crit`", false, token(oidctest.Header("crit", []string{"ext"}), oidctest.Header("ext", true))},
	}
}

const (
	replayed      = "replayed proof"
	boundAsBearer = "bound token as bearer token"
)

// unsigned takes the signature off a JWS, and says so in its header.
func unsigned(compact string) string {
	parts := strings.Split(compact, ".")
	raw, err := base64.RawURLEncoding.DecodeString(parts[0])
	if err != nil {
		panic(fmt.Sprintf("peers: %v", err))
	}
	var header map[string]any
	if err := json.Unmarshal(raw, &header); err != nil {
		panic(fmt.Sprintf("peers: %v", err))
	}
	header["alg"] = "none"
	if raw, err = json.Marshal(header); err != nil {
		panic(fmt.Sprintf("peers: %v", err))
	}
	return base64.RawURLEncoding.EncodeToString(raw) + "." + parts[1] + "."
}

func newSigner() *ecdsa.PrivateKey {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(fmt.Sprintf("peers: %v", err))
	}
	return key
}

// try makes an attack, and returns the status that the server answers with.
func (a attack) try(w *world, address string) (int, error) {
	c := &conn{address: address}
	defer c.close()
	all := a.make(w, address)
	for _, good := range all[:len(all)-1] {
		if err := c.expect(good, http.StatusOK); err != nil {
			return 0, err
		}
	}
	return c.send(all[len(all)-1])
}

func accepted(status int) bool { return status >= 200 && status < 300 }

package oidctest

import (
	"encoding/json"
	"maps"
	"net/http"
	"strings"
	"time"

	"github.com/keybound-go/middleware/internal/josetest"
)

const introspectionJWT = "token-introspection+jwt" // RFC 9701, section 5

// serveIntrospection is RFC 7662, and RFC 9701 for callers that ask for a signed answer.
// A caller with a bearer token counts as authenticated if the token is one of the
// issuer's.
func (i *Issuer) serveIntrospection(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPost {
		http.Error(w, "POST only", http.StatusMethodNotAllowed)
		return
	}
	caller, err := i.caller(r)
	if err != nil {
		refuseClient(w, err)
		return
	}
	if len(r.PostForm["token"]) != 1 {
		refuse(w, http.StatusBadRequest, "invalid_request", "exactly one token")
		return
	}
	answer := i.introspect(r.PostForm.Get("token"))
	if !strings.Contains(r.Header.Get("Accept"), "application/"+introspectionJWT) {
		i.answer(w, Introspection, answer)
		return
	}
	i.mu.Lock()
	edit, editJWT := i.edits[Introspection], i.editJWT
	i.mu.Unlock()
	if edit != nil {
		edit(answer)
	}
	header := map[string]any{"typ": introspectionJWT, "alg": i.signer().Algorithm, "kid": i.signer().KeyID}
	claims := map[string]any{
		"iss": i.URL, "aud": caller, "iat": time.Now().Unix(), "token_introspection": answer,
	}
	if editJWT != nil {
		editJWT(header, claims)
	}
	w.Header().Set("Content-Type", "application/"+introspectionJWT)
	w.Header().Set("Cache-Control", "no-store")
	_, _ = w.Write([]byte(i.sign(header, claims)))
}

// sign signs exactly the given header, or leaves the signature empty if it has no alg.
func (i *Issuer) sign(header, claims map[string]any) string {
	h, err1 := json.Marshal(header)
	c, err2 := json.Marshal(claims)
	if err1 != nil || err2 != nil {
		i.report("oidctest: an edit is not JSON: %v %v", err1, err2)
		return ""
	}
	if header["alg"] == nil || header["alg"] == "none" {
		return josetest.Compact(h, c, nil)
	}
	return i.signer().SignRaw(h, c)
}

func (i *Issuer) caller(r *http.Request) (id string, err error) {
	if token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer "); ok {
		if i.introspect(token)["active"] == true {
			return "bearer", nil
		}
		return "", errClient
	}
	client, err := i.authenticate(r)
	return client.ID, err
}

// introspect returns what the issuer knows of a token that it made.
func (i *Issuer) introspect(token string) map[string]any {
	i.mu.Lock()
	claims := maps.Clone(i.issued[token])
	i.mu.Unlock()
	if exp, ok := claims["exp"].(int64); claims == nil || ok && time.Now().Unix() >= exp {
		return map[string]any{"active": false} // RFC 7662, section 2.2: nothing else
	}
	claims["active"] = true
	claims["token_type"] = "Bearer"
	if cnf, ok := claims["cnf"].(map[string]any); ok && cnf["jkt"] != nil {
		claims["token_type"] = "DPoP" // RFC 9449, section 6.2
	}
	return claims
}

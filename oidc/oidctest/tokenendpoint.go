package oidctest

import (
	"encoding/json"
	"math"
	"net/http"
	"strings"
	"time"
)

// serveToken is RFC 6749, sections 4.4 and 6, and RFC 8628, section 3.4, with
// RFC 9449, section 5 and RFC 8705, section 3.
func (i *Issuer) serveToken(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPost {
		http.Error(w, "POST only", http.StatusMethodNotAllowed)
		return
	}
	client, err := i.authenticate(r)
	if err != nil {
		refuseClient(w, err)
		return
	}
	granted, code := i.grant(client, r.PostForm)
	if code != "" {
		refuse(w, http.StatusBadRequest, code, "the grant is not good for this")
		return
	}
	changes := granted.changes(r.PostForm)
	kind := "Bearer"
	if proofs := r.Header.Values("DPoP"); len(proofs) > 0 {
		jkt, code := i.checkProof(w, proofs)
		if code != "" {
			refuse(w, http.StatusBadRequest, code, "the DPoP proof is not good")
			return
		}
		if granted.jkt != "" && granted.jkt != jkt {
			refuse(w, http.StatusBadRequest, "invalid_grant", "the refresh token is bound to another key")
			return
		}
		if client.needsNothing() {
			granted.jkt = jkt // RFC 9449, section 5: refresh tokens of public clients
		}
		changes = append(changes, BoundToKey(jkt))
		kind = "DPoP"
	}
	if client.CertificateBound {
		if r.TLS == nil || len(r.TLS.PeerCertificates) == 0 {
			refuse(w, http.StatusBadRequest, "invalid_request", "a client certificate is needed")
			return
		}
		changes = append(changes, BoundToCertificate(r.TLS.PeerCertificates[0]))
	}
	if granted.jkt != "" && kind != "DPoP" {
		refuse(w, http.StatusBadRequest, "invalid_grant", "the refresh token is bound to a key")
		return
	}
	issue := i.Token
	if i.settings.opaque {
		issue = i.OpaqueToken
	}
	answer := map[string]any{"access_token": issue(changes...), "token_type": kind, "expires_in": 300}
	if granted.scope != "" {
		answer["scope"] = granted.scope
	}
	if granted.subject != "" {
		answer["refresh_token"] = i.refreshToken(granted)
	}
	i.answer(w, TokenEndpoint, answer)
}

// RequireNonce makes the token endpoint demand this nonce in DPoP proofs
// (RFC 9449, section 8); "" makes it demand none.
func (i *Issuer) RequireNonce(nonce string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.nonce = nonce
}

// checkProof is RFC 9449, section 4.3, for the token endpoint: it returns the
// key's thumbprint, or an error code.
func (i *Issuer) checkProof(w http.ResponseWriter, proofs []string) (jkt, code string) {
	const bad = "invalid_dpop_proof"
	if len(proofs) != 1 {
		return "", bad
	}
	proof, err := splitJWS(proofs[0])
	if err != nil || proof.header.Type != "dpop+jwt" {
		return "", bad
	}
	key, err := publicKey(proof.header.JWK)
	if err != nil || !proof.verify(key) {
		return "", bad
	}
	var c struct {
		Method   string  `json:"htm"`
		Target   string  `json:"htu"`
		ID       string  `json:"jti"`
		IssuedAt float64 `json:"iat"`
		Nonce    string  `json:"nonce"`
	}
	if json.Unmarshal(proof.payload, &c) != nil {
		return "", bad
	}
	target, _, _ := strings.Cut(c.Target, "?")
	switch {
	case c.Method != http.MethodPost,
		target != i.Endpoint(TokenEndpoint) && target != i.mtls+i.paths()[TokenEndpoint],
		math.Abs(c.IssuedAt-float64(time.Now().Unix())) > 60,
		c.ID == "" || !i.firstUse("proof "+c.ID):
		return "", bad
	}
	i.mu.Lock()
	nonce := i.nonce
	i.mu.Unlock()
	if nonce != "" && c.Nonce != nonce {
		w.Header().Set("DPoP-Nonce", nonce)
		return "", "use_dpop_nonce"
	}
	return thumbprint(proof.header.JWK), ""
}

func refuseClient(w http.ResponseWriter, err error) {
	w.Header().Set("WWW-Authenticate", `Basic realm="issuer"`)
	refuse(w, http.StatusUnauthorized, "invalid_client", err.Error())
}

// refuse is RFC 6749, section 5.2.
func refuse(w http.ResponseWriter, status int, code, description string) {
	writeJSON(w, status, map[string]any{"error": code, "error_description": description})
}

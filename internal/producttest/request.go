package producttest

import (
	"context"
	"crypto/ecdsa"
	"crypto/sha256"
	"encoding/base64"
	"maps"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/keybound-go/middleware/internal/oracle"
)

func hostOf(q oracle.Request) string {
	switch {
	case q.Misdirect:
		return StrangeHost
	case q.At == oracle.OtherHost:
		return OtherHost
	case q.At == oracle.TenantHost:
		return TenantHost
	}
	return Host
}

// request makes the request that c describes, for a door.
func (w *World) request(c *Combo, d *Door) (*http.Request, *Situation) {
	config, q := c.Describe()
	method, path := d.Method, d.Path
	if method == "" {
		method = http.MethodGet
	}
	if path == "" {
		path = defaultPath
	}
	r := &http.Request{
		Method: method, Host: hostOf(q), URL: &url.URL{Path: path}, RequestURI: path, RemoteAddr: PeerAddr,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Header: make(http.Header, 6), Body: http.NoBody,
	}
	token := w.token(&config, &q)
	switch q.Scheme {
	case oracle.Bearer:
		r.Header["Authorization"] = []string{"Bearer " + token}
	case oracle.DPoP:
		r.Header["Authorization"] = []string{"DPoP " + token}
	case oracle.Unsupported:
		r.Header["Authorization"] = []string{"Digest abc"}
	case oracle.MalformedBearer:
		r.Header["Authorization"] = []string{"Bearer " + token + " " + token}
	case oracle.MalformedDPoP:
		r.Header["Authorization"] = []string{"DPoP " + token + " " + token}
	case oracle.TwoFields:
		r.Header["Authorization"] = []string{"DPoP " + token, "Bearer " + token}
	}
	switch q.Cookie {
	case oracle.BearerCookie, oracle.CrossCookie:
		r.Header["Cookie"] = []string{w.cookies["Bearer"+token]}
	case oracle.DPoPCookie:
		r.Header["Cookie"] = []string{w.cookies["DPoP"+token]}
	case oracle.ForgedCookie:
		r.Header["Cookie"] = []string{w.forged}
	}
	if q.Cookie == oracle.CrossCookie {
		r.Method = http.MethodPost
		r.Header["Origin"], r.Header["Sec-Fetch-Site"] = []string{"https://evil.example"}, []string{"cross-site"}
	}
	if q.Query {
		r.URL.RawQuery = "access_token=t"
		r.RequestURI += "?access_token=t"
	}
	if q.Preflight {
		r.Method = http.MethodOptions
		r.Header["Origin"], r.Header["Access-Control-Request-Method"] = []string{"https://app.example"}, []string{"GET"}
	}
	w.transport(r, q)
	s := &Situation{Config: config, Request: q, field: w.certs.Field}
	if q.Proof != oracle.NoProof {
		r.Header["Dpop"] = w.proof(proofKey{token, q.Proof, q.Nonce, r.Host, r.Method, path, c[FPreset] == PresetMCP})
		s.proof = r.Header["Dpop"][0]
	}
	return r.WithContext(WithSituation(context.Background(), s)), s
}

// transport adds what the connection brings.
func (w *World) transport(r *http.Request, q oracle.Request) {
	early := 0
	if q.Early {
		early = 1
	}
	if !q.Plain {
		r.TLS = w.tlsStates[q.Cert][early]
	} else if q.Early {
		r.Header["Early-Data"] = []string{"1"}
	}
	if q.Cert >= oracle.RightHeader {
		r.RemoteAddr = ProxyAddr
	}
	if field := w.forward[q.Cert]; field != "" {
		r.Header[w.certs.Field] = []string{field}
	}
}

type proofKey struct {
	token        string
	proof        oracle.Proof
	nonce        oracle.Nonce
	host, method string
	path         string
	mcp          bool
}

// proof returns the DPoP fields. Each proof is signed once: what the guard thinks of its
// first use does not depend on how often others have been sent, as the store says so.
func (w *World) proof(k proofKey) []string {
	if p, ok := w.proofs.Load(k); ok {
		return p.([]string)
	}
	p, id := w.makeProof(k)
	w.ids.Store(p[0], id)
	found, _ := w.proofs.LoadOrStore(k, p)
	if &found.([]string)[0] != &p[0] {
		w.ids.Delete(p[0])
	}
	return found.([]string)
}

func (w *World) makeProof(q proofKey) (fields []string, id [32]byte) {
	ath := sha256.Sum256([]byte(q.token))
	now := time.Now()
	header := map[string]any{"typ": "dpop+jwt", "jwk": w.key.JWK()}
	claims := map[string]any{
		"jti": "jti-" + now.String(), "htm": q.method, "htu": "https://" + q.host + q.path, "iat": now.Unix(),
		"ath": base64.RawURLEncoding.EncodeToString(ath[:]),
	}
	lifetimes := 0
	if q.mcp {
		lifetimes = 1
	}
	if nonce := w.nonces[lifetimes][q.nonce]; nonce != "" {
		claims["nonce"] = nonce
	}
	key := w.key
	switch q.proof {
	case oracle.ProofType:
		header["typ"] = "at+jwt"
	case oracle.ProofAlg: // good in itself, but not accepted here
		key, header["jwk"] = w.rs256, w.rs256.JWK()
	case oracle.PrivateKey:
		jwk := maps.Clone(w.key.JWK())
		d, err := w.key.Signer.(*ecdsa.PrivateKey).Bytes()
		w.must(err)
		jwk["d"] = base64.RawURLEncoding.EncodeToString(d)
		header["jwk"] = jwk
	case oracle.NoJTI:
		delete(claims, "jti")
	case oracle.ProofMethod:
		claims["htm"] = strings.ToLower(q.method)
	case oracle.ProofURI:
		claims["htu"] = claims["htu"].(string) + "/"
	case oracle.StaleProof:
		claims["iat"] = now.Add(-10 * time.Minute).Unix()
	case oracle.FutureProof:
		claims["iat"] = now.Add(10 * time.Minute).Unix()
	case oracle.ProofHash:
		other := sha256.Sum256([]byte("another token"))
		claims["ath"] = base64.RawURLEncoding.EncodeToString(other[:])
	case oracle.OtherKey:
		key, header["jwk"] = w.other, w.other.JWK()
	}
	proof := key.Sign(header, claims)
	switch q.proof {
	case oracle.OversizedProof:
		proof += strings.Repeat("x", 9<<10)
	case oracle.UnfitProof:
		proof += `"`
	case oracle.GarbledProof:
		proof = "garbled" + proof[len("garbled"):]
	case oracle.ProofSignature:
		input := proof[:strings.LastIndexByte(proof, '.')]
		proof = input + "." + base64.RawURLEncoding.EncodeToString(w.other.SignInput(input))
	case oracle.TwoProofs:
		return []string{proof, proof}, id
	}
	if jti, ok := claims["jti"].(string); ok {
		id = sha256.Sum256([]byte(w.key.Thumbprint() + jti))
	}
	return []string{proof}, id
}

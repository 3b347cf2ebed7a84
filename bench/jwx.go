package bench

import (
	"context"
	"crypto"
	"encoding/base64"
	"encoding/json"
	"net/http"

	"github.com/lestrrat-go/httprc/v3"
	"github.com/lestrrat-go/jwx/v3/jwa"
	"github.com/lestrrat-go/jwx/v3/jwk"
	"github.com/lestrrat-go/jwx/v3/jws"
	"github.com/lestrrat-go/jwx/v3/jwt"

	"github.com/keybound-go/middleware/oidc/oidctest"
)

// jwx is jwx version 3 alone, with its cache of key sets, which wants a client of httprc
// version 3. It is a contender in a module of its own: the library itself uses httprc in
// internal/remote only.
type jwx struct {
	issuer string
	keys   jwk.CachedSet
	seen   *replays
}

func newJWX(ctx context.Context, w *World) (*jwx, error) {
	cache, err := jwk.NewCache(ctx, httprc.NewClient())
	if err != nil {
		return nil, err
	}
	url := w.Issuer.Endpoint(oidctest.KeySet)
	if err := cache.Register(ctx, url, jwk.WithHTTPClient(w.Issuer.Client())); err != nil {
		return nil, err
	}
	keys, err := cache.CachedSet(url)
	return &jwx{w.Issuer.URL, keys, newReplays()}, err
}

func (*jwx) Name() string      { return "jwx" }
func (*jwx) Modules() []string { return []string{"github.com/lestrrat-go/jwx/v3"} }

func (j *jwx) Decide(p Path, r *http.Request) error {
	raw, err := credentials(p, r)
	if err != nil {
		return err
	}
	token, err := jwt.ParseString(raw, jwt.WithKeySet(j.keys),
		jwt.WithIssuer(j.issuer), jwt.WithAudience(oidctest.Audience), jwt.WithRequiredClaim("exp"))
	if err != nil {
		return err
	}
	cnf := j.confirmation(token)
	if err := checkPolicy(p, cnf); err != nil {
		return err
	}
	switch p {
	case DPoP:
		return j.checkProof(r, raw, cnf.JKT)
	case Certificate:
		return checkCertificate(r, cnf.X5T)
	}
	return nil
}

func (*jwx) confirmation(token jwt.Token) confirmation {
	var cnf map[string]any
	_ = token.Get("cnf", &cnf) // absent: not bound
	jkt, _ := cnf["jkt"].(string)
	x5t, _ := cnf["x5t#S256"].(string)
	return confirmation{jkt, x5t}
}

func (j *jwx) checkProof(r *http.Request, token, wantJKT string) error {
	field, err := proofField(r)
	if err != nil {
		return err
	}
	message, err := jws.Parse([]byte(field), jws.WithCompact())
	if err != nil {
		return err
	}
	header := message.Signatures()[0].ProtectedHeaders()
	typ, _ := header.Type()
	alg, _ := header.Algorithm()
	key, ok := header.JWK()
	if !ok || typ != "dpop+jwt" || alg != jwa.ES256() {
		return errRefused
	}
	if private, err := jwk.IsPrivateKey(key); err != nil || private {
		return errRefused
	}
	payload, err := jws.Verify([]byte(field), jws.WithKey(alg, key))
	if err != nil {
		return err
	}
	sum, err := key.Thumbprint(crypto.SHA256)
	if err != nil {
		return err
	}
	var claims proofClaims
	if err := json.Unmarshal(payload, &claims); err != nil {
		return err
	}
	return claims.check(r, token, base64.RawURLEncoding.EncodeToString(sum), wantJKT, j.seen)
}

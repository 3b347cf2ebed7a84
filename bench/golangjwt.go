package bench

import (
	"context"
	"crypto"
	"encoding/base64"
	"encoding/json"
	"net/http"

	"github.com/MicahParks/jwkset"
	"github.com/MicahParks/keyfunc/v3"
	"github.com/golang-jwt/jwt/v5"

	"github.com/keybound-go/middleware/oidc/oidctest"
)

// golangJWT is golang-jwt with keyfunc for the issuer's keys; jwkset, which comes
// with keyfunc, reads the key of a proof.
type golangJWT struct {
	tokens, proofs *jwt.Parser
	keys           keyfunc.Keyfunc
	seen           *replays
}

func newGolangJWT(ctx context.Context, w *World) (*golangJWT, error) {
	keys, err := keyfunc.NewDefaultOverrideCtx(ctx, []string{w.Issuer.Endpoint(oidctest.KeySet)}, keyfunc.Override{Client: w.Issuer.Client()})
	if err != nil {
		return nil, err
	}
	algorithms := jwt.WithValidMethods([]string{"ES256"})
	return &golangJWT{
		tokens: jwt.NewParser(algorithms, jwt.WithIssuer(w.Issuer.URL), jwt.WithAudience(oidctest.Audience), jwt.WithExpirationRequired()),
		proofs: jwt.NewParser(algorithms),
		keys:   keys,
		seen:   newReplays(),
	}, nil
}

func (*golangJWT) Name() string { return "golang-jwt + keyfunc" }

func (*golangJWT) Modules() []string {
	return []string{"github.com/golang-jwt/jwt/v5", "github.com/MicahParks/keyfunc/v3"}
}

type golangJWTToken struct {
	jwt.RegisteredClaims
	Confirmation confirmation `json:"cnf"`
}

type golangJWTProof struct {
	jwt.RegisteredClaims
	Method    string `json:"htm"`
	URI       string `json:"htu"`
	TokenHash string `json:"ath"`
}

func (g *golangJWT) Decide(p Path, r *http.Request) error {
	raw, err := credentials(p, r)
	if err != nil {
		return err
	}
	var token golangJWTToken
	if _, err := g.tokens.ParseWithClaims(raw, &token, g.keys.KeyfuncCtx(r.Context())); err != nil {
		return err
	}
	if err := checkPolicy(p, token.Confirmation); err != nil {
		return err
	}
	switch p {
	case DPoP:
		return g.checkProof(r, raw, token.Confirmation.JKT)
	case Certificate:
		return checkCertificate(r, token.Confirmation.X5T)
	}
	return nil
}

func (g *golangJWT) checkProof(r *http.Request, token, wantJKT string) error {
	field, err := proofField(r)
	if err != nil {
		return err
	}
	var proof golangJWTProof
	var jkt string
	_, err = g.proofs.ParseWithClaims(field, &proof, func(t *jwt.Token) (any, error) {
		if t.Header["typ"] != "dpop+jwt" {
			return nil, errRefused
		}
		var key crypto.PublicKey
		key, jkt, err = embeddedKey(t.Header["jwk"])
		return key, err
	})
	if err != nil {
		return err
	}
	if proof.IssuedAt == nil {
		return errRefused
	}
	claims := proofClaims{proof.ID, proof.Method, proof.URI, proof.IssuedAt.Unix(), proof.TokenHash}
	return claims.check(r, token, jkt, wantJKT, g.seen)
}

// embeddedKey reads the jwk member of a header that golang-jwt has decoded.
func embeddedKey(member any) (key crypto.PublicKey, jkt string, err error) {
	text, err := json.Marshal(member)
	if err != nil {
		return nil, "", err
	}
	var marshal jwkset.JWKMarshal
	if err := json.Unmarshal(text, &marshal); err != nil {
		return nil, "", err
	}
	if marshal.D != "" || marshal.K != "" {
		return nil, "", errRefused
	}
	jwk, err := jwkset.NewJWKFromMarshal(marshal, jwkset.JWKMarshalOptions{}, jwkset.JWKValidateOptions{})
	if err != nil {
		return nil, "", err
	}
	sum, err := thumbprintOf(marshal)
	return jwk.Key(), sum, err
}

// thumbprintOf is RFC 7638 for EC keys.
func thumbprintOf(m jwkset.JWKMarshal) (string, error) {
	text, err := json.Marshal(struct {
		Crv string `json:"crv"`
		Kty string `json:"kty"`
		X   string `json:"x"`
		Y   string `json:"y"`
	}{m.CRV.String(), m.KTY.String(), m.X, m.Y})
	if err != nil {
		return "", err
	}
	h := crypto.SHA256.New()
	h.Write(text)
	return base64.RawURLEncoding.EncodeToString(h.Sum(nil)), nil
}

package bench

import (
	"context"
	"crypto"
	"encoding/base64"
	"net/http"

	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"github.com/keybound-go/middleware/oidc/oidctest"
)

// goOIDC is go-oidc for tokens, with discovery, and go-jose for proofs.
type goOIDC struct {
	tokens *oidc.IDTokenVerifier
	seen   *replays
}

func newGoOIDC(ctx context.Context, w *World) (*goOIDC, error) {
	provider, err := oidc.NewProvider(oidc.ClientContext(ctx, w.Issuer.Client()), w.Issuer.URL)
	if err != nil {
		return nil, err
	}
	return &goOIDC{provider.Verifier(&oidc.Config{ClientID: oidctest.Audience}), newReplays()}, nil
}

func (*goOIDC) Name() string { return "go-oidc + go-jose" }

func (*goOIDC) Modules() []string {
	return []string{"github.com/coreos/go-oidc/v3", "github.com/go-jose/go-jose/v4"}
}

func (g *goOIDC) Decide(p Path, r *http.Request) error {
	raw, err := credentials(p, r)
	if err != nil {
		return err
	}
	token, err := g.tokens.Verify(r.Context(), raw)
	if err != nil {
		return err
	}
	var claims struct {
		Confirmation confirmation `json:"cnf"`
	}
	if err := token.Claims(&claims); err != nil {
		return err
	}
	if err := checkPolicy(p, claims.Confirmation); err != nil {
		return err
	}
	switch p {
	case DPoP:
		return g.checkProof(r, raw, claims.Confirmation.JKT)
	case Certificate:
		return checkCertificate(r, claims.Confirmation.X5T)
	}
	return nil
}

func (g *goOIDC) checkProof(r *http.Request, token, wantJKT string) error {
	field, err := proofField(r)
	if err != nil {
		return err
	}
	proof, err := jwt.ParseSigned(field, []jose.SignatureAlgorithm{jose.ES256})
	if err != nil {
		return err
	}
	header := proof.Headers[0]
	if header.ExtraHeaders[jose.HeaderType] != "dpop+jwt" || header.JSONWebKey == nil || !header.JSONWebKey.IsPublic() {
		return errRefused
	}
	var claims proofClaims
	if err := proof.Claims(header.JSONWebKey.Key, &claims); err != nil {
		return err
	}
	sum, err := header.JSONWebKey.Thumbprint(crypto.SHA256)
	if err != nil {
		return err
	}
	return claims.check(r, token, base64.RawURLEncoding.EncodeToString(sum), wantJKT, g.seen)
}

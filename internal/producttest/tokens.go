package producttest

import (
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/keybound-go/middleware/internal/oracle"
	"github.com/keybound-go/middleware/oidc/oidctest"
	"github.com/keybound-go/middleware/session"
)

func (w *World) makeTokens() {
	sound := func(*oidctest.Draft) {}
	faults := [oracle.TokenCount]oidctest.Change{
		oracle.SoundToken:     sound,
		oracle.OversizedToken: oidctest.Claim("padding", strings.Repeat("x", 40<<10)),
		oracle.GarbledToken:   sound,
		oracle.TokenType:      oidctest.Header("typ", "dpop+jwt"),
		oracle.TokenAlg:       oidctest.Header("alg", "HS256"),
		oracle.OtherAudience:  oidctest.Claim("aud", "https://other.example"),
		oracle.ExpiredToken:   oidctest.ExpiresIn(-time.Hour),
		oracle.FutureToken:    oidctest.Claim("nbf", time.Now().Add(time.Hour).Unix()),
		oracle.MissingClaim:   oidctest.Without("sub"),
		oracle.TokenSignature: oidctest.SignedBy("ES256", w.other.Signer),
		oracle.InactiveToken:  sound,
	}
	jkt, x5t := w.key.Thumbprint(), w.right.Thumbprint()
	bindings := [oracle.BindingCount]oidctest.Change{
		oracle.Unbound:      sound,
		oracle.ToKey:        oidctest.Claim("cnf", map[string]any{"jkt": jkt}),
		oracle.ToCert:       oidctest.Claim("cnf", map[string]any{"x5t#S256": x5t}),
		oracle.ToBoth:       oidctest.Claim("cnf", map[string]any{"jkt": jkt, "x5t#S256": x5t}),
		oracle.ToUnknown:    oidctest.Claim("cnf", map[string]any{"kid": "k"}),
		oracle.ToKeyUnknown: oidctest.Claim("cnf", map[string]any{"jkt": jkt, "kid": "k"}),
		oracle.NullCnf:      oidctest.Claim("cnf", nil),
	}
	for t, issuer := range w.tenants {
		from := sound
		if oracle.Tenant(t) == oracle.ForgedTenant {
			from = oidctest.Claim("iss", IssuerURL)
		}
		faults[oracle.OtherIssuer] = oidctest.Claim("iss", issuer.URL+"/")
		for l, client := range []oidctest.Change{sound, oidctest.Claim("client_id", ListedClient)} {
			for f, fault := range faults {
				for b, binding := range bindings {
					make := func() string {
						token := issuer.Token(oidctest.Scope("read"), from, client, binding, fault)
						if oracle.Token(f) == oracle.GarbledToken {
							token = "garbled" + token[len("garbled"):]
						}
						return token
					}
					w.tokens[Signed][t][l][f][b] = make()
					if oracle.Tenant(t) == oracle.HomeTenant { // see cannotExist
						w.tokens[Opaque][t][l][f][b] = w.opaque(oracle.Token(f), client, binding, fault)
						w.tokens[Asked][t][l][f][b] = make()
						if oracle.Token(f) == oracle.InactiveToken {
							issuer.Revoke(w.tokens[Asked][t][l][f][b])
						}
					}
				}
			}
		}
	}
}

// opaque makes a token of which the issuer says the same.
func (w *World) opaque(f oracle.Token, changes ...oidctest.Change) string {
	switch f {
	case oracle.GarbledToken, oracle.TokenType, oracle.TokenAlg, oracle.ExpiredToken, oracle.MissingClaim, oracle.TokenSignature:
		return "" // see cannotExist
	case oracle.OversizedToken:
		return strings.Repeat("x", 40<<10)
	}
	token := w.issuer.OpaqueToken(append(changes, oidctest.Scope("read"))...)
	if f == oracle.InactiveToken {
		w.issuer.Revoke(token)
	}
	return token
}

// token returns the token that a request carries.
func (w *World) token(c *oracle.Config, q *oracle.Request) string {
	form, client := Signed, 0
	switch {
	case c.Opaque:
		form = Opaque
	case c.Asked:
		form = Asked
	}
	if q.Listed {
		client = 1
	}
	return w.tokens[form][q.Tenant][client][q.Token][q.Binding]
}

func (w *World) makeCookies() {
	seal := func(s *session.Sessions, scheme, token string) string {
		h := make(http.Header)
		if !s.Save(h, &http.Request{Header: http.Header{}, URL: &url.URL{}}, session.Session{Scheme: scheme, Token: token}) {
			return ""
		}
		var pairs []string
		for _, line := range h["Set-Cookie"] {
			pair, _, _ := strings.Cut(line, ";")
			if !strings.HasSuffix(pair, "=") {
				pairs = append(pairs, pair)
			}
		}
		return strings.Join(pairs, "; ")
	}
	for _, form := range w.tokens {
		for _, tenant := range form {
			for _, client := range tenant {
				for _, tokens := range client {
					for _, token := range tokens {
						for _, scheme := range []string{"Bearer", "DPoP"} {
							w.cookies[scheme+token] = seal(w.sessions[outerParts], scheme, token)
						}
					}
				}
			}
		}
	}
	stranger, err := session.New([]byte(strings.Repeat("z", 32)))
	w.must(err)
	w.forged = seal(stranger, "Bearer", w.tokens[0][0][0][0][0])
}

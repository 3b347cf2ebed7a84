package producttest

import (
	"context"
	"net/http"

	"github.com/keybound-go/middleware"
	"github.com/keybound-go/middleware/internal/oracle"
	"github.com/keybound-go/middleware/oidc"
	"github.com/keybound-go/middleware/oidc/clientauth"
	"github.com/keybound-go/middleware/oidc/introspect"
	"github.com/keybound-go/middleware/oidc/oidctest"
	"github.com/keybound-go/middleware/oidc/tenants"
)

type verifierKey struct {
	parts  int
	fapi2  bool
	kind   kind
	outage oracle.Outage // IssuerDown, IntrospectionDown or none
}

// kind is what verifies tokens.
type kind uint8

const (
	byKeys kind = iota
	byIntrospection
	byBoth
	byTenants
	byTenantsWithOrigins
	kinds
)

// verifierFor is the verifier of the guard that c describes.
func (w *World) verifierFor(c oracle.Config, fapi2 bool, parts int, outage oracle.Outage) middleware.TokenVerifier {
	k := verifierKey{parts: parts, fapi2: fapi2, outage: outage}
	switch {
	case c.Opaque:
		k.kind = byIntrospection
	case c.Asked:
		k.kind = byBoth
	case c.NeedOrigins:
		k.kind = byTenantsWithOrigins
	case c.Tenants:
		k.kind = byTenants
	}
	return w.verifiers[k]
}

func (w *World) makeVerifiers() {
	w.tenants[oracle.HomeTenant] = w.issuer
	for t, url := range map[oracle.Tenant]string{
		oracle.UnknownTenant: "https://unknown.example", oracle.OtherTenant: "https://other.example", oracle.AnyTenant: "https://any.example",
		oracle.UndecidedTenant: "https://undecided.example",
	} {
		w.tenants[t] = oidctest.NewIssuer(w.t, oidctest.InMemory(url))
	}
	w.tenants[oracle.ForgedTenant] = w.tenants[oracle.OtherTenant]
	for parts := range 2 {
		for _, fapi2 := range []bool{false, true} {
			for _, outage := range []oracle.Outage{oracle.NoOutage, oracle.IssuerDown, oracle.IntrospectionDown} {
				for k := range kinds {
					w.verifiers[verifierKey{parts, fapi2, k, outage}] = w.verifier(k, fapi2, outage)
				}
			}
		}
	}
}

func (w *World) verifier(k kind, fapi2 bool, outage oracle.Outage) middleware.TokenVerifier {
	switch k {
	case byIntrospection:
		return w.introspector(outage)
	case byBoth:
		v, err := introspect.Then(w.byKeys(fapi2, outage), w.introspector(outage))
		w.must(err)
		return v
	case byTenants:
		return w.byTenants(fapi2, outage)
	case byTenantsWithOrigins:
		return w.byTenants(fapi2, outage, tenants.RequireOrigins())
	}
	return w.byKeys(fapi2, outage)
}

func (w *World) byKeys(fapi2 bool, outage oracle.Outage) *oidc.Verifier {
	v, err := oidc.New(IssuerURL, oidctest.Audience, verifierOptions(w.issuer, fapi2, outage)...)
	w.must(err)
	w.t.Cleanup(func() { v.Close() })
	return v
}

func verifierOptions(issuer *oidctest.Issuer, fapi2 bool, outage oracle.Outage) []oidc.Option {
	client := issuer.Client()
	if outage == oracle.IssuerDown {
		client = &http.Client{Transport: silence{}}
	}
	opts := []oidc.Option{oidc.WithHTTPClient(client)}
	if fapi2 {
		opts = append(opts, oidc.FAPI2())
	}
	return opts
}

// introspector asks the issuer about tokens.
func (w *World) introspector(outage oracle.Outage) *introspect.Introspector {
	client := w.issuer.Client()
	if outage != oracle.NoOutage {
		client = &http.Client{Transport: silence{}}
	}
	issuer, err := oidc.NewIssuer(IssuerURL, oidc.WithHTTPClient(client))
	w.must(err)
	w.t.Cleanup(func() { issuer.Close() })
	v, err := introspect.New(issuer, oidctest.Audience, clientauth.SecretBasic("client", "secret"), introspect.WithEndpoint(IssuerURL+"/introspect"))
	w.must(err)
	return v
}

// byTenants takes the tokens of three tenants.
func (w *World) byTenants(fapi2 bool, outage oracle.Outage, opts ...tenants.Option) *tenants.Tenants {
	strict := w.byKeys(fapi2, outage).Policy()
	strict.Issuers = nil
	byURL := make(map[string]oracle.Tenant)
	for _, t := range []oracle.Tenant{oracle.HomeTenant, oracle.OtherTenant, oracle.AnyTenant, oracle.UndecidedTenant} {
		byURL[w.tenants[t].URL] = t
	}
	customers, err := tenants.New(func(_ context.Context, iss string) (*oidc.Verifier, error) {
		t, ok := byURL[iss]
		switch {
		case !ok:
			return nil, oidc.ErrIssuer
		case t == oracle.UndecidedTenant:
			return nil, errDown
		}
		own := append(verifierOptions(w.tenants[t], fapi2, outage), oidc.WithCacheSize(0))
		switch t {
		case oracle.HomeTenant:
			own = append(own, oidc.WithOrigins(Origin, "https://"+TenantHost))
		case oracle.OtherTenant:
			own = append(own, oidc.WithOrigins("https://"+OtherHost))
		}
		return oidc.New(iss, oidctest.Audience, own...)
	}, append(opts, tenants.WithPolicy(strict))...)
	w.must(err)
	w.t.Cleanup(func() { customers.Close() })
	return customers
}

// silence is the network of an issuer that is down.
type silence struct{}

func (silence) RoundTrip(*http.Request) (*http.Response, error) { return nil, errDown }

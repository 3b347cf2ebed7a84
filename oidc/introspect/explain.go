package introspect

import (
	"slices"

	"github.com/keybound-go/middleware/oidc"
)

// Explain reads a refused token again; see [oidc.Verifier.Explain]. What the issuer has
// answered is not in it: of an opaque token it says only what was expected.
func (i *Introspector) Explain(raw string) oidc.Explanation {
	e := oidc.ExplainToken(raw)
	if i == nil || i.issuer == nil {
		return e
	}
	e.ExpectedIssuers = []string{i.issuer.URL()}
	if !i.checks.AnyAudience {
		e.ExpectedAudiences = slices.Clone(i.checks.Audiences)
	}
	return e
}

// Explain reads a refused token again; see [oidc.Verifier.Explain].
func (x *Revocable) Explain(raw string) oidc.Explanation {
	if x == nil {
		return oidc.ExplainToken(raw)
	}
	return x.verifier.Explain(raw)
}

// Explain reads a refused token again; see [oidc.Verifier.Explain].
func (f *ByForm) Explain(raw string) oidc.Explanation {
	e := oidc.ExplainToken(raw)
	if f == nil || f.opaque == nil {
		return e
	}
	if e.Form != "JWT" {
		return f.opaque.Explain(raw)
	}
	if v, ok := f.jwts.(interface{ Explain(string) oidc.Explanation }); ok {
		return v.Explain(raw)
	}
	return e
}

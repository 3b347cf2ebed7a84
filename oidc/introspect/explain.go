package introspect

import "github.com/keybound-go/middleware/oidc"

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
	if f == nil || e.Form != "JWT" {
		return e
	}
	if v, ok := f.jwts.(interface{ Explain(string) oidc.Explanation }); ok {
		return v.Explain(raw)
	}
	return e
}

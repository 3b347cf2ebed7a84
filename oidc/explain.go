package oidc

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/keybound-go/middleware/internal/dialect"
	"github.com/keybound-go/middleware/internal/issuer"
	"github.com/keybound-go/middleware/internal/jose"
)

const (
	maxExplained     = 128 // bytes of one text
	maxExplainedList = 8   // texts of a list
)

// Explanation is what a refused token says, beside what was expected. Nothing in it is
// verified: it is for the operator's logs. Its texts are printable ASCII of bounded
// length. It holds neither the token nor its signature.
type Explanation struct {
	// Form is "JWT", "JWE", or "opaque".
	Form string

	Type, Algorithm, KeyID    string // of the header
	Issuer, ClientID, TokenID string
	Audience                  []string
	HasExpiry, HasIssuedAt    bool
	ExpiresIn                 time.Duration // exp minus now; negative if the token is over
	IssuedAgo                 time.Duration // now minus iat; negative if iat is in the future
	ExpectedIssuers           []string
	ExpectedAudiences         []string // empty: none is compared
	ExpectedProfile           string
	// FitsProfile reports whether the token is an access token by the expected profile,
	// apart from audience, times and signature. [ExplainToken] never sets it.
	FitsProfile bool
	// ReadableBy names a profile of this package by which the token would be an access
	// token, if it is none by the expected one; or "".
	ReadableBy string
}

// Explain reads a refused token again. What cannot be read is left empty. It checks
// nothing and touches no network.
func (v *Verifier) Explain(raw string) Explanation {
	if v.insides() == nil {
		return ExplainToken(raw)
	}
	e := explain(raw, v.inside.Checks.MaxSize)
	e.expect(v)
	e.suggest(raw, v)
	return e
}

// Explain is [Verifier.Explain] for a token of any of the issuers.
func (s *Verifiers) Explain(raw string) Explanation {
	if s == nil {
		return ExplainToken(raw)
	}
	e := explain(raw, s.maxSize)
	for _, v := range s.verifiers {
		if v.issuer.URL() == e.Issuer {
			return v.Explain(raw)
		}
	}
	for _, v := range s.verifiers[:min(len(s.verifiers), maxExplainedList)] {
		e.expect(v)
	}
	return e
}

// ExplainToken reads a token that no verifier of this package refused. See
// [Verifier.Explain].
func ExplainToken(raw string) Explanation { return explain(raw, issuer.DefaultChecks().MaxSize) }

func (e *Explanation) expect(v *Verifier) {
	e.ExpectedIssuers = append(e.ExpectedIssuers, v.issuer.URL())
	for _, a := range v.inside.Checks.Audiences {
		if !slices.Contains(e.ExpectedAudiences, a) {
			e.ExpectedAudiences = append(e.ExpectedAudiences, a)
		}
	}
	e.ExpectedProfile = v.inside.Checks.Dialect.Name
}

// suggest finds a profile for a token that is no access token by that of v.
func (e *Explanation) suggest(raw string, v *Verifier) {
	m, err := jose.Parse(raw, v.inside.Checks.MaxSize)
	if err != nil {
		return
	}
	own := v.inside.Checks.Dialect
	r, fault := own.Read(m.Payload)
	if fault == dialect.Malformed || fault == dialect.TooDeep {
		return
	}
	cnf, err := parseConfirmation(r.Claims.Get(dialect.CNF), nil)
	if err != nil {
		return
	}
	hasKey := cnf.JKT != ""
	if e.FitsProfile = own.Admits(m.Header.Type, r.Claims, hasKey); !e.FitsProfile {
		e.ReadableBy = dialect.Suggest(m.Header.Type, r.Claims, hasKey)
	}
}

// explain looks into a token of at most maxSize bytes: a longer one is refused at no
// cost, and must cost nothing here.
func explain(raw string, maxSize int) Explanation {
	e := Explanation{Form: "opaque"}
	m, err := jose.Parse(raw, maxSize)
	if err != nil {
		switch {
		case strings.Count(raw, ".") == 4:
			e.Form = "JWE"
		case strings.Count(raw, ".") == 2 && strings.HasPrefix(raw, "ey"):
			e.Form = "JWT"
		}
		return e
	}
	e.Form = "JWT"
	e.Type, e.Algorithm, e.KeyID = printable(m.Header.Type), printable(m.Header.Algorithm), printable(m.Header.KeyID)
	var c dialect.Claims
	_ = c.Read(m.Payload) // one claim of the wrong type does not hide the others before it
	e.Issuer = printable(c.Issuer)
	e.ClientID = printable(cmp.Or(c.Text(dialect.ClientID), c.Text(dialect.AZP), c.Text(dialect.AppID), c.Text(dialect.CID)))
	e.TokenID = printable(cmp.Or(c.Text(dialect.JTI), c.Text(dialect.UTI)))
	for _, a := range c.Audience[:min(len(c.Audience), maxExplainedList)] {
		e.Audience = append(e.Audience, printable(a))
	}
	if c.Expiry.Present() {
		e.HasExpiry, e.ExpiresIn = true, time.Until(c.Expiry.Time()).Round(time.Second)
	}
	if c.IssuedAt.Present() {
		e.HasIssuedAt, e.IssuedAgo = true, time.Since(c.IssuedAt.Time()).Round(time.Second)
	}
	return e
}

// printable cuts s, and puts a question mark in the place of everything that could
// confuse a log or a terminal.
func printable(s string) string {
	b := []byte(s[:min(len(s), maxExplained)])
	for i, c := range b {
		if c < 0x20 || c > 0x7e {
			b[i] = '?'
		}
	}
	return string(b)
}

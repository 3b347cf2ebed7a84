package dpop

import (
	"strings"
	"time"

	"github.com/keybound-go/middleware/internal/jose"
)

const (
	maxExplainedURI    = 256
	maxExplainedMethod = 32
)

// Explanation is what a proof claims, beside what was expected. Nothing in it is
// verified. It is for the operator's logs: its texts are printable ASCII of
// bounded length and hold no query, since that may hold secrets.
type Explanation struct {
	HTU         string // without userinfo, query and fragment, cut after 256 bytes
	ExpectedHTU string // under the origin that the request was sent to, or the first one
	HTM         string // cut after 32 bytes
	HasIssuedAt bool
	Skew        time.Duration // iat minus now, if HasIssuedAt; at most some 292 years
}

// Explain reads the proof of a refused request again. What cannot be read is left
// empty. It checks nothing and records nothing.
func (v *Verifier) Explain(req Request) Explanation {
	e := Explanation{ExpectedHTU: v.expectedHTU(&req)}
	if len(req.Proofs) != 1 {
		return e
	}
	m, err := jose.Parse(req.Proofs[0], v.maxSize)
	if err != nil {
		return e
	}
	// One claim of the wrong type does not hide the others before it.
	var c claims
	_ = c.read(m.Payload)
	e.HTU = printable(withoutUserinfo(withoutQuery(c.URI)), maxExplainedURI)
	e.HTM = printable(string(c.Method), maxExplainedMethod)
	if c.IssuedAt.Present() {
		e.HasIssuedAt, e.Skew = true, time.Until(c.IssuedAt.Time())
	}
	return e
}

// withoutUserinfo cuts what may be a password out of a URI.
func withoutUserinfo(uri string) string {
	start := strings.Index(uri, "://") + len("://")
	if start < len("://") {
		start = 0
	}
	end := len(uri)
	if i := strings.IndexByte(uri[start:], '/'); i >= 0 {
		end = start + i
	}
	if at := strings.LastIndexByte(uri[start:end], '@'); at >= 0 {
		return uri[:start] + uri[start+at+1:]
	}
	return uri
}

func (v *Verifier) expectedHTU(req *Request) string {
	t, ok := targetOf(req)
	of, err := v.originsOf(req)
	if !ok || err != nil || len(of) == 0 {
		return ""
	}
	if t.external {
		return printable(withoutUserinfo(withoutQuery(req.URL)), maxExplainedURI)
	}
	base := of[0].base
	for i := range of {
		if v.sentTo(&t, &of[i]) {
			base = of[i].base
			break
		}
	}
	return printable(base+t.path, maxExplainedURI)
}

// printable cuts s, and puts a question mark in the place of everything that
// could confuse a log or a terminal.
func printable(s string, limit int) string {
	b := []byte(s[:min(len(s), limit)])
	for i, c := range b {
		if c < 0x20 || c > 0x7e {
			b[i] = '?'
		}
	}
	return string(b)
}

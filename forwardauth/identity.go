package forwardauth

import (
	"iter"
	"net/http"
	"strings"

	"github.com/keybound-go/middleware"
)

// identity is what an answer says of the sender of a request.
type identity struct {
	outcome, issuer, subject, client, scope, binding, assertion string
}

// none is what is said of a request that may not pass.
var none = identity{outcome: "refused"}

// The field of the signed form.
const assertionField = "X-Auth-Assertion"

// fields are the canonical names of the fields and their values.
func (i identity) fields() iter.Seq2[string, string] {
	return func(yield func(string, string) bool) {
		_ = yield("X-Auth-Outcome", i.outcome) &&
			yield("X-Auth-Issuer", i.issuer) &&
			yield("X-Auth-Subject", i.subject) &&
			yield("X-Auth-Client", i.client) &&
			yield("X-Auth-Scope", i.scope) &&
			yield("X-Auth-Binding", i.binding) &&
			yield(assertionField, i.assertion)
	}
}

// write sets each field, once, also those with nothing to say.
func (i identity) write(h http.Header) {
	for name, value := range i.fields() {
		h[name] = []string{escape(value)}
	}
}

// identityOf is what is said of a request that may pass.
func identityOf(c *middleware.Credential) identity {
	if c == nil {
		return identity{outcome: "anonymous"}
	}
	t := c.Token
	i := identity{outcome: "pass", issuer: t.Issuer, subject: t.Subject, client: t.ClientID, scope: strings.Join(t.Scopes, " ")}
	switch proved := [2]bool{c.Proof != nil, t.Confirmation.X5T != ""}; proved {
	case [2]bool{true, true}:
		i.binding = "both"
	case [2]bool{true, false}:
		i.binding = "dpop"
	case [2]bool{false, true}:
		i.binding = "certificate"
	default:
		i.binding = "none"
	}
	return i
}

// escape percent-encodes every byte that is not printable ASCII, and the percent sign.
func escape(value string) string {
	const digits = "0123456789ABCDEF"
	plain := func(c byte) bool { return ' ' < c && c < 0x7f && c != '%' }
	if !strings.ContainsFunc(value, func(r rune) bool { return r <= ' ' || r >= 0x7f || r == '%' }) {
		return value
	}
	var b strings.Builder
	for i := range len(value) {
		switch c := value[i]; {
		case plain(c), c == ' ' && 0 < i && i < len(value)-1: // A proxy may trim the ends.
			b.WriteByte(c)
		default:
			b.Write([]byte{'%', digits[c>>4], digits[c&15]})
		}
	}
	return b.String()
}

// Package identity answers: what does a proxy tell a service of the sender of a request
// that a guard has let pass?
//
// It is the form that forwardauth and extauthz share: seven fields, all of them in each
// answer, so that they replace every field that a client has forged. The last one holds
// the content of the others, signed.
package identity

import (
	"iter"
	"net/http"
	"strings"

	"github.com/keybound-go/middleware"
)

// Identity is what an answer says of the sender of a request.
type Identity struct {
	Outcome, Issuer, Subject, Client, Scope, Binding string

	Assertion string // the signed form; see [Signer]
}

// None is what is said of a request that may not pass.
var None = Identity{Outcome: "refused"}

// AssertionField is the field of the signed form.
const AssertionField = "X-Auth-Assertion"

// Fields are the canonical names of the fields and their values, escaped: every byte that
// is not printable ASCII, and the percent sign, is percent-encoded.
func (i Identity) Fields() iter.Seq2[string, string] {
	return func(yield func(string, string) bool) {
		_ = yield("X-Auth-Outcome", escape(i.Outcome)) &&
			yield("X-Auth-Issuer", escape(i.Issuer)) &&
			yield("X-Auth-Subject", escape(i.Subject)) &&
			yield("X-Auth-Client", escape(i.Client)) &&
			yield("X-Auth-Scope", escape(i.Scope)) &&
			yield("X-Auth-Binding", escape(i.Binding)) &&
			yield(AssertionField, i.Assertion)
	}
}

// Write sets each field once, to the empty string if there is nothing to say.
func (i Identity) Write(h http.Header) {
	for name, value := range i.Fields() {
		h[name] = []string{value}
	}
}

// Of is what is said of a request that may pass, with this credential or with none.
func Of(c *middleware.Credential) Identity {
	if c == nil {
		return Identity{Outcome: "anonymous"}
	}
	t := c.Token
	i := Identity{Outcome: "pass", Issuer: t.Issuer, Subject: t.Subject, Client: t.ClientID, Scope: strings.Join(t.Scopes, " ")}
	switch proved := [2]bool{c.Proof != nil, t.Confirmation.X5T != ""}; proved {
	case [2]bool{true, true}:
		i.Binding = "both"
	case [2]bool{true, false}:
		i.Binding = "dpop"
	case [2]bool{false, true}:
		i.Binding = "certificate"
	default:
		i.Binding = "none"
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

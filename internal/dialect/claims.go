package dialect

import (
	"encoding/json"
	"slices"
	"strconv"

	"github.com/keybound-go/middleware/internal/strictjson"
)

// MaxDepth limits how deep the objects and lists of a claim set are nested.
const MaxDepth = 32

// Claims are the members of a claim set that this module acts on, those of all dialects
// together. The raw ones share memory with what they were read from.
type Claims struct {
	Issuer    string                 // iss
	Subject   string                 // sub
	Audience  []string               // aud
	Expiry    strictjson.NumericDate // exp
	NotBefore strictjson.NumericDate // nbf
	IssuedAt  strictjson.NumericDate // iat

	raw  [numRefs]json.RawMessage
	more []json.RawMessage // those that only one dialect reads
}

// Read takes the claims from a claim set, for any vendor's dialect.
func (c *Claims) Read(raw []byte) Fault { return c.read(raw, nil) }

// read also takes the claims that extra names.
func (c *Claims) read(raw []byte, extra []string) Fault {
	if len(extra) > 0 {
		c.more = make([]json.RawMessage, len(extra))
	}
	var o strictjson.Object
	for o.StartDocument(raw, MaxDepth); o.Next(); {
		switch string(o.Name()) {
		case "iss":
			o.Text(&c.Issuer)
		case "sub":
			o.Text(&c.Subject)
		case "aud":
			var ok bool
			if c.Audience, ok = stringOrList(o.Value()); !ok {
				return Malformed
			}
		case "exp":
			o.Date(&c.Expiry)
		case "nbf":
			lateDate(&o, &c.NotBefore)
		case "iat":
			lateDate(&o, &c.IssuedAt)
		default:
			if r, ok := refs[string(o.Name())]; ok {
				c.raw[r] = o.Value()
			} else if i := slices.Index(extra, string(o.Name())); i >= 0 {
				c.more[i] = o.Value()
			}
		}
	}
	switch o.Err() {
	case nil:
		return c.checkID()
	case strictjson.ErrTooDeep:
		return TooDeep
	default:
		return Malformed
	}
}

// lateDate takes milliseconds, which lie beyond the years that a
// [strictjson.NumericDate] can hold, for the end of those years: the token is then not
// valid yet, and the operator can be told by how much.
func lateDate(o *strictjson.Object, dst *strictjson.NumericDate) {
	const last = 253402300799 // the last second of the year 9999
	if n, err := strconv.ParseFloat(string(o.Value()), 64); err == nil && n > last && n <= 1000*last {
		o.NearestDate(dst)
		return
	}
	o.Date(dst)
}

// checkID: a jti that is there is a string (RFC 7519, section 4.1.7).
func (c *Claims) checkID() Fault {
	if c.Has(JTI) {
		if _, ok := strictjson.Text(c.raw[JTI]); !ok {
			return Malformed
		}
	}
	return 0
}

// stringOrList is aud: one string, or a list of them (RFC 7519, section 4.1.3).
func stringOrList(raw []byte) (list []string, ok bool) {
	if s, ok := strictjson.Text(raw); ok {
		return []string{s}, true
	}
	return strictjson.Texts(raw)
}

// Ref names a claim of a claim set: one of the constants, or, from numRefs on, one that
// only a described dialect reads.
type Ref int

// The claims whose form or meaning depends on the dialect, or that tell the kinds of
// tokens apart.
const (
	CNF Ref = iota
	JTI
	UTI
	ClientID
	AZP
	AppID
	CID
	Scope
	SCP
	Roles
	Typ
	TokenUse
	Purpose
	TokenType // of an introspection answer
	IDTyp
	AUT
	IDP
	OID
	Username
	SID
	Nonce
	AtHash
	CHash
	SHash
	Events
	numRefs
)

var refNames = [numRefs]string{
	"cnf", "jti", "uti", "client_id", "azp", "appid", "cid", "scope", "scp", "roles", "typ", "token_use", "purpose", "token_type",
	"idtyp", "aut", "idp", "oid", "preferred_username", "sid", "nonce", "at_hash", "c_hash", "s_hash", "events",
}

var refs = func() map[string]Ref {
	m := make(map[string]Ref, numRefs)
	for i, name := range refNames {
		m[name] = Ref(i)
	}
	return m
}()

// idClaims are what only ID tokens have (OpenID Connect Core, sections 2 and
// 3.3.2.11), and events, which only security events have (RFC 8417, section 2.2).
var idClaims = []Ref{Nonce, AtHash, CHash, SHash, Events}

// Get returns the JSON of a claim, or nil: one that is null is not there.
func (c *Claims) Get(r Ref) json.RawMessage {
	if r < numRefs {
		return c.raw[r]
	}
	return c.more[r-numRefs]
}

// Has reports whether the token has the claim.
func (c *Claims) Has(r Ref) bool { return c.Get(r) != nil }

// Text is the string of a claim, or "" if it holds none.
func (c *Claims) Text(r Ref) string {
	s, _ := strictjson.Text(c.Get(r))
	return s
}

// first is the first string of some claims that is not empty.
func (c *Claims) first(of []Ref) string {
	for _, r := range of {
		if s := c.Text(r); s != "" {
			return s
		}
	}
	return ""
}

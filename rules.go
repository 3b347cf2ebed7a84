package middleware

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/keybound-go/middleware/internal/headers"
)

// Rule is something that a request must satisfy beyond carrying a good token
// whose binding is proven. Rules are made by the functions of this package,
// given to [WithRules] or [Guard.Require], immutable, and safe for concurrent
// use.
type Rule interface {
	// validate reports mistakes in how the rule was made.
	validate() error
	// admits reports whether a token of that shape could satisfy the rule.
	admits(shape) bool
	// check returns nil if the credential satisfies the rule.
	check(*inspection) *unmet
}

// unmet is a rule that a credential does not satisfy, and what the challenge
// says of it beside the error code.
type unmet struct {
	err    error
	params string // further challenge parameters, each with a leading ", "
	rule   string // the name of a RuleFunc
	demand string // what the rule demands, for the operator; "" if err says it all
}

// shape is how a token can be bound.
type shape uint8

const (
	unboundShape shape = iota
	dpopShape
	certificateShape
	bothShape
	numShapes
)

type bindingRule struct {
	admit [numShapes]bool
	unmet unmet
}

// Bound is satisfied by a token that is bound to a key or to a certificate, by
// any means that the guard is configured for. It is what every guard demands
// that is without [AllowUnbound].
func Bound() Rule {
	return &bindingRule{[numShapes]bool{dpopShape: true, certificateShape: true, bothShape: true}, unmet{err: ErrNotBound}}
}

// DPoPBound is satisfied by a token that is bound to a key (cnf.jkt,
// RFC 9449, section 6). That the request proves the key is checked for every such token,
// with this rule or without it.
func DPoPBound() Rule {
	return &bindingRule{[numShapes]bool{dpopShape: true, bothShape: true}, unmet{err: ErrNotDPoPBound}}
}

// CertificateBound is satisfied by a token that is bound to a client
// certificate (cnf.x5t#S256, RFC 8705, section 3). That the request came with
// the certificate is checked for every such token, with this rule or without it.
func CertificateBound() Rule {
	return &bindingRule{[numShapes]bool{certificateShape: true, bothShape: true}, unmet{err: ErrNotCertificateBound}}
}

func (b *bindingRule) validate() error     { return nil }
func (b *bindingRule) admits(s shape) bool { return b.admit[s] }

func (b *bindingRule) check(i *inspection) *unmet {
	if b.admit[i.shape()] || i.bindingSkipped {
		return nil
	}
	return &b.unmet
}

// BoundExcept is satisfied by a token that is bound to a key or to a certificate, and by
// any token of the given clients: for a service whose guard accepts bearer tokens with
// [AllowUnbound] from clients that cannot bind theirs, and from no others. Failure is
// 401 invalid_token.
func BoundExcept(clientIDs ...string) Rule {
	return &boundExceptRule{slices.Clone(clientIDs), unmet{err: ErrNotBound}}
}

type boundExceptRule struct {
	clientIDs []string
	unmet     unmet
}

func (b *boundExceptRule) validate() error {
	if len(b.clientIDs) == 0 || slices.Contains(b.clientIDs, "") {
		return errors.New("middleware: BoundExcept needs client ids, and none that is empty; without exceptions, use Bound")
	}
	return nil
}

func (b *boundExceptRule) admits(shape) bool { return true }

func (b *boundExceptRule) check(i *inspection) *unmet {
	if i.shape() != unboundShape || i.bindingSkipped || slices.Contains(b.clientIDs, i.Token.ClientID) {
		return nil
	}
	return &b.unmet
}

type scopesRule struct {
	all   []string
	unmet unmet
}

// Scopes is satisfied by a token that has all the given scopes. Failure is 403
// insufficient_scope, and the challenge names them (RFC 6750, section 3.1).
func Scopes(all ...string) Rule {
	return &scopesRule{
		all:   slices.Clone(all),
		unmet: unmet{err: ErrInsufficientScope, params: `, scope="` + strings.Join(all, " ") + `"`},
	}
}

func (s *scopesRule) validate() error {
	if len(s.all) == 0 {
		return errors.New("middleware: Scopes needs at least one scope")
	}
	var problems []error
	for _, scope := range s.all {
		if !headers.IsScope(scope) {
			problems = append(problems, fmt.Errorf("middleware: Scopes: %q is not a scope", scope))
		}
	}
	return errors.Join(problems...)
}

func (s *scopesRule) admits(shape) bool { return true }

func (s *scopesRule) check(i *inspection) *unmet {
	for _, scope := range s.all {
		if !slices.Contains(i.Token.Scopes, scope) {
			return &s.unmet
		}
	}
	return nil
}

type claimRule struct {
	path  []string
	anyOf []string
	unmet unmet
}

// Claim is satisfied by a token whose claim at path has one of the given
// values, or, with none given, has any value at all. Each element of path is
// one member name, which may hold dots: Claim([]string{"realm_access",
// "roles"}, "admin"). A string or another scalar is one value, a list is its
// elements. Failure is 403.
func Claim(path []string, anyOf ...string) Rule {
	c := &claimRule{path: slices.Clone(path), anyOf: slices.Clone(anyOf), unmet: unmet{err: ErrClaim}}
	c.unmet.demand = describeRule(c)
	return c
}

func (c *claimRule) validate() error {
	if len(c.path) == 0 || slices.Contains(c.path, "") {
		return fmt.Errorf("middleware: Claim: path %q has no name, or an empty one", c.path)
	}
	return nil
}

func (c *claimRule) admits(shape) bool { return true }

func (c *claimRule) check(i *inspection) *unmet {
	values, _ := i.Token.Claim(c.path...)
	if len(values) > 0 && len(c.anyOf) == 0 {
		return nil
	}
	for _, value := range values {
		if slices.Contains(c.anyOf, value) {
			return nil
		}
	}
	return &c.unmet
}

type detailsRule struct {
	typ     string
	actions []string
	unmet   unmet
}

// AuthorizationDetails is satisfied by a token with an authorization_details element of
// the given type that has all the given actions (RFC 9396, section 2.2). Actions of
// several elements do not add up: each may be for other locations. Failure is 403
// insufficient_scope.
func AuthorizationDetails(typ string, actions ...string) Rule {
	d := &detailsRule{typ: typ, actions: slices.Clone(actions), unmet: unmet{err: ErrAuthorizationDetails}}
	d.unmet.demand = describeRule(d)
	return d
}

func (d *detailsRule) validate() error {
	if d.typ == "" || slices.Contains(d.actions, "") {
		return errors.New("middleware: AuthorizationDetails needs a type, and actions that are not empty")
	}
	return nil
}

func (d *detailsRule) admits(shape) bool { return true }

func (d *detailsRule) check(i *inspection) *unmet {
	// Maps, not structs: encoding/json would take "Type" for "type".
	var claims map[string]json.RawMessage
	var details []map[string]json.RawMessage
	if i.Token.Claims(&claims) != nil || json.Unmarshal(claims["authorization_details"], &details) != nil {
		return &d.unmet
	}
	if slices.ContainsFunc(details, d.allows) {
		return nil
	}
	return &d.unmet
}

func (d *detailsRule) allows(element map[string]json.RawMessage) bool {
	var typ string
	var actions []string
	if json.Unmarshal(element["type"], &typ) != nil || typ != d.typ {
		return false
	}
	if len(d.actions) > 0 && json.Unmarshal(element["actions"], &actions) != nil {
		return false
	}
	return !slices.ContainsFunc(d.actions, func(action string) bool { return !slices.Contains(actions, action) })
}

type funcRule struct {
	f     func(*http.Request, *Credential) bool
	unmet unmet
}

// RuleFunc is a rule of one's own: it is satisfied if f returns true. It is asked once
// everything else about the token and its binding is verified, so it can refuse what
// would pass, and never the other way round. The name, such as "tenant of the path", is
// for the operator, in Outcome.Rule. Failure is 403 insufficient_scope.
//
// f may be called concurrently. It must not change the request or the Credential, or
// read the body. If it panics, the answer is 503. For a [Request] that did not come by
// net/http, r is made of it.
func RuleFunc(name string, f func(r *http.Request, c *Credential) bool) Rule {
	return &funcRule{f, unmet{err: ErrRule, rule: name}}
}

func (f *funcRule) validate() error {
	if f.f == nil || f.unmet.rule == "" {
		return errors.New("middleware: RuleFunc needs a name and a function")
	}
	return nil
}

func (f *funcRule) admits(shape) bool { return true }

func (f *funcRule) check(i *inspection) (missing *unmet) {
	defer func() {
		if p := recover(); p != nil {
			missing = &unmet{err: panicError(fmt.Sprintf("middleware: panic in rule %q: %s", f.unmet.rule, printable(p))), rule: f.unmet.rule}
		}
	}()
	if f.f(i.req.http(i.ctx), &i.Credential) {
		return nil
	}
	return &f.unmet
}

// authTimeSkew is how far auth_time may lie in the future: clocks differ.
const authTimeSkew = 30 * time.Second

type stepUpRule struct {
	maxAge time.Duration
	acr    []string
	unmet  unmet
}

// StepUp is satisfied by a token whose user authenticated at one of the given
// levels (the acr claim), not longer ago than maxAge (the auth_time claim). The
// levels are in the order of preference; with none, any will do. A maxAge of 0
// sets no limit. A token that does not say is not enough. Failure is 401
// insufficient_user_authentication, which tells the client what to ask the
// issuer for (RFC 9470, section 3).
// acr and auth_time come from the JWT or the introspection answer
// (RFC 9470, sections 6.1 and 6.2). The rule is checked after the token and its binding
// (RFC 9470, section 9).
func StepUp(maxAge time.Duration, acr ...string) Rule {
	s := &stepUpRule{maxAge: maxAge, acr: slices.Clone(acr), unmet: unmet{err: ErrInsufficientAuthentication}}
	if len(acr) > 0 {
		s.unmet.params += `, acr_values="` + strings.Join(acr, " ") + `"`
	}
	if maxAge > 0 {
		s.unmet.params += `, max_age="` + strconv.FormatInt(int64(maxAge/time.Second), 10) + `"`
	}
	s.unmet.demand = describeRule(s)
	return s
}

func (s *stepUpRule) validate() error {
	var problems []error
	if s.maxAge < 0 || s.maxAge%time.Second != 0 {
		problems = append(problems, fmt.Errorf("middleware: StepUp: maxAge %v is not a whole number of seconds", s.maxAge))
	}
	if s.maxAge == 0 && len(s.acr) == 0 {
		problems = append(problems, errors.New("middleware: StepUp demands neither an age nor a level"))
	}
	for _, acr := range s.acr {
		if !headers.IsScope(acr) { // It stands between spaces in a quoted-string too.
			problems = append(problems, fmt.Errorf("middleware: StepUp: %q cannot stand in a challenge", acr))
		}
	}
	return errors.Join(problems...)
}

func (s *stepUpRule) admits(shape) bool { return true }

func (s *stepUpRule) check(i *inspection) *unmet {
	var claims map[string]json.RawMessage // not a struct: encoding/json would take "ACR" for "acr"
	if err := i.Token.Claims(&claims); err != nil {
		return &s.unmet
	}
	if len(s.acr) > 0 {
		var acr string
		if json.Unmarshal(claims["acr"], &acr) != nil || !slices.Contains(s.acr, acr) {
			return &s.unmet
		}
	}
	if s.maxAge > 0 && !s.recent(claims["auth_time"]) {
		return &s.unmet
	}
	return nil
}

// recent reports whether auth_time is a number that lies within maxAge.
func (s *stepUpRule) recent(authTime json.RawMessage) bool {
	var seconds *float64
	if json.Unmarshal(authTime, &seconds) != nil || seconds == nil {
		return false
	}
	age := float64(time.Now().UnixMilli())/1000 - *seconds
	return -authTimeSkew.Seconds() <= age && age <= s.maxAge.Seconds()
}

type anyOfRule []Rule

// AnyOf is satisfied if one of the rules is. If none is, the client is told
// what the first one misses: put first the way that most clients should take.
//
// A request that [DangerouslyExemptExchange] exempts from bindings does not satisfy
// one by that: what counts are the other rules, if there are any.
func AnyOf(rules ...Rule) Rule { return anyOfRule(slices.Clone(rules)) }

func (a anyOfRule) validate() error { return validateInner("AnyOf", a) }

func (a anyOfRule) admits(s shape) bool {
	return slices.ContainsFunc(a, func(r Rule) bool { return r.admits(s) })
}

func (a anyOfRule) check(i *inspection) *unmet {
	var first *unmet
	exempt := false
	for _, rule := range a {
		missing := rule.check(i)
		if i.bindingSkipped && bindingOnly(rule) {
			exempt = true
			continue
		}
		if missing == nil {
			return nil
		}
		if first == nil || isOurs(missing.err) && !isOurs(first.err) {
			first = missing // An outage says nothing about the client.
		}
	}
	if exempt && first == nil {
		return nil
	}
	return cmp.Or(first, &unmet{err: ErrClaim}) // Nothing to satisfy is not satisfied.
}

func isOurs(err error) bool {
	_, ok := asClientError(err)
	return !ok
}

// bindingOnly reports whether rule demands bindings and nothing else.
func bindingOnly(rule Rule) bool {
	var parts []Rule
	switch r := rule.(type) {
	case *bindingRule:
		return true
	case anyOfRule:
		parts = r
	case allOfRule:
		parts = r
	}
	return len(parts) > 0 && !slices.ContainsFunc(parts, func(p Rule) bool { return !bindingOnly(p) })
}

type allOfRule []Rule

// AllOf is satisfied if every one of the rules is.
func AllOf(rules ...Rule) Rule { return allOfRule(slices.Clone(rules)) }

func (a allOfRule) validate() error { return validateInner("AllOf", a) }

func (a allOfRule) admits(s shape) bool {
	return !slices.ContainsFunc(a, func(r Rule) bool { return !r.admits(s) })
}

func (a allOfRule) check(i *inspection) *unmet {
	for _, rule := range a {
		if missing := rule.check(i); missing != nil {
			return missing
		}
	}
	return nil
}

// validateRules reports every mistake in the rules of the combination with the
// given name. An empty combination is one: AnyOf() could never be satisfied,
// and AllOf() always would be.
func validateRules(name string, rules []Rule) error {
	if len(rules) == 0 {
		return fmt.Errorf("middleware: %s needs at least one rule", name)
	}
	var problems []error
	for i, rule := range rules {
		if rule == nil {
			problems = append(problems, fmt.Errorf("middleware: %s: rule %d is nil", name, i+1))
			continue
		}
		problems = append(problems, rule.validate())
	}
	return errors.Join(problems...)
}

// validateInner is validateRules for rules inside another, where none is staged: one
// that is off would satisfy AnyOf.
func validateInner(name string, rules []Rule) error {
	for _, rule := range rules {
		if _, ok := rule.(*stagedRule); ok {
			return fmt.Errorf("middleware: %s: Staged stands among the rules of WithRules or Require, not inside another rule", name)
		}
	}
	return validateRules(name, rules)
}

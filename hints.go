package middleware

import (
	"cmp"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"

	"github.com/keybound-go/middleware/dpop"
	"github.com/keybound-go/middleware/internal/outage"
	"github.com/keybound-go/middleware/mtlspop"
	"github.com/keybound-go/middleware/oidc"
	"github.com/keybound-go/middleware/oidc/tenants"
)

// outages are the reasons of 503, with what an operator looks at. Each is a hint.
var outages = map[string]string{
	outage.Issuer:        "metadata or keys of the issuer cannot be fetched and none are known: is it up, is its certificate trusted (oidc.WithHTTPClient), does its metadata name the configured issuer?",
	outage.Tenants:       "the function given to tenants.New gave no verdict on an issuer (an error, a panic, more than 10 s), or a Verifier that Tenants refuses: the error says which",
	outage.Introspection: "the introspection endpoint gave no verdict: is it up, does it accept our client authentication?",
	outage.TokenEndpoint: "the token endpoint gave no verdict on client credentials, the token that it gave is refused here (see the error), or too many wrong secrets were sent lately",
	outage.ReplayCache:   "the replay cache does not answer or is full: see the error for the address and the cause; no proof is accepted without it",
	outage.Nonces:        "the nonce source does not answer",
	outage.Revocation:    "no source says whether the client certificate is revoked: see the error for the URL",
	outage.Roots:         "the function of mtlspop.WithRootsFunc returned no roots",
	reasonUnavailable:    "a TokenVerifier or another part of your own returned an error",
	reasonPanic:          "a part of your own, or a rule, panicked: a bug; the stack is not logged, since it may hold secrets",
	reasonMisconfigured:  "the zero Guard, or a part that returned neither a result nor an error",
}

// hint is the hint of the error, or one that fits this request better.
func (g *Guard) hint(q *Request, o *Outcome, d decision) string {
	e, ok := asClientError(o.Err)
	if !ok {
		return outages[o.Reason]
	}
	var hint string
	switch err := clientError(e).(type) {
	case RequestError:
		hint = g.requestHint(q, o, err)
	case oidc.TokenError:
		hint = g.tokenHint(o, err)
	case dpop.ProofError:
		hint = proofHint(o, err)
	case mtlspop.BindingError:
		hint = g.certificateHint(q, o, err)
	}
	if hint == "" && d.inspection != nil && d.unmet != nil {
		return ruleHint(d.unmet)
	}
	return cmp.Or(hint, e.Hint(), outages[o.Reason])
}

// ruleHint is the hint for a rule that is not satisfied.
func ruleHint(u *unmet) string {
	if u.demand != "" {
		return "the rule demands " + u.demand
	}
	if e, ok := asClientError(u.err); ok {
		return e.Hint()
	}
	return outages[reasonOf(u.err)]
}

func (g *Guard) requestHint(q *Request, o *Outcome, err RequestError) string {
	switch {
	case err == ErrNoCredentials && q.isPreflight():
		return "a CORS preflight, which browsers send without credentials: put the CORS middleware outside the guard, or see middleware.PassPreflights"
	case err == ErrUnsupportedScheme && strings.EqualFold(o.Scheme, "DPoP"):
		return "the client uses DPoP and this guard does not: add middleware.WithDPoP"
	case err == ErrPlainHTTP:
		return hintReplacedAddress(o.Peer)
	case err == ErrBadTarget && q.odd:
		return fmt.Sprintf("the HTTP/2 request is malformed: its method is no token, its path does not begin with a slash, or its Host field differs from :authority, which is %q unless middleware outside the guard has changed r.Host", o.Host)
	}
	return ""
}

func (g *Guard) tokenHint(o *Outcome, err oidc.TokenError) string {
	t := o.Token
	switch _, many := g.tokens.(*tenants.Tenants); {
	case err == oidc.ErrOrigin:
		return fmt.Sprintf("the request names the host %q, which is no origin of the tenant %s: the client sent the token to another tenant's host, oidc.WithOrigins of this tenant lacks the host, or a proxy in front replaces Host", o.Host, o.Issuer)
	case err == oidc.ErrIssuer && many:
		return "resolve of tenants.New says that this issuer is no tenant, or iss is not a plain https URL (lower case, no port 443, no query); once a tenant is added, Tenants.Forget ends the memory of the refusal"
	case t == nil:
		return ""
	}
	asked := t.Form == "opaque" || len(t.ExpectedAudiences) == 0 // not by a verifier of JWTs
	switch {
	case err == oidc.ErrExpired && t.HasExpiry:
		return fmt.Sprintf("the token expired %v ago: the client must get another one; if it has just got it, the clocks differ", -t.ExpiresIn)
	case t.ReadableBy != "":
		return fmt.Sprintf("by the profile %s this is an access token: oidc.WithProfile(oidc.%s), if that is the issuer's software", t.ReadableBy, t.ReadableBy)
	case err == oidc.ErrNoKey:
		return fmt.Sprintf("the issuer's key set has no key %q: it was rotated within the cooldown of key fetches (oidc.WithCooldown), its published key has no kid, or the token is from elsewhere", t.KeyID)
	case err == oidc.ErrAudience && g.resource != nil && slices.Contains(t.Audience, g.resource.Identifier):
		return "the token is for the identifier of WithProtectedResource, which is no audience of the token verifier: give that the same name, or oidc.WithAudiences"
	case err == oidc.ErrIssuer && g.resource != nil && slices.Contains(g.resource.AuthorizationServers, t.Issuer):
		return "the issuer is one of the authorization servers of WithProtectedResource, and the token verifier is not for it: add one with oidc.AnyOf"
	case err == oidc.ErrAudience && asked:
		return "the introspection answer names no audience of this service: add what it names with introspect.WithAudiences; if it never has aud, introspect.DangerouslyAllowMissingAudience"
	case err == oidc.ErrNotAccessToken && asked:
		return "nothing in the introspection answer says that this is an access token: the client sent its ID or refresh token, or the answer has neither token_type nor an aud that introspect.New or introspect.WithAudiences names"
	}
	return ""
}

func proofHint(o *Outcome, err dpop.ProofError) string {
	switch {
	case err == dpop.ErrMisdirected && o.Host == "":
		return "the request names no host: let the proxy in front pass Host on, or write one of its own and name that with dpop.WithInternalHosts"
	case err == dpop.ErrMisdirected:
		return fmt.Sprintf("the request names the host %q, which is no origin of this service: dpop.New or dpop.WithOrigins if clients use it, dpop.WithInternalHosts(%q) if a proxy in front writes it", o.Host, o.Host)
	case err == dpop.ErrTarget:
		return targetHint(o.Proof.HTU, o.Proof.ExpectedHTU)
	}
	return ""
}

// targetHint compares the URL that a proof is for with that of the request. The claim is
// the client's: only differences that proxies make are named, at one of our origins.
func targetHint(htu, expected string) string {
	base, path := cutPath(expected)
	other, claimed := cutPath(htu)
	if other != base || claimed == path {
		return ""
	}
	if prefix, ok := strings.CutSuffix(claimed, path); ok {
		return fmt.Sprintf("if a proxy in front removes %s from the path, add it to the origin that dpop.New is given, as its path prefix (%s%s...); if none does, the proof is for another URL", prefix, base, prefix)
	}
	if prefix, ok := strings.CutSuffix(path, claimed); ok {
		return fmt.Sprintf("the client has no %s in the path: the path prefix of the origin given to dpop.New is wrong, or a proxy in front adds it, or the proof is for another URL", prefix)
	}
	return ""
}

// cutPath cuts a URL before its path.
func cutPath(url string) (base, path string) {
	scheme, rest, _ := strings.Cut(url, "://")
	if i := strings.IndexByte(rest, '/'); i >= 0 {
		return scheme + "://" + rest[:i], rest[i:]
	}
	return url, ""
}

func (g *Guard) certificateHint(q *Request, o *Outcome, err mtlspop.BindingError) string {
	switch trusted := g.writtenByTerminator(q); {
	case err == mtlspop.ErrNoCertificate && len(trusted) > 0:
		return fmt.Sprintf("the trusted peer %s sent no %s: does the terminator ask clients for certificates, and does it write this field?", o.Peer, trusted[0])
	case err == mtlspop.ErrPeerNotTrusted && hintReplacedAddress(o.Peer) != "":
		return hintReplacedAddress(o.Peer)
	case err == mtlspop.ErrPeerNotTrusted:
		return fmt.Sprintf("%s is not among the trusted peers, so its certificate field was ignored: add it to mtlspop.WithForwardedCertificate if it is your terminator", hostOf(o.Peer))
	}
	return ""
}

// hostOf is an address without its port.
func hostOf(address string) string {
	if host, _, err := net.SplitHostPort(address); err == nil {
		return host
	}
	return address
}

// hintReplacedAddress is for a peer's address that has no port: servers of net/http
// always write one.
func hintReplacedAddress(peer string) string {
	if _, err := netip.ParseAddr(peer); err != nil {
		return ""
	}
	return fmt.Sprintf("the address %s has no port, so a \"real IP\" middleware has replaced that of the peer: move it inside of the guard", peer)
}

package oracle

import "strings"

// offers reports whether s is a scheme with which some token could pass: a challenge for
// another one would lead nowhere (RFC 9110, section 11.6.1). A token that is bound both
// ways comes with a proof; clients are sent for one only where a certificate is not
// enough.
func offers(c Config, s Scheme) bool {
	enforced := c.Rule
	if c.Stage != Enforce {
		enforced = NoRule
	}
	bearer := enforced != KeyWanted && (c.MTLS || c.AllowUnbound && enforced != CertWanted)
	if s == Bearer {
		return bearer
	}
	return s == DPoP && c.DPoP && (enforced != CertWanted || c.MTLS && !bearer)
}

// refuse is the response to a refused request.
func refuse(c Config, q Request, used Scheme, no refusal) Verdict {
	v := Verdict{Status: no.status, Reason: no.why, Cache: "no-store", Scope: no.why == ScopeWanted}
	over := no.why == TokenRefused+TokenFaults[ExpiredToken] || no.why == TokenRefused+TokenFaults[InactiveToken]
	if over && byCookie(c, q) {
		v.Session = "ends"
	}
	if no.status != 400 && no.status != 401 && no.status != 403 || no.why == CrossOrigin {
		return v
	}
	// Where a certificate would do, DPoP is challenged all the same if it is the proof of
	// a token that is bound both ways which is wrong.
	shown := func(s Scheme) bool { return offers(c, s) || s == DPoP && c.DPoP && c.MTLS && aboutProof(no) }
	everywhere := no.everywhere || !shown(used) && used != NoCredentials
	challenge := func(s Scheme) string {
		switch {
		case !shown(s):
			return ""
		case no.code != "" && (everywhere || s == used): // AUTH-14
			return no.code
		case no.status == 403: // another scheme would not widen what the token may do
			return ""
		}
		return "bare"
	}
	v.DPoP, v.Bearer = challenge(DPoP), challenge(Bearer)
	// RFC 6750, section 3: MCP clients ask the issuer for what the challenge names.
	demanded := c.Stage == Enforce && (c.Rule == ScopeMet || c.Rule == ScopeUnmet)
	v.Scope = v.Scope || c.MCP && no.status == 401 && demanded
	// Section 8: a nonce comes with whatever tells the client to make a proof.
	v.Nonce = c.Nonces && no.status == 401 && v.DPoP != "" && q.Outage != NonceSourceDown
	return v
}

func aboutProof(no refusal) bool {
	return strings.HasPrefix(no.why, ProofRefused) || no.why == NonceWanted || no.why == Misdirected
}

// accept is the response to a request whose handler ran, and what the handler saw.
func accept(c Config, q Request, used Scheme) Verdict {
	proven := toKey(q) && (used == DPoP || q.Proof != NoProof)
	enforced := c
	enforced.Stage = Enforce
	v := Verdict{Status: 200, WouldDeny: c.Stage == Report && rules(enforced, q, used) != passes}
	v.Handler = Handler{
		Credential: true, Key: proven, Cert: toCert(q), Unproven: toKey(q) && !proven,
		Proof:      q.Proof != NoProof && c.Hide == HideNothing,
		CertHeader: headerStays(c, q),
	}
	switch {
	case c.Hide == HideAll:
	case c.Hide == ForwardBearer, used == Bearer:
		v.Handler.Scheme = "Bearer"
	default:
		v.Handler.Scheme = "DPoP"
	}
	v.Nonce = c.Nonces && proven && q.Nonce == PreviousNonce // section 8.2
	v.Vary = toCert(q) && q.Cert == RightHeader              // RFC 9440, section 2.4
	v.VaryCookie = byCookie(c, q) || c.Anonymous && c.Session
	switch {
	case c.Session && !byCookie(c, q):
		v.Session, v.Cache = "begins", "no-store"
	case v.Nonce:
		v.Cache = "no-store"
	case byCookie(c, q): // RFC 9111, section 3.5, does not cover cookies
		v.Cache = "private"
	}
	return v
}

func byCookie(c Config, q Request) bool {
	return c.Session && q.Scheme == NoCredentials && (q.Cookie == BearerCookie || q.Cookie == DPoPCookie)
}

// headerStays reports whether the handler sees the header with a certificate: one that
// the trusted proxy wrote and that is not hidden, or any where it means nothing to the
// guard.
func headerStays(c Config, q Request) bool {
	if !c.MTLS {
		return q.Cert >= Forged && q.Cert != ProxyOwn
	}
	return q.Cert >= RightHeader && q.Cert != ProxyOwn && c.Hide == HideNothing
}

// Nested says what comes of q at a guard inner inside a guard outer. With the same parts,
// the inner one relies on what the outer one has verified; its policy and rules are its
// own. With others, it verifies again what the outer one has left in the request.
func Nested(outer, inner Config, same bool, q Request) Verdict {
	v := Decide(outer, q)
	if !v.Handler.Credential {
		return v
	}
	s, _ := scheme(outer, q)
	var w Verdict
	if same {
		w = again(inner, q, s)
		if w.Status == 200 { // The outer one has hidden what is hidden.
			w.Handler.Scheme, w.Handler.Proof, w.Handler.CertHeader = v.Handler.Scheme, v.Handler.Proof, v.Handler.CertHeader
		}
	} else {
		inner.Anonymous = false // The request has come with a credential, even if none is left.
		w = Decide(inner, behind(outer, q, s))
	}
	return within(v, w)
}

// Repeated is Nested at a door that tells no inner guard what an outer one has verified:
// it verifies again. With the same parts, it finds that the proof was used.
func Repeated(outer, inner Config, same bool, q Request) Verdict {
	v := Decide(outer, q)
	if !v.Handler.Credential {
		return v
	}
	s, _ := scheme(outer, q)
	left := behind(outer, q, s)
	if s == DPoP && outer.Hide == ForwardBearer {
		left.Scheme = Bearer // and nothing tells how the token came
	}
	if same {
		left.Nonce = q.Nonce
		if v.Handler.Key && left.Proof != NoProof {
			left.Proof = Replayed
		}
	}
	return within(v, Decide(inner, left))
}

// within is the answer w of an inner guard after what the outer one has put into the
// response.
func within(v, w Verdict) Verdict {
	w.Vary, w.VaryCookie = w.Vary || v.Vary, w.VaryCookie || v.VaryCookie
	w.Nonce = w.Nonce || v.Nonce
	if w.Session == "" {
		w.Session = v.Session
	}
	if w.Cache == "" || v.Cache == "no-store" {
		w.Cache = v.Cache
	}
	return w
}

func again(c Config, q Request, s Scheme) Verdict {
	no := policy(c, q, s)
	if no == passes {
		no = rules(c, q, s)
	}
	if no != passes {
		return refuse(c, q, s, no)
	}
	return accept(c, q, s)
}

// behind is the request that an inner guard with parts of its own sees.
func behind(outer Config, q Request, used Scheme) Request {
	q.Scheme, q.Cookie = used, NoCookie
	if q.Nonce != NoNonce {
		q.Nonce = ForeignNonce
	}
	if outer.Hide == HideNothing {
		return q
	}
	q.Proof = NoProof
	if outer.MTLS && q.Cert >= RightHeader {
		q.Cert = ProxyOwn // nothing is left that names the client's
	}
	if outer.Hide == HideAll {
		q.Scheme = NoCredentials
	}
	return q
}

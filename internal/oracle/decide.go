package oracle

// Decide says what a guard of configuration c answers to q. RFC 9449, section 4.3, allows
// any order of checks; this one begins with what costs nothing, and uses the proof last.
func Decide(c Config, q Request) Verdict {
	preflight := q.Preflight && c.PassPreflights // HTTP-01
	if (preflight || c.Anonymous && bare(c, q)) && transport(c, q) == passes {
		return Verdict{Status: 200, Handler: Handler{CertHeader: headerStays(c, q)}, VaryCookie: !preflight && c.Session}
	}
	s, no := scheme(c, q)
	for _, step := range []func(Config, Request, Scheme) refusal{shape, token, origin, policy, certificate, proof, rules} {
		if no == passes {
			no = step(c, q, s)
		}
	}
	if no != passes {
		return refuse(c, q, s, no)
	}
	return accept(c, q, s)
}

func transport(c Config, q Request) refusal {
	switch {
	case q.Early: // RFC 8470, section 5.2
		return refusal{status: 425, why: EarlyData}
	case q.Plain && c.RequireTLS && q.Cert < RightHeader: // FAPI 2.0, section 5.2
		return refusal{400, "invalid_request", PlainHTTP, true}
	}
	return passes
}

// scheme says how the token came: in the Authorization field or, without one, a cookie.
func scheme(c Config, q Request) (Scheme, refusal) {
	if no := transport(c, q); no != passes {
		return NoCredentials, no
	}
	if q.Scheme == NoCredentials && c.Session {
		switch q.Cookie {
		case CrossCookie: // a browser sends it whatever page made it do so
			return NoCredentials, refusal{status: 403, why: CrossOrigin}
		case BearerCookie:
			return Bearer, passes
		case DPoPCookie:
			return DPoP, passes
		}
	}
	switch q.Scheme {
	case NoCredentials: // RFC 6750, section 3.1: no error code. AUTH-07: nor for a token in the query alone
		return NoCredentials, refusal{status: 401, why: NoToken}
	case TwoFields: // RFC 9449, section 7.2, figure 19
		return NoCredentials, refusal{400, "invalid_request", TwoTokens, true}
	case Unsupported: // RFC 6750, section 3.1
		return NoCredentials, refusal{status: 401, why: SchemeRefused}
	case MalformedBearer: // RFC 9110, section 11.2
		return Bearer, refusal{400, "invalid_request", Malformed, false}
	case MalformedDPoP:
		return DPoP, refusal{400, "invalid_request", Malformed, false}
	}
	return q.Scheme, passes
}

// shape is what can be said without cryptography.
func shape(c Config, q Request, s Scheme) refusal {
	switch {
	case s == DPoP && !c.DPoP: // RFC 6750, section 3.1
		return refusal{status: 401, why: SchemeRefused}
	case q.Query && !c.IgnoreQuery: // RFC 6750, section 2: one method in each request
		return refusal{400, "invalid_request", TwoTokens, true}
	case s == DPoP && q.Proof == OversizedProof: // LIM-01
		return refusal{status: 431, why: ProofRefused + ProofFaults[q.Proof]}
	case s == DPoP && (q.Proof == NoProof || q.Proof == TwoProofs || q.Proof == UnfitProof): // RFC 9449, section 4.3, check 1
		return refusal{401, "invalid_dpop_proof", ProofRefused + ProofFaults[q.Proof], false}
	}
	return passes
}

// token is RFC 9068, section 4: what the token says, then whether its issuer signed it.
// Of an opaque one it is RFC 7662, section 2.2: what the issuer says. An iss that is no
// tenant's is section 4, check 3; whether it is one's is for the operator to say.
func token(c Config, q Request, _ Scheme) refusal {
	invalid := refusal{401, "invalid_token", TokenRefused + TokenFaults[q.Token], false}
	mute := q.Outage == IssuerDown || q.Outage == IntrospectionDown
	switch {
	case q.Token == GarbledToken:
		return invalid
	case c.Tenants && (q.Tenant == UnknownTenant || q.Token == OtherIssuer):
		return refusal{401, "invalid_token", TokenRefused + TokenFaults[OtherIssuer], false}
	case c.Tenants && (q.Tenant == UndecidedTenant || q.Tenant == AnyTenant && c.NeedOrigins): // the operator's fault is no verdict on the token
		return refusal{status: 503, why: Unavailable}
	case q.Token == OversizedToken: // LIM-01
		return refusal{status: 431, why: TokenRefused + TokenFaults[q.Token]}
	case c.Opaque && mute: // decision 19
		return refusal{status: 503, why: Unavailable}
	case q.Token == TokenType, q.Token == TokenAlg, q.Token == InactiveToken && !c.Asked:
		return invalid
	case q.Binding == NullCnf, q.Binding == ToUnknown: // RFC 7800, section 3.1; MTLS-X-02: ignored, it would be a bearer token
		return refusal{401, "invalid_token", CnfRefused, false}
	case q.Token != SoundToken && q.Token != TokenSignature && q.Token != InactiveToken:
		return invalid
	case q.Outage == IssuerDown: // JWKS-06: no key to verify with is no verdict on the token
		return refusal{status: 503, why: Unavailable}
	case q.Token == TokenSignature, c.Tenants && q.Tenant == ForgedTenant:
		return refusal{401, "invalid_token", TokenRefused + TokenFaults[TokenSignature], false}
	case c.Asked && mute: // decision 19
		return refusal{status: 503, why: Unavailable}
	case q.Token == InactiveToken:
		return invalid
	}
	return passes
}

// origin is docs/tenants.md: a tenant vouches for its own hosts alone, bound or not.
func origin(c Config, q Request, _ Scheme) refusal {
	if c.Tenants && q.Tenant != AnyTenant && (q.Misdirect || (q.At == OtherHost) != (q.Tenant == OtherTenant)) {
		return refusal{401, "invalid_token", HostRefused, false}
	}
	return passes
}

func policy(c Config, q Request, s Scheme) refusal {
	switch {
	case toKey(q) && !c.DPoP, toCert(q) && !c.MTLS: // decision 34
		return refusal{401, "invalid_token", NoMechanism, false}
	case toKey(q) && s == Bearer && !(c.Rollout && q.Listed): // RFC 9449, section 7.2: no downgrade
		return refusal{401, "invalid_token", Downgrade, true}
	case !toKey(q) && s == DPoP: // RFC 9449, section 7.1: the proof's key must be the token's
		return refusal{401, "invalid_token", NotBoundToKey, false}
	case q.Binding == Unbound && !c.AllowUnbound:
		return refusal{401, "invalid_token", NotBound, false}
	case !toKey(q) && q.Proof != NoProof && c.RefuseStray: // decision 08
		return refusal{400, "invalid_request", Stray, false}
	}
	return passes
}

func certificate(c Config, q Request, _ Scheme) refusal {
	if !toCert(q) { // RFC 9440, section 4: a field that decides nothing is not read
		return passes
	}
	switch q.Cert {
	case RightTLS, RightHeader:
		return passes
	case WrongTLS, WrongHeader: // RFC 8705, section 3
		return refusal{401, "invalid_token", CertMismatch, false}
	case BrokenHeader: // CC-2.2-03
		return refusal{400, "invalid_request", CertMalformed, false}
	}
	return refusal{401, "invalid_token", CertMissing, false} // CC-4-02, CC-2.4-02: neither a stranger's nor the proxy's counts
}

// proof is RFC 9449, section 4.3: what the proof says, its nonce, its first use.
func proof(c Config, q Request, s Scheme) refusal {
	invalid := refusal{401, "invalid_dpop_proof", ProofRefused + ProofFaults[q.Proof], false}
	goodNonce := c.Nonces && (q.Nonce == FreshNonce || q.Nonce == PreviousNonce)
	switch {
	case !toKey(q), s == Bearer && q.Proof == NoProof: // the second in a rollout
		return passes
	case q.Proof == OversizedProof:
		return refusal{status: 431, why: invalid.why}
	case q.Proof >= TwoProofs && q.Proof <= ProofMethod: // checks 1 to 8
		return invalid
	case q.Misdirect, q.At == TenantHost && !(c.Tenants && q.Tenant == HomeTenant): // DPOP-4.3-09b: no origin is taken from the request
		return refusal{401, "invalid_dpop_proof", Misdirected, false}
	case q.Proof == ProofURI, q.Proof == ProofHash, (q.Proof == StaleProof || q.Proof == FutureProof) && (!c.Nonces || c.MCP): // checks 9, 11, 12a; decision 31
		return invalid
	case q.Proof == OtherKey: // check 12b, section 7.1, figure 16
		return refusal{401, "invalid_token", ProofRefused + ProofFaults[q.Proof], false}
	case q.Proof == ProofSignature: // check 6
		return invalid
	case c.Nonces && q.Outage == NonceSourceDown:
		return refusal{status: 503, why: Unavailable}
	case c.Nonces && !goodNonce: // check 10, section 9
		return refusal{401, "use_dpop_nonce", NonceWanted, false}
	case q.Outage == ReplayStoreDown: // DPOP-11.1-08
		return refusal{status: 503, why: Unavailable}
	case q.Proof == Replayed: // section 11.1
		return invalid
	}
	return passes
}

// rules is the rule that the request does not satisfy.
func rules(c Config, q Request, s Scheme) refusal {
	switch {
	case c.Stage != Enforce:
		return passes
	case c.Rule == ScopeUnmet: // RFC 6750, section 3.1
		return refusal{403, "insufficient_scope", ScopeWanted, false}
	case c.Rule == StepUpUnmet: // RFC 9470, section 3
		return refusal{401, "insufficient_user_authentication", StepUpWanted, false}
	case c.Rule == OwnUnmet:
		return refusal{403, "insufficient_scope", RuleRefused, false}
	case c.Rule == KeyWanted && (!toKey(q) || s == Bearer && q.Proof == NoProof):
		return refusal{401, "invalid_token", NotBoundToKey, false}
	case c.Rule == CertWanted && !toCert(q):
		return refusal{401, "invalid_token", NotBoundToCert, false}
	}
	return passes
}

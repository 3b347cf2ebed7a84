package oracle

// The classes of refusals.
const (
	EarlyData     = "early data"
	PlainHTTP     = "plain http"
	None          = "no credentials"
	Scheme_       = "scheme"
	Malformed     = "malformed"
	TwoTokens     = "two tokens"
	TooLarge      = "too large"
	TokenRefused  = "token"
	CnfRefused    = "confirmation"
	Downgrade     = "bound token as bearer"
	NotBound      = "unbound"
	NoMechanism   = "mechanism"
	Stray         = "stray proof"
	CertMissing   = "certificate missing"
	CertMismatch  = "certificate mismatch"
	CertMalformed = "certificate malformed"
	ProofMissing  = "proof missing"
	ProofRefused  = "proof"
	KeyMismatch   = "key mismatch"
	NonceWanted   = "nonce"
	ReplayedProof = "replay"
	Misdirected   = "misdirected"
	ScopeWanted   = "scope"
	StepUpWanted  = "step-up"
	RuleRefused   = "rule"
	Unavailable   = "unavailable"
)

// refusal is the end of a decision. on says in which challenges its code stands.
type refusal struct {
	status     int
	code, why  string
	everywhere bool // the code stands in each challenge
}

var passes = refusal{}

// Decide says what a guard of configuration c answers to q.
func Decide(c Config, q Request) Verdict {
	if q.Preflight && c.PassPreflights {
		return Verdict{Status: 200} // HTTP-01, HTTP-02: without any credential
	}
	// Any order is allowed (RFC 9449, section 4.3). This one looks at what costs nothing
	// first and uses the proof up last.
	for _, step := range []func(Config, Request) refusal{shape, token, policy, certificate, proof, rules} {
		if no := step(c, q); no != passes {
			return refuse(c, q, no)
		}
	}
	return accept(c, q)
}

// shape is what can be said without cryptography.
func shape(c Config, q Request) refusal {
	switch {
	case q.Early: // RFC 8470, section 5.2
		return refusal{status: 425, why: EarlyData}
	case q.Plain && c.RequireTLS: // FAPI 2.0, section 5.2
		return refusal{status: 421, why: PlainHTTP}
	case q.Scheme == TwoFields: // RFC 9449, section 7.2, figure 19
		return refusal{400, "invalid_request", TwoTokens, true}
	case q.Scheme == NoCredentials: // RFC 6750, section 3.1: no error code. AUTH-07: nor for a token in the query
		return refusal{status: 401, why: None}
	case q.Scheme == Unsupported, !offers(c, q.Scheme): // RFC 6750, section 3.1
		return refusal{status: 401, why: Scheme_}
	case q.Scheme == MalformedBearer, q.Scheme == MalformedDPoP: // RFC 9110, section 11.2
		return refusal{400, "invalid_request", Malformed, false}
	case q.Query && !c.IgnoreQuery: // RFC 6750, section 2: one method in each request
		return refusal{400, "invalid_request", TwoTokens, true}
	case q.Token == OversizedToken, q.Scheme == DPoP && q.Proof == OversizedProof: // LIM-01
		return refusal{status: 431, why: TooLarge}
	case q.Scheme == DPoP && q.Proof == NoProof: // RFC 9449, section 7.1
		return refusal{401, "invalid_dpop_proof", ProofMissing, false}
	case q.Scheme == DPoP && q.Proof == TwoProofs: // RFC 9449, section 4.3, check 1
		return refusal{401, "invalid_dpop_proof", ProofRefused, false}
	}
	return passes
}

func token(c Config, q Request) refusal {
	switch {
	case q.Outage == IssuerDown: // JWKS-06: what is our fault is no verdict on the token
		return refusal{status: 503, why: Unavailable}
	case q.Token != SoundToken: // RFC 9068, section 4
		return refusal{401, "invalid_token", TokenRefused, false}
	case q.Binding == NullCnf: // RFC 7800, section 3.1: an object
		return refusal{401, "invalid_token", CnfRefused, false}
	case q.Binding == ToUnknown: // MTLS-X-02: ignoring it would make a bearer token
		return refusal{401, "invalid_token", CnfRefused, false}
	}
	return passes
}

func policy(c Config, q Request) refusal {
	switch {
	case toKey(q) && !c.DPoP, toCert(q) && !c.MTLS: // decision 34
		return refusal{401, "invalid_token", NoMechanism, false}
	case toKey(q) && q.Scheme == Bearer && c.Rollout && q.Listed:
		return passes
	case toKey(q) && q.Scheme == Bearer: // RFC 9449, section 7.2: no downgrade
		return refusal{401, "invalid_token", Downgrade, true}
	case !toKey(q) && q.Scheme == DPoP: // RFC 9449, section 7.1: the key must be the token's
		return refusal{401, "invalid_token", NotBound, false}
	case q.Binding == Unbound && !c.AllowUnbound:
		return refusal{401, "invalid_token", NotBound, false}
	case q.Scheme == Bearer && q.Proof != NoProof && c.RefuseStray: // decision 08
		return refusal{400, "invalid_request", Stray, false}
	}
	return passes
}

func certificate(c Config, q Request) refusal {
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
	default: // CC-4-02, CC-2.4-02: neither a stranger's field nor the proxy's own counts
		return refusal{401, "invalid_token", CertMissing, false}
	}
}

// proof is RFC 9449, section 4.3, in its order.
func proof(c Config, q Request) refusal {
	invalid := refusal{401, "invalid_dpop_proof", ProofRefused, false}
	noncesDecide := c.Nonces && (q.Nonce == FreshNonce || q.Nonce == PreviousNonce)
	switch {
	case !toKey(q), q.Scheme == Bearer && q.Proof == NoProof: // the second in a rollout
		return passes
	case q.Misdirect: // RFC 9110, section 7.4
		return refusal{status: 421, why: Misdirected}
	case q.Proof >= TwoProofs && q.Proof <= ProofURI: // checks 1 to 9
		return invalid
	case c.Nonces && q.Outage == NonceSourceDown:
		return refusal{status: 503, why: Unavailable}
	case c.Nonces && !noncesDecide: // check 10, section 9
		return refusal{401, "use_dpop_nonce", NonceWanted, false}
	case (q.Proof == StaleProof || q.Proof == FutureProof) && (!noncesDecide || c.MCP): // check 11, decision 31
		return invalid
	case q.Proof == ProofHash: // check 12a
		return invalid
	case q.Proof == OtherKey: // check 12b, section 7.1, figure 16
		return refusal{401, "invalid_token", KeyMismatch, false}
	case q.Outage == ReplayStoreDown: // DPOP-11.1-08
		return refusal{status: 503, why: Unavailable}
	case q.Proof == Replayed: // section 11.1
		return refusal{401, "invalid_dpop_proof", ReplayedProof, false}
	}
	return passes
}

func rules(c Config, q Request) refusal {
	if c.Stage != Enforce {
		return passes
	}
	switch c.Rule {
	case ScopeUnmet: // RFC 6750, section 3.1
		return refusal{403, "insufficient_scope", ScopeWanted, false}
	case StepUpUnmet: // RFC 9470, section 3
		return refusal{401, "insufficient_user_authentication", StepUpWanted, false}
	case OwnUnmet:
		return refusal{403, "insufficient_scope", RuleRefused, false}
	}
	return passes
}

func toKey(q Request) bool {
	return q.Binding == ToKey || q.Binding == ToBoth || q.Binding == ToKeyUnknown
}
func toCert(q Request) bool { return q.Binding == ToCert || q.Binding == ToBoth }

// offers reports whether s is a scheme by which a token can be good at this guard.
func offers(c Config, s Scheme) bool {
	if s == DPoP || s == MalformedDPoP {
		return c.DPoP
	}
	return c.AllowUnbound || c.MTLS || c.Rollout
}

func refuse(c Config, q Request, no refusal) Verdict {
	v := Verdict{Status: no.status, Reason: no.why, NoStore: true}
	v.RetryAfter = no.status == 503
	v.Nonce = c.Nonces && q.Outage != NonceSourceDown && (no.why == NonceWanted || no.why == ProofMissing)
	v.Scope = no.why == ScopeWanted
	if no.status != 400 && no.status != 401 && no.status != 403 {
		return v
	}
	// AUTH-14: the code stands in the challenge of the scheme that was used.
	put := func(s Scheme, used bool) string {
		switch {
		case !offers(c, s):
			return ""
		case no.code != "" && (used || no.everywhere):
			return no.code
		}
		return "bare"
	}
	v.DPoP = put(DPoP, q.Scheme == DPoP || q.Scheme == MalformedDPoP)
	v.Bearer = put(Bearer, q.Scheme == Bearer || q.Scheme == MalformedBearer)
	return v
}

func accept(c Config, q Request) Verdict {
	proven := toKey(q) && q.Proof != NoProof
	v := Verdict{Status: 200}
	v.Handler = Handler{Credential: true, Key: proven, Cert: toCert(q), Unproven: toKey(q) && !proven}
	v.Handler.CertHeader = q.Cert == RightHeader || q.Cert == WrongHeader || q.Cert == BrokenHeader
	v.Nonce = c.Nonces && proven && q.Nonce == PreviousNonce // section 8.2
	v.NoStore = v.Nonce
	v.Vary = toCert(q) && q.Cert == RightHeader // RFC 9440, section 2.4
	v.WouldDeny = c.Stage == Report && c.Rule >= ScopeUnmet
	return v
}

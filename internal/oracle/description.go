// Package oracle answers what a guard must say, from the RFCs alone.
//
// It is the decision of the guard, written a second time as a plain function over a small
// description of a configuration and a request. The product test runs each described case
// through the real code and compares. The package imports nothing of the guard and of the
// rooms below it: an oracle that shares code with what it judges repeats its mistakes.
// The import table in arch_test.go holds that.
package oracle

// Config describes a guard.
type Config struct {
	DPoP, MTLS     bool // the parts that the guard has
	Opaque         bool // tokens say nothing: the issuer is asked about each (RFC 7662)
	Asked          bool // tokens are JWTs, and the issuer is asked about each good one
	Tenants        bool // tokens are of issuers that a function of the operator's approves
	NeedOrigins    bool // each of which must have hosts of its own
	Nonces         bool // proofs need a nonce of the service
	AllowUnbound   bool // tokens without a binding are good with the scheme Bearer
	Session        bool // a cookie can stand for a token
	RefuseStray    bool // a proof that no check needs is an error
	IgnoreQuery    bool // a token in the query beside one in the header is ignored
	RequireTLS     bool // plain HTTP is refused
	PassPreflights bool // CORS preflights reach the handler without credentials
	Anonymous      bool // requests without any credentials reach the handler
	MCP            bool // the MCP profile: iat within five minutes, also with a nonce
	Rollout        bool // bound tokens of the listed client are good with the scheme Bearer
	Hide           Hide
	Rule           Rule
	Stage          Stage
}

// Hide is what the guard takes out of the request that the handler sees.
type Hide uint8

// What the handler sees of the credentials.
const (
	HideNothing Hide = iota
	ForwardBearer
	HideAll
	HideCount
)

// Rule is what the guard demands beside a good token.
type Rule uint8

// The rules, each with one way to meet or miss it.
const (
	NoRule      Rule = iota
	ScopeMet         // a scope that every token has
	ScopeUnmet       // a scope that no token has
	StepUpUnmet      // an authentication context that no token has
	OwnUnmet         // a function of the user's that says no
	KeyWanted        // tokens must be bound to a key
	CertWanted       // tokens must be bound to a certificate
	RuleCount
)

// Stage is the state of a rule in a rollout.
type Stage uint8

// The stages. The zero Stage enforces.
const (
	Enforce Stage = iota
	Report
	Off
	StageCount
)

// Request describes a request and the state of the world when it comes.
type Request struct {
	Scheme    Scheme
	Cookie    Cookie // for a request without an Authorization field
	Query     bool   // an access_token parameter in the query
	Token     Token
	Tenant    Tenant // whose token it is, at a guard with tenants
	Binding   Binding
	Proof     Proof
	Nonce     Nonce // in the proof
	Cert      Cert
	Listed    bool // the token's client is one that the rollout option lists
	Plain     bool // no TLS
	Early     bool // TLS early data
	Misdirect bool // Host is not of the service
	At        Host // else which of the service's
	Preflight bool // a CORS preflight
	Outage    Outage
}

// Scheme is how the client presents the token.
type Scheme uint8

// The schemes.
const (
	Bearer Scheme = iota
	DPoP
	NoCredentials
	Unsupported     // one that no guard knows
	MalformedBearer // two tokens after the scheme
	MalformedDPoP
	TwoFields // a DPoP field and a Bearer field
	SchemeCount
)

// Cookie is the session's cookie.
type Cookie uint8

// The cookies.
const (
	NoCookie Cookie = iota
	BearerCookie
	DPoPCookie
	CrossCookie  // good, in a POST that a page of another origin made the browser send
	ForgedCookie // sealed with another key
	CookieCount
)

// Token is what is right or wrong with the token itself.
type Token uint8

// A sound token and one for each fault.
const (
	SoundToken Token = iota
	OversizedToken
	GarbledToken // no JWT
	TokenType    // typ of an ID token
	TokenAlg     // an algorithm that is not configured
	OtherIssuer
	OtherAudience
	ExpiredToken
	FutureToken // nbf in an hour
	MissingClaim
	TokenSignature
	InactiveToken // the issuer took it back
	TokenCount
)

// Tenant is the issuer of the token, and where its tokens are good.
type Tenant uint8

// The tenants.
const (
	HomeTenant      Tenant = iota // good at Home and TenantHost
	ForgedTenant                  // the token names HomeTenant, and another tenant has signed it
	UnknownTenant                 // the issuer is no tenant
	OtherTenant                   // good at OtherHost
	AnyTenant                     // has no hosts of its own
	UndecidedTenant               // the operator's function does not know
	TenantCount
)

// Binding is the token's confirmation (RFC 7800).
type Binding uint8

// The bindings.
const (
	Unbound Binding = iota
	ToKey           // jkt
	ToCert          // x5t#S256
	ToBoth
	ToUnknown    // only members that we do not understand
	ToKeyUnknown // jkt beside a member that we do not understand
	NullCnf
	BindingCount
)

// Proof is what is right or wrong with the DPoP field. Apart from what its name says,
// each is a good proof for the request and the token, made with the key that the token is
// bound to.
type Proof uint8

// The proofs, in the order in which the guard looks for what is wrong with them.
const (
	NoProof Proof = iota
	GoodProof
	TwoProofs
	OversizedProof
	UnfitProof // characters that no token68 has
	GarbledProof
	ProofType
	ProofAlg
	PrivateKey
	NoJTI
	ProofMethod
	ProofURI
	StaleProof  // iat ten minutes ago
	FutureProof // iat in ten minutes
	ProofHash   // ath of another token
	OtherKey
	ProofSignature
	Replayed
	ProofCount
)

// Nonce is the nonce in the proof.
type Nonce uint8

// The nonces.
const (
	FreshNonce    Nonce = iota
	PreviousNonce       // good, but past half of its life
	NoNonce
	ForeignNonce
	NonceCount
)

// Cert is the client certificate and how it came.
type Cert uint8

// The certificates. From RightHeader on, the peer is the trusted proxy.
const (
	NoCert Cert = iota
	RightTLS
	WrongTLS
	Forged       // the right one in a header, from a peer that is not trusted
	RightHeader  // in a header, from the trusted proxy
	WrongHeader  // in a header, from the trusted proxy
	BrokenHeader // a header of the trusted proxy that holds no certificate
	ProxyOwn     // the right one in the TLS connection of the trusted proxy, without a header
	CertCount
)

// Host is which host of the service a request was sent to.
type Host uint8

// The hosts. A service without tenants has the first two.
const (
	Home       Host = iota // good in every case
	OtherHost              // that of OtherTenant
	TenantHost             // one that is HomeTenant's alone
	HostCount
)

// Outage is what does not work when the request comes.
type Outage uint8

// The outages.
const (
	NoOutage   Outage = iota
	IssuerDown        // with its keys and with introspection
	ReplayStoreDown
	NonceSourceDown
	IntrospectionDown // the keys of the issuer can be had
	OutageCount
)

// Verdict is the answer.
type Verdict struct {
	Status       int     // 200 if the handler ran
	Reason       string  // the class of the refusal
	DPoP, Bearer string  // the challenges: empty if there is none, "bare" or the error code
	Scope        bool    // a challenge names the scope that is wanted
	Nonce        bool    // a DPoP-Nonce field
	Cache        string  // Cache-Control
	Vary         bool    // the response says that it depends on the certificate's header
	VaryCookie   bool    // or on the cookie
	Session      string  // "begins", "ends" or empty
	WouldDeny    bool    // a rule in report would have refused
	Handler      Handler // of Status 200
}

// Handler is what the handler sees.
type Handler struct {
	Credential bool   // a verified token
	Key        bool   // bound to a key whose proof was verified
	Cert       bool   // bound to a certificate that was verified
	Scheme     string // of the Authorization field
	Proof      bool   // a DPoP field
	CertHeader bool   // the header with the certificate
	Unproven   bool   // bound to a key without a proof of it
}

// The classes of refusals. Those of tokens and proofs have the fault behind them.
const (
	EarlyData      = "early data"
	PlainHTTP      = "plain http"
	NoToken        = "no credentials"
	SchemeRefused  = "scheme"
	Malformed      = "malformed"
	TwoTokens      = "two tokens"
	CrossOrigin    = "cross origin"
	TokenRefused   = "token "
	CnfRefused     = "confirmation"
	HostRefused    = "host"
	Downgrade      = "bound token as bearer"
	NotBound       = "unbound"
	NotBoundToKey  = "not bound to a key"
	NotBoundToCert = "not bound to a certificate"
	NoMechanism    = "mechanism"
	Stray          = "stray proof"
	CertMissing    = "certificate missing"
	CertMismatch   = "certificate mismatch"
	CertMalformed  = "certificate malformed"
	ProofRefused   = "proof "
	NonceWanted    = "nonce"
	Misdirected    = "misdirected"
	ScopeWanted    = "scope"
	StepUpWanted   = "step-up"
	RuleRefused    = "rule"
	Unavailable    = "unavailable"
)

// refusal is the end of a decision. Its code stands in the challenge of the scheme that
// the client used (AUTH-14), or in each of them if it concerns them all.
type refusal struct {
	status     int
	code, why  string
	everywhere bool
}

var passes = refusal{}

func toKey(q Request) bool {
	return q.Binding == ToKey || q.Binding == ToBoth || q.Binding == ToKeyUnknown
}

// bare reports whether q has nothing that authenticates, good or bad.
func bare(c Config, q Request) bool {
	return q.Scheme == NoCredentials && q.Proof == NoProof && !q.Query && (q.Cookie == NoCookie || !c.Session)
}

func toCert(q Request) bool { return q.Binding == ToCert || q.Binding == ToBoth }

// TokenFaults and ProofFaults are what stands behind TokenRefused and ProofRefused.
var (
	TokenFaults = [TokenCount]string{
		OversizedToken: "size", GarbledToken: "form", TokenType: "type", TokenAlg: "alg", OtherIssuer: "iss", OtherAudience: "aud",
		ExpiredToken: "exp", FutureToken: "nbf", MissingClaim: "claims", TokenSignature: "signature",
		InactiveToken: "inactive",
	}
	ProofFaults = [ProofCount]string{
		NoProof: "missing", TwoProofs: "number", OversizedProof: "size", UnfitProof: "form", GarbledProof: "form", ProofType: "type",
		ProofAlg: "alg", PrivateKey: "private key", NoJTI: "claims", ProofMethod: "htm", ProofURI: "htu", StaleProof: "old",
		FutureProof: "future", ProofHash: "ath", OtherKey: "key", ProofSignature: "signature", Replayed: "replayed",
	}
)

// Package oracle answers what a guard must say, from the RFCs alone.
//
// It is the decision of the guard, written a second time as a plain function over a small
// description of a configuration and a request. The product test runs each described case
// through the real code and compares. The package imports nothing of the guard and of the
// rooms below it: an oracle that shares code with what it judges repeats its mistakes. The
// import table in arch_test.go holds that.
package oracle

// Config describes a guard.
type Config struct {
	DPoP, MTLS     bool // the parts that the guard has
	Nonces         bool // proofs need a nonce of the service
	AllowUnbound   bool // tokens without a binding are good with the scheme Bearer
	RefuseStray    bool // a proof that no check needs is an error
	IgnoreQuery    bool // a token in the query beside one in the header is ignored
	RequireTLS     bool // plain HTTP is refused
	PassPreflights bool // CORS preflights reach the handler without credentials
	MCP            bool // the MCP profile: iat within five minutes, also with a nonce
	Rollout        bool // bound tokens of the listed client are good with the scheme Bearer
	Rule           Rule
	Stage          Stage
}

// Rule is what the guard demands beside a good token.
type Rule uint8

// The rules, each with one way to meet or miss it.
const (
	NoRule      Rule = iota
	ScopeMet         // scopes that every token of the test has
	ScopeUnmet       // a scope that no token has
	StepUpUnmet      // an authentication context that no token has
	OwnUnmet         // a function of the user's that says no
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
	Query     bool // an access_token parameter in the query
	Token     Token
	Binding   Binding
	Proof     Proof
	Nonce     Nonce // in the proof
	Cert      Cert
	Listed    bool // the token's client is one that the rollout option lists
	Plain     bool // no TLS
	Early     bool // TLS early data
	Misdirect bool // Host is not of the service
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
	Unsupported     // Basic
	MalformedBearer // two tokens after the scheme
	MalformedDPoP
	TwoFields // a DPoP field and a Bearer field
	SchemeCount
)

// Token is what is right or wrong with the token itself.
type Token uint8

// A sound token and one for each fault.
const (
	SoundToken Token = iota
	Garbled          // no JWT
	BadSignature
	Expired
	NotYetValid
	OtherAudience
	OtherIssuer
	OtherType // typ of an ID token
	MissingClaim
	OversizedToken
	TokenCount
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

// Proof is what is right or wrong with the DPoP field. But for what its name says, each is
// a good proof for the request and the token, made with the key that the token is bound to.
type Proof uint8

// The proofs.
const (
	NoProof Proof = iota
	GoodProof
	TwoProofs
	OversizedProof
	GarbledProof
	NoJTI
	ProofType
	ProofAlg
	ProofSignature
	PrivateKey
	ProofMethod
	ProofURI
	StaleProof  // iat ten minutes ago
	FutureProof // iat in ten minutes
	ProofHash   // ath of another token
	OtherKey
	Replayed
	ProofCount
)

// Nonce is the nonce in the proof.
type Nonce uint8

// The nonces.
const (
	FreshNonce    Nonce = iota
	PreviousNonce       // good, of the period before: the client should get a newer one
	NoNonce
	ForeignNonce
	NonceCount
)

// Cert is the client certificate and how it came.
type Cert uint8

// The certificates. But for NoCert, RightTLS and WrongTLS the service is behind a proxy.
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

// Outage is what does not work when the request comes.
type Outage uint8

// The outages.
const (
	NoOutage Outage = iota
	IssuerDown
	ReplayStoreDown
	NonceSourceDown
	OutageCount
)

// Verdict is the answer.
type Verdict struct {
	Status       int    // 200 if the handler ran
	Reason       string // the class of the refusal, of the constants below
	DPoP, Bearer string // the challenges: empty if there is none, "bare" or the error code
	Scope        bool   // the challenge names the scope that is wanted
	Nonce        bool   // a DPoP-Nonce field
	RetryAfter   bool
	NoStore      bool // Cache-Control: no-store
	Vary         bool // the response says that it depends on the certificate's header
	WouldDeny    bool // a rule in report would have refused
	Handler      Handler
}

// Handler is what the handler sees.
type Handler struct {
	Credential bool // a verified token
	Key        bool // bound to a key whose proof was verified
	Cert       bool // bound to a certificate that was verified
	CertHeader bool // the header with the certificate is still in the request
	Unproven   bool // bound, without a check of the binding
}

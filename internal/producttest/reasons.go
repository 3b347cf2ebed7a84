package producttest

import (
	"github.com/keybound-go/middleware"
	"github.com/keybound-go/middleware/dpop"
	"github.com/keybound-go/middleware/internal/oracle"
	"github.com/keybound-go/middleware/mtlspop"
	"github.com/keybound-go/middleware/oidc"
)

// Reason translates an error of the guard into the oracle's classes.
func Reason(err error) string {
	class, ok := reasons[err]
	switch {
	case err == nil:
		return ""
	case ok:
		return class
	}
	return oracle.Unavailable
}

func tokenFault(t oracle.Token) string { return oracle.TokenRefused + oracle.TokenFaults[t] }
func proofFault(p oracle.Proof) string { return oracle.ProofRefused + oracle.ProofFaults[p] }

var reasons = map[error]string{
	middleware.ErrTooEarly:                   oracle.EarlyData,
	middleware.ErrPlainHTTP:                  oracle.PlainHTTP,
	middleware.ErrNoCredentials:              oracle.NoToken,
	middleware.ErrUnsupportedScheme:          oracle.SchemeRefused,
	middleware.ErrMalformedAuthorization:     oracle.Malformed,
	middleware.ErrSeveralTokens:              oracle.TwoTokens,
	middleware.ErrQueryToken:                 oracle.TwoTokens,
	middleware.ErrCrossOrigin:                oracle.CrossOrigin,
	middleware.ErrStrayProof:                 oracle.Stray,
	middleware.ErrUnbound:                    oracle.NotBound,
	middleware.ErrNotBound:                   oracle.NotBound,
	middleware.ErrBindingNotConfigured:       oracle.NoMechanism,
	middleware.ErrDowngrade:                  oracle.Downgrade,
	middleware.ErrNotForDPoP:                 oracle.NotBoundToKey,
	middleware.ErrNotDPoPBound:               oracle.NotBoundToKey,
	middleware.ErrNotCertificateBound:        oracle.NotBoundToCert,
	middleware.ErrInsufficientScope:          oracle.ScopeWanted,
	middleware.ErrClaim:                      oracle.RuleRefused,
	middleware.ErrInsufficientAuthentication: oracle.StepUpWanted,
	middleware.ErrRule:                       oracle.RuleRefused,
	oidc.ErrTooLarge:                         tokenFault(oracle.OversizedToken),
	oidc.ErrMalformed:                        tokenFault(oracle.GarbledToken),
	oidc.ErrType:                             tokenFault(oracle.TokenType),
	oidc.ErrAlgorithm:                        tokenFault(oracle.TokenAlg),
	oidc.ErrIssuer:                           tokenFault(oracle.OtherIssuer),
	oidc.ErrAudience:                         tokenFault(oracle.OtherAudience),
	oidc.ErrExpired:                          tokenFault(oracle.ExpiredToken),
	oidc.ErrNotYetValid:                      tokenFault(oracle.FutureToken),
	oidc.ErrNoSubject:                        tokenFault(oracle.MissingClaim),
	oidc.ErrSignature:                        tokenFault(oracle.TokenSignature),
	oidc.ErrOrigin:                           oracle.HostRefused,
	oidc.ErrInactive:                         tokenFault(oracle.InactiveToken),
	oidc.ErrConfirmation:                     oracle.CnfRefused,
	mtlspop.ErrNoCertificate:                 oracle.CertMissing,
	mtlspop.ErrPeerNotTrusted:                oracle.CertMissing,
	mtlspop.ErrMismatch:                      oracle.CertMismatch,
	mtlspop.ErrMalformed:                     oracle.CertMalformed,
	dpop.ErrMissing:                          proofFault(oracle.NoProof),
	dpop.ErrMultiple:                         proofFault(oracle.TwoProofs),
	dpop.ErrTooLarge:                         proofFault(oracle.OversizedProof),
	dpop.ErrMalformed:                        proofFault(oracle.GarbledProof),
	dpop.ErrType:                             proofFault(oracle.ProofType),
	dpop.ErrAlgorithm:                        proofFault(oracle.ProofAlg),
	dpop.ErrPrivateKey:                       proofFault(oracle.PrivateKey),
	dpop.ErrClaims:                           proofFault(oracle.NoJTI),
	dpop.ErrMethod:                           proofFault(oracle.ProofMethod),
	dpop.ErrTarget:                           proofFault(oracle.ProofURI),
	dpop.ErrMisdirected:                      oracle.Misdirected,
	dpop.ErrExpired:                          proofFault(oracle.StaleProof),
	dpop.ErrNotYetValid:                      proofFault(oracle.FutureProof),
	dpop.ErrTokenHash:                        proofFault(oracle.ProofHash),
	dpop.ErrKeyMismatch:                      proofFault(oracle.OtherKey),
	dpop.ErrSignature:                        proofFault(oracle.ProofSignature),
	dpop.ErrReplayed:                         proofFault(oracle.Replayed),
	dpop.ErrNonceMissing:                     oracle.NonceWanted,
	dpop.ErrNonceUnknown:                     oracle.NonceWanted,
	dpop.ErrNonceExpired:                     oracle.NonceWanted,
}

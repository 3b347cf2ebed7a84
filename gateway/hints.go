package main

import (
	"github.com/keybound-go/middleware"
	"github.com/keybound-go/middleware/dpop"
	"github.com/keybound-go/middleware/mtlspop"
	"github.com/keybound-go/middleware/oidc"
)

const (
	hintClocks   = "the clocks differ: see leeway"
	hintMapper   = "with Keycloak, add an audience mapper to the client, or to one of its client scopes"
	hintProfile  = "-profile says how the issuer spells its tokens; by default its URL tells"
	hintHandshke = "TLS ends here: add the plugin tls-handshake-modifier; TLS ends in front: set proof_of_possession_mtls_from_header"
)

// hints say in the words of Kong's file and of the command line what the library
// says in those of Go.
var hints = map[error]string{
	middleware.ErrUnsupportedScheme:    "auth_methods says which credentials are taken: Bearer, DPoP with proof_of_possession_dpop, Basic with client_credentials",
	middleware.ErrQueryToken:           "tokens come in the Authorization field only",
	middleware.ErrStrayProof:           "the client proves a key that its token is not bound to",
	middleware.ErrUnbound:              "proof_of_possession_dpop or proof_of_possession_mtls is strict, and the token is bound to nothing: turn DPoP or certificate binding on for the client at the issuer, or say optional",
	middleware.ErrBindingNotConfigured: "the token is bound, and the plugin has neither proof_of_possession_dpop nor proof_of_possession_mtls for what it is bound to",
	middleware.ErrNotDPoPBound:         "proof_of_possession_dpop is strict: turn DPoP on for the client at the issuer",
	middleware.ErrNotCertificateBound:  "proof_of_possession_mtls is strict: turn certificate binding on for the client at the issuer",
	middleware.ErrPlainHTTP:            "name the terminator with -trusted-proxy",
	middleware.ErrLongLived:            "let the issuer make tokens that live for less long",
	middleware.ErrCrossOrigin:          "a page of another origin has sent the session's cookie",

	dpop.ErrTooLarge:     "a proof has at most 8 kilobytes",
	dpop.ErrAlgorithm:    "the client has to sign its proofs by another algorithm",
	dpop.ErrTarget:       "the client's htu is not the URL that clients use here: -public-origin says which that is",
	dpop.ErrMisdirected:  "-public-origin says what clients call the gateway, -internal-host what a terminator in front writes as the Host",
	dpop.ErrExpired:      "dpop_proof_lifetime says how old a proof may be; for clients with wrong clocks, dpop_use_nonce: true",
	dpop.ErrNotYetValid:  "the client's clock is ahead; dpop_use_nonce: true makes it no matter",
	dpop.ErrNonceMissing: "expected once for each client; if one repeats it, it does not keep the nonce, or its browser is not shown DPoP-Nonce",
	dpop.ErrNonceUnknown: "the nonce is of another service, or of a replica with another key: give all of them the same -nonce-key",
	dpop.ErrReplayed:     "a replay, or a client or proxy that repeats a request with the same proof",
	dpop.ErrNonceExpired: "dpop_proof_lifetime says how long a nonce is good; replicas need a common -nonce-key",

	mtlspop.ErrNoCertificate:  hintHandshke,
	mtlspop.ErrPeerNotTrusted: "a certificate in a header was ignored, since its sender is not one of -trusted-proxy",
	mtlspop.ErrMalformed:      "the terminator does not send what certificate_header_format says, or passes a client's own field on",
	mtlspop.ErrExpired:        "the client needs a new certificate",
	mtlspop.ErrUntrusted:      "the certificate's CA is none of ca_certificates; see allow_partial_chain",
	mtlspop.ErrUnparsable:     "the certificate matches the token, and Go cannot parse it, so that its chain cannot be verified: the client needs another kind of certificate",

	oidc.ErrTooLarge:       "the issuer puts too much into its tokens",
	oidc.ErrMalformed:      "if the issuer's tokens are opaque, add introspection to auth_methods",
	oidc.ErrEncrypted:      "let the issuer sign without encrypting, or use introspection",
	oidc.ErrTypeJWT:        "typ is JWT, which ID tokens have too; " + hintProfile,
	oidc.ErrNotAccessToken: "the client may have sent its ID token; " + hintProfile,
	oidc.ErrAlgorithm:      "the issuer has to sign by another algorithm",
	oidc.ErrNoKey:          "the issuer publishes no key with this kid: it was rotated within rediscovery_lifetime, or the token is from elsewhere",
	oidc.ErrExpired:        "the client must get another one; if it has just got it, " + hintClocks,
	oidc.ErrIssuer:         "iss must equal issuer, or one of issuers_allowed, character for character, the last slash included",
	oidc.ErrAudience:       "aud names none of audience_required; " + hintMapper,
	oidc.ErrNotYetValid:    hintClocks,
	oidc.ErrIssuedInFuture: hintClocks,
	oidc.ErrNoSubject:      hintProfile,
	oidc.ErrNoClientID:     hintProfile,
	oidc.ErrNoID:           hintProfile,
	oidc.ErrScope:          hintProfile,
	oidc.ErrConfirmation:   "cnf names something other than a key or a certificate",
	oidc.ErrInactive:       "the issuer says so: the token is expired or revoked, or its aud does not name the client_id that asks; " + hintMapper,
}

// hintOf returns what would have helped, or what the library says where that is
// not in Go's words.
func hintOf(o middleware.Outcome) string {
	if hint, ok := hints[o.Err]; ok {
		return hint
	}
	return o.Hint
}

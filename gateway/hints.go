package main

import (
	"fmt"
	"net"
	"regexp"
	"strings"

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
	middleware.ErrClaim:                "aud names none of audience_required; " + hintMapper, // of a claim that the file demands, the line says which
	middleware.ErrPlainHTTP:            "name the terminator with -trusted-proxy",
	middleware.ErrNotBound:             "proof_of_possession_dpop or proof_of_possession_mtls is strict: turn DPoP or certificate binding on for the client at the issuer",
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

// outageHints are for decisions that could not be made, by reason.
var outageHints = map[string]string{
	"unavailable_issuer":         "metadata or keys of the issuer cannot be fetched and none are known: is it up, is its CA among those of -issuer-ca, does its metadata name issuer?",
	"unavailable_introspection":  "the introspection endpoint gave no verdict: is it up, does it accept client_id and client_secret by client_auth?",
	"unavailable_token_endpoint": "the token endpoint gave no verdict on client credentials, or too many wrong secrets were sent lately",
	"unavailable_roots":          "the CAs of ca_certificates could not be read",
	"unavailable_replay_cache":   "Redis does not answer or is full: see the error for the address and the cause; no proof is accepted without it",
}

// inGo is what a hint has that is in Go's words.
var inGo = regexp.MustCompile(`\b(dpop|oidc|mtlspop|middleware|session|introspect|exchange|clientauth)\.[A-Z]|\b(With|Require|Allow|Dangerously|Trust)[A-Z]`)

// hintOf returns what would have helped, in the words of the gateway. What the library
// says of this very request goes before what is said of all of the kind.
func hintOf(o middleware.Outcome) string {
	switch {
	case o.Err == middleware.ErrNoCredentials && strings.Contains(o.Hint, "preflight"):
		return "a CORS preflight, which browsers send without credentials, and the gateway has no plugin for CORS: let the proxy in front of it answer, or the service on a route of its own for OPTIONS"
	case o.Err == mtlspop.ErrPeerNotTrusted:
		return hostOf(o.Peer) + " is none of -trusted-proxy, so that its certificate in a header was ignored: name it there if it is your terminator"
	case o.Err == dpop.ErrMisdirected && o.Host == "":
		return "the request names no host: let the proxy in front pass Host on, or write one of its own and name that with -internal-host"
	case o.Err == dpop.ErrMisdirected:
		return fmt.Sprintf("the request names the host %q: -public-origin says what clients call the gateway, -internal-host %s is for what a terminator in front writes", o.Host, o.Host)
	}
	if hint, ok := outageHints[o.Reason]; ok {
		return hint
	}
	hint, ok := hints[o.Err]
	if ok && (o.Hint == "" || inGo.MatchString(o.Hint) || o.Hint == hintOfKind(o.Err)) {
		return hint
	}
	if inGo.MatchString(o.Hint) {
		return ""
	}
	return o.Hint
}

// hostOf is an address without its port.
func hostOf(address string) string {
	if host, _, err := net.SplitHostPort(address); err == nil {
		return host
	}
	return address
}

// hintOfKind is what the library says of all errors of the kind.
func hintOfKind(err error) string {
	if e, ok := err.(interface{ Hint() string }); ok {
		return e.Hint()
	}
	return ""
}

package middleware

// errorCodes are the values of error_code in the body of refusals, by description: what
// an application of the client can compare without parsing a text. A description has
// exactly one, so that the code tells a client nothing that the description does not: not
// whether a token was revoked or never known, say. They are part of the API, and
// docs/errors.md lists them.
var errorCodes = map[string]string{
	"malformed Authorization field":                         "request.authorization",
	"more than one Authorization field":                     "request.several_tokens",
	"access token in the query":                             "request.query_token",
	"DPoP proof beside a token that is not DPoP-bound":      "request.stray_proof",
	"TLS is required":                                       "request.plain_http",
	"malformed request target":                              "request.target",
	"token is not sender-constrained":                       "binding.none",
	"token is bound by a means not accepted here":           "binding.not_accepted",
	"DPoP-bound token requires the DPoP scheme":             "binding.dpop_as_bearer",
	"token is not bound to a DPoP key":                      "binding.no_key",
	"token is not bound to a certificate":                   "binding.no_certificate",
	"the token lacks a required scope":                      "rule.scope",
	"the token lacks a required claim":                      "rule.claim",
	"a different or more recent authentication is required": "rule.authentication",
	"the token lives too long":                              "rule.token_lifetime",
	"the token lacks required authorization details":        "rule.authorization_details",
	"a rule of the service refuses the request":             "rule.service",

	"The access token is not a well-formed JWT":                               "token.malformed",
	"Encrypted access tokens are not supported":                               "token.encrypted",
	"The access token has a critical header parameter that is not understood": "token.critical_header",
	"The token is not an access token":                                        "token.not_access",
	"The token is not marked as an access token":                              "token.type",
	"The signing algorithm of the access token is not accepted":               "token.algorithm",
	"The signing key of the access token is not known":                        "token.key",
	"The signature of the access token is not valid":                          "token.signature",
	"A claim of the access token is malformed":                                "token.claims",
	"The access token is nested too deeply":                                   "token.depth",
	"The access token is from another issuer":                                 "token.issuer",
	"The access token is for another audience":                                "token.audience",
	"The access token expired":                                                "token.expired",
	"The access token is not valid yet":                                       "token.not_yet_valid",
	"The access token was issued in the future":                               "token.issued_in_future",
	"The access token has no expiry":                                          "token.no_expiry",
	"The access token has no subject":                                         "token.no_subject",
	"The access token has no client_id":                                       "token.no_client_id",
	"The access token has no time of issue":                                   "token.no_issue_time",
	"The access token has no jti":                                             "token.no_jti",
	"The scope of the access token is malformed":                              "token.scope",
	"The confirmation of the access token is malformed or not supported":      "token.confirmation",
	"The access token is not active":                                          "token.inactive",
	"The access token is a DPoP token that names no key":                      "token.dpop_without_key",
	"The access token is not for this host":                                   "token.origin",

	"DPoP proof required":                                       "proof.missing",
	"more than one DPoP proof":                                  "proof.multiple",
	"DPoP proof is not a well-formed JWT":                       "proof.malformed",
	"claims of the DPoP proof are incomplete or malformed":      "proof.claims",
	"typ of the DPoP proof is not dpop+jwt":                     "proof.type",
	"alg of the DPoP proof is not accepted":                     "proof.algorithm",
	"signature of the DPoP proof does not verify":               "proof.signature",
	"jwk of the DPoP proof is not an acceptable public key":     "proof.key",
	"jwk of the DPoP proof contains a private key":              "proof.private_key",
	"htm of the DPoP proof is not the request method":           "proof.method",
	"htu of the DPoP proof is not the request URI":              "proof.target",
	"request is not for this service":                           "proof.misdirected",
	"DPoP proof is too old":                                     "proof.expired",
	"DPoP proof is from the future":                             "proof.not_yet_valid",
	"ath of the DPoP proof is not the hash of the access token": "proof.token_hash",
	"access token is bound to another key":                      "proof.other_key",
	"DPoP proof needs a recent nonce from this server":          "proof.nonce",
	"DPoP proof has been used before":                           "proof.used",

	"the token is bound to a client certificate and none was presented": "certificate.missing",
	"the token is bound to another client certificate":                  "certificate.other",
	"the certificate thumbprint in the token is malformed":              "certificate.thumbprint",
	"the forwarded client certificate is malformed":                     "certificate.malformed",
	"the client certificate is expired or not yet valid":                "certificate.validity",
	"the client certificate is not from a trusted authority":            "certificate.untrusted",
	"the client certificate is revoked":                                 "certificate.revoked",
	"the client certificate is of a kind that is not supported":         "certificate.kind",

	"The client credentials are not accepted": "credentials.refused",
	"The client credentials are malformed":    "credentials.malformed",
}

// errorCodeOf is the error_code of a kind; "" if the answer has no body.
func errorCodeOf(e clientError) string {
	if e.Code() == "" {
		return ""
	}
	return errorCodes[e.Description()]
}

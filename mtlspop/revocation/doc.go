// Package revocation answers "has the CA taken this client certificate back?"
//
// It asks the OCSP responders (RFC 6960) that the certificate names, and if none of them gives a usable answer, the
// certificate revocation lists (RFC 5280) that it names. A [Checker] works for the [mtlspop.Verifier] that validates the
// chain:
//
//	checker, err := revocation.New(revocation.Strict, revocation.WithHosts("pki.example"))
//	if err != nil {
//		log.Fatal(err)
//	}
//	verifier, err := mtlspop.New(mtlspop.WithRoots(roots), mtlspop.WithRevocation(revocation.New()))
//
// # What the modes mean
//
// [Off] asks nobody. [BestEffort], the default, refuses a certificate that is known to be revoked and lets one through
// whose status could not be learned: whoever can cut the service off from the responder can use a revoked certificate.
// [Strict] refuses both. They are Kong's SKIP, IGNORE_CA_ERROR and STRICT.
//
// # What counts as an answer
//
// An OCSP response counts if it is signed by the issuer, or by a responder that the issuer itself certified for OCSP
// signing; if it is about this serial number of this issuer; and if it is current. "Unknown" is not an answer (RFC 6960,
// section 2.2): the lists are asked next.
//
// A list counts if the issuer signed it, it is current, and its scope covers the certificate. Delta lists, indirect lists,
// lists for some reasons only and lists with a critical extension that this package does not know are not used.
//
// Answers, good or revoked, are remembered for [WithCacheTTL] at most and never beyond the time that the answer names
// for the next update. If nobody answers after that, the last answer holds as long as the CA has signed it to, in every
// mode, and the next request asks again; that nobody answered is never remembered. An answer that is older than the
// last one does not replace it. Requests that need the same
// answer at the same time share one fetch, and a host is sent no more than eight at a time.
//
// Every certificate of the chain but the last is checked, intermediates too. The trust anchor is not: it is trusted because
// the operator says so.
//
// # Where it connects to
//
// The addresses come from certificates that already chain to a configured root, so from a CA that the operator trusts for
// something else than naming hosts inside his network. Plain http is allowed, since the answers are signed and most CAs
// offer nothing else. Redirects are not followed, and loopback, link-local (hence the usual cloud metadata address),
// multicast and unspecified addresses are refused after name resolution. Private addresses are allowed, since that is where
// the CAs for client certificates tend to live: a deployment whose CAs are not all its own SHOULD name the hosts in
// [WithHosts].
//
// # What it does not check
//
// The chain itself: it must be verified already. Stapled responses, which exist for servers. Revocation of a delegated
// responder's certificate, and of the TLS certificate of an https responder. A nonce is not sent, so that the network can
// replay an answer until it expires to a process that has seen no later one. OCSP responses signed with RSA-PSS, Ed25519 or SHA-1 are not understood.
package revocation

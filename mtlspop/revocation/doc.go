// Package revocation answers: has the CA taken this client certificate back?
//
// It asks the OCSP responders (RFC 6960) that the certificate names, and if none of them
// gives a usable answer, the certificate revocation lists (RFC 5280) that it names. A
// [Checker] works for the [mtlspop.Verifier] that validates the chain:
//
//	verifier, err := mtlspop.New(
//		mtlspop.WithRoots(roots),
//		mtlspop.WithRevocation(revocation.New(revocation.WithHosts("pki.example"))))
//
// # A status that cannot be learned
//
// A certificate passes only if its status is known and good; one that names neither a
// responder nor a list is refused with [ErrNoSource]. So an outage of the CA can become
// an outage of the service once the last signed answer has expired.
// [DangerouslyPassUnknown] turns this round: what cannot be learned passes, and an
// attacker that cuts the service off from the CA can use a revoked certificate. Kong
// calls the two STRICT and IGNORE_CA_ERROR; its SKIP is a Verifier without a Checker.
//
// # What counts as an answer
//
// An OCSP response counts if it is signed by the issuer, or by a responder that the
// issuer itself certified for OCSP signing; if it is about this serial number of this
// issuer; and if it is current. A list counts if the issuer signed it, it is current, and
// its scope covers the certificate. Delta lists, indirect lists, lists for some reasons
// only and lists with a critical extension that this package does not know are not used.
//
// Everything else is no answer, and the next source is asked. Some of it speaks for this
// certificate alone, and some means that the source is out of order for every
// certificate:
//
//	                                        responder        list
//	signed, current, good or revoked        the answer       the answer
//	signed "unknown" (RFC 6960, 2.2)        not here [1]     -
//	unauthorized, malformedRequest,
//	  sigRequired, other error statuses     not here         -
//	signed and expired, of another CA or
//	  certificate, badly signed             not here         outage [2]
//	a scope without this certificate        -                not here
//	tryLater, internalError                 outage           -
//	4xx but 408 and 429                     not here         outage
//	408, 429, 5xx, 1xx, 2xx but 200, 3xx    outage           outage
//	empty, a web page, {}, cut off, too
//	  large, or with bytes behind it        outage           outage
//	no connection, no answer in time        outage           outage
//
// [1] After that, no good answer from before counts any more. [2] One list serves all
// certificates of its CA.
//
// The content type is not looked at, since the signature decides. Redirects are not
// followed.
//
// # What is remembered
//
// An answer, good or revoked, is used for [WithAnswerLifetime] before the CA is asked
// again. From then on a request still gets the last answer while the refresh goes on
// behind it; it waits for news for at most 50 ms, and not at all if the CA was silent the
// last time. The last answer holds as long as the CA has signed it to, and an older
// answer never replaces a later one. So a revocation is noticed with the first request
// after a refresh, as long as the CA can be asked.
//
// A failure is remembered for 5 s, and for twice as long with each further one of a row,
// up to 30 s; a list that is too large for 30 s at once. What is not here is remembered
// for the certificate, an outage for the source, so that one client's certificate does
// not take the responder from all others. Requests that need the same answer at the same
// time share one fetch, and a host is sent no more than eight at a time. Only a request
// about a certificate of which nothing signed is held waits for the CA.
//
// Every certificate of the chain but the last is checked, intermediates too. The trust
// anchor is not: it is trusted because the operator says so.
//
// # Where it connects to
//
// The addresses come from certificates that already chain to a configured root, that is,
// from a CA trusted to identify clients, not to name internal hosts. Plain http is
// allowed, since the answers are signed and most CAs offer nothing else. Loopback,
// link-local, multicast and unspecified addresses and those of cloud metadata services
// are refused after name resolution, on every path that does not lead through a proxy of
// [WithProxy]. Private addresses are allowed, since that is where the CAs for client
// certificates tend to live: a deployment whose CAs are not all its own SHOULD name the
// hosts in [WithHosts].
//
// # What it does not check
//
// The chain itself: it must be verified already. Stapled responses, which exist for
// servers. Revocation of a delegated responder's certificate, and of the TLS certificate
// of an https responder. A nonce is not sent, so that the network can replay an answer
// until it expires to a process that has seen no later one. OCSP responses signed with
// RSA-PSS, Ed25519 or SHA-1 are not understood. OCSP names issuers by SHA-1, so under
// GODEBUG=fips140=only New refuses to start without [AskListsOnly].
package revocation

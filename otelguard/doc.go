// Package otelguard answers: what does a guard do, in the words of OpenTelemetry?
//
//	telemetry, err := otelguard.New()
//	if err != nil {
//		return err
//	}
//	guard, err := middleware.New(
//		middleware.WithTokens(oidc.New("https://issuer.example", "https://api.example")),
//		middleware.WithDPoP(dpop.New("https://api.example")),
//		middleware.WithObserver(telemetry.Observe),
//	)
//	if err != nil {
//		return err
//	}
//	telemetry.Watch(guard)
//
// It uses only the API of OpenTelemetry, and by default its global providers, which an
// application sets up with the SDK or an agent.
//
// # Traces
//
// The span that is current when the guard decides, such as the one of otelhttp outside of
// the guard, gets these attributes:
//
//	keybound.guard, keybound.verdict, keybound.scheme, keybound.binding
//	keybound.reason        of a refusal, as docs/errors.md lists them
//	keybound.would_deny    of a rule that is staged in report
//	keybound.client_id     with RecordClientID
//	keybound.subject       with RecordSubject
//
// verdict, scheme and binding have the values that package promguard explains. Where an
// outer guard has passed a request, an inner one that passes it too adds nothing.
//
// What a request waited for is a child span each: "keybound metadata", "keybound keys",
// "keybound introspection", "keybound token_endpoint", "keybound replay_cache" (unless
// that is the memory of this process), "keybound revocation", "keybound resolve". They
// are made after the decision, with the times of the calls. Most requests wait for none.
// Without a current span that records, none are made.
//
// # Metrics
//
// All have the attribute keybound.guard; see [WithGuardName].
//
//	keybound.decision.duration               in s, by keybound.verdict, .scheme, .binding and .reason;
//	                                         its count is that of decisions
//	keybound.decision.part.duration          in s, by keybound.part: token, binding
//	keybound.would_deny                      by keybound.reason
//	keybound.call.duration                   in s, by keybound.part and keybound.failed
//	keybound.issuers                         that the guards know
//	keybound.issuer.document.age             in s, by keybound.issuer and .document
//	keybound.issuer.document.last_success    Unix time in s, by the same
//	keybound.issuer.document.failing         1 if the last attempt failed
//	keybound.issuer.document.stale           1 if it is too old to be used
//	keybound.issuer.keys                     by keybound.issuer
//	keybound.memory.entries                  by keybound.memory: tokens, introspection, proofs
//	keybound.memory.capacity                 by the same
//
// # Cardinality
//
// No attribute of a metric holds a value that clients can invent: no host, path, address,
// subject, client or token. Issuers are those that the guard is configured for, at most
// 20.
package otelguard

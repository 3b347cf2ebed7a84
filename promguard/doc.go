// Package promguard answers: what does a guard do, in the words of Prometheus?
//
//	metrics, err := promguard.New()
//	if err != nil {
//		return err
//	}
//	guard, err := middleware.New(
//		middleware.WithTokens(oidc.New("https://issuer.example", "https://api.example")),
//		middleware.WithDPoP(dpop.New("https://api.example")),
//		middleware.WithObserver(metrics.Observe),
//	)
//	if err != nil {
//		return err
//	}
//	prometheus.MustRegister(metrics.Watch(guard))
//
// # Metrics
//
// All have the label guard, which tells the guards of one process apart; see
// [WithGuardName].
//
//	keybound_decisions_total{verdict, scheme, binding}
//	keybound_refusals_total{reason}
//	keybound_would_deny_total{reason}             by rules that are staged in report
//	keybound_decision_duration_seconds{part}      total, token, binding
//	keybound_call_duration_seconds{part}          what requests waited for: keys, introspection ...
//	keybound_call_failures_total{part}            of those, the ones without an answer
//	keybound_issuers                              that the guard knows
//	keybound_issuer_document_age_seconds{issuer, document}
//	keybound_issuer_document_last_success_timestamp_seconds{issuer, document}
//	keybound_issuer_document_failing{issuer, document}   1 if the last attempt failed
//	keybound_issuer_document_stale{issuer, document}     1 if it is too old to be used
//	keybound_issuer_keys{issuer}
//	keybound_memory_entries{memory}               tokens, introspection, proofs
//	keybound_memory_capacity_entries{memory}
//	keybound_client_decisions_total{client_id, verdict, scheme}   with WithClientIDs only
//
// verdict is passed, anonymous, refused, unavailable (503) or nested: a request that an
// outer guard had passed already, and this one too. So a request counts once outside of
// nested, unless an inner guard refuses what the outer one let pass: that is one passed
// and one refused. binding is what the token is bound to: none, key, certificate,
// key+certificate; key_unproven for a token that passed by
// [middleware.DangerouslyAcceptAsBearer]; unknown where the token was not verified.
//
// # Cardinality
//
// No label holds a value that clients can invent: no host, path, address, subject or
// token. Reasons are those of docs/errors.md. Issuers are those that the guard is
// configured for, 20 at the most. A guard with one issuer has at most 200 series.
//
// # What it does not do
//
// It serves nothing: use promhttp, on an address that clients cannot reach. Copy
// alerts.yml and dashboard.json from the folder of the package.
package promguard

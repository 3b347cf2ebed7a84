// Package extauthz answers: may the request that Envoy asks about pass, and who sent it?
//
// It runs a Guard as the external authorization service of Envoy (ext_authz, v3, over
// gRPC), and of products built on Envoy, such as Istio, Contour and Envoy Gateway:
//
//	guard, err := middleware.New(...)
//	...
//	server, err := extauthz.New(guard, extauthz.WithEnvoy(netip.MustParsePrefix("10.1.2.3/32")))
//	...
//	rpc := grpc.NewServer()
//	authv3.RegisterAuthorizationServer(rpc, server)
//
// The configuration of Envoy is interop/terminators/envoy.yaml, and what each line of it
// is for stands in docs/terminators.md.
//
// # What is judged
//
// The Guard judges the request that the client has sent to Envoy: method, path, host and
// header fields of the CheckRequest, which counts only from a peer that [WithEnvoy] or
// [TrustUnixSocket] trusts. The path is the one that Envoy has normalized. Envoy's routes
// see the same path, and so does the service unless a route rewrites it. Let Envoy send
// the header fields in header_map (encode_raw_headers): in the map headers it has merged
// several fields of one name.
//
// The certificate of the client's connection comes in source.certificate
// (include_peer_certificate). The Guard finds it in the field [CertificateField]:
//
//	middleware.WithMTLS(mtlspop.New(mtlspop.WithForwardedCertificate(extauthz.CertificateField, mtlspop.PEM, envoy)))
//
// A field of that name from the client is removed. If another Envoy ends TLS in front of
// the one that asks, configure the Guard for its X-Forwarded-Client-Cert instead.
//
// # What the service is told
//
// The answer to a request that may pass replaces the fields that package forwardauth
// describes: X-Auth-Outcome, X-Auth-Issuer, X-Auth-Subject, X-Auth-Client, X-Auth-Scope,
// X-Auth-Binding and X-Auth-Assertion. Each of them has one value, which can be empty.
// The Authorization, DPoP and certificate fields and the session's cookie are changed or
// removed as the Guard's options say. A forwardauth.Receiver reads the assertion.
//
// A request that may not pass gets the status, the challenges, the nonce and the body of
// the Guard. If the Guard cannot decide, the answer is a denial with 503, which Envoy
// enforces even under failure_mode_allow.
//
// # What it does not do
//
// It does not see requests that Envoy does not ask about: on routes where the filter is
// disabled, in shadow_mode, and under failure_mode_allow when this server is down. In all
// these cases the service receives X-Auth fields that the client has forged, unless
// another filter removes them first.
//
// It does not read bodies, and does not end responses that outlive their token.
package extauthz

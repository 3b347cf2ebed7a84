// Package grpcguard answers: may this gRPC call reach its handler? And, for clients, how
// does a call prove the key that its token is bound to?
//
//	guard, err := middleware.New(
//		middleware.WithTokens(oidc.New("https://issuer.example", "https://api.example")),
//		middleware.WithDPoP(dpop.New("https://api.example")),
//	)
//	...
//	calls, err := grpcguard.New(guard,
//		grpcguard.Require(pb.Orders_Delete_FullMethodName, middleware.Scopes("orders:write")),
//		grpcguard.Exempt(healthpb.Health_Check_FullMethodName))
//	...
//	server := grpc.NewServer(append(calls.ServerOptions(), grpc.Creds(tlsCredentials))...)
//	pb.RegisterOrdersServer(server, orders)
//	err = calls.CheckMethods(server) // no name above is misspelt
//
// A handler finds the Credential with [middleware.FromContext].
//
// # What is judged
//
// Each call is a POST of its full method, as it is on the wire: htm is "POST", htu is an
// origin of [dpop.New] and the full method, as in
// "https://api.example/pkg.Orders/Delete". The origin comes from the configuration;
// :authority only has to be one that the configuration names. Metadata is read as fields
// of HTTP, except for pseudo-headers and for values of bytes (-bin). The certificate is
// that of the connection ([credentials.TLSInfo]), or one that a trusted peer forwards.
// The page docs/grpc.md has the whole profile.
//
// # What the client is told
//
//	UNAUTHENTICATED      401: no token, or none that is good, or a bad proof
//	PERMISSION_DENIED    403: the token is good, and not enough
//	INVALID_ARGUMENT     400, 431: malformed or doubled credentials
//	UNAVAILABLE          503: no decision is possible now; 425: early data
//	FAILED_PRECONDITION  every other refusal
//
// The message is the fixed description. The challenge (www-authenticate) and the nonce
// (dpop-nonce) are both in the headers and in the trailers. An ErrorInfo among the
// details has the error code of the RFC; the reason is for the operator alone.
//
// # Streams
//
// A stream is judged once, when it begins. Under [middleware.EndResponsesWithToken] it
// ends with the token: the context of the handler is done, no message passes any more in
// either direction, and the client gets UNAUTHENTICATED.
//
// # What it does not do
//
// Interceptors run after package grpc has read, decompressed and decoded the message of a
// unary call. [grpc.MaxRecvMsgSize] and [grpc.MaxConcurrentStreams] bound how much of
// that work clients without a token can cause. (A [grpc.InTapHandle] runs before, but
// holds up the whole connection, so nothing that may ask an issuer or a store can run
// there.)
//
// Package grpc bypasses interceptors for a service that was registered by hand with a
// method handler that ignores its interceptor, or with a [grpc.StreamDesc] that streams
// in neither direction. Generated code has neither; AllGuarded of package grpcguardtest
// finds both.
package grpcguard

// Package connectguard answers: how is a refusal told to a client of Connect, gRPC-Web or
// gRPC?
//
// A Guard stands around the handlers of connect-go as around every handler of net/http.
// It refuses a request with an HTTP response; [Deny] writes the refusal in the protocol
// of the call:
//
//	guard, err := middleware.New(
//		middleware.WithTokens(oidc.New("https://issuer.example", "https://api.example")),
//		middleware.WithDPoP(dpop.New("https://api.example")),
//		middleware.WithDenyHandler(connectguard.Deny),
//	)
//	...
//	path, handler := ordersconnect.NewOrdersHandler(orders)
//	mux.Handle(path, guard.Wrap(handler))
//
// A handler finds the Credential with [middleware.FromContext]. Rules for one procedure
// stand around its path: mux.Handle(ordersconnect.OrdersDeleteProcedure,
// guard.Require(middleware.Scopes("orders:write")).Wrap(handler)).
//
// Clients of connect-go sign with dpopclient.Transport as the Transport of their
// http.Client. A Connect call that is sent by GET has a proof for GET.
package connectguard

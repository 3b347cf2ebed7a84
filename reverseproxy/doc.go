// Package reverseproxy answers: how does [httputil.ReverseProxy] pass on what a
// guard has let pass, and only that?
//
//	target, err := url.Parse("http://127.0.0.1:8080")
//	...
//	proxy, err := reverseproxy.New(target, reverseproxy.WithIdentityHeaders("X-User"))
//	...
//	http.ListenAndServeTLS(":443", cert, key, guard.Wrap(proxy))
//
// A proxy judges a request and forwards one. Everything by which the two can
// differ is a way around the guard, and httputil.ReverseProxy alone leaves some of
// them open. With this package:
//
//   - Upgrade is forwarded only for WebSocket (RFC 6455): one field, exactly
//     "websocket", on a GET over HTTP/1.1 without a body. After any other switch of
//     protocols, such as to h2c, the client would send requests to the service that
//     no guard has seen. A request that asks for one is forwarded without the field,
//     which RFC 9110, section 7.8, allows. CONNECT and PRI are answered with 501.
//   - The query is forwarded as it came. ReverseProxy alone drops parameters with a
//     semicolon or a bad escape. A query that cannot stand in a request line is 400.
//   - The path is forwarded as it was judged. One that net/url would re-encode into
//     another path, "/a%2Fb|c" into "/a/b%7Cc", is 400.
//   - Fields whose names have other characters than letters, digits and hyphens are
//     dropped, since many services read X_User, X.User and X-User alike. So are
//     the client's copies of [WithIdentityHeaders], and what only proxies write:
//     X-Forwarded-*, Forwarded, X-Real-Ip, X-Original-Url, X-Rewrite-Url,
//     Client-Cert, Client-Cert-Chain.
//   - The client cannot remove Authorization by naming it in Connection.
//   - What a service says of DPoP, in DPoP-Nonce or in a challenge, is dropped: its
//     client is the proxy, and the client of the proxy would take it for the guard's.
//   - A client that goes away is not logged as a failure of the service.
//   - A service that answers as soon as it has the body of an HTTP/1.1 request is
//     not cut off; ReverseProxy alone reads that body once more, which fails then.
//
// Expect, 1xx responses, trailers of responses, streaming and WebSocket work as
// with ReverseProxy alone. What a Guard has set in the response is there also
// after a 1xx response: that is the work of Guard.Wrap.
//
// This package does not guard anything: put [Harden] or [New] inside of Guard.Wrap,
// on every route that needs it. A WebSocket is judged once, when it is opened. What
// path a service makes of dots, escaped slashes and empty segments is for the
// router in front to decide.
package reverseproxy

// Package session answers "which access token does this request's cookie stand
// for?" for browser applications that present a token once and let a cookie
// stand for it afterwards.
//
//	sessions, err := session.New(key) // 32 random bytes, the same on every replica
//	if err != nil {
//		log.Fatal(err)
//	}
//	guard, err := middleware.New(
//		middleware.WithTokens(oidc.New(issuer, audience)),
//		middleware.WithDPoP(dpop.New(origin)),
//		middleware.WithSession(sessions, nil),
//	)
//
// The cookie holds the token itself, encrypted and authenticated with
// AES-256-GCM, so that there is nothing to store and nothing to share between
// replicas but the key. It is HttpOnly, Secure, SameSite=Lax, and has the prefix
// __Host- (RFC 6265bis, section 4.1.3), unless options say otherwise.
//
// A session ends when it has not been used for the idle timeout, at the end of
// its lifetime, and at the latest with its token: the cookie is a way to carry
// the token, never a proof that it is good.
//
// # Requests of other sites
//
// A browser sends cookies with requests that another site's page has made it send. So
// [Sessions.Read] refuses requests with an unsafe method, and those that would upgrade
// the connection (WebSockets), if they come from another origin.
// [http.CrossOriginProtection] tells them apart; beyond it, a page that came over plain
// HTTP is another origin's. Handlers must not act on GET, HEAD and OPTIONS.
//
// # What it does not check
//
// Whether the token is good, what it is bound to, and whether the request proves
// that. The guard does so, for a token from a cookie exactly as for one from the
// Authorization field. Nothing is stored on the server: a copy of a cookie stays good
// after [Sessions.End] for as long as its session would. Such a copy is useless for a
// bound token, which needs its proof with each request.
package session

package dpopclient

import "context"

// TokenSource supplies the access token for a request to a resource server.
type TokenSource interface {
	// Token returns a valid access token and its token_type as the authorization
	// server gave it. The type must be DPoP, in any case; the Transport refuses
	// every other, the empty one included, with [ErrTokenType].
	//
	// Token is called once for each request, by many goroutines at once; it should
	// cache, and must honour ctx, which is the request's.
	Token(ctx context.Context) (accessToken, tokenType string, err error)
}

// TokenSourceFunc makes a [TokenSource] of a function with the same contract.
type TokenSourceFunc func(ctx context.Context) (accessToken, tokenType string, err error)

// Token calls f.
func (f TokenSourceFunc) Token(ctx context.Context) (accessToken, tokenType string, err error) {
	return f(ctx)
}

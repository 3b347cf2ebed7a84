// Package leaks answers "does Close end everything that a part has started?" It holds
// guards, their parts and the stores against goleak while the issuer is down, slow or
// gone in the middle of an answer, and while requests are under way.
//
// It is here so that the middleware's module graph has no goleak.
package leaks

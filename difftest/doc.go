// Package difftest answers "do other parsers see what ours see?" Each target gives one
// input to our parser and to those of others, and fails unless they read the same, or
// both refuse it, or the disagreement is one of a table:
//
//	compact JWS, signed JWS       go-jose, golang-jwt, jwx v3
//	JWK, JWK sets, thumbprints    go-jose, jwx v3
//	claim sets                    go-jose, golang-jwt, jwx v3
//	DPoP proofs                   go-jose with golang-jwt; jwx v3 with encoding/json/v2
//	the forms of tokens           go-jose, golang-jwt, jwx v3
//	forwarded certificates        httpsfv (RFC 9440); net/url, encoding/pem, crypto/x509
//	introspection answers, JSON   encoding/json/v2 (as go-json-experiment has it for the
//	                              older of the supported releases of Go)
//
// A row of a table names a class of inputs, the parsers that disagree with ours on it,
// who is right by which section of an RFC, and why. A test demands that the example of
// each row makes exactly that difference with each parser that it names. A row in which
// the others are right fails: then our parser is to be changed.
//
// It is a module of its own so that programs which import the middleware do not
// get these parsers into their module graph. Its path is below the middleware's, so it
// may import internal packages.
package difftest

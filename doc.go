// Package middleware answers "may this request reach its handler?" for HTTP
// services whose access tokens are sender-constrained.
package middleware

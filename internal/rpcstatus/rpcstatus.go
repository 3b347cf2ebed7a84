// Package rpcstatus answers: which gRPC status does a client get for a Denial?
//
// The doors for gRPC and for Connect share this mapping: their codes are the same
// numbers.
package rpcstatus

import (
	"net/http"
	"strings"

	"github.com/keybound-go/middleware"
)

// Domain is the domain of the ErrorInfo in a refusal.
const Domain = "oauth"

// Codes of gRPC.
const (
	InvalidArgument    = 3
	PermissionDenied   = 7
	FailedPrecondition = 9
	Unavailable        = 14
	Unauthenticated    = 16
)

// Status is what a client of an RPC protocol is told.
type Status struct {
	Code    uint32
	Message string // never empty
	Reason  string // of an ErrorInfo: the error code of the RFC in upper case, or ""
}

// Of returns the Status for d.
func Of(d middleware.Denial) Status {
	s := Status{Code: codeOf(d.Status), Message: d.Description, Reason: strings.ToUpper(d.Code)}
	if s.Message == "" {
		s.Message = Text(s.Code)
	}
	return s
}

func codeOf(httpStatus int) uint32 {
	switch {
	case httpStatus == http.StatusUnauthorized:
		return Unauthenticated
	case httpStatus == http.StatusForbidden:
		return PermissionDenied
	case httpStatus == http.StatusBadRequest, httpStatus == http.StatusRequestHeaderFieldsTooLarge:
		return InvalidArgument
	case httpStatus == http.StatusTooEarly, httpStatus >= 500:
		return Unavailable
	}
	return FailedPrecondition
}

// Text is the message for a code where there is no description.
func Text(code uint32) string {
	switch code {
	case Unauthenticated:
		return "authentication required"
	case PermissionDenied:
		return "permission denied"
	case InvalidArgument:
		return "invalid request"
	case Unavailable:
		return "try again later"
	}
	return "request refused"
}

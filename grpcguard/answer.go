package grpcguard

import (
	"context"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/protoadapt"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/keybound-go/middleware"
	"github.com/keybound-go/middleware/internal/rpcstatus"
)

// Domain is the domain of the ErrorInfo in a refusal: its reason is the error code of
// the RFC in upper case, INVALID_TOKEN, and its metadata has that code as it is, under
// "error".
const Domain = rpcstatus.Domain

// errNoDecision refuses calls that the Guard cannot judge.
var errNoDecision = status.Error(codes.Unavailable, rpcstatus.Text(rpcstatus.Unavailable))

// errEnded ends a stream whose token has expired, or whose session is over.
var errEnded = withDetails(codes.Unauthenticated, "the access token has expired", errorInfo("invalid_token"))

// refusal is the status that the client gets.
func refusal(v middleware.Verdict) error {
	s := rpcstatus.Of(v.Denial)
	var details []protoadapt.MessageV1
	if v.Denial.Code != "" {
		details = append(details, errorInfo(v.Denial.Code))
	}
	if after, err := strconv.Atoi(v.Header.Get("Retry-After")); err == nil && after > 0 {
		details = append(details, &errdetails.RetryInfo{RetryDelay: durationpb.New(time.Duration(after) * time.Second)})
	}
	return withDetails(codes.Code(s.Code), s.Message, details...)
}

func errorInfo(code string) *errdetails.ErrorInfo {
	return &errdetails.ErrorInfo{Reason: strings.ToUpper(code), Domain: Domain, Metadata: map[string]string{"error": code}}
}

func withDetails(code codes.Code, text string, details ...protoadapt.MessageV1) error {
	st := status.New(code, text)
	if full, err := st.WithDetails(details...); err == nil {
		st = full
	}
	return st.Err()
}

// metadataOf returns h as metadata. gRPC has no place for the body of a refusal.
func metadataOf(h http.Header) metadata.MD {
	if len(h) == 0 {
		return nil
	}
	md := make(metadata.MD, len(h))
	for name, values := range h {
		if name != "Content-Type" && name != "Content-Length" {
			md[strings.ToLower(name)] = values
		}
	}
	return md
}

// repeated is the part of the answer that is sent in the trailer as well: of a failed
// call, several clients show only the trailer.
func repeated(ctx context.Context, answer metadata.MD) metadata.MD {
	md := make(metadata.MD, 2)
	if nonce := answer["dpop-nonce"]; len(nonce) > 0 {
		md["dpop-nonce"] = nonce
	}
	// A net/http server (grpc.Server.ServeHTTP) sends no such trailer and logs a line
	// for each (RFC 9110, section 6.5.1).
	if challenges := answer["www-authenticate"]; len(challenges) > 0 && ctx.Value(http.ServerContextKey) == nil {
		md["www-authenticate"] = challenges
	}
	return md
}

type answerKey struct{}

// withAnswer returns a context that says what this Server has put into the header.
func withAnswer(ctx context.Context, answer metadata.MD) context.Context {
	if len(answer) == 0 {
		return ctx
	}
	before, _ := ctx.Value(answerKey{}).(metadata.MD)
	return context.WithValue(ctx, answerKey{}, metadata.Join(before, answer))
}

// beside returns answer without what a Server before this one has put into the header:
// package grpc adds values and replaces none, and a client gets one nonce at the most
// (RFC 9449, section 8).
func beside(ctx context.Context, answer metadata.MD) metadata.MD {
	before, _ := ctx.Value(answerKey{}).(metadata.MD)
	if before == nil {
		return answer
	}
	md := make(metadata.MD, len(answer))
	for key, values := range answer {
		if said := before[key]; len(said) == 0 || key != "dpop-nonce" && !slices.Equal(said, values) {
			md[key] = values
		}
	}
	return md
}

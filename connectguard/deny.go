package connectguard

import (
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"strings"

	"connectrpc.com/connect"
	"google.golang.org/genproto/googleapis/rpc/errdetails"

	"github.com/keybound-go/middleware"
	"github.com/keybound-go/middleware/internal/rpcstatus"
)

var writer = connect.NewErrorWriter()

// The protocols of calls, by their media types.
const (
	grpcWebText   = "application/grpc-web-text"
	grpcWeb       = "application/grpc-web"
	connectStream = "application/connect+"
)

// Deny is for [middleware.WithDenyHandler]. It writes a refusal in the protocol of the
// call, which it reads from the Content-Type: for gRPC, gRPC-Web and streams of Connect
// the HTTP status is 200, and the code is where their clients look for it. It knows
// Connect calls by GET from their query. Every other request gets the status and the JSON
// that a Guard answers by itself.
//
// The code is that of package grpcguard, the message is the fixed description, and an
// ErrorInfo among the details has the error code of the RFC. Challenge and nonce are HTTP
// header fields in every protocol; for gRPC these are its headers. They are also in the
// metadata at the end of a Connect stream, since some clients look only there.
func Deny(w http.ResponseWriter, r *http.Request, d middleware.Denial) {
	mediaType := strings.ToLower(r.Header.Get("Content-Type"))
	if r.Method == http.MethodPost && strings.HasPrefix(mediaType, grpcWebText) {
		r, mediaType = asBinary(r), grpcWeb // nothing in the answer is text: it has no body
	}
	if !writer.IsSupported(r) || r.Method == http.MethodGet && !isCall(r) {
		plain(w, r, d)
		return
	}
	s := rpcstatus.Of(d)
	err := connect.NewError(connect.Code(s.Code), errors.New(s.Message))
	if d.Code != "" {
		if detail, failed := connect.NewErrorDetail(&errdetails.ErrorInfo{Reason: s.Reason, Domain: rpcstatus.Domain, Metadata: map[string]string{"error": d.Code}}); failed == nil {
			err.AddDetail(detail)
		}
	}
	if strings.HasPrefix(mediaType, connectStream) {
		copyField(err.Meta(), w.Header(), "Www-Authenticate")
		copyField(err.Meta(), w.Header(), "Dpop-Nonce")
	}
	_ = writer.Write(w, r, err) // The client may be gone.
}

// isCall reports whether a GET is a call of Connect. The version in the query is
// optional.
func isCall(r *http.Request) bool {
	query := r.URL.Query()
	return query.Has("connect") || query.Has("encoding") && query.Has("message")
}

// asBinary returns r as a call of binary gRPC-Web, without base64.
func asBinary(r *http.Request) *http.Request {
	binary := *r
	binary.Header = maps.Clone(r.Header)
	binary.Header["Content-Type"] = []string{grpcWeb}
	return &binary
}

func copyField(to, from http.Header, name string) {
	if values := from[name]; len(values) > 0 {
		to[name] = values
	}
}

// plain answers a request that is no call.
func plain(w http.ResponseWriter, r *http.Request, d middleware.Denial) {
	if d.Code == "" {
		w.WriteHeader(d.Status)
		return
	}
	body, _ := json.Marshal(struct { // two strings marshal
		Error       string `json:"error"`
		Description string `json:"error_description,omitempty"`
	}{d.Code, d.Description})
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(d.Status)
	if r.Method != http.MethodHead {
		_, _ = w.Write(body)
	}
}

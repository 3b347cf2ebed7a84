package extauthz
import (
 _ "github.com/keybound-go/middleware"
 _ "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
 _ "google.golang.org/grpc"
)

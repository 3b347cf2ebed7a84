package extauthz
import (
 _ "github.com/stretchr/testify/require"
 _ "github.com/envoyproxy/go-control-plane/envoy/config/bootstrap/v3"
 _ "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/ext_authz/v3"
)

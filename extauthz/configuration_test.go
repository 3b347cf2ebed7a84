package extauthz_test

import (
	"encoding/json"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	bootstrapv3 "github.com/envoyproxy/go-control-plane/envoy/config/bootstrap/v3"
	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	extauthzv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/ext_authz/v3"
	mutationv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/header_mutation/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/router/v3" // named by the file
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	upstreamv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/upstreams/http/v3"
	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/types/known/anypb"
)

const file = "../interop/terminators/envoy.yaml"

// unpack returns the message in a, which must keep its own rules.
func unpack[M interface {
	ValidateAll() error
}](t *testing.T, a *anypb.Any) M {
	t.Helper()
	m, err := a.UnmarshalNew()
	require.NoError(t, err)
	require.NoError(t, m.(M).ValidateAll())
	return m.(M)
}

// bootstrap reads the file as Envoy does: a field that Envoy does not have is an error.
func bootstrap(t *testing.T, text []byte) (*bootstrapv3.Bootstrap, error) {
	t.Helper()
	var tree any
	require.NoError(t, yaml.Unmarshal(text, &tree))
	asJSON, err := json.Marshal(tree)
	require.NoError(t, err)
	b := new(bootstrapv3.Bootstrap)
	return b, protojson.Unmarshal(asJSON, b)
}

func TestTheConfigurationHasFieldsThatEnvoyHas(t *testing.T) {
	text, err := os.ReadFile(file)
	require.NoError(t, err)
	b, err := bootstrap(t, text)
	require.NoError(t, err)
	require.NoError(t, b.ValidateAll())

	listeners := b.GetStaticResources().GetListeners()
	require.Len(t, listeners, 1)
	require.Len(t, listeners[0].GetFilterChains(), 1)
	chain := listeners[0].GetFilterChains()[0]
	tls := unpack[*tlsv3.DownstreamTlsContext](t, chain.GetTransportSocket().GetTypedConfig())
	require.Equal(t, tlsv3.CertificateValidationContext_ACCEPT_UNTRUSTED, tls.GetCommonTlsContext().GetValidationContext().GetTrustChainVerification())
	hcm := unpack[*hcmv3.HttpConnectionManager](t, chain.GetFilters()[0].GetTypedConfig())
	require.Equal(t, hcmv3.HttpConnectionManager_SANITIZE, hcm.GetForwardClientCertDetails())
	require.Empty(t, hcm.GetUpgradeConfigs(), "no change of protocols")

	var names []string
	for _, f := range hcm.GetHttpFilters() {
		names = append(names, f.GetName())
	}
	require.Equal(t, []string{"envoy.filters.http.header_mutation", "envoy.filters.http.ext_authz", "envoy.filters.http.router"}, names)
	var removed []string
	for _, m := range unpack[*mutationv3.HeaderMutation](t, hcm.GetHttpFilters()[0].GetTypedConfig()).GetMutations().GetRequestMutations() {
		removed = append(removed, m.GetRemove())
	}
	want := strings.ToLower(strings.Join(told, " "))
	require.ElementsMatch(t, strings.Fields(want), removed)

	authz := unpack[*extauthzv3.ExtAuthz](t, hcm.GetHttpFilters()[1].GetTypedConfig())
	require.False(t, authz.GetFailureModeAllow())
	require.False(t, authz.GetShadowMode())
	require.False(t, authz.GetClearRouteCache())
	require.True(t, authz.GetEncodeRawHeaders())
	require.True(t, authz.GetIncludePeerCertificate())
	require.Nil(t, authz.GetWithRequestBody(), "bodies larger than a message of gRPC would fail")
	require.Nil(t, authz.GetAllowedHeaders(), "the guard must see what the service sees")
	require.Nil(t, authz.GetGrpcService().GetRetryPolicy(), "a second question would be a replay")
	clusters := b.GetStaticResources().GetClusters()
	i := slices.IndexFunc(clusters, func(c *clusterv3.Cluster) bool { return c.GetName() == "guard" })
	require.GreaterOrEqual(t, i, 0)
	for name, a := range clusters[i].GetTypedExtensionProtocolOptions() {
		require.Equal(t, "envoy.extensions.upstreams.http.v3.HttpProtocolOptions", name)
		require.NotNil(t, unpack[*upstreamv3.HttpProtocolOptions](t, a).GetExplicitHttpConfig().GetHttp2ProtocolOptions())
	}

	// The reading finds what is wrong.
	_, err = bootstrap(t, []byte(strings.Replace(string(text), "encode_raw_headers", "encode_raw_header", 1)))
	require.ErrorContains(t, err, "encode_raw_header")
}

func TestThePageQuotesTheConfiguration(t *testing.T) {
	page, err := os.ReadFile("../docs/terminators.md")
	require.NoError(t, err)
	text, err := os.ReadFile(file)
	require.NoError(t, err)
	quoted := regexp.MustCompile("(?s)```yaml\n# envoy.yaml\n(.*?)```").FindSubmatch(page)
	require.NotNil(t, quoted)
	for line := range strings.Lines(string(quoted[1])) {
		require.Contains(t, string(text), strings.TrimSpace(line))
	}
}

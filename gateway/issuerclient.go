package main

import (
	"crypto/tls"
	"net/http"
	"strings"
	"time"

	"github.com/keybound-go/middleware/gateway/kongfile"
)

// issuerClient is the HTTP client for one plugin's issuer, and what keeps what that
// publishes, for operators. Where the client proves itself by its certificate, the
// library adds that to the transport, and nothing can stand in between.
func (d *deployment) issuerClient(p *kongfile.OpenIDConnect) (*http.Client, *published) {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: d.issuerRoots}
	transport.HTTP2 = &http.HTTP2Config{SendPingTimeout: pingAfter, PingTimeout: pingAfter}
	client := &http.Client{Transport: transport, Timeout: 10 * time.Second}
	if p.Timeout > 0 {
		client.Timeout = p.Timeout
	}
	keep := &published{RoundTripper: transport}
	if isWatched(p) {
		client.Transport = keep
	}
	return client, keep
}

// isWatched reports whether what the issuer of a plugin publishes is kept.
func isWatched(p *kongfile.OpenIDConnect) bool {
	return !strings.HasSuffix(p.Client.Auth, "tls_client_auth") && !strings.HasSuffix(p.Introspect.Auth, "tls_client_auth")
}

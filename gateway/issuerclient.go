package main

import (
	"crypto/tls"
	"net/http"
	"time"

	"github.com/keybound-go/middleware/gateway/kongfile"
)

// issuerClient is the HTTP client for one plugin's issuer.
func (d *deployment) issuerClient(p *kongfile.OpenIDConnect) *http.Client {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: d.issuerRoots}
	transport.HTTP2 = &http.HTTP2Config{SendPingTimeout: pingAfter, PingTimeout: pingAfter}
	client := &http.Client{Transport: transport, Timeout: 10 * time.Second}
	if p.Timeout > 0 {
		client.Timeout = p.Timeout
	}
	return client
}

package main

import (
	"crypto/tls"
	"net/http"
	"time"
)

// issuerClient is the HTTP client for one plugin's issuer.
func (d *deployment) issuerClient(p *openIDConnect) *http.Client {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: d.issuerRoots}
	client := &http.Client{Transport: transport, Timeout: 10 * time.Second}
	if p.timeout > 0 {
		client.Timeout = p.timeout
	}
	return client
}

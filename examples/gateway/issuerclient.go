package main

import (
	"crypto/tls"
	"net/http"
	"strings"
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

// isBasic reports whether a field is for the scheme Basic.
func isBasic(authorization string) bool {
	scheme, _, _ := strings.Cut(authorization, " ")
	return strings.EqualFold(scheme, "Basic")
}

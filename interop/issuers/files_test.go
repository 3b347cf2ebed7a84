package issuers_test

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/keybound-go/middleware/mtlspop/mtlspoptest"
)

// files are the certificates of one test run, as other programs read them.
type files struct {
	dir                      string
	authority                string
	serverCert, serverKey    string
	machineCert, machineKey  string // a client
	server, machine, another *mtlspoptest.Client
	ca                       *mtlspoptest.CA
}

func newFiles(t *testing.T) *files {
	ca := mtlspoptest.NewCA(t, "Interop Root")
	f := &files{dir: t.TempDir(), ca: ca, machine: ca.Issue("machine"), another: ca.Issue("another")}
	f.server = ca.Issue("server", func(c *x509.Certificate) {
		c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
		c.DNSNames, c.IPAddresses = []string{"localhost"}, []net.IP{net.IPv4(127, 0, 0, 1)}
	})
	f.authority = f.write(t, "authority.pem", "CERTIFICATE", ca.Certificate.Raw)
	f.serverCert, f.serverKey = f.pair(t, "server", f.server)
	f.machineCert, f.machineKey = f.pair(t, "machine", f.machine)
	return f
}

func (f *files) pair(t *testing.T, name string, c *mtlspoptest.Client) (cert, key string) {
	der, err := x509.MarshalPKCS8PrivateKey(c.Key)
	require.NoError(t, err)
	return f.write(t, name+".pem", "CERTIFICATE", c.Certificate.Raw), f.write(t, name+".key", "PRIVATE KEY", der)
}

func (f *files) write(t *testing.T, name, kind string, der []byte) string {
	path := filepath.Join(f.dir, name)
	require.NoError(t, os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600))
	return path
}

func certificate(c *mtlspoptest.Client) *tls.Certificate {
	if c == nil {
		return &tls.Certificate{}
	}
	return &tls.Certificate{Certificate: [][]byte{c.Certificate.Raw}, PrivateKey: c.Key}
}

// config is the TLS side of a client with the given certificate, or with none.
func (f *files) config(own *mtlspoptest.Client) *tls.Config {
	return &tls.Config{
		RootCAs: f.ca.Pool(),
		// Unlike Certificates, this sends the certificate whatever CAs the server names.
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return certificate(own), nil },
	}
}

// client is an http.Client with the given certificate, or with none.
func (f *files) client(own *mtlspoptest.Client) *http.Client {
	return &http.Client{Transport: &http.Transport{TLSClientConfig: f.config(own), ForceAttemptHTTP2: true}, Timeout: time.Minute}
}

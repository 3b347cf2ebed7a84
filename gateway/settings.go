package main

import (
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"github.com/keybound-go/middleware/gateway/kongfile"
	"github.com/keybound-go/middleware/internal/peers"
)

// settings are what the command line says.
type settings struct {
	config           []string // files, directories, or - for stdin
	listen           string
	certFile, key    string
	admin            string
	adminHosts       []string
	adminTokenFile   string
	adminToken       atomic.Value // what that holds, a string; "": none
	adminWrites      bool
	adminFile        string
	issuerCA, nonces string
	redisCA          string
	drain            time.Duration
	deployment       deployment

	sources []kongfile.Source // as they were read last
	server  *server
}

var errHelp = flag.ErrHelp

func parseSettings(args []string, stderr io.Writer) (*settings, error) {
	return parseFlags(args, stderr, false)
}

// parseFlags reads a command line. For a look at files, these can be named without
// -config.
func parseFlags(args []string, stderr io.Writer, looks bool) (*settings, error) {
	s := &settings{}
	var problems []error
	flags := flag.NewFlagSet("gateway", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.StringVar(&s.listen, "listen", "127.0.0.1:8443", "`address` to serve; port 0 picks one")
	flags.StringVar(&s.certFile, "tls-cert", "", "certificate chain of the server, a PEM `file`; without it plain HTTP, for behind a terminator")
	flags.StringVar(&s.key, "tls-key", "", "its private key, a PEM `file`")
	flags.StringVar(&s.admin, "admin", "", "`address` to serve /openid-connect/issuers, /openid-connect/jwks and /metrics on, in plain HTTP")
	flags.BoolVar(&s.adminWrites, "admin-writes", false, "serve Kong's Admin API on -admin: services, routes, plugins, ca_certificates, certificates")
	flags.StringVar(&s.adminTokenFile, "admin-token-file", "", "`file` with the token that -admin asks for, as Kong-Admin-Token or Bearer; needed where that is no loopback address")
	flags.StringVar(&s.adminFile, "admin-file", "", "`file` to keep what -admin-writes has made of the configuration; once it is there, it is read instead of -config")
	flags.StringVar(&s.issuerCA, "issuer-ca", "", "CAs of the issuers' TLS certificates, a PEM `file`; by default those of the system")
	flags.StringVar(&s.redisCA, "redis-ca", "", "CAs of the certificate of Redis, a PEM `file`; by default those of the system")
	flags.StringVar(&s.nonces, "nonce-key", "", "`file` of 32 bytes or more that all replicas share, for dpop_use_nonce, and for the introspection answers that they share in Redis; by default a key of this process")
	flags.Func("profile", "how the issuers spell their tokens: `name` of a profile of package oidc; by default their URLs tell", func(v string) (err error) {
		s.deployment.profile, err = profileNamed(v)
		return err
	})
	flags.DurationVar(&s.drain, "drain", 10*time.Second, "how long requests under way may take after SIGTERM")
	list := func(name, usage string, add func(string) error) {
		flags.Func(name, usage+"; can be given several times", add)
	}
	list("config", "Kong's declarative configuration, a `file`, a directory of files, or - for standard input", func(v string) error {
		s.config = append(s.config, v)
		return nil
	})
	list("admin-host", "`name` by which -admin is asked, beside localhost and addresses", func(v string) error {
		s.adminHosts = append(s.adminHosts, v)
		return nil
	})
	list("public-origin", "`origin` that clients use, such as https://api.example; by default the address", func(v string) error {
		s.deployment.origins = append(s.deployment.origins, v)
		return nil
	})
	list("dangerously-allow-missing-audience", "`client id` whose tokens may be without aud, so that they are good at every service that allows it", func(v string) error {
		s.deployment.audienceless = append(s.deployment.audienceless, v)
		return nil
	})
	list("internal-host", "`host` that a terminator in front writes in the place of the client's", func(v string) error {
		s.deployment.internalHosts = append(s.deployment.internalHosts, v)
		return nil
	})
	list("trusted-proxy", "`CIDR` of the terminators in front", func(v string) error {
		prefix, err := netip.ParsePrefix(v)
		if err == nil && peers.Problem(prefix) != "" {
			err = errors.New(peers.Problem(prefix))
		}
		s.deployment.trusted = append(s.deployment.trusted, prefix)
		return err
	})
	if err := flags.Parse(args); err != nil {
		return nil, err
	}
	if looks {
		s.config = append(s.config, flags.Args()...)
	} else if flags.NArg() > 0 {
		problems = append(problems, fmt.Errorf("gateway: there are no arguments beside flags: %q", flags.Args()))
	}
	if len(s.config) == 0 && !s.adminWrites {
		problems = append(problems, errors.New("gateway: -config is missing"))
	}
	if (s.certFile == "") != (s.key == "") {
		problems = append(problems, errors.New("gateway: -tls-cert and -tls-key need each other"))
	}
	if s.admin == "" && (s.adminWrites || s.adminTokenFile != "" || len(s.adminHosts) > 0) || s.adminFile != "" && !s.adminWrites {
		problems = append(problems, errors.New("gateway: -admin-writes, -admin-token-file and -admin-host need -admin, and -admin-file needs -admin-writes"))
	}
	token, err := s.readAdminToken()
	s.adminToken.Store(token)
	problems = append(problems, err)
	s.deployment.issuerRoots, err = readRoots("-issuer-ca", s.issuerCA)
	problems = append(problems, err)
	s.deployment.redisRoots, err = readRoots("-redis-ca", s.redisCA)
	problems = append(problems, err, s.readNonceKey())
	return s, errors.Join(problems...)
}

// readAdminToken returns "" where no token is asked for.
func (s *settings) readAdminToken() (string, error) {
	if s.adminTokenFile == "" {
		return "", nil
	}
	text, err := os.ReadFile(s.adminTokenFile)
	token := strings.TrimSpace(string(text))
	if err == nil && len(token) < 16 {
		err = errors.New("it has less than 16 characters")
	}
	if err != nil {
		return "", fmt.Errorf("gateway: -admin-token-file: %w", err)
	}
	return token, nil
}

// readRoots reads a file of CAs; nil for the system's if there is none.
func readRoots(flag, file string) (*x509.CertPool, error) {
	if file == "" {
		return nil, nil
	}
	pem, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("gateway: %s: %w", flag, err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("gateway: %s: %s has no certificate in PEM", flag, file)
	}
	return roots, nil
}

func (s *settings) readNonceKey() (err error) {
	if s.nonces == "" {
		s.deployment.nonceKey = make([]byte, 32)
		rand.Read(s.deployment.nonceKey)
		return nil
	}
	if s.deployment.nonceKey, err = os.ReadFile(s.nonces); err != nil {
		return fmt.Errorf("gateway: -nonce-key: %w", err)
	}
	s.deployment.sharedNonceKey = true
	return nil
}

// tlsConfig is that of the server, nil for plain HTTP.
func (s *settings) tlsConfig() (*tls.Config, error) {
	if s.certFile == "" {
		return nil, nil
	}
	cert, err := tls.LoadX509KeyPair(s.certFile, s.key)
	if err != nil {
		return nil, fmt.Errorf("gateway: -tls-cert: %w", err)
	}
	return &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{cert}, NextProtos: []string{"h2", "http/1.1"}}, nil
}

// originOf is what clients call a server that -public-origin does not name.
func originOf(scheme string, listener net.Listener) (string, error) {
	address := listener.Addr().(*net.TCPAddr)
	if address.IP.IsUnspecified() {
		return "", errors.New("gateway: -public-origin is missing, and -listen is for every address, so that it does not tell")
	}
	return scheme + "://" + address.String(), nil
}

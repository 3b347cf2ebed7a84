package main

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/url"
	"os"
	"time"

	"github.com/spf13/pflag"

	"github.com/keybound-go/middleware/cmd/keybound/internal/pen"
)

// serveFlags say how an issuer of ours is served.
type serveFlags struct {
	listen, caFile    string
	certFile, keyFile string
	hosts             []string
}

// add registers the flags, with a prefix where the command has other servers too.
func (f *serveFlags) add(flags *pflag.FlagSet, prefix string) {
	flags.StringVar(&f.listen, prefix+"listen", "", "address to listen on (default: host and port of the issuer's URL)")
	flags.StringVar(&f.caFile, prefix+"ca-file", "", "file to write the CA's certificate to, as PEM")
	flags.StringVar(&f.certFile, prefix+"tls-cert", "", "certificate chain of the issuer's server, PEM (default: one by a new CA)")
	flags.StringVar(&f.keyFile, prefix+"tls-key", "", "private key of the issuer's server, PEM")
	flags.StringArrayVar(&f.hosts, prefix+"host", nil, "another name or address for the new certificate; may be repeated")
}

// served is a running server. Close it, and wait returns nil.
type served struct {
	address string
	close   func()
	ended   chan error
}

// open serves handler at u: https with a CA of its own, unless u is http or there is
// a certificate.
func (f *serveFlags) open(u *url.URL, handler http.Handler) (*served, error) {
	config, err := f.tlsConfig(u)
	if err != nil {
		return nil, err
	}
	listen := f.listen
	if listen == "" {
		listen = u.Host
		if u.Port() == "" {
			listen = net.JoinHostPort(u.Hostname(), map[string]string{"http": "80", "https": "443"}[u.Scheme])
		}
	}
	listener, err := net.Listen("tcp", listen)
	if err != nil {
		return nil, notAsked(err)
	}
	server := &http.Server{Handler: handler, TLSConfig: config, ReadHeaderTimeout: 10 * time.Second, ErrorLog: log.New(io.Discard, "", 0)}
	s := &served{address: listener.Addr().String(), close: func() { server.Close() }, ended: make(chan error, 1)}
	go func() {
		if config == nil {
			s.ended <- server.Serve(listener)
		} else {
			s.ended <- server.ServeTLS(listener, "", "")
		}
	}()
	return s, nil
}

func (s *served) wait() error {
	if err := <-s.ended; !errors.Is(err, http.ErrServerClosed) {
		return notAsked(err)
	}
	return nil
}

// tlsConfig returns nil for plain http.
func (f *serveFlags) tlsConfig(u *url.URL) (*tls.Config, error) {
	if u.Scheme == "http" {
		return nil, nil
	}
	// Certificates are asked for and not judged: RFC 8705, section 2.2.
	config := &tls.Config{ClientAuth: tls.RequestClientCert, MinVersion: tls.VersionTLS12}
	if f.certFile != "" {
		cert, err := tls.LoadX509KeyPair(f.certFile, f.keyFile)
		if err != nil {
			return nil, fmt.Errorf("the issuer's certificate: %w", err)
		}
		config.Certificates = []tls.Certificate{cert}
		return config, nil
	}
	ca, err := pen.NewAuthority("keybound issuer CA")
	if err != nil {
		return nil, err
	}
	cert, err := ca.Server(append([]string{u.Hostname(), "localhost", "127.0.0.1", "::1"}, f.hosts...)...)
	if err != nil {
		return nil, err
	}
	config.Certificates = []tls.Certificate{cert}
	if f.caFile != "" {
		if err := os.WriteFile(f.caFile, ca.PEM(), 0o644); err != nil {
			return nil, fmt.Errorf("the CA's file: %w", err)
		}
	}
	return config, nil
}

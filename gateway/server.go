package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"

	"github.com/keybound-go/middleware/gateway/kongfile"
	"github.com/keybound-go/middleware/mtlspop"
)

// server is a gateway with its listeners.
type server struct {
	gateway       *gateway
	scheme        string
	listener      net.Listener // unencrypted, whatever the scheme
	tls           *tls.Config
	adminListener net.Listener // nil: none
}

// start reads everything and opens the listeners. Its errors are the user's.
func (s *settings) start(log *slog.Logger) error {
	s.deployment.log = log
	config, err := s.readFiles()
	tlsConfig, tlsErr := s.tlsConfig()
	if err := errors.Join(err, tlsErr); err != nil {
		return err
	}
	sv := &server{scheme: "https", tls: tlsConfig}
	if tlsConfig == nil {
		sv.scheme = "http"
	}
	// Before the rest, since the address can be the origin that clients use.
	if sv.listener, err = net.Listen("tcp", s.listen); err != nil {
		return fmt.Errorf("gateway: -listen: %w", err)
	}
	if sv.gateway, err = s.newGateway(config, sv); err != nil {
		return errors.Join(err, sv.listener.Close())
	}
	if s.admin != "" {
		if sv.adminListener, err = net.Listen("tcp", s.admin); err != nil {
			return fmt.Errorf("gateway: -admin: %w", err)
		}
	}
	if sv.tls != nil && asksForCertificates(config) {
		sv.tls = mtlspop.RequestClientCert(sv.tls)
	}
	for _, w := range append(config.Warnings, warningsOf(config, sv.tls != nil)...) {
		log.Warn(w.Text, "at", w.Place.String())
	}
	s.server = sv
	return nil
}

// newGateway adds to the deployment what the command line leaves out.
func (s *settings) newGateway(config *kongfile.File, sv *server) (*gateway, error) {
	d := &s.deployment
	if len(d.origins) == 0 {
		origin, err := originOf(sv.scheme, sv.listener)
		if err != nil {
			return nil, err
		}
		d.origins = []string{origin}
	} else if address := sv.listener.Addr().(*net.TCPAddr); !address.IP.IsUnspecified() {
		// What a terminator in front writes as the Host unless told otherwise. The
		// proof must name the origin all the same.
		d.internalHosts = append(d.internalHosts, address.String())
	}
	stores, err := d.openStores(config)
	if err != nil {
		return nil, err
	}
	d.replay, d.answers = newSharedMemory(stores.proofs, config), stores.answers
	return newGateway(config, d)
}

// serve answers requests until ctx ends, and then waits for those under way.
func (s *settings) serve(ctx context.Context, stdout io.Writer) error {
	sv := s.server
	defer sv.gateway.close()
	errorLog := slog.NewLogLogger(s.deployment.log.Handler(), slog.LevelWarn)
	public := &http.Server{Handler: sv.gateway.health(), ReadHeaderTimeout: headWithin, IdleTimeout: idleFor, ErrorLog: errorLog, TLSConfig: sv.tls}
	failed := make(chan error, 2)
	go func() {
		if sv.tls == nil {
			failed <- public.Serve(sv.listener)
			return
		}
		failed <- public.ServeTLS(sv.listener, "", "")
	}()
	servers := []*http.Server{public}
	if sv.adminListener != nil {
		admin := &http.Server{Handler: sv.gateway.admin(), ReadTimeout: readWithin, WriteTimeout: readWithin, IdleTimeout: idleFor, ErrorLog: errorLog}
		go func() { failed <- admin.Serve(sv.adminListener) }()
		servers = append(servers, admin)
		fmt.Fprintf(stdout, "gateway: admin on http://%s\n", sv.adminListener.Addr())
	}
	fmt.Fprintf(stdout, "gateway: listening on %s://%s\n", sv.scheme, sv.listener.Addr())
	var err error
	select {
	case <-ctx.Done():
	case err = <-failed:
	}
	drained, cancel := context.WithTimeout(context.Background(), s.drain)
	defer cancel()
	for _, server := range servers {
		if stopped := server.Shutdown(drained); stopped != nil {
			s.deployment.log.Warn("requests under way were cut off", "error", stopped.Error())
			server.Close()
		}
	}
	return err
}

// readFiles reads Kong's files. The mistakes in them are noted in the result.
func (s *settings) readFiles() (*kongfile.File, error) {
	sources, err := kongfile.Sources(s.config, os.Stdin)
	if err != nil {
		return nil, fmt.Errorf("gateway: -config: %w", err)
	}
	return kongfile.Read(os.LookupEnv, sources...), nil
}

// asksForCertificates reports whether a route has a plugin that asks for client
// certificates. TLS comes before any route is known, so that one is enough for all.
func asksForCertificates(f *kongfile.File) bool {
	for _, s := range f.Services {
		for _, r := range s.Routes {
			if isAsked(f, r) {
				return true
			}
		}
	}
	return false
}

func isAsked(f *kongfile.File, r *kongfile.Route) bool {
	return f.HandshakeOf(r) != nil || f.ClientCertificateOf(r) != nil
}

// warningsOf are what an operator should know of the routes.
func warningsOf(f *kongfile.File, encrypted bool) (warnings []kongfile.Warning) {
	for _, s := range f.Services {
		for _, r := range s.Routes {
			p := f.OpenIDOf(r)
			switch {
			case p == nil:
				warnings = append(warnings, kongfile.Warning{Place: r.Place(), Text: "route " + r.String() + " has no openid-connect plugin: every request may pass"})
			case p.OpenID.Certificate.Mode != "off" && p.OpenID.Certificate.Header == nil && (!encrypted || !isAsked(f, r)):
				warnings = append(warnings, kongfile.Warning{Place: r.Place(), Text: "route " + r.String() + " checks client certificates that nothing asks for; add the plugin tls-handshake-modifier, and serve TLS"})
			}
		}
	}
	return warnings
}

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
	"time"

	"github.com/keybound-go/middleware/dpop"
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
	config, err := readConfiguration(s.config, os.LookupEnv)
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
	if sv.tls != nil && config.asksForCertificates() {
		sv.tls = mtlspop.RequestClientCert(sv.tls)
	}
	config.addWarnings(sv.tls != nil)
	for _, w := range config.warnings {
		log.Warn(w.text, "at", fmt.Sprintf("%s:%d", s.config, w.line))
	}
	s.server = sv
	return nil
}

// newGateway adds to the deployment what the command line leaves out.
func (s *settings) newGateway(config *configuration, sv *server) (*gateway, error) {
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
	cache, err := dpop.NewMemoryCache()
	if err != nil {
		return nil, err
	}
	d.replay = cache
	return newGateway(config, d)
}

// serve answers requests until ctx ends, and then waits for those under way.
func (s *settings) serve(ctx context.Context, stdout io.Writer) error {
	sv := s.server
	defer sv.gateway.close()
	errorLog := slog.NewLogLogger(s.deployment.log.Handler(), slog.LevelDebug)
	public := &http.Server{Handler: sv.gateway.health(), ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute, ErrorLog: errorLog, TLSConfig: sv.tls}
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
		admin := &http.Server{Handler: sv.gateway.admin(), ReadHeaderTimeout: 10 * time.Second, ErrorLog: errorLog}
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

// asksForCertificates reports whether a route has a handshake modifier. TLS comes
// before any route is known, so that one is enough for all.
func (c *configuration) asksForCertificates() bool {
	for _, s := range c.services {
		for _, r := range s.routes {
			if c.handshakeOf(r) != nil {
				return true
			}
		}
	}
	return false
}

// addWarnings adds what a user should know of a file that starts.
func (c *configuration) addWarnings(encrypted bool) {
	for _, p := range c.attached {
		if p.openID == nil || !p.enabled {
			continue
		}
		o := p.openID
		if !o.has("auth_methods") {
			c.warn(o.at, "auth_methods is missing: bearer alone is accepted; set it")
		}
		if len(o.audiences) == 0 && !o.has("audience_required") {
			c.warn(o.at, "audience_required is missing: the audience is not checked, so that a token for any other service of this issuer is accepted; set it")
		}
		for _, issuer := range o.issuers {
			if isPlainLoopback(issuer) {
				c.warn(o.line("issuer"), "the issuer is on plain HTTP, which is for development: whoever can answer on that port makes the tokens")
			}
		}
		if o.auth == "private_key_jwt" && o.jwk == nil {
			c.warn(o.line("client_auth"), "client_jwk is missing: the key is a new one with each start; set it, or let the issuer fetch /openid-connect/jwks from -admin")
		}
	}
	for _, s := range c.services {
		for _, r := range s.routes {
			c.warnOf(r, encrypted)
		}
	}
}

func (c *configuration) warnOf(r *route, encrypted bool) {
	p := c.openIDOf(r)
	switch {
	case p == nil:
		c.warn(r.at, "route "+r.String()+" has no openid-connect plugin: everybody may pass")
	case p.openID.mtls != "off" && p.openID.header == nil && (!encrypted || c.handshakeOf(r) == nil):
		c.warn(r.at, "route "+r.String()+" checks client certificates that nobody asks for; add the plugin tls-handshake-modifier, and serve TLS")
	}
}

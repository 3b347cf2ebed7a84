package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"

	"github.com/keybound-go/middleware/gateway/kongfile"
)

// server is a gateway with its listeners.
type server struct {
	live          *live
	scheme        string
	listener      net.Listener // unencrypted, whatever the scheme
	adminListener net.Listener // nil: none
	api           *adminAPI    // nil: the configuration is that of the files
}

// start reads everything and opens the listeners. Its errors are the user's.
func (s *settings) start(ctx context.Context, log *slog.Logger) (err error) {
	s.deployment.log = log
	config, err := s.readFiles()
	tlsConfig, tlsErr := s.tlsConfig()
	if err := errors.Join(err, tlsErr); err != nil {
		return err
	}
	sv := &server{scheme: "https"}
	if tlsConfig == nil {
		sv.scheme = "http"
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, sv.closeListeners())
		}
	}()
	// Before the rest, since the address can be the origin that clients use.
	if sv.listener, err = net.Listen("tcp", s.listen); err != nil {
		return fmt.Errorf("gateway: -listen: %w", err)
	}
	if s.admin != "" {
		if sv.adminListener, err = net.Listen("tcp", s.admin); err != nil {
			return fmt.Errorf("gateway: -admin: %w", err)
		}
		s.deployment.admin = sv.adminListener.Addr().(*net.TCPAddr).AddrPort()
		if !s.deployment.admin.Addr().IsLoopback() && s.adminTokenFile == "" {
			return errors.New("gateway: -admin is not a loopback address, so that -admin-token-file is needed: each client that reaches it sees the configuration")
		}
	}
	if sv.adminListener != nil {
		if s.deployment.metrics, err = newMetrics(); err != nil {
			return err
		}
	}
	if sv.live, err = s.newLive(ctx, config, sv); err != nil {
		return err
	}
	if err = sv.live.apply(ctx, config, tlsConfig); err != nil {
		sv.live.stores.close()
		return err
	}
	s.server = sv
	if s.adminWrites {
		sv.api, err = newAdminAPI(s)
	}
	return err
}

func (sv *server) closeListeners() error {
	var problems []error
	for _, l := range []net.Listener{sv.listener, sv.adminListener} {
		if l != nil {
			problems = append(problems, l.Close())
		}
	}
	return errors.Join(problems...)
}

// newLive adds to the deployment what the command line leaves out, and opens the
// stores.
func (s *settings) newLive(ctx context.Context, config *kongfile.File, sv *server) (*live, error) {
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
	if err := stores.check(ctx); err != nil {
		d.log.Warn("cluster_cache_redis cannot be used now", "error", err.Error())
	}
	d.memory = newSharedMemory(stores.proofs, config)
	d.replay, d.answers = d.memory, stores.answers
	return &live{deployment: d, stores: stores, encrypted: sv.scheme == "https"}, nil
}

// serve answers requests until ctx ends, and then waits for those under way. Each
// value of hangups makes it read its files again.
func (s *settings) serve(ctx context.Context, stdout io.Writer, hangups <-chan os.Signal) error {
	sv := s.server
	defer sv.live.close()
	errorLog := slog.NewLogLogger(s.deployment.log.Handler(), slog.LevelWarn)
	public := &http.Server{Handler: sv.live, ReadHeaderTimeout: headWithin, IdleTimeout: idleFor, ErrorLog: errorLog}
	failed := make(chan error, 2)
	if sv.live.encrypted {
		public.TLSConfig = sv.live.tlsConfig()
		go func() { failed <- public.ServeTLS(sv.listener, "", "") }()
	} else {
		go func() { failed <- public.Serve(sv.listener) }()
	}
	servers := []*http.Server{public}
	if sv.adminListener != nil {
		admin := &http.Server{Handler: s.adminHandler(), ReadTimeout: readWithin, WriteTimeout: 2 * readWithin, IdleTimeout: idleFor, ErrorLog: errorLog}
		go func() { failed <- admin.Serve(sv.adminListener) }()
		servers = append(servers, admin)
		fmt.Fprintf(stdout, "gateway: admin on http://%s\n", sv.adminListener.Addr())
	}
	fmt.Fprintf(stdout, "gateway: listening on %s://%s\n", sv.scheme, sv.listener.Addr())
	err := s.wait(ctx, failed, hangups)
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

// wait returns when ctx ends, or with the error of a server.
func (s *settings) wait(ctx context.Context, failed <-chan error, hangups <-chan os.Signal) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case err := <-failed:
			return err
		case <-hangups:
			if err := s.reload(ctx); err != nil {
				s.deployment.log.Error("the configuration was not read again", "error", err.Error())
			} else {
				s.deployment.log.Info("the configuration was read again")
			}
		}
	}
}

// readFiles reads Kong's files. The mistakes in them are noted in the result.
func (s *settings) readFiles() (*kongfile.File, error) {
	names := s.config
	if s.adminFile != "" {
		if _, err := os.Stat(s.adminFile); !errors.Is(err, fs.ErrNotExist) {
			names = []string{s.adminFile} // which has taken over
		}
	}
	sources, err := kongfile.Sources(names, os.Stdin)
	if err != nil {
		return nil, fmt.Errorf("gateway: -config: %w", err)
	}
	s.sources = sources
	f := kongfile.Read(os.LookupEnv, sources...)
	if !s.adminWrites {
		f.RequireService()
	}
	return f, nil
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

package main

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"syscall"
	"time"
)

// readyWithin is how long a readiness probe waits for the issuers.
const readyWithin = 5 * time.Second

// health answers the probes under /-/ and hands everything else to the gateway.
func (gw *gateway) health() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /-/healthz", func(w http.ResponseWriter, r *http.Request) { writeMessage(w, http.StatusOK, "ok") })
	mux.HandleFunc("GET /-/readyz", func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), readyWithin)
		defer cancel()
		if err := gw.prefetch(ctx); err != nil {
			gw.deployment.log.WarnContext(ctx, "not ready", "error", err.Error())
			writeMessage(w, http.StatusServiceUnavailable, "an issuer cannot be reached")
			return
		}
		writeMessage(w, http.StatusOK, "ready")
	})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/-/healthz" || r.URL.Path == "/-/readyz" {
			mux.ServeHTTP(w, r)
			return
		}
		gw.ServeHTTP(w, r) // not by the mux, which would redirect unclean paths
	})
}

// prefetch fetches what the first requests would need.
func (gw *gateway) prefetch(ctx context.Context) error {
	var problems []error
	for _, g := range gw.guards {
		for _, fetch := range g.parts.prefetch {
			problems = append(problems, fetch(ctx))
		}
	}
	return errors.Join(problems...)
}

// adminHandler is for operators and, as far as the keys go, for issuers.
func (s *settings) adminHandler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /openid-connect/jwks", s.withGateway(func(gw *gateway, w http.ResponseWriter, r *http.Request) { publish(w, r, gw.clientKeys()) }))
	own := http.NewServeMux()
	own.HandleFunc("GET /openid-connect/issuers", s.withGateway((*gateway).showIssuers))
	own.HandleFunc("GET /openid-connect/issuers/{id...}", s.withGateway((*gateway).showIssuers))
	own.HandleFunc("DELETE /openid-connect/issuers", s.forgetIssuers)
	own.HandleFunc("DELETE /openid-connect/issuers/{id...}", s.forgetIssuers)
	own.HandleFunc("DELETE /openid-connect/jwks", s.withGateway((*gateway).rotateKeys))
	mux.Handle("/openid-connect/", s.onlyWithToken(own))
	shown := s.onlyWithToken(s.deployment.metrics.handler())
	rest := s.onlyWithToken(http.NotFoundHandler())
	if s.server.api != nil {
		rest = s.onlyWithToken(s.server.api)
	}
	// The API reads a path as it was sent. A mux would redirect one with %2F in a name.
	return s.onlyByName(http.NewCrossOriginProtection().Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/openid-connect/") {
			mux.ServeHTTP(w, r)
			return
		}
		if r.URL.Path == "/metrics" && (r.Method == http.MethodGet || r.Method == http.MethodHead) {
			shown.ServeHTTP(w, r)
			return
		}
		rest.ServeHTTP(w, r)
	})))
}

// withGateway calls f with the configuration in force.
func (s *settings) withGateway(f func(*gateway, http.ResponseWriter, *http.Request)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		g := s.server.live.use()
		defer g.users.Done()
		f(g.gateway, w, r)
	}
}

// onlyByName refuses requests for other hosts than this listener's: a page that a
// browser of this machine shows can give its own name any address, and would be of
// the same origin then.
func (s *settings) onlyByName(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host := r.Host
		if name, _, err := net.SplitHostPort(host); err == nil {
			host = name
		}
		host = strings.Trim(host, "[]")
		_, err := netip.ParseAddr(host)
		if err != nil && !strings.EqualFold(host, "localhost") && !slices.ContainsFunc(s.adminHosts, func(name string) bool { return strings.EqualFold(name, host) }) {
			writeMessage(w, http.StatusMisdirectedRequest, "this is not the Host of the admin listener; see -admin-host")
			return
		}
		next.ServeHTTP(w, r)
	})
}

// onlyWithToken refuses requests without the token of -admin-token-file, if there is one.
func (s *settings) onlyWithToken(next http.Handler) http.Handler {
	if s.adminTokenFile == "" {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		token := r.Header.Get("Kong-Admin-Token")
		if bearer, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer "); ok && token == "" {
			token = bearer
		}
		wanted := sha256.Sum256([]byte(s.adminToken.Load().(string)))
		if got := sha256.Sum256([]byte(token)); subtle.ConstantTimeCompare(got[:], wanted[:]) != 1 {
			writeMessage(w, http.StatusUnauthorized, "Invalid credentials")
			return
		}
		next.ServeHTTP(w, r)
	})
}

// clientKeys are those that the gateway signs with.
func (gw *gateway) clientKeys() (keys []*clientKeys) {
	for _, g := range gw.guards {
		if g.keys != nil && !slices.ContainsFunc(keys, func(k *clientKeys) bool { return k.Keys == g.keys.Keys }) {
			keys = append(keys, g.keys)
		}
	}
	return keys
}

func (gw *gateway) rotateKeys(w http.ResponseWriter, r *http.Request) {
	if err := rotate(gw.clientKeys()); err != nil {
		gw.deployment.log.ErrorContext(r.Context(), "the keys were not rotated", "error", err.Error())
		writeMessage(w, http.StatusInternalServerError, "the keys were not rotated")
		return
	}
	writeMessage(w, http.StatusAccepted, "new keys are published, and sign in five minutes")
}

// refuseAdmin is the Control of connections to services: none leads to the admin
// listener, whatever names a service has in the DNS.
func (d *deployment) refuseAdmin(_, address string, _ syscall.RawConn) error {
	to, err := netip.ParseAddrPort(address)
	if err != nil || !d.isAdmin(to) {
		return nil
	}
	return errors.New("gateway: a service cannot be the admin listener")
}

// isAdmin reports whether an address is that of the admin listener.
func (d *deployment) isAdmin(to netip.AddrPort) bool {
	ip, own := to.Addr().Unmap(), d.admin.Addr().Unmap()
	if !d.admin.IsValid() || to.Port() != d.admin.Port() {
		return false
	}
	if ip == own || ip.IsUnspecified() {
		return true
	}
	if !own.IsUnspecified() {
		return false
	}
	local, err := net.InterfaceAddrs()
	return err != nil || ip.IsLoopback() || slices.ContainsFunc(local, func(a net.Addr) bool {
		prefix, err := netip.ParsePrefix(a.String())
		return err == nil && prefix.Addr().Unmap() == ip
	})
}

// pointsAtAdmin reports whether a service is the admin listener by its address. By
// its name, refuseAdmin finds out.
func (d *deployment) pointsAtAdmin(u *url.URL) bool {
	host, port := u.Hostname(), u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	if strings.EqualFold(strings.TrimSuffix(host, "."), "localhost") {
		host = "127.0.0.1"
	}
	to, err := netip.ParseAddrPort(net.JoinHostPort(host, port))
	return err == nil && d.isAdmin(to)
}

// writeMessage writes a body in Kong's form.
func writeMessage(w http.ResponseWriter, status int, message string) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]string{"message": message}) // the client went away
}

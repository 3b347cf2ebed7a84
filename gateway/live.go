package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/keybound-go/middleware/gateway/kongfile"
	"github.com/keybound-go/middleware/mtlspop"
)

// live serves the configuration that is in force, and replaces it. A request is
// judged and forwarded by the one that was in force when it came.
type live struct {
	deployment *deployment
	stores     *stores
	encrypted  bool

	changing sync.Mutex // one change at a time

	mu  sync.RWMutex
	now *generation
}

// generation is one configuration with its requests.
type generation struct {
	file    *kongfile.File
	gateway *gateway
	handler http.Handler
	users   sync.WaitGroup
	server  *tls.Config // of the command line; nil: plain HTTP
	tls     *tls.Config // server, asking for certificates if a plugin does
}

// learnWithin is how long a new configuration may take to fetch the keys of issuers
// that the one before did not have. Then it is in force without.
const learnWithin = 2 * time.Second

// apply puts a configuration into force, or says why it cannot be. Until then, and if
// it cannot, the one before is in force.
//
// Precondition: l.changing is held.
func (l *live) apply(ctx context.Context, f *kongfile.File, server *tls.Config) error {
	if err := l.stores.fit(f); err != nil {
		return err
	}
	var old *gateway
	if before := l.current(); before != nil {
		old = before.gateway
		if err := l.deployment.memory.fits(f); err != nil {
			return err
		}
	}
	gw, err := newGateway(f, l.deployment, old)
	if err != nil {
		return err
	}
	for _, w := range append(f.Warnings, warningsOf(f, l.encrypted)...) {
		l.deployment.log.Warn(w.Text, "at", w.Place.String())
	}
	l.deployment.memory.widen(f)
	l.replace(ctx, &generation{file: f, gateway: gw, server: server})
	return nil
}

// replace puts next into force. The one before is closed once it has no requests.
//
// Precondition: l.changing is held.
func (l *live) replace(ctx context.Context, next *generation) {
	before := l.current()
	if before != nil {
		ctx, cancel := context.WithTimeout(ctx, learnWithin)
		_ = next.gateway.prefetch(ctx) // the first request that needs it tries again
		cancel()
	}
	next.handler, next.tls = next.gateway.health(), next.server
	if next.server != nil && asksForCertificates(next.file) {
		next.tls = mtlspop.RequestClientCert(next.server)
	}
	l.mu.Lock()
	l.now = next
	l.mu.Unlock()
	l.deployment.metrics.watch(next.gateway)
	if before != nil {
		go func() {
			before.users.Wait()
			before.gateway.close()
		}()
	}
}

// forget makes everything anew that has been learned from the issuers for which f is
// true: documents, keys, and the tokens that they have made or spoken about.
func (l *live) forget(ctx context.Context, f func(issuer string) bool) error {
	l.changing.Lock()
	defer l.changing.Unlock()
	l.deployment.issuers.forget(f)
	now := l.current()
	gw, err := newGateway(now.file, l.deployment, now.gateway.without(f))
	if err != nil {
		return err
	}
	l.replace(ctx, &generation{file: now.file, gateway: gw, server: now.server})
	return nil
}

func (l *live) current() *generation {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.now
}

// use returns the configuration in force, which stays open until it is released.
func (l *live) use() *generation {
	l.mu.RLock()
	defer l.mu.RUnlock()
	l.now.users.Add(1)
	return l.now
}

func (l *live) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	g := l.use()
	defer g.users.Done()
	g.handler.ServeHTTP(w, r)
}

// tlsConfig is that of a listener: each connection is made by the configuration in
// force, with its certificates.
func (l *live) tlsConfig() *tls.Config {
	config := l.current().tls.Clone()
	config.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) { return l.current().tls, nil }
	return config
}

// close ends what the configuration in force has begun.
func (l *live) close() {
	l.current().gateway.close()
	l.stores.close()
}

// fits reports whether used proofs have been remembered for long enough for the
// lifetimes of f.
func (m *sharedMemory) fits(f *kongfile.File) error {
	if wanted := windowOf(f); wanted > m.window() && m.used.Load() {
		return fmt.Errorf("gateway: dpop_proof_lifetime has become %v, and used proofs have been remembered for less: some would pass again; restart the gateway", wanted-proofSkew)
	}
	return nil
}

var errNotReloaded = errors.New("gateway: the configuration before stays in force")

// reload reads files, certificates and secrets again.
func (s *settings) reload(ctx context.Context) error {
	l := s.server.live
	l.changing.Lock()
	defer l.changing.Unlock()
	file, fileErr := s.readAgain()
	server, tlsErr := s.tlsConfig()
	token, tokenErr := s.readAdminToken()
	if err := errors.Join(fileErr, tlsErr, tokenErr); err != nil {
		return errors.Join(errNotReloaded, err)
	}
	if err := l.apply(ctx, file, server); err != nil {
		return errors.Join(errNotReloaded, err)
	}
	s.adminToken.Store(token)
	if api := s.server.api; api != nil && !api.unkept {
		return api.reset()
	}
	return nil
}

// readAgain reads the files, unless the Admin API has made a change that they lack:
// without it, a route could lose its guard.
func (s *settings) readAgain() (*kongfile.File, error) {
	if api := s.server.api; api != nil && api.unkept {
		s.deployment.log.Warn("the files were not read again: the Admin API has changed the configuration, and no -admin-file has that")
		source, err := api.state.Source("admin")
		return kongfile.Read(os.LookupEnv, source), err
	}
	return s.readFiles()
}

package main

import (
	"sync"
	"time"

	"github.com/keybound-go/middleware/gateway/kongfile"
	"github.com/keybound-go/middleware/oidc"
)

// issuerPool has the issuers of all plugins. Plugins that reach an issuer in the same
// way share it, also with the configuration before: a change costs no fetch, and is
// possible while the issuer is down.
type issuerPool struct {
	mu  sync.Mutex
	all map[issuerKey]*pooledIssuer
}

// issuerKey is how an issuer is reached.
type issuerKey struct {
	issuer, metadata, metadataIssuer, keys string
	cooldown, timeout                      time.Duration
	unwatched                              bool // what it publishes is not kept
}

// pooledIssuer is an issuer that is open as long as a guard uses it.
type pooledIssuer struct {
	*oidc.Issuer
	published *published
	users     int // guarded by issuerPool.mu
}

func keyOf(p *kongfile.OpenIDConnect, issuer string) issuerKey {
	key := issuerKey{issuer: issuer, keys: p.JWKSURI, cooldown: p.Cooldown, timeout: p.Timeout, unwatched: !isWatched(p)}
	if issuer == p.Issuer {
		key.metadata, key.metadataIssuer = p.MetadataURL, p.MetadataIssuer
	}
	return key
}

// take returns the issuer with a key, which make makes if there is none. Each take
// needs a release.
func (ip *issuerPool) take(key issuerKey, make func() (*oidc.Issuer, *published, error)) (*pooledIssuer, error) {
	ip.mu.Lock()
	defer ip.mu.Unlock()
	if i := ip.all[key]; i != nil {
		i.users++
		return i, nil
	}
	made, published, err := make()
	if err != nil {
		return nil, err
	}
	i := &pooledIssuer{made, published, 1}
	if ip.all == nil {
		ip.all = map[issuerKey]*pooledIssuer{}
	}
	ip.all[key] = i
	return i, nil
}

// release closes the issuer once no guard uses it.
func (ip *issuerPool) release(key issuerKey, i *pooledIssuer) error {
	ip.mu.Lock()
	defer ip.mu.Unlock()
	if i.users--; i.users > 0 {
		return nil
	}
	if ip.all[key] == i {
		delete(ip.all, key)
	}
	return i.Close()
}

// forget makes the next take of the issuers for which f is true make new ones.
func (ip *issuerPool) forget(f func(issuer string) bool) {
	ip.mu.Lock()
	defer ip.mu.Unlock()
	for key := range ip.all {
		if f(key.issuer) {
			delete(ip.all, key)
		}
	}
}

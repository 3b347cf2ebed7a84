package main

import (
	"context"
	"crypto/hkdf"
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"reflect"

	"github.com/redis/go-redis/v9"

	"github.com/keybound-go/middleware/dpop"
	"github.com/keybound-go/middleware/gateway/kongfile"
	"github.com/keybound-go/middleware/oidc/introspect"
	"github.com/keybound-go/middleware/redisstore"
)

// stores are what outlives a configuration: used proofs, and what replicas share.
type stores struct {
	proofs  dpop.ReplayCache
	answers introspect.Store // nil: none are shared
	redis   *kongfile.Redis  // nil: this process alone
	client  redis.UniversalClient
}

func (s *stores) close() {
	if s.client != nil {
		_ = s.client.Close() // nothing is lost
	}
}

// openStores opens the stores that a file asks for. With cluster_cache_strategy:
// redis in one plugin, the proofs of all are remembered there, since a proof must
// pass once wherever it is sent.
func (d *deployment) openStores(f *kongfile.File) (*stores, error) {
	r := redisOf(f)
	if r == nil {
		cache, err := dpop.NewMemoryCache()
		return &stores{proofs: cache}, err
	}
	s := &stores{redis: r, client: d.newRedis(r)}
	proofs, err := redisstore.NewReplayCache(s.client)
	if err != nil {
		s.close()
		return nil, err
	}
	s.proofs = proofs
	if !d.sharedNonceKey {
		return s, nil
	}
	key, err := hkdf.Key(sha256.New, d.nonceKey, nil, "gateway: introspection answers", 32)
	if err == nil {
		s.answers, err = redisstore.NewTokenCache(s.client, key)
	}
	if err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

// redisOf returns the Redis of the plugins. That there is one is checked first.
func redisOf(f *kongfile.File) (found *kongfile.Redis) {
	for _, p := range f.Attached {
		if p.OpenID == nil || !p.Enabled || p.OpenID.Redis == nil {
			continue
		}
		r := p.OpenID.Redis
		if found == nil {
			found = r
		} else if !sameRedis(found, r) {
			p.OpenID.Wrong("cluster_cache_redis", "another plugin (%s) has another one: used proofs have to be remembered in one place", found.Place())
		}
	}
	return found
}

func sameRedis(a, b *kongfile.Redis) bool {
	if a == nil || b == nil {
		return a == b
	}
	return reflect.DeepEqual(a.RedisSettings, b.RedisSettings)
}

func (d *deployment) newRedis(r *kongfile.Redis) redis.UniversalClient {
	o := &redis.UniversalOptions{
		Addrs:         r.Addresses,
		IsClusterMode: r.Cluster,
		Username:      r.Username,
		Password:      r.Password,
		DB:            r.Database,
		DialTimeout:   r.DialTimeout,
		ReadTimeout:   r.ReadTimeout,
		WriteTimeout:  r.SendTimeout,
		PoolSize:      r.PoolSize,

		ContextTimeoutEnabled: true,
	}
	if r.TLS {
		o.TLSConfig = &tls.Config{MinVersion: tls.VersionTLS12, ServerName: r.ServerName, RootCAs: d.redisRoots}
	}
	return redis.NewUniversalClient(o)
}

// fit finds what only a restart can change.
func (s *stores) fit(f *kongfile.File) error {
	if r := redisOf(f); !sameRedis(r, s.redis) {
		return errors.New("gateway: cluster_cache_redis has changed: proofs that were used before would be forgotten; restart the gateway")
	}
	return nil
}

// check asks whether the store can be used. The gateway starts without it, and answers
// 503 to requests with proofs until it can be.
func (s *stores) check(ctx context.Context) error {
	if checker, ok := s.proofs.(interface{ Check(context.Context) error }); ok {
		return checker.Check(ctx)
	}
	return nil
}

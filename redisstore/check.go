package redisstore

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// Check asks the store whether it can serve as a replay cache: that it answers, that it
// knows the command (Redis 7.0, or any Valkey), and that it does not evict proofs
// when its memory is full. Call it at start, or from a readiness probe. It needs
// the permission for INFO beyond what [ReplayCache.Add] needs. In a cluster it
// asks every primary node.
//
// It cannot see whether the store survives a restart; see the package
// documentation.
func (c *ReplayCache) Check(ctx context.Context) error {
	if c.client == nil {
		return errNotNew
	}
	var id [32]byte
	rand.Read(id[:])
	if _, err := c.Add(ctx, "", id, time.Now().Add(time.Second)); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	err := c.eachPrimary(ctx, checkEviction)
	if err != nil {
		return fmt.Errorf("redisstore: replay cache: %w", err)
	}
	return nil
}

func (c *ReplayCache) eachPrimary(ctx context.Context, check func(context.Context, redis.Cmdable) error) error {
	if cluster, ok := c.client.(interface {
		ForEachMaster(context.Context, func(context.Context, *redis.Client) error) error
	}); ok {
		return cluster.ForEachMaster(ctx, func(ctx context.Context, node *redis.Client) error { return check(ctx, node) })
	}
	return check(ctx, c.client)
}

func checkEviction(ctx context.Context, node redis.Cmdable) error {
	text, err := node.Info(ctx, "memory").Result()
	if err != nil {
		return err
	}
	policy := field(text, "maxmemory_policy")
	switch {
	case policy == "":
		return errors.New("INFO says nothing of maxmemory_policy")
	case policy != "noeviction":
		return fmt.Errorf("maxmemory-policy is %s: a full store forgets proofs, which can then be used again; set noeviction", policy)
	}
	return nil
}

// field returns the value of a line of INFO.
func field(text, name string) string {
	for line := range strings.Lines(text) {
		if value, ok := strings.CutPrefix(line, name+":"); ok {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

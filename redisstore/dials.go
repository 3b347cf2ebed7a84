package redisstore

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
)

// dialMemory is for how long the last failure to connect explains other errors.
const dialMemory = 30 * time.Second

// dials is a hook of the client that remembers why the last connection failed. The
// client connects anew until the caller's deadline, so what the caller gets is that
// the deadline is over: with the wrong CA for the server, for instance.
type dials struct {
	addr string // of the server, as configured
	last atomic.Pointer[dialFailure]
}

type dialFailure struct {
	at   time.Time
	addr string
	err  error
}

// watchDials adds the hook to client.
func watchDials(client redis.UniversalClient) *dials {
	d := &dials{addr: addressOf(client)}
	if many, ok := client.(interface{ OnNewNode(func(*redis.Client)) }); ok {
		many.OnNewNode(func(node *redis.Client) { node.AddHook(d) })
	} else {
		client.AddHook(d)
	}
	return d
}

func addressOf(client redis.UniversalClient) string {
	switch client := client.(type) {
	case *redis.Client:
		return client.Options().Addr
	case *redis.ClusterClient:
		return strings.Join(client.Options().Addrs, ", ")
	default:
		return "the store"
	}
}

// DialHook is of [redis.Hook].
func (d *dials) DialHook(next redis.DialHook) redis.DialHook {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := next(ctx, network, addr)
		switch {
		case err == nil:
			d.last.Store(nil)
		case ctx.Err() == nil || d.last.Load() == nil:
			d.last.Store(&dialFailure{time.Now(), addr, err})
		}
		return conn, err
	}
}

// ProcessHook is of [redis.Hook].
func (d *dials) ProcessHook(next redis.ProcessHook) redis.ProcessHook { return next }

// ProcessPipelineHook is of [redis.Hook].
func (d *dials) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

// explained says where and why, in the place of a bare deadline. what is the part that
// has failed.
func (d *dials) explained(what string, err error) error {
	var answer redis.Error
	last := d.last.Load()
	switch {
	case errors.Is(err, context.Canceled):
		return fmt.Errorf("redisstore: %s: %w", what, err)
	case errors.As(err, &answer):
		return fmt.Errorf("redisstore: %s: answer of %s: %w", what, d.addr, err)
	case last == nil || time.Since(last.at) > dialMemory:
		return fmt.Errorf("redisstore: %s: no answer from %s: %w", what, d.addr, err)
	case strings.Contains(err.Error(), last.err.Error()):
		return fmt.Errorf("redisstore: %s: connection to %s: %w", what, last.addr, err)
	default:
		return fmt.Errorf("redisstore: %s: connection to %s: %w (%w)", what, last.addr, last.err, err)
	}
}

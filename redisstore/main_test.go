package redisstore_test

import (
	"context"
	"os"
	"testing"

	"github.com/redis/go-redis/v9"
)

func TestMain(m *testing.M) {
	redis.SetLogger(silent{})
	if config := os.Getenv(replicaConfig); config != "" {
		runReplica(config)
		return
	}
	os.Exit(m.Run())
}

// silent drops what the client has to say of the failures that the tests cause.
type silent struct{}

func (silent) Printf(context.Context, string, ...any) {}

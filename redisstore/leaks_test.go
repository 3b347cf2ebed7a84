package redisstore_test

import (
	"bytes"
	"fmt"
	"log/slog"
	"testing"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/keybound-go/middleware/redisstore"
)

func TestNothingThatPrintsACacheHoldsASecret(t *testing.T) {
	// R10
	client := newClient(t, "127.0.0.1:1", func(o *redis.Options) { o.Username, o.Password = "user", "S3CR3T-PASSW0RD" })
	key := []byte("S3CR3T-K3Y-0F-THE-T0KEN-CACHE-123")
	tokens := newTokenCache(t, client, key, redisstore.WithPreviousKeys(tokenKey(1)))
	replay := newReplayCache(t, client)
	_, err := replay.Add(t.Context(), "jkt", randomID(), soon())
	require.Error(t, err)
	_, _, tokenErr := tokens.Get(t.Context(), randomID())
	for name, v := range map[string]any{
		"TokenCache": tokens, "TokenCache by value": *tokens, "ReplayCache": replay, "ReplayCache by value": *replay,
		"error": err, "error of tokens": tokenErr, "option": redisstore.WithPreviousKeys(key),
	} {
		var text, js bytes.Buffer
		slog.New(slog.NewTextHandler(&text, nil)).Info("printed", "value", v)
		slog.New(slog.NewJSONHandler(&js, nil)).Info("printed", "value", v)
		all := text.String() + js.String()
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
			all += fmt.Sprintf(verb+"\n", v)
		}
		require.NotContains(t, all, "S3CR3T", name)
		require.NotContains(t, all, fmt.Sprintf("%x", key), name)
		require.NotRegexp(t, `(\d{1,3} ){12}`, all, "%s: a list of bytes", name)
	}
}

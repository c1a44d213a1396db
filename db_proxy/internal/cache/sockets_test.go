package cache

import (
	"errors"
	"testing"

	"github.com/redis/go-redis/v9"

	"teamtalk/internal/testenv"
)

// A Redis that was demoted answers READONLY on connections that live on: they
// go, also where the refusal stands behind another answer in a pipeline.
func TestDemoted(t *testing.T) {
	t.Parallel()
	server := testenv.Redis(t)
	c := newFixture(t, server.Addr())
	ctx := t.Context()
	if err := c.SetSeen(ctx, []byte("x")); err != nil {
		t.Fatal(err)
	}
	admin := redis.NewClient(&redis.Options{Addr: server.Addr()})
	defer admin.Close()
	if err := admin.Do(ctx, "REPLICAOF", "127.0.0.1", "1").Err(); err != nil {
		t.Fatal(err)
	}
	open := func() int {
		c.unread.sockets.mu.Lock()
		defer c.unread.sockets.mu.Unlock()
		return len(c.unread.sockets.open)
	}
	if open() == 0 {
		t.Fatal("no connection is open")
	}
	err := c.unread.pipeline(ctx, func(pipe redis.Pipeliner) {
		pipe.Ping(ctx)
		pipe.Set(ctx, "k", "v", 0)
	})
	if !errors.Is(err, ErrUnavailable) || open() != 0 {
		t.Errorf("%v, %d connections to a demoted Redis are kept", err, open())
	}
}

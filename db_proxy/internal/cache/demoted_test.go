package cache

import (
	"errors"
	"log/slog"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"

	"teamtalk/internal/secret"
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
	open := c.unread.sockets.Len
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

// A password that was changed at the server, and then here, is used for the
// connections that are made from then on.
func TestPasswordIsReplaced(t *testing.T) {
	t.Parallel()
	server := testenv.Redis(t)
	ctx := t.Context()
	admin := redis.NewClient(&redis.Options{Addr: server.Addr()})
	defer admin.Close()
	require := func(password string) {
		t.Helper()
		for _, command := range [][]any{{"CONFIG", "SET", "requirepass", password}, {"CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"}} {
			if err := admin.Do(ctx, command...).Err(); err != nil {
				t.Fatal(err)
			}
		}
	}
	require("first")
	password := secret.New("first")
	cfg := config(server.Addr())
	for name, p := range cfg.Pools {
		p.Password = password
		cfg.Pools[name] = p
	}
	c, err := New(cfg, Deps{Log: slog.New(slog.DiscardHandler), Reg: prometheus.NewRegistry(), Clock: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.SetSeen(ctx, []byte("x")); err != nil {
		t.Fatal(err)
	}
	require("second")
	if err := c.SetSeen(ctx, []byte("x")); err == nil {
		t.Error("the password that was changed still opens Redis")
	}
	password.Replace(secret.New("second"))
	testenv.Eventually(t, time.Minute, func() bool { return c.SetSeen(ctx, []byte("x")) == nil }, "the new password is not used")
}

package cache

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"

	"teamtalk/internal/im"
	"teamtalk/internal/testenv"
)

// fixture is a cache over one Redis, and a client to look behind it.
type fixture struct {
	*Cache
	raw    *redis.Client
	now    time.Time
	claims map[im.Conversation]*Claim
}

func config(addr string) Config {
	pools := map[string]PoolConfig{}
	for _, name := range []string{PoolUnread, PoolGroupSet, PoolToken, PoolSync, PoolGroupMember} {
		pools[name] = PoolConfig{Addrs: []string{addr}, MaxConns: 4}
	}
	return Config{Pools: pools}
}

func newFixture(t *testing.T, addr string) *fixture {
	t.Helper()
	f := &fixture{now: time.Unix(1_700_000_000, 0), claims: map[im.Conversation]*Claim{}}
	c, err := New(config(addr), Deps{
		Log: slog.New(slog.DiscardHandler), Reg: prometheus.NewRegistry(),
		Clock: func() time.Time { return f.now },
	})
	if err != nil {
		t.Fatal(err)
	}
	f.Cache = c
	f.raw = redis.NewClient(&redis.Options{Addr: addr})
	t.Cleanup(func() { _ = c.Close(); _ = f.raw.Close() })
	return f
}

// both runs a test on the embedded Redis and on the real one.
func both(t *testing.T, test func(t *testing.T, f *fixture)) {
	t.Helper()
	t.Run("embedded", func(t *testing.T) {
		t.Parallel()
		test(t, newFixture(t, miniredis.RunT(t).Addr()))
	})
	t.Run("real", func(t *testing.T) {
		t.Parallel()
		test(t, newFixture(t, testenv.Redis(t).Addr()))
	})
}

func TestPing(t *testing.T) {
	t.Parallel()
	both(t, func(t *testing.T, f *fixture) {
		if err := f.Ping(t.Context()); err != nil {
			t.Fatal(err)
		}
	})
}

func TestConfig(t *testing.T) {
	t.Parallel()
	deps := func() Deps {
		return Deps{Log: slog.New(slog.DiscardHandler), Reg: prometheus.NewRegistry(), Clock: time.Now}
	}
	for name, breakIt := range map[string]func(*Config){
		"unknown pool":        func(c *Config) { c.Pools["unred"] = c.Pools[PoolUnread] },
		"missing pool":        func(c *Config) { delete(c.Pools, PoolToken) },
		"no address":          func(c *Config) { c.Pools[PoolToken] = PoolConfig{} },
		"database on cluster": func(c *Config) { c.Pools[PoolToken] = PoolConfig{Addrs: []string{"a:1", "b:1"}, DB: 1} },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := config("127.0.0.1:1")
			breakIt(&cfg)
			if _, err := New(cfg, deps()); err == nil {
				t.Error("accepted")
			}
		})
	}
	if _, err := New(config("127.0.0.1:1"), Deps{}); err == nil {
		t.Error("accepted without dependencies")
	}
}

func TestAway(t *testing.T) {
	t.Parallel()
	srv := miniredis.RunT(t)
	f := newFixture(t, srv.Addr())
	ctx := t.Context()
	want := []Reservation{{Conv: im.SingleOf(1, 2), Relation: 7, Count: 1, Known: 4}}
	if _, err := f.ReserveIDs(ctx, want); err != nil {
		t.Fatal(err)
	}
	srv.Close()
	if _, err := f.ReserveIDs(ctx, want); !errors.Is(err, ErrUnavailable) || im.CodeOf(err) != im.Unavailable {
		t.Errorf("stopped Redis: %v", err)
	}
	if f.unread.breaker.allow(f.now) {
		t.Error("asked again at once")
	}
	if err := srv.Restart(); err != nil {
		t.Fatal(err)
	}
	if _, err := f.ReserveIDs(ctx, want); !errors.Is(err, ErrUnavailable) {
		t.Errorf("within the pause: %v", err)
	}
	f.now = f.now.Add(firstPause)
	got, err := f.ReserveIDs(ctx, want)
	if err != nil || got[0] != 6 {
		t.Errorf("after the pause: %v, %v", got, err)
	}
}

// A Redis that hangs costs one caller a moment, and the others nothing.
func TestHanging(t *testing.T) {
	t.Parallel()
	srv := testenv.Redis(t)
	f := newFixture(t, srv.Addr())
	ctx := t.Context()
	want := []Reservation{{Conv: im.SingleOf(1, 2), Relation: 7, Count: 1, Known: 4}}
	if _, err := f.ReserveIDs(ctx, want); err != nil {
		t.Fatal(err)
	}
	if err := srv.Pause(); err != nil {
		t.Fatal(err)
	}
	for range 1000 {
		if _, err := f.ReserveIDs(ctx, want); !errors.Is(err, ErrUnavailable) {
			t.Fatalf("hanging Redis: %v", err)
		}
	}
	if err := srv.Resume(); err != nil {
		t.Fatal(err)
	}
	testenv.Eventually(t, 10*time.Second, func() bool {
		f.now = f.now.Add(maxPause)
		got, err := f.ReserveIDs(ctx, want)
		return err == nil && got[0] > 4
	}, "no ids from a Redis that is back")
}

func TestCallerOutOfTime(t *testing.T) {
	t.Parallel()
	f := newFixture(t, miniredis.RunT(t).Addr())
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := f.ReserveIDs(ctx, []Reservation{{Relation: 7, Count: 1}}); !errors.Is(err, ErrUnavailable) {
		t.Errorf("cancelled: %v", err)
	}
	if _, err := f.ReserveIDs(t.Context(), []Reservation{{Relation: 7, Count: 1}}); err != nil {
		t.Errorf("the next caller: %v", err)
	}
}

func TestBreaker(t *testing.T) {
	t.Parallel()
	var b breaker
	now := time.Unix(0, 1)
	for _, pause := range []time.Duration{firstPause, 2 * firstPause, 4 * firstPause, 8 * firstPause, 16 * firstPause, maxPause, maxPause} {
		if !b.allow(now) {
			t.Fatalf("refused after the pause before %v", pause)
		}
		b.fail(now)
		b.fail(now) // a second caller that failed at the same time
		if b.allow(now.Add(pause - 1)) {
			t.Fatalf("allowed within %v", pause)
		}
		now = now.Add(pause)
	}
	if !b.allow(now) || b.allow(now) {
		t.Error("not exactly one try")
	}
	b.release()
	if !b.allow(now) {
		t.Error("no try after one that told nothing")
	}
	if !b.ok() || !b.allow(now) || !b.allow(now) {
		t.Error("still careful after a success")
	}
}

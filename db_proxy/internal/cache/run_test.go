package cache

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"teamtalk/internal/testenv"
)

// TestAbsentRedisIsSaid: without any request, each pool tells whether its Redis
// answers, and the log names those that do not.
func TestAbsentRedisIsSaid(t *testing.T) {
	t.Parallel()
	here, away := testenv.Redis(t).Addr(), testenv.FreeAddr(t)
	var log bytes.Buffer
	cfg := Config{Pools: map[string]PoolConfig{
		PoolUnread: {Addrs: []string{here}}, PoolGroupSet: {Addrs: []string{away}},
		PoolToken: {Addrs: []string{away}}, PoolGroupMember: {Addrs: []string{here}},
	}}
	c, err := New(cfg, Deps{
		Log: slog.New(slog.NewTextHandler(&log, nil)), Clock: time.Now, Reg: prometheus.NewRegistry(),
	})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	up := func(pool string) float64 { return testutil.ToFloat64(c.metrics.up.WithLabelValues(pool)) }
	for _, p := range c.pools() {
		if up(p.name) != 0 {
			t.Errorf("pool %s counts as up before anybody asked", p.name)
		}
	}
	once, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { defer close(ended); c.Run(once) }()
	testenv.Eventually(t, time.Minute, func() bool { return up(PoolGroupMember) == 1 }, "the last pool is asked")
	cancel()
	<-ended
	for pool, want := range map[string]float64{PoolUnread: 1, PoolGroupSet: 0, PoolToken: 0, PoolGroupMember: 1} {
		if got := up(pool); got != want {
			t.Errorf("im_cache_up of %s is %v, want %v", pool, got, want)
		}
		if said := strings.Contains(log.String(), `"redis is away" pool=`+pool+" "); said != (want == 0) {
			t.Errorf("that %s is away is said: %v\n%s", pool, said, log.String())
		}
	}
}

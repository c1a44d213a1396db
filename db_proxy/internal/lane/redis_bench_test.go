package lane

import (
	"context"
	"log/slog"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"

	"teamtalk/db_proxy/internal/behind"
	"teamtalk/db_proxy/internal/cache"
	"teamtalk/db_proxy/internal/directory"
	"teamtalk/internal/im"
	"teamtalk/internal/testenv"
)

// BenchmarkSendToRedis keeps sends of 40 conversations under way, whose ids and
// counts are those of a real Redis, and reports the processor time of both
// processes: with 500 under way as at full load, and with 40 as when everybody
// waits for his answer.
func BenchmarkSendToRedis(b *testing.B) {
	for name, window := range map[string]int{"window500": 500, "window40": 40} {
		b.Run(name, func(b *testing.B) { benchmarkRedis(b, window) })
	}
}

func benchmarkRedis(b *testing.B, window int) {
	b.Helper()
	f, log := newFixture(b), slog.New(slog.DiscardHandler)
	addr := testenv.Redis(b).Addr()
	pools := map[string]cache.PoolConfig{}
	for _, name := range []string{cache.PoolUnread, cache.PoolGroupSet, cache.PoolToken, cache.PoolGroupMember} {
		pools[name] = cache.PoolConfig{Addrs: []string{addr}}
	}
	c, err := cache.New(cache.Config{Pools: pools}, cache.Deps{Log: log, Clock: time.Now, Reg: prometheus.NewRegistry()})
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close()
	written := behind.New(c, f.store, log, prometheus.NewRegistry())
	ctx, cancel := context.WithCancel(b.Context())
	var running sync.WaitGroup
	running.Go(func() { _ = written.Run(ctx) })
	lanes := New(Config{Patience: time.Minute}, Deps{
		Store: f.store, Directory: directory.New(f.store, log, time.Now), IDs: c, Behind: written,
		Go: func(task func()) bool { go task(); return true }, Log: log, Reg: prometheus.NewRegistry(), Clock: time.Now,
	})
	slots := make(chan struct{}, window)
	before, beforeRedis, i := cpuOfProcess(b), cpuOfRedis(b, addr), 0
	for b.Loop() {
		from, to := im.UserID(i%5+1), im.UserID(i/5%4+6)
		if i/20%2 == 1 {
			from, to = to, from
		}
		i++
		s := text(from, to)
		s.Done = func(_ Sent, err error) {
			if err != nil {
				b.Error(err)
			}
			<-slots
		}
		slots <- struct{}{}
		if err := lanes.Submit(s); err != nil {
			b.Fatal(err)
		}
	}
	lanes.Wait()
	cancel()
	running.Wait()
	ours, redis := cpuOfProcess(b)-before, cpuOfRedis(b, addr)-beforeRedis
	b.ReportMetric(float64(ours.Microseconds())/float64(i), "cpu-µs/op")
	b.ReportMetric(float64(redis.Microseconds())/float64(i), "redis-µs/op")
}

func cpuOfProcess(b *testing.B) time.Duration {
	b.Helper()
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		b.Fatal(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

func cpuOfRedis(b *testing.B, addr string) time.Duration {
	b.Helper()
	c := redis.NewClient(&redis.Options{Addr: addr})
	defer c.Close()
	var used time.Duration
	info := c.InfoMap(b.Context(), "cpu").Val()["CPU"]
	for _, field := range []string{"used_cpu_sys", "used_cpu_user"} {
		part, err := time.ParseDuration(info[field] + "s")
		if err != nil {
			b.Fatal(err)
		}
		used += part
	}
	return used
}

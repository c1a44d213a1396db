// Package cache owns what db_proxy keeps in Redis, under the key names of
// TeamTalk: message id counters, unread counts, and mirrors of members, tokens
// and shields for neighbours and tools.
//
// Redis is a cache. SQL is the record, an absent key is never a zero, and
// every number here can be read again from SQL: emptying Redis at any moment
// changes no answer. While Redis is away every call answers ErrUnavailable at
// once and the caller works from SQL alone.
// Source: docs/protocol/storage.md §5.
package cache

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"

	"teamtalk/db_proxy/internal/sockets"
	"teamtalk/internal/im"
	"teamtalk/internal/secret"
)

// ErrUnavailable says that Redis did not answer or is being left alone for a
// moment after a failure. Its code is im.Unavailable.
var ErrUnavailable = im.Errorf(im.Unavailable, "redis is away")

// Names of the pools, as in the configuration.
// Source: docs/protocol/config.md, "dbproxyserver.conf".
const (
	PoolUnread      = "unread"
	PoolGroupSet    = "group_set"
	PoolToken       = "token"
	PoolSync        = "sync" // configured by tradition, used by nobody
	PoolGroupMember = "group_member"
)

// PoolConfig says where the keys of one pool live.
type PoolConfig struct {
	Addrs    []string // one address: a single Redis; several: seeds of a cluster
	DB       int      // only 0 on a cluster
	Password secret.Value
	MaxConns int // 0 = 16
}

// Config of the cache. Every pool but PoolSync must be there.
type Config struct {
	Pools map[string]PoolConfig
	// MaxAge is how long unread counts are believed without reading SQL
	// again, should a write have been lost with the process that owed it.
	// 0 = 10 minutes.
	MaxAge time.Duration
}

// Deps of the cache. All but Fault are needed.
type Deps struct {
	Log   *slog.Logger
	Clock func() time.Time
	Reg   prometheus.Registerer
	// Fault, if set, is asked before every round trip ("redis") and after it
	// ("redis:done"); an error takes the place of the answer.
	Fault func(ctx context.Context, point string) error
}

// Cache is safe from any goroutine.
type Cache struct {
	// Static after New.
	unread, groupSet, token, groupMember *pool
	maxAge                               time.Duration
	clock                                func() time.Time
	metrics                              *metrics
	step                                 int64 // of the Claims of this process

	owed debts
}

// Redis answers within microseconds or is in trouble.
const (
	dialTimeout     = 200 * time.Millisecond
	ioTimeout       = 500 * time.Millisecond
	defaultMaxConns = 16
	defaultMaxAge   = 10 * time.Minute
	pipelineLimit   = 2_000 // commands in one pipeline
	askEvery        = 5 * time.Second
)

// New checks the configuration. It does not wait for Redis.
func New(cfg Config, deps Deps) (*Cache, error) {
	if deps.Log == nil || deps.Clock == nil || deps.Reg == nil {
		return nil, errors.New("cache: Log, Clock and Reg are needed")
	}
	quiet.Do(func() { redis.SetLogger(silent{}) })
	for name := range cfg.Pools {
		switch name {
		case PoolUnread, PoolGroupSet, PoolToken, PoolSync, PoolGroupMember:
		default:
			return nil, fmt.Errorf("cache: unknown pool %q", name)
		}
	}
	if cfg.MaxAge == 0 {
		cfg.MaxAge = defaultMaxAge
	}
	c := &Cache{
		maxAge: cfg.MaxAge, clock: deps.Clock, metrics: newMetrics(deps.Reg), owed: debts{limit: maxDebts},
		step: newStep(),
	}
	for name, p := range map[string]**pool{
		PoolUnread: &c.unread, PoolGroupSet: &c.groupSet, PoolToken: &c.token, PoolGroupMember: &c.groupMember,
	} {
		var err error
		if *p, err = newPool(name, cfg.Pools[name], deps, c.metrics); err != nil {
			return nil, errors.Join(err, c.Close())
		}
	}
	return c, nil
}

// quiet keeps the client library from writing to standard error: what it has
// to say reaches us as errors.
var quiet sync.Once //nolint:gochecknoglobals // the library has one logger for the process

type silent struct{}

func (silent) Printf(context.Context, string, ...any) {}

// Close closes every connection.
func (c *Cache) Close() error {
	var errs []error
	for _, p := range c.pools() {
		if p != nil {
			errs = append(errs, p.client.Close())
		}
	}
	return errors.Join(errs...)
}

// Ping asks every pool for a sign of life, also one that is left alone.
func (c *Cache) Ping(ctx context.Context) error {
	for _, p := range c.pools() {
		if err := p.client.Ping(ctx).Err(); err != nil {
			return fmt.Errorf("ping redis pool %s: %w", p.name, err)
		}
	}
	return nil
}

// Run asks every pool for a sign of life, at once and then at intervals, until
// ctx ends: a Redis that is absent is known before anybody needs it, and so
// is that of a pool that is seldom used.
func (c *Cache) Run(ctx context.Context) {
	ticker := time.NewTicker(askEvery)
	defer ticker.Stop()
	for {
		for _, p := range c.pools() {
			_ = p.do(ctx, func(r redis.UniversalClient) error { return r.Ping(ctx).Err() }) // the pool tells log and metrics
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

func (c *Cache) pools() []*pool { return []*pool{c.unread, c.groupSet, c.token, c.groupMember} }

// pool is the connections to one Redis and what is known of its health.
type pool struct {
	name    string
	client  redis.UniversalClient
	log     *slog.Logger
	clock   func() time.Time
	breaker breaker
	metrics poolMetrics
	sockets *sockets.Set
}

func newPool(name string, cfg PoolConfig, deps Deps, m *metrics) (*pool, error) {
	switch {
	case len(cfg.Addrs) == 0:
		return nil, fmt.Errorf("cache: pool %s has no address", name)
	case len(cfg.Addrs) > 1 && cfg.DB != 0:
		return nil, fmt.Errorf("cache: pool %s: a Redis cluster has no database %d", name, cfg.DB)
	}
	if cfg.MaxConns <= 0 {
		cfg.MaxConns = defaultMaxConns
	}
	open := &sockets.Set{DialTimeout: dialTimeout}
	client := redis.NewUniversalClient(&redis.UniversalOptions{
		Addrs: cfg.Addrs, DB: cfg.DB,
		CredentialsProvider: func() (user, password string) { return "", cfg.Password.Reveal() },
		Protocol:            2, DisableIdentity: true,
		// A repeated INCRBY would leave a gap in the ids: nothing is repeated
		// behind our back.
		MaxRetries: -1, DialerRetries: 1,
		DialTimeout: dialTimeout, ReadTimeout: ioTimeout, WriteTimeout: ioTimeout,
		PoolTimeout: ioTimeout, ContextTimeoutEnabled: true,
		PoolSize: cfg.MaxConns, PipelinePoolSize: -1, Dialer: open.Dial,
	})
	if deps.Fault != nil {
		client.AddHook(faultHook{deps.Fault})
	}
	return &pool{name: name, client: client, log: deps.Log, clock: deps.Clock, metrics: m.pool(name), sockets: open}, nil
}

// do runs fn unless Redis is being left alone. Errors of fn that mean trouble
// with Redis become ErrUnavailable; any other error is returned as it is.
func (p *pool) do(ctx context.Context, fn func(c redis.UniversalClient) error) error {
	if !p.breaker.allow(p.clock()) {
		p.metrics.skipped.Inc()
		return fmt.Errorf("pool %s: %w", p.name, ErrUnavailable)
	}
	err := fn(p.client)
	switch {
	case err == nil || errors.Is(err, redis.Nil) || !trouble(err):
		if p.breaker.ok() {
			p.log.Info("redis is back", "pool", p.name)
		}
		p.metrics.ok.Inc()
		p.metrics.up.Set(1)
		return err
	case ctx.Err() != nil:
		// The caller ran out of time; that says nothing about Redis.
		p.breaker.release()
		p.metrics.failed.Inc()
	default:
		if demoted(err) {
			p.sockets.CloseAll()
		}
		if p.breaker.fail(p.clock()) {
			p.log.Warn("redis is away", "pool", p.name, "error", err)
		}
		p.metrics.failed.Inc()
		p.metrics.up.Set(0)
	}
	return fmt.Errorf("pool %s: %w: %w", p.name, ErrUnavailable, err)
}

// pipeline sends what add queues in one round trip. Errors of single commands
// stay with the commands unless they mean trouble.
func (p *pool) pipeline(ctx context.Context, add func(pipe redis.Pipeliner)) error {
	return p.do(ctx, func(c redis.UniversalClient) error {
		cmds, err := c.Pipelined(ctx, func(pipe redis.Pipeliner) error { add(pipe); return nil })
		if err != nil && trouble(err) {
			return err
		}
		for _, cmd := range cmds {
			if err := cmd.Err(); err != nil && trouble(err) {
				return err
			}
		}
		return nil
	})
}

// inOrder sends what values and then steps queue: in one round trip, or where
// a cluster keeps them on different servers in two.
func (p *pool) inOrder(ctx context.Context, values, steps func(pipe redis.Pipeliner)) error {
	if _, cluster := p.client.(*redis.ClusterClient); !cluster {
		return p.pipeline(ctx, func(pipe redis.Pipeliner) { values(pipe); steps(pipe) })
	}
	if err := p.pipeline(ctx, values); err != nil {
		return err
	}
	return p.pipeline(ctx, steps)
}

// watchTries is how often a key that others write meanwhile is tried.
const watchTries = 5

// watch runs fn while nobody else writes key: what fn sends in a transaction
// is carried out only if the key is still as fn found it. fn may run more than
// once.
func (p *pool) watch(ctx context.Context, key string, fn func(tx *redis.Tx) error) error {
	var err error
	for range watchTries {
		err = p.do(ctx, func(c redis.UniversalClient) error { return c.Watch(ctx, fn, key) })
		if !errors.Is(err, redis.TxFailedErr) {
			return err
		}
	}
	return fmt.Errorf("pool %s: %w: %w", p.name, ErrUnavailable, err)
}

// sourceError carries an error of the record through watch, untouched.
type sourceError struct{ err error }

func (e *sourceError) Error() string { return e.err.Error() }
func (e *sourceError) Unwrap() error { return e.err }

// trouble tells an ill Redis from a command it refused because of the value
// it found, which is a matter of that one key.
func trouble(err error) bool {
	if errors.Is(err, redis.Nil) || errors.Is(err, redis.TxFailedErr) || isBroken(err) {
		return false
	}
	_, ours := errors.AsType[*sourceError](err)
	return !ours
}

// isBroken reports whether the key holds something that is not what it should
// be.
func isBroken(err error) bool {
	if _, ok := errors.AsType[redis.Error](err); !ok {
		return false
	}
	msg := err.Error()
	for _, known := range []string{"WRONGTYPE", "not an integer", "would overflow"} {
		if strings.Contains(msg, known) {
			return true
		}
	}
	return false
}

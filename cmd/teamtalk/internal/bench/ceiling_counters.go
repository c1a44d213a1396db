package bench

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"teamtalk/db_proxy/dbproxy"
)

// pipelineBatches are the lengths of pipelines that are measured.
var pipelineBatches = []int{1, 10, 100}

// measureCounters counts as a message does: its id, and what its receiver has
// not read.
func (c *Ceiling) measureCounters(ctx context.Context, cfg ceilingConfig, pool dbproxy.Redis) (err error) {
	client := redis.NewUniversalClient(&redis.UniversalOptions{
		Addrs: pool.Addrs, DB: pool.DB, Password: pool.Password.Reveal(), PoolSize: 2,
	})
	defer func() { _ = client.Close() }()
	if err := c.redisSettings(ctx, client); err != nil {
		return fmt.Errorf("ask Redis for its settings: %w", err)
	}
	keys := newCounterKeys("bench_ceiling_" + hex.EncodeToString(randomBytes(4)))
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
		defer cancel()
		for _, key := range keys.all() { // one by one: they may be on different nodes
			if delErr := client.Del(ctx, key).Err(); delErr != nil && err == nil {
				err = fmt.Errorf("remove the scratch keys: %w", delErr)
			}
		}
	}()
	for _, batch := range pipelineBatches {
		s, err := c.step(ctx, cfg, batch, 1, func(ctx context.Context, _, n int) error {
			_, err := client.Pipelined(ctx, func(p redis.Pipeliner) error {
				for i := range batch {
					k := (n*batch + i) % rowConversations
					p.IncrBy(ctx, keys.ids[k], 1)
					p.HSet(ctx, keys.unread[k], "1", n)
				}
				return nil
			})
			return err
		})
		if err != nil {
			return fmt.Errorf("count in pipelines of %d: %w", batch, err)
		}
		c.Redis = append(c.Redis, s)
	}
	return nil
}

// redisSettings notes what decides about speed and safety.
func (c *Ceiling) redisSettings(ctx context.Context, client redis.UniversalClient) error {
	info, err := client.Info(ctx, "server").Result()
	if err != nil {
		return err
	}
	c.Settings["redis version"] = procField(info, "redis_version")
	for _, name := range []string{"appendonly", "appendfsync", "save"} {
		values, err := client.ConfigGet(ctx, name).Result()
		if _, refused := errors.AsType[redis.Error](err); refused {
			return nil // CONFIG is often forbidden, and is not needed
		}
		if err != nil {
			return err
		}
		c.Settings["redis "+name] = strings.TrimSpace(values[name])
	}
	return nil
}

// counterKeys are the scratch keys, by conversation.
type counterKeys struct{ ids, unread []string }

func newCounterKeys(prefix string) (k counterKeys) {
	for i := range rowConversations {
		k.ids = append(k.ids, prefix+"_id_"+strconv.Itoa(i))
		k.unread = append(k.unread, prefix+"_unread_"+strconv.Itoa(i))
	}
	return k
}

func (k counterKeys) all() []string { return slices.Concat(k.ids, k.unread) }

// sorted returns the keys of a map in order.
func sorted[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

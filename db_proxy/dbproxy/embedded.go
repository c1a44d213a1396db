package dbproxy

import (
	"crypto/rand"
	"fmt"

	"github.com/alicebob/miniredis/v2"

	"teamtalk/db_proxy/internal/cache"
	"teamtalk/internal/secret"
)

// startCache runs a Redis inside this process for a configuration that names
// none, and returns how to reach it. It listens on loopback, where any process
// could come, so it has a password that only this process knows. What it holds
// ends with it: Redis is a cache.
func startCache() (*miniredis.Miniredis, cache.Config, error) {
	redis, password := miniredis.NewMiniRedis(), rand.Text()
	redis.RequireAuth(password)
	if err := redis.Start(); err != nil {
		return nil, cache.Config{}, fmt.Errorf("start the cache in this process: %w", err)
	}
	pool := cache.PoolConfig{Addrs: []string{redis.Addr()}, Password: secret.New(password)}
	pools := make(map[string]cache.PoolConfig, len(cacheInstances))
	for _, name := range cacheInstances {
		pools[name] = pool
	}
	return redis, cache.Config{Pools: pools}, nil
}

package dbproxy

import (
	"time"

	"teamtalk/db_proxy/internal/cache"
	"teamtalk/db_proxy/internal/store"
	"teamtalk/internal/transport"
)

// queryTimeout bounds one query: clients give up after eight seconds, and
// whoever waits longer asks again.
const queryTimeout = 6 * time.Second

func (c *Config) store() store.Config {
	return store.Config{
		Driver: c.StoreDriver,
		Path:   c.StorePath,
		Master: c.Master.pool(),
		Slave:  c.Slave.pool(),
	}
}

func (m *MySQL) pool() store.Pool {
	return store.Pool{
		Host: m.Host, Port: m.Port, Others: m.Others, DB: m.DBName, User: m.Username, Password: m.Password,
		InitConns: m.InitConnCnt, MaxConns: m.MaxConnCnt,
		MaxIdleTime: m.MaxIdleTime, AcquireTimeout: m.AcquireTimeout,
	}
}

func (c *Config) cache() cache.Config {
	pools := make(map[string]cache.PoolConfig, len(c.Caches))
	for name, r := range c.Caches {
		pools[name] = cache.PoolConfig{Addrs: r.Addrs, DB: r.DB, Password: r.Password, MaxConns: r.MaxConnCnt}
	}
	return cache.Config{Pools: pools}
}

func (c *Config) linkLimits() transport.Limits {
	limits := transport.LinkLimits
	limits.MaxPDU = c.MaxLinkPDU
	return limits
}

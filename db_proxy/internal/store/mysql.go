package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"fmt"
	"log/slog"
	"path/filepath"
	"time"

	"github.com/go-sql-driver/mysql"

	"teamtalk/db_proxy/internal/sockets"
	"teamtalk/internal/im"
)

// maxPacket bounds what Commit sends at once, also where the server would
// take more.
const maxPacket = 8 << 20

func (s *Store) openMySQL(ctx context.Context, cfg Config) error {
	s.dialect = newDialect(MySQL)
	cfg.Master, cfg.Slave = cfg.Master.withDefaults(), cfg.Slave.withDefaults()

	p, err := s.newPool(cfg.Master, true)
	if err != nil {
		return err
	}
	s.write, s.exact = p, p
	if err := s.await(ctx); err != nil {
		return err
	}
	if err := s.migrateMySQL(ctx, cfg.Master); err != nil {
		return err
	}
	if cfg.Slave.Host != "" {
		if s.lagging, err = s.newPool(cfg.Slave, false); err != nil {
			return err
		}
	}
	if err := s.write.preopen(ctx, cfg.Master.InitConns); err != nil {
		return err
	}
	allowed, err := s.maxAllowedPacket(ctx)
	if err != nil {
		return err
	}
	s.packet = min(maxPacket, allowed-1024)
	return nil
}

// newPool prepares a pool; nothing is connected yet.
func (s *Store) newPool(p Pool, writes bool) (*pool, error) {
	// Short lock waits, so that a stopped db_proxy does not hold its successor.
	r, err := s.mysqlRoute(p, writes, 30*time.Second, session{lockWait: 2 * time.Second, foreignKeys: true})
	if err != nil {
		return nil, err
	}
	var c driver.Connector = r
	if s.deps.Connector != nil {
		c = s.deps.Connector(c)
	}
	db := sql.OpenDB(c)
	db.SetMaxOpenConns(p.MaxConns)
	db.SetMaxIdleConns(p.MaxConns)
	db.SetConnMaxIdleTime(p.MaxIdleTime)
	db.SetConnMaxLifetime(time.Hour) // below any sensible wait_timeout; lets a load balancer move us
	made := &pool{db: db, wait: p.AcquireTimeout, health: newHealth(r, c, s.deps)}
	if trust := s.deps.Trust; trust != nil && writes {
		made.trust = func(ctx context.Context, c *sql.Conn) error { return trust(ctx, s.through(c)) }
	}
	return made, nil
}

// mysqlRoute leads to the addresses of a pool.
func (s *Store) mysqlRoute(p Pool, writes bool, readTimeout time.Duration, as session) (*route, error) {
	r := newRoute(nil, writes, s.deps.Clock)
	for _, addr := range p.addrs() {
		c, err := s.mysqlConnector(p, addr, readTimeout, as, &r.open)
		if err != nil {
			return nil, err
		}
		r.targets, r.failed = append(r.targets, target{addr: addr, connect: c}), append(r.failed, time.Time{})
	}
	return r, nil
}

// mysqlConnector makes connections to one address with the settings of a
// session; their sockets are in open.
func (s *Store) mysqlConnector(
	p Pool, addr string, readTimeout time.Duration, as session, open *sockets.Set,
) (driver.Connector, error) {
	c := mysql.NewConfig()
	c.DialFunc = open.Dial
	c.User, c.DBName = p.User, p.DB
	c.Net, c.Addr = "tcp", addr
	if filepath.IsAbs(addr) {
		c.Net = "unix"
	}
	c.InterpolateParams = true
	c.MultiStatements = true
	c.ClientFoundRows = true
	c.ParseTime = true // goose stamps the versions it applied
	c.Timeout = p.AcquireTimeout
	c.ReadTimeout, c.WriteTimeout = readTimeout, 10*time.Second
	c.Logger = driverLog{s.deps.Log}
	password := mysql.BeforeConnect(func(_ context.Context, c *mysql.Config) error {
		c.Passwd = p.Password.Reveal() // as it is now
		return nil
	})
	if err := c.Apply(password, mysql.Charset("utf8mb4", "utf8mb4_bin")); err != nil {
		return nil, err
	}
	inner, err := mysql.NewConnector(c)
	if err != nil {
		return nil, im.Wrap(im.Invalid, "store: database address", err)
	}
	return prepared{inner, as.settings()}, nil
}

// driverLog passes on what the driver has to say about broken connections;
// the error itself comes back from the call.
type driverLog struct{ log *slog.Logger }

func (l driverLog) Print(v ...any) {
	l.log.Debug("mysql driver", slog.String("msg", fmt.Sprint(v...)))
}

// await pings the master until it answers, refuses us for good, or ctx ends.
func (s *Store) await(ctx context.Context) error {
	pause := 100 * time.Millisecond
	for n := 0; ; n++ {
		err := classify(s.write.db.PingContext(ctx))
		if err == nil || !IsTransient(err) {
			return err
		}
		if n == 0 {
			s.deps.Log.Warn("database not reachable yet, waiting", slog.Any("error", err))
		}
		t := time.NewTimer(pause)
		select {
		case <-t.C:
			pause = min(2*pause, time.Second)
		case <-ctx.Done():
			t.Stop()
			return im.Wrap(im.Unavailable, "database not reachable", err)
		}
	}
}

func (s *Store) maxAllowedPacket(ctx context.Context) (n int, err error) {
	err = s.read(ctx, "max_allowed_packet", s.write, func(q querier) error {
		v, err := number(ctx, q, "SELECT @@max_allowed_packet")
		n = int(v)
		return err
	})
	return n, err
}

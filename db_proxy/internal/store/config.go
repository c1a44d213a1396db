package store

import (
	"context"
	"database/sql/driver"
	"errors"
	"log/slog"
	"net"
	"path/filepath"
	"strconv"
	"time"

	"teamtalk/internal/im"
	"teamtalk/internal/secret"
)

// The drivers.
const (
	MySQL  = "mysql"  // MySQL 8 or MariaDB 10.6 and later
	SQLite = "sqlite" // one file, one process
)

// Config says which database to open.
type Config struct {
	Driver string // MySQL or SQLite

	Master Pool // MySQL: every write, and every read that must be exact
	Slave  Pool // MySQL: history; Host "" means there is none

	Path string // SQLite: the data file; its folder is created
}

// Pool is one pool of connections to a MySQL server. Zero values of the
// numbers stand for the defaults in the comments.
type Pool struct {
	Host           string   // name, address, or the absolute path of a socket
	Port           int      // 3306
	Others         []string // further servers as host:port or path: see route
	DB             string
	User           string
	Password       secret.Value
	InitConns      int           // 2, opened by Open
	MaxConns       int           // 16
	MaxIdleTime    time.Duration // 5 min, then an idle connection is closed
	AcquireTimeout time.Duration // 2 s, the longest wait for a free connection
}

func (p Pool) withDefaults() Pool {
	def := func(v *int, d int) {
		if *v <= 0 {
			*v = d
		}
	}
	def(&p.Port, 3306)
	def(&p.MaxConns, 16)
	def(&p.InitConns, min(2, p.MaxConns))
	p.InitConns = min(p.InitConns, p.MaxConns)
	if p.MaxIdleTime <= 0 {
		p.MaxIdleTime = 5 * time.Minute
	}
	if p.AcquireTimeout <= 0 {
		p.AcquireTimeout = 2 * time.Second
	}
	return p
}

// addrs lists where the server may be, in the order of preference.
func (p Pool) addrs() []string {
	first := p.Host
	if !filepath.IsAbs(first) {
		first = net.JoinHostPort(p.Host, strconv.Itoa(p.Port))
	}
	return append([]string{first}, p.Others...)
}

func (c Config) validate() error {
	switch c.Driver {
	case MySQL:
		if c.Master.Host == "" || c.Master.DB == "" || c.Master.User == "" {
			return im.Errorf(im.Invalid, "store: the master pool needs host, database and user")
		}
	case SQLite:
		if c.Path == "" {
			return im.Errorf(im.Invalid, "store: sqlite needs a path")
		}
	default:
		return im.Errorf(im.Invalid, "store: unknown driver %q", c.Driver)
	}
	return nil
}

// Fault is called with the name of a storage operation ("commit", "users",
// "unread_all" …) before it starts and, for a write, again with ":done" appended
// after it took effect. An error it returns takes the place of the result.
type Fault func(ctx context.Context, point string) error

// Deps is what a Store needs from its owner.
type Deps struct {
	Log   *slog.Logger
	Clock func() time.Time
	Fault Fault // nil: none
	// Doubt, if set, is called when the master went away, refuses writes or
	// came back, or a connection to it was lost: Well may say something else,
	// and what is known of the database may not hold any more. It is called
	// from any goroutine and must not block or call the Store.
	Doubt func()
	// Trust, if set, looks at the database of the master through a connection
	// before anything else is read or written over it: it may lead to another
	// server than those before, or to one that was restored. After an error
	// the connection is not used, and the next call looks again; after
	// ErrWentBack it is trusted. The view is that connection, and ends with
	// the call. It is called from any goroutine. A file needs none.
	Trust func(ctx context.Context, view *Store) error
	// Connector, if set, stands between database/sql and the driver of every
	// connection.
	Connector func(driver.Connector) driver.Connector
}

func (d Deps) validate() error {
	if d.Log == nil || d.Clock == nil {
		return errors.New("store: Log and Clock are required")
	}
	return nil
}

//go:build unix

package procs

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"

	"github.com/go-sql-driver/mysql"
)

// MariaDB is a private server on the loopback interface with the default
// durability: a commit is on disk before it is confirmed. Its user root has no
// password.
type MariaDB struct {
	*Server
	Port int
}

// MariaDBConfig of a private server.
type MariaDBConfig struct {
	Dir      string   // data, socket, log and pid file; kept when the server ends
	Port     int      // on 127.0.0.1
	Args     []string // more options for mariadbd
	Detached bool     // as in Config
}

// maxSocketPath is what every system allows for the path of a socket.
const maxSocketPath = 100

// NewMariaDB prepares the folder, which takes some seconds the first time, and
// returns the server not yet started.
func NewMariaDB(ctx context.Context, cfg MariaDBConfig) (*MariaDB, error) {
	daemon, err := Find("mariadb-server", "mariadbd", "mysqld")
	if err != nil {
		return nil, err
	}
	dir, err := filepath.Abs(cfg.Dir)
	if err != nil {
		return nil, fmt.Errorf("find folder of MariaDB: %w", err)
	}
	socket := filepath.Join(dir, "sock")
	if len(socket) > maxSocketPath {
		return nil, fmt.Errorf("folder %s is too long for a socket in it", dir)
	}
	data := filepath.Join(dir, "data")
	// Not the system's: a server that starts removes other servers' files there.
	temporary := filepath.Join(dir, "tmp")
	if err := os.MkdirAll(temporary, 0o700); err != nil {
		return nil, fmt.Errorf("make folder of MariaDB: %w", err)
	}
	if err := installMariaDB(ctx, data, temporary); err != nil {
		return nil, err
	}
	args := append([]string{
		"--no-defaults", "--datadir=" + data, "--tmpdir=" + temporary, "--socket=" + socket, "--bind-address=" + loopback,
		"--port=" + strconv.Itoa(cfg.Port), "--pid-file=" + filepath.Join(dir, "mariadbd.pid"),
		"--innodb-flush-log-at-trx-commit=1", "--skip-name-resolve", "--max-connections=1000",
	}, userArgs()...)
	conn, err := connector(join(cfg.Port), "")
	if err != nil {
		return nil, err
	}
	return &MariaDB{
		Server: NewServer(Config{
			Name: "MariaDB", Path: daemon, Args: append(args, cfg.Args...), Dir: dir,
			LogFile: filepath.Join(dir, "mariadbd.log"), Detached: cfg.Detached,
		}, join(cfg.Port), func(ctx context.Context) error { return ping(ctx, conn) }),
		Port: cfg.Port,
	}, nil
}

// installMariaDB makes the system tables unless they are there. They are made
// aside and moved, so that a folder is never half made.
func installMariaDB(ctx context.Context, data, temporary string) error {
	if _, err := os.Stat(data); err == nil {
		return nil
	} else if !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("look at data of MariaDB: %w", err)
	}
	install, err := Find("mariadb-server", "mariadb-install-db", "mysql_install_db")
	if err != nil {
		return err
	}
	fresh := data + ".new"
	if err := errors.Join(os.RemoveAll(fresh), os.MkdirAll(fresh, 0o700)); err != nil {
		return fmt.Errorf("make folder of MariaDB: %w", err)
	}
	args := append([]string{
		"--no-defaults", "--datadir=" + fresh, "--auth-root-authentication-method=normal", "--skip-test-db",
	}, userArgs()...)
	cmd := exec.CommandContext(ctx, install, args...)
	cmd.Env = append(os.Environ(), "TMPDIR="+temporary)
	if output, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("install MariaDB in %s: %w\n%s", data, err, output)
	}
	if err := os.Rename(fresh, data); err != nil {
		return fmt.Errorf("install MariaDB: %w", err)
	}
	return nil
}

// DSN returns the data source name of a database for go-sql-driver.
func (m *MariaDB) DSN(database string) string { return dsn(m.Addr(), database).FormatDSN() }

// Exec runs one statement outside of any database.
func (m *MariaDB) Exec(ctx context.Context, statement string) error {
	return m.ExecIn(ctx, "", statement)
}

// ExecIn runs one statement in a database.
func (m *MariaDB) ExecIn(ctx context.Context, database, statement string) error {
	c, err := connector(m.Addr(), database)
	if err != nil {
		return err
	}
	db := sql.OpenDB(c)
	defer db.Close()
	if _, err := db.ExecContext(ctx, statement); err != nil {
		return fmt.Errorf("run on MariaDB: %w", err)
	}
	return nil
}

func dsn(addr, database string) *mysql.Config {
	cfg := mysql.NewConfig()
	cfg.Net, cfg.Addr, cfg.User, cfg.DBName = "tcp", addr, "root", database
	cfg.Logger = &mysql.NopLogger{} // a server that is still starting is no news
	return cfg
}

func connector(addr, database string) (driver.Connector, error) {
	c, err := mysql.NewConnector(dsn(addr, database))
	if err != nil {
		return nil, fmt.Errorf("configure MariaDB: %w", err)
	}
	return c, nil
}

func ping(ctx context.Context, c driver.Connector) error {
	db := sql.OpenDB(c)
	defer db.Close()
	return db.PingContext(ctx)
}

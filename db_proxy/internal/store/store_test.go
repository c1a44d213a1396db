package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"

	"teamtalk/internal/im"
)

// server is the MariaDB that all tests share, each with its own database.
var server mariadb

func TestMain(m *testing.M) {
	code := m.Run()
	server.stop()
	os.Exit(code)
}

// mariadb is a private server, started by the first test that needs it.
type mariadb struct {
	once  sync.Once
	err   error
	cmd   *exec.Cmd
	dir   string
	port  int
	names atomic.Int64
}

func (m *mariadb) start() {
	daemon, err := exec.LookPath("mariadbd")
	if err != nil {
		m.err = err
		return
	}
	if m.dir, m.err = os.MkdirTemp("", "tt-store-"); m.err != nil {
		return
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		m.err = err
		return
	}
	m.port = l.Addr().(*net.TCPAddr).Port
	_ = l.Close() // only to learn a free port
	data := filepath.Join(m.dir, "data")
	out, err := exec.Command("mariadb-install-db", "--no-defaults", "--user=root", "--datadir="+data,
		"--auth-root-authentication-method=normal", "--skip-test-db").CombinedOutput()
	if err != nil {
		m.err = fmt.Errorf("mariadb-install-db: %w\n%s", err, out)
		return
	}
	m.cmd = exec.Command(daemon, "--no-defaults", "--user=root", "--datadir="+data, "--bind-address=127.0.0.1",
		"--port="+strconv.Itoa(m.port), "--socket="+filepath.Join(m.dir, "s"), "--log-error="+filepath.Join(m.dir, "log"),
		"--innodb-buffer-pool-size=64M", "--max-connections=500")
	if m.err = m.cmd.Start(); m.err != nil {
		return
	}
	if m.err = m.ready(); m.err != nil {
		log, _ := os.ReadFile(filepath.Join(m.dir, "log"))
		m.err = fmt.Errorf("%w\n%s", m.err, log)
	}
}

func (m *mariadb) config(db string) *mysql.Config {
	c := mysql.NewConfig()
	c.User, c.Net, c.Addr, c.DBName = "root", "tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(m.port)), db
	c.Logger = &mysql.NopLogger{}
	return c
}

func (m *mariadb) ready() error {
	c, err := mysql.NewConnector(m.config(""))
	if err != nil {
		return err
	}
	db := sql.OpenDB(c)
	defer db.Close()
	for end := time.Now().Add(30 * time.Second); ; {
		if err = db.Ping(); err == nil {
			_, err = db.Exec("CREATE USER tt IDENTIFIED BY 'secret'")
			if err == nil {
				_, err = db.Exec("GRANT ALL ON *.* TO tt")
			}
			return err
		}
		if time.Now().After(end) {
			return err
		}
		time.Sleep(50 * time.Millisecond) // a server that starts tells nobody
	}
}

func (m *mariadb) stop() {
	if m.cmd != nil && m.cmd.Process != nil {
		_ = m.cmd.Process.Signal(syscall.SIGKILL) // its data is thrown away
		_ = m.cmd.Wait()
	}
	if m.dir != "" {
		_ = os.RemoveAll(m.dir)
	}
}

// root opens a connection to db with all rights.
func (m *mariadb) root(tb testing.TB, db string) *sql.DB {
	tb.Helper()
	c, err := mysql.NewConnector(m.config(db))
	if err != nil {
		tb.Fatal(err)
	}
	conn := sql.OpenDB(c)
	tb.Cleanup(func() { _ = conn.Close() })
	return conn
}

// pool returns the pool of a new, empty database.
func (m *mariadb) pool(tb testing.TB) Pool {
	tb.Helper()
	m.once.Do(m.start)
	if m.err != nil {
		if errors.Is(m.err, exec.ErrNotFound) && os.Getenv("CI") == "" {
			tb.Skip("no mariadbd here")
		}
		tb.Fatal(m.err)
	}
	name := fmt.Sprintf("t%d", m.names.Add(1))
	if _, err := m.root(tb, "").Exec("CREATE DATABASE " + name); err != nil {
		tb.Fatal(err)
	}
	return Pool{Host: "127.0.0.1", Port: m.port, DB: name, User: "tt", Password: "secret"}
}

// clock is a time that tests move.
type clock struct{ unix atomic.Int64 }

func newClock() *clock {
	c := &clock{}
	c.unix.Store(1_700_000_000)
	return c
}

func (c *clock) now() time.Time     { return time.Unix(c.unix.Load(), 0) }
func (c *clock) seconds() uint32    { return uint32(c.unix.Load()) }
func (c *clock) add(d int64) uint32 { return uint32(c.unix.Add(d)) }

// fixture is an open store of one engine.
type fixture struct {
	*Store
	cfg   Config
	clock *clock
}

func (f fixture) deps() Deps { return Deps{Log: slog.New(slog.DiscardHandler), Clock: f.clock.now} }

func open(tb testing.TB, cfg Config) fixture {
	tb.Helper()
	f := fixture{cfg: cfg, clock: newClock()}
	ctx, cancel := context.WithTimeout(tb.Context(), time.Minute)
	defer cancel()
	s, err := Open(ctx, cfg, f.deps())
	if err != nil {
		tb.Fatalf("open: %v", err)
	}
	tb.Cleanup(func() {
		if err := s.Close(); err != nil {
			tb.Errorf("close: %v", err)
		}
	})
	f.Store = s
	return f
}

// second opens the database once more where the engine allows it, and returns
// the same store where a second process is refused.
func (f fixture) second(tb testing.TB) fixture {
	tb.Helper()
	if f.cfg.Driver == SQLite {
		return f
	}
	return open(tb, f.cfg)
}

func newStore(tb testing.TB, driver string) fixture {
	tb.Helper()
	cfg := Config{Driver: driver}
	if driver == SQLite {
		cfg.Path = filepath.Join(tb.TempDir(), "data", "tt.db")
	} else {
		cfg.Master = server.pool(tb)
		cfg.Slave = cfg.Master
	}
	return open(tb, cfg)
}

// each runs a test on every engine.
func each(t *testing.T, test func(t *testing.T, f fixture)) {
	t.Helper()
	t.Parallel()
	for _, driver := range []string{SQLite, MySQL} {
		t.Run(driver, func(t *testing.T) {
			t.Parallel()
			test(t, newStore(t, driver))
		})
	}
}

func must[T any](v T, err error) func(testing.TB) T {
	return func(tb testing.TB) T {
		tb.Helper()
		if err != nil {
			tb.Fatal(err)
		}
		return v
	}
}

func check(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}

func wantCode(tb testing.TB, err error, want im.Code) {
	tb.Helper()
	if got := im.CodeOf(err); err == nil || got != want {
		tb.Fatalf("error %v has code %v, want %v", err, got, want)
	}
}

// users makes n accounts u1 … un and returns their ids.
func (f fixture) users(tb testing.TB, n int) []im.UserID {
	tb.Helper()
	list := make([]NewUser, n)
	for i := range list {
		list[i] = NewUser{Name: fmt.Sprintf("u%d", i+1), Nick: fmt.Sprintf("nick %d", i+1)}
	}
	ids := make([]im.UserID, n)
	for i, c := range must(f.CreateUsers(tb.Context(), list))(tb) {
		ids[i] = c.ID
	}
	return ids
}

// relation makes the relation of two users.
func (f fixture) relation(tb testing.TB, a, b im.UserID) ConvRef {
	tb.Helper()
	p := im.PairOf(a, b)
	ids := must(f.EnsureRelations(tb.Context(), []im.Pair{p}))(tb)
	return ConvRef{im.SingleOf(a, b), ids[p]}
}

func (f fixture) text(r ConvRef, id im.MsgID, from im.UserID, content string) Message {
	m := Message{Conv: r.Conv, Relation: r.Relation, ID: id, From: from, Content: content, Created: f.clock.seconds(), Type: im.GroupText}
	if r.Conv.Kind == im.Single {
		m.To, m.Type = r.Conv.Pair.Peer(from), im.SingleText
	}
	return m
}

func opID(n int) (id im.OperationID) {
	copy(id[:], fmt.Sprintf("%016d", n))
	return id
}

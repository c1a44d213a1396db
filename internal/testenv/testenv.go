//go:build unix

// Package testenv gives tests the real thing: a MariaDB and a Redis of their
// own, started on free ports of the loopback interface and ended with the test
// binary. A server that is not installed fails the test; nothing is skipped.
package testenv

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"sync"
	"testing"
	"time"

	"teamtalk/internal/procs"
	"teamtalk/internal/testenv/ports"
)

// startTimeout is for a slow machine that runs many packages' tests at once.
const startTimeout = 2 * time.Minute

// env is what the tests of one binary share.
var env struct {
	mu        sync.Mutex
	ready     bool // Main runs
	mariadb   *procs.MariaDB
	err       error // of starting it; not tried again
	dirs      []string
	databases int
}

// Main is the TestMain of packages that use MariaDB:
//
//	func TestMain(m *testing.M) { testenv.Main(m) }
//
// It ends what the tests shared. After is run behind that, such as a check for
// leaked goroutines; an error fails the run.
func Main(m *testing.M, after ...func() error) {
	env.mu.Lock()
	env.ready = true
	env.mu.Unlock()
	code := m.Run()
	errs := []error{stop()}
	if code == 0 { // tests that failed may well have left something behind
		for _, f := range after {
			errs = append(errs, f())
		}
	}
	if err := errors.Join(errs...); err != nil {
		fmt.Fprintln(os.Stderr, "testenv:", err)
		code = max(code, 1)
	}
	os.Exit(code)
}

func stop() error {
	env.mu.Lock()
	defer env.mu.Unlock()
	var errs []error
	if env.mariadb != nil {
		errs = append(errs, env.mariadb.Kill()) // its data goes anyway
	}
	for _, dir := range env.dirs {
		errs = append(errs, os.RemoveAll(dir))
	}
	return errors.Join(errs...)
}

// Database is an empty database of one test.
type Database struct {
	Host     string
	Port     int
	User     string // may do everything
	Password string // empty
	Name     string

	server *procs.MariaDB
}

// DSN returns the data source name for go-sql-driver.
func (d *Database) DSN() string { return d.server.DSN(d.Name) }

// Exec runs one statement in the database.
func (d *Database) Exec(ctx context.Context, statement string) error {
	return d.server.ExecIn(ctx, d.Name, statement)
}

// MariaDB makes an empty database on the server that the tests of this binary
// share, which the first call starts. It is dropped when the test ends. Tests
// that harm the server take OwnMariaDB.
func MariaDB(t testing.TB) *Database {
	t.Helper()
	env.mu.Lock()
	defer env.mu.Unlock()
	if !env.ready {
		t.Fatal("testenv: the package needs func TestMain(m *testing.M) { testenv.Main(m) }")
	}
	if env.mariadb == nil && env.err == nil {
		var dir string
		dir, env.err = os.MkdirTemp("", "tt")
		if env.err == nil {
			env.dirs = append(env.dirs, dir)
			env.mariadb, env.err = startMariaDB(dir)
		}
	}
	if env.err != nil {
		t.Fatal(env.err)
	}
	env.databases++
	return newDatabase(t, env.mariadb, fmt.Sprintf("test_%d", env.databases))
}

// OwnMariaDB starts a server for one test, with an empty database, that the
// test may kill, pause and start again through the second result. args are more
// options for it.
func OwnMariaDB(t testing.TB, args ...string) (*Database, *procs.MariaDB) {
	t.Helper()
	dir, err := os.MkdirTemp("", "tt") // t.TempDir is too long for the path of a socket
	if err != nil {
		t.Fatal(err)
	}
	env.mu.Lock()
	server, err := startMariaDB(dir, args...)
	env.mu.Unlock()
	t.Cleanup(func() {
		if server != nil {
			if err := server.Kill(); err != nil {
				t.Error(err)
			}
		}
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	return newDatabase(t, server, "test"), server
}

// attempts to find a port that nobody takes before the server does.
const attempts = 3

// startMariaDB runs under env.mu.
func startMariaDB(dir string, args ...string) (*procs.MariaDB, error) {
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	var errs []error
	for range attempts {
		port, err := ports.Take(0)
		if err != nil {
			return nil, err
		}
		server, err := procs.NewMariaDB(ctx, procs.MariaDBConfig{Dir: dir, Port: port, Args: args})
		if err != nil {
			return nil, err
		}
		if err = server.Start(ctx); err == nil {
			return server, nil
		}
		errs = append(errs, err)
	}
	return nil, errors.Join(errs...)
}

func newDatabase(t testing.TB, server *procs.MariaDB, name string) *Database {
	t.Helper()
	if err := server.Exec(t.Context(), "CREATE DATABASE "+name); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		// A database left on a server that is about to be removed does no harm.
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		_ = server.Exec(ctx, "DROP DATABASE IF EXISTS "+name)
	})
	return &Database{Host: "127.0.0.1", Port: server.Port, User: "root", Name: name, server: server}
}

// Redis starts an empty Redis for one test, which takes some milliseconds. The
// test may kill, pause and start it again; it then comes back empty.
func Redis(t testing.TB) *procs.Redis {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	dir := t.TempDir()
	var errs []error
	for range attempts {
		server, err := procs.NewRedis(procs.RedisConfig{Dir: dir, Port: FreePorts(t, 1)[0]})
		if err != nil {
			t.Fatal(err)
		}
		if err = server.Start(ctx); err == nil {
			t.Cleanup(func() {
				if err := server.Kill(); err != nil {
					t.Error(err)
				}
			})
			return server
		}
		errs = append(errs, err)
	}
	t.Fatal(errors.Join(errs...))
	return nil
}

// FreePorts returns n ports of 127.0.0.1 that nobody listens on and that no
// other test of this machine is given, so that a server may be stopped and
// started on its port.
func FreePorts(t testing.TB, n int) []int {
	t.Helper()
	all := make([]int, n)
	for i := range all {
		all[i] = FreeBase(t, 0)
	}
	return all
}

// FreeBase returns a port from which those at these distances are as FreePorts
// returns them, for servers whose ports follow from one.
func FreeBase(t testing.TB, distances ...int) int {
	t.Helper()
	base, err := ports.Take(distances...)
	if err != nil {
		t.Fatal(err)
	}
	return base
}

// FreeAddr returns the address of one such port, HOST:PORT.
func FreeAddr(t testing.TB) string {
	t.Helper()
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(FreeBase(t, 0)))
}

// Eventually waits until condition holds and fails the test with the message,
// formatted, if it does not within the timeout. The timeout is for a broken
// program, not for a slow machine: make it generous.
func Eventually(t testing.TB, timeout time.Duration, condition func() bool, message string, args ...any) {
	t.Helper()
	deadline := time.NewTimer(timeout)
	defer deadline.Stop()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !condition() {
		select {
		case <-tick.C:
		case <-deadline.C:
			t.Fatalf("not within %s: "+message, append([]any{timeout}, args...)...)
		}
	}
}

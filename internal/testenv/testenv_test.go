//go:build unix

package testenv_test

import (
	"context"
	"database/sql"
	"slices"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"teamtalk/internal/testenv"
)

func TestMain(m *testing.M) { testenv.Main(m) }

func open(t *testing.T, dsn string) *sql.DB {
	t.Helper()
	db, err := sql.Open("mysql", dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return db
}

func TestDatabasesAreApart(t *testing.T) {
	t.Parallel()
	one, two := testenv.MariaDB(t), testenv.MariaDB(t)
	if one.Port != two.Port || one.Name == two.Name {
		t.Errorf("%+v %+v", one, two)
	}
	for _, d := range []*testenv.Database{one, two} {
		if _, err := open(t, d.DSN()).ExecContext(t.Context(), "CREATE TABLE t (n INT)"); err != nil {
			t.Error(err)
		}
	}
	var flush string
	err := open(t, one.DSN()).QueryRowContext(t.Context(), "SELECT @@innodb_flush_log_at_trx_commit").Scan(&flush)
	if err != nil || flush != "1" {
		t.Errorf("commits are not written to disk: %q %v", flush, err)
	}
}

func TestOwnMariaDB(t *testing.T) {
	t.Parallel()
	d, server := testenv.OwnMariaDB(t)
	db := open(t, d.DSN())
	if _, err := db.ExecContext(t.Context(), "CREATE TABLE t (n INT)"); err != nil {
		t.Fatal(err)
	}
	if err := server.Pause(); err != nil {
		t.Fatal(err)
	}
	short, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := db.ExecContext(short, "INSERT INTO t VALUES (1)"); err == nil {
		t.Error("a paused server answers")
	}
	if err := server.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := server.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	testenv.Eventually(t, time.Minute, func() bool {
		_, err := db.ExecContext(t.Context(), "INSERT INTO t VALUES (2)")
		return err == nil
	}, "the table is back")
}

func TestRedis(t *testing.T) {
	t.Parallel()
	for range 2 {
		server := testenv.Redis(t)
		client := redis.NewClient(&redis.Options{Addr: server.Addr()})
		defer client.Close()
		if n, err := client.Incr(t.Context(), "n").Result(); n != 1 || err != nil {
			t.Errorf("%d %v", n, err)
		}
	}
}

func TestFreePorts(t *testing.T) {
	t.Parallel()
	ports := append(testenv.FreePorts(t, 50), testenv.FreePorts(t, 50)...)
	slices.Sort(ports)
	if n := len(slices.Compact(ports)); n != 100 {
		t.Errorf("%d different ports", n)
	}
}

//go:build unix

package system

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"path/filepath"
	"testing"

	"github.com/go-sql-driver/mysql"

	"teamtalk/internal/testenv"
	"teamtalk/test/chaos/internal/schedule"
)

// pair starts a primary, its replica and the proxy in front of them.
func pair(t *testing.T) *System {
	t.Helper()
	s, err := newSystem("databases", Config{Dir: filepath.Join(t.TempDir(), "s"), BasePort: testenv.FreeBase(t, Distances()...), Replica: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(s.Close()); err != nil || len(s.Wrong()) > 0 {
			t.Error(err, s.Wrong())
		}
	})
	ctx := t.Context()
	err = s.prepareDatabases(ctx)
	for _, step := range []func() error{
		func() error { return s.front(ctx, "mariadb", s.cfg.BasePort+mariadbPort) },
		func() error { return s.startAll(ctx, s.order...) },
		func() error { return s.createDatabase(ctx) },
	} {
		if err == nil {
			err = step()
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// connect opens one connection as the roles do.
func connect(t *testing.T, s *System) *sql.Conn {
	t.Helper()
	db, err := sql.Open("mysql", fmt.Sprintf("%s@tcp(%s)/teamtalk", databaseUser, local(s.cfg.BasePort+mariadbPort+proxyOffset)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	c, err := db.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func do(t *testing.T, c *sql.Conn, statement string) {
	t.Helper()
	if _, err := c.ExecContext(t.Context(), statement); err != nil {
		t.Fatalf("%s: %v", statement, err)
	}
}

// asked is a database or a connection of one.
type asked interface {
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// rows returns how many numbers stand in the table.
func rows(ctx context.Context, t *testing.T, q asked) (n int) {
	t.Helper()
	if err := q.QueryRowContext(ctx, "SELECT COUNT(*) FROM numbers").Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

// The databases change places with everything and without the last rows.
func TestTheReplicaTakesThePlace(t *testing.T) { //nolint:paralleltest // it has fixed ports
	if testing.Short() {
		t.Skip("starts two databases")
	}
	s := pair(t)
	ctx := t.Context()
	c := connect(t, s)
	do(t, c, "CREATE TABLE numbers (n INT PRIMARY KEY)")
	for n := 1; n <= 4; n += 2 { // there, and back again
		do(t, c, fmt.Sprintf("INSERT INTO numbers VALUES (%d)", n))
		f := schedule.Fault{Kind: schedule.Failover, Target: "mariadb"}
		began, harmed := false, 0
		err := s.Inject(ctx, &f, Notes{Begin: func() { began = true }, Hit: func(conns int) { harmed = conns }})
		if err != nil || !began || harmed == 0 {
			t.Fatal(err, began, harmed)
		}
		_, err = c.ExecContext(ctx, fmt.Sprintf("INSERT INTO numbers VALUES (%d)", n+1))
		if refused, ok := errors.AsType[*mysql.MySQLError](err); !ok || refused.Number != 1290 {
			t.Fatalf("the old primary says %v", err)
		}
		if got := rows(ctx, t, c); got != n {
			t.Errorf("the old primary has %d rows of %d", got, n)
		}
		c = connect(t, s)
		do(t, c, fmt.Sprintf("INSERT INTO numbers VALUES (%d)", n+1))
		if got := rows(ctx, t, c); got != n+1 {
			t.Errorf("the new primary has %d rows of %d", got, n+1)
		}
	}
	f := schedule.Fault{Kind: schedule.GoBack, Target: "mariadb"}
	restored, gone := 0, 0
	err := s.Inject(ctx, &f, Notes{
		Begin: func() { do(t, c, "INSERT INTO numbers VALUES (5)") }, Hit: func(int) {},
		Restored: func(ctx context.Context, db *sql.DB) error { restored = rows(ctx, t, db); return nil },
		Gone:     func(ctx context.Context, db *sql.DB) error { gone = rows(ctx, t, db); return nil },
	})
	if err != nil || restored != 4 || gone != 5 {
		t.Fatalf("%v, %d rows and %d before", err, restored, gone)
	}
	c = connect(t, s)
	do(t, c, "INSERT INTO numbers VALUES (5)")
}

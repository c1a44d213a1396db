package store

import (
	"context"
	"database/sql"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"

	"teamtalk/internal/im"
	"teamtalk/internal/secret"
	"teamtalk/internal/testenv"
)

func TestMain(m *testing.M) { testenv.Main(m) }

// mariadb returns the pool of a new, empty database.
func mariadb(tb testing.TB) Pool {
	tb.Helper()
	d := testenv.MariaDB(tb)
	return Pool{Host: d.Host, Port: d.Port, DB: d.Name, User: d.User, Password: secret.New(d.Password)}
}

// connect opens p without any of the store's session settings.
func connect(tb testing.TB, p Pool) *sql.DB {
	tb.Helper()
	c := mysql.NewConfig()
	c.User, c.Passwd, c.DBName = p.User, p.Password.Reveal(), p.DB
	c.Net, c.Addr = "tcp", net.JoinHostPort(p.Host, strconv.Itoa(p.Port))
	connector, err := mysql.NewConnector(c)
	if err != nil {
		tb.Fatal(err)
	}
	db := sql.OpenDB(connector)
	tb.Cleanup(func() { _ = db.Close() })
	return db
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
		cfg.Master = mariadb(tb)
		cfg.Slave = cfg.Master
	}
	return open(tb, cfg)
}

// each runs a test on every engine.
func each(t *testing.T, test func(t *testing.T, f fixture)) {
	t.Helper()
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

// sameTable returns an operation of a user in another conversation whose
// messages are in the same table.
func (f fixture) sameTable(tb testing.TB, ref ConvRef, from im.UserID, id im.OperationID) Operation {
	tb.Helper()
	for peer := im.UserID(1000); ; peer++ {
		if other := f.relation(tb, from, peer); other.Relation%im.Shards == ref.Relation%im.Shards {
			return Operation{other.Conv, other.Relation, from, id}
		}
	}
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

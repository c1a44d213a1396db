package store

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"

	"teamtalk/internal/im"
	"teamtalk/internal/secret"
	"teamtalk/internal/testenv"
)

// floating is an address that leads to one server after the other. Connections
// that were made before it moved live on.
type floating struct {
	net.Listener
	mu   sync.Mutex
	to   string
	made int // connections
}

func newFloating(t *testing.T, to string) *floating {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	check(t, err)
	f := &floating{Listener: l, to: to}
	var all sync.WaitGroup
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(func() { cancel(); _ = l.Close(); all.Wait() })
	all.Go(func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			f.mu.Lock()
			to := f.to
			f.made++
			f.mu.Unlock()
			out, err := net.Dial("tcp", to)
			if err != nil {
				_ = in.Close()
				continue
			}
			context.AfterFunc(ctx, func() { _, _ = in.Close(), out.Close() })
			all.Go(func() { _, _ = io.Copy(out, in); _ = out.Close() })
			all.Go(func() { _, _ = io.Copy(in, out); _ = in.Close() })
		}
	})
	return f
}

func (f *floating) move(to string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.to = to
}

func (f *floating) port() int { return f.Addr().(*net.TCPAddr).Port }

// twoServers are two servers with the same tables and an account that read_only
// binds.
func twoServers(t *testing.T) (a, b Pool, readOnly func(p Pool, on bool)) {
	t.Helper()
	byPort := map[int]interface {
		Exec(ctx context.Context, text string) error
	}{}
	var pools []Pool
	for range 2 {
		db, server := testenv.OwnMariaDB(t)
		byPort[db.Port] = server
		for _, text := range []string{
			"CREATE USER ordinary@'%' IDENTIFIED BY 'x'", "GRANT ALL ON " + db.Name + ".* TO ordinary@'%'",
		} {
			check(t, server.Exec(t.Context(), text))
		}
		pools = append(pools, Pool{
			Host: db.Host, Port: db.Port, DB: db.Name, User: "ordinary", Password: secret.New("x"), MaxConns: 4,
		})
		open(t, Config{Driver: MySQL, Master: pools[len(pools)-1]})
	}
	return pools[0], pools[1], func(p Pool, on bool) {
		t.Helper()
		check(t, byPort[p.Port].Exec(t.Context(), fmt.Sprintf("SET GLOBAL read_only = %v", on)))
	}
}

func (p Pool) addr() string { return p.addrs()[0] }

// insert stores a message and says where it is.
func put(f fixture, id im.MsgID) error {
	return f.Commit(context.Background(), &Batch{Messages: []Message{
		{Conv: im.SingleOf(1, 2), Relation: 8, ID: id, From: 1, To: 2, Type: im.SingleText, Content: "x", Created: 1},
	}})
}

// The address leads to a new primary while the old one stays up, reachable and
// read-only: nothing goes there any more, reads neither.
func TestAddressMoves(t *testing.T) {
	t.Parallel()
	a, b, readOnly := twoServers(t)
	address := newFloating(t, a.addr())
	pool := a
	pool.Port = address.port()
	f := openLive(t, Config{Driver: MySQL, Master: pool, Slave: pool})
	check(t, put(f, 1))
	check(t, f.write.preopen(t.Context(), 4))                 // the whole pool leads to a
	if _, err := f.lagging.acquire(t.Context()); err != nil { // and so do those of history, which stay there
		t.Fatal(err)
	}

	// The old primary is demoted before the address moves.
	readOnly(a, true)
	if err := put(f, 2); im.CodeOf(err) != im.Unavailable || errors.Is(err, ErrOutcomeUnknown) {
		t.Errorf("a read-only server: %v", err)
	}
	if f.Well() == nil {
		t.Error("a server that refuses writes is well")
	}
	if err := f.Ping(t.Context()); im.CodeOf(err) != im.Unavailable {
		t.Errorf("ready on a server that refuses writes: %v", err)
	}
	if n := len(must(f.History(t.Context(), ConvRef{im.SingleOf(1, 2), 8}, 0, 9, Since{}))(t)); n != 1 {
		t.Errorf("%d messages read while writes are refused, want 1", n)
	}
	address.move(b.addr())
	testenv.Eventually(t, 10*time.Second, func() bool { return put(f, 2) == nil }, "nothing is stored after the address moved")
	for range 8 { // more than the pool has: none is left that leads to a
		got := must(f.History(t.Context(), ConvRef{im.SingleOf(1, 2), 8}, 0, 9, Since{}))(t)
		if len(got) != 1 || got[0].ID != 2 {
			t.Fatalf("read %v, want message 2 of the new primary alone", got)
		}
	}
	check(t, f.Ping(t.Context()))

	// In the middle of a transaction, and back without a move.
	readOnly(b, true)
	err := f.update(t.Context(), "test", func(q querier) error {
		_, err := q.exec(t.Context(), writeProbe)
		return err
	})
	if im.CodeOf(err) != im.Unavailable {
		t.Errorf("a write in a transaction: %v", err)
	}
	readOnly(b, false)
	testenv.Eventually(t, 10*time.Second, func() bool { return put(f, 3) == nil }, "nothing is stored after read_only was lifted")
}

// Nobody writes when the server is demoted: whoever asks whether it is ready
// finds out all the same.
func TestReadinessFindsReadOnly(t *testing.T) {
	t.Parallel()
	a, _, readOnly := twoServers(t)
	doubts := make(chan struct{}, 100)
	deps := testDeps()
	deps.Clock = time.Now
	deps.Doubt = func() { doubts <- struct{}{} }
	s, err := Open(t.Context(), Config{Driver: MySQL, Master: a}, deps)
	check(t, err)
	defer s.Close()
	readOnly(a, true)
	if err := s.Ping(t.Context()); im.CodeOf(err) != im.Unavailable {
		t.Errorf("ready: %v", err)
	}
	<-doubts
	readOnly(a, false)
	testenv.Eventually(t, 10*time.Second, func() bool { return s.Ping(t.Context()) == nil }, "it does not come back by itself")
	<-doubts
}

// Of several addresses the first that takes writes is used, and the next when
// it stops doing so.
func TestSeveralAddresses(t *testing.T) {
	t.Parallel()
	a, b, readOnly := twoServers(t)
	closed := newFloating(t, "127.0.0.1:1")
	pool := a
	pool.Port = closed.port()
	pool.Others = []string{a.addr(), b.addr()}
	readOnly(a, true)
	f := openLive(t, Config{Driver: MySQL, Master: pool})
	check(t, put(f, 1)) // at b
	check(t, f.Ping(t.Context()))
	readOnly(a, false)
	readOnly(b, true)
	testenv.Eventually(t, 10*time.Second, func() bool { return put(f, 1) == nil }, "the other server is not found")
	readOnly(a, true)
	testenv.Eventually(t, 10*time.Second, func() bool { return f.Ping(t.Context()) != nil }, "two read-only servers are ready")
	if got := must(f.History(t.Context(), ConvRef{im.SingleOf(1, 2), 8}, 0, 9, Since{}))(t); len(got) != 1 {
		t.Errorf("read %v while no server takes writes", got)
	}
}

// openLive opens a store on the clock of the machine.
func openLive(t *testing.T, cfg Config) fixture {
	t.Helper()
	deps := testDeps()
	deps.Clock = time.Now
	s, err := Open(t.Context(), cfg, deps)
	check(t, err)
	t.Cleanup(func() { check(t, s.Close()) })
	return fixture{Store: s, cfg: cfg}
}

// The errors by which a connection goes, wherever they come from.
func TestFencedConn(t *testing.T) {
	t.Parallel()
	for number, want := range map[uint16]struct{ gone, refuses bool }{
		1290: {true, true}, 1792: {true, true}, 1836: {true, true}, 1047: {true, false}, 1053: {true, false},
		1062: {}, 1213: {}, 1205: {}, 1040: {}, 1064: {}, 1146: {},
	} {
		answer := &mysql.MySQLError{Number: number}
		if refusesWrites(answer) != want.refuses || servesNobody(answer) == (want.refuses || !want.gone) {
			t.Errorf("%d: refuses writes %v, serves nobody %v", number, refusesWrites(answer), servesNobody(answer))
		}
		for name, call := range map[string]func(c *fencedConn) error{
			"exec":    func(c *fencedConn) error { _, err := c.ExecContext(t.Context(), "", nil); return err },
			"query":   func(c *fencedConn) error { _, err := c.QueryContext(t.Context(), "", nil); return err },
			"prepare": func(c *fencedConn) error { _, err := c.PrepareContext(t.Context(), "bad"); return err },
			"begin": func(c *fencedConn) error {
				_, err := c.BeginTx(t.Context(), driver.TxOptions{ReadOnly: true})
				return err
			},
			"commit": func(c *fencedConn) error {
				tx, err := c.BeginTx(t.Context(), driver.TxOptions{})
				check(t, err)
				return tx.Commit()
			},
			"statement": func(c *fencedConn) error {
				st, err := c.PrepareContext(t.Context(), "good")
				check(t, err)
				_, err = st.(driver.StmtExecContext).ExecContext(t.Context(), nil)
				return err
			},
			"statement's query": func(c *fencedConn) error {
				st, err := c.PrepareContext(t.Context(), "good")
				check(t, err)
				_, err = st.(driver.StmtQueryContext).QueryContext(t.Context(), nil)
				return err
			},
		} {
			r := newRoute([]target{{connect: answering{answer}}, {connect: answering{answer}}}[:1], true, time.Now)
			var told []error
			r.refused = func(err error) { told = append(told, err) }
			conn, err := r.Connect(t.Context())
			check(t, err)
			c := conn.(*fencedConn)
			if err := call(c); !errors.Is(err, answer) {
				t.Errorf("%d, %s: %v", number, name, err)
			}
			if c.IsValid() == want.gone || (c.ResetSession(t.Context()) != nil) != want.gone || (len(told) > 0) != want.gone {
				t.Errorf("%d, %s: valid %v, told %v", number, name, c.IsValid(), told)
			}
			other, err := r.Connect(t.Context())
			check(t, err)
			r.renew()
			if other.(*fencedConn).IsValid() {
				t.Errorf("%d, %s: a connection made before the route moved is kept", number, name)
			}
		}
	}
}

// A host that swallows packets costs the others a share of the time, and is
// tried last for a while.
func TestRouteShares(t *testing.T) {
	t.Parallel()
	var tried []string
	note := func(name string, c driver.Connector) target {
		return target{addr: name, connect: connectFunc(func(ctx context.Context) (driver.Conn, error) {
			tried = append(tried, name)
			return c.Connect(ctx)
		})}
	}
	hangs := connectFunc(func(ctx context.Context) (driver.Conn, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	})
	now := time.Now()
	r := newRoute([]target{note("hangs", hangs), note("good", answering{})}, true, func() time.Time { return now })
	for _, want := range [][]string{{"hangs", "good"}, {"good"}, {"good"}} {
		tried = nil
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		if _, err := r.Connect(ctx); err != nil || !slices.Equal(tried, want) {
			t.Errorf("tried %v, %v; want %v", tried, err, want)
		}
		cancel()
	}
	now = now.Add(avoidFor)
	tried = nil
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if _, err := r.Connect(ctx); err != nil || len(tried) != 2 {
		t.Errorf("after a while tried %v, %v", tried, err)
	}
}

type connectFunc func(ctx context.Context) (driver.Conn, error)

func (f connectFunc) Connect(ctx context.Context) (driver.Conn, error) { return f(ctx) }
func (connectFunc) Driver() driver.Driver                              { return nil }

// answering makes connections of which every call ends with one error.
type answering struct{ err error }

func (a answering) Connect(context.Context) (driver.Conn, error) { return answeringConn{a}, nil }
func (answering) Driver() driver.Driver                          { return nil }

type answeringConn struct{ answering }

func (c answeringConn) result() error {
	if c.err == nil {
		return nil // not a typed nil
	}
	return c.err
}
func (answeringConn) Prepare(string) (driver.Stmt, error)      { return nil, nil }
func (answeringConn) Close() error                             { return nil }
func (c answeringConn) Begin() (driver.Tx, error)              { return c, nil }
func (c answeringConn) Commit() error                          { return c.result() }
func (answeringConn) Rollback() error                          { return nil }
func (answeringConn) Ping(context.Context) error               { return nil }
func (answeringConn) ResetSession(context.Context) error       { return nil }
func (answeringConn) IsValid() bool                            { return true }
func (answeringConn) CheckNamedValue(*driver.NamedValue) error { return nil }
func (answeringConn) NumInput() int                            { return 0 }
func (answeringConn) Exec([]driver.Value) (driver.Result, error) {
	return nil, errors.New("not with a context")
}

func (answeringConn) Query([]driver.Value) (driver.Rows, error) {
	return nil, errors.New("not with a context")
}

func (c answeringConn) BeginTx(_ context.Context, o driver.TxOptions) (driver.Tx, error) {
	if o.ReadOnly {
		return nil, c.result()
	}
	return c, nil
}

func (c answeringConn) PrepareContext(_ context.Context, text string) (driver.Stmt, error) {
	if text == "bad" {
		return nil, c.result()
	}
	return answeringStmt(c), nil
}

func (c answeringConn) ExecContext(context.Context, string, []driver.NamedValue) (driver.Result, error) {
	return driver.RowsAffected(0), c.result()
}

func (c answeringConn) QueryContext(context.Context, string, []driver.NamedValue) (driver.Rows, error) {
	return nil, c.result()
}

type answeringStmt struct{ answering }

func (answeringStmt) Close() error                             { return nil }
func (answeringStmt) NumInput() int                            { return 0 }
func (answeringStmt) CheckNamedValue(*driver.NamedValue) error { return nil }
func (answeringStmt) Exec([]driver.Value) (driver.Result, error) {
	return nil, errors.New("not with a context")
}

func (answeringStmt) Query([]driver.Value) (driver.Rows, error) {
	return nil, errors.New("not with a context")
}

func (s answeringStmt) ExecContext(context.Context, []driver.NamedValue) (driver.Result, error) {
	return driver.RowsAffected(0), s.err
}

func (s answeringStmt) QueryContext(context.Context, []driver.NamedValue) (driver.Rows, error) {
	return nil, s.err
}

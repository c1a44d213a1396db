package store

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-sql-driver/mysql"

	"teamtalk/db_proxy/internal/sockets"
)

// Numbers with which a server says that it takes no writes, or that it serves
// nobody. Nothing was stored then, and nothing will be over that connection:
// the server was demoted, or is no part of its cluster.
const (
	preventsStatement   = 1290 // read_only, super_read_only
	readOnlyTransaction = 1792 // a replica's default
	readOnlyEngine      = 1836 // innodb_read_only
	nodeNotReady        = 1047 // Galera, out of the primary component
	shuttingDown        = 1053
	noSuchTable         = 1146
)

// refusesWrites reports whether err is the answer of a server that only reads.
func refusesWrites(err error) bool {
	n, ok := mysqlNumber(err)
	return ok && (n == preventsStatement || n == readOnlyTransaction || n == readOnlyEngine)
}

// servesNobody reports whether err is the answer of a server that neither reads
// nor writes.
func servesNobody(err error) bool {
	n, ok := mysqlNumber(err)
	return ok && (n == nodeNotReady || n == shuttingDown)
}

// avoidFor is how long an address that failed is tried after the others: a host
// that swallows packets must not cost every connection its time.
const avoidFor = 5 * time.Second

// route makes the connections of one pool. Its addresses are tried in order;
// where there are several, and the pool is for writes, the first one that
// accepts writes is taken. All connections lead to one server: when a server
// refuses, or a new connection leads elsewhere than the last one did, those
// made before are discarded as they are returned or taken out again. Safe from
// any goroutine.
type route struct {
	// Static after newRoute.
	targets []target
	writes  bool // the pool is for writes
	clock   func() time.Time
	// refused is called when a connection turned out to lead to a server that
	// refuses to serve.
	refused func(error)
	open    sockets.Set // of connections to any of the targets

	generation atomic.Uint64 // of connections; older ones are discarded

	mu     sync.Mutex  // guards the fields below; a leaf
	last   string      // where the last connection led, "" before the first
	failed []time.Time // by target
}

// target is one address.
type target struct {
	addr    string
	connect driver.Connector
}

func newRoute(targets []target, writes bool, clock func() time.Time) *route {
	return &route{
		targets: targets, writes: writes, clock: clock, failed: make([]time.Time, len(targets)), refused: func(error) {},
	}
}

// Driver is driver.Connector's.
func (r *route) Driver() driver.Driver { return mysql.MySQLDriver{} }

// renew discards every connection made so far.
func (r *route) renew() { r.generation.Add(1) }

// Connect is driver.Connector's.
func (r *route) Connect(ctx context.Context) (driver.Conn, error) {
	if len(r.targets) == 1 {
		return r.dial(ctx, 0)
	}
	var errs []error
	var reading *fencedConn // the first one that only reads
	var readsAt int
	order := r.order()
	for left, i := range order {
		try, cancel := share(ctx, len(order)-left)
		conn, err := r.dial(try, i)
		if err == nil && r.writes {
			err = acceptsWrites(try, conn)
		}
		cancel()
		switch {
		case err == nil:
			if reading != nil {
				_ = reading.Close() // it served nobody yet
			}
			return r.chosen(conn, i), nil
		case conn != nil && reading == nil && refusesWrites(err):
			reading, readsAt = conn, i
		case conn != nil:
			_ = conn.Close() // the error says more
		}
		r.note(i, err)
		errs = append(errs, fmt.Errorf("%s: %w", r.targets[i].addr, err))
	}
	if reading != nil {
		return r.chosen(reading, readsAt), nil
	}
	return nil, errors.Join(errs...)
}

// share bounds one of n tries: none takes the time of those that follow.
func share(ctx context.Context, n int) (context.Context, context.CancelFunc) {
	end, ok := ctx.Deadline()
	if !ok {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, time.Until(end)/time.Duration(n))
}

// order lists the targets as configured, those that failed a moment ago last.
func (r *route) order() []int {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.clock()
	var first, later []int
	for i := range r.targets {
		if !r.failed[i].IsZero() && now.Sub(r.failed[i]) < avoidFor {
			later = append(later, i)
		} else {
			first = append(first, i)
		}
	}
	return slices.Concat(first, later)
}

func (r *route) note(i int, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.failed[i] = time.Time{}
	if err != nil {
		r.failed[i] = r.clock()
	}
}

// chosen makes conn the one that others have to follow.
func (r *route) chosen(conn *fencedConn, i int) driver.Conn {
	r.note(i, nil)
	r.mu.Lock()
	defer r.mu.Unlock()
	if addr := r.targets[i].addr; addr != r.last {
		if r.last != "" {
			r.renew()
		}
		r.last = addr
	}
	conn.generation = r.generation.Load()
	return conn
}

func (r *route) dial(ctx context.Context, i int) (*fencedConn, error) {
	generation := r.generation.Load()
	conn, err := r.targets[i].connect.Connect(ctx)
	if err != nil {
		return nil, err
	}
	full, ok := conn.(fullConn)
	if !ok {
		_ = conn.Close()
		return nil, fmt.Errorf("store: driver %T lacks what database/sql asks for", conn)
	}
	return &fencedConn{fullConn: full, route: r, generation: generation}, nil
}

// writeProbe changes nothing and locks nothing, and is refused by a server that
// refuses every write.
const writeProbe = "UPDATE IMClock SET userUpdated = userUpdated WHERE id = 0"

// acceptsWrites asks a server whether it would store anything. One that has no
// tables yet would.
func acceptsWrites(ctx context.Context, conn driver.Conn) error {
	e, ok := conn.(driver.ExecerContext)
	if !ok {
		return fmt.Errorf("store: driver %T cannot execute", conn)
	}
	_, err := e.ExecContext(ctx, writeProbe, nil)
	if n, ok := mysqlNumber(err); ok && n == noSuchTable {
		return nil
	}
	return err
}

// fencedConn is a connection that goes when its server refuses to serve, or
// another one serves now, whoever used it. database/sql uses it from one
// goroutine at a time.
type fencedConn struct {
	fullConn
	route      *route
	generation uint64
	bad        bool
	trusted    bool // see Deps.Trust
}

// note looks at what the server answered.
func (c *fencedConn) note(err error) error {
	if refusesWrites(err) || servesNobody(err) {
		c.bad = true
		c.route.refused(err)
	}
	return err
}

func (c *fencedConn) stale() bool { return c.bad || c.generation != c.route.generation.Load() }

// IsValid is driver.Validator's.
func (c *fencedConn) IsValid() bool { return !c.stale() && c.fullConn.IsValid() }

// ResetSession is driver.SessionResetter's.
func (c *fencedConn) ResetSession(ctx context.Context) error {
	if c.stale() {
		return driver.ErrBadConn
	}
	return c.fullConn.ResetSession(ctx)
}

// ExecContext is driver.ExecerContext's.
func (c *fencedConn) ExecContext(ctx context.Context, text string, args []driver.NamedValue) (driver.Result, error) {
	res, err := c.fullConn.ExecContext(ctx, text, args)
	return res, c.note(err)
}

// QueryContext is driver.QueryerContext's.
func (c *fencedConn) QueryContext(ctx context.Context, text string, args []driver.NamedValue) (driver.Rows, error) {
	rows, err := c.fullConn.QueryContext(ctx, text, args)
	return rows, c.note(err)
}

// PrepareContext is driver.ConnPrepareContext's.
func (c *fencedConn) PrepareContext(ctx context.Context, text string) (driver.Stmt, error) {
	st, err := c.fullConn.PrepareContext(ctx, text)
	if err != nil {
		return nil, c.note(err)
	}
	full, ok := st.(fullStmt)
	if !ok {
		_ = st.Close()
		return nil, fmt.Errorf("store: driver %T lacks what database/sql asks for", st)
	}
	return &fencedStmt{fullStmt: full, conn: c}, nil
}

// BeginTx is driver.ConnBeginTx's.
func (c *fencedConn) BeginTx(ctx context.Context, opts driver.TxOptions) (driver.Tx, error) {
	tx, err := c.fullConn.BeginTx(ctx, opts)
	if err != nil {
		return nil, c.note(err)
	}
	return &fencedTx{Tx: tx, conn: c}, nil
}

// fullStmt is what database/sql looks for in a statement of MySQL.
type fullStmt interface {
	driver.Stmt
	driver.StmtExecContext
	driver.StmtQueryContext
	driver.NamedValueChecker
}

type fencedStmt struct {
	fullStmt
	conn *fencedConn
}

// ExecContext is driver.StmtExecContext's.
func (s *fencedStmt) ExecContext(ctx context.Context, args []driver.NamedValue) (driver.Result, error) {
	res, err := s.fullStmt.ExecContext(ctx, args)
	return res, s.conn.note(err)
}

// QueryContext is driver.StmtQueryContext's.
func (s *fencedStmt) QueryContext(ctx context.Context, args []driver.NamedValue) (driver.Rows, error) {
	rows, err := s.fullStmt.QueryContext(ctx, args)
	return rows, s.conn.note(err)
}

type fencedTx struct {
	driver.Tx
	conn *fencedConn
}

// Commit is driver.Tx's.
func (t *fencedTx) Commit() error { return t.conn.note(t.Tx.Commit()) }

package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"teamtalk/internal/im"
)

// pool is a database/sql pool whose waits are bounded.
type pool struct {
	db     *sql.DB
	wait   time.Duration
	health *health // of the server; nil for a file
	// trust looks through a connection that is new; nil: there is no need.
	trust func(ctx context.Context, c *sql.Conn) error
	// only, if set, is the one connection there is, which somebody else holds;
	// nothing else is set then.
	only *sql.Conn
}

// use runs fn on a connection, at once with an error while the server is away,
// or takes no writes and fn writes.
func (p *pool) use(ctx context.Context, write bool, fn func(c *sql.Conn) error) error {
	if p.only != nil {
		return fn(p.only)
	}
	return p.health.watch(write, func() error {
		c, err := p.acquire(ctx)
		if err != nil {
			return err
		}
		defer c.Close()
		if err := p.admit(ctx, c); err != nil {
			return err
		}
		return fn(c)
	})
}

// admit looks through a connection that is used for the first time.
func (p *pool) admit(ctx context.Context, c *sql.Conn) error {
	if p.trust == nil || fenced(c, func(f *fencedConn) bool { return f.trusted }) {
		return nil
	}
	err := p.trust(ctx, c)
	if err == nil || errors.Is(err, ErrWentBack) {
		fenced(c, func(f *fencedConn) bool { f.trusted = true; return true })
	}
	return err
}

// fenced asks the driver's side of a connection.
func fenced(c *sql.Conn, f func(*fencedConn) bool) (yes bool) {
	_ = c.Raw(func(under any) error { // fails only where the next call does, too
		if conn, ok := under.(*fencedConn); ok {
			yes = f(conn)
		}
		return nil
	})
	return yes
}

// close closes every connection.
func (p *pool) close() error {
	p.health.close()
	return p.db.Close()
}

// acquire returns a connection that the caller closes. It waits at most the
// pool's time, then the error is im.Unavailable.
func (p *pool) acquire(ctx context.Context) (*sql.Conn, error) {
	wait, cancel := context.WithTimeout(ctx, p.wait)
	defer cancel()
	c, err := p.db.Conn(wait)
	if err != nil && errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
		return nil, im.Wrap(im.Unavailable, "no database connection became free in time", err)
	}
	return c, err
}

// preopen opens connections, so that nobody has to wait for the first ones, or
// for want of a file descriptor gets none.
func (p *pool) preopen(ctx context.Context, n int) error {
	conns := make([]*sql.Conn, 0, n)
	defer func() {
		for _, c := range conns {
			_ = c.Close() // back to the pool
		}
	}()
	for range n {
		c, err := p.acquire(ctx)
		if err != nil {
			return fmt.Errorf("open %d connections: %w", n, classify(err))
		}
		conns = append(conns, c)
	}
	return nil
}

// execer is what *sql.Conn and *sql.Tx have in common.
type execer interface {
	ExecContext(ctx context.Context, text string, args ...any) (sql.Result, error)
	QueryContext(ctx context.Context, text string, args ...any) (*sql.Rows, error)
}

// querier runs statements on one connection or in one transaction. Texts
// given as strings are constants in MySQL's dialect.
type querier struct {
	db execer
	d  *dialect
}

// exec runs a constant statement and returns how many rows it found.
func (q querier) exec(ctx context.Context, text string, args ...any) (int64, error) {
	r, err := q.db.ExecContext(ctx, q.d.text(text), args...)
	if err != nil {
		return 0, err
	}
	return r.RowsAffected()
}

// insert runs an INSERT of one row and returns the id the database chose.
func (q querier) insert(ctx context.Context, text string, args ...any) (uint32, error) {
	r, err := q.db.ExecContext(ctx, q.d.text(text), args...)
	if err != nil {
		return 0, err
	}
	id, err := r.LastInsertId()
	return uint32(id), err
}

// run executes a built statement.
func (q querier) run(ctx context.Context, s *stmt) error {
	_, err := q.db.ExecContext(ctx, s.String(), s.args...)
	return err
}

// scanner reads the current row.
type scanner interface{ Scan(dest ...any) error }

// list runs a constant query and scans every row.
func list[T any](ctx context.Context, q querier, scan func(scanner) (T, error), text string, args ...any) ([]T, error) {
	return collect(ctx, q, scan, q.d.text(text), args)
}

// listStmt runs a built query and scans every row.
func listStmt[T any](ctx context.Context, q querier, scan func(scanner) (T, error), s *stmt) ([]T, error) {
	return collect(ctx, q, scan, s.String(), s.args)
}

func collect[T any](
	ctx context.Context, q querier, scan func(scanner) (T, error), text string, args []any,
) ([]T, error) {
	rows, err := q.db.QueryContext(ctx, text, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var all []T
	for rows.Next() {
		v, err := scan(rows)
		if err != nil {
			return nil, err
		}
		all = append(all, v)
	}
	return all, rows.Err()
}

// number runs a constant query for one number; no row reads as 0.
func number(ctx context.Context, q querier, text string, args ...any) (uint64, error) {
	all, err := list(ctx, q, scanNumber, text, args...)
	if err != nil || len(all) == 0 {
		return 0, err
	}
	return all[0], nil
}

func scanNumber(r scanner) (n uint64, err error) { return n, r.Scan(&n) }

// stmt builds a statement whose length depends on the data. Numbers are
// written into the text, everything that came from outside is an argument.
type stmt struct {
	d    *dialect
	text []byte
	args []any
	rows int // rows begun with row
	size int // bytes of string arguments
}

func (q querier) stmt(text string, args ...any) *stmt { return newStmt(q.d, text, args...) }

func newStmt(d *dialect, text string, args ...any) *stmt {
	return (&stmt{d: d}).add(text, args...)
}

// add appends a constant piece of text and its arguments.
func (s *stmt) add(text string, args ...any) *stmt {
	s.text = append(s.text, s.d.text(text)...)
	s.args = append(s.args, args...)
	return s
}

// grow makes room for messages: their rows and one argument each.
func (s *stmt) grow(rows int) *stmt {
	s.text = slices.Grow(s.text, rows*rowBytes)
	s.args = slices.Grow(s.args, rows)
	return s
}

// num appends a number.
func (s *stmt) num(n uint64) *stmt {
	s.text = strconv.AppendUint(s.text, n, 10)
	return s
}

// table appends the name of a sharded table.
func (s *stmt) table(base string, shard uint32) *stmt {
	s.text = append(s.text, base...)
	return s.num(uint64(shard))
}

// op appends an operation id as a literal, NULL for none.
func (s *stmt) op(id im.OperationID) *stmt {
	if id.IsZero() {
		return s.add("NULL")
	}
	const digits = "0123456789abcdef"
	s.text = append(s.text, "x'"...)
	for _, b := range id {
		s.text = append(s.text, digits[b>>4], digits[b&15])
	}
	s.text = append(s.text, '\'')
	return s
}

// str appends a placeholder and its text.
func (s *stmt) str(v string) *stmt {
	s.text = append(s.text, '?')
	s.args = append(s.args, v)
	s.size += len(v)
	return s
}

// row begins the next row of an INSERT with its first number; more follow
// with col.
func (s *stmt) row(n uint64) *stmt {
	if s.rows++; s.rows > 1 {
		s.text = append(s.text, ',')
	}
	s.text = append(s.text, '(')
	return s.num(n)
}

// col appends a comma and a number.
func (s *stmt) col(n uint64) *stmt {
	s.text = append(s.text, ',')
	return s.num(n)
}

// end closes a row.
func (s *stmt) end() { s.text = append(s.text, ')') }

// bytes is an upper bound of what the statement occupies in a packet, where
// every byte of an argument may need a backslash.
func (s *stmt) bytes() int { return len(s.text) + 2*s.size }

func (s *stmt) String() string { return string(s.text) }

// nums appends a parenthesised list of ids.
func nums[T ~uint32](s *stmt, ids []T) *stmt {
	s.text = append(s.text, '(')
	for i, id := range ids {
		if i > 0 {
			s.text = append(s.text, ',')
		}
		s.num(uint64(id))
	}
	s.text = append(s.text, ')')
	return s
}

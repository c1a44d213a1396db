package command

import (
	"context"
	"database/sql/driver"
	"sync"
)

// faults lets one call that reaches SQL or Redis be done and reported as
// timed out: a statement, a commit, or a round trip of the pipeline. The zero
// value counts nothing.
type faults struct {
	mu    sync.Mutex
	armed bool
	fail  int // the call to fail, from 1; 0: none
	calls int
}

// arm begins to count calls and fails the nth.
func (f *faults) arm(nth int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.armed, f.fail, f.calls = true, nth, 0
}

// disarm stops and returns how many calls there were.
func (f *faults) disarm() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.armed = false
	return f.calls
}

// done is called after a call that took effect.
func (f *faults) done() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.armed {
		return nil
	}
	if f.calls++; f.calls == f.fail {
		return context.DeadlineExceeded
	}
	return nil
}

func (f *faults) redis(_ context.Context, point string) error {
	if point == "redis" {
		return nil // before the call
	}
	return f.done()
}

func (f *faults) connector(c driver.Connector) driver.Connector { return faultyConnector{c, f} }

type faultyConnector struct {
	driver.Connector
	f *faults
}

func (c faultyConnector) Connect(ctx context.Context) (driver.Conn, error) {
	conn, err := c.Connector.Connect(ctx)
	if err != nil {
		return nil, err
	}
	return &faultyConn{conn.(fullConn), c.f}, nil
}

// fullConn is what database/sql looks for in a connection and the drivers
// have.
type fullConn interface {
	driver.Conn
	driver.ConnBeginTx
	driver.ConnPrepareContext
	driver.ExecerContext
	driver.QueryerContext
	driver.SessionResetter
	driver.Validator
}

type faultyConn struct {
	fullConn
	f *faults
}

func (c *faultyConn) ExecContext(ctx context.Context, q string, args []driver.NamedValue) (driver.Result, error) {
	r, err := c.fullConn.ExecContext(ctx, q, args)
	if err == nil {
		err = c.f.done()
	}
	if err != nil {
		return nil, err
	}
	return r, nil
}

func (c *faultyConn) QueryContext(ctx context.Context, q string, args []driver.NamedValue) (driver.Rows, error) {
	rows, err := c.fullConn.QueryContext(ctx, q, args)
	if err != nil {
		return nil, err
	}
	if err := c.f.done(); err != nil {
		_ = rows.Close()
		return nil, err
	}
	return rows, nil
}

func (c *faultyConn) BeginTx(ctx context.Context, opts driver.TxOptions) (driver.Tx, error) {
	tx, err := c.fullConn.BeginTx(ctx, opts)
	if err != nil {
		return nil, err
	}
	return faultyTx{tx, c.f}, nil
}

type faultyTx struct {
	driver.Tx
	f *faults
}

func (t faultyTx) Commit() error {
	if err := t.Tx.Commit(); err != nil {
		return err
	}
	return t.f.done()
}

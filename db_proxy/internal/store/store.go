package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"teamtalk/internal/im"
)

// Store is an open database. All methods may be called from any goroutine.
type Store struct {
	// Static after Open.
	deps    Deps
	dialect *dialect
	write   *pool // the master; for SQLite the only writer
	exact   *pool // reads that must see every commit
	lagging *pool // reads that may lag, nil: there is no slave
	packet  int   // bytes that one multi-statement packet may have
	lock    *fileLock

	upgrade  atomic.Int64 // see upgraded; 0: not asked for yet
	believed atomic.Pointer[Epoch]

	// takenOver: the tables are those of a takeover that may be undone, and an
	// original db_proxy may read them.
	takenOver bool
}

// Open opens the database, waits for it while ctx allows, and brings its
// tables up to date. Several processes may do so at once on MySQL; on SQLite
// the second one gets an error that names the first.
func Open(ctx context.Context, cfg Config, deps Deps) (*Store, error) {
	if err := errors.Join(cfg.validate(), deps.validate()); err != nil {
		return nil, err
	}
	s := &Store{deps: deps}
	open := s.openMySQL
	if cfg.Driver == SQLite {
		open = s.openSQLite
	}
	if err := open(ctx, cfg); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// Close closes every connection. Calls under way end with an error, and so
// does every later one.
func (s *Store) Close() error {
	var errs []error
	for _, p := range []*pool{s.lagging, s.exact, s.write} {
		if p != nil {
			errs = append(errs, p.close())
		}
	}
	if s.lock != nil {
		errs = append(errs, s.lock.release())
	}
	return errors.Join(errs...)
}

// Ping asks the database for a sign of life, and whether it takes writes.
func (s *Store) Ping(ctx context.Context) error {
	if s.dialect.sqlite {
		return s.read(ctx, "ping", s.exact, func(q querier) error {
			_, err := number(ctx, q, "SELECT 1")
			return err
		})
	}
	if err := s.fault(ctx, "ping"); err != nil {
		return err
	}
	return s.repeat(ctx, "ping", func() error {
		return s.write.use(ctx, true, func(c *sql.Conn) error {
			_, err := c.ExecContext(ctx, writeProbe)
			return err
		})
	})
}

// Well returns what is known, without asking, to keep the database from
// serving everything; nil if nothing does.
func (s *Store) Well() error { return s.write.health.well(true) }

// now returns the time as the tables store it.
func (s *Store) now() uint32 { return uint32(s.deps.Clock().Unix()) }

// fault runs the fault hook.
func (s *Store) fault(ctx context.Context, point string) error {
	if s.deps.Fault == nil {
		return nil
	}
	return s.deps.Fault(ctx, point)
}

// retryPause is how long a transaction waits before its nth repetition.
func retryPause(ctx context.Context, n int) error {
	t := time.NewTimer(time.Duration(n) * 5 * time.Millisecond)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return im.Wrap(im.Unavailable, "wait for the database", ctx.Err())
	}
}

// attempts is how often a statement or transaction is tried that the database
// rolled back as the victim of a deadlock, or whose connection turned out to
// be dead before anything was sent.
const attempts = 4

// read runs fn on one connection of p. fn may run more than once.
func (s *Store) read(ctx context.Context, point string, p *pool, fn func(q querier) error) error {
	if err := s.fault(ctx, point); err != nil {
		return err
	}
	return s.repeat(ctx, point, func() error {
		return p.use(ctx, false, func(c *sql.Conn) error { return fn(querier{db: c, d: s.dialect}) })
	})
}

// update runs fn in one transaction on the master. fn may run more than once.
func (s *Store) update(ctx context.Context, point string, fn func(q querier) error) error {
	if err := s.fault(ctx, point); err != nil {
		return err
	}
	err := s.repeat(ctx, point, func() error {
		return s.write.use(ctx, true, func(c *sql.Conn) error { return s.inTx(ctx, c, fn) })
	})
	if err != nil {
		return err
	}
	return s.fault(ctx, point+":done")
}

func (s *Store) inTx(ctx context.Context, c *sql.Conn, fn func(q querier) error) error {
	tx, err := c.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	if err := fn(querier{db: tx, d: s.dialect}); err != nil {
		_ = tx.Rollback() // the connection is discarded if this fails
		return err
	}
	return tx.Commit()
}

// repeat runs fn until its result is final and classifies it.
func (s *Store) repeat(ctx context.Context, what string, fn func() error) error {
	for n := 1; ; n++ {
		err := classify(fn())
		if err == nil {
			return nil
		}
		if n == attempts || !undone(err) {
			return fmt.Errorf("%s: %w", what, err)
		}
		if err := retryPause(ctx, n); err != nil {
			return err
		}
	}
}

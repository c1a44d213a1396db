// Package takeover turns a database of the original TeamTalk servers into one
// of ours, in place, and back. It owns the SQL of that: the original's tables
// are renamed aside, the tables of package store are made under the same
// names, and the rows are copied over in small transactions, cleaned on the
// way; what only Redis knows is put beside them. The tables set aside stay
// until Finish as the copy of everything and the way back.
//
// Every step notes in SQL how far it came, in the transaction of its work, so
// that a run that was killed anywhere goes on where it was.
package takeover

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"teamtalk/db_proxy/internal/cache"
	"teamtalk/db_proxy/internal/store"
	"teamtalk/internal/im"
)

// Config says what is taken over.
type Config struct {
	DB    store.Pool
	Redis cache.Config
	// Prefix is what the names of the original's tables begin with, before
	// those that it gives them and whose case does not count then. Nil: they
	// have the original's names.
	Prefix *string
}

// Deps of a Takeover. Log and Clock are needed.
type Deps struct {
	Log   *slog.Logger
	Clock func() time.Time
	// Progress is called after every transaction. It may be nil.
	Progress func(Progress)
	// Fault is called before and after every transaction; an error stops the
	// run as a kill would. It may be nil.
	Fault func(point string) error
}

// Progress says how far a run came.
type Progress struct {
	Step        string        // what is being done
	Number, Of  int           // of the steps
	Rows, Total uint64        // copied so far and in all
	Left        time.Duration // at the speed so far; 0: not known yet
}

// Takeover is a database under conversion. One goroutine uses it.
type Takeover struct {
	deps   Deps
	db     *sql.DB
	redis  *keys
	prefix *string // see Config

	// Owned by a call.
	called  map[string]string // what the original's tables were called; nil: by their names
	looking bool              // they still stand under these names

	// Owned by a run.
	users     []uint32 // ids of the accounts, once they were needed
	began     time.Time
	rowsBegan uint64
	progress  Progress
}

// Open connects. The database must be there; the caller closes the Takeover.
func Open(ctx context.Context, cfg Config, deps Deps) (*Takeover, error) {
	if deps.Log == nil || deps.Clock == nil {
		return nil, errors.New("takeover: Log and Clock are required")
	}
	db, err := store.Bare(cfg.DB, deps.Log)
	if err != nil {
		return nil, err
	}
	t := &Takeover{deps: deps, db: db, prefix: cfg.Prefix}
	if err := db.PingContext(ctx); err != nil {
		return nil, errors.Join(im.Wrap(im.Unavailable, "connect to the database", err), t.Close())
	}
	if t.redis, err = openKeys(ctx, cfg.Redis); err != nil {
		return nil, errors.Join(err, t.Close())
	}
	return t, nil
}

// Close closes the connections.
func (t *Takeover) Close() error {
	errs := []error{t.db.Close()}
	if t.redis != nil {
		errs = append(errs, t.redis.close())
	}
	return errors.Join(errs...)
}

// State is what a database is.
type State string

// The states of a database.
const (
	Empty     State = "empty"       // no tables of TeamTalk
	Original  State = "original"    // as the original left it
	Elsewhere State = "other_names" // the same, but the tables have other names
	Underway  State = State(store.Underway)
	Taken     State = State(store.Taken)
	Undoing   State = State(store.Undoing)
	Ending    State = State(store.Ending)
	Ours      State = "ours" // made by our servers, or finished
)

// state looks at the tables.
func (t *Takeover) state(ctx context.Context) (State, error) {
	tables, err := t.tables(ctx)
	if err != nil {
		return "", err
	}
	phase, err := store.TakeoverPhase(ctx, t.db, tables)
	if err != nil {
		return "", err
	}
	if phase != store.Untouched {
		return State(phase), t.loadNames(ctx, tables)
	}
	state, err := t.untouched(ctx, tables)
	if err == nil && state == Elsewhere {
		err = tables.Elsewhere()[0].Refusal()
	}
	return state, err
}

// Advice says what to do in a state that does not last, "" in the others.
func (s State) Advice() string { return store.Phase(s).Advice() }

// wrong is the error of a call that is not for this state.
func (s State) wrong(otherwise string) error {
	if advice := s.Advice(); advice != "" {
		return im.Errorf(im.Invalid, "%s", advice)
	}
	return im.Errorf(im.Invalid, "%s (the database is: %s)", otherwise, s)
}

// is reports whether a state is one of some.
func (s State) is(some ...State) bool { return slices.Contains(some, s) }

// locked runs fn while no other process changes the tables.
func (t *Takeover) locked(ctx context.Context, fn func() error) error {
	unlock, err := store.LockMigrations(ctx, t.db)
	if err != nil {
		return err
	}
	defer unlock()
	return fn()
}

// others counts the connections to the database that are not ours.
func (t *Takeover) others(ctx context.Context) (n int, err error) {
	const text = `SELECT COUNT(*) FROM information_schema.PROCESSLIST
		WHERE DB = DATABASE() AND ID NOT IN (SELECT id FROM (SELECT CONNECTION_ID() AS id) AS own)
			AND COALESCE(INFO, '') NOT LIKE '%teamtalk_migrate_%'`
	var all int
	if err := t.db.QueryRowContext(ctx, text).Scan(&all); err != nil {
		return 0, fmt.Errorf("list connections: %w", err)
	}
	// Our own pool: those open now, but for the one that asked.
	return max(0, all-(t.db.Stats().OpenConnections-1)), nil
}

// mayChange refuses to change anything on a server that cannot do what is
// needed, or while somebody else uses the database.
func (t *Takeover) mayChange(ctx context.Context, force bool) error {
	if err := store.CheckServer(ctx, t.db); err != nil {
		return err
	}
	return t.quiet(ctx, force)
}

// quiet refuses to go on while somebody else uses the database.
func (t *Takeover) quiet(ctx context.Context, force bool) error {
	n, err := t.others(ctx)
	if err != nil || n == 0 || force {
		return err
	}
	return im.Errorf(im.Unavailable,
		"%d other connections use the database: stop the db_proxies and the admin site first "+
			"(--force goes on all the same)", n)
}

func (t *Takeover) fault(point string) error {
	if t.deps.Fault == nil {
		return nil
	}
	return t.deps.Fault(point)
}

func (t *Takeover) now() uint32 { return uint32(t.deps.Clock().Unix()) }

package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"fmt"
	"io/fs"
	"log/slog"
	"time"

	"github.com/pressly/goose/v3"

	"teamtalk/internal/im"
	migrations "teamtalk/sql"
)

// migrateMySQL brings the tables up to date over connections of its own, which
// may take their time.
func (s *Store) migrateMySQL(ctx context.Context, p Pool) error {
	db, err := Bare(p, s.deps.Log)
	if err != nil {
		return err
	}
	defer db.Close()
	unlock, err := LockMigrations(ctx, db)
	if err != nil {
		return err
	}
	defer unlock()
	if err := CheckServer(ctx, db); err != nil {
		return fmt.Errorf("store: %w", err)
	}
	if s.takenOver, err = refuseForeign(ctx, db); err != nil {
		return err
	}
	if err := beginAnew(ctx, db); err != nil {
		return err
	}
	return s.migrate(ctx, goose.DialectMySQL, db, "mysql")
}

// Bare returns connections whose statements may take ten minutes, set up as
// all others are, to a database of which nothing is expected. They wait for
// the server to roll back what a killed predecessor was doing, and pay no heed
// to foreign keys that an installation added. Nothing is connected yet; the
// caller closes it.
func Bare(p Pool, log *slog.Logger) (*sql.DB, error) {
	s := &Store{deps: Deps{Log: log, Clock: time.Now}} //nolint:forbidigo // of waits only
	c, err := s.mysqlRoute(p.withDefaults(), true, 10*time.Minute, session{lockWait: 5 * time.Minute})
	if err != nil {
		return nil, err
	}
	return sql.OpenDB(resumable{c}), nil
}

// LockMigrations makes sure that of several processes one changes the tables;
// the others wait and find everything done. The lock is held around all that
// goose does, because goose's own hooks leave out the creation of its version
// table; it belongs to a connection, so a process that dies frees it at once.
func LockMigrations(ctx context.Context, db *sql.DB) (unlock func(), err error) {
	conn, err := db.Conn(ctx)
	if err != nil {
		return nil, fmt.Errorf("connect to migrate: %w", classify(err))
	}
	// The connection must not go back to a pool with the lock.
	unlock = func() { _ = conn.Raw(func(any) error { return driver.ErrBadConn }); _ = conn.Close() }
	const lock = "SELECT COALESCE(GET_LOCK(CONCAT('teamtalk_migrate_', MD5(DATABASE())), 120), 0)"
	var locked int
	if err := conn.QueryRowContext(ctx, lock).Scan(&locked); err != nil {
		unlock()
		return nil, fmt.Errorf("take the migration lock: %w", classify(err))
	}
	if locked != 1 {
		unlock()
		return nil, im.Errorf(im.Unavailable, "store: another process has been migrating the database for two minutes")
	}
	return unlock, nil
}

// CreateTables makes the tables of the servers in a database that has none of
// these names, and brings those that are there up to date. The caller holds
// the lock of LockMigrations.
func CreateTables(ctx context.Context, db *sql.DB, log *slog.Logger) error {
	return (&Store{deps: Deps{Log: log}}).migrate(ctx, goose.DialectMySQL, db, "mysql")
}

// migrateSQLite needs no lock: the process has the file to itself.
func (s *Store) migrateSQLite(ctx context.Context) error {
	return s.migrate(ctx, goose.DialectSQLite3, s.write.db, "sqlite")
}

func (s *Store) migrate(ctx context.Context, d goose.Dialect, db *sql.DB, folder string) error {
	files, err := fs.Sub(migrations.Files, folder)
	if err != nil {
		return fmt.Errorf("open migrations: %w", err)
	}
	p, err := goose.NewProvider(d, db, files)
	if err != nil {
		return fmt.Errorf("read migrations: %w", err)
	}
	done, err := p.Up(ctx)
	for _, r := range done {
		s.deps.Log.Info("database migrated", slog.String("file", r.Source.Path), slog.Duration("took", r.Duration))
	}
	if err != nil {
		return fmt.Errorf("migrate the database: %w", classify(err))
	}
	have, known, err := p.GetVersions(ctx)
	if err != nil {
		return fmt.Errorf("read the database's version: %w", classify(err))
	}
	if have > known {
		return im.Errorf(im.Invalid, "store: the database has version %d, this program knows %d: it is too old", have, known)
	}
	return nil
}

package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"time"

	"github.com/pressly/goose/v3"

	"teamtalk/internal/im"
	migrations "teamtalk/sql"
)

// migrateMySQL brings the tables up to date over a connection of its own,
// which may take its time.
func (s *Store) migrateMySQL(ctx context.Context, p Pool) error {
	c, err := s.mysqlConnector(p, 10*time.Minute)
	if err != nil {
		return err
	}
	db := sql.OpenDB(c)
	defer db.Close()
	if err := refuseForeign(ctx, db); err != nil {
		return err
	}
	return s.migrate(ctx, goose.DialectMySQL, db, "mysql", goose.WithSessionLocker(sessionLock{}))
}

// migrateSQLite needs no lock: the process has the file to itself.
func (s *Store) migrateSQLite(ctx context.Context) error {
	return s.migrate(ctx, goose.DialectSQLite3, s.write.db, "sqlite")
}

func (s *Store) migrate(ctx context.Context, d goose.Dialect, db *sql.DB, folder string, opts ...goose.ProviderOption) error {
	files, err := fs.Sub(migrations.Files, folder)
	if err != nil {
		return fmt.Errorf("open migrations: %w", err)
	}
	p, err := goose.NewProvider(d, db, files, opts...)
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

// refuseForeign refuses a database with tables of the original servers: they
// lack columns and unique keys that everything here relies on, and CREATE
// TABLE IF NOT EXISTS would pass over them.
func refuseForeign(ctx context.Context, db *sql.DB) error {
	const text = `SELECT COUNT(DISTINCT TABLE_NAME), COALESCE(SUM(COLUMN_NAME = 'password_hash'), 0)
		FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = 'IMUser'`
	var tables, ours int
	if err := db.QueryRowContext(ctx, text).Scan(&tables, &ours); err != nil && !errors.Is(err, sql.ErrNoRows) {
		return fmt.Errorf("look at the database: %w", classify(err))
	}
	if tables > 0 && ours == 0 {
		return im.Errorf(im.Invalid, "store: the database has tables of another server, which must be converted first")
	}
	return nil
}

// sessionLock lets several processes start at once: one migrates, the others
// wait and find everything done. The lock belongs to the connection that
// migrates, so a process that dies frees it at once.
type sessionLock struct{}

// lockName is per database, not per server, and short enough for GET_LOCK.
const lockName = `CONCAT('teamtalk_migrate_', MD5(DATABASE()))`

// SessionLock implements goose's SessionLocker.
func (sessionLock) SessionLock(ctx context.Context, conn *sql.Conn) error {
	var got sql.NullInt64
	if err := conn.QueryRowContext(ctx, "SELECT GET_LOCK("+lockName+", 120)").Scan(&got); err != nil {
		return fmt.Errorf("take the migration lock: %w", err)
	}
	if got.Int64 != 1 {
		return im.Errorf(im.Unavailable, "store: another process has been migrating the database for two minutes")
	}
	return nil
}

// SessionUnlock implements goose's SessionLocker.
func (sessionLock) SessionUnlock(ctx context.Context, conn *sql.Conn) error {
	var freed sql.NullInt64
	if err := conn.QueryRowContext(ctx, "SELECT RELEASE_LOCK("+lockName+")").Scan(&freed); err != nil {
		return fmt.Errorf("free the migration lock: %w", err)
	}
	return nil
}

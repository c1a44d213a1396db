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

// migrateMySQL brings the tables up to date over connections of its own, which
// may take their time. Of several processes that start at once one migrates,
// the others wait and find everything done. The lock is held around all that
// goose does, because goose's own hooks leave out the creation of its version
// table; it belongs to a connection, so a process that dies frees it at once.
func (s *Store) migrateMySQL(ctx context.Context, p Pool) error {
	c, err := s.mysqlConnector(p, 10*time.Minute)
	if err != nil {
		return err
	}
	db := sql.OpenDB(c)
	defer db.Close() // frees the lock, however we leave
	conn, err := db.Conn(ctx)
	if err != nil {
		return fmt.Errorf("connect to migrate: %w", classify(err))
	}
	defer conn.Close()
	const lock = "SELECT COALESCE(GET_LOCK(CONCAT('teamtalk_migrate_', MD5(DATABASE())), 120), 0)"
	var locked int
	if err := conn.QueryRowContext(ctx, lock).Scan(&locked); err != nil {
		return fmt.Errorf("take the migration lock: %w", classify(err))
	}
	if locked != 1 {
		return im.Errorf(im.Unavailable, "store: another process has been migrating the database for two minutes")
	}
	if err := refuseForeign(ctx, db); err != nil {
		return err
	}
	return s.migrate(ctx, goose.DialectMySQL, db, "mysql")
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

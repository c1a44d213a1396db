package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"fmt"
)

// MySQL commits every change of a table by itself, so a process that is killed
// while it migrates leaves some of them behind, and no note of how far it
// came. What is already there is therefore no error here.

// resumable makes connections for migrations.
type resumable struct{ driver.Connector }

func (r resumable) Connect(ctx context.Context) (driver.Conn, error) {
	conn, err := r.Connector.Connect(ctx)
	if err != nil {
		return nil, err
	}
	full, ok := conn.(fullConn)
	if !ok {
		_ = conn.Close()
		return nil, fmt.Errorf("store: driver %T lacks what database/sql asks for", conn)
	}
	return resumableConn{full}, nil
}

// fullConn is what database/sql looks for in a connection of MySQL.
type fullConn interface {
	askedConn
	pooledConn
}

// askedConn is the part that carries out statements.
type askedConn interface {
	driver.Conn
	driver.ConnBeginTx
	driver.ConnPrepareContext
	driver.ExecerContext
	driver.NamedValueChecker
	driver.QueryerContext
}

// pooledConn is the part that says whether the connection may be used again.
type pooledConn interface {
	driver.Pinger
	driver.SessionResetter
	driver.Validator
}

type resumableConn struct{ fullConn }

// Numbers of MySQL's errors for what is there already.
const (
	duplicateColumn = 1060
	duplicateKey    = 1061
)

func (c resumableConn) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	res, err := c.fullConn.ExecContext(ctx, query, args)
	if number, ok := mysqlNumber(err); ok && (number == duplicateColumn || number == duplicateKey) {
		return driver.RowsAffected(0), nil
	}
	return res, err
}

// beginAnew removes a version table without a version: its creator was killed
// before the first entry, and goose would refuse it for ever.
func beginAnew(ctx context.Context, db *sql.DB) error {
	const there = "SELECT COUNT(*) FROM information_schema.TABLES " +
		"WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = 'goose_db_version'"
	var n int
	if err := db.QueryRowContext(ctx, there).Scan(&n); err != nil {
		return fmt.Errorf("look for the version of the database: %w", classify(err))
	}
	if n == 0 {
		return nil
	}
	if err := db.QueryRowContext(ctx, "SELECT COUNT(*) FROM goose_db_version").Scan(&n); err != nil {
		return fmt.Errorf("read the version of the database: %w", classify(err))
	}
	if n > 0 {
		return nil
	}
	if _, err := db.ExecContext(ctx, "DROP TABLE goose_db_version"); err != nil {
		return fmt.Errorf("remove an empty version table: %w", classify(err))
	}
	return nil
}

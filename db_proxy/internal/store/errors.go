package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net"

	"github.com/go-sql-driver/mysql"
	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"teamtalk/internal/im"
)

// ErrOutcomeUnknown is in the chain of an error of Commit when the connection
// was lost before the answer came: the batch is stored or it is not.
// FindOperations tells.
var ErrOutcomeUnknown = errors.New("store: outcome unknown")

// errUndone marks failures after which nothing was changed and the same
// transaction may simply be repeated.
var errUndone = errors.New("store: rolled back")

// IsTransient reports whether the same call may succeed later.
func IsTransient(err error) bool { return err != nil && im.CodeOf(err).Retryable() }

func undone(err error) bool { return errors.Is(err, errUndone) }

// classify gives err, as a driver reported it, one of the meanings that the
// package comment lists. It is idempotent.
func classify(err error) error {
	if err == nil || errors.Is(err, ErrDuplicate) {
		return err
	}
	if _, ok := errors.AsType[*im.Error](err); ok {
		return err
	}
	if e, ok := errors.AsType[*mysql.MySQLError](err); ok {
		return classifyMySQL(e)
	}
	if e, ok := errors.AsType[*sqlite.Error](err); ok {
		return classifySQLite(e)
	}
	switch {
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return im.Wrap(im.Unavailable, "database call cut short", err)
	case errors.Is(err, driver.ErrBadConn): // reported only when nothing was sent
		return im.Wrap(im.Unavailable, "database connection was dead", errors.Join(errUndone, err))
	case errors.Is(err, mysql.ErrInvalidConn), errors.Is(err, sql.ErrConnDone),
		errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, net.ErrClosed), isNet(err):
		return im.Wrap(im.Unavailable, "database connection lost", err)
	}
	return im.Wrap(im.Internal, "database", err)
}

func isNet(err error) bool {
	_, ok := errors.AsType[net.Error](err)
	return ok
}

// mysqlErrors gives the numbers of MySQL, MariaDB and Galera that mean
// something to us. Others are faults of ours.
var mysqlErrors = map[uint16]struct {
	code im.Code
	msg  string
}{
	1021: {im.Unavailable, "the database server's disk is full"},
	1114: {im.Unavailable, "the database server's disk or table space is full"},
	1040: {im.Unavailable, "the database server has too many connections"},
	1203: {im.Unavailable, "the database account has too many connections"},
	1226: {im.Unavailable, "the database account is over its limit"},
	1041: {im.Unavailable, "the database server is out of memory"},
	1047: {im.Unavailable, "the database node is not in the cluster"},
	1053: {im.Unavailable, "the database server is shutting down"},
	1158: {im.Unavailable, "network trouble at the database server"},
	1159: {im.Unavailable, "network trouble at the database server"},
	1160: {im.Unavailable, "network trouble at the database server"},
	1161: {im.Unavailable, "network trouble at the database server"},
	1180: {im.Unavailable, "the database could not commit"},
	1206: {im.Unavailable, "the database's lock table is full"},
	1290: {im.Unavailable, "the database is read-only"},
	1792: {im.Unavailable, "the database is read-only"},
	1317: {im.Unavailable, "the database interrupted the statement"},
	1836: {im.Unavailable, "the database is read-only"},
	1927: {im.Unavailable, "the database closed the connection"},
	1969: {im.Unavailable, "the database statement timed out"},
	3024: {im.Unavailable, "the database statement timed out"},

	1044: {im.Denied, "the database account may not use the database"},
	1045: {im.Denied, "the database refused user or password"},
	1049: {im.NotFound, "the database does not exist"},
	1142: {im.Denied, "the database account lacks a right"},

	1048: {im.Invalid, "a value is missing"},
	1264: {im.Invalid, "a number is out of range"},
	1366: {im.Invalid, "a text has invalid characters"},
	1406: {im.Invalid, "a text is too long"},
	3819: {im.Invalid, "a value is not allowed"},
	4025: {im.Invalid, "a value is not allowed"},
}

func classifyMySQL(e *mysql.MySQLError) error {
	switch e.Number {
	case 1062, 1586:
		return fmt.Errorf("%w: %w", ErrDuplicate, e)
	case 1213, 3101: // deadlock victim, refused by group replication's certification
		return im.Wrap(im.Unavailable, "database deadlock", errors.Join(errUndone, e))
	case 1205: // not repeated at once: two seconds were spent already
		return im.Wrap(im.Unavailable, "database lock wait timed out", e)
	}
	if m, ok := mysqlErrors[e.Number]; ok {
		return im.Wrap(m.code, m.msg, e)
	}
	return im.Wrap(im.Internal, "database", e)
}

func classifySQLite(e *sqlite.Error) error {
	switch e.Code() {
	case sqlite3.SQLITE_CONSTRAINT_UNIQUE, sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY, sqlite3.SQLITE_CONSTRAINT_ROWID:
		return fmt.Errorf("%w: %w", ErrDuplicate, e)
	}
	switch e.Code() & 0xff {
	case sqlite3.SQLITE_CONSTRAINT, sqlite3.SQLITE_MISMATCH:
		return im.Wrap(im.Invalid, "a value is not allowed", e)
	case sqlite3.SQLITE_TOOBIG:
		return im.Wrap(im.Invalid, "a text is too long", e)
	case sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED:
		return im.Wrap(im.Unavailable, "database file busy", e)
	case sqlite3.SQLITE_INTERRUPT:
		return im.Wrap(im.Unavailable, "database call cut short", e)
	case sqlite3.SQLITE_FULL:
		return im.Wrap(im.Unavailable, "the disk of the data folder is full", e)
	case sqlite3.SQLITE_IOERR:
		return im.Wrap(im.Unavailable, "the data file cannot be read or written", e)
	case sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM:
		return im.Wrap(im.Unavailable, "the data file cannot be opened for writing", e)
	case sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT:
		return im.Wrap(im.Internal, "the data file is damaged or is no database", e)
	}
	return im.Wrap(im.Internal, "database", e)
}

// mysqlNumber returns the error number that the server answered with.
func mysqlNumber(err error) (uint16, bool) {
	e, ok := errors.AsType[*mysql.MySQLError](err)
	if !ok {
		return 0, false
	}
	return e.Number, true
}

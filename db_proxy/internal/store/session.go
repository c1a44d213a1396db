package store

import (
	"context"
	"database/sql/driver"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// session is what a connection to MySQL or MariaDB needs beyond its address.
type session struct {
	lockWait    time.Duration // longest wait for a row lock, whole seconds
	foreignKeys bool          // false: they are not looked at
}

// StrictMode is the sql_mode of every connection.
const StrictMode = "STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION"

// settings are the statements by which every connection begins. All that the
// code relies on stands here and is said, so that neither the defaults of the
// server nor its init_connect matter:
//
//   - strict, so that nothing is cut silently, and without any mode that
//     changes what our statements mean;
//   - READ COMMITTED, so that a transaction sees what was committed before it
//     got its lock, and READ WRITE;
//   - a statement is committed by itself, a transaction ends where we end it;
//   - no limit that cuts a result, refuses a statement, or ends a connection
//     or a transaction while we work elsewhere;
//   - unique keys are checked at once.
//
// What only one of the two products knows is in a comment that the other one
// skips; a variable that needs more than an ordinary account is not set here
// (see serverFaults).
func (s session) settings() string {
	return "SET SESSION " + strings.Join([]string{
		"sql_mode = '" + StrictMode + "'",
		"autocommit = 1",
		"completion_type = 0",
		"sql_safe_updates = 0",
		"sql_select_limit = 18446744073709551615",
		"sql_big_selects = 1",
		"sql_auto_is_null = 0",
		"unique_checks = 1",
		"foreign_key_checks = " + strconv.Itoa(int(flag(s.foreignKeys))),
		"innodb_lock_wait_timeout = " + strconv.Itoa(int(s.lockWait/time.Second)),
		"default_storage_engine = InnoDB",
		"time_zone = '+00:00'",
		"wait_timeout = 28800",
		"net_read_timeout = 30",
		"net_write_timeout = 60",
	}, ", ") +
		" /*M!100101 , max_statement_time = 0 */" +
		" /*M!100300 , idle_transaction_timeout = 0, idle_write_transaction_timeout = 0 */" +
		" /*M!100307 , alter_algorithm = 'DEFAULT' */" +
		" /*!50708 , max_execution_time = 0 */" +
		"; SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED, READ WRITE"
}

// prepared makes connections that have a session's settings.
type prepared struct {
	driver.Connector
	settings string
}

func (c prepared) Connect(ctx context.Context) (driver.Conn, error) {
	conn, err := c.Connector.Connect(ctx)
	if err != nil {
		return nil, err
	}
	e, ok := conn.(driver.ExecerContext)
	if !ok {
		return nil, fmt.Errorf("store: driver %T cannot execute", conn)
	}
	if _, err := e.ExecContext(ctx, c.settings, nil); err != nil {
		_ = conn.Close() // the statement's error says more
		return nil, err
	}
	return conn, nil
}

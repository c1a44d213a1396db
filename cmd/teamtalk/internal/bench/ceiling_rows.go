package bench

import (
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"strconv"
	"time"

	"github.com/go-sql-driver/mysql"

	"teamtalk/client/textcrypt"
	"teamtalk/db_proxy/dbproxy"
)

// rowBatches are the sizes of transactions that are measured.
var rowBatches = []int{1, 10, 100, 1000}

// rowConversations is how many conversations the rows belong to.
const rowConversations = 50

// measureRows inserts rows into a table like those of single messages.
func (c *Ceiling) measureRows(ctx context.Context, cfg ceilingConfig, pool dbproxy.MySQL) (err error) {
	t, err := newScratchTable(ctx, pool, cfg.connections)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, t.close(ctx)) }()
	if err := c.mysqlSettings(ctx, t.db); err != nil {
		return fmt.Errorf("ask MariaDB for its settings: %w", err)
	}
	rows := newRowWriter(t.name, cfg.size)
	insert := func(batch, connections int) (CeilingStep, error) {
		return c.step(ctx, cfg, batch, connections, func(ctx context.Context, connection, _ int) error {
			_, err := t.conns[connection].ExecContext(ctx, rows.statement(connection, batch))
			return err
		})
	}
	single, err := insert(1, 1)
	if err != nil {
		return fmt.Errorf("insert single rows: %w", err)
	}
	c.Commit = single.MS
	c.Insert = append(c.Insert, single)
	for _, batch := range rowBatches {
		if batch == 1 && cfg.connections == 1 {
			continue
		}
		s, err := insert(batch, cfg.connections)
		if err != nil {
			return fmt.Errorf("insert %d rows at a time: %w", batch, err)
		}
		c.Insert = append(c.Insert, s)
	}
	return nil
}

// scratchTable is a table like those of single messages, beside them.
type scratchTable struct {
	name  string
	db    *sql.DB
	conns []*sql.Conn
}

// newScratchTable creates one and opens connections to its database.
func newScratchTable(ctx context.Context, pool dbproxy.MySQL, connections int) (*scratchTable, error) {
	db, err := openMySQL(pool)
	if err != nil {
		return nil, err
	}
	t := &scratchTable{name: "bench_ceiling_" + hex.EncodeToString(randomBytes(4)), db: db}
	if _, err := db.ExecContext(ctx, "CREATE TABLE "+t.name+" LIKE IMMessage_0"); err != nil {
		return nil, errors.Join(
			fmt.Errorf("create a scratch table (has a db_proxy been started on this database?): %w", err), db.Close())
	}
	for range connections {
		conn, err := db.Conn(ctx)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("connect to MariaDB: %w", err), t.close(ctx))
		}
		t.conns = append(t.conns, conn)
	}
	return t, nil
}

// close removes the table.
func (t *scratchTable) close(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
	defer cancel()
	for _, conn := range t.conns {
		_ = conn.Close()
	}
	_, err := t.db.ExecContext(ctx, "DROP TABLE "+t.name)
	if err != nil {
		err = fmt.Errorf("remove the scratch table: %w", err)
	}
	return errors.Join(err, t.db.Close())
}

// openMySQL connects as db_proxy does.
func openMySQL(pool dbproxy.MySQL) (*sql.DB, error) {
	c := mysql.NewConfig()
	c.User, c.Passwd, c.DBName = pool.Username, pool.Password.Reveal(), pool.DBName
	c.Net, c.Addr = "tcp", net.JoinHostPort(pool.Host, strconv.Itoa(pool.Port))
	if filepath.IsAbs(pool.Host) {
		c.Net, c.Addr = "unix", pool.Host
	}
	c.Timeout = pool.AcquireTimeout
	if err := c.Apply(mysql.Charset("utf8mb4", "utf8mb4_bin")); err != nil {
		return nil, err
	}
	connector, err := mysql.NewConnector(c)
	if err != nil {
		return nil, fmt.Errorf("address of MariaDB: %w", err)
	}
	return sql.OpenDB(connector), nil
}

// mysqlSettings notes what decides about the speed of commits.
func (c *Ceiling) mysqlSettings(ctx context.Context, db *sql.DB) error {
	rows, err := db.QueryContext(ctx, "SHOW GLOBAL VARIABLES WHERE Variable_name IN ('version', "+
		"'innodb_flush_log_at_trx_commit', 'innodb_buffer_pool_size', 'innodb_log_file_size', 'innodb_redo_log_capacity', "+
		"'innodb_flush_method', 'sync_binlog', 'log_bin')")
	if err != nil {
		return err
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var name, value string
		if err := rows.Scan(&name, &value); err != nil {
			return err
		}
		c.Settings["mariadb "+name] = value
	}
	return rows.Err()
}

// rowWriter makes INSERT statements.
type rowWriter struct {
	table string
	text  []byte // of every message, encrypted: safe in an SQL string
	lanes []rowLane
}

// rowLane is what one connection inserts.
type rowLane struct {
	next uint32 // number of the next row
	sql  []byte
}

// maxRowConnections bounds the connections of a rowWriter.
const maxRowConnections = 64

func newRowWriter(table string, size int) *rowWriter {
	return &rowWriter{
		table: table, text: textcrypt.Standard().AppendEncrypt(nil, stamp{}.appendText(nil, size)),
		lanes: make([]rowLane, maxRowConnections),
	}
}

// statement returns an INSERT of n rows: the next messages of conversations
// that no other connection writes to.
func (w *rowWriter) statement(connection, n int) string {
	lane := &w.lanes[connection]
	text := append(lane.sql[:0], "INSERT INTO "+w.table+
		" (relateId, fromId, toId, msgId, type, created, updated, opId, content) VALUES "...)
	ops := randomBytes(16 * n)
	for i := range n {
		conversation := lane.next%rowConversations + 1 + uint32(connection)*rowConversations
		if i > 0 {
			text = append(text, ',')
		}
		text = fmt.Appendf(text, "(%d,%d,%d,%d,1,1700000000,1700000000,x'%x','%s')",
			conversation, conversation, conversation+1, lane.next/rowConversations+1, ops[16*i:16*i+16], w.text)
		lane.next++
	}
	lane.sql = text
	return string(text)
}

// randomBytes returns so many of them.
func randomBytes(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails: crypto/rand ends the process instead
	return b
}

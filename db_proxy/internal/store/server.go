package store

import (
	"context"
	"database/sql"
	"fmt"
	"io/fs"
	"regexp"

	"teamtalk/internal/im"
	migrations "teamtalk/sql"
)

// CheckServer refuses a server whose settings our statements cannot work with,
// in words for its operator. It changes nothing.
func CheckServer(ctx context.Context, db *sql.DB) error {
	have := map[string]string{}
	rows, err := db.QueryContext(ctx, "SHOW VARIABLES WHERE Variable_name IN ('log_bin', 'binlog_format')")
	if err != nil {
		return fmt.Errorf("ask for the server's settings: %w", classify(err))
	}
	defer rows.Close()
	for rows.Next() {
		var name, value string
		if err := rows.Scan(&name, &value); err != nil {
			return fmt.Errorf("ask for the server's settings: %w", classify(err))
		}
		have[name] = value
	}
	if err := rows.Err(); err != nil {
		return fmt.Errorf("ask for the server's settings: %w", classify(err))
	}
	if have["log_bin"] == "ON" && have["binlog_format"] == "STATEMENT" {
		return im.Errorf(im.Invalid, "the database server has a binary log with binlog_format=STATEMENT, which cannot be "+
			"written at the isolation level that is needed (error 1665): set binlog_format to ROW or MIXED in the "+
			"server's configuration, and by SET GLOBAL binlog_format = 'ROW'")
	}
	return nil
}

// TryTables makes every table of ours as a temporary one, which nobody else
// sees and which is gone afterwards, and returns what the server has against
// it: a row format, the length of a key, the engine. An account that may not
// make temporary tables learns nothing here.
func TryTables(ctx context.Context, db *sql.DB) error {
	texts, err := creations()
	if err != nil {
		return err
	}
	return tryTables(ctx, db, texts)
}

func tryTables(ctx context.Context, db *sql.DB, texts []string) error {
	conn, err := db.Conn(ctx)
	if err != nil {
		return fmt.Errorf("connect: %w", classify(err))
	}
	defer conn.Close()
	for i, text := range texts {
		name := creation.FindStringSubmatch(text)[1]
		trial := fmt.Sprintf("CREATE TEMPORARY TABLE tt_trial_%d%s", i, text[creation.FindStringIndex(text)[1]:])
		if _, err := conn.ExecContext(ctx, trial); err != nil {
			if n, ok := mysqlNumber(err); ok && (n == noDatabaseRight || n == noTableRight) {
				return nil
			}
			return im.Wrap(im.Invalid, "the database server does not take the table "+name, err)
		}
		if _, err := conn.ExecContext(ctx, fmt.Sprintf("DROP TEMPORARY TABLE tt_trial_%d", i)); err != nil {
			return fmt.Errorf("drop a temporary table: %w", classify(err))
		}
	}
	return nil
}

// Numbers of MySQL's errors for what an account may not do.
const (
	noDatabaseRight = 1044
	noTableRight    = 1142
)

// creation is how a migration begins to make a table.
var creation = regexp.MustCompile(`^CREATE TABLE IF NOT EXISTS (\w+)`)

// creations returns the statements of the migrations that make tables.
func creations() (texts []string, err error) {
	all := regexp.MustCompile(`(?ms)^CREATE TABLE .*?^\)[^;]*;`)
	files, err := fs.Glob(migrations.Files, "mysql/*.sql")
	if err != nil {
		return nil, fmt.Errorf("list migrations: %w", err)
	}
	for _, file := range files {
		text, err := fs.ReadFile(migrations.Files, file)
		if err != nil {
			return nil, fmt.Errorf("read migration: %w", err)
		}
		texts = append(texts, all.FindAllString(string(text), -1)...)
	}
	return texts, nil
}

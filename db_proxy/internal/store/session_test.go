package store

import (
	"log/slog"
	"testing"

	"teamtalk/internal/testenv"
)

// Whatever the server's defaults are, and whatever its init_connect says, a
// connection of ours has what the code relies on.
func TestSession(t *testing.T) {
	t.Parallel()
	d, server := testenv.OwnMariaDB(t)
	for _, text := range []string{
		"CREATE USER 'tt'@'127.0.0.1'", "GRANT ALL ON test.* TO 'tt'@'127.0.0.1'",
		"SET GLOBAL autocommit = 0", "SET GLOBAL completion_type = 'CHAIN'", "SET GLOBAL sql_safe_updates = 1",
		"SET GLOBAL sql_select_limit = 1", "SET GLOBAL max_join_size = 1", "SET GLOBAL max_statement_time = 5",
		"SET GLOBAL wait_timeout = 1", "SET GLOBAL unique_checks = 0", "SET GLOBAL tx_read_only = 1",
		"SET GLOBAL tx_isolation = 'SERIALIZABLE'", "SET GLOBAL alter_algorithm = 'INSTANT'",
		"SET GLOBAL idle_transaction_timeout = 1", "SET GLOBAL sql_mode = 'ANSI'",
		"SET GLOBAL init_connect = \"SET NAMES latin1, time_zone = '+05:00', default_storage_engine = MyISAM\"",
	} {
		check(t, server.Exec(t.Context(), text))
	}
	db, err := Bare(Pool{Host: d.Host, Port: d.Port, DB: d.Name, User: "tt"}, slog.New(slog.DiscardHandler))
	check(t, err)
	defer db.Close()
	for variable, want := range map[string]string{
		"autocommit": "1", "completion_type": "NO_CHAIN", "sql_safe_updates": "0", "sql_select_limit": "18446744073709551615",
		"sql_big_selects": "1", "max_statement_time": "0", "wait_timeout": "28800", "unique_checks": "1",
		"foreign_key_checks": "0", "tx_read_only": "0", "tx_isolation": "READ-COMMITTED", "alter_algorithm": "DEFAULT",
		"idle_transaction_timeout": "0", "sql_mode": "STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION",
		"character_set_client": "utf8mb4", "collation_connection": "utf8mb4_bin", "time_zone": "+00:00",
		"default_storage_engine": "InnoDB", "innodb_lock_wait_timeout": "300",
	} {
		var got string
		check(t, db.QueryRowContext(t.Context(), "SELECT @@SESSION."+variable).Scan(&got))
		if got != want {
			t.Errorf("%s is %s, want %s", variable, got, want)
		}
	}
}

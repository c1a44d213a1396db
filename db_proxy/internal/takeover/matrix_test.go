package takeover

import (
	"flag"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"teamtalk/internal/testenv"
	"teamtalk/internal/testenv/legacy"
)

var matrix = flag.Bool("matrix", false, "every schema on every server, not only some of each")

// schema is an installation of the original as it became.
type schema struct {
	name   string
	change []string // SQL; {M} stands for each message table, {T} for each table
	prefix *string  // the tables are renamed to it
	lower  bool     // and to small letters
	keys   bool     // unique ones were added
}

// statements are the changes, for each table that they are about.
func (s schema) statements() (all []string) {
	for _, text := range s.change {
		switch {
		case strings.Contains(text, "{M}"):
			for _, table := range slices.Concat(shards("IMMessage_"), shards("IMGroupMessage_")) {
				all = append(all, strings.ReplaceAll(text, "{M}", table))
			}
		case strings.Contains(text, "{T}"):
			for _, table := range legacy.Names() {
				all = append(all, strings.ReplaceAll(text, "{T}", table))
			}
		default:
			all = append(all, text)
		}
	}
	return all
}

func text(s string) *string { return &s }

var schemas = []schema{
	{name: "original"},
	{name: "older", change: []string{
		"ALTER TABLE {T} CONVERT TO CHARACTER SET utf8",
		"ALTER TABLE IMUser DROP push_shield_status, DROP sign_info, DROP sex",
		"ALTER TABLE IMGroup MODIFY name varchar(20) NOT NULL DEFAULT ''",
		"ALTER TABLE IMDepart DROP priority",
	}},
	{name: "added columns", change: []string{
		"ALTER TABLE IMUser ADD wx varchar(10) NOT NULL, ADD birthday date NOT NULL, ADD level enum('low', 'high') NOT NULL," +
			" ADD seen timestamp NOT NULL DEFAULT '2000-01-01', ADD twice int AS (departId * 2)",
		"ALTER TABLE IMGroup ADD city varchar(10) NOT NULL, ADD joined datetime NOT NULL",
		"ALTER TABLE IMRecentSession ADD top tinyint NOT NULL, ADD removedId varchar(9) NOT NULL",
		"ALTER TABLE {M} ADD device varchar(10) NOT NULL, ADD extra blob NOT NULL",
		"ALTER TABLE IMRelationShip ADD note text NOT NULL",
		"ALTER TABLE IMGroupMember ADD nick varchar(10) NOT NULL, ADD score decimal(8,2) NOT NULL",
		"ALTER TABLE IMDepart ADD code bit(1) NOT NULL",
		"ALTER TABLE IMAudio ADD codec set('a', 'b') NOT NULL",
	}},
	{name: "added keys", keys: true, change: []string{
		"ALTER TABLE IMGroup ADD UNIQUE KEY uk_name (name(20)), ADD UNIQUE KEY uk_id (id)",
		"ALTER TABLE IMDepart ADD UNIQUE KEY uk_depart (departName)",
		"ALTER TABLE IMUser ADD wx varchar(20) NOT NULL, ADD staff int NOT NULL",
		"UPDATE IMUser SET wx = CONCAT('wx', id), staff = id",
		"ALTER TABLE IMUser ADD UNIQUE KEY uk_wx (wx), ADD KEY idx_staff (staff), ADD UNIQUE KEY uk_staff (staff)",
	}},
	{name: "partitions", change: []string{
		"ALTER TABLE {M} DROP PRIMARY KEY, ADD PRIMARY KEY (id, created)",
		"ALTER TABLE {M} PARTITION BY HASH (created) PARTITIONS 3",
	}},
	{name: "MyISAM", change: []string{"ALTER TABLE {T} ENGINE = MyISAM"}},
	{name: "lower-case names", prefix: text(""), lower: true},
	{name: "prefix", prefix: text("on_")},
}

// setting is how a server of an installation is set up.
type setting struct {
	name    string
	args    []string // options that it must be started with
	globals []string // settings of the running server
	refused string   // why a takeover does not begin
}

var settings = []setting{
	{name: "defaults"},
	{name: "no autocommit", globals: []string{"autocommit = 0"}},
	{name: "completion", globals: []string{"completion_type = 'CHAIN'"}},
	{name: "init_connect", globals: []string{
		"init_connect = \"SET autocommit = 0, sql_mode = 'ANSI', sql_select_limit = 3, NAMES latin1\"",
	}},
	{name: "limits", globals: []string{
		"sql_safe_updates = 1", "sql_select_limit = 5", "max_join_size = 100", "max_statement_time = 0.1",
	}},
	{name: "short patience", globals: []string{
		"wait_timeout = 1", "idle_transaction_timeout = 1", "innodb_lock_wait_timeout = 1",
	}},
	{name: "unchecked", globals: []string{"unique_checks = 0", "sql_auto_is_null = 1", "alter_algorithm = 'INSTANT'"}},
	{name: "compact", globals: []string{"innodb_default_row_format = compact"}},
	{name: "redundant", globals: []string{"innodb_default_row_format = redundant"}},
	{name: "MyISAM by default", globals: []string{"default_storage_engine = MyISAM"}},
	{name: "no mode", globals: []string{"sql_mode = ''"}},
	{name: "traditional", globals: []string{"sql_mode = 'TRADITIONAL'"}},
	{name: "ANSI", globals: []string{"sql_mode = 'ANSI,NO_BACKSLASH_ESCAPES,NO_UNSIGNED_SUBTRACTION'"}},
	{name: "Oracle", globals: []string{"sql_mode = 'ORACLE'"}},
	{name: "read uncommitted", globals: []string{"tx_isolation = 'READ-UNCOMMITTED'"}},
	{name: "serializable", globals: []string{"tx_isolation = 'SERIALIZABLE'", "tx_read_only = 1"}},
	{name: "small packets", globals: []string{"max_allowed_packet = 1048576"}},
	{name: "latin1", globals: []string{"character_set_server = latin1", "collation_server = latin1_swedish_ci"}},
	{name: "east", globals: []string{"time_zone = '+13:00'"}},
	{name: "west", globals: []string{"time_zone = '-11:00'"}},
	{name: "lower case", args: []string{"--lower-case-table-names=1"}},
	{name: "mixed binary log", args: []string{"--log-bin=bin", "--binlog-format=MIXED"}},
	{
		name: "statement binary log", args: []string{"--log-bin=bin", "--binlog-format=STATEMENT"},
		refused: "binlog_format to ROW or MIXED",
	},
}

// some are the cases that every run of the tests has: each schema and the
// settings that need most, once.
var some = [][2]string{
	{"added columns", "all at once"},
	{"added keys", "all at once"},
	{"original", "lower case"},
	{"older", "all at once"},
	{"MyISAM", "all at once"},
	{"partitions", "all at once"},
	{"lower-case names", "all at once"},
	{"prefix", "all at once"},
	{"original", "statement binary log"},
}

// allAtOnce has everything that a running server can be set to.
var allAtOnce = setting{name: "all at once", globals: []string{
	"autocommit = 0", "completion_type = 'CHAIN'", "sql_safe_updates = 1", "sql_select_limit = 5", "max_join_size = 100",
	"max_statement_time = 0.1", "wait_timeout = 1", "unique_checks = 0", "innodb_default_row_format = redundant",
	"sql_mode = 'ANSI,NO_BACKSLASH_ESCAPES'", "tx_isolation = 'SERIALIZABLE'", "max_allowed_packet = 1048576",
	"character_set_server = latin1", "time_zone = '+13:00'", "default_storage_engine = MyISAM",
}}

// Every installation is taken over on every server, used, and brought back
// with what was written; nothing else differs.
func TestMatrix(t *testing.T) {
	t.Parallel()
	servers := map[string][]setting{}
	for _, s := range append(slices.Clone(settings), allAtOnce) {
		servers[strings.Join(s.args, " ")] = append(servers[strings.Join(s.args, " ")], s)
	}
	for _, all := range servers {
		all = slices.DeleteFunc(all, func(s setting) bool { return len(casesOf(s)) == 0 })
		if len(all) == 0 {
			continue
		}
		t.Run(all[0].name, func(t *testing.T) {
			t.Parallel()
			d, server := testenv.OwnMariaDB(t, all[0].args...)
			check(t, server.Exec(t.Context(), "CREATE USER 'tt'@'127.0.0.1'"))
			check(t, server.Exec(t.Context(), "GRANT ALL ON `case%`.* TO 'tt'@'127.0.0.1'"))
			for i, s := range all {
				for k, c := range casesOf(s) { // one after the other: they set the server
					name := fmt.Sprintf("case_%d_%d", i, k)
					began := time.Now()
					ok := t.Run(s.name+"/"+c.name, func(t *testing.T) {
						check(t, server.Exec(t.Context(), "CREATE DATABASE "+name))
						play(t, onServer(t, d.Port, name), c, s, server.Exec)
					})
					t.Logf("%-22s %-18s %v %s", s.name, c.name, ok, time.Since(began).Round(10*time.Millisecond))
				}
			}
		})
	}
}

// casesOf lists the schemas that a setting is tried with.
func casesOf(s setting) (all []schema) {
	for _, c := range schemas {
		wanted := *matrix && s.name != allAtOnce.name || slices.Contains(some, [2]string{c.name, s.name}) && !*matrix
		if wanted && (!c.lower || s.name != "lower case") { // there it is no difference
			all = append(all, c)
		}
	}
	return all
}

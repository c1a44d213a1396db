package takeover

import (
	"database/sql"
	"strings"
	"testing"
)

// What the db_proxy_server and the administration site of the original say to
// the database: every INSERT, the UPDATEs that make rows live again, and the
// queries that name an index. Source: docs/protocol/storage.md §1 to §6. ? is a
// number.
var originalStatements = []string{
	// The administration site.
	"INSERT INTO IMUser (sex, name, domain, nick, password, salt, phone, email, avatar, departId, status, created, updated)" +
		" VALUES (1, 'new', '', 'New', 'd41d8cd98f00b204e9800998ecf8427e', '1234', '', '', '', 1, 0, 5, 5)",
	"INSERT INTO IMDepart (departName, priority, parentId, status, created, updated) VALUES ('d', 0, 0, 0, 5, 5)",
	"INSERT INTO IMGroup (name, avatar, creator, type, updated, created) VALUES ('by hand', '', 1, 1, 5, 5)",
	"INSERT INTO IMDiscovery (itemName, itemUrl, itemPriority, status, created, updated) VALUES ('i', 'u', 1, 0, 5, 5)",
	"INSERT INTO IMAdmin (uname, pwd, status, created, updated) VALUES ('second', MD5('x'), 0, 5, 5)",
	"UPDATE IMUser SET nick = 'Newer', updated = 6 WHERE id = 2",
	"UPDATE IMUser SET status = 3 WHERE id = 2",
	"UPDATE IMGroup SET status = 0 WHERE id = 1",
	// db_proxy_server.
	"SELECT * FROM IMUser WHERE name = 'u1' AND status = 0",
	"UPDATE IMUser SET sign_info = 'hello', updated = 7 WHERE id = 2",
	"UPDATE IMUser SET push_shield_status = 1, updated = 7 WHERE id = 2",
	"INSERT INTO IMRelationShip (smallId, bigId, status, created, updated) VALUES (55, 999, 0, 5, 5)",
	"UPDATE IMRelationShip SET status = 0, updated = 8 WHERE id = 1",
	"SELECT id FROM IMRelationShip WHERE smallId = 55 AND bigId = 999 AND status = 0",
	"INSERT INTO IMRecentSession (userId, peerId, type, status, created, updated) VALUES (55, 999, 1, 0, 5, 5)",
	"UPDATE IMRecentSession SET status = 0, updated = 8 WHERE userId = 55 AND peerId = 999 AND type = 1",
	"SELECT * FROM IMRecentSession WHERE userId = 1 AND status = 0 AND updated > 0 ORDER BY updated DESC LIMIT 100",
	"INSERT INTO IMMessage_1 (relateId, fromId, toId, msgId, content, status, type, created, updated)" +
		" VALUES (100001, 1, 2, 1, 'x', 0, 1, 5, 5)",
	"SELECT id, content FROM IMMessage_1 FORCE INDEX (idx_relateId_status_created) WHERE relateId = 100001 AND status = 0" +
		" AND msgId <= 10 ORDER BY created DESC, id DESC LIMIT 10",
	"SELECT content, type, msgId FROM IMMessage_1 FORCE INDEX (idx_relateId_status_created) WHERE relateId = 100001" +
		" AND status = 0 ORDER BY created DESC, id DESC LIMIT 1",
	"INSERT INTO IMGroupMessage_1 (groupId, userId, msgId, content, type, status, updated, created)" +
		" VALUES (100001, 1, 1, 'x', 17, 0, 5, 5)",
	"SELECT * FROM IMGroupMessage_1 WHERE groupId = 100001 AND status = 0 AND created >= 0 ORDER BY created DESC, id DESC LIMIT 10",
	"INSERT INTO IMGroup (name, avatar, creator, type, userCnt, status, version, lastChated, updated, created)" +
		" VALUES ('g', '', 1, 2, 2, 0, 1, 0, 5, 5)",
	"INSERT INTO IMGroupMember (groupId, userId, status, created, updated) VALUES (100001, 1, 0, 5, 5)",
	"UPDATE IMGroupMember SET status = 0, updated = 6 WHERE groupId = 100001 AND userId IN (1)",
	"UPDATE IMGroup SET userCnt = userCnt + 1 WHERE id = 1",
	"UPDATE IMGroup SET version = version + 1 WHERE id = 1",
	"UPDATE IMGroup SET lastChated = 9 WHERE id = 1",
	"SELECT groupId FROM IMGroupMember WHERE userId = 1 AND status = 0 ORDER BY updated DESC, id DESC",
	"SELECT id, lastChated FROM IMGroup WHERE status = 0 AND lastChated >= 0",
	"INSERT INTO IMAudio (fromId, toId, path, size, duration, created) VALUES (1, 2, 'http://h/a', 5, 1, 5)",
	"INSERT INTO IMTransmitFile (fromId, toId, fileName, size, taskId, status, created, updated)" +
		" VALUES (1, 2, 'f', 5, 't', 0, 5, 5)",
}

// An original that runs beside ours on the tables that were taken over can say
// all it has to say.
func TestOriginalBeside(t *testing.T) {
	t.Parallel()
	f, _ := original(t)
	f.run(t)
	tables, err := (&Takeover{db: f.db}).tables(t.Context())
	check(t, err)
	conn, err := f.db.Conn(t.Context())
	check(t, err)
	defer conn.Close()
	for _, mode := range []string{"STRICT_TRANS_TABLES,ERROR_FOR_DIVISION_BY_ZERO,NO_AUTO_CREATE_USER,NO_ENGINE_SUBSTITUTION", ""} {
		_, err := conn.ExecContext(t.Context(), "SET SESSION sql_mode = ?", mode)
		check(t, err)
		tx, err := conn.BeginTx(t.Context(), nil)
		check(t, err)
		for _, text := range originalStatements {
			if !tables.Has(tableOf(text)) {
				t.Logf("no table for %.50s", text) // it had none, either
				continue
			}
			// Also the queries: their rows are thrown away.
			if _, err := tx.ExecContext(t.Context(), text); err != nil {
				t.Errorf("%.80s: %v", text, err)
			}
		}
		check(t, tx.Rollback())
	}
	plan := must(rows(t.Context(), f.db, func(r scanner) (key string, err error) {
		var skip sql.NullString
		var k sql.NullString
		err = r.Scan(&skip, &skip, &skip, &skip, &skip, &k, &skip, &skip, &skip, &skip)
		return k.String, err
	}, "EXPLAIN "+"SELECT id, content FROM IMMessage_1 FORCE INDEX (idx_relateId_status_created) WHERE relateId = 1 AND status = 0"+
		" ORDER BY created DESC, id DESC LIMIT 10"))(t)
	if len(plan) != 1 || plan[0] != originalIndex {
		t.Errorf("the original's history reads by %v", plan)
	}
}

func must[T any](v T, err error) func(*testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		check(t, err)
		return v
	}
}

// tableOf returns the table that a statement is about.
func tableOf(text string) string {
	for word := range strings.FieldsSeq(text) {
		if strings.HasPrefix(word, "IM") {
			return word
		}
	}
	return ""
}

// What must not be taken over is refused with its reason, before anything was
// changed.
func TestBlocked(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		spoil string // SQL, or "flush"
		want  string
	}{
		"table missing":    {"DROP TABLE IMMessage_3", "IMMessage_3: the table is missing"},
		"column missing":   {"ALTER TABLE IMUser DROP COLUMN salt", "IMUser: has no column salt"},
		"text too long":    {"ALTER TABLE IMUser MODIFY domain varchar(99) NOT NULL DEFAULT ''; UPDATE IMUser SET domain = REPEAT('x', 40) WHERE id = 3", `column domain is varchar(99); ours takes 32 characters of UTF-8: row 3 has "xxxx`},
		"name taken":       {"CREATE TABLE IMChange (id int)", "IMChange: is no table of TeamTalk"},
		"an earlier undo":  {"CREATE TABLE tt_undone_IMUser (id int)", "earlier way back"},
		"Redis lost":       {"flush", "Redis: has no member list"},
		"another database": {"DROP TABLE IMUser", "no IMUser"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f, _ := original(t)
			if c.spoil == "flush" {
				check(t, f.redis.FlushDB(t.Context()).Err())
			} else {
				for text := range strings.SplitSeq(c.spoil, "; ") {
					_, err := f.db.ExecContext(t.Context(), text)
					check(t, err)
				}
			}
			_, err := f.with(t, func(tk *Takeover) (*Report, error) { return tk.Run(t.Context(), false) })
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("run: %v, want %q", err, c.want)
			}
			if name == "another database" {
				return
			}
			r, err := f.with(t, func(tk *Takeover) (*Report, error) { return tk.Check(t.Context()) })
			check(t, err)
			if r.Counts[Blocked] != 1 || !strings.Contains(r.Findings[0].Subject+": "+r.Findings[0].Detail, c.want) {
				t.Errorf("check: %+v", r.Findings)
			}
			if c.spoil == "flush" {
				_, err := f.with(t, func(tk *Takeover) (*Report, error) { return tk.Run(t.Context(), true) })
				check(t, err)
			}
		})
	}
}

// Connections of others, an empty database, ours, and the end.
func TestStates(t *testing.T) {
	t.Parallel()
	f := empty(t)
	if r := f.run(t); r.State != Empty {
		t.Errorf("an empty database is %s", r.State)
	}
	_, err := f.with(t, func(tk *Takeover) (*Report, error) { return tk.Undo(t.Context(), false) })
	if err == nil {
		t.Error("undo of nothing")
	}
	f, w := original(t)
	conn, err := f.db.Conn(t.Context())
	check(t, err)
	_, err = f.with(t, func(tk *Takeover) (*Report, error) { return tk.Run(t.Context(), false) })
	if err == nil || !strings.Contains(err.Error(), "other connections use the database") {
		t.Errorf("with another connection: %v", err)
	}
	check(t, conn.Close())
	f.run(t)
	_, err = f.with(t, func(tk *Takeover) (*Report, error) { return tk.Finish(t.Context()) })
	check(t, err)
	if _, err := w.Verify(t.Context(), f.db); err != nil {
		t.Error(err)
	}
	left := must(column[string](t.Context(), f.db, `SELECT TABLE_NAME FROM information_schema.TABLES
		WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME LIKE 'tt\\_%'`))(t)
	if len(left) > 0 {
		t.Errorf("left over: %v", left)
	}
	if r := f.run(t); r.State != Ours {
		t.Errorf("a finished database is %s", r.State)
	}
	_, err = f.with(t, func(tk *Takeover) (*Report, error) { return tk.Undo(t.Context(), false) })
	if err == nil || !strings.Contains(err.Error(), "no way back") {
		t.Errorf("undo after the end: %v", err)
	}
}

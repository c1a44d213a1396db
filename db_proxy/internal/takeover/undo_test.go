package takeover

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"teamtalk/db_proxy/internal/store"
	"teamtalk/internal/im"
)

// exec runs statements on the database.
func (f fixture) exec(t *testing.T, statements ...string) {
	t.Helper()
	for _, text := range statements {
		if _, err := f.db.ExecContext(t.Context(), text); err != nil {
			t.Fatalf("%s: %v", text, err)
		}
	}
}

func (f fixture) inspect(t *testing.T) *Report {
	t.Helper()
	r, err := f.with(t, func(tk *Takeover) (*Report, error) { return tk.Check(t.Context()) })
	check(t, err)
	return r
}

// details are the findings of a kind.
func (r *Report) details(kind Kind) (all []string) {
	for _, f := range r.Findings {
		if f.Kind == kind {
			all = append(all, f.Subject+": "+f.Detail)
		}
	}
	return all
}

// The names of accounts, groups and departments that an installation made
// unique: the way back makes distinct what was made since, however often it is
// killed, and the keys are what they were.
func TestUndoKeys(t *testing.T) {
	t.Parallel()
	f, w := original(t)
	f.exec(t, fmt.Sprintf("DELETE FROM IMUser WHERE id > %d", w.Size.Users),
		"ALTER TABLE IMUser MODIFY name varchar(32) CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci NOT NULL DEFAULT ''",
		"ALTER TABLE IMUser ADD UNIQUE KEY uk_name (name) USING BTREE COMMENT 'one of each'",
		"ALTER TABLE IMGroup ADD UNIQUE KEY uk_group (name(40))",
		"ALTER TABLE IMDepart ADD UNIQUE KEY uk_depart (departName), ADD UNIQUE KEY uk_parent (parentId)")
	before := f.everything(t)
	r := f.inspect(t)
	if got := r.details(KeyKept); len(got) != 4 || !slices.ContainsFunc(got, func(s string) bool {
		return strings.Contains(s, "IMUser: unique key uk_name (name)") && strings.Contains(s, "undo makes distinct")
	}) {
		t.Errorf("check says %q", got)
	}
	f.run(t)
	f.exec(t,
		"INSERT INTO IMUser (id, name, password, updated) VALUES (101, 'New', '1', 2000000000), (102, 'new', '1', 2000000000)",
		// Two change places: only in between are they equal.
		"UPDATE IMUser SET name = 'x', updated = 2000000000 WHERE id = 3",
		"UPDATE IMUser SET name = 'u3', updated = 2000000000 WHERE id = 4",
		"UPDATE IMUser SET name = 'u4' WHERE id = 3",
		"INSERT INTO IMGroup (id, name, status) VALUES (101, 'same', 0), (102, 'same', 0), (103, 'group 1', 0)",
		"INSERT INTO IMDepart (id, departName, parentId, updated) VALUES (101, 'office', 5, 9), (102, 'lab', 5, 9)")
	seen := map[string]bool{}
	for kills := 0; ; kills++ {
		tk := f.open(t, func(point string) error {
			if seen[point] || point == "drop "+findingTable || point == "drop "+stateTable { // then all is told
				return nil
			}
			seen[point] = true
			return errKilled
		})
		var err error
		r, err = tk.Undo(t.Context(), true)
		check(t, tk.Close())
		if err == nil {
			break
		}
		if !errors.Is(err, errKilled) || kills > 1000 {
			t.Fatal(err)
		}
	}
	want := []string{
		`IMUser 102: name "new" becomes "new#102"`, `IMGroup 102: name "same" becomes "same#102"`,
		`IMGroup 103: name "group 1" becomes "group 1#103"`, `IMDepart 101: departName "office" becomes "office#101"`,
	}
	got := r.details(MadeDistinct)
	for _, text := range want {
		if !slices.ContainsFunc(got, func(s string) bool { return strings.HasPrefix(s, text) }) {
			t.Errorf("not reported: %s; %q", text, got)
		}
	}
	if len(got) != len(want) {
		t.Errorf("reported %q", got)
	}
	if got := r.details(KeyLoosened); len(got) != 1 || !strings.Contains(got[0], "uk_parent is not unique any more") {
		t.Errorf("loosened: %q", got)
	}
	after := f.everything(t)
	for _, table := range []string{"IMUser", "IMGroup"} {
		if after[table]["definition"] != before[table]["definition"] {
			t.Errorf("%s was\n%s\nis\n%s", table, before[table]["definition"], after[table]["definition"])
		}
	}
	names, err := column[string](t.Context(), f.db, "SELECT name FROM IMUser WHERE id IN (3, 4, 101, 102) ORDER BY id")
	check(t, err)
	if !slices.Equal(names, []string{"u4", "u3", "New", "new#102"}) {
		t.Errorf("names %q", names)
	}
}

// In every state in which a run may stop, what a command says leads to the end
// of it, and no other command begins.
func TestHalfWay(t *testing.T) {
	t.Parallel()
	type call = func(*Takeover) (*Report, error)
	var (
		run    = func(tk *Takeover) (*Report, error) { return tk.Run(t.Context(), true) }
		undo   = func(tk *Takeover) (*Report, error) { return tk.Undo(t.Context(), true) }
		finish = func(tk *Takeover) (*Report, error) { return tk.Finish(t.Context()) }
		check1 = func(tk *Takeover) (*Report, error) { return tk.Check(t.Context()) }
	)
	f, _ := original(t)
	before := f.everything(t)
	// stop runs a command that is killed at a point.
	stop := func(at string, c call) {
		t.Helper()
		tk := f.open(t, func(point string) error {
			if point == at {
				return errKilled
			}
			return nil
		})
		_, err := c(tk)
		check(t, tk.Close())
		if !errors.Is(err, errKilled) {
			t.Fatalf("not killed at %s: %v", at, err)
		}
	}
	// says is the advice of all commands but those that go on.
	says := func(state State, advice string, wrong ...call) {
		t.Helper()
		r, err := f.with(t, check1)
		check(t, err)
		if r.State != state || !strings.Contains(r.State.Advice(), advice) {
			t.Errorf("check: %s, %q; want %s, %q", r.State, r.State.Advice(), state, advice)
		}
		for i, c := range wrong {
			if _, err := f.with(t, c); err == nil || !strings.Contains(err.Error(), advice) {
				t.Errorf("%s, command %d: %v, want %q", state, i, err, advice)
			}
		}
		s, err := store.Open(t.Context(), store.Config{Driver: store.MySQL, Master: f.cfg.DB}, storeDeps())
		switch {
		case state == Ending && err == nil: // the data are ours
			check(t, s.Close())
		case err == nil || !strings.Contains(err.Error(), advice):
			t.Errorf("%s: db_proxy: %v, want %q", state, err, advice)
		}
	}
	for _, at := range []string{"plan", "set aside:work", "make tables", "copy IMGroup:commit", "complete"} {
		stop(at, run)
		says(Underway, `run "teamtalk migrate" again, or "teamtalk migrate --undo"`, finish)
	}
	stop("undo: drop", undo)
	says(Undoing, `run "teamtalk migrate --undo" again`, run, finish)
	must(f.with(t, undo))(t)
	compare(t, "undone half way", before, f.everything(t))

	must(f.with(t, run))(t)
	for _, at := range []string{"undo: IMGroup:commit", "undo: keep ours", "undo: rename:work", "drop tt_takeover_name"} {
		stop(at, undo)
		says(Undoing, `run "teamtalk migrate --undo" again`, run, finish)
	}
	must(f.with(t, undo))(t)
	compare(t, "undone", before, f.everything(t))
	f.dropUndone(t)

	must(f.with(t, run))(t)
	stop("drop tt_takeover_name", finish)
	says(Ending, `run "teamtalk migrate --finish" again`, run, undo)
	must(f.with(t, finish))(t)
	if _, err := f.with(t, undo); err == nil || !strings.Contains(err.Error(), "no way back") {
		t.Errorf("undo of the finished: %v", err)
	}
}

// What an installation made of the columns is named with its table and row
// before anything is changed; what it added is reported of every table.
func TestOddColumns(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change []string
		want   string
	}{
		"ids as text": {
			[]string{"ALTER TABLE IMMessage_3 MODIFY fromId varchar(20) NOT NULL", "UPDATE IMMessage_3 SET fromId = 'u-7' LIMIT 1"},
			`IMMessage_3: column fromId is varchar(20); ours takes numbers from 0 to 4294967295: row `,
		},
		"numbers as text": {
			[]string{"ALTER TABLE IMGroupMember MODIFY userId varchar(20) NOT NULL"},
			"IMGroupMember: column userId is varchar(20); ours takes numbers",
		},
		"times as dates": {
			[]string{"ALTER TABLE IMRecentSession DROP KEY idx_userId_peerId_status_updated, DROP updated," +
				" ADD updated datetime NOT NULL DEFAULT '2020-01-01'"},
			"IMRecentSession: column updated is datetime; ours takes numbers",
		},
		"large numbers": {
			[]string{"ALTER TABLE IMUser MODIFY departId bigint NOT NULL", "UPDATE IMUser SET departId = 5000000000 WHERE id = 7"},
			`IMUser: column departId is bigint(20); ours takes numbers from 0 to 4294967295: row 7 has "5000000000" (1 rows)`,
		},
		"negative": {
			[]string{"ALTER TABLE IMGroup MODIFY creator int NOT NULL", "UPDATE IMGroup SET creator = -1 WHERE id = 2"},
			`IMGroup: column creator is int(11); ours takes numbers from 0 to 4294967295: row 2 has "-1" (1 rows)`,
		},
		"no value": {
			[]string{"ALTER TABLE IMGroupMessage_1 MODIFY content varchar(4096)", "UPDATE IMGroupMessage_1 SET content = NULL LIMIT 1"},
			"IMGroupMessage_1: column content is varchar(4096); ours takes 4096 characters of UTF-8, and no NULL: row ",
		},
		"bytes": {
			[]string{"ALTER TABLE IMUser MODIFY nick varbinary(32) NOT NULL", "UPDATE IMUser SET nick = x'ff41' WHERE id = 9"},
			"IMUser: column nick is varbinary(32); ours takes 32 characters of UTF-8: row 9 has",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f, _ := original(t)
			f.exec(t, c.change...)
			before := f.everything(t)
			_, err := f.with(t, func(tk *Takeover) (*Report, error) { return tk.Run(t.Context(), false) })
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("run: %v, want %q", err, c.want)
			}
			if got := f.inspect(t).details(Blocked); len(got) != 1 || !strings.Contains(got[0], c.want) {
				t.Errorf("check: %q, want %q", got, c.want)
			}
			compare(t, "refused", before, f.everything(t))
		})
	}
	t.Run("added", func(t *testing.T) {
		t.Parallel()
		f, _ := original(t)
		f.exec(t, "ALTER TABLE IMRecentSession ADD top int NOT NULL", "ALTER TABLE IMMessage_5 ADD device varchar(9)",
			"ALTER TABLE IMDepart ADD boss int")
		got := f.inspect(t).details(ColumnKept)
		want := map[string]string{
			"IMRecentSession: column top":  "It has no default: after an undo, rows made since have 0",
			"IMMessage_5: column device":   "stays in tt_original_IMMessage_5",
			"IMDepart: column boss is not": "stays in tt_original_IMDepart",
		}
		for begin, part := range want {
			if !slices.ContainsFunc(got, func(s string) bool { return strings.HasPrefix(s, begin) && strings.Contains(s, part) }) {
				t.Errorf("%s … %s is not in %q", begin, part, got)
			}
		}
		if len(got) != len(want) {
			t.Errorf("reported %q", got)
		}
	})
}

// A way back that was killed leaves no message twice in a table whose engine
// knows no transactions.
func TestUndoWithoutTransactions(t *testing.T) {
	t.Parallel()
	f, _ := original(t)
	f.exec(t, "ALTER TABLE IMGroupMessage_1 ENGINE = MyISAM", "ALTER TABLE IMAudio ENGINE = MyISAM")
	f.run(t)
	f.exec(t, "INSERT INTO IMGroupMessage_1 (groupId, userId, msgId, content, type) VALUES (1, 1, 80000, 'new', 17)",
		"INSERT INTO IMAudio (id, fromId, toId, path, created) VALUES (500, 1, 2, 'p', 5)")
	seen := map[string]bool{}
	for {
		tk := f.open(t, func(point string) error {
			if seen[point] || !strings.HasPrefix(point, "undo: IM") {
				return nil
			}
			seen[point] = true
			return errKilled
		})
		_, err := tk.Undo(t.Context(), true)
		check(t, tk.Close())
		if err == nil {
			break
		}
	}
	n, err := number(t.Context(), f.db, "SELECT COUNT(*) FROM IMGroupMessage_1 WHERE msgId = 80000")
	check(t, err)
	m, err := number(t.Context(), f.db, "SELECT COUNT(*) FROM IMAudio WHERE id = 500")
	check(t, err)
	if n != 1 || m != 1 || len(seen) < 10 {
		t.Errorf("%d messages and %d recordings after %d kills", n, m, len(seen))
	}
}

// A user who joined after the last message of a group, or took its line off the
// list, gets no line by the way back.
func TestUndoLines(t *testing.T) {
	t.Parallel()
	f, _ := original(t)
	f.run(t)
	u := f.use(t)
	s, err := store.Open(t.Context(), store.Config{Driver: store.MySQL, Master: f.cfg.DB}, storeDeps())
	check(t, err)
	group := u.groups[0]
	_, err = s.RemoveSession(t.Context(), store.SessionKey{User: 4, Kind: im.Group, Peer: uint32(group)})
	check(t, err)
	_, err = s.ChangeMembers(t.Context(), group, []im.UserID{5}, nil)
	check(t, err)
	check(t, s.WriteActivity(t.Context(), store.Activity{Groups: map[im.GroupID]uint32{group: u.at}}))
	check(t, s.Close())
	f.undo(t)
	shown := map[uint32]uint32{}
	_, err = rows(t.Context(), f.db, func(r scanner) (v struct{}, err error) {
		var user, status uint32
		err = r.Scan(&user, &status)
		shown[user] = status
		return v, err
	}, "SELECT userId, status FROM IMRecentSession WHERE type = 2 AND peerId = ?", group)
	check(t, err)
	if want := map[uint32]uint32{1: 0, 2: 0, 4: 1}; !maps.Equal(shown, want) {
		t.Errorf("lines by user %v, want %v", shown, want)
	}
}

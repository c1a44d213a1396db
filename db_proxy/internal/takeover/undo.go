package takeover

import (
	"context"
	"database/sql"
	"fmt"
	"maps"
	"slices"
	"strings"

	"teamtalk/internal/im"
)

// Undo goes back to the tables of the original. What was written since the
// takeover is put into them first; our tables stay under the prefix
// tt_undone_. It may be repeated until it succeeds.
func (t *Takeover) Undo(ctx context.Context, force bool) (r *Report, err error) {
	err = t.locked(ctx, func() error {
		state, err := t.state(ctx)
		if err != nil {
			return err
		}
		if state == Original {
			r = &Report{State: state, Counts: map[Kind]uint64{}}
			return nil
		}
		if !state.is(Underway, Taken, Undoing) {
			return im.Errorf(im.Invalid, "there is no way back: the copies of the original's tables are not here")
		}
		if err := t.quiet(ctx, force); err != nil {
			return err
		}
		r, err = t.goBack(ctx, state == Underway) // then nothing was written since
		return err
	})
	return r, err
}

// goBack does what is left of the way back. A takeover that never was complete
// has nothing to bring back.
func (t *Takeover) goBack(ctx context.Context, early bool) (*Report, error) {
	if err := t.createState(ctx); err != nil { // dropping it may have begun
		return nil, err
	}
	undo, err := t.load(ctx, stepUndo)
	if err != nil {
		return nil, err
	}
	if !undo.began() {
		undo.started = max(t.now(), 1)
		if early {
			undo.rows = 1
		}
		if err := save(ctx, t.db, undo); err != nil {
			return nil, err
		}
	}
	// From here on our servers stay out.
	if _, err := exec(ctx, t.db, "UPDATE tt_takeover SET done = 0 WHERE step = ?", stepComplete); err != nil {
		return nil, err
	}
	steps := []step{{"undo: drop", t.dropOurs}}
	if undo.rows == 0 {
		steps = append(t.backSteps(), step{"undo: keep ours", t.keepOurs})
	}
	if err := t.runSteps(ctx, append(steps, step{"undo: rename", t.renameBack})); err != nil {
		return nil, err
	}
	r, err := t.result(ctx)
	if err != nil {
		return nil, err
	}
	r.State = Original
	return r, t.dropWork(ctx)
}

// backSteps bring into the original's tables what was written since.
func (t *Takeover) backSteps() []step {
	steps := []step{
		{"undo: IMUser", t.backUsers},
		{"undo: IMDepart", t.backDepartments},
		{"undo: IMRelationShip", t.backRelations},
		{"undo: IMGroup", t.backGroups},
		{"undo: IMGroupMember", t.backMembers},
		{"undo: IMRecentSession", t.backSessions},
	}
	for _, table := range slices.Concat(shards("IMMessage_"), shards("IMGroupMessage_"), []string{"IMAudio",
		"IMTransmitFile"}) {
		steps = append(steps, step{"undo: " + table, t.backRows(table)})
	}
	return append(steps, step{"undo: Redis", t.backRedis})
}

// mark returns the highest id a table had when the takeover was complete.
func (t *Takeover) mark(ctx context.Context, table string) (int64, error) {
	s, err := t.load(ctx, markPrefix+table)
	return s.position, err
}

// since returns when the takeover was complete.
func (t *Takeover) since(ctx context.Context) (uint32, error) {
	s, err := t.load(ctx, stepComplete)
	return s.ended, err
}

// backRows appends the rows that came since.
func (t *Takeover) backRows(table string) func(context.Context, *stepState) error {
	return func(ctx context.Context, s *stepState) error {
		to, err := t.columns(ctx, aside+table)
		if err != nil || len(to) == 0 {
			return err // the original had none
		}
		from, err := t.columns(ctx, table)
		if err != nil {
			return err
		}
		names, values := common(from, to)
		if !strings.HasPrefix(table, "IMAudio") { // whose ids stand in messages; others are numbered anew
			i := slices.Index(names, "`id`")
			if i >= 0 {
				names, values = slices.Delete(names, i, i+1), slices.Delete(values, i, i+1)
			}
		}
		mark, err := t.mark(ctx, table)
		if err != nil {
			return err
		}
		s.position = max(s.position, mark)
		text := fmt.Sprintf("INSERT INTO %s (%s) SELECT %s FROM %s o WHERE o.id > ? AND o.id <= ? ORDER BY o.id",
			aside+table, strings.Join(names, ", "), strings.Join(values, ", "), table)
		return t.chunks(ctx, s, table, "id", rowsPerChunk, func(tx *sql.Tx, c chunk) (int64, error) {
			return exec(ctx, tx, text, c.after, c.last)
		})
	}
}

// all runs statements in one transaction. Each may be repeated.
func (t *Takeover) all(ctx context.Context, s *stepState, statements ...statement) error {
	return t.transaction(ctx, s, func(tx *sql.Tx) error {
		for _, st := range statements {
			if _, err := exec(ctx, tx, st.text, st.args...); err != nil {
				return err
			}
		}
		return nil
	})
}

type statement struct {
	text string
	args []any
}

// backUsers adds new accounts and carries changes over. An account keeps the
// name it had in the original; a password that was blanked at a log-in only
// comes back with its copy, one that was changed since does not.
func (t *Takeover) backUsers(ctx context.Context, s *stepState) error {
	mark, err := t.mark(ctx, "IMUser")
	if err != nil {
		return err
	}
	from, err := t.columns(ctx, "IMUser")
	if err != nil {
		return err
	}
	to, err := t.columns(ctx, aside+"IMUser")
	if err != nil {
		return err
	}
	names, values := common(from, to)
	var set []string
	for _, name := range names {
		switch strings.Trim(name, "`") {
		case "id", "password", "salt":
		case "name":
			set = append(set, "c.name = IF(n.id IS NULL, o.name, c.name)")
		default:
			set = append(set, "c."+name+" = o."+name)
		}
	}
	missing, err := rows(ctx, t.db, func(r scanner) (f Finding, err error) {
		var id uint32
		err = r.Scan(&id)
		f.Kind, f.Subject, f.Number = PasswordMissing, fmt.Sprintf("user %d", id), 1
		f.Detail = "must be given a new password: there is no MD5 of the present one"
		return f, err
	}, `SELECT o.id FROM IMUser o LEFT JOIN `+aside+`IMUser c ON c.id = o.id
		WHERE o.password = '' AND (c.id IS NULL OR c.password <> '') AND (c.id IS NULL OR o.updated > c.updated) ORDER BY o.id`)
	if err != nil {
		return err
	}
	return t.transaction(ctx, s, func(tx *sql.Tx) error {
		for _, st := range []statement{
			{`UPDATE ` + aside + `IMUser c JOIN IMUser o ON o.id = c.id SET c.password = o.password, c.salt = o.salt
				WHERE (o.password <> c.password OR o.salt <> c.salt) AND (o.password <> '' OR o.updated > c.updated)`, nil},
			{`UPDATE ` + aside + `IMUser c JOIN IMUser o ON o.id = c.id LEFT JOIN tt_takeover_name n ON n.id = c.id
				SET ` + strings.Join(set, ", ") + ` WHERE o.updated > c.updated`, nil},
			{fmt.Sprintf("INSERT INTO %sIMUser (%s) SELECT %s FROM IMUser o LEFT JOIN %sIMUser c ON c.id = o.id "+
				"WHERE o.id > ? AND c.id IS NULL", aside, strings.Join(names, ", "), strings.Join(values, ", "), aside),
				[]any{mark}},
		} {
			if _, err := exec(ctx, tx, st.text, st.args...); err != nil {
				return err
			}
		}
		if _, err := exec(ctx, tx, "DELETE FROM tt_takeover_finding WHERE kind = ?", PasswordMissing); err != nil {
			return err
		}
		return note(ctx, tx, s.name, missing)
	})
}

func (t *Takeover) backDepartments(ctx context.Context, s *stepState) error {
	there, err := t.columns(ctx, aside+"IMDepart")
	if err != nil || len(there) == 0 {
		return err
	}
	return t.all(ctx, s,
		statement{`UPDATE ` + aside + `IMDepart c JOIN IMDepart o ON o.id = c.id
			SET c.departName = o.departName, c.priority = o.priority, c.parentId = o.parentId, c.status = o.status,
				c.updated = o.updated WHERE o.updated <> c.updated`, nil},
		statement{`INSERT INTO ` + aside + `IMDepart (id, departName, priority, parentId, status, created, updated)
			SELECT o.id, o.departName, o.priority, o.parentId, o.status, o.created, o.updated
			FROM IMDepart o LEFT JOIN ` + aside + `IMDepart c ON c.id = o.id WHERE c.id IS NULL`, nil})
}

// backRelations adds the relations of pairs that talked since and had none.
func (t *Takeover) backRelations(ctx context.Context, s *stepState) error {
	mark, err := t.mark(ctx, "IMRelationShip")
	if err != nil {
		return err
	}
	const add = `INSERT INTO ` + aside + `IMRelationShip (id, smallId, bigId, status, created, updated)
		SELECT o.id, o.smallId, o.bigId, o.status, o.created, o.updated
		FROM IMRelationShip o LEFT JOIN ` + aside + `IMRelationShip c ON c.id = o.id WHERE c.id IS NULL AND `
	statements := []statement{{add + "o.id > ?", []any{mark}}}
	for k := range im.Shards {
		table := fmt.Sprintf("IMMessage_%d", k)
		last, err := t.mark(ctx, table)
		if err != nil {
			return err
		}
		statements = append(statements, statement{
			add + fmt.Sprintf("o.id %% %d = %d AND EXISTS (SELECT 1 FROM %s m WHERE m.relateId = o.id AND m.id > ?)",
				im.Shards, k, table), []any{last},
		})
	}
	return t.all(ctx, s, statements...)
}

// backGroups adds new groups and carries changes over.
func (t *Takeover) backGroups(ctx context.Context, s *stepState) error {
	return t.all(ctx, s,
		statement{`UPDATE ` + aside + `IMGroup c JOIN IMGroup o ON o.id = c.id
			SET c.userCnt = IF(c.version <> o.version, o.userCnt, c.userCnt), c.status = IF(c.version <> o.version, o.status,
				c.status),
				c.name = o.name, c.avatar = o.avatar, c.version = o.version, c.updated = o.updated, c.lastChated = o.lastChated
			WHERE c.version <> o.version OR c.updated <> o.updated OR c.lastChated <> o.lastChated`, nil},
		statement{`INSERT INTO ` + aside + `IMGroup
			(id, name, avatar, creator, type, userCnt, status, version, lastChated, updated, created)
			SELECT o.id, o.name, o.avatar, o.creator, o.type, o.userCnt, o.status, o.version, o.lastChated, o.updated, o.created
			FROM IMGroup o LEFT JOIN ` + aside + `IMGroup c ON c.id = o.id WHERE c.id IS NULL`, nil})
}

func (t *Takeover) backMembers(ctx context.Context, s *stepState) error {
	since, err := t.since(ctx)
	if err != nil {
		return err
	}
	return t.all(ctx, s,
		statement{`UPDATE ` + aside + `IMGroupMember c JOIN IMGroupMember o ON o.groupId = c.groupId AND o.userId = c.userId
			SET c.status = o.status, c.updated = o.updated WHERE o.updated >= ?`, []any{since}},
		statement{`INSERT INTO ` + aside + `IMGroupMember (groupId, userId, status, created, updated)
			SELECT o.groupId, o.userId, o.status, o.created, o.updated FROM IMGroupMember o
			LEFT JOIN ` + aside + `IMGroupMember c ON c.groupId = o.groupId AND c.userId = o.userId
			WHERE c.id IS NULL AND o.updated >= ?`, []any{since}})
}

func (t *Takeover) backSessions(ctx context.Context, s *stepState) error {
	since, err := t.since(ctx)
	if err != nil {
		return err
	}
	const same = " ON c.userId = o.userId AND c.peerId = o.peerId AND c.type = o.type"
	return t.all(ctx, s,
		statement{`UPDATE ` + aside + `IMRecentSession c JOIN IMRecentSession o` + same +
			` SET c.status = o.status, c.updated = o.updated WHERE o.updated >= ?`, []any{since}},
		statement{`INSERT INTO ` + aside + `IMRecentSession (userId, peerId, type, status, created, updated)
			SELECT o.userId, o.peerId, o.type, o.status, o.created, o.updated FROM IMRecentSession o
			LEFT JOIN ` + aside + `IMRecentSession c` + same + ` WHERE c.id IS NULL AND o.updated >= ?`, []any{since}})
}

// ours returns the tables of ours that stand under their names.
func (t *Takeover) ours(ctx context.Context) (names []string, err error) {
	made, err := created()
	if err != nil {
		return nil, err
	}
	made["goose_db_version"] = true
	had, err := t.planned(ctx)
	if err != nil {
		return nil, err
	}
	tables, err := t.tables(ctx)
	if err != nil {
		return nil, err
	}
	for _, name := range slices.Sorted(maps.Keys(made)) {
		// Where the original had the table, too, it is ours while the original's
		// is still aside.
		if tables[name] && !slices.Contains(left, name) && (!slices.Contains(had, name) || tables[aside+name]) {
			names = append(names, name)
		}
	}
	return names, nil
}

// keepOurs gives our tables the prefix tt_undone_.
func (t *Takeover) keepOurs(ctx context.Context, _ *stepState) error {
	names, err := t.ours(ctx)
	if err != nil || len(names) == 0 {
		return err
	}
	parts := make([]string, len(names))
	for i, name := range names {
		parts[i] = name + " TO " + undone + name
	}
	_, err = exec(ctx, t.db, "RENAME TABLE "+strings.Join(parts, ", "))
	return err
}

// dropOurs drops our tables before anybody used them.
func (t *Takeover) dropOurs(ctx context.Context, _ *stepState) error {
	names, err := t.ours(ctx)
	if err != nil || len(names) == 0 {
		return err
	}
	_, err = exec(ctx, t.db, "DROP TABLE "+strings.Join(names, ", "))
	return err
}

// renameBack gives the original's tables their names.
func (t *Takeover) renameBack(ctx context.Context, _ *stepState) error {
	return t.rename(ctx, aside, "")
}

// left are tables that the migrations make where they are missing, and that a
// takeover leaves as they are.
var left = []string{"IMAdmin", "IMDiscovery", "IMCallLog"}

// dropWork drops what only the takeover needed; the state table last, because
// without it the database is the original's again.
func (t *Takeover) dropWork(ctx context.Context) error {
	for _, table := range []string{findingTable, nameTable, relationTable, messageTable, redisTable, stateTable} {
		if err := t.fault("drop " + table); err != nil {
			return err
		}
		if _, err := exec(ctx, t.db, "DROP TABLE IF EXISTS "+table); err != nil {
			return err
		}
	}
	return nil
}

// Finish drops the copies of the original's tables, and the index that only
// the original needs. After it there is no way back.
func (t *Takeover) Finish(ctx context.Context) (r *Report, err error) {
	err = t.locked(ctx, func() error {
		state, err := t.state(ctx)
		if err != nil {
			return err
		}
		if state == Ours {
			r = &Report{State: state, Counts: map[Kind]uint64{}}
			return nil
		}
		if !state.is(Taken, Ending) {
			return im.Errorf(im.Invalid, "the database is not taken over (%s): there is nothing to finish", state)
		}
		if err := t.createState(ctx); err != nil { // dropping it may have begun
			return err
		}
		if err := save(ctx, t.db, stepState{name: stepFinish, started: max(t.now(), 1)}); err != nil {
			return err
		}
		names, err := t.planned(ctx)
		if err != nil {
			return err
		}
		for _, name := range names {
			if _, err := exec(ctx, t.db, "DROP TABLE IF EXISTS "+aside+name); err != nil {
				return err
			}
		}
		for _, table := range shards("IMMessage_") {
			n, err := t.hasIndex(ctx, table)
			if err != nil {
				return err
			}
			if !n {
				continue
			}
			if _, err := exec(ctx, t.db, "ALTER TABLE "+table+" DROP INDEX "+originalIndex); err != nil {
				return err
			}
		}
		r = &Report{State: Ours, Counts: map[Kind]uint64{}}
		return t.dropWork(ctx)
	})
	return r, err
}

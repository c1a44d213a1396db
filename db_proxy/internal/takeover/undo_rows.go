package takeover

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"

	"teamtalk/db_proxy/internal/store"
	"teamtalk/internal/im"
)

// What was written since a takeover, as rows of the original.

// statement is a part of a transaction that may be repeated.
type statement struct {
	text string
	args []any
}

// all runs statements in one transaction and notes what is found.
func (t *Takeover) all(ctx context.Context, s *stepState, found []Finding, statements ...statement) error {
	return t.transaction(ctx, s, func(tx *sql.Tx) error {
		for _, st := range statements {
			if _, err := convert(ctx, tx, st.text, st.args...); err != nil {
				return err
			}
		}
		if _, err := exec(ctx, tx, "DELETE FROM tt_takeover_finding WHERE step = ?", s.name); err != nil {
			return err
		}
		return note(ctx, tx, s.name, found)
	})
}

// add is the INSERT of rows of ours into a table of the original; from follows
// FROM, with our rows called o.
func (c carried) add(table, from string) string {
	return fmt.Sprintf("INSERT INTO %s%s (%s) SELECT %s FROM %s", aside, table,
		strings.Join(c.names, ", "), strings.Join(c.values, ", "), from)
}

// missing joins the rows of ours with their counterparts c, of which there is
// none.
func missing(table, same string) string {
	return fmt.Sprintf("%[2]s o LEFT JOIN %[1]s%[2]s c ON %[3]s WHERE c.id IS NULL", aside, table, same)
}

// convert runs a statement in which a letter that a character set does not have
// becomes a question mark: a strict server would refuse it. What else would not
// fit has been cut, and losses says which rows it is about.
func convert(ctx context.Context, tx *sql.Tx, text string, args ...any) (n int64, err error) {
	if !strings.Contains(text, "CONVERT(") {
		return exec(ctx, tx, text, args...)
	}
	if _, err := exec(ctx, tx, "SET SESSION sql_mode = 'NO_ENGINE_SUBSTITUTION'"); err != nil {
		return 0, err
	}
	defer func() {
		_, strictErr := exec(context.WithoutCancel(ctx), tx, "SET SESSION sql_mode = '"+store.StrictMode+"'")
		err = errors.Join(err, strictErr)
	}()
	return exec(ctx, tx, text, args...)
}

const sameID = "c.id = o.id"

// set assigns the columns that both have; without some.
func (c carried) set(without ...string) string {
	var parts []string
	for _, name := range c.names {
		column := strings.Trim(name, "`")
		if value, ok := c.fitted[column]; ok && !slices.Contains(without, column) {
			parts = append(parts, "c."+name+" = "+value)
		}
	}
	return strings.Join(parts, ", ")
}

// changes is the UPDATE of the counterparts c of our rows o; join may add to
// what is known of them.
func (c carried) changes(table, join, set, where string) string {
	return fmt.Sprintf("UPDATE %[1]s%[2]s c JOIN %[2]s o ON o.id = c.id %[3]s SET %[4]s WHERE %[5]s",
		aside, table, join, set, where)
}

// backLines writes the lines of groups that ours derive and the original keeps
// in rows: of the groups in which somebody talked since.
func (t *Takeover) backLines(ctx context.Context, s *stepState) error {
	since, err := t.since(ctx)
	if err != nil {
		return err
	}
	statements := make([]statement, im.Shards)
	for k := range statements {
		shard := uint32(k)
		where := fmt.Sprintf("g.id %% %d = %d AND g.lastChated >= %d", im.Shards, shard, since)
		statements[k] = statement{store.GroupLines(shard, where), nil}
	}
	return t.all(ctx, s, nil, statements...)
}

// backRows appends the rows that came since.
func (t *Takeover) backRows(table string) func(context.Context, *stepState) error {
	return func(ctx context.Context, s *stepState) error {
		there, err := t.columns(ctx, aside+table)
		if err != nil || len(there) == 0 {
			return err // the original had none
		}
		var without []string
		if table != "IMAudio" { // whose ids stand in messages; others are numbered anew
			without = []string{"id"}
		}
		c, err := t.carry(ctx, table, without...)
		if err != nil {
			return err
		}
		mark, err := t.mark(ctx, table)
		if err != nil {
			return err
		}
		if err := t.beginAgain(ctx, s, table); err != nil {
			return err
		}
		s.position = max(s.position, mark)
		text := c.add(table, table+" o WHERE o.id > ? AND o.id <= ? ORDER BY o.id")
		if err := t.chunks(ctx, s, table, "id", rowsPerChunk, func(tx *sql.Tx, k chunk) (int64, error) {
			return convert(ctx, tx, text, k.after, k.last)
		}); err != nil {
			return err
		}
		found, err := t.losses(ctx, table, c, mark)
		if err != nil || len(found) == 0 {
			return err
		}
		return t.noteAlone(ctx, s, found)
	}
}

// beginAgain removes what an earlier attempt added to a table whose engine
// knows no transactions: how far it came is not sure.
func (t *Takeover) beginAgain(ctx context.Context, s *stepState, table string) error {
	tables, err := t.tables(ctx)
	if err != nil {
		return err
	}
	engines, err := column[string](ctx, t.db, `SELECT COALESCE(ENGINE, '') FROM information_schema.TABLES
		WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = ?`, tables.Listed(aside+table))
	if err != nil || len(engines) == 0 || strings.EqualFold(engines[0], "InnoDB") {
		return err
	}
	base, err := t.load(ctx, basePrefix+table)
	if err != nil {
		return err
	}
	if !base.began() {
		last, err := number(ctx, t.db, "SELECT MAX(id) FROM "+aside+table)
		if err != nil {
			return err
		}
		base.position, base.started = int64(last), max(t.now(), 1)
		return save(ctx, t.db, base)
	}
	s.position, s.rows = -1, 0
	_, err = exec(ctx, t.db, "DELETE FROM "+aside+table+" WHERE id > ?", base.position)
	return err
}

// backUsers adds new accounts and carries changes over. An account keeps the
// name it had in the original; a password that was blanked at a log-in only
// comes back with its copy, one that was changed since does not.
func (t *Takeover) backUsers(ctx context.Context, s *stepState) error {
	mark, err := t.mark(ctx, "IMUser")
	if err != nil {
		return err
	}
	c, err := t.carry(ctx, "IMUser")
	if err != nil {
		return err
	}
	found, err := t.losses(ctx, "IMUser", c, -1)
	if err != nil {
		return err
	}
	without, err := rows(ctx, t.db, func(r scanner) (f Finding, err error) {
		var id uint32
		err = r.Scan(&id)
		f.Kind, f.Subject, f.Number = PasswordMissing, fmt.Sprintf("user %d", id), 1
		f.Detail = "must be given a new password: there is no MD5 of the present one"
		return f, err
	}, `SELECT o.id FROM IMUser o LEFT JOIN `+aside+`IMUser c ON c.id = o.id
		WHERE o.password = '' AND (c.id IS NULL OR c.password <> '') AND (c.id IS NULL OR o.updated > c.updated)
		ORDER BY o.id`)
	if err != nil {
		return err
	}
	name := "c.name = IF(n.id IS NULL, " + c.fitted["name"] + ", c.name)"
	return t.all(ctx, s, append(found, without...),
		statement{c.changes("IMUser", "", "c.password = o.password, c.salt = o.salt",
			"(o.password <> c.password OR o.salt <> c.salt) AND (o.password <> '' OR o.updated > c.updated)"), nil},
		statement{c.changes("IMUser", "LEFT JOIN tt_takeover_name n ON n.id = c.id",
			name+", "+c.set("id", "password", "salt", "name"), "o.updated > c.updated"), nil},
		statement{c.add("IMUser", missing("IMUser", sameID)+" AND o.id > ?"), []any{mark}})
}

// backChanged adds the new rows of a table and carries over those that are
// newer by one of some columns, if the original has them.
func (t *Takeover) backChanged(table, newer string, by ...string) func(context.Context, *stepState) error {
	return func(ctx context.Context, s *stepState) error {
		c, err := t.carry(ctx, table)
		if err != nil || len(c.fitted) == 0 {
			return err // the original had none
		}
		found, err := t.losses(ctx, table, c, -1)
		if err != nil {
			return err
		}
		var statements []statement
		if !slices.ContainsFunc(by, func(name string) bool { return c.fitted[name] == "" }) {
			statements = append(statements, statement{c.changes(table, "", c.set("id", "created"), newer), nil})
		}
		return t.all(ctx, s, found, append(statements, statement{c.add(table, missing(table, sameID)), nil})...)
	}
}

// backRelations adds the relations of pairs that talked since and had none.
func (t *Takeover) backRelations(ctx context.Context, s *stepState) error {
	mark, err := t.mark(ctx, "IMRelationShip")
	if err != nil {
		return err
	}
	c, err := t.carry(ctx, "IMRelationShip")
	if err != nil {
		return err
	}
	add := c.add("IMRelationShip", missing("IMRelationShip", sameID)) + " AND "
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
	return t.all(ctx, s, nil, statements...)
}

// backGroups adds new groups and carries changes over. How many are in a group,
// and whether it lives, is taken over only if its members changed: the
// original counts them in its own way.
func (t *Takeover) backGroups(ctx context.Context, s *stepState) error {
	c, err := t.carry(ctx, "IMGroup")
	if err != nil {
		return err
	}
	found, err := t.losses(ctx, "IMGroup", c, -1)
	if err != nil {
		return err
	}
	var newer []string
	for _, name := range []string{"version", "updated", "lastChated"} {
		if c.fitted[name] != "" {
			newer = append(newer, fmt.Sprintf("c.%[1]s <> o.%[1]s", name))
		}
	}
	var statements []statement
	if c.fitted["version"] != "" {
		// First: the next one makes the versions equal.
		set := "c.status = o.status"
		if c.fitted["userCnt"] != "" {
			set += ", c.userCnt = o.userCnt"
		}
		statements = append(statements, statement{c.changes("IMGroup", "", set, "c.version <> o.version"), nil})
	}
	if len(newer) > 0 {
		set := c.set("id", "creator", "type", "created", "userCnt", "status")
		statements = append(statements, statement{c.changes("IMGroup", "", set, strings.Join(newer, " OR ")), nil})
	}
	return t.all(ctx, s, found, append(statements, statement{c.add("IMGroup", missing("IMGroup", sameID)), nil})...)
}

func (t *Takeover) backMembers(ctx context.Context, s *stepState) error {
	return t.backSince(ctx, s, "IMGroupMember", "c.groupId = o.groupId AND c.userId = o.userId")
}

func (t *Takeover) backSessions(ctx context.Context, s *stepState) error {
	return t.backSince(ctx, s, "IMRecentSession", "c.userId = o.userId AND c.peerId = o.peerId AND c.type = o.type")
}

// backSince carries the rows over that were written since. same says which row
// of the original is theirs.
func (t *Takeover) backSince(ctx context.Context, s *stepState, table, same string) error {
	since, err := t.since(ctx)
	if err != nil {
		return err
	}
	c, err := t.carry(ctx, table, "id")
	if err != nil {
		return err
	}
	return t.all(ctx, s, nil,
		statement{fmt.Sprintf("UPDATE %[1]s%[2]s c JOIN %[2]s o ON %[3]s SET c.status = o.status, c.updated = o.updated "+
			"WHERE o.updated >= ?", aside, table, same), []any{since}},
		statement{c.add(table, missing(table, same)) + " AND o.updated >= ?", []any{since}})
}

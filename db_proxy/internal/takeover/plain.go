package takeover

import (
	"cmp"
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strings"

	"teamtalk/internal/im"
)

// rowsPerChunk is how many rows one transaction copies.
const rowsPerChunk = 10_000

// copyPlain copies a table of which nothing needs to be known, if the
// original had it: the columns that both have.
func (t *Takeover) copyPlain(table string) func(context.Context, *stepState) error {
	return func(ctx context.Context, s *stepState) error {
		return t.copyTable(ctx, s, table, "", nil)
	}
}

// copyTable copies a table; values replaces the expressions of columns, and
// join is what they need.
func (t *Takeover) copyTable(ctx context.Context, s *stepState, table, join string, replace map[string]string) error {
	from, err := t.columns(ctx, t.raw(table))
	if err != nil || len(from) == 0 {
		return err // the original had none
	}
	from = slices.DeleteFunc(from, func(c columnInfo) bool { return !isStandard(table, c.name) })
	to, err := t.columns(ctx, table)
	if err != nil {
		return err
	}
	names, values := common(from, to)
	for i, name := range names {
		if v, ok := replace[strings.Trim(name, "`")]; ok {
			values[i] = v
		}
	}
	// A row that a unique key of ours refuses stays out, and is counted.
	text := fmt.Sprintf("INSERT INTO %s (%s) SELECT %s FROM %s o %s WHERE o.id > ? AND o.id <= ? "+
		"ON DUPLICATE KEY UPDATE %s = %s.%s",
		table, strings.Join(names, ", "), strings.Join(values, ", "), t.source(table), join, names[0], table, names[0])
	err = t.chunks(ctx, s, t.source(table), "id", rowsPerChunk, func(tx *sql.Tx, c chunk) (int64, error) {
		return exec(ctx, tx, text, c.after, c.last)
	})
	if err != nil {
		return err
	}
	before, err := number(ctx, t.db, "SELECT COUNT(*) FROM "+t.source(table))
	if err != nil {
		return err
	}
	after, err := number(ctx, t.db, "SELECT COUNT(*) FROM "+table)
	if err != nil || after >= before {
		return err
	}
	return t.noteAlone(ctx, s, []Finding{{RowsLeftOut, table, "a unique key has them already", before - after}})
}

// account is what decides who keeps a name.
type account struct {
	id     uint32
	name   string
	status uint8
}

// duplicateNames returns the accounts whose names others have, too, by name,
// the one who keeps it last: the original lets the last one with status 0 log
// in. Source: docs/protocol/flows.md §2.
func (t *Takeover) duplicateNames(ctx context.Context) ([][]account, error) {
	table := t.source("IMUser")
	const bin = "CONVERT(name USING utf8mb4) COLLATE utf8mb4_bin"
	names, err := column[string](ctx, t.db,
		"SELECT MIN("+bin+") FROM "+table+" GROUP BY "+bin+" HAVING COUNT(*) > 1 ORDER BY 1")
	if err != nil {
		return nil, fmt.Errorf("look for names that several accounts have: %w", err)
	}
	byName := map[string][]account{}
	for part := range slices.Chunk(names, 1000) {
		args := make([]any, len(part))
		for i, name := range part {
			args[i] = name
		}
		all, err := rows(ctx, t.db, func(r scanner) (a account, err error) { return a, r.Scan(&a.id, &a.name, &a.status) },
			"SELECT id, name, COALESCE(status, 0) FROM "+table+" WHERE name IN "+marks(1, len(part))+" ORDER BY id", args...)
		if err != nil {
			return nil, fmt.Errorf("read accounts: %w", err)
		}
		for _, a := range all {
			key := strings.TrimRight(a.name, " ") // as the unique key compares
			byName[key] = append(byName[key], a)
		}
	}
	var groups [][]account
	for _, group := range byName {
		if len(group) < 2 {
			continue // a collation that takes more for equal than ours does
		}
		slices.SortFunc(group, func(a, b account) int {
			return cmp.Or(cmp.Compare(min(b.status, 1), min(a.status, 1)), cmp.Compare(a.id, b.id))
		})
		groups = append(groups, group)
	}
	slices.SortFunc(groups, func(a, b []account) int { return cmp.Compare(a[0].name, b[0].name) })
	return groups, nil
}

// names finds new names for accounts that cannot keep theirs.
func (t *Takeover) names(ctx context.Context, s *stepState) error {
	groups, err := t.duplicateNames(ctx)
	if err != nil {
		return err
	}
	return t.transaction(ctx, s, func(tx *sql.Tx) error {
		if _, err := exec(ctx, tx, "DELETE FROM tt_takeover_name"); err != nil {
			return err
		}
		var found []Finding
		for _, group := range groups {
			keeper := group[len(group)-1]
			for _, a := range group[:len(group)-1] {
				name, err := t.freeName(ctx, a)
				if err != nil {
					return err
				}
				if _, err := exec(ctx, tx, "INSERT INTO tt_takeover_name (id, name) VALUES (?, ?)", a.id, name); err != nil {
					return err
				}
				found = append(found, renamed(a, keeper, name))
			}
		}
		return note(ctx, tx, s.name, found)
	})
}

func renamed(a, keeper account, name string) Finding {
	return Finding{
		UserRenamed, fmt.Sprintf("user %d", a.id),
		fmt.Sprintf("%q is now %q: account %d logs in with the name", a.name, name, keeper.id), 1,
	}
}

// freeName makes a name of an account's old name and its id.
func (t *Takeover) freeName(ctx context.Context, a account) (string, error) {
	for sharps := 1; ; sharps++ {
		name := newName(a.name, a.id, sharps)
		taken, err := number(ctx, t.db, "SELECT COUNT(*) FROM "+t.source("IMUser")+" WHERE name = ?", name)
		if err != nil {
			return "", fmt.Errorf("look for a name: %w", err)
		}
		if taken == 0 {
			return name, nil
		}
		if sharps > 10 {
			return "", im.Errorf(im.Invalid, "no name is free for account %d", a.id)
		}
	}
}

// newName appends # and the id, within the 32 characters of the column.
func newName(name string, id uint32, sharps int) string { return distinctName(name, id, sharps, 32) }

// distinctName appends # and an id to a text, within so many characters.
func distinctName(text string, id uint32, sharps, limit int) string {
	suffix := fmt.Sprintf("%s%d", strings.Repeat("#", sharps), id)
	old := []rune(strings.TrimSpace(text))
	return string(old[:min(len(old), max(limit-len(suffix), 0))]) + suffix
}

func (t *Takeover) copyUsers(ctx context.Context, s *stepState) error {
	return t.copyTable(ctx, s, "IMUser", "LEFT JOIN tt_takeover_name n ON n.id = o.id",
		map[string]string{"name": "COALESCE(n.name, o.name)"})
}

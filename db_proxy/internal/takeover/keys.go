package takeover

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/go-sql-driver/mysql"

	"teamtalk/internal/im"
)

// An installation may have made columns of the original unique, such as the
// names of groups, which ours are not. The way back loosens such a key when a
// row does not pass it, and makes the rows distinct and the key unique again
// when all are there: in between their order does not matter.

// uniqueKey is a unique key that an installation added.
type uniqueKey struct {
	name    string
	columns []keyPart
}

type keyPart struct {
	column string
	length int64 // of its beginning; 0: all of it
}

func (k uniqueKey) names() []string {
	names := make([]string, len(k.columns))
	for i, c := range k.columns {
		names[i] = c.column
	}
	return names
}

// expression is what the key compares of a row.
func (p keyPart) expression(row string) string {
	if p.length > 0 {
		return fmt.Sprintf("LEFT(%s.%s, %d)", row, quote(p.column), p.length)
	}
	return row + "." + quote(p.column)
}

// uniqueKeys lists the unique keys of a table of the original, which has none
// but for its primary key.
func (t *Takeover) uniqueKeys(ctx context.Context, table string) (keys []uniqueKey, err error) {
	tables, err := t.tables(ctx)
	if err != nil {
		return nil, err
	}
	_, err = rows(ctx, t.db, func(r scanner) (struct{}, error) {
		var name string
		var part keyPart
		err := r.Scan(&name, &part.column, &part.length)
		if n := len(keys); n == 0 || keys[n-1].name != name {
			keys = append(keys, uniqueKey{name: name})
		}
		k := &keys[len(keys)-1]
		k.columns = append(k.columns, part)
		return struct{}{}, err
	}, `SELECT INDEX_NAME, COALESCE(COLUMN_NAME, ''), COALESCE(SUB_PART, 0) FROM information_schema.STATISTICS
		WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = ? AND NON_UNIQUE = 0 AND INDEX_NAME <> 'PRIMARY'
		ORDER BY INDEX_NAME, SEQ_IN_INDEX`, tables.Listed(table))
	if err != nil {
		return nil, fmt.Errorf("list keys of %s: %w", table, err)
	}
	return keys, nil
}

// duplicate reports whether a unique key refused a row.
func duplicate(err error) bool {
	e, ok := errors.AsType[*mysql.MySQLError](err)
	return ok && e.Number == 1062
}

// withKeys wraps a step of the way back that writes into a table of the
// original.
func (t *Takeover) withKeys(
	table string, run func(context.Context, *stepState) error,
) func(context.Context, *stepState) error {
	return func(ctx context.Context, s *stepState) error {
		err := run(ctx, s)
		if duplicate(err) {
			loosened, loosenErr := t.loosen(ctx, table)
			if loosenErr != nil || !loosened {
				return errors.Join(err, loosenErr)
			}
			err = run(ctx, s)
		}
		if err != nil {
			return err
		}
		return t.tighten(ctx, s, table)
	}
}

// loosen makes the added unique keys of a table of the original ordinary ones.
// What they were is noted before.
func (t *Takeover) loosen(ctx context.Context, table string) (bool, error) {
	keys, err := t.uniqueKeys(ctx, aside+table)
	if err != nil || len(keys) == 0 {
		return false, err
	}
	var name, text string
	if err := t.db.QueryRowContext(ctx, "SHOW CREATE TABLE "+aside+table).Scan(&name, &text); err != nil {
		return false, fmt.Errorf("describe %s: %w", table, err)
	}
	var changes []string
	var noted []any
	for i, line := range strings.Split(text, "\n") {
		line = strings.TrimSuffix(strings.TrimSpace(line), ",")
		k := slices.IndexFunc(keys, func(k uniqueKey) bool {
			return strings.HasPrefix(line, "UNIQUE KEY "+quote(k.name)+" ")
		})
		if k < 0 {
			continue
		}
		noted = append(noted, table, keys[k].name, i, line)
		changes = append(changes, "DROP KEY "+quote(keys[k].name), "ADD "+strings.TrimPrefix(line, "UNIQUE "))
	}
	if len(changes) == 0 {
		return false, im.Errorf(im.Internal, "the keys of %s are not in its definition", table)
	}
	if err := insert(ctx, t.db, "INSERT IGNORE INTO "+keysTable+" (tableName, name, position, definition)", 4,
		noted); err != nil {
		return false, fmt.Errorf("note keys of %s: %w", table, err)
	}
	if err := t.fault("loosen"); err != nil {
		return false, err
	}
	if _, err := exec(ctx, t.db, "ALTER TABLE "+aside+table+" "+strings.Join(changes, ", ")); err != nil {
		return false, fmt.Errorf("loosen keys of %s: %w", table, err)
	}
	return true, t.fault("loosened")
}

// tighten makes the loosened keys of a table unique again, and the rows
// distinct before.
func (t *Takeover) tighten(ctx context.Context, s *stepState, table string) error {
	loosened, err := rows(ctx, t.db, func(r scanner) (v [2]string, err error) { return v, r.Scan(&v[0], &v[1]) },
		"SELECT name, definition FROM "+keysTable+" WHERE tableName = ? ORDER BY position", table)
	if err != nil || len(loosened) == 0 {
		return err
	}
	var changes []string
	for _, v := range loosened {
		parts, err := t.partsOf(ctx, table, v[0])
		if err != nil {
			return err
		}
		ok, err := t.distinct(ctx, s, table, uniqueKey{v[0], parts})
		if err != nil {
			return fmt.Errorf("make %s distinct by %s: %w", table, v[0], err)
		}
		definition := v[1]
		if !ok {
			definition = strings.TrimPrefix(definition, "UNIQUE ")
		}
		// Also the one that stays loose: their order is kept.
		changes = append(changes, "DROP KEY "+quote(v[0]), "ADD "+definition)
	}
	if err := t.fault("tighten"); err != nil {
		return err
	}
	if _, err := exec(ctx, t.db, "ALTER TABLE "+aside+table+" "+strings.Join(changes, ", ")); err != nil {
		return fmt.Errorf("make keys of %s unique again: %w", table, err)
	}
	if err := t.fault("tightened"); err != nil {
		return err
	}
	_, err = exec(ctx, t.db, "DELETE FROM "+keysTable+" WHERE tableName = ?", table)
	return err
}

// partsOf reads what a key of a table of the original compares.
func (t *Takeover) partsOf(ctx context.Context, table, key string) ([]keyPart, error) {
	tables, err := t.tables(ctx)
	if err != nil {
		return nil, err
	}
	return rows(ctx, t.db, func(r scanner) (p keyPart, err error) { return p, r.Scan(&p.column, &p.length) },
		`SELECT COLUMN_NAME, COALESCE(SUB_PART, 0) FROM information_schema.STATISTICS
		WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = ? AND INDEX_NAME = ? ORDER BY SEQ_IN_INDEX`,
		tables.Listed(aside+table), key)
}

// clash is a row that a unique key would refuse.
type clash struct {
	id    int64
	value string
}

// distinct changes the rows that another one, with a lower id, is equal to by
// a key, until there are none. It reports false, and says so, when no column of
// the key can be changed.
func (t *Takeover) distinct(ctx context.Context, s *stepState, table string, k uniqueKey) (bool, error) {
	column, limit, err := t.changeable(ctx, table, k)
	if err != nil {
		return false, err
	}
	for sharps := 1; ; sharps++ {
		all, err := t.clashes(ctx, table, k, column)
		if err != nil || len(all) == 0 {
			return err == nil, err
		}
		if column == "" || sharps > 10 {
			return false, t.transaction(ctx, s, func(tx *sql.Tx) error {
				return note(ctx, tx, s.name+":keys", []Finding{{
					KeyLoosened, table, fmt.Sprintf("key %s is not unique any more: %d rows are equal by it", k.name, len(all)),
					uint64(len(all)),
				}})
			})
		}
		way := distinction{table: table, key: k.name, column: column, limit: int(limit), sharps: sharps}
		if err := t.transaction(ctx, s, func(tx *sql.Tx) error {
			found, err := way.apply(ctx, tx, all)
			if err != nil {
				return err
			}
			return note(ctx, tx, s.name+":keys", found)
		}); err != nil {
			return false, err
		}
	}
}

// distinction is how rows that are equal by a key become distinct.
type distinction struct {
	table, key string
	column     string // what is changed
	limit      int    // how many characters of it count; 0 for a number
	sharps     int    // how many come before the id at the end of a text
}

// apply changes rows, and says what has become of them.
func (d distinction) apply(ctx context.Context, tx *sql.Tx, all []clash) (found []Finding, err error) {
	for _, c := range all {
		value, err := d.value(ctx, tx, c)
		if err != nil {
			return nil, err
		}
		if _, err := exec(ctx, tx, fmt.Sprintf("UPDATE %s%s SET %s = ? WHERE id = ?", aside, d.table, quote(d.column)),
			value, c.id); err != nil {
			return nil, err
		}
		found = append(found, Finding{
			MadeDistinct, fmt.Sprintf("%s %d", d.table, c.id),
			fmt.Sprintf("%s %q becomes \"%v\": another one has it, and key %s allows it once", d.column, c.value, value,
				d.key), 1,
		})
	}
	return found, nil
}

// value is what the column of a row becomes: its text with an ending, or a
// number after all others.
func (d distinction) value(ctx context.Context, tx *sql.Tx, c clash) (any, error) {
	if d.limit > 0 {
		return distinctName(c.value, uint32(c.id), d.sharps, d.limit), nil
	}
	return number(ctx, tx, fmt.Sprintf("SELECT MAX(%s) + 1 FROM %s%s", quote(d.column), aside, d.table))
}

// clashes lists the rows to be changed.
func (t *Takeover) clashes(ctx context.Context, table string, k uniqueKey, column string) ([]clash, error) {
	var keys, same []string
	known := []string{"1=1"}
	for i, p := range k.columns {
		keys = append(keys, fmt.Sprintf("%s AS k%d", p.expression("c"), i))
		same = append(same, fmt.Sprintf("%s = d.k%d", p.expression("c"), i))
		known = append(known, "c."+quote(p.column)+" IS NOT NULL")
	}
	value := "''"
	if column != "" {
		value = "c." + quote(column)
	}
	groups := make([]string, len(k.columns))
	for i := range groups {
		groups[i] = fmt.Sprintf("k%d", i)
	}
	return rows(ctx, t.db, func(r scanner) (c clash, err error) { return c, r.Scan(&c.id, &c.value) },
		fmt.Sprintf(`SELECT c.id, %[1]s FROM %[2]s c JOIN
			(SELECT %[3]s, MIN(c.id) AS keep FROM %[2]s c WHERE %[4]s GROUP BY %[5]s HAVING COUNT(*) > 1) AS d
			ON %[6]s AND c.id <> d.keep ORDER BY c.id`,
			value, aside+table, strings.Join(keys, ", "), strings.Join(known, " AND "), strings.Join(groups, ", "),
			strings.Join(same, " AND ")))
}

// changeable picks the column of a key that is changed: a text, rather one that
// the installation added; or a number that it added. limit is how many
// characters count, 0 for a number; without a column nothing can be changed.
func (t *Takeover) changeable(ctx context.Context, table string, k uniqueKey) (column string, limit int64, err error) {
	columns, err := t.columns(ctx, aside+table)
	if err != nil {
		return "", 0, err
	}
	const room = 12 // a sharp, and an id
	best := 0
	for _, p := range k.columns {
		i := slices.IndexFunc(columns, func(c columnInfo) bool { return c.name == p.column })
		if i < 0 {
			continue
		}
		c, added := columns[i], !isStandard(table, p.column)
		length := c.length
		if p.length > 0 {
			length = min(length, p.length)
		}
		value := 0
		switch {
		case c.text && length >= room && added:
			value = 3
		case c.text && length >= room:
			value = 2
		case c.kind == "int" || c.kind == "bigint":
			if added {
				value, length = 1, 0
			}
		}
		if value > best {
			best, column, limit = value, p.column, length
		}
	}
	return column, limit, nil
}

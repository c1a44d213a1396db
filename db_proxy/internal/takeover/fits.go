package takeover

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// standard are the columns of the original's tables; the shards of messages
// stand under their name without the number.
// Source: docs/protocol/storage.md §1.
var standard = map[string][]string{
	"IMUser": {
		"id", "sex", "name", "domain", "nick", "password", "salt", "phone", "email", "avatar", "departId", "status",
		"created", "updated", "push_shield_status", "sign_info",
	},
	"IMDepart":       {"id", "departName", "priority", "parentId", "status", "created", "updated"},
	"IMRelationShip": {"id", "smallId", "bigId", "status", "created", "updated"},
	"IMGroup": {
		"id", "name", "avatar", "creator", "type", "userCnt", "status", "version", "lastChated", "updated", "created",
	},
	"IMGroupMember":   {"id", "groupId", "userId", "status", "created", "updated"},
	"IMRecentSession": {"id", "userId", "peerId", "type", "status", "created", "updated"},
	"IMMessage_": {
		"id", "relateId", "fromId", "toId", "msgId", "content", "type", "status", "updated", "created",
	},
	"IMGroupMessage_": {"id", "groupId", "userId", "msgId", "content", "type", "status", "updated", "created"},
	"IMAudio":         {"id", "fromId", "toId", "path", "size", "duration", "created"},
	"IMTransmitFile": {
		"id", "fromId", "toId", "fileName", "size", "taskId", "status", "created", "updated",
	},
}

// dispensable are those that old versions of the original do not have. The
// others are needed.
var dispensable = map[string][]string{
	"IMUser": {"sex", "departId", "created", "push_shield_status", "sign_info"},
	"IMDepart": {
		"priority", "parentId", "status", "created", "updated",
	},
	"IMGroup":        {"creator", "type", "userCnt", "version", "lastChated", "updated", "created"},
	"IMAudio":        {"fromId", "toId", "size", "duration", "created"},
	"IMTransmitFile": {"id", "fromId", "toId", "fileName", "size", "taskId", "status", "created", "updated"},
}

// mayBeNull are the columns in which a takeover expects NULL although ours take
// none.
var mayBeNull = map[string][]string{
	"IMRelationShip": {"status"}, "IMRecentSession": {"type", "status"}, "IMMessage_": {"content"},
}

// copiedPlain are the tables in whose columns NULL becomes the empty value.
var copiedPlain = []string{"IMUser", "IMDepart", "IMGroup", "IMAudio", "IMTransmitFile"}

// familyName is a table's name in the maps above.
func familyName(table string) string { return strings.TrimRight(table, "01234567") }

// isStandard reports whether the original gives a table a column. The names of
// columns have no case.
func isStandard(table, column string) bool {
	return slices.ContainsFunc(standard[familyName(table)], func(name string) bool {
		return strings.EqualFold(name, column)
	})
}

// misfits lists what a table lacks, and values that ours has no room for, each
// with the first row that shows it.
func (t *Takeover) misfits(ctx context.Context, table string) (found []Finding, err error) {
	columns, err := t.columns(ctx, t.raw(table))
	if err != nil {
		return nil, err
	}
	all, err := shapes()
	if err != nil {
		return nil, err
	}
	family := familyName(table)
	for _, name := range standard[family] {
		if !hasColumn(columns, name) && !slices.Contains(dispensable[family], name) {
			found = append(found, Finding{Blocked, table, "has no column " + name, 1})
		}
	}
	for _, c := range columns {
		s, ok := all[table][c.name]
		if !ok || !isStandard(table, c.name) {
			continue
		}
		misfit, err := t.misfit(ctx, table, c, s)
		if err != nil {
			return nil, err
		}
		found = append(found, misfit...)
	}
	return found, nil
}

// misfit looks at one column.
func (t *Takeover) misfit(ctx context.Context, table string, c columnInfo, s shape) ([]Finding, error) {
	family := familyName(table)
	why := fmt.Sprintf("ours takes %d characters of UTF-8", s.characters)
	if s.most > 0 {
		why = fmt.Sprintf("ours takes numbers from 0 to %d", s.most)
	}
	where := c.beyond(s)
	if c.nullable && !s.nullable && !slices.Contains(copiedPlain, family) && !slices.Contains(mayBeNull[family], c.name) {
		why += ", and no NULL"
		if where != "" {
			where += " OR "
		}
		where += quote(c.name) + " IS NULL"
	}
	if where == "" {
		return nil, nil
	}
	n, err := number(ctx, t.db, "SELECT COUNT(*) FROM "+t.source(table)+" WHERE "+where)
	if err != nil {
		return nil, fmt.Errorf("look at %s.%s: %w", table, c.name, err)
	}
	odd := s.most > 0 && !c.number() // whatever is in it, our statements compare numbers
	if n == 0 && !odd {
		return nil, nil
	}
	detail := fmt.Sprintf("column %s is %s; %s", c.name, c.declared, why)
	example, err := t.example(ctx, table, c.name, where, odd)
	if err != nil {
		return nil, err
	}
	return []Finding{{Blocked, t.original(table), detail + example, max(n, 1)}}, nil
}

// example names the first row whose value does not fit; of a column that
// should hold numbers, rather one that is no number.
func (t *Takeover) example(ctx context.Context, table, column, where string, text bool) (string, error) {
	order := ""
	if text {
		order = quote(column) + " REGEXP '^[0-9]+$', "
	}
	all, err := rows(ctx, t.db, func(r scanner) (v string, err error) {
		var id, value, n string
		err = r.Scan(&id, &value, &n)
		return fmt.Sprintf(": row %s has %q (%s rows)", id, value, n), err
	}, fmt.Sprintf(`SELECT id, COALESCE(LEFT(CAST(%[1]s AS CHAR), 40), 'NULL'), (SELECT COUNT(*) FROM %[2]s WHERE %[3]s)
		FROM %[2]s WHERE %[3]s ORDER BY %[4]sid LIMIT 1`, quote(column), t.source(table), where, order))
	if err != nil || len(all) == 0 {
		return "", err
	}
	return all[0], nil
}

// additions lists what an installation added to a table, and what becomes of
// it.
func (t *Takeover) additions(ctx context.Context, table string) (found []Finding, err error) {
	columns, err := t.columns(ctx, t.raw(table))
	if err != nil {
		return nil, err
	}
	for _, c := range columns {
		if isStandard(table, c.name) {
			continue
		}
		detail := fmt.Sprintf("column %s is not of TeamTalk: it stays in %s%s", c.name, aside, table)
		if value, ok := c.empty(); !c.optional && ok {
			detail += ". It has no default: after an undo, rows made since have " + value
		}
		found = append(found, Finding{ColumnKept, t.original(table), detail, 1})
	}
	keys, err := t.uniqueKeys(ctx, t.raw(table))
	if err != nil {
		return nil, err
	}
	for _, k := range keys {
		found = append(found, Finding{KeyKept, t.original(table), fmt.Sprintf("unique key %s (%s) is not of TeamTalk: "+
			"ours does without; an undo makes distinct what was made since", k.name, strings.Join(k.names(), ", ")), 1})
	}
	return found, nil
}

// carried are columns of ours as they go into a table of the original.
type carried struct {
	names  []string          // of all columns that get a value, quoted
	values []string          // for each, from our row o
	fitted map[string]string // by name: those that both tables have
	lossy  map[string]string // by name: a condition on o that the value changes
}

// carry decides how rows of ours go back into a table of the original: the
// columns that both have, cut to what there is room for, and something in
// those that take no NULL and have no default. Without is left out.
func (t *Takeover) carry(ctx context.Context, table string, without ...string) (carried, error) {
	c := carried{fitted: map[string]string{}, lossy: map[string]string{}}
	from, err := t.columns(ctx, table)
	if err != nil {
		return c, err
	}
	to, err := t.columns(ctx, aside+table)
	if err != nil {
		return c, err
	}
	for _, column := range to {
		if slices.Contains(without, column.name) {
			continue
		}
		i := slices.IndexFunc(from, func(o columnInfo) bool { return strings.EqualFold(o.name, column.name) })
		if i < 0 || !isStandard(table, column.name) {
			if value, ok := column.empty(); ok && !column.optional {
				c.names, c.values = append(c.names, quote(column.name)), append(c.values, value)
			}
			continue
		}
		value, lossy := fit(from[i], column)
		c.names, c.values = append(c.names, quote(from[i].name)), append(c.values, value)
		c.fitted[from[i].name] = value
		if lossy != "" {
			c.lossy[from[i].name] = lossy
		}
	}
	return c, nil
}

// fit is the expression that brings a column of our row o into a column of the
// original, and the condition that it changes the value.
func fit(from, to columnInfo) (value, lossy string) {
	own := "o." + quote(from.name)
	value = own
	if from.text && to.text && to.length < from.length {
		value = fmt.Sprintf("LEFT(%s, %d)", value, to.length)
	}
	if from.text && to.text && to.charset != "utf8mb4" {
		value = fmt.Sprintf("CONVERT(%s USING %s)", value, to.charset)
	}
	if value != own {
		lossy = fmt.Sprintf("NOT (CONVERT(%s USING utf8mb4) COLLATE utf8mb4_bin <=> %s)", value, own)
	}
	if from.nullable && !to.nullable {
		empty, _ := to.empty()
		value = fmt.Sprintf("COALESCE(%s, %s)", value, empty)
	}
	return value, lossy
}

// losses names the rows of ours, above an id, whose texts the original has no
// room or no letters for.
func (t *Takeover) losses(ctx context.Context, table string, c carried, above int64) (found []Finding, err error) {
	for _, name := range slices.Sorted(maps.Keys(c.lossy)) {
		some, err := rows(ctx, t.db, func(r scanner) (f Finding, err error) {
			var id, value string
			err = r.Scan(&id, &value)
			f.Kind, f.Subject, f.Number = TextChanged, table+" "+id, 1
			f.Detail = fmt.Sprintf("%s becomes %q; the whole is in %s%s", name, value, undone, table)
			return f, err
		}, fmt.Sprintf("SELECT o.id, LEFT(%s, 100) FROM %s o WHERE o.id > ? AND %s ORDER BY o.id",
			c.fitted[name], table, c.lossy[name]), above)
		if err != nil {
			return nil, fmt.Errorf("look for texts of %s that do not fit: %w", table, err)
		}
		found = append(found, some...)
	}
	return found, nil
}

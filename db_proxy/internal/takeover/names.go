package takeover

import (
	"context"
	"fmt"
	"slices"

	"teamtalk/db_proxy/internal/store"
	"teamtalk/internal/im"
)

// The tables of the original have the original's names, or those that an
// installation gave them: with a prefix, or in another case. What they were
// called is kept until the end; aside and ours are called the same everywhere.

// tables returns all tables of the database.
func (t *Takeover) tables(ctx context.Context) (store.Tables, error) {
	return store.ListTables(ctx, t.db)
}

// original is the name that a table of the original had.
func (t *Takeover) original(table string) string {
	if name, ok := t.called[table]; ok {
		return name
	}
	return table
}

// raw is the present name of a table of the original: its own until it is set
// aside.
func (t *Takeover) raw(table string) string {
	if t.looking {
		return t.original(table)
	}
	return aside + table
}

// source is raw for a statement.
func (t *Takeover) source(table string) string { return quote(t.raw(table)) }

// look runs fn on the tables as they stand before they are set aside.
func (t *Takeover) look(fn func() error) error {
	t.looking = true
	defer func() { t.looking = false }()
	return fn()
}

// untouched is the state of a database without a takeover.
func (t *Takeover) untouched(ctx context.Context, tables store.Tables) (State, error) {
	t.called = nil
	if t.prefix != nil {
		if err := t.resolve(tables); err != nil {
			return "", err
		}
	}
	columns, err := t.columns(ctx, t.original("IMUser"))
	switch {
	case err != nil:
		return "", err
	case hasColumn(columns, "password_hash"):
		return Ours, nil
	case len(columns) > 0:
		return Original, nil
	case len(tables.Elsewhere()) > 0:
		return Elsewhere, nil
	}
	for _, name := range moved {
		if tables.Has(name) {
			return "", im.Errorf(im.Invalid, "the database has a table %s and no IMUser: it is none of TeamTalk", name)
		}
	}
	return Empty, nil
}

// resolve finds the tables under the prefix that was asked for, in any case.
func (t *Takeover) resolve(tables store.Tables) error {
	names := map[string]string{}
	for _, name := range moved {
		if found := tables.Named(*t.prefix + name); found != "" {
			names[name] = found
		}
	}
	if names["IMUser"] == "" && tables.Has("IMUser") {
		return nil // taken over and finished before, or the prefix is not needed
	}
	if names["IMUser"] == "" {
		return im.Errorf(im.Invalid, "there is no table %sIMUser", *t.prefix)
	}
	for _, name := range moved {
		if found := names[name]; found != "" && tables.Has(name) && tables.Listed(name) != found {
			return im.Errorf(im.Invalid, "there is a table %s beside %s: rename one of them first", tables.Listed(name), found)
		}
	}
	t.called = names
	return nil
}

// keepNames notes what the original's tables are called, and which of those
// that stay where they are were there. It comes before the state table, so
// that a takeover that has begun knows them.
func (t *Takeover) keepNames(ctx context.Context) error {
	tables, err := t.tables(ctx)
	if err != nil {
		return err
	}
	var values []any
	for _, name := range moved {
		if found := t.original(name); tables.Has(found) {
			values = append(values, name, tables.Listed(found))
		}
	}
	for _, name := range left {
		if tables.Has(name) {
			values = append(values, name, name)
		}
	}
	if _, err := exec(ctx, t.db, "DELETE FROM "+namesTable); err != nil {
		return fmt.Errorf("forget names of tables: %w", err)
	}
	if err := insert(ctx, t.db, "INSERT INTO "+namesTable+" (name, original)", 2, values); err != nil {
		return fmt.Errorf("note names of tables: %w", err)
	}
	return nil
}

// loadNames reads them. A takeover that an earlier version began has none.
func (t *Takeover) loadNames(ctx context.Context, tables store.Tables) error {
	t.called = nil
	if !tables.Has(namesTable) {
		return nil
	}
	all, err := rows(ctx, t.db, func(r scanner) (v [2]string, err error) { return v, r.Scan(&v[0], &v[1]) },
		"SELECT name, original FROM "+namesTable)
	if err != nil {
		return fmt.Errorf("read names of tables: %w", err)
	}
	if len(all) > 0 {
		t.called = map[string]string{}
	}
	for _, v := range all {
		t.called[v[0]] = v[1]
	}
	return nil
}

// stays reports whether a table of ours is in truth the original's, which a
// takeover leaves where it is.
func (t *Takeover) stays(table string) bool {
	if !slices.Contains(left, table) {
		return false
	}
	_, was := t.called[table]
	return was || t.called == nil
}

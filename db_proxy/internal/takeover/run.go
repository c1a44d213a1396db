package takeover

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"teamtalk/db_proxy/internal/store"
	"teamtalk/internal/im"
)

// Run takes the database over, or goes on with a takeover that did not come
// to its end. A database that is ours already is left alone. With force it
// goes on although others are connected, or Redis holds nothing.
func (t *Takeover) Run(ctx context.Context, force bool) (r *Report, err error) {
	err = t.locked(ctx, func() error {
		state, err := t.state(ctx)
		if err != nil {
			return err
		}
		switch state {
		case Empty, Ours:
			r = &Report{State: state, Counts: map[Kind]uint64{}}
			return nil
		case Undoing, Ending, Elsewhere:
			return state.wrong("there is nothing to take over")
		case Original:
			err = t.mayBegin(ctx, force)
		case Underway, Taken:
		}
		if err == nil && state != Taken {
			err = t.mayChange(ctx, force)
		}
		if err == nil && state != Taken {
			err = t.takeOver(ctx, state)
		}
		if err != nil {
			return err
		}
		r, err = t.result(ctx)
		return err
	})
	return r, err
}

// mayBegin refuses what Check says must be put right first.
func (t *Takeover) mayBegin(ctx context.Context, force bool) error {
	var found []Finding
	err := t.look(func() (err error) {
		found, err = t.blockers(ctx)
		return err
	})
	if err != nil {
		return err
	}
	var texts []string
	for _, f := range found {
		if f.Subject == emptyRedis && force {
			continue
		}
		texts = append(texts, f.Subject+": "+f.Detail)
	}
	if len(texts) > 0 {
		return im.Errorf(im.Invalid, "%s", strings.Join(texts, "; "))
	}
	return nil
}

// takeOver does all steps that are left.
func (t *Takeover) takeOver(ctx context.Context, state State) error {
	begin := t.keepNames
	if state != Original {
		begin = nil // they are known
	}
	if err := t.createState(ctx, begin); err != nil {
		return err
	}
	if err := t.runSteps(ctx, []step{
		{"plan", t.plan}, {"set aside", t.setAside}, {"make tables", t.makeTables},
	}); err != nil {
		return err
	}
	total, err := number(ctx, t.db, "SELECT SUM(row_count) FROM tt_takeover WHERE step LIKE 'count:%'")
	if err != nil {
		return err
	}
	copied, err := number(ctx, t.db, "SELECT SUM(row_count) FROM tt_takeover WHERE step LIKE 'copy %'")
	if err != nil {
		return err
	}
	t.progress.Total, t.progress.Rows, t.rowsBegan = total, min(copied, total), min(copied, total)
	return t.runSteps(ctx, t.copySteps())
}

// copySteps are the steps after the tables are made.
func (t *Takeover) copySteps() []step {
	all := []step{
		{"names", t.names},
		{"copy IMUser", t.copyUsers},
		{"copy IMDepart", t.copyPlain("IMDepart")},
		{"relations", t.mapRelations},
		{"numbers", t.renumber},
		{"copy IMRelationShip", t.copyRelations},
		{"copy IMGroup", t.copyPlain("IMGroup")},
		{"copy IMGroupMember", t.copyMembers},
		{"copy IMRecentSession", t.copySessions},
	}
	for k := range uint32(im.Shards) {
		all = append(all, step{fmt.Sprintf("copy IMMessage_%d", k), t.copySingles(k)})
	}
	for k := range uint32(im.Shards) {
		all = append(all, step{fmt.Sprintf("copy IMGroupMessage_%d", k), t.copyGroupMessages(k)})
	}
	all = append(all,
		step{"copy IMAudio", t.copyPlain("IMAudio")},
		step{"copy IMTransmitFile", t.copyPlain("IMTransmitFile")},
	)
	for k := range uint32(im.Shards) {
		all = append(all, step{fmt.Sprintf("read positions of pairs %d", k), t.singleCursors(k)})
	}
	return append(all,
		step{"read positions of groups", t.groupCursors},
		step{"unread of pairs", t.singleUnread},
		step{"device tokens", t.copyTokens},
		step{"message ids", t.raiseCounters},
		step{"count", t.count},
		step{stepComplete, t.complete},
	)
}

// plan notes what the original has.
func (t *Takeover) plan(ctx context.Context, s *stepState) error {
	var found []Finding
	var counted []Table
	if err := t.look(func() error {
		tables, err := t.present(ctx)
		if err != nil {
			return err
		}
		if found, err = t.oddities(ctx, tables); err != nil {
			return err
		}
		counted, err = t.countRows(ctx, t.source, tables)
		return err
	}); err != nil {
		return err
	}
	for _, c := range counted {
		if err := save(ctx, t.db, stepState{name: "count:" + c.Name, rows: c.Rows}); err != nil {
			return err
		}
	}
	return t.noteAlone(ctx, s, found)
}

// present returns the tables of the original that are here and that ours take
// the place of.
func (t *Takeover) present(ctx context.Context) ([]string, error) {
	tables, err := t.tables(ctx)
	if err != nil {
		return nil, err
	}
	made, err := created()
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(slices.Clone(moved), func(name string) bool {
		return !tables.Has(t.original(name)) || !made[name]
	}), nil
}

// countRows counts tables; where gives the name by which each is found.
func (t *Takeover) countRows(ctx context.Context, where func(string) string, tables []string) ([]Table, error) {
	all := make([]Table, len(tables))
	for i, name := range tables {
		n, err := number(ctx, t.db, "SELECT COUNT(*) FROM "+where(name))
		if err != nil {
			return nil, fmt.Errorf("count %s: %w", name, err)
		}
		all[i] = Table{Name: name, Rows: n}
	}
	return all, nil
}

// planned returns the tables that were there when the takeover began.
func (t *Takeover) planned(ctx context.Context) ([]string, error) {
	return column[string](ctx, t.db, "SELECT SUBSTRING(step, 7) FROM tt_takeover WHERE step LIKE 'count:%' ORDER BY step")
}

// setAside gives the original's tables their new names, all at once where the
// database can, and otherwise one after the other.
func (t *Takeover) setAside(ctx context.Context, _ *stepState) error {
	return t.rename(ctx, t.original, func(name string) string { return aside + name })
}

// rename moves the planned tables that still have their old names.
func (t *Takeover) rename(ctx context.Context, from, to func(string) string) error {
	names, err := t.planned(ctx)
	if err != nil {
		return err
	}
	tables, err := t.tables(ctx)
	if err != nil {
		return err
	}
	var parts []string
	for _, name := range names {
		if tables.Has(from(name)) && !tables.Has(to(name)) {
			parts = append(parts, quote(from(name))+" TO "+quote(to(name)))
		}
	}
	if len(parts) == 0 {
		return nil
	}
	_, err = exec(ctx, t.db, "RENAME TABLE "+strings.Join(parts, ", "))
	return err
}

// makeTables makes ours, and the index that an original names in its queries.
// What an attempt that was killed left behind goes first: a migration that
// was cut off between two statements cannot be repeated. Nobody has used it.
func (t *Takeover) makeTables(ctx context.Context, s *stepState) error {
	if err := t.dropOurs(ctx, s); err != nil {
		return err
	}
	if err := store.CreateTables(ctx, t.db, t.deps.Log); err != nil {
		return err
	}
	for _, table := range shards("IMMessage_") {
		n, err := t.hasIndex(ctx, table)
		if err != nil || n {
			return err
		}
		if _, err := exec(ctx, t.db,
			"ALTER TABLE "+table+" ADD INDEX "+originalIndex+" (relateId, status, created)"); err != nil {
			return err
		}
	}
	return nil
}

// originalIndex is what the history queries of the original force: without an
// index of this name they fail. Source: docs/protocol/storage.md, IMMessage_0.
const originalIndex = "idx_relateId_status_created"

func (t *Takeover) hasIndex(ctx context.Context, table string) (bool, error) {
	tables, err := t.tables(ctx)
	if err != nil {
		return false, err
	}
	n, err := number(ctx, t.db, `SELECT COUNT(*) FROM information_schema.STATISTICS
		WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = ? AND INDEX_NAME = ?`, tables.Listed(table), originalIndex)
	return n > 0, err
}

// count compares what arrived with what was there.
func (t *Takeover) count(ctx context.Context, _ *stepState) error {
	names, err := t.planned(ctx)
	if err != nil {
		return err
	}
	counted, err := t.countRows(ctx, quote, names)
	if err != nil {
		return err
	}
	var before, after uint64
	for _, c := range counted {
		s, err := t.load(ctx, "count:"+c.Name)
		if err != nil {
			return err
		}
		if strings.HasPrefix(c.Name, "IMMessage_") || strings.HasPrefix(c.Name, "IMGroupMessage_") {
			before, after = before+s.rows, after+c.Rows
		} else if (c.Name == "IMUser" || c.Name == "IMGroup" || c.Name == "IMDepart") && s.rows != c.Rows {
			return im.Errorf(im.Internal, "%s has %d rows, and had %d", c.Name, c.Rows, s.rows)
		}
		s.position = int64(c.Rows)
		if err := save(ctx, t.db, s); err != nil {
			return err
		}
	}
	left, err := number(ctx, t.db, "SELECT SUM(number) FROM tt_takeover_finding WHERE kind = ?", MessagesLeftOut)
	if err != nil {
		return err
	}
	if after+left != before {
		return im.Errorf(im.Internal, "%d messages arrived and %d were left out, of %d", after, left, before)
	}
	return nil
}

// complete notes where the tables ended, for the way back, and lets our
// servers in.
func (t *Takeover) complete(ctx context.Context, _ *stepState) error {
	const clock = `UPDATE IMClock SET userUpdated = GREATEST(userUpdated, (SELECT COALESCE(MAX(updated), 0) FROM IMUser))
		WHERE id = 1`
	if _, err := exec(ctx, t.db, clock); err != nil {
		return err
	}
	names, err := t.planned(ctx)
	if err != nil {
		return err
	}
	for _, name := range names {
		columns, err := t.columns(ctx, name)
		if err != nil {
			return err
		}
		if !hasColumn(columns, "id") {
			continue
		}
		last, err := number(ctx, t.db, "SELECT MAX(id) FROM "+name)
		if err != nil {
			return err
		}
		if err := save(ctx, t.db, stepState{name: markPrefix + name, position: int64(last)}); err != nil {
			return err
		}
	}
	return nil
}

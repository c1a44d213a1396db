package takeover

import (
	"context"
	"maps"
	"slices"
	"strings"
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
			return state.wrong("there is no way back: the copies of the original's tables are not here")
		}
		if err := t.mayChange(ctx, force); err != nil {
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
	if err := t.createState(ctx, nil); err != nil { // dropping it may have begun
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
	steps := []step{{"undo: lines of groups", t.backLines}}
	for _, w := range []struct {
		table string
		run   func(context.Context, *stepState) error
	}{
		{"IMUser", t.backUsers},
		{"IMDepart", t.backChanged("IMDepart", "o.updated <> c.updated", "updated")},
		{"IMRelationShip", t.backRelations},
		{"IMGroup", t.backGroups},
		{"IMGroupMember", t.backMembers},
		{"IMRecentSession", t.backSessions},
	} {
		steps = append(steps, step{"undo: " + w.table, t.withKeys(w.table, w.run)})
	}
	others := []string{"IMAudio", "IMTransmitFile"}
	for _, table := range slices.Concat(shards("IMMessage_"), shards("IMGroupMessage_"), others) {
		steps = append(steps, step{"undo: " + table, t.withKeys(table, t.backRows(table))})
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
		if tables.Has(name) && !t.stays(name) && (!slices.Contains(had, name) || tables.Has(aside+name)) {
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
	return t.rename(ctx, func(name string) string { return aside + name }, t.original)
}

// left are tables that the migrations make where they are missing, and that a
// takeover leaves as they are.
var left = []string{"IMAdmin", "IMDiscovery", "IMCallLog"}

// dropWork drops what only the takeover needed; the state table last, because
// without it the database is the original's again, and before it the findings,
// which a run that was killed here still has to tell.
func (t *Takeover) dropWork(ctx context.Context) error {
	for _, table := range []string{
		nameTable, relationTable, messageTable, redisTable, keysTable, namesTable, findingTable, stateTable,
	} {
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
			return state.wrong("there is nothing to finish: the database is not taken over")
		}
		if err := t.createState(ctx, nil); err != nil { // dropping it may have begun
			return err
		}
		if err := save(ctx, t.db, stepState{name: stepFinish, started: max(t.now(), 1)}); err != nil {
			return err
		}
		if err := t.dropOriginal(ctx); err != nil {
			return err
		}
		r = &Report{State: Ours, Counts: map[Kind]uint64{}}
		return t.dropWork(ctx)
	})
	return r, err
}

// dropOriginal drops what only the original needs.
func (t *Takeover) dropOriginal(ctx context.Context) error {
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
		has, err := t.hasIndex(ctx, table)
		if err != nil {
			return err
		}
		if !has {
			continue
		}
		if _, err := exec(ctx, t.db, "ALTER TABLE "+table+" DROP INDEX "+originalIndex); err != nil {
			return err
		}
	}
	return nil
}

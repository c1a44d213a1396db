package takeover

import (
	"context"
	"database/sql"
	"fmt"
	"maps"
	"slices"
	"strings"

	"teamtalk/db_proxy/internal/store"
	"teamtalk/internal/im"
)

// emptyRedis is the subject of the finding that Redis has nothing of a
// database that has something.
const emptyRedis = "Redis"

// server is the subject of what is wrong with the settings of the database
// server.
const server = "the database server"

// Check says what Run would do, and how long it would take. It changes
// nothing, and the original may run meanwhile. Of a database that was taken
// over it says what was done.
func (t *Takeover) Check(ctx context.Context) (*Report, error) {
	state, err := t.state(ctx)
	if err != nil {
		return nil, err
	}
	if state != Original {
		if state == Taken {
			return t.result(ctx)
		}
		return &Report{State: state, Counts: map[Kind]uint64{}, Findings: []Finding{}}, nil
	}
	r := &Report{State: state, Counts: map[Kind]uint64{}, Findings: []Finding{}}
	return r, t.look(func() error { return t.inspect(ctx, r) })
}

// inspect fills the report of a Check.
func (t *Takeover) inspect(ctx context.Context, r *Report) error {
	blocking, err := t.blockers(ctx)
	if err != nil {
		return err
	}
	r.add(blocking...)
	tables, err := t.present(ctx)
	if err != nil {
		return err
	}
	if r.Tables, err = t.countRows(ctx, t.source, tables); err != nil {
		return err
	}
	r.Seconds = secondsFor(r.Tables)
	if slices.ContainsFunc(blocking, func(f Finding) bool { return f.Subject != emptyRedis }) {
		return nil // what follows needs the tables and columns
	}
	odd, err := t.oddities(ctx, tables)
	if err != nil {
		return err
	}
	r.add(odd...)
	for _, look := range []func(context.Context) ([]Finding, error){
		t.checkNames, t.checkRelations, t.checkNumbers, t.checkGroups, t.sessionFindings, t.checkTokens,
	} {
		found, err := look(ctx)
		if err != nil {
			return err
		}
		r.add(found...)
	}
	return nil
}

// The speed that Check reckons with, on two cores and a disk that syncs in a
// third of a millisecond.
const (
	secondsPerMessage = 45e-6
	secondsPerRow     = 25e-6
	secondsAtLeast    = 3
)

func secondsFor(tables []Table) float64 {
	s := float64(secondsAtLeast)
	for _, v := range tables {
		if strings.Contains(v.Name, "Message_") {
			s += float64(v.Rows) * secondsPerMessage
		} else {
			s += float64(v.Rows) * secondsPerRow
		}
	}
	return s
}

// blocked is a finding that keeps a takeover from beginning.
func blocked(subject, format string, args ...any) Finding {
	return Finding{Blocked, subject, fmt.Sprintf(format, args...), 1}
}

// blockers lists what must be put right before a takeover.
func (t *Takeover) blockers(ctx context.Context) (found []Finding, err error) {
	for _, try := range []func(context.Context, *sql.DB) error{store.CheckServer, store.TryTables} {
		if err := try(ctx, t.db); err != nil {
			if im.CodeOf(err) != im.Invalid {
				return nil, err
			}
			found = append(found, blocked(server, "%v", err))
		}
	}
	tables, err := t.tables(ctx)
	if err != nil {
		return nil, err
	}
	made, err := created()
	if err != nil {
		return nil, err
	}
	found = append(found, t.missingTables(tables)...)
	found = append(found, strangeTables(tables, made)...)
	for _, name := range moved {
		if !tables.Has(t.original(name)) {
			continue
		}
		f, err := t.misfits(ctx, name)
		if err != nil {
			return nil, err
		}
		found = append(found, f...)
	}
	if len(found) > 0 {
		return found, nil
	}
	empty, err := t.redisEmpty(ctx)
	if err != nil {
		return nil, err
	}
	if empty {
		found = append(found, blocked(emptyRedis, "has no member list and no message counter of this database: are the "+
			"addresses and numbers of the pools those of the original? (--force takes everything from SQL)"))
	}
	return found, nil
}

// missingTables lists the tables that a database of the original has, and this
// one has not.
func (t *Takeover) missingTables(tables store.Tables) (found []Finding) {
	for _, name := range required {
		wanted := t.original(name)
		if tables.Has(wanted) {
			continue
		}
		if other := tables.Named(wanted); other != "" {
			found = append(found, blocked(name, "the table is missing; there is one called %s: rename it first", other))
			continue
		}
		found = append(found, blocked(name, "the table is missing: this is no database of TeamTalk"))
	}
	return found
}

// strangeTables lists the tables whose names a takeover or the way back needs.
// Made are those that the migrations make.
func strangeTables(tables store.Tables, made map[string]bool) (found []Finding) {
	ours := slices.Sorted(maps.Keys(made))
	for _, name := range slices.Concat(moved, ours) {
		if tables.Has(undone + name) {
			found = append(found, blocked(undone+name,
				"is left of an earlier way back: look at it, and drop the tables %s* first", undone))
			break
		}
	}
	for _, name := range ours {
		if tables.Has(name) && !slices.Contains(moved, name) && !slices.Contains(left, name) {
			found = append(found, blocked(name, "is no table of TeamTalk, and ours has the same name: rename it first"))
		}
	}
	return found
}

// redisEmpty reports whether Redis knows nothing of a database that has
// groups or messages.
func (t *Takeover) redisEmpty(ctx context.Context) (bool, error) {
	const some = 1000
	groups, err := column[uint32](ctx, t.db, fmt.Sprintf("SELECT id FROM %s ORDER BY id DESC LIMIT %d",
		t.source("IMGroup"), some))
	if err != nil {
		return false, err
	}
	relations, err := column[uint32](ctx, t.db,
		fmt.Sprintf("SELECT id FROM %s ORDER BY id DESC LIMIT %d", t.source("IMRelationShip"), some))
	if err != nil {
		return false, err
	}
	if len(groups)+len(relations) == 0 {
		return false, nil
	}
	lists, err := hashes(ctx, t.redis.groupMember, named("group_member_%d", groups))
	if err != nil {
		return false, err
	}
	counters, err := texts(ctx, t.redis.unread, named("msg_id_%d", relations))
	if err != nil {
		return false, err
	}
	return !slices.ContainsFunc(lists, func(l map[string]string) bool { return len(l) > 0 }) &&
		!slices.ContainsFunc(counters, func(c string) bool { return c != "" }), nil
}

// oddities lists what is not as the original makes it, and does no harm.
func (t *Takeover) oddities(ctx context.Context, tables []string) (found []Finding, err error) {
	made, err := created()
	if err != nil {
		return nil, err
	}
	for _, name := range moved {
		if made[name] && !slices.Contains(tables, name) {
			found = append(found, Finding{TableMissing, name, "is made", 1})
		}
	}
	for _, table := range tables {
		added, err := t.additions(ctx, table)
		if err != nil {
			return nil, err
		}
		found = append(found, added...)
	}
	return found, nil
}

func (t *Takeover) checkNames(ctx context.Context) (found []Finding, err error) {
	groups, err := t.duplicateNames(ctx)
	if err != nil {
		return nil, err
	}
	for _, group := range groups {
		keeper := group[len(group)-1]
		for _, a := range group[:len(group)-1] {
			found = append(found, renamed(a, keeper, newName(a.name, a.id, 1)))
		}
	}
	return found, nil
}

func (t *Takeover) checkRelations(ctx context.Context) ([]Finding, error) {
	table := t.source("IMRelationShip")
	found, err := rows(ctx, t.db, func(r scanner) (f Finding, err error) {
		var a, b uint32
		err = r.Scan(&a, &b, &f.Number)
		f.Kind, f.Subject = RelationMerged, fmt.Sprintf("users %d and %d", a, b)
		f.Detail = fmt.Sprintf("have %d relations, which become one", f.Number)
		return f, err
	}, `SELECT LEAST(smallId, bigId) AS a, GREATEST(smallId, bigId) AS b, COUNT(*) FROM `+table+`
		GROUP BY a, b HAVING COUNT(*) > 1 AND a > 0 AND a < b ORDER BY a, b`)
	if err != nil {
		return nil, fmt.Errorf("look for pairs with several relations: %w", err)
	}
	for k := range uint32(im.Shards) {
		all, err := t.strays(ctx, k, table, "r.smallId = 0 OR r.bigId = 0 OR r.smallId = r.bigId")
		if err != nil {
			return nil, err
		}
		for _, s := range all {
			kind, detail := RelationMade, "get a relation"
			if s.pair.Small == 0 || s.pair.Small == s.pair.Big {
				kind, detail = MessagesLeftOut, "are left out"
			}
			found = append(found, Finding{
				kind, fmt.Sprintf("relation %d", s.relation),
				fmt.Sprintf("%d messages between users %d and %d %s", s.rows, s.pair.Small, s.pair.Big, detail), s.rows,
			})
		}
	}
	return found, nil
}

func (t *Takeover) checkNumbers(ctx context.Context) (found []Finding, err error) {
	for _, f := range []struct{ table, key, what string }{
		{"IMMessage_", "relateId", "relation"}, {"IMGroupMessage_", "groupId", "group"},
	} {
		for k := range im.Shards {
			keys, err := t.conflicts(ctx, fmt.Sprintf("%s%d", f.table, k), f.key)
			if err != nil {
				return nil, err
			}
			for _, key := range keys {
				found = append(found, Finding{
					Renumbered, fmt.Sprintf("%s %d", f.what, key), "has doubled or broken message ids: later ones get new ids", 1,
				})
			}
		}
	}
	return found, nil
}

func (t *Takeover) checkGroups(ctx context.Context) (found []Finding, err error) {
	for at := int64(-1); ; {
		c, more, err := t.next(ctx, t.source("IMGroup"), "id", at, groupsPerChunk)
		if err != nil {
			return nil, err
		}
		if !more {
			break
		}
		_, some, err := t.planGroups(ctx, c)
		if err != nil {
			return nil, err
		}
		found = append(found, some...)
		at = c.last
	}
	homeless, err := t.homeless(ctx)
	return append(found, homeless...), err
}

func (t *Takeover) checkTokens(ctx context.Context) (found []Finding, err error) {
	accounts, err := t.accounts(ctx)
	if err != nil {
		return nil, err
	}
	for part := range slices.Chunk(accounts, pipelined) {
		all, ignored, err := t.phones(ctx, part)
		if err != nil {
			return nil, err
		}
		_, moved, err := t.owners(ctx, all)
		if err != nil {
			return nil, err
		}
		found = append(append(found, ignored...), moved...)
	}
	return found, nil
}

package takeover

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"teamtalk/internal/im"
)

// emptyRedis is the subject of the finding that Redis has nothing of a
// database that has something.
const emptyRedis = "Redis"

// columnFact is what a column of the original must be like to be copied.
type columnFact struct {
	name  string
	limit int64 // characters of ours; 0: a number
}

// needed are the columns without which nothing works, and the texts that ours
// must have room for. Source: storage.md §1.
var needed = map[string][]columnFact{
	"IMUser": {
		{"id", 0}, {"name", 32}, {"password", 32}, {"salt", 4}, {"status", 0}, {"domain", 32}, {"nick", 32}, {"phone", 11},
		{"email", 64}, {"avatar", 255}, {"updated", 0},
	},
	"IMDepart":       {{"id", 0}, {"departName", 64}},
	"IMRelationShip": {{"id", 0}, {"smallId", 0}, {"bigId", 0}, {"status", 0}, {"created", 0}, {"updated", 0}},
	"IMGroup":        {{"id", 0}, {"name", 256}, {"avatar", 256}, {"status", 0}},
	"IMGroupMember":  {{"id", 0}, {"groupId", 0}, {"userId", 0}, {"status", 0}, {"created", 0}, {"updated", 0}},
	"IMRecentSession": {{"id", 0}, {"userId", 0}, {"peerId", 0}, {"type", 0}, {"status", 0}, {"created", 0}, {"updated",
		0}},
	"IMMessage_": {
		{"id", 0}, {"relateId", 0}, {"fromId", 0}, {"toId", 0}, {"msgId", 0}, {"content", 4096}, {"type", 0}, {"status", 0},
		{"updated", 0}, {"created", 0},
	},
	"IMGroupMessage_": {
		{"id", 0}, {"groupId", 0}, {"userId", 0}, {"msgId", 0}, {"content", 4096}, {"type", 0}, {"status", 0}, {"updated", 0},
		{"created", 0},
	},
	"IMAudio": {{"id", 0}, {"path", 255}},
}

// standard are the columns of IMUser and IMGroup, which sites like to extend.
var standard = map[string][]string{
	"IMUser": {
		"id", "sex", "name", "domain", "nick", "password", "salt", "phone", "email", "avatar", "departId", "status",
		"created",
		"updated", "push_shield_status", "sign_info",
	},
	"IMGroup": {"id", "name", "avatar", "creator", "type", "userCnt", "status", "version", "lastChated", "updated",
		"created"},
}

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
	t.from = ""
	defer func() { t.from = aside }()
	r := &Report{State: state, Counts: map[Kind]uint64{}, Findings: []Finding{}}
	blocked, err := t.blockers(ctx)
	if err != nil {
		return nil, err
	}
	r.add(blocked...)
	tables, err := t.present(ctx)
	if err != nil {
		return nil, err
	}
	if r.Tables, err = t.countRows(ctx, "", tables); err != nil {
		return nil, err
	}
	r.Seconds = secondsFor(r.Tables)
	if slices.ContainsFunc(blocked, func(f Finding) bool { return f.Subject != emptyRedis }) {
		return r, nil // what follows needs the tables and columns
	}
	odd, err := t.oddities(ctx, tables)
	if err != nil {
		return nil, err
	}
	r.add(odd...)
	for _, look := range []func(context.Context) ([]Finding, error){
		t.checkNames, t.checkRelations, t.checkNumbers, t.checkGroups, t.sessionFindings, t.checkTokens,
	} {
		found, err := look(ctx)
		if err != nil {
			return nil, err
		}
		r.add(found...)
	}
	return r, nil
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

// blockers lists what must be put right before a takeover.
func (t *Takeover) blockers(ctx context.Context) (found []Finding, err error) {
	block := func(subject, format string, args ...any) {
		found = append(found, Finding{Blocked, subject, fmt.Sprintf(format, args...), 1})
	}
	tables, err := t.tables(ctx)
	if err != nil {
		return nil, err
	}
	for _, name := range required {
		if !tables[name] {
			block(name, "the table is missing: this is no database of TeamTalk")
		}
	}
	for _, name := range moved {
		if tables[undone+name] {
			block(undone+name, "is left of an earlier way back: look at it, and drop the tables %s* first", undone)
			break
		}
	}
	made, err := created()
	if err != nil {
		return nil, err
	}
	for _, name := range slices.Sorted(maps.Keys(made)) {
		if tables[name] && !slices.Contains(moved, name) && !slices.Contains(left, name) {
			block(name, "is no table of TeamTalk, and ours has the same name: rename it first")
		}
	}
	for _, name := range moved {
		if !tables[name] {
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
		block(emptyRedis, "has no member list and no message counter of this database: are the addresses and numbers of "+
			"the pools those of the original? (--force takes everything from SQL)")
	}
	return found, nil
}

// misfits lists the columns of a table that are missing, or have texts that
// ours have no room for.
func (t *Takeover) misfits(ctx context.Context, table string) (found []Finding, err error) {
	columns, err := t.columns(ctx, table)
	if err != nil {
		return nil, err
	}
	for _, fact := range needed[strings.TrimRight(table, "01234567")] {
		i := slices.IndexFunc(columns, func(c columnInfo) bool { return c.name == fact.name })
		if i < 0 {
			found = append(found, Finding{Blocked, table, "has no column " + fact.name, 1})
			continue
		}
		if fact.limit == 0 || columns[i].length <= fact.limit {
			continue
		}
		n, err := number(ctx, t.db, fmt.Sprintf("SELECT COUNT(*) FROM %s WHERE CHAR_LENGTH(%s) > %d",
			table, quote(fact.name), fact.limit))
		if err != nil {
			return nil, err
		}
		if n > 0 {
			found = append(found, Finding{
				Blocked, table, fmt.Sprintf("%d rows have more than %d characters in %s", n, fact.limit, fact.name), n,
			})
		}
	}
	return found, nil
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
	for _, table := range []string{"IMUser", "IMGroup"} {
		columns, err := t.columns(ctx, t.source(table))
		if err != nil {
			return nil, err
		}
		for _, c := range columns {
			if !slices.Contains(standard[table], c.name) {
				found = append(found, Finding{
					ColumnKept, table, fmt.Sprintf("column %s is not of TeamTalk: it stays in %s%s", c.name, aside, table), 1,
				})
			}
		}
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

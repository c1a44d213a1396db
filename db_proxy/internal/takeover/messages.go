package takeover

import (
	"cmp"
	"context"
	"database/sql"
	"fmt"
	"maps"
	"slices"

	"teamtalk/internal/im"
)

// origin is where messages of one conversation stand in the original.
type origin struct {
	shard, key uint32  // of the table; relation or group
	pair       im.Pair // only those of this pair, unless zero
}

// plot is a conversation whose messages cannot simply be copied: their ids are
// doubled or broken, or they come from several places.
type plot struct {
	kind    im.Kind
	key     uint32 // relation or group, of ours
	origins []origin
}

// numbered is a message and what it is numbered by.
type numbered struct {
	origin  int
	id      uint32
	created uint32
	msgID   uint32
}

// renumber decides about all messages that do not keep their number and
// place.
func (t *Takeover) renumber(ctx context.Context, s *stepState) error {
	for _, text := range []string{"DELETE FROM tt_takeover_message", "DELETE FROM tt_takeover_relation WHERE made = 1"} {
		if _, err := exec(ctx, t.db, text); err != nil {
			return err
		}
	}
	plots, found, err := t.singlePlots(ctx)
	if err != nil {
		return err
	}
	for k := range uint32(im.Shards) {
		keys, err := t.conflicts(ctx, fmt.Sprintf("IMGroupMessage_%d", k), "groupId")
		if err != nil {
			return err
		}
		for _, key := range keys {
			plots = append(plots, plot{im.Group, key, []origin{{shard: k, key: key}}})
		}
	}
	for _, p := range plots {
		f, err := t.number(ctx, p)
		if err != nil {
			return err
		}
		found = append(found, f...)
	}
	return t.noteAlone(ctx, s, found)
}

// singlePlots finds the pairs whose messages must be looked at.
func (t *Takeover) singlePlots(ctx context.Context) ([]plot, []Finding, error) {
	var all []stray
	for k := range uint32(im.Shards) {
		some, err := t.strays(ctx, k, "tt_takeover_relation", "r.relation = 0")
		if err != nil {
			return nil, nil, err
		}
		all = append(all, some...)
	}
	adopted, found, err := t.adopt(ctx, all)
	if err != nil {
		return nil, nil, err
	}
	origins := map[uint32][]origin{}
	for relation, strays := range adopted {
		for _, s := range strays {
			origins[relation] = append(origins[relation], origin{s.shard, s.relation, s.pair})
		}
	}
	parts, err := rows(ctx, t.db, func(r scanner) (v [2]uint32, err error) { return v, r.Scan(&v[0], &v[1]) },
		"SELECT id, relation FROM tt_takeover_relation WHERE relation <> 0 AND relation <> id ORDER BY id")
	if err != nil {
		return nil, nil, err
	}
	for _, p := range parts {
		origins[p[1]] = append(origins[p[1]], origin{shard: p[0] % im.Shards, key: p[0]})
	}
	for k := range uint32(im.Shards) {
		keys, err := t.conflicts(ctx, fmt.Sprintf("IMMessage_%d", k), "relateId")
		if err != nil {
			return nil, nil, err
		}
		for _, key := range keys {
			if key%im.Shards == k && origins[key] == nil {
				origins[key] = []origin{}
			}
		}
	}
	var plots []plot
	for _, relation := range slices.Sorted(maps.Keys(origins)) {
		own := origin{shard: relation % im.Shards, key: relation}
		others := slices.DeleteFunc(origins[relation],
			func(o origin) bool { return o.shard == own.shard && o.key == own.key })
		plots = append(plots, plot{im.Single, relation, append(others, own)})
	}
	return plots, found, nil
}

// conflicts returns the keys of conversations in which an id stands twice, or
// one that no client could use.
func (t *Takeover) conflicts(ctx context.Context, table, key string) (all []uint32, err error) {
	text := fmt.Sprintf(`SELECT %s FROM %s WHERE %s > ? AND %s <= ? GROUP BY %s
		HAVING COUNT(DISTINCT msgId) < COUNT(*) OR MIN(msgId) = 0 OR MAX(msgId) > %d`,
		key, t.source(table), key, key, key, im.MaxMsgID)
	for at := int64(-1); ; {
		c, more, err := t.next(ctx, t.source(table), key, at, keysPerScan)
		if err != nil || !more {
			return all, err
		}
		some, err := column[uint32](ctx, t.db, text, c.after, c.last)
		if err != nil {
			return nil, fmt.Errorf("look for doubled message ids: %w", err)
		}
		all = append(all, some...)
		at = c.last
	}
}

// number gives the messages of a plot their ids and writes them down.
func (t *Takeover) number(ctx context.Context, p plot) ([]Finding, error) {
	var all []numbered
	for i, o := range p.origins {
		table, key, where := fmt.Sprintf("IMMessage_%d", o.shard), "relateId", ""
		args := []any{i, o.key}
		if p.kind == im.Group {
			table, key = fmt.Sprintf("IMGroupMessage_%d", o.shard), "groupId"
		} else if o.pair.Small != 0 {
			where = " AND LEAST(fromId, toId) = ? AND GREATEST(fromId, toId) = ?"
			args = append(args, o.pair.Small, o.pair.Big)
		}
		some, err := rows(ctx, t.db, func(r scanner) (v numbered, err error) {
			return v, r.Scan(&v.origin, &v.id, &v.created, &v.msgID)
		}, "SELECT ?, id, created, msgId FROM "+t.source(table)+" WHERE "+key+" = ?"+where, args...)
		if err != nil {
			return nil, fmt.Errorf("read messages of %v %d: %w", p.kind, p.key, err)
		}
		all = append(all, some...)
	}
	before := slices.Clone(all)
	changed, err := assign(all)
	if err != nil {
		return nil, fmt.Errorf("number messages of %v %d: %w", p.kind, p.key, err)
	}
	values := make([]any, 0, 5*len(all))
	for _, m := range all {
		values = append(values, p.kind, p.origins[m.origin].shard, m.id, p.key, m.msgID)
	}
	if err := insert(ctx, t.db, "INSERT INTO tt_takeover_message (kind, shard, id, relation, msgId)", 5,
		values); err != nil {
		return nil, err
	}
	if changed == 0 {
		return nil, nil
	}
	what := "relation"
	if p.kind == im.Group {
		what = "group"
	}
	return []Finding{{
		Renumbered, fmt.Sprintf("%s %d", what, p.key),
		fmt.Sprintf("%d of %d messages have a new id", changed, len(before)), uint64(changed),
	}}, nil
}

// assign sorts messages by time and numbers them upwards. An id that is higher
// than all before is kept, so that after a restart of the ids only the later
// ones change. It returns how many changed.
func assign(all []numbered) (changed int, err error) {
	slices.SortFunc(all, func(a, b numbered) int {
		return cmp.Or(cmp.Compare(a.created, b.created), cmp.Compare(a.msgID, b.msgID),
			cmp.Compare(a.origin, b.origin), cmp.Compare(a.id, b.id))
	})
	last := uint32(0)
	for i := range all {
		m := &all[i]
		if m.msgID <= last || m.msgID > uint32(im.MaxMsgID) {
			m.msgID = last + 1
			changed++
		}
		if m.msgID > uint32(im.MaxMsgID) {
			return changed, im.Errorf(im.Invalid, "more than %d messages", im.MaxMsgID)
		}
		last = m.msgID
	}
	return changed, nil
}

// copySingles copies the single messages of one table of the original.
func (t *Takeover) copySingles(shard uint32) func(context.Context, *stepState) error {
	return func(ctx context.Context, s *stepState) error {
		from := t.source(fmt.Sprintf("IMMessage_%d", shard))
		text := func(to uint32) string {
			return fmt.Sprintf(`INSERT INTO IMMessage_%d
				(id, relateId, fromId, toId, msgId, content, type, status, updated, created)
				SELECT m.id, COALESCE(x.relation, r.relation), m.fromId, m.toId, COALESCE(x.msgId, m.msgId),
					COALESCE(m.content, ''), m.type, m.status, m.updated, m.created
				FROM %s m LEFT JOIN tt_takeover_relation r ON r.id = m.relateId
				LEFT JOIN tt_takeover_message x ON x.kind = 1 AND x.shard = %d AND x.id = m.id
				WHERE m.id > ? AND m.id <= ? AND COALESCE(x.relation, r.relation, 0) <> 0
					AND COALESCE(x.relation, r.relation) %% %d = %d`, to, from, shard, im.Shards, to)
		}
		elsewhere := fmt.Sprintf(`SELECT DISTINCT relation %% %d FROM tt_takeover_message
			WHERE kind = 1 AND shard = %d AND id > ? AND id <= ? AND relation %% %d <> %d`, im.Shards, shard, im.Shards, shard)
		return t.chunks(ctx, s, from, "id", rowsPerChunk, func(tx *sql.Tx, c chunk) (int64, error) {
			targets, err := column[uint32](ctx, tx, elsewhere, c.after, c.last)
			if err != nil {
				return 0, err
			}
			var n int64
			for _, to := range append(targets, shard) {
				some, err := exec(ctx, tx, text(to), c.after, c.last)
				if err != nil {
					return 0, err
				}
				n += some
			}
			return n, nil
		})
	}
}

// copyGroupMessages copies the group messages of one table of the original.
func (t *Takeover) copyGroupMessages(shard uint32) func(context.Context, *stepState) error {
	return func(ctx context.Context, s *stepState) error {
		from := t.source(fmt.Sprintf("IMGroupMessage_%d", shard))
		text := fmt.Sprintf(`INSERT INTO IMGroupMessage_%d
			(id, groupId, userId, msgId, content, type, status, updated, created)
			SELECT m.id, m.groupId, m.userId, COALESCE(x.msgId, m.msgId), m.content, m.type, m.status, m.updated, m.created
			FROM %s m LEFT JOIN tt_takeover_message x ON x.kind = 2 AND x.shard = %d AND x.id = m.id
			WHERE m.id > ? AND m.id <= ?`, shard, from, shard)
		return t.chunks(ctx, s, from, "id", rowsPerChunk, func(tx *sql.Tx, c chunk) (int64, error) {
			return exec(ctx, tx, text, c.after, c.last)
		})
	}
}

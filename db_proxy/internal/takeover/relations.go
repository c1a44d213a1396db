package takeover

import (
	"cmp"
	"context"
	"database/sql"
	"fmt"
	"slices"

	"teamtalk/internal/im"
)

// duplicatePairs selects the relations of pairs that have several, the one to
// keep last of each: the one that the original reads last.
// Source: docs/protocol/storage.md §4.
func (t *Takeover) duplicatePairs(ctx context.Context) ([]relation, error) {
	return rows(ctx, t.db, scanRelation, `SELECT r.id, r.smallId, r.bigId FROM tt_takeover_relation r
		JOIN (SELECT smallId, bigId FROM tt_takeover_relation WHERE relation <> 0
			GROUP BY smallId, bigId HAVING COUNT(*) > 1) AS d ON r.smallId = d.smallId AND r.bigId = d.bigId
		JOIN `+t.source("IMRelationShip")+` o ON o.id = r.id
		ORDER BY r.smallId, r.bigId, COALESCE(o.status, 0) <> 0 DESC, o.updated, o.id`)
}

type relation struct {
	id   uint32
	pair im.Pair
}

func scanRelation(r scanner) (v relation, err error) {
	return v, r.Scan(&v.id, &v.pair.Small, &v.pair.Big)
}

// mapRelations finds for every relation id of the original the relation that
// takes its messages: the one relation of the pair.
func (t *Takeover) mapRelations(ctx context.Context, s *stepState) error {
	if _, err := exec(ctx, t.db, "DELETE FROM tt_takeover_relation"); err != nil {
		return err
	}
	fill := `INSERT INTO tt_takeover_relation (id, relation, smallId, bigId)
		SELECT id, IF(smallId = 0 OR bigId = 0 OR smallId = bigId, 0, id), LEAST(smallId, bigId), GREATEST(smallId, bigId)
		FROM ` + t.source("IMRelationShip") + ` WHERE id > ? AND id <= ?`
	for at := int64(-1); ; {
		c, more, err := t.next(ctx, t.source("IMRelationShip"), "id", at, rowsPerChunk)
		if err != nil {
			return err
		}
		if !more {
			break
		}
		if _, err := exec(ctx, t.db, fill, c.after, c.last); err != nil {
			return err
		}
		at = c.last
	}
	found, err := t.mergePairs(ctx)
	if err != nil {
		return err
	}
	dropped, err := rows(ctx, t.db, scanRelation,
		"SELECT id, smallId, bigId FROM tt_takeover_relation WHERE relation = 0 ORDER BY id")
	if err != nil {
		return err
	}
	for _, r := range dropped {
		found = append(found, Finding{
			RelationLeftOut, fmt.Sprintf("relation %d", r.id),
			fmt.Sprintf("of users %d and %d", r.pair.Small, r.pair.Big), 1,
		})
	}
	return t.noteAlone(ctx, s, found)
}

// mergePairs leaves every pair one relation.
func (t *Takeover) mergePairs(ctx context.Context) (found []Finding, err error) {
	all, err := t.duplicatePairs(ctx)
	if err != nil {
		return nil, err
	}
	for i := 0; i < len(all); {
		end := i
		for end < len(all) && all[end].pair == all[i].pair {
			end++
		}
		keep := all[end-1]
		if _, err := exec(ctx, t.db, `UPDATE tt_takeover_relation SET relation = ?
			WHERE smallId = ? AND bigId = ? AND relation <> 0`, keep.id, keep.pair.Small, keep.pair.Big); err != nil {
			return nil, err
		}
		for _, r := range all[i : end-1] {
			found = append(found, merged(r, keep))
		}
		i = end
	}
	return found, nil
}

func merged(r, keep relation) Finding {
	return Finding{
		RelationMerged, fmt.Sprintf("relation %d", r.id),
		fmt.Sprintf("of users %d and %d is part of relation %d", r.pair.Small, r.pair.Big, keep.id), 1,
	}
}

// stray is a set of messages in one table that their relation does not claim.
type stray struct {
	shard, relation uint32
	pair            im.Pair
	rows            uint64
}

// strays finds the messages of a table whose relation is missing, is of no
// two users, or belongs into another table. known is the table of relations:
// the map, or in a check the original's.
func (t *Takeover) strays(ctx context.Context, shard uint32, known, invalid string) (all []stray, err error) {
	table := t.source(fmt.Sprintf("IMMessage_%d", shard))
	text := fmt.Sprintf(`SELECT %d, m.relateId, LEAST(m.fromId, m.toId) AS a, GREATEST(m.fromId, m.toId) AS b, COUNT(*)
		FROM %s m LEFT JOIN %s r ON r.id = m.relateId
		WHERE m.relateId > ? AND m.relateId <= ? AND (r.id IS NULL OR %s OR m.relateId %% %d <> %d)
		GROUP BY m.relateId, a, b ORDER BY m.relateId, a, b`, shard, table, known, invalid, im.Shards, shard)
	for at := int64(-1); ; {
		c, more, err := t.next(ctx, table, "relateId", at, keysPerScan)
		if err != nil || !more {
			return all, err
		}
		some, err := rows(ctx, t.db, func(r scanner) (v stray, err error) {
			return v, r.Scan(&v.shard, &v.relation, &v.pair.Small, &v.pair.Big, &v.rows)
		}, text, c.after, c.last)
		if err != nil {
			return nil, fmt.Errorf("look for messages without relation: %w", err)
		}
		all = append(all, some...)
		at = c.last
	}
}

// keysPerScan bounds a statement that only reads an index.
const keysPerScan = 200_000

// adopt finds or makes the relation of strays. It returns the strays whose
// rows must be named one by one, by relation.
func (t *Takeover) adopt(ctx context.Context, all []stray) (map[uint32][]stray, []Finding, error) {
	free, err := number(ctx, t.db, "SELECT COALESCE(MAX(id), 0) + 1 FROM tt_takeover_relation")
	if err != nil {
		return nil, nil, err
	}
	pairs := map[uint32]int{} // how many sets of strays have this relation id
	for _, s := range all {
		free = max(free, uint64(s.relation)+1)
		pairs[s.relation]++
	}
	slices.SortStableFunc(all, func(a, b stray) int {
		return cmp.Or(cmp.Compare(a.pair.Small, b.pair.Small), cmp.Compare(a.pair.Big, b.pair.Big))
	})
	adopted := map[uint32][]stray{}
	var found []Finding
	for _, s := range all {
		if s.pair.Small == 0 || s.pair.Small == s.pair.Big {
			found = append(found, Finding{
				MessagesLeftOut, fmt.Sprintf("relation %d", s.relation),
				fmt.Sprintf("%d messages between users %d and %d", s.rows, s.pair.Small, s.pair.Big), s.rows,
			})
			continue
		}
		id, err := number(ctx, t.db, `SELECT MAX(relation) FROM tt_takeover_relation
			WHERE smallId = ? AND bigId = ? AND relation <> 0`, s.pair.Small, s.pair.Big)
		if err != nil {
			return nil, nil, err
		}
		if id == 0 {
			taken, err := number(ctx, t.db, "SELECT COUNT(*) FROM tt_takeover_relation WHERE id = ?", s.relation)
			if err != nil {
				return nil, nil, err
			}
			id = uint64(s.relation)
			if taken > 0 || pairs[s.relation] > 1 || s.relation == 0 || s.relation%im.Shards != s.shard {
				id, free = free, free+1
			}
			if _, err := exec(ctx, t.db, `INSERT INTO tt_takeover_relation (id, relation, smallId, bigId, made)
				VALUES (?, ?, ?, ?, 1)`, id, id, s.pair.Small, s.pair.Big); err != nil {
				return nil, nil, err
			}
			found = append(found, Finding{
				RelationMade, fmt.Sprintf("relation %d", id),
				fmt.Sprintf("of users %d and %d, for %d messages of relation %d", s.pair.Small, s.pair.Big, s.rows, s.relation),
				s.rows,
			})
		}
		adopted[uint32(id)] = append(adopted[uint32(id)], s)
	}
	return adopted, found, nil
}

// copyRelations makes the rows of the relations that are left.
func (t *Takeover) copyRelations(ctx context.Context, s *stepState) error {
	text := `INSERT INTO IMRelationShip (id, smallId, bigId, status, created, updated)
		SELECT r.id, r.smallId, r.bigId, COALESCE(o.status, 0), COALESCE(o.created, ?), COALESCE(o.updated, ?)
		FROM tt_takeover_relation r LEFT JOIN ` + t.source("IMRelationShip") + ` o ON o.id = r.id
		WHERE r.relation = r.id AND r.id > ? AND r.id <= ?`
	err := t.chunks(ctx, s, "tt_takeover_relation", "id", rowsPerChunk, func(tx *sql.Tx, c chunk) (int64, error) {
		return exec(ctx, tx, text, t.now(), t.now(), c.after, c.last)
	})
	if err != nil {
		return err
	}
	// An id that was merged away is not given out again: the way back needs it.
	free, err := number(ctx, t.db, "SELECT COALESCE(MAX(id), 0) + 1 FROM tt_takeover_relation")
	if err != nil {
		return err
	}
	_, err = exec(ctx, t.db, fmt.Sprintf("ALTER TABLE IMRelationShip AUTO_INCREMENT = %d", free))
	return err
}

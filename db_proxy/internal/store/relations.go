package store

import (
	"cmp"
	"context"
	"slices"

	"teamtalk/internal/im"
)

type relation struct {
	id     im.RelationID
	pair   im.Pair
	status uint8
}

func scanRelation(r scanner) (v relation, err error) {
	return v, r.Scan(&v.id, &v.pair.Small, &v.pair.Big, &v.status)
}

// Relations looks up the relations of pairs; a pair without one is absent.
func (s *Store) Relations(ctx context.Context, pairs []im.Pair) (map[im.Pair]im.RelationID, error) {
	found := make(map[im.Pair]im.RelationID, len(pairs))
	pairs = realPairs(pairs)
	if len(pairs) == 0 {
		return found, nil
	}
	err := s.read(ctx, "relations", s.exact, func(q querier) error {
		all, err := findRelations(ctx, q, pairs)
		for _, r := range all {
			if r.status == 0 {
				found[r.pair] = r.id
			}
		}
		return err
	})
	return found, err
}

// EnsureRelations returns the relations of pairs and makes those that are
// missing; a deleted one is revived. However many callers race, a pair has one
// id. A pair that cannot have a relation (user 0, or twice the same user) is
// absent.
func (s *Store) EnsureRelations(ctx context.Context, pairs []im.Pair) (map[im.Pair]im.RelationID, error) {
	pairs = realPairs(pairs)
	found := make(map[im.Pair]im.RelationID, len(pairs))
	if len(pairs) == 0 {
		return found, nil
	}
	var missing, dead []im.Pair
	err := s.read(ctx, "relations", s.exact, func(q querier) error {
		all, err := findRelations(ctx, q, pairs)
		clear(found)
		dead = dead[:0]
		for _, r := range all {
			found[r.pair] = r.id
			if r.status != 0 {
				dead = append(dead, r.pair)
			}
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	for _, p := range pairs {
		if found[p] == 0 {
			missing = append(missing, p)
		}
	}
	if len(missing)+len(dead) == 0 {
		return found, nil
	}
	return found, s.makeRelations(ctx, missing, dead, found)
}

func (s *Store) makeRelations(ctx context.Context, missing, dead []im.Pair, found map[im.Pair]im.RelationID) error {
	now := uint64(s.now())
	err := s.update(ctx, "make_relations", func(q querier) error {
		for part := range slices.Chunk(missing, 1000) {
			st := q.stmt("INSERT IGNORE INTO IMRelationShip (smallId, bigId, status, created, updated) VALUES ")
			for _, p := range part {
				st.row(uint64(p.Small)).col(uint64(p.Big)).col(0).col(now).col(now).end()
			}
			if err := q.run(ctx, st); err != nil {
				return err
			}
		}
		for part := range slices.Chunk(dead, maxArms) {
			st := q.stmt("UPDATE IMRelationShip SET status = 0, updated = ").num(now).add(" WHERE ")
			if err := q.run(ctx, anyPair(st, part)); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	// Read after the commit: what another caller inserted first is visible now.
	return s.read(ctx, "relations", s.exact, func(q querier) error {
		all, err := findRelations(ctx, q, missing)
		for _, r := range all {
			found[r.pair] = r.id
		}
		return err
	})
}

func findRelations(ctx context.Context, q querier, pairs []im.Pair) ([]relation, error) {
	var all []relation
	for part := range slices.Chunk(pairs, maxArms) {
		st := q.stmt("SELECT id, smallId, bigId, status FROM IMRelationShip WHERE ")
		some, err := listStmt(ctx, q, scanRelation, anyPair(st, part))
		if err != nil {
			return nil, err
		}
		all = append(all, some...)
	}
	return all, nil
}

// anyPair appends the condition for at most maxArms pairs.
func anyPair(st *stmt, pairs []im.Pair) *stmt {
	for i, p := range pairs {
		if i > 0 {
			st.add(" OR ")
		}
		st.add("(smallId=").num(uint64(p.Small)).add(" AND bigId=").num(uint64(p.Big)).add(")")
	}
	return st
}

// realPairs returns the pairs of two real users, sorted and without
// duplicates; sorted inserts do not deadlock each other.
func realPairs(pairs []im.Pair) []im.Pair {
	out := make([]im.Pair, 0, len(pairs))
	for _, p := range pairs {
		if p.Small != 0 && p.Big != 0 && p.Small != p.Big {
			out = append(out, im.PairOf(p.Small, p.Big))
		}
	}
	slices.SortFunc(out, func(a, b im.Pair) int {
		return cmp.Or(cmp.Compare(a.Small, b.Small), cmp.Compare(a.Big, b.Big))
	})
	return slices.Compact(out)
}

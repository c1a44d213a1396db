package store

import (
	"context"

	"teamtalk/internal/im"
)

// searchPage is how many conversations are looked at by one query.
const searchPage = 1000

// Search looks in every conversation of a user, or of everybody with user 0,
// for messages that were sent under the operation id which op gives for the
// conversation, and returns at most limit of them. It takes a while: it is for
// operators. Those whom a back end let write to groups that they never were in
// are not looked for.
func (s *Store) Search(
	ctx context.Context, user im.UserID, op func(im.Conversation) im.OperationID, limit int,
) (all []Placed, err error) {
	for _, next := range []func(context.Context, im.UserID, uint64) (page, error){s.pairsPage, s.membersPage} {
		for after := uint64(0); len(all) < limit; {
			p, err := next(ctx, user, after)
			if err != nil {
				return nil, err
			}
			found, err := s.sentOn(ctx, p, op)
			if err != nil {
				return nil, err
			}
			all = append(all, found...)
			if after = p.last; p.rows < searchPage {
				break
			}
		}
	}
	return all[:min(len(all), limit)], nil
}

// page is who may have sent something to which conversations.
type page struct {
	ops  []Operation // without ids
	rows int
	last uint64 // the id of the last row
}

// sentOn finds the messages of a page under their operation ids.
func (s *Store) sentOn(
	ctx context.Context, p page, op func(im.Conversation) im.OperationID,
) (all []Placed, err error) {
	for i := range p.ops {
		p.ops[i].ID = op(p.ops[i].Conv)
	}
	found, err := s.FindOperations(ctx, p.ops)
	if err != nil {
		return nil, err
	}
	for _, o := range p.ops {
		if id := found[o]; id != 0 {
			all = append(all, Placed{ConvRef: ConvRef{o.Conv, o.Relation}, ID: id, From: o.From})
		}
	}
	return all, nil
}

func (s *Store) pairsPage(ctx context.Context, user im.UserID, after uint64) (p page, err error) {
	const text = `SELECT id, smallId, bigId FROM IMRelationShip
		WHERE id > ? AND (? = 0 OR smallId = ? OR bigId = ?) ORDER BY id LIMIT ?`
	type row struct {
		id         uint64
		small, big im.UserID
	}
	scan := func(r scanner) (v row, err error) { return v, r.Scan(&v.id, &v.small, &v.big) }
	err = s.read(ctx, "search_pairs", s.exact, func(q querier) error {
		rows, err := list(ctx, q, scan, text, after, user, user, user, searchPage)
		p = page{rows: len(rows)}
		for _, r := range rows {
			p.last = r.id
			for _, from := range []im.UserID{r.small, r.big} {
				if user == 0 || user == from {
					p.ops = append(p.ops, Operation{Conv: im.SingleOf(r.small, r.big), Relation: im.RelationID(r.id), From: from})
				}
			}
		}
		return err
	})
	return p, err
}

func (s *Store) membersPage(ctx context.Context, user im.UserID, after uint64) (p page, err error) {
	const text = `SELECT id, groupId, userId FROM IMGroupMember
		WHERE id > ? AND (? = 0 OR userId = ?) ORDER BY id LIMIT ?`
	scan := func(r scanner) (o Operation, err error) {
		var group im.GroupID
		err = r.Scan(&p.last, &group, &o.From)
		o.Conv = im.GroupOf(group)
		return o, err
	}
	err = s.read(ctx, "search_members", s.exact, func(q querier) error {
		ops, err := list(ctx, q, scan, text, after, user, user, searchPage)
		p.ops, p.rows = ops, len(ops)
		return err
	})
	return p, err
}

package store

import (
	"context"
	"slices"

	"teamtalk/internal/im"
)

// LastMessages returns the newest stored message of each conversation, hidden
// ones included, because it numbers what comes next; a conversation without
// messages has the zero Last.
func (s *Store) LastMessages(ctx context.Context, refs []ConvRef) (last map[im.Conversation]Last, err error) {
	if len(refs) == 0 {
		return map[im.Conversation]Last{}, nil
	}
	err = s.read(ctx, "last_messages", s.exact, func(q querier) error {
		last, err = lastMessages(ctx, q, refs)
		return err
	})
	return last, err
}

func lastMessages(ctx context.Context, q querier, refs []ConvRef) (map[im.Conversation]Last, error) {
	type row struct {
		keyed
		last Last
	}
	scan := func(r scanner) (v row, err error) {
		return v, r.Scan(&v.kind, &v.key, &v.last.ID, &v.last.Created)
	}
	conv, last := index(refs), make(map[im.Conversation]Last, len(refs))
	for _, r := range refs {
		last[r.Conv] = Last{}
	}
	arms := byTable(refs, 1000, self)
	if len(arms) == 0 {
		return last, nil
	}
	rows, err := listStmt(ctx, q, scan, union(q, arms, func(st *stmt, a arm[ConvRef]) {
		newest(st, a, "m.created", "")
	}))
	for _, r := range rows {
		last[conv[r.keyed]] = r.last
	}
	return last, err
}

// newest appends a query for the newest message that meets filter in each
// conversation of an arm: columns kind, key, msgId and more. It goes from the
// owner's row to the last entry of the key, one step backwards from its end,
// however long the conversation is.
func newest(s *stmt, a arm[ConvRef], more, filter string) {
	s.add("SELECT /*! STRAIGHT_JOIN */ ").num(uint64(a.kind)).add(" AS kind, o.id AS k, m.msgId, ").add(more).
		add(" FROM ").add(a.owner).add(" o CROSS JOIN ").table(a.table, a.shard).add(" m ON m.").add(a.key).
		add(" = o.id AND m.msgId = (SELECT x.msgId FROM ").table(a.table, a.shard).add(" x WHERE x.").add(a.key).
		add(" = o.id").add(filter).add(" ORDER BY x.msgId DESC LIMIT 1) WHERE o.id IN (")
	for i, r := range a.of {
		if i > 0 {
			s.add(",")
		}
		s.num(uint64(r.key()))
	}
	s.add(")")
}

// FindOperations returns the message ids under which operations were stored;
// one that was not is absent. The database takes an operation id once of each
// sender in each message table: one that its sender used in another
// conversation there is found with the id 0. Commit refuses it as duplicate,
// and always will.
func (s *Store) FindOperations(ctx context.Context, ops []Operation) (map[Operation]im.MsgID, error) {
	type place struct { // what the database holds once
		kind  im.Kind
		shard uint32
		from  im.UserID
		id    im.OperationID
	}
	type row struct {
		place
		key uint32
		msg im.MsgID
	}
	scan := func(r scanner) (v row, err error) {
		var id []byte
		err = r.Scan(&v.kind, &v.key, &v.from, &v.msg, &id)
		copy(v.id[:], id)
		v.shard = v.key % im.Shards
		return v, err
	}
	ref := func(o Operation) ConvRef { return ConvRef{o.Conv, o.Relation} }
	stored := make(map[place]row)
	for part := range slices.Chunk(byTable(ops, maxArms, ref), 2*im.Shards) {
		err := s.read(ctx, "find_operations", s.exact, func(q querier) error {
			rows, err := listStmt(ctx, q, scan, union(q, part, operationArm))
			for _, r := range rows {
				stored[r.place] = r
			}
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	found := make(map[Operation]im.MsgID)
	for _, o := range ops {
		key := ref(o).key()
		switch r, ok := stored[place{o.Conv.Kind, key % im.Shards, o.From, o.ID}]; {
		case ok && r.key == key:
			found[o] = r.msg
		case ok:
			found[o] = 0
		}
	}
	return found, nil
}

func operationArm(s *stmt, a arm[Operation]) {
	s.add("SELECT ").num(uint64(a.kind)).add(" AS kind, ").add(a.key).add(", ").add(a.sender).
		add(", msgId, opId FROM ").table(a.table, a.shard).add(" WHERE ")
	for i, o := range a.of {
		if i > 0 {
			s.add(" OR ")
		}
		s.add("(").add(a.sender).add("=").num(uint64(o.From)).add(" AND opId=").op(o.ID).add(")")
	}
}

package store

import (
	"context"
	"slices"

	"teamtalk/internal/im"
)

// What operators ask: one message with all that is known of its way, and what
// recounting needs of many users at once.

// Traced is a row of a message table, hidden ones included.
type Traced struct {
	Message        // without its content
	Status  uint8  // 0: shown to clients
	Updated uint32 // Unix seconds
}

// MessageAt returns one message of a conversation; im.NotFound if there is
// none of that id.
func (s *Store) MessageAt(ctx context.Context, ref ConvRef, id im.MsgID) (m Traced, err error) {
	missing := im.Errorf(im.NotFound, "store: no message %d in %v", id, ref.Conv)
	if ref.key() == 0 {
		return m, missing
	}
	f := familyOf(ref.Conv.Kind)
	scan := func(r scanner) (m Traced, err error) {
		var op []byte
		m.Conv, m.Relation, m.ID = ref.Conv, ref.Relation, id
		err = r.Scan(&m.From, &m.To, &m.Type, &m.Status, &m.Created, &m.Updated, &op)
		copy(m.Op[:], op)
		return m, err
	}
	err = s.read(ctx, "message_at", s.exact, func(q querier) error {
		st := q.stmt("SELECT ").add(f.sender).add(", ").add(f.to).add(", type, status, created, updated, opId FROM ").
			table(f.table, ref.key()%im.Shards).add(" WHERE ").add(f.key).add(" = ").num(uint64(ref.key())).
			add(" AND msgId = ").num(uint64(id))
		all, err := listStmt(ctx, q, scan, st)
		if err != nil {
			return err
		}
		if len(all) == 0 {
			return missing
		}
		m = all[0]
		return nil
	})
	return m, err
}

// Placed is where a message stands.
type Placed struct {
	ConvRef
	ID   im.MsgID
	From im.UserID
}

// ByOperation returns the messages that were stored under an operation id, of
// which each sender can have one in a table. Every account is looked at in every table.
func (s *Store) ByOperation(ctx context.Context, op im.OperationID) (all []Placed, err error) {
	scanOf := func(kind im.Kind) func(scanner) (Placed, error) {
		return func(r scanner) (p Placed, err error) {
			var key uint32
			var to im.UserID
			if err := r.Scan(&key, &p.From, &to, &p.ID); err != nil {
				return p, err
			}
			if kind == im.Group {
				p.Conv = im.GroupOf(im.GroupID(key))
				return p, nil
			}
			p.Conv, p.Relation = im.SingleOf(p.From, to), im.RelationID(key)
			return p, nil
		}
	}
	err = s.read(ctx, "by_operation", s.exact, func(q querier) error {
		all = nil
		for _, f := range []*family{&singles, &groups} {
			st := q.stmt("")
			for shard := range uint32(im.Shards) {
				if shard > 0 {
					st.add(" UNION ALL ")
				}
				st.add("SELECT /*! STRAIGHT_JOIN */ m.").add(f.key).add(", m.").add(f.sender).add(", ").add(f.to).
					add(", m.msgId FROM IMUser u JOIN ").
					table(f.table, shard).add(" m ON m.").add(f.sender).add(" = u.id AND m.opId = ").op(op)
			}
			some, err := listStmt(ctx, q, scanOf(f.kind), st)
			if err != nil {
				return err
			}
			all = append(all, some...)
		}
		return nil
	})
	return all, err
}

// Position is how far one user, or one of his terminals, has come in a
// conversation.
type Position struct {
	User     im.UserID
	Terminal string // of a delivery cursor; "" for what was read
	Upto     im.MsgID
	Updated  uint32 // Unix seconds; when it last moved
}

// The positions of a pair and of the members of a group.
const (
	singleRead = `SELECT userId, '', msgId, updated FROM IMReadCursor
		WHERE type = 1 AND ((userId = ? AND peerId = ?) OR (userId = ? AND peerId = ?)) ORDER BY userId`
	singleDelivered = `SELECT userId, terminal, msgId, updated FROM IMDeliveryCursor
		WHERE type = 1 AND ((userId = ? AND peerId = ?) OR (userId = ? AND peerId = ?)) ORDER BY userId, terminal`
	groupRead = `SELECT c.userId, '', c.msgId, c.updated FROM IMGroupMember m
		JOIN IMReadCursor c ON c.userId = m.userId AND c.type = 2 AND c.peerId = m.groupId
		WHERE m.groupId = ? AND m.status = 0 ORDER BY c.userId`
	groupDelivered = `SELECT c.userId, c.terminal, c.msgId, c.updated FROM IMGroupMember m
		JOIN IMDeliveryCursor c ON c.userId = m.userId AND c.type = 2 AND c.peerId = m.groupId
		WHERE m.groupId = ? AND m.status = 0 ORDER BY c.userId, c.terminal`
)

// Positions returns how far everybody in a conversation has read, and how far
// their terminals have confirmed what they were sent.
func (s *Store) Positions(ctx context.Context, conv im.Conversation) (read, delivered []Position, err error) {
	scan := func(r scanner) (p Position, err error) {
		return p, r.Scan(&p.User, &p.Terminal, &p.Upto, &p.Updated)
	}
	small, big := conv.Pair.Small, conv.Pair.Big
	readText, deliveredText, args := singleRead, singleDelivered, []any{small, big, big, small}
	if conv.Kind == im.Group {
		readText, deliveredText, args = groupRead, groupDelivered, []any{conv.Group}
	}
	err = s.read(ctx, "positions", s.exact, func(q querier) error {
		if read, err = list(ctx, q, scan, readText, args...); err != nil {
			return err
		}
		delivered, err = list(ctx, q, scan, deliveredText, args...)
		return err
	})
	return read, delivered, err
}

// Memberships returns the groups that exist of each user.
func (s *Store) Memberships(ctx context.Context, users []im.UserID) (map[im.UserID][]im.GroupID, error) {
	type row struct {
		user  im.UserID
		group im.GroupID
	}
	scan := func(r scanner) (v row, err error) { return v, r.Scan(&v.user, &v.group) }
	of := make(map[im.UserID][]im.GroupID)
	for part := range slices.Chunk(users, insertRows) {
		err := s.read(ctx, "memberships", s.exact, func(q querier) error {
			st := nums(q.stmt(`SELECT m.userId, m.groupId FROM IMGroupMember m
				JOIN IMGroup g ON g.id = m.groupId AND g.status = 0 WHERE m.status = 0 AND m.userId IN `), part)
			rows, err := listStmt(ctx, q, scan, st.add(" ORDER BY m.userId, m.groupId"))
			for _, r := range rows {
				of[r.user] = append(of[r.user], r.group)
			}
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	return of, nil
}

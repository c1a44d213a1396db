package store

import (
	"context"

	"teamtalk/internal/im"
)

// Sessions returns at most limit lines of a user's recent list with activity
// after since, newest first; removed ones are not among them.
func (s *Store) Sessions(ctx context.Context, user im.UserID, since uint32, limit int) (all []Session, err error) {
	scan := func(r scanner) (v Session, err error) {
		v.User = user
		return v, r.Scan(&v.Peer, &v.Kind, &v.Updated, &v.Relation)
	}
	err = s.read(ctx, "sessions", s.exact, func(q querier) error {
		all, err = list(ctx, q, scan, `SELECT s.peerId, s.type, s.updated, COALESCE(r.id, 0)
			FROM IMRecentSession s
			LEFT JOIN IMRelationShip r ON s.type = 1
				AND r.smallId = LEAST(s.userId, s.peerId) AND r.bigId = GREATEST(s.userId, s.peerId)
			WHERE s.userId = ? AND s.status = 0 AND s.updated > ?
			ORDER BY s.updated DESC, s.id DESC LIMIT ?`, user, since, max(limit, 0))
		return err
	})
	return all, err
}

// RemoveSession takes a line off the recent list and marks the conversation
// read; the next message brings it back. found is false when the line was not
// there.
func (s *Store) RemoveSession(ctx context.Context, k SessionKey) (found bool, err error) {
	err = s.update(ctx, "remove_session", func(q querier) error {
		if _, err := lockLog(ctx, q); err != nil {
			return err
		}
		n, err := q.exec(ctx, `UPDATE IMRecentSession SET status = 1, updated = ?
			WHERE userId = ? AND peerId = ? AND type = ? AND status = 0`, s.now(), k.User, k.Peer, k.Kind)
		if found = n > 0; err != nil || !found {
			return err
		}
		ref, err := refOf(ctx, q, k)
		if err != nil {
			return err
		}
		if err := s.readAll(ctx, q, ref, k.User); err != nil {
			return err
		}
		return s.logChanges(ctx, q, SessionRemoved, uint32(k.User))
	})
	return found, err
}

// refOf finds the messages of a session; the key of a pair without relation
// is 0.
func refOf(ctx context.Context, q querier, k SessionKey) (ConvRef, error) {
	ref := ConvRef{Conv: im.ConversationOf(k.User, k.Kind, k.Peer)}
	if k.Kind == im.Group {
		return ref, nil
	}
	id, err := number(ctx, q, "SELECT id FROM IMRelationShip WHERE smallId = ? AND bigId = ?", ref.Conv.Pair.Small, ref.Conv.Pair.Big)
	ref.Relation = im.RelationID(id)
	return ref, err
}

// readAll moves the cursors of users to the newest message of a conversation.
func (s *Store) readAll(ctx context.Context, q querier, ref ConvRef, users ...im.UserID) error {
	if ref.key() == 0 || len(users) == 0 {
		return nil
	}
	f := familyOf(ref.Conv.Kind)
	st := q.stmt("SELECT COALESCE(MAX(msgId), 0) FROM ").table(f.table, ref.key()%im.Shards).
		add(" WHERE ").add(f.key).add(" = ").num(uint64(ref.key()))
	ids, err := listStmt(ctx, q, scanNumber, st)
	if err != nil || len(ids) == 0 || ids[0] == 0 {
		return err
	}
	cursors := make([]Cursor, len(users))
	for i, u := range users {
		cursors[i] = Cursor{SessionKey{u, ref.Conv.Kind, ref.Conv.SessionID(u)}, im.MsgID(ids[0])}
	}
	var w writes
	s.addCursors(&w, cursors)
	for _, st := range w.all {
		if err := q.run(ctx, st); err != nil {
			return err
		}
	}
	return nil
}

package store

import (
	"context"

	"teamtalk/internal/im"
)

// The recent list of a user. Pairs have a row each. A group needs none: its
// line follows from the membership and its messages, so that a message writes
// nothing per member; a row says when the user himself was active, or removed
// the line. A message after the removal brings the line back. Clocks differ
// and jump, so that times only order the list: what came before the removal,
// or before a member joined, is told by ids. Where those are not known,
// because an original wrote the row, the times decide.
const (
	recentSingles = `SELECT s.peerId AS peerId, 1 AS type, s.updated AS updated, COALESCE(r.id, 0) AS relation,
			0 AS removed
		FROM IMRecentSession s
		LEFT JOIN IMRelationShip r ON r.smallId = LEAST(s.userId, s.peerId) AND r.bigId = GREATEST(s.userId, s.peerId)
		WHERE s.userId = ? AND s.type = 1 AND s.status = 0 AND s.updated > ?`
	recentGroups = `SELECT m.groupId, 2,
			GREATEST(COALESCE(s.updated, 0),
				CASE WHEN m.joinedId IS NOT NULL OR g.lastChated >= m.joined THEN g.lastChated ELSE 0 END), 0,
			CASE WHEN s.status = 0 THEN 0 ELSE GREATEST(COALESCE(s.removedId, 0), COALESCE(m.joinedId, 0)) END
		FROM IMGroupMember m
		JOIN IMGroup g ON g.id = m.groupId AND g.status = 0
		LEFT JOIN IMRecentSession s ON s.userId = m.userId AND s.peerId = m.groupId AND s.type = 2
		WHERE m.userId = ? AND m.status = 0 AND (s.status = 0
			OR (g.lastChated > 0 AND (s.removedId IS NOT NULL OR (s.status IS NULL AND m.joinedId IS NOT NULL)))
			OR (g.lastChated >= m.joined AND g.lastChated > COALESCE(s.updated, 0)))`
)

// line is a line of the recent list that may be shown.
type line struct {
	Session
	removed im.MsgID // of a group: shown only for a message behind it
}

func scanLine(user im.UserID) func(scanner) (line, error) {
	return func(r scanner) (v line, err error) {
		v.User = user
		return v, r.Scan(&v.Peer, &v.Kind, &v.Updated, &v.Relation, &v.removed)
	}
}

// shown returns the lines that were not removed, or brought back since.
func shown(ctx context.Context, q querier, lines []line) ([]Session, error) {
	var refs []ConvRef
	for _, l := range lines {
		if l.removed > 0 {
			refs = append(refs, ConvRef{Conv: im.GroupOf(im.GroupID(l.Peer))})
		}
	}
	newest, err := lastMessages(ctx, q, refs)
	if err != nil {
		return nil, err
	}
	all := make([]Session, 0, len(lines))
	for _, l := range lines {
		if l.removed == 0 || newest[im.GroupOf(im.GroupID(l.Peer))].ID > l.removed {
			all = append(all, l.Session)
		}
	}
	return all, nil
}

// Sessions returns at most limit lines of a user's recent list with activity
// after since, newest first; removed ones are not among them.
func (s *Store) Sessions(ctx context.Context, user im.UserID, since uint32, limit int) (all []Session, err error) {
	const page = "SELECT peerId, type, updated, relation, removed FROM (" + recentSingles + " UNION ALL " + recentGroups +
		") AS recent WHERE updated > ? ORDER BY updated DESC, type, peerId LIMIT ? OFFSET ?"
	err = s.read(ctx, "sessions", s.exact, func(q querier) error {
		all = nil
		for skip := 0; len(all) < limit; skip += limit { // removed lines leave room for others
			lines, err := list(ctx, q, scanLine(user), page, user, since, user, since, limit, skip)
			if err != nil {
				return err
			}
			some, err := shown(ctx, q, lines)
			if err != nil {
				return err
			}
			if all = append(all, some...); len(lines) < limit {
				break
			}
		}
		all = all[:min(len(all), max(limit, 0))]
		return nil
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
		ref, err := refOf(ctx, q, k)
		if err != nil {
			return err
		}
		newest, err := newestID(ctx, q, ref)
		if err != nil {
			return err
		}
		if found, err = s.hide(ctx, q, k, newest); err != nil || !found {
			return err
		}
		if err := s.readUpto(ctx, q, ref.Conv, newest, k.User); err != nil {
			return err
		}
		return s.logChanges(ctx, q, SessionRemoved, uint32(k.User))
	})
	return found, err
}

// hide sets the row of a line to removed, creating it for a group that had
// none, and reports whether the line was shown.
func (s *Store) hide(ctx context.Context, q querier, k SessionKey, newest im.MsgID) (bool, error) {
	if k.Kind == im.Single {
		n, err := q.exec(ctx, `UPDATE IMRecentSession SET status = 1, updated = ?
			WHERE userId = ? AND peerId = ? AND type = 1 AND status = 0`, s.now(), k.User, k.Peer)
		return n > 0, err
	}
	lines, err := list(ctx, q, scanLine(k.User), recentGroups+" AND m.groupId = ?", k.User, k.Peer)
	if err != nil {
		return false, err
	}
	was, err := shown(ctx, q, lines)
	if err != nil || len(was) == 0 {
		return false, err
	}
	// Not before the last message: an original goes by the time.
	at := max(s.now(), was[0].Updated)
	_, err = q.exec(ctx, `INSERT INTO IMRecentSession (userId, peerId, type, status, created, updated, removedId)
		VALUES (?, ?, 2, 1, ?, ?, ?)
		ON DUPLICATE KEY UPDATE status = 1, updated = VALUES(updated), removedId = VALUES(removedId)`,
		k.User, k.Peer, at, at, newest)
	return true, err
}

// refOf finds the messages of a session; the key of a pair without relation
// is 0.
func refOf(ctx context.Context, q querier, k SessionKey) (ConvRef, error) {
	ref := ConvRef{Conv: im.ConversationOf(k.User, k.Kind, k.Peer)}
	if k.Kind == im.Group {
		return ref, nil
	}
	id, err := number(ctx, q, "SELECT id FROM IMRelationShip WHERE smallId = ? AND bigId = ?",
		ref.Conv.Pair.Small, ref.Conv.Pair.Big)
	ref.Relation = im.RelationID(id)
	return ref, err
}

// newestID returns the id of the newest message of a conversation, 0 if it has
// none.
func newestID(ctx context.Context, q querier, ref ConvRef) (im.MsgID, error) {
	if ref.key() == 0 {
		return 0, nil
	}
	f := familyOf(ref.Conv.Kind)
	st := q.stmt("SELECT COALESCE(MAX(msgId), 0) FROM ").table(f.table, ref.key()%im.Shards).
		add(" WHERE ").add(f.key).add(" = ").num(uint64(ref.key()))
	ids, err := listStmt(ctx, q, scanNumber, st)
	if err != nil || len(ids) == 0 {
		return 0, err
	}
	return im.MsgID(ids[0]), nil
}

// readUpto moves the cursors of users in a conversation.
func (s *Store) readUpto(
	ctx context.Context, q querier, conv im.Conversation, upto im.MsgID, users ...im.UserID,
) error {
	if upto == 0 {
		return nil
	}
	cursors := make([]Cursor, len(users))
	for i, u := range users {
		cursors[i] = Cursor{SessionKey{u, conv.Kind, conv.SessionID(u)}, upto}
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

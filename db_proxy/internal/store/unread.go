package store

import (
	"context"
	"slices"

	"teamtalk/internal/im"
)

// Cursors returns every read cursor of a user, singles first, by peer.
func (s *Store) Cursors(ctx context.Context, user im.UserID) (all []Cursor, err error) {
	scan := func(r scanner) (c Cursor, err error) {
		c.User = user
		return c, r.Scan(&c.Kind, &c.Peer, &c.Read)
	}
	const cursors = "SELECT type, peerId, msgId FROM IMReadCursor WHERE userId = ? ORDER BY type, peerId"
	err = s.read(ctx, "cursors", s.exact, func(q querier) error {
		all, err = list(ctx, q, scan, cursors, user)
		return err
	})
	return all, err
}

// followed is a conversation in which a user can have unread messages.
type followed struct {
	SessionKey
	ref    ConvRef
	read   im.MsgID
	joined uint32
}

// Where the part of a group begins that member m may see, as in Since.
const (
	sinceID   = "COALESCE(m.joinedId, 0)"
	sinceTime = "CASE WHEN m.joinedId IS NULL THEN m.joined ELSE 0 END"
)

// The conversations a user follows: pairs he has a session with, shown or
// removed, and groups he is a member of.
const (
	followedSingles = `SELECT s.peerId, r.id, COALESCE(c.msgId, 0), 0
		FROM IMRecentSession s
		JOIN IMRelationShip r ON r.smallId = LEAST(s.userId, s.peerId) AND r.bigId = GREATEST(s.userId, s.peerId)
		LEFT JOIN IMReadCursor c ON c.userId = s.userId AND c.type = 1 AND c.peerId = s.peerId
		WHERE s.userId = ? AND s.type = 1`
	followedGroups = "SELECT m.groupId, m.groupId, GREATEST(COALESCE(c.msgId, 0), " + sinceID + "), " + sinceTime + `
		FROM IMGroupMember m
		JOIN IMGroup g ON g.id = m.groupId AND g.status = 0
		LEFT JOIN IMReadCursor c ON c.userId = m.userId AND c.type = 2 AND c.peerId = m.groupId
		WHERE m.userId = ? AND m.status = 0`
)

func scanFollowed(user im.UserID, kind im.Kind) func(scanner) (followed, error) {
	return func(r scanner) (v followed, err error) {
		var key uint32
		if err := r.Scan(&v.Peer, &key, &v.read, &v.joined); err != nil {
			return v, err
		}
		v.User, v.Kind = user, kind
		v.ref.Conv = im.ConversationOf(user, kind, v.Peer)
		if kind == im.Single {
			v.ref.Relation = im.RelationID(key)
		}
		return v, nil
	}
}

// UnreadAll counts in every conversation of a user the messages that others
// sent after his cursor and, in a group, since he joined. Conversations
// without any are left out. The order is that of the tables.
func (s *Store) UnreadAll(ctx context.Context, user im.UserID) (all []Unread, err error) {
	err = s.read(ctx, "unread_all", s.exact, func(q querier) error {
		a, err := list(ctx, q, scanFollowed(user, im.Single), followedSingles, user)
		if err != nil {
			return err
		}
		b, err := list(ctx, q, scanFollowed(user, im.Group), followedGroups, user)
		if err != nil {
			return err
		}
		all, err = countUnread(ctx, q, user, append(a, b...))
		return err
	})
	return all, err
}

// UnreadOf counts one conversation as UnreadAll does, and stops at limit: all
// says that there are no more.
func (s *Store) UnreadOf(ctx context.Context, k SessionKey, limit int) (count uint32, all bool, err error) {
	text := followedSingles + " AND s.peerId = ?"
	if k.Kind == im.Group {
		text = followedGroups + " AND m.groupId = ?"
	}
	err = s.read(ctx, "unread_of", s.exact, func(q querier) error {
		count, all = 0, true
		f, err := list(ctx, q, scanFollowed(k.User, k.Kind), text, k.User, k.Peer)
		if err != nil || len(f) == 0 {
			return err
		}
		a := byTable(f, 1, func(f followed) ConvRef { return f.ref })[0]
		st := q.stmt("SELECT COUNT(*) FROM (SELECT 1 FROM ").table(a.table, a.shard).
			add(" WHERE status = 0 AND type IN ").add(a.types).add(" AND ").
			add(a.sender).add(" <> ").num(uint64(k.User)).add(" AND ")
		f[0].after(st, a.key)
		n, err := number(ctx, q, st.add(" LIMIT ").num(uint64(limit)+1).add(") AS unread").String())
		count, all = uint32(n), n <= uint64(limit)
		return err
	})
	return count, all, err
}

// countUnread reads the messages after each cursor, all conversations in one
// statement unless they are thousands. The newest message is always among
// them when anything is unread.
func countUnread(ctx context.Context, q querier, user im.UserID, all []followed) ([]Unread, error) {
	type row struct {
		keyed
		count uint32
		last  Last
	}
	scan := func(r scanner) (v row, err error) {
		return v, r.Scan(&v.kind, &v.key, &v.count, &v.last.ID, &v.last.Created)
	}
	of := make(map[keyed]followed, len(all))
	for _, f := range all {
		of[keyed{f.Kind, f.ref.key()}] = f
	}
	var unread []Unread
	arms := byTable(all, maxArms, func(f followed) ConvRef { return f.ref })
	for part := range slices.Chunk(arms, 2*im.Shards) {
		st := union(q, part, func(st *stmt, a arm[followed]) { unreadArm(st, a, user) })
		rows, err := listStmt(ctx, q, scan, st)
		if err != nil {
			return nil, err
		}
		for _, r := range rows {
			f := of[r.keyed]
			unread = append(unread, Unread{SessionKey: f.SessionKey, Relation: f.ref.Relation, Count: r.count, Latest: r.last})
		}
	}
	return unread, nil
}

func unreadArm(st *stmt, a arm[followed], user im.UserID) {
	others := func() { st.add("COUNT(CASE WHEN ").add(a.sender).add(" <> ").num(uint64(user)).add(" THEN 1 END)") }
	st.add("SELECT ").num(uint64(a.kind)).add(" AS kind, ").add(a.key).add(", ")
	others()
	st.add(", MAX(msgId), MAX(created) FROM ").table(a.table, a.shard).
		add(" WHERE status = 0 AND type IN ").add(a.types).add(" AND (")
	for i := range a.of {
		if i > 0 {
			st.add(" OR ")
		}
		a.of[i].after(st, a.key)
	}
	st.add(") GROUP BY ").add(a.key).add(" HAVING ")
	others()
	st.add(" > 0")
}

// after is the condition for what he has not read.
func (f *followed) after(st *stmt, key string) {
	st.add(key).add("=").num(uint64(f.ref.key())).add(" AND msgId>").num(uint64(f.read))
	if f.joined > 0 {
		st.add(" AND created>=").num(uint64(f.joined))
	}
}

package takeover

import (
	"context"
	"database/sql"
	"fmt"
	"maps"
	"slices"
	"strings"

	"teamtalk/internal/im"
)

// singleCursors says of all pairs of one table that everything is read, on
// both sides.
func (t *Takeover) singleCursors(shard uint32) func(context.Context, *stepState) error {
	return func(ctx context.Context, s *stepState) error {
		table := fmt.Sprintf("IMMessage_%d", shard)
		text := fmt.Sprintf(`INSERT INTO IMReadCursor (userId, type, peerId, msgId, updated)
			SELECT IF(side.n = 0, r.smallId, r.bigId), 1, IF(side.n = 0, r.bigId, r.smallId), l.msgId, ?
			FROM (SELECT relateId, MAX(msgId) AS msgId FROM %s WHERE relateId > ? AND relateId <= ? GROUP BY relateId) AS l
			JOIN IMRelationShip r ON r.id = l.relateId JOIN (SELECT 0 AS n UNION ALL SELECT 1) AS side`, table)
		return t.chunks(ctx, s, table, "relateId", rowsPerChunk, func(tx *sql.Tx, c chunk) (int64, error) {
			_, err := exec(ctx, tx, text, t.now(), c.after, c.last)
			return 0, err
		})
	}
}

// pairCount is how many messages of a peer a user has not read.
type pairCount struct {
	user, peer, count uint32
	relation          uint32
}

// singleUnread moves the positions of those pairs back that Redis counts
// unread messages of, by just so many.
func (t *Takeover) singleUnread(ctx context.Context, s *stepState) error {
	const usersPerChunk = 1000
	return t.chunks(ctx, s, "IMUser", "id", usersPerChunk, func(tx *sql.Tx, c chunk) (int64, error) {
		users, err := column[uint32](ctx, tx, "SELECT id FROM IMUser WHERE id > ? AND id <= ? ORDER BY id", c.after, c.last)
		if err != nil {
			return 0, err
		}
		all, err := t.pairCounts(ctx, users)
		if err != nil {
			return 0, err
		}
		for part := range slices.Chunk(all, 100) {
			if err := t.moveBack(ctx, tx, s, part); err != nil {
				return 0, err
			}
		}
		return 0, nil
	})
}

// pairCounts reads what Redis counts for users.
func (t *Takeover) pairCounts(ctx context.Context, users []uint32) (all []pairCount, err error) {
	found, err := hashes(ctx, t.redis.unread, named("unread_%d", users))
	if err != nil {
		return nil, err
	}
	for i, fields := range found {
		for _, field := range slices.Sorted(maps.Keys(fields)) {
			peer, ok1 := parse(field)
			n, ok2 := parse(fields[field])
			if ok1 && ok2 && n > 0 && peer != 0 {
				all = append(all, pairCount{user: users[i], peer: peer, count: n})
			}
		}
	}
	return all, nil
}

// moveBack sets the positions of pairs.
func (t *Takeover) moveBack(ctx context.Context, tx *sql.Tx, s *stepState, all []pairCount) error {
	if err := relationsOf(ctx, tx, all); err != nil {
		return err
	}
	positions, err := positionsOf(ctx, tx, all)
	if err != nil {
		return err
	}
	var found []Finding
	for i, p := range all {
		at, stored := positions[i].at, positions[i].stored
		if stored < p.count {
			found = append(found, lowered(p.user, 1, p.peer, p.count, stored))
		}
		if stored == 0 {
			continue
		}
		if err := setCursor(ctx, tx, p.user, im.Single, p.peer, at, t.now()); err != nil {
			return err
		}
		n, err := exec(ctx, tx, `INSERT IGNORE INTO IMRecentSession (userId, peerId, type, status, created, updated)
			SELECT ?, ?, 1, 0, MAX(created), MAX(created) FROM `+fmt.Sprintf("IMMessage_%d", p.relation%im.Shards)+
			" WHERE relateId = ?", p.user, p.peer, p.relation)
		if err != nil {
			return err
		}
		if n > 0 {
			found = append(found, Finding{SessionMade, fmt.Sprintf("user %d", p.user), "with " + peerName(1, p.peer), 1})
		}
	}
	return note(ctx, tx, s.name, found)
}

func lowered(user, kind, peer, count, stored uint32) Finding {
	return Finding{
		UnreadLowered, fmt.Sprintf("user %d", user),
		fmt.Sprintf("%d unread of %s, and %d that he may read", count, peerName(kind, peer), stored), uint64(count - stored),
	}
}

func setCursor(ctx context.Context, q queryer, user uint32, kind im.Kind, peer, at, now uint32) error {
	_, err := exec(ctx, q, `INSERT INTO IMReadCursor (userId, type, peerId, msgId, updated) VALUES (?, ?, ?, ?, ?)
		ON DUPLICATE KEY UPDATE msgId = VALUES(msgId)`, user, kind, peer, at, now)
	return err
}

// relationsOf fills in the relations of pairs, 0 where there is none.
func relationsOf(ctx context.Context, q queryer, all []pairCount) error {
	var where []string
	var args []any
	for _, p := range all {
		where = append(where, "(smallId = ? AND bigId = ?)")
		args = append(args, min(p.user, p.peer), max(p.user, p.peer))
	}
	found, err := rows(ctx, q, scanRelation,
		"SELECT id, smallId, bigId FROM IMRelationShip WHERE "+strings.Join(where, " OR "), args...)
	if err != nil {
		return err
	}
	for i := range all {
		for _, r := range found {
			if r.pair == im.PairOf(im.UserID(all[i].user), im.UserID(all[i].peer)) {
				all[i].relation = r.id
			}
		}
	}
	return nil
}

// position is where a user reads on, and how many messages come after it.
type position struct{ at, stored uint32 }

// positionsOf finds for each pair the position before its last count messages
// of the peer, or of as many as there are.
func positionsOf(ctx context.Context, q queryer, all []pairCount) ([]position, error) {
	var parts []string
	var args []any
	for i, p := range all {
		parts = append(parts, fmt.Sprintf(`SELECT %d, COALESCE(MIN(msgId), 1) - 1, COUNT(*) FROM
			(SELECT msgId FROM IMMessage_%d WHERE relateId = ? AND fromId = ? AND status = 0 AND type IN (1, 2)
			ORDER BY msgId DESC LIMIT %d) AS last%d`, i, p.relation%im.Shards, p.count, i))
		args = append(args, p.relation, p.peer)
	}
	positions := make([]position, len(all))
	_, err := rows(ctx, q, func(r scanner) (struct{}, error) {
		var i int
		var p position
		err := r.Scan(&i, &p.at, &p.stored)
		if err == nil {
			positions[i] = p
		}
		return struct{}{}, err
	}, strings.Join(parts, " UNION ALL "), args...)
	return positions, err
}

// groupCursors sets the positions of all members of all groups.
func (t *Takeover) groupCursors(ctx context.Context, s *stepState) error {
	return t.chunks(ctx, s, "IMGroup", "id", groupsPerChunk, func(tx *sql.Tx, c chunk) (int64, error) {
		groups, err := column[uint32](ctx, tx, "SELECT id FROM IMGroup WHERE id > ? AND id <= ? ORDER BY id", c.after, c.last)
		if err != nil {
			return 0, err
		}
		totals, err := counts(ctx, t.redis.unread, named("%d_im_group_msg", groups))
		if err != nil {
			return 0, err
		}
		for i, group := range groups {
			found, err := t.readGroup(ctx, tx, group, totals[i])
			if err != nil {
				return 0, err
			}
			if err := note(ctx, tx, s.name, found); err != nil {
				return 0, err
			}
		}
		return 0, nil
	})
}

// reader is a member, perhaps with unread messages.
type reader struct {
	user, joined, count uint32
	joinedID            uint32 // the newest message when he joined
	left                uint32 // messages still to be found
	at                  uint32
}

// readGroup sets the positions of the members of one group, and what was its
// newest message when they joined.
// Source: docs/protocol/storage.md, "Unread arithmetic for groups".
func (t *Takeover) readGroup(ctx context.Context, tx *sql.Tx, group uint32, total int64) ([]Finding, error) {
	table := fmt.Sprintf("IMGroupMessage_%d", group%im.Shards)
	last, err := number(ctx, tx, "SELECT MAX(msgId) FROM "+table+" WHERE groupId = ?", group)
	if err != nil {
		return nil, err
	}
	if last == 0 {
		_, err := exec(ctx, tx, "UPDATE IMGroupMember SET joinedId = 0 WHERE groupId = ? AND status = 0", group)
		return nil, err
	}
	if _, err := exec(ctx, tx, `INSERT INTO IMReadCursor (userId, type, peerId, msgId, updated)
		SELECT userId, 2, groupId, ?, ? FROM IMGroupMember WHERE groupId = ? AND status = 0`, last, t.now(),
		group); err != nil {
		return nil, err
	}
	members, err := rows(ctx, tx, func(r scanner) (v reader, err error) { return v, r.Scan(&v.user, &v.joined) },
		"SELECT userId, joined FROM IMGroupMember WHERE groupId = ? AND status = 0 ORDER BY userId", group)
	if err != nil {
		return nil, err
	}
	if err := fillJoined(ctx, tx, table, group, uint32(last), members); err != nil || total <= 0 {
		return nil, err
	}
	names := make([]string, len(members))
	for i, m := range members {
		names[i] = fmt.Sprintf("%d_%d_im_user_group", m.user, group)
	}
	read, err := counts(ctx, t.redis.unread, names)
	if err != nil {
		return nil, err
	}
	var behind []*reader
	for i := range members {
		if n := total - max(read[i], 0); n > 0 {
			members[i].count, members[i].left = uint32(n), uint32(n)
			behind = append(behind, &members[i])
		}
	}
	if err := walkBack(ctx, tx, table, group, behind); err != nil {
		return nil, err
	}
	var found []Finding
	for _, m := range behind {
		if m.left > 0 {
			found = append(found, lowered(m.user, 2, group, m.count, m.count-m.left))
		}
		if m.left == m.count {
			continue // nothing of what Redis counts is stored
		}
		if err := setCursor(ctx, tx, m.user, im.Group, group, m.at, t.now()); err != nil {
			return nil, err
		}
	}
	return found, nil
}

// walkBack reads a group from its end until every reader has found as many
// messages of others, since he joined, as he has not read.
func walkBack(ctx context.Context, q queryer, table string, group uint32, behind []*reader) error {
	type message struct{ id, user uint32 }
	const page = 5000
	open := slices.Clone(behind)
	for before := uint32(im.MaxMsgID) + 1; len(open) > 0; {
		all, err := rows(ctx, q, func(r scanner) (m message, err error) { return m, r.Scan(&m.id, &m.user) },
			fmt.Sprintf("SELECT msgId, userId FROM %s WHERE groupId = ? AND msgId < ? AND status = 0"+
				" AND type IN (17, 18) ORDER BY msgId DESC LIMIT %d", table, page), group, before)
		if err != nil || len(all) == 0 {
			return err
		}
		for _, m := range all {
			before = m.id
			open = slices.DeleteFunc(open, func(r *reader) bool {
				if m.user != r.user && m.id > r.joinedID {
					r.left--
					r.at = m.id - 1
				}
				return r.left == 0
			})
		}
	}
	return nil
}

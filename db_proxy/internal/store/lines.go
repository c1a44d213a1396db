package store

import (
	"slices"

	"teamtalk/internal/im"
)

// Our recent list derives the line of a group from the membership; an original
// reads it from a row of IMRecentSession that its db_proxies keep for every
// member. These statements write such rows: for the originals that may run
// beside ours, or come back.

// The statement, less the condition that chooses groups g and the name of the
// message table. It writes rows for all members who see the group in their
// list, at least as new as its last message. Who joined after the last
// message, or removed the line since, is left alone.
const (
	groupLinesHead = `INSERT INTO IMRecentSession (userId, peerId, type, status, created, updated)
		SELECT m.userId, g.id, 2, 0, g.lastChated, g.lastChated
		FROM IMGroup g JOIN IMGroupMember m ON m.groupId = g.id AND m.status = 0
		LEFT JOIN IMRecentSession s ON s.userId = m.userId AND s.peerId = g.id AND s.type = 2
		WHERE g.status = 0 AND `
	groupLinesNewest = ` AND (SELECT MAX(l.msgId) FROM `
	groupLinesTail   = ` l WHERE l.groupId = g.id)
				> GREATEST(COALESCE(m.joinedId, 0), CASE WHEN s.status = 0 THEN 0 ELSE COALESCE(s.removedId, 0) END)
			AND (m.joinedId IS NOT NULL OR g.lastChated >= m.joined)
			AND (s.status IS NULL OR s.status = 0 OR s.removedId IS NOT NULL OR g.lastChated > s.updated)
		ON DUPLICATE KEY UPDATE status = 0,
			updated = GREATEST(IMRecentSession.updated, VALUES(updated))`
)

// GroupLines returns the statement that writes the lines of the groups of one
// shard, of MySQL. where is a condition on the group g and trusted.
func GroupLines(shard uint32, where string) string {
	return newStmt(newDialect(MySQL), groupLinesHead).add(where).add(groupLinesNewest).
		table(groups.table, shard).add(groupLinesTail).String()
}

// addGroupLines writes the lines of groups for originals.
func (s *Store) addGroupLines(w *writes, times map[im.GroupID]uint32) {
	shards := make(map[uint32][]im.GroupID)
	for g := range times {
		shards[uint32(g)%im.Shards] = append(shards[uint32(g)%im.Shards], g)
	}
	for shard, ids := range shards {
		slices.Sort(ids)
		st := nums(newStmt(s.dialect, groupLinesHead).add("g.id IN "), ids)
		w.all = append(w.all, st.add(groupLinesNewest).table(groups.table, shard).add(groupLinesTail))
	}
}

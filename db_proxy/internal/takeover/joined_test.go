package takeover

import (
	"fmt"
	"testing"

	"teamtalk/internal/im"
)

// wrongJoined counts the members whose joinedId is not what the messages say.
func (f fixture) wrongJoined(t *testing.T) (wrong, distinct int) {
	t.Helper()
	for k := range im.Shards {
		var n, d int
		check(t, f.db.QueryRowContext(t.Context(), fmt.Sprintf(`SELECT COALESCE(SUM(NOT b.joinedId <=> COALESCE(
				(SELECT MIN(m.msgId) - 1 FROM IMGroupMessage_%d m WHERE m.groupId = b.groupId AND m.created >= b.joined),
				(SELECT MAX(m.msgId) FROM IMGroupMessage_%d m WHERE m.groupId = b.groupId), 0)), 0),
				COUNT(DISTINCT groupId, joinedId)
			FROM IMGroupMember b WHERE b.status = 0 AND b.groupId %% %d = %d`, k, k, im.Shards, k)).Scan(&n, &d))
		wrong, distinct = wrong+n, distinct+d
	}
	return wrong, distinct
}

// joinLater spreads the join times of all members over the time in which
// their groups talked and a while after, and has them looked at again.
func (f fixture) joinLater(t *testing.T) {
	t.Helper()
	for k := range uint32(im.Shards) {
		table := fmt.Sprintf("IMGroupMessage_%d", k)
		_, err := f.db.ExecContext(t.Context(), `UPDATE IMGroupMember b JOIN
			(SELECT groupId, MIN(created) AS a, MAX(created) AS z FROM `+table+` GROUP BY groupId) AS m ON m.groupId = b.groupId
			SET b.joinedId = NULL, b.joined = m.a - 1 + (m.z - m.a + 3) * (b.userId % 11) DIV 10`)
		check(t, err)
		groups, err := column[uint32](t.Context(), f.db, "SELECT id FROM IMGroup WHERE id % ? = ?", im.Shards, k)
		check(t, err)
		for _, group := range groups {
			last, err := number(t.Context(), f.db, "SELECT COALESCE(MAX(msgId), 0) FROM "+table+" WHERE groupId = ?", group)
			check(t, err)
			members, err := rows(t.Context(), f.db, func(r scanner) (v reader, err error) { return v, r.Scan(&v.user, &v.joined) },
				"SELECT userId, joined FROM IMGroupMember WHERE groupId = ? AND status = 0", group)
			check(t, err)
			check(t, fillJoined(t.Context(), f.db, table, group, uint32(last), members))
		}
	}
}

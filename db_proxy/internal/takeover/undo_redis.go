package takeover

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/redis/go-redis/v9"

	"teamtalk/internal/im"
)

// backRedis makes the numbers and lists in Redis what the original expects of
// them: it knows nothing of read positions.
// Source: docs/protocol/storage.md §5.
func (t *Takeover) backRedis(ctx context.Context, _ *stepState) error {
	if err := t.backPairs(ctx); err != nil {
		return fmt.Errorf("unread of pairs: %w", err)
	}
	if err := t.backGroupKeys(ctx); err != nil {
		return fmt.Errorf("groups: %w", err)
	}
	return nil
}

// backPairs writes the unread counts of all users.
func (t *Takeover) backPairs(ctx context.Context) error {
	unread := map[uint32]map[uint32]uint32{}
	for k := range im.Shards {
		all, err := rows(ctx, t.db, func(r scanner) (p pairCount, err error) {
			return p, r.Scan(&p.user, &p.peer, &p.count)
		}, fmt.Sprintf(`SELECT side.userId, m.fromId, COUNT(*)
			FROM (SELECT r.id, IF(n.n = 0, r.smallId, r.bigId) AS userId, IF(n.n = 0, r.bigId, r.smallId) AS peerId
				FROM IMRelationShip r JOIN (SELECT 0 AS n UNION ALL SELECT 1) AS n WHERE r.id %% %d = %d) AS side
			LEFT JOIN IMReadCursor c ON c.userId = side.userId AND c.type = 1 AND c.peerId = side.peerId
			JOIN IMMessage_%d m ON m.relateId = side.id AND m.msgId > COALESCE(c.msgId, 0) AND m.fromId = side.peerId
				AND m.status = 0 AND m.type IN (1, 2)
			GROUP BY side.userId, m.fromId`, im.Shards, k, k))
		if err != nil {
			return err
		}
		for _, p := range all {
			if unread[p.user] == nil {
				unread[p.user] = map[uint32]uint32{}
			}
			unread[p.user][p.peer] = p.count
		}
	}
	users, err := column[uint32](ctx, t.db, "SELECT id FROM IMUser ORDER BY id")
	if err != nil {
		return err
	}
	for part := range slices.Chunk(users, pipelined) {
		if err := pipeline(ctx, t.redis.unread, func(p redis.Pipeliner) {
			for _, user := range part {
				key := fmt.Sprintf("unread_%d", user)
				p.Del(ctx, key)
				for peer, n := range unread[user] {
					p.HSet(ctx, key, peer, n)
				}
			}
		}); err != nil {
			return err
		}
	}
	return nil
}

// groupKeys is what Redis holds of one group.
type groupKeys struct {
	id, last uint32
	joined   map[uint32]uint32 // by user
	read     map[uint32]uint32 // by user: total less what he has not read
}

// backGroupKeys writes the totals, the read counts and the member lists of
// all groups that live.
func (t *Takeover) backGroupKeys(ctx context.Context) error {
	for at := int64(-1); ; {
		c, more, err := t.next(ctx, "IMGroup", "id", at, groupsPerChunk)
		if err != nil || !more {
			return err
		}
		ids, err := column[uint32](ctx, t.db, "SELECT id FROM IMGroup WHERE id > ? AND id <= ? AND status = 0", c.after,
			c.last)
		if err != nil {
			return err
		}
		for _, id := range ids {
			g, err := t.groupKeys(ctx, id)
			if err != nil {
				return err
			}
			if err := t.writeGroup(ctx, g); err != nil {
				return err
			}
		}
		at = c.last
	}
}

func (t *Takeover) groupKeys(ctx context.Context, id uint32) (groupKeys, error) {
	g := groupKeys{id: id, joined: map[uint32]uint32{}, read: map[uint32]uint32{}}
	table := fmt.Sprintf("IMGroupMessage_%d", id%im.Shards)
	last, err := number(ctx, t.db, "SELECT MAX(msgId) FROM "+table+" WHERE groupId = ?", id)
	if err != nil {
		return g, err
	}
	g.last = uint32(last)
	type member struct{ user, joined, unread uint32 }
	all, err := rows(ctx, t.db, func(r scanner) (m member, err error) { return m, r.Scan(&m.user, &m.joined, &m.unread) },
		`SELECT b.userId, b.joined, (SELECT COUNT(*) FROM `+table+` m WHERE m.groupId = b.groupId
				AND m.msgId > COALESCE(c.msgId, 0) AND m.userId <> b.userId AND m.status = 0 AND m.type IN (17, 18)
				AND m.created >= b.joined)
		FROM IMGroupMember b LEFT JOIN IMReadCursor c ON c.userId = b.userId AND c.type = 2 AND c.peerId = b.groupId
		WHERE b.groupId = ? AND b.status = 0`, id)
	if err != nil {
		return g, err
	}
	for _, m := range all {
		g.joined[m.user], g.read[m.user] = m.joined, g.last-min(g.last, m.unread)
	}
	return g, nil
}

func (t *Takeover) writeGroup(ctx context.Context, g groupKeys) error {
	if len(g.joined) > 0 {
		fields := make([]any, 0, 2*len(g.joined))
		for _, user := range slices.Sorted(maps.Keys(g.joined)) {
			fields = append(fields, user, g.joined[user])
		}
		key := fmt.Sprintf("group_member_%d", g.id)
		if _, err := t.redis.groupMember.TxPipelined(ctx, func(p redis.Pipeliner) error {
			p.Del(ctx, key)
			p.HSet(ctx, key, fields...)
			return nil
		}); err != nil {
			return im.Wrap(im.Unavailable, "write to Redis", err)
		}
	}
	if g.last == 0 {
		return nil
	}
	return pipeline(ctx, t.redis.unread, func(p redis.Pipeliner) {
		p.HSet(ctx, fmt.Sprintf("%d_im_group_msg", g.id), "count", g.last)
		for user, n := range g.read {
			p.HSet(ctx, fmt.Sprintf("%d_%d_im_user_group", user, g.id), "count", n)
		}
	})
}

package cache

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"teamtalk/db_proxy/internal/store"
	"teamtalk/internal/im"
)

// UnreadValue is one number from which unread counts are made. It is
// absolute, so writing it twice does no harm. Made by PeerUnread, GroupTotal
// or GroupRead.
type UnreadValue struct {
	key, field string
	value      uint32
	forget     bool
}

// Forgotten takes the place of a number that is not known any more: the next
// Unread that needs it reads SQL.
func (v UnreadValue) Forgotten() UnreadValue {
	v.forget = true
	return v
}

// PeerUnread is how many messages of peer the user has not read.
func PeerUnread(user, peer im.UserID, count uint32) UnreadValue {
	return UnreadValue{key: unreadKey(user), field: strconv.FormatUint(uint64(peer), 10), value: count}
}

// GroupTotal is the newest message id of a group.
func GroupTotal(group im.GroupID, newest im.MsgID) UnreadValue {
	return UnreadValue{key: groupTotalKey(group), field: countField, value: uint32(newest)}
}

// GroupRead is the read cursor of a user in a group: what comes after it, up
// to GroupTotal, is unread.
func GroupRead(user im.UserID, group im.GroupID, read im.MsgID) UnreadValue {
	return UnreadValue{key: groupReadKey(user, group), field: countField, value: uint32(read)}
}

// SetUnread replaces numbers. To be called after the commit that made them
// true, and for one conversation in the order of the commits. When Redis is
// away, what it holds is not believed until it was read from SQL again; the
// caller need not repeat the call.
func (c *Cache) SetUnread(ctx context.Context, values []UnreadValue) error {
	for part := range slices.Chunk(values, pipelineLimit) {
		owed := c.owed.take()
		cmds := make([]redis.Cmder, 0, len(part))
		err := c.unread.pipeline(ctx, func(pipe redis.Pipeliner) {
			deleteKeys(ctx, pipe, owed)
			for _, v := range part {
				if v.forget {
					cmds = append(cmds, forgetValue(ctx, pipe, v))
					continue
				}
				cmds = append(cmds, pipe.HSet(ctx, v.key, v.field, v.value))
				// A zero is not listed. It is written before it is removed
				// so that a rebuild under way notices.
				if v.value == 0 && v.field != countField {
					pipe.HDel(ctx, v.key, v.field)
				}
			}
		})
		if err != nil {
			c.owed.add(c.clock(), owed...)
			for _, v := range part {
				c.owed.add(c.clock(), v.key)
			}
			return fmt.Errorf("set unread counts: %w", err)
		}
		for i, cmd := range cmds {
			if cmd.Err() != nil { // not a hash: it goes, and is rebuilt on first need
				c.owed.add(c.clock(), part[i].key)
			}
		}
	}
	return nil
}

// forgetValue removes a number, and for a peer the mark that says that all are
// there; a rebuild under way notices.
func forgetValue(ctx context.Context, pipe redis.Pipeliner, v UnreadValue) redis.Cmder {
	if v.field == countField {
		return pipe.Unlink(ctx, v.key)
	}
	pipe.HSet(ctx, v.key, v.field, 0)
	return pipe.HDel(ctx, v.key, v.field, markField)
}

// ForgetUnread makes the next Unread of the user read SQL again for this
// session. To be called after a change that did not go through SetUnread.
func (c *Cache) ForgetUnread(ctx context.Context, k store.SessionKey) error {
	key := unreadKey(k.User)
	if k.Kind == im.Group {
		key = groupReadKey(k.User, im.GroupID(k.Peer))
	}
	err := c.unread.pipeline(ctx, func(pipe redis.Pipeliner) {
		if k.Kind == im.Group {
			pipe.Unlink(ctx, key)
			return
		}
		forgetValue(ctx, pipe, PeerUnread(k.User, im.UserID(k.Peer), 0))
	})
	if err != nil {
		c.owed.add(c.clock(), key)
		return fmt.Errorf("forget unread count: %w", err)
	}
	return nil
}

func deleteKeys(ctx context.Context, pipe redis.Pipeliner, keys []string) {
	for _, key := range keys {
		pipe.Unlink(ctx, key)
	}
}

// Count is the number of unread messages of one session.
type Count struct {
	store.SessionKey
	Count uint32
}

// Rebuild reads from SQL what is unread of one user: his single sessions with
// unread messages, and all the groups asked for, also those with none.
//
// The newest id of a group must have been read before its count, or with it:
// a message that comes between the two is then counted by whoever stores it.
type Rebuild func(ctx context.Context) ([]store.Unread, error)

// Unread returns the sessions of a user that have unread messages, single
// ones by ascending peer and then groups in the order given. What Redis does
// not know, or has not known for certain since MaxAge, comes from rebuild and
// is written back. ErrUnavailable means that Redis is away, and rebuild was
// perhaps not called; any other error is that of rebuild.
func (c *Cache) Unread(ctx context.Context, user im.UserID, groups []im.GroupID, rebuild Rebuild) ([]Count, error) {
	seen, err := c.readUnread(ctx, user, groups)
	if err != nil {
		return nil, fmt.Errorf("read unread counts: %w", err)
	}
	if seen.complete && len(seen.missing) == 0 {
		return seen.list(user, groups), nil
	}
	if !seen.complete {
		err = c.rebuildPeers(ctx, user, seen, groups, rebuild)
	} else {
		err = c.rebuildGroups(ctx, user, seen, rebuild)
	}
	if err != nil {
		return nil, fmt.Errorf("rebuild unread counts: %w", err)
	}
	return seen.list(user, groups), nil
}

// unreadSeen is what Redis holds of one user.
type unreadSeen struct {
	complete bool // peers are all of them
	peers    map[im.UserID]uint32
	groups   map[im.GroupID]uint32
	missing  []im.GroupID
}

func (s *unreadSeen) list(user im.UserID, groups []im.GroupID) []Count {
	counts := make([]Count, 0, len(s.peers)+len(s.groups))
	for peer, n := range s.peers {
		if n > 0 {
			counts = append(counts, Count{SessionKey: sessionOf(user, im.Single, uint32(peer)), Count: n})
		}
	}
	slices.SortFunc(counts, func(a, b Count) int { return int(int64(a.Peer) - int64(b.Peer)) })
	for _, group := range groups {
		if n := s.groups[group]; n > 0 {
			counts = append(counts, Count{SessionKey: sessionOf(user, im.Group, uint32(group)), Count: n})
		}
	}
	return counts
}

func (c *Cache) readUnread(ctx context.Context, user im.UserID, groups []im.GroupID) (*unreadSeen, error) {
	owed := c.owed.take()
	var peers *redis.MapStringStringCmd
	totals, reads := make([]*redis.StringCmd, len(groups)), make([]*redis.StringCmd, len(groups))
	err := c.unread.pipeline(ctx, func(pipe redis.Pipeliner) {
		deleteKeys(ctx, pipe, owed)
		peers = pipe.HGetAll(ctx, unreadKey(user))
		for i, group := range groups {
			totals[i] = pipe.HGet(ctx, groupTotalKey(group), countField)
			reads[i] = pipe.HGet(ctx, groupReadKey(user, group), countField)
		}
	})
	if err != nil {
		c.owed.add(c.clock(), owed...)
		return nil, err
	}
	seen := &unreadSeen{groups: make(map[im.GroupID]uint32, len(groups))}
	seen.peers, seen.complete = c.parsePeers(peers.Val())
	for i, group := range groups {
		total, known := parseCount(totals[i].Val())
		read, ok := parseCount(reads[i].Val())
		if !known || !ok {
			seen.missing = append(seen.missing, group)
			continue
		}
		seen.groups[group] = total - min(read, total)
	}
	return seen, nil
}

// parsePeers reads the hash of a user and tells whether it can be believed.
func (c *Cache) parsePeers(fields map[string]string) (map[im.UserID]uint32, bool) {
	peers := make(map[im.UserID]uint32, len(fields))
	for field, value := range fields {
		if field == markField {
			continue
		}
		peer, ok1 := parseCount(field)
		n, ok2 := parseCount(value)
		if !ok1 || !ok2 {
			return nil, false
		}
		peers[im.UserID(peer)] = n
	}
	at, marked := strings.CutPrefix(fields[markField], markPrefix)
	seconds, err := strconv.ParseInt(at, 10, 64)
	if !marked || err != nil {
		return peers, false
	}
	built := time.Unix(seconds, 0)
	age := c.clock().Sub(built)
	return peers, age < c.maxAge && age > -c.maxAge && built.After(c.owed.voidBefore())
}

// rebuildPeers reads everything of a user from SQL again. The hash is written
// only if nobody wrote it meanwhile, so of several rebuilders one wins, and a
// newer count is never replaced by an older one. Group keys are deleted
// before SQL is read and written where nobody else did.
func (c *Cache) rebuildPeers(
	ctx context.Context, user im.UserID, seen *unreadSeen, groups []im.GroupID, rebuild Rebuild,
) error {
	err := c.unread.pipeline(ctx, func(pipe redis.Pipeliner) {
		for _, group := range groups {
			pipe.Unlink(ctx, groupReadKey(user, group))
			pipe.Unlink(ctx, groupTotalKey(group))
		}
	})
	if err != nil {
		return err
	}
	seen.missing = groups
	var rows []store.Unread
	key := unreadKey(user)
	err = c.unread.watch(ctx, key, func(tx *redis.Tx) error {
		var err error
		if rows, err = rebuild(ctx); err != nil {
			return &sourceError{err}
		}
		fields := []any{markField, markPrefix + strconv.FormatInt(c.clock().Unix(), 10)}
		for _, row := range rows {
			if row.Kind == im.Single && row.Count > 0 {
				fields = append(fields, row.Peer, row.Count)
			}
		}
		_, err = tx.TxPipelined(ctx, func(pipe redis.Pipeliner) error {
			pipe.Del(ctx, key)
			pipe.HSet(ctx, key, fields...)
			return nil
		})
		return err
	})
	if err != nil {
		return err
	}
	c.metrics.rebuilt.WithLabelValues("unread").Inc()
	seen.peers = map[im.UserID]uint32{}
	for _, row := range rows {
		if row.Kind == im.Single {
			seen.peers[im.UserID(row.Peer)] = row.Count
		}
	}
	return c.writeGroups(ctx, user, seen, rows)
}

// rebuildGroups reads from SQL what is missing of the user's groups.
func (c *Cache) rebuildGroups(ctx context.Context, user im.UserID, seen *unreadSeen, rebuild Rebuild) error {
	rows, err := rebuild(ctx)
	if err != nil {
		return err
	}
	return c.writeGroups(ctx, user, seen, rows)
}

// writeGroups takes the missing groups from rows and writes them where nobody
// else did. Nobody writes an older number: who stores a message writes its
// numbers after the commit.
func (c *Cache) writeGroups(ctx context.Context, user im.UserID, seen *unreadSeen, rows []store.Unread) error {
	byGroup := make(map[im.GroupID]*store.Unread, len(rows))
	for i := range rows {
		if rows[i].Kind == im.Group {
			byGroup[im.GroupID(rows[i].Peer)] = &rows[i]
		}
	}
	err := c.unread.pipeline(ctx, func(pipe redis.Pipeliner) {
		for _, group := range seen.missing {
			row := byGroup[group]
			if row == nil {
				continue // he left it meanwhile
			}
			seen.groups[group] = row.Count
			if newest := uint32(row.Latest.ID); newest >= row.Count {
				pipe.HSetNX(ctx, groupTotalKey(group), countField, newest)
				pipe.HSetNX(ctx, groupReadKey(user, group), countField, newest-row.Count)
			}
		}
	})
	if err == nil {
		c.metrics.rebuilt.WithLabelValues("group_unread").Add(float64(len(seen.missing)))
	}
	return nil // the answer is complete; if only keeping it failed, absent keys do no harm
}

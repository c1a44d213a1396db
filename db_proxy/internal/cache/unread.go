package cache

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"teamtalk/db_proxy/internal/store"
	"teamtalk/internal/im"
)

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
	missing  []missing
}

// missing is a group whose count is not known, and which of its numbers are
// not there.
type missing struct {
	group       im.GroupID
	total, read bool
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
			seen.missing = append(seen.missing, missing{group: group, total: !known, read: !ok})
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
// newer count is never replaced by an older one.
func (c *Cache) rebuildPeers(
	ctx context.Context, user im.UserID, seen *unreadSeen, groups []im.GroupID, rebuild Rebuild,
) error {
	seen.missing = nil
	for _, group := range groups {
		seen.missing = append(seen.missing, missing{group: group, total: true, read: true})
	}
	note, err := c.noteMissing(ctx, user, seen.missing)
	if err != nil {
		return err
	}
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
	return c.writeGroups(ctx, user, seen, rows, note)
}

// rebuildGroups reads from SQL what is missing of the user's groups.
func (c *Cache) rebuildGroups(ctx context.Context, user im.UserID, seen *unreadSeen, rebuild Rebuild) error {
	note, err := c.noteMissing(ctx, user, seen.missing)
	if err != nil {
		return err
	}
	rows, err := rebuild(ctx)
	if err != nil {
		return err
	}
	return c.writeGroups(ctx, user, seen, rows, note)
}

// noteMark begins what stands in the place of a number while it is read from
// SQL; an original reader takes it for 0.
const noteMark = "?"

// noteMissing puts a note of its own in the place of every missing number,
// before SQL is read. Whoever writes or forgets the number meanwhile replaces
// the note, and what SQL said is then not written.
func (c *Cache) noteMissing(ctx context.Context, user im.UserID, all []missing) (note string, err error) {
	note = noteMark + strconv.FormatUint(rand.Uint64(), 36) //nolint:gosec // tells writers apart
	return note, c.unread.pipeline(ctx, func(pipe redis.Pipeliner) {
		put := func(key string) {
			pipe.Unlink(ctx, key)
			pipe.HSet(ctx, key, countField, note)
		}
		for _, m := range all {
			if m.total {
				put(groupTotalKey(m.group))
			}
			if m.read {
				put(groupReadKey(user, m.group))
			}
		}
	})
}

// replaceNote writes the second argument where the first still stands.
const replaceNote = `if redis.call('HGET', KEYS[1], 'count') == ARGV[1] then
	return redis.call('HSET', KEYS[1], 'count', ARGV[2])
end`

// writeGroups takes the missing groups from rows and writes them where their
// notes still stand.
func (c *Cache) writeGroups(
	ctx context.Context, user im.UserID, seen *unreadSeen, rows []store.Unread, note string,
) error {
	byGroup := make(map[im.GroupID]*store.Unread, len(rows))
	for i := range rows {
		if rows[i].Kind == im.Group {
			byGroup[im.GroupID(rows[i].Peer)] = &rows[i]
		}
	}
	err := c.unread.pipeline(ctx, func(pipe redis.Pipeliner) {
		replace := func(key string, n uint32) { pipe.Eval(ctx, replaceNote, []string{key}, note, n) }
		for _, m := range seen.missing {
			row := byGroup[m.group]
			if row == nil {
				pipe.Unlink(ctx, groupReadKey(user, m.group)) // he left it meanwhile
				continue
			}
			seen.groups[m.group] = row.Count
			newest := uint32(row.Latest.ID)
			if newest < row.Count {
				continue
			}
			if m.total {
				replace(groupTotalKey(m.group), newest)
			}
			if m.read {
				replace(groupReadKey(user, m.group), newest-row.Count)
			}
		}
	})
	if err == nil {
		c.metrics.rebuilt.WithLabelValues("group_unread").Add(float64(len(seen.missing)))
	}
	return nil // the answer is complete; if only keeping it failed, notes do no harm
}

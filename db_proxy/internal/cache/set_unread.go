package cache

import (
	"context"
	"fmt"
	"slices"
	"strconv"

	"github.com/redis/go-redis/v9"

	"teamtalk/db_proxy/internal/store"
	"teamtalk/internal/im"
)

// UnreadValue is one number from which unread counts are made. It is
// absolute, so writing it twice does no harm. Made by PeerUnread, GroupTotal
// or GroupRead.
type UnreadValue struct {
	key, field string
	conv       im.Conversation
	value      uint32
	stamp      Stamp
	forget     bool
}

// At says when what the number follows from was known. A number without a
// stamp, or with one that is not valid any more, is forgotten instead.
func (v UnreadValue) At(s Stamp) UnreadValue {
	v.stamp = s
	return v
}

// Forgotten takes the place of a number that is not known any more: the next
// Unread that needs it reads SQL.
func (v UnreadValue) Forgotten() UnreadValue {
	v.forget = true
	return v
}

// PeerUnread is how many messages of peer the user has not read.
func PeerUnread(user, peer im.UserID, count uint32) UnreadValue {
	return UnreadValue{
		key: unreadKey(user), field: strconv.FormatUint(uint64(peer), 10), conv: im.SingleOf(user, peer), value: count,
	}
}

// GroupTotal is the newest message id of a group.
func GroupTotal(group im.GroupID, newest im.MsgID) UnreadValue {
	return UnreadValue{key: groupTotalKey(group), field: countField, conv: im.GroupOf(group), value: uint32(newest)}
}

// GroupRead is the read cursor of a user in a group: what comes after it, up
// to GroupTotal, is unread.
func GroupRead(user im.UserID, group im.GroupID, read im.MsgID) UnreadValue {
	return UnreadValue{key: groupReadKey(user, group), field: countField, conv: im.GroupOf(group), value: uint32(read)}
}

// SetUnread replaces numbers, or forgets them. To be called after the commit
// that made them true, for one conversation in the order of the commits, and
// by one goroutine. Where somebody else has written the counts of a
// conversation meanwhile they are forgotten, and its Claim gets a new stamp.
// When Redis is away, what it holds is not believed until it was read from SQL
// again; the caller need not repeat the call.
func (c *Cache) SetUnread(ctx context.Context, values []UnreadValue) error {
	for part := range slices.Chunk(values, pipelineLimit) {
		for i := range part {
			part[i].forget = part[i].forget || !part[i].stamp.valid()
		}
		moved, err := c.writeUnread(ctx, part)
		if err != nil {
			return fmt.Errorf("set unread counts: %w", err)
		}
		if len(moved) == 0 {
			continue
		}
		if err := c.retract(ctx, part, moved); err != nil {
			return fmt.Errorf("forget unread counts: %w", err)
		}
	}
	return nil
}

// writeUnread writes numbers, then takes the steps, and returns the
// conversations in which somebody else took some.
func (c *Cache) writeUnread(ctx context.Context, part []UnreadValue) (map[im.Conversation]struct{}, error) {
	owed := c.owed.take()
	cmds := make([]redis.Cmder, 0, len(part))
	steps := stepsOf(part)
	err := c.unread.inOrder(ctx, func(pipe redis.Pipeliner) {
		deleteKeys(ctx, pipe, owed)
		for i := range part {
			cmds = append(cmds, writeValue(ctx, pipe, &part[i]))
		}
	}, func(pipe redis.Pipeliner) { steps.take(ctx, pipe, c.step) })
	if err != nil {
		steps.drop()
		c.owed.add(c.clock(), owed...)
		for i := range part {
			c.owed.add(c.clock(), part[i].key)
		}
		return nil, err
	}
	for i, cmd := range cmds {
		if cmd.Err() != nil { // not a hash: it goes, and is rebuilt on first need
			c.owed.add(c.clock(), part[i].key)
		}
	}
	return steps.settle(c.step, func(key string) { c.owed.add(c.clock(), key) }), nil
}

// retract forgets what was just written of some conversations.
func (c *Cache) retract(ctx context.Context, part []UnreadValue, moved map[im.Conversation]struct{}) error {
	c.metrics.moved.Add(float64(len(moved)))
	err := c.unread.pipeline(ctx, func(pipe redis.Pipeliner) {
		for i := range part {
			if _, ok := moved[part[i].conv]; ok && !part[i].forget {
				forgetValue(ctx, pipe, &part[i])
			}
		}
		for conv := range moved {
			pipe.Expire(ctx, sequenceKey(conv), claimFor)
		}
	})
	if err != nil {
		for i := range part {
			if _, ok := moved[part[i].conv]; ok {
				c.owed.add(c.clock(), part[i].key)
			}
		}
	}
	return err
}

func writeValue(ctx context.Context, pipe redis.Pipeliner, v *UnreadValue) redis.Cmder {
	if v.forget {
		return forgetValue(ctx, pipe, v)
	}
	set := pipe.HSet(ctx, v.key, v.field, v.value)
	// A zero is not listed. It is written before it is removed so that a
	// rebuild under way notices.
	if v.value == 0 && v.field != countField {
		pipe.HDel(ctx, v.key, v.field)
	}
	return set
}

// forgetValue removes a number, and for a peer the mark that says that all are
// there; a rebuild under way notices.
func forgetValue(ctx context.Context, pipe redis.Pipeliner, v *UnreadValue) redis.Cmder {
	if v.field == countField {
		return pipe.Unlink(ctx, v.key)
	}
	pipe.HSet(ctx, v.key, v.field, 0)
	return pipe.HDel(ctx, v.key, v.field, markField)
}

// ForgetUnread makes the next Unread that needs the count of a session read
// SQL, and whoever writes counts of the conversation do so, too. To be called
// after a change that did not go through SetUnread.
func (c *Cache) ForgetUnread(ctx context.Context, keys []store.SessionKey) error {
	values := make([]UnreadValue, 0, len(keys))
	for _, k := range keys {
		if k.Kind == im.Group {
			group := im.GroupID(k.Peer)
			values = append(values, GroupRead(k.User, group, 0), GroupTotal(group, 0))
			continue
		}
		values = append(values, PeerUnread(k.User, im.UserID(k.Peer), 0))
	}
	return c.SetUnread(ctx, values)
}

func deleteKeys(ctx context.Context, pipe redis.Pipeliner, keys []string) {
	for _, key := range keys {
		pipe.Unlink(ctx, key)
	}
}

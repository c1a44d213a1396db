package cache

import (
	"context"
	"fmt"
	"strings"

	"github.com/redis/go-redis/v9"

	"teamtalk/db_proxy/internal/store"
	"teamtalk/internal/im"
)

// Source is the record that unread counts come from.
type Source interface {
	// LastMessages returns the newest message of conversations.
	LastMessages(ctx context.Context, refs []store.ConvRef) (map[im.Conversation]store.Last, error)
	// UnreadAll returns what is unread in every conversation of a user; those
	// with nothing are left out.
	UnreadAll(ctx context.Context, user im.UserID) ([]store.Unread, error)
}

// RebuildFrom returns the Rebuild of a user who is a member of groups: the
// newest ids of the groups first, as Rebuild asks for.
func RebuildFrom(s Source, user im.UserID, groups []im.GroupID) Rebuild {
	return func(ctx context.Context) ([]store.Unread, error) {
		refs := make([]store.ConvRef, len(groups))
		for i, id := range groups {
			refs[i] = store.ConvRef{Conv: im.GroupOf(id)}
		}
		newest, err := s.LastMessages(ctx, refs)
		if err != nil {
			return nil, err
		}
		rows, err := s.UnreadAll(ctx, user)
		if err != nil {
			return nil, err
		}
		listed := make(map[store.SessionKey]bool, len(rows))
		for _, row := range rows {
			listed[row.SessionKey] = true
		}
		for _, ref := range refs {
			k := sessionOf(user, im.Group, uint32(ref.Conv.Group))
			if !listed[k] {
				rows = append(rows, store.Unread{SessionKey: k, Latest: newest[ref.Conv]})
			}
		}
		return rows, nil
	}
}

// Holder is a user and the groups he is a member of.
type Holder struct {
	User   im.UserID
	Groups []im.GroupID
}

// Held is what Redis holds of a user's unread counts, as it stands there.
type Held struct {
	// Counts has every number that is there, zeros included.
	Counts map[store.SessionKey]uint32
	// Complete says that a peer without a number counts as 0; else SQL is
	// asked.
	Complete bool
	// Broken are sessions in whose place something stands that is no number;
	// Peer 0 stands for all peers.
	Broken []store.SessionKey
}

// Held returns what Redis holds of each user, in their order, and writes
// nothing. ErrUnavailable: Redis is away.
func (c *Cache) Held(ctx context.Context, holders []Holder) ([]Held, error) {
	type cells struct {
		peers         *redis.MapStringStringCmd
		totals, reads []*redis.StringCmd
	}
	asked := make([]cells, len(holders))
	owed := c.owed.take()
	err := c.unread.pipeline(ctx, func(pipe redis.Pipeliner) {
		deleteKeys(ctx, pipe, owed)
		for i, h := range holders {
			asked[i].peers = pipe.HGetAll(ctx, unreadKey(h.User))
			for _, group := range h.Groups {
				asked[i].totals = append(asked[i].totals, pipe.HGet(ctx, groupTotalKey(group), countField))
				asked[i].reads = append(asked[i].reads, pipe.HGet(ctx, groupReadKey(h.User, group), countField))
			}
		}
	})
	if err != nil {
		c.owed.add(c.clock(), owed...)
		return nil, fmt.Errorf("look at unread counts: %w", err)
	}
	all := make([]Held, len(holders))
	for i, h := range holders {
		all[i] = c.heldPeers(h.User, asked[i].peers)
		for j, group := range h.Groups {
			all[i].addGroup(sessionOf(h.User, im.Group, uint32(group)), asked[i].totals[j], asked[i].reads[j])
		}
	}
	return all, nil
}

func (c *Cache) heldPeers(user im.UserID, peers *redis.MapStringStringCmd) Held {
	held := Held{Counts: map[store.SessionKey]uint32{}}
	broken := peers.Err() != nil
	for field, value := range peers.Val() {
		if field == markField {
			continue
		}
		peer, ok := parseCount(field)
		if !ok || peer == 0 {
			broken = true
			continue
		}
		k := sessionOf(user, im.Single, peer)
		if n, ok := parseCount(value); ok {
			held.Counts[k] = n
		} else {
			held.Broken = append(held.Broken, k)
		}
	}
	if broken {
		held.Broken = append(held.Broken, sessionOf(user, im.Single, 0))
	}
	_, held.Complete = c.parsePeers(peers.Val())
	return held
}

// addGroup takes the count of a group from its two numbers; without one of
// them there is none.
func (h *Held) addGroup(k store.SessionKey, total, read *redis.StringCmd) {
	newest, ok1 := parseCount(total.Val())
	upto, ok2 := parseCount(read.Val())
	junk := func(cmd *redis.StringCmd, ok bool) bool {
		return !ok && cmd.Err() == nil && !strings.HasPrefix(cmd.Val(), noteMark) || cmd.Err() != nil && isBroken(cmd.Err())
	}
	switch {
	case junk(total, ok1) || junk(read, ok2):
		h.Broken = append(h.Broken, k)
	case ok1 && ok2:
		h.Counts[k] = newest - min(upto, newest)
	}
}

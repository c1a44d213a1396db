package command

import (
	"context"
	"slices"

	"teamtalk/db_proxy/internal/directory"
	"teamtalk/db_proxy/internal/store"
	"teamtalk/internal/im"
)

// groupFinder finds a group that exists, im.NotFound otherwise.
type groupFinder interface {
	Group(ctx context.Context, id im.GroupID) (*store.GroupInfo, error)
}

// relationFinder finds the relations of pairs; those who never spoke are absent.
type relationFinder interface {
	Relations(ctx context.Context, pairs []im.Pair) (map[im.Pair]im.RelationID, error)
}

// access says what of a conversation a user may read.
type access struct {
	groups    groupsFinder
	relations relationFinder
}

// reach is the part of a conversation that a user may read.
type reach struct {
	ref   store.ConvRef
	since store.Since
}

// of finds the messages behind a line of user's recent list and where the
// part begins that he may read. ok is false when there is nothing for him to
// read: the pair never spoke, or he is no member of the group.
func (a access) of(ctx context.Context, k store.SessionKey) (ref store.ConvRef, since store.Since, ok bool, err error) {
	found, err := a.all(ctx, []store.SessionKey{k})
	r, ok := found[k]
	return r.ref, r.since, ok, err
}

// all is of for many lines, with one look-up of pairs and one of groups. Lines
// without anything to read are absent.
func (a access) all(ctx context.Context, keys []store.SessionKey) (map[store.SessionKey]reach, error) {
	var pairs []im.Pair
	var ids []im.GroupID
	for _, k := range keys {
		if k.Kind == im.Group {
			ids = append(ids, im.GroupID(k.Peer))
		} else {
			pairs = append(pairs, im.PairOf(k.User, im.UserID(k.Peer)))
		}
	}
	relations, err := a.relations.Relations(ctx, pairs)
	if err != nil {
		return nil, err
	}
	groups, err := a.groups.Groups(ctx, ids)
	if err != nil {
		return nil, err
	}
	found := make(map[store.SessionKey]reach, len(keys))
	for _, k := range keys {
		r := reach{ref: store.ConvRef{Conv: im.ConversationOf(k.User, k.Kind, k.Peer)}}
		ok := k.User != 0 && k.Peer != 0
		if k.Kind == im.Single {
			r.ref.Relation = relations[r.ref.Conv.Pair]
			ok = ok && r.ref.Relation != 0
		} else if ok {
			r.since, ok = sinceOf(groups[r.ref.Conv.Group], k.User)
		}
		if ok {
			found[k] = r
		}
	}
	return found, nil
}

// sinceOf returns where the part of a group begins that a user may see.
func sinceOf(g *directory.Group, user im.UserID) (store.Since, bool) {
	if g == nil {
		return store.Since{}, false
	}
	member, ok := memberOf(g.Info, user)
	return member.Since, ok
}

// memberOf finds a member of a group; Members ascend by user.
func memberOf(info *store.GroupInfo, user im.UserID) (store.Member, bool) {
	i, ok := slices.BinarySearchFunc(info.Members, user, func(m store.Member, u im.UserID) int {
		return int(int64(m.User) - int64(u))
	})
	if !ok {
		return store.Member{}, false
	}
	return info.Members[i], true
}

// previewStore reads the newest message of conversations.
type previewStore interface {
	// Latest returns the newest visible message of each conversation; one
	// without any is absent.
	Latest(ctx context.Context, refs []store.ConvRef) (map[im.Conversation]store.Message, error)
}

// previews reads the newest message of each session that user may read;
// sessions without one are absent.
func (a access) previews(
	ctx context.Context, s previewStore, keys []store.SessionKey,
) (map[store.SessionKey]store.Message, error) {
	may, err := a.all(ctx, keys)
	if err != nil {
		return nil, err
	}
	refs := make([]store.ConvRef, 0, len(may))
	for _, r := range may {
		refs = append(refs, r.ref)
	}
	latest, err := s.Latest(ctx, refs)
	if err != nil {
		return nil, err
	}
	found := make(map[store.SessionKey]store.Message, len(latest))
	for _, k := range keys {
		r, ok := may[k]
		if m, known := latest[r.ref.Conv]; ok && known && r.since.Shows(&m) {
			found[k] = m
		}
	}
	return found, nil
}

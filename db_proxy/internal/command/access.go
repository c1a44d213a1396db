package command

import (
	"context"
	"slices"

	"teamtalk/db_proxy/internal/store"
	"teamtalk/internal/im"
)

// groupFinder finds a group that exists, im.NotFound otherwise.
type groupFinder interface {
	Group(ctx context.Context, id im.GroupID) (*store.GroupInfo, error)
}

// relationFinder finds the relation of a pair; false if they never spoke.
type relationFinder interface {
	Relation(ctx context.Context, pair im.Pair) (im.RelationID, bool, error)
}

// access says what of a conversation a user may read.
type access struct {
	groups    groupFinder
	relations relationFinder
}

// of finds the messages behind a line of user's recent list and where the
// part begins that he may read. ok is false when there is nothing for him to
// read: the pair never spoke, or he is no member of the group.
func (a access) of(ctx context.Context, k store.SessionKey) (ref store.ConvRef, since store.Since, ok bool, err error) {
	ref.Conv = im.ConversationOf(k.User, k.Kind, k.Peer)
	switch {
	case k.User == 0 || k.Peer == 0:
		return ref, since, false, nil
	case k.Kind == im.Single:
		ref.Relation, ok, err = a.relations.Relation(ctx, ref.Conv.Pair)
		return ref, since, ok && err == nil, err
	}
	info, err := a.groups.Group(ctx, ref.Conv.Group)
	if im.CodeOf(err) == im.NotFound {
		return ref, since, false, nil
	}
	if err != nil {
		return ref, since, false, err
	}
	member, ok := memberOf(info, k.User)
	return ref, member.Since, ok, nil
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
	refs := make([]store.ConvRef, 0, len(keys))
	since := make(map[im.Conversation]store.Since, len(keys))
	for _, k := range keys {
		ref, joined, ok, err := a.of(ctx, k)
		if err != nil {
			return nil, err
		}
		if ok {
			refs = append(refs, ref)
			since[ref.Conv] = joined
		}
	}
	latest, err := s.Latest(ctx, refs)
	if err != nil {
		return nil, err
	}
	found := make(map[store.SessionKey]store.Message, len(latest))
	for _, k := range keys {
		conv := im.ConversationOf(k.User, k.Kind, k.Peer)
		if m, ok := latest[conv]; ok && since[conv].Shows(&m) {
			found[k] = m
		}
	}
	return found, nil
}

package command

import (
	"cmp"
	"context"
	"slices"

	"google.golang.org/protobuf/proto"

	"teamtalk/db_proxy/internal/cache"
	"teamtalk/db_proxy/internal/store"
	"teamtalk/internal/im"
	"teamtalk/internal/wire"
	"teamtalk/pb/basedefine"
	"teamtalk/pb/message"
)

// unreadStore counts unread messages by cursor.
type unreadStore interface {
	previewStore
	cache.Source
	// GroupsOf returns the groups of a user without their members.
	GroupsOf(ctx context.Context, user im.UserID) ([]store.GroupInfo, error)
	// Memberships returns the groups of users.
	Memberships(ctx context.Context, users []im.UserID) (map[im.UserID][]im.GroupID, error)
}

// unreadCache keeps the counts of unreadStore.
type unreadCache interface {
	Unread(ctx context.Context, user im.UserID, groups []im.GroupID, rebuild cache.Rebuild) ([]cache.Count, error)
}

// countSettler writes behind.
type countSettler interface {
	// SettleCounts returns when the counts noted before are in Redis, or
	// after a moment when Redis is away.
	SettleCounts(ctx context.Context)
}

// unreadCounts knows what a user has not read.
type unreadCounts struct {
	store  unreadStore
	cache  unreadCache
	behind countSettler
}

// of returns the sessions of a user with unread messages: single ones by
// peer, then groups, the latest joined first.
func (u unreadCounts) of(ctx context.Context, user im.UserID) ([]cache.Count, error) {
	groups, err := u.store.GroupsOf(ctx, user)
	if err != nil {
		return nil, err
	}
	ids := make([]im.GroupID, len(groups))
	for i := range groups {
		ids[i] = groups[i].ID
	}
	u.behind.SettleCounts(ctx)
	return u.counted(ctx, user, ids)
}

// totals returns how many messages each of the users has not read.
func (u unreadCounts) totals(ctx context.Context, users []im.UserID) (map[im.UserID]uint32, error) {
	if len(users) == 0 {
		return nil, nil
	}
	groups, err := u.store.Memberships(ctx, users)
	if err != nil {
		return nil, err
	}
	u.behind.SettleCounts(ctx)
	totals := make(map[im.UserID]uint32, len(users))
	for _, user := range users {
		counts, err := u.counted(ctx, user, groups[user])
		if err != nil {
			return nil, err
		}
		for _, c := range counts {
			totals[user] += c.Count
		}
	}
	return totals, nil
}

// counted returns the sessions of a member of groups that have unread messages.
func (u unreadCounts) counted(ctx context.Context, user im.UserID, ids []im.GroupID) ([]cache.Count, error) {
	rebuild := cache.RebuildFrom(u.store, user, ids)
	counts, err := u.cache.Unread(ctx, user, ids, rebuild)
	if err == nil || im.CodeOf(err) != im.Unavailable {
		return counts, err
	}
	rows, err := rebuild(ctx)
	if err != nil {
		return nil, err
	}
	return countsOf(rows, ids), nil
}

// countsOf is what cache.Unread makes of the rows.
func countsOf(rows []store.Unread, groups []im.GroupID) []cache.Count {
	place := make(map[uint32]int, len(groups))
	for i, id := range groups {
		place[uint32(id)] = i
	}
	var counts []cache.Count
	for _, row := range rows {
		if row.Count > 0 {
			counts = append(counts, cache.Count{SessionKey: row.SessionKey, Count: row.Count})
		}
	}
	slices.SortFunc(counts, func(a, b cache.Count) int {
		if a.Kind != b.Kind || a.Kind == im.Single {
			return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Peer, b.Peer))
		}
		return cmp.Compare(place[a.Peer], place[b.Peer])
	})
	return counts
}

// unread answers 0307.
type unread struct {
	store  previewStore
	counts unreadCounts
	access access
	reads  readWaiter
	voice  string
}

// readWaiter knows what is being read.
type readWaiter interface {
	// AfterReads calls run, once, when the reads of a user that were submitted
	// before are complete, or after a while.
	AfterReads(user im.UserID, run func())
}

func unreadCommands(u *unread) []Command {
	return []Command{{ID: wire.UnreadCountReq, Asker: ByUser, Reply: wire.UnreadCountRes, Query: u.all, Turn: u.turn}}
}

// turn lets the reads go first that came on the same link: who has read
// something and asks at once is not told that it is unread.
func (u *unread) turn(r *Request, run func()) error {
	req := new(message.IMUnreadMsgCntReq)
	if err := parse(r, req); err != nil {
		return err
	}
	u.reads.AfterReads(im.UserID(req.GetUserId()), run)
	return nil
}

// all answers with the sessions that have unread messages and the newest
// message of each, 0307 to 0308.
//
// Source: docs/protocol/flows.md §8.2, with the fixes of
// docs/protocol/defects.md B4 and B5 (the total is the sum of what is listed),
// B6, and F6: no answer when SQL fails.
func (u *unread) all(ctx context.Context, r *Request) (proto.Message, error) {
	req := new(message.IMUnreadMsgCntReq)
	if err := parse(r, req); err != nil {
		return nil, err
	}
	counts, err := u.counts.of(ctx, im.UserID(req.GetUserId()))
	if err != nil {
		return nil, err
	}
	keys := make([]store.SessionKey, len(counts))
	for i, c := range counts {
		keys[i] = c.SessionKey
	}
	previews, err := u.access.previews(ctx, u.store, keys)
	if err != nil {
		return nil, err
	}
	res := &message.IMUnreadMsgCntRsp{UserId: proto.Uint32(req.GetUserId()), AttachData: req.GetAttachData()}
	total, size := uint32(0), 0
	for _, c := range counts {
		m, ok := previews[c.SessionKey]
		if !ok {
			continue
		}
		const numbersAndTags = 64
		if size += numbersAndTags + len(m.Content); size > maxReply {
			break
		}
		total += c.Count
		res.UnreadinfoList = append(res.UnreadinfoList, &basedefine.UnreadInfo{
			SessionId:           proto.Uint32(c.Peer),
			SessionType:         basedefine.SessionType(c.Kind).Enum(),
			UnreadCnt:           proto.Uint32(c.Count),
			LatestMsgId:         proto.Uint32(uint32(m.ID)),
			LatestMsgData:       preview(&m, u.voice),
			LatestMsgType:       basedefine.MsgType(m.Type).Enum(),
			LatestMsgFromUserId: proto.Uint32(previewFrom(c.SessionKey, &m)),
		})
	}
	res.TotalCnt = proto.Uint32(total)
	return res, nil
}

package command

import (
	"cmp"
	"context"
	"maps"
	"slices"

	"google.golang.org/protobuf/proto"

	"teamtalk/db_proxy/internal/directory"
	"teamtalk/internal/im"
	"teamtalk/internal/wire"
	"teamtalk/pb/basedefine"
	"teamtalk/pb/group"
)

// groupInfoStore reads which groups a user has muted.
type groupInfoStore interface {
	ShieldsOf(ctx context.Context, user im.UserID) (map[im.GroupID]bool, error)
	// Succeed gives groups that nobody governs a creator.
	Succeed(ctx context.Context, groups []im.GroupID) error
}

// groupsFinder finds groups that exist with their members.
type groupsFinder interface {
	Groups(ctx context.Context, ids []im.GroupID) (map[im.GroupID]*directory.Group, error)
}

// groupInfo answers 0403.
type groupInfo struct {
	store  groupInfoStore
	groups groupsFinder
	forget func(im.GroupID)
}

func groupInfoCommands(g *groupInfo) []Command {
	return []Command{{ID: wire.GroupInfoReq, Asker: ByUser, Reply: wire.GroupInfoRes, Query: g.newer}}
}

// newer answers with the groups asked for that changed since the version
// given, 0403 to 0404. Others are absent, as are groups that do not exist.
//
// Source: docs/protocol/flows.md §12.2, with the fixes of
// docs/protocol/defects.md B12 (the shield is told) and D8 (only of groups the
// user is a member of).
func (g *groupInfo) newer(ctx context.Context, r *Request) (proto.Message, error) {
	req := new(group.IMGroupInfoListReq)
	if err := parse(r, req); err != nil {
		return nil, err
	}
	user := im.UserID(req.GetUserId())
	res := &group.IMGroupInfoListRsp{UserId: proto.Uint32(req.GetUserId()), AttachData: req.GetAttachData()}
	known := make(map[im.GroupID]uint32, len(req.GetGroupVersionList()))
	for _, v := range req.GetGroupVersionList() {
		known[im.GroupID(v.GetGroupId())] = v.GetVersion()
	}
	ids := slices.Sorted(maps.Keys(known))
	if len(ids) == 0 {
		return res, nil
	}
	groups, err := g.governed(ctx, ids)
	if err != nil {
		return nil, err
	}
	ids = slices.DeleteFunc(ids, func(id im.GroupID) bool {
		info := groups[id]
		return info == nil || info.Info.Version <= known[id] || !info.Has(user)
	})
	if len(ids) == 0 {
		return res, nil
	}
	// The original's order: the group that changed last comes first.
	slices.SortFunc(ids, func(a, b im.GroupID) int {
		return cmp.Or(cmp.Compare(groups[b].Info.Updated, groups[a].Info.Updated), cmp.Compare(a, b))
	})
	muted, err := g.store.ShieldsOf(ctx, user)
	if err != nil {
		return nil, err
	}
	size := 0
	for _, id := range ids {
		const numbersAndTags, perMember = 64, 6
		info := groups[id].Info
		size += numbersAndTags + len(info.Name) + len(info.Avatar) + perMember*len(info.Members)
		if size > maxReply {
			break // the client asks again when it needs the group
		}
		res.GroupInfoList = append(res.GroupInfoList, &basedefine.GroupInfo{
			GroupId:         proto.Uint32(uint32(id)),
			Version:         proto.Uint32(info.Version),
			GroupName:       proto.String(info.Name),
			GroupAvatar:     proto.String(info.Avatar),
			GroupCreatorId:  proto.Uint32(uint32(info.Creator)),
			GroupType:       basedefine.GroupType(info.Type).Enum(),
			ShieldStatus:    proto.Uint32(wireFlag(muted[id])),
			GroupMemberList: groups[id].Wire,
		})
	}
	return res, nil
}

// governed returns groups; of those that nobody governs a creator is found
// before, whom clients see in the answer.
func (g *groupInfo) governed(ctx context.Context, ids []im.GroupID) (map[im.GroupID]*directory.Group, error) {
	groups, err := g.groups.Groups(ctx, ids)
	if err != nil {
		return nil, err
	}
	var orphans []im.GroupID
	for id, info := range groups {
		if info != nil && info.Info.Orphaned {
			orphans = append(orphans, id)
		}
	}
	if len(orphans) == 0 {
		return groups, nil
	}
	if err := g.store.Succeed(ctx, orphans); err != nil {
		return groups, nil //nolint:nilerr // the next one who asks tries again
	}
	for _, id := range orphans {
		g.forget(id)
	}
	return g.groups.Groups(ctx, ids)
}

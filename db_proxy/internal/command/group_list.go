package command

import (
	"context"

	"google.golang.org/protobuf/proto"

	"teamtalk/db_proxy/internal/store"
	"teamtalk/internal/im"
	"teamtalk/internal/wire"
	"teamtalk/pb/basedefine"
	"teamtalk/pb/group"
)

// groupListStore reads the groups of a user.
type groupListStore interface {
	// GroupsOf returns them without members and without deleted ones, the
	// latest joined first.
	GroupsOf(ctx context.Context, user im.UserID) ([]store.GroupInfo, error)
}

// groupList answers 0401.
type groupList struct {
	store groupListStore
}

func groupListCommands(g *groupList) []Command {
	return []Command{{ID: wire.GroupListReq, Asker: ByUser, Reply: wire.GroupListRes, Query: g.normal}}
}

// normal answers with the normal groups of a user, 0401 to 0402. Temporary
// ones a client learns from its sessions.
//
// Source: docs/protocol/flows.md §12.1, with the fixes of
// docs/protocol/defects.md B14 and B15 (a deleted group is not listed).
func (g *groupList) normal(ctx context.Context, r *Request) (proto.Message, error) {
	req := new(group.IMNormalGroupListReq)
	if err := parse(r, req); err != nil {
		return nil, err
	}
	all, err := g.store.GroupsOf(ctx, im.UserID(req.GetUserId()))
	if err != nil {
		return nil, err
	}
	res := &group.IMNormalGroupListRsp{UserId: proto.Uint32(req.GetUserId()), AttachData: req.GetAttachData()}
	for _, info := range all {
		if info.Type == groupNormal && !info.Deleted {
			res.GroupVersionList = append(res.GroupVersionList, &basedefine.GroupVersionInfo{
				GroupId: proto.Uint32(uint32(info.ID)), Version: proto.Uint32(info.Version),
			})
		}
	}
	return res, nil
}

package command

import (
	"context"

	"google.golang.org/protobuf/proto"

	"teamtalk/internal/im"
	"teamtalk/internal/wire"
	"teamtalk/pb/basedefine"
	"teamtalk/pb/group"
	"teamtalk/pb/server"
)

// groupShieldStore keeps who muted which group.
type groupShieldStore interface {
	SetGroupShield(ctx context.Context, user im.UserID, id im.GroupID, on bool) error
	// GroupShields returns those of the users who muted the group.
	GroupShields(ctx context.Context, id im.GroupID, users []im.UserID) (map[im.UserID]bool, error)
}

// shieldMirror keeps the shields where old neighbours and tools look.
type shieldMirror interface {
	SetShield(ctx context.Context, id im.GroupID, user im.UserID, muted bool) error
}

// groupShield answers 0409 and 0711.
type groupShield struct {
	store  groupShieldStore
	groups groupFinder
	mirror shieldMirror
}

func groupShieldCommands(g *groupShield) []Command {
	return []Command{
		{
			ID: wire.GroupShieldReq, Asker: ByUser, Reply: wire.GroupShieldRes, Query: g.set,
			Refusal: refusal[group.IMGroupShieldReq, group.IMGroupShieldRsp](),
		},
		{ID: wire.GroupShieldsReq, Asker: ByServer, Reply: wire.GroupShieldsRes, Query: g.of},
	}
}

// set mutes a group for a user or unmutes it, 0409 to 040A.
//
// Source: docs/protocol/flows.md §12.5, with the fix of
// docs/protocol/defects.md F5 (an unknown group is answered).
func (g *groupShield) set(ctx context.Context, r *Request) (proto.Message, error) {
	req := new(group.IMGroupShieldReq)
	if err := parse(r, req); err != nil {
		return nil, err
	}
	res := &group.IMGroupShieldRsp{
		UserId:     proto.Uint32(req.GetUserId()),
		GroupId:    proto.Uint32(req.GetGroupId()),
		ResultCode: proto.Uint32(1),
		AttachData: req.GetAttachData(),
	}
	id, user, status := im.GroupID(req.GetGroupId()), im.UserID(req.GetUserId()), req.GetShieldStatus()
	if status > 1 {
		return res, im.Errorf(im.Invalid, "shield status %d", status)
	}
	info, err := g.groups.Group(ctx, id)
	if err != nil {
		return res, err
	}
	if _, ok := memberOf(info, user); !ok {
		return res, im.Errorf(im.Denied, "user %d is no member of group %d", user, id)
	}
	if err := g.store.SetGroupShield(ctx, user, id, status == 1); err != nil {
		return res, err
	}
	_ = g.mirror.SetShield(ctx, id, user, status == 1) // SQL has it; the mirror counts its own failures
	res.ResultCode = proto.Uint32(0)
	return res, nil
}

// of tells which users muted a group, 0711 to 0712: one entry for each user
// asked for, in order.
//
// Source: docs/protocol/flows.md §15.
func (g *groupShield) of(ctx context.Context, r *Request) (proto.Message, error) {
	req := new(server.IMGroupGetShieldReq)
	if err := parse(r, req); err != nil {
		return nil, err
	}
	muted, err := g.store.GroupShields(ctx, im.GroupID(req.GetGroupId()), userIDs(req.GetUserId()))
	if err != nil {
		return nil, err
	}
	res := &server.IMGroupGetShieldRsp{GroupId: proto.Uint32(req.GetGroupId()), AttachData: req.GetAttachData()}
	for _, id := range req.GetUserId() {
		res.ShieldStatusList = append(res.ShieldStatusList, &basedefine.ShieldStatus{
			UserId:       proto.Uint32(id),
			GroupId:      proto.Uint32(req.GetGroupId()),
			ShieldStatus: proto.Uint32(wireFlag(muted[im.UserID(id)])),
		})
	}
	return res, nil
}

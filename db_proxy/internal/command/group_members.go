package command

import (
	"context"
	"log/slog"
	"slices"

	"google.golang.org/protobuf/proto"

	"teamtalk/db_proxy/internal/cache"
	"teamtalk/db_proxy/internal/lane"
	"teamtalk/db_proxy/internal/store"
	"teamtalk/internal/im"
	"teamtalk/internal/wire"
	"teamtalk/pb/basedefine"
	"teamtalk/pb/group"
)

// GroupStore changes groups.
type GroupStore interface {
	CreateGroup(ctx context.Context, g store.NewGroup) (im.GroupID, error)
	// ChangeMembers adds and removes in one transaction and returns the users
	// it really added or removed, and the group as it is now.
	ChangeMembers(ctx context.Context, g im.GroupID, add, remove []im.UserID) ([]im.UserID, store.GroupInfo, error)
}

// Groups looks groups and users up and forgets what was changed.
type Groups interface {
	Group(ctx context.Context, id im.GroupID) (*store.GroupInfo, error)
	User(ctx context.Context, id im.UserID) (store.User, error)
	ForgetGroup(id im.GroupID)
}

// MemberMirror keeps the member list where old neighbours and tools look.
type MemberMirror interface {
	SetMembers(ctx context.Context, g im.GroupID, members []store.Member) error
}

// groupOps are the commands that change groups.
type groupOps struct {
	store  GroupStore
	groups Groups
	mirror MemberMirror
	lanes  Lanes
	behind countForgetter
	log    *slog.Logger
}

// changeMembers adds or removes members, 0407 to 0408. It takes its turn in
// the group's lane: what a removed member sent before is stored, what he
// sends after is refused.
//
// Source: flows.md §12.4, with the fixes of defects B17 (only real changes
// count), B19 (a member may leave), D1 and D9 (only a member adds to a
// temporary group), F5 (an unknown group is answered).
func (g *groupOps) changeMembers(r *Request) error {
	req := new(group.IMGroupChangeMemberReq)
	if err := proto.Unmarshal(r.Body, req); err != nil {
		return im.Wrap(im.Invalid, "parse change of members", err)
	}
	refuse := func(err error) {
		g.log.Info("members not changed", "group_id", req.GetGroupId(), "user_id", req.GetUserId(), "error", err)
		g.answerChange(r, req, 1, nil, nil)
	}
	err := g.lanes.Submit(&lane.Change{
		Conv:    im.GroupOf(im.GroupID(req.GetGroupId())),
		Refused: refuse,
		Run: func(ctx context.Context) {
			changed, info, err := g.change(ctx, req)
			if err != nil {
				refuse(err)
				return
			}
			g.answerChange(r, req, 0, info.Members, changed)
		},
	})
	if err != nil {
		refuse(err)
	}
	return err
}

func (g *groupOps) change(
	ctx context.Context, req *group.IMGroupChangeMemberReq,
) ([]im.UserID, store.GroupInfo, error) {
	id, user := im.GroupID(req.GetGroupId()), im.UserID(req.GetUserId())
	g.groups.ForgetGroup(id) // a change is checked against what SQL holds now
	info, err := g.groups.Group(ctx, id)
	if err != nil {
		return nil, store.GroupInfo{}, err
	}
	asked := userIDs(req.GetMemberIdList())
	adding := req.GetChangeType() == basedefine.GroupModifyType_GROUP_MODIFY_TYPE_ADD
	if !mayChange(info, user, adding, asked) {
		return nil, store.GroupInfo{}, im.Errorf(im.Denied, "user %d may not change group %d", user, id)
	}
	var add, remove []im.UserID
	if adding {
		if add, err = g.existing(ctx, asked); err != nil {
			return nil, store.GroupInfo{}, err
		}
	} else {
		remove = asked
	}
	changed, now, err := g.store.ChangeMembers(ctx, id, add, remove)
	g.groups.ForgetGroup(id)
	for _, m := range asked { // who comes back begins anew
		g.behind.ForgetUnread(cache.Stamp{}, store.SessionKey{User: m, Kind: im.Group, Peer: uint32(id)})
	}
	if err != nil {
		return nil, store.GroupInfo{}, err
	}
	// Also where nothing was changed: this may be the repeat of a change whose
	// answer was lost.
	if err := g.mirror.SetMembers(ctx, id, now.Members); err != nil {
		g.log.Debug("member list not mirrored", "group_id", id, "error", err)
	}
	if len(changed) == 0 {
		return nil, store.GroupInfo{}, im.Errorf(im.Invalid, "nobody to change in group %d", id)
	}
	return changed, now, nil
}

// mayChange says who may change a group: its creator everything; a member of
// a temporary group may add; everybody may leave. The user id 0 is that of
// http_msg_server, which a msg_server never sends.
func mayChange(info *store.GroupInfo, user im.UserID, adding bool, asked []im.UserID) bool {
	switch {
	case user == 0 || user == info.Creator:
		return true
	case adding:
		return info.Type == groupTemporary && isMember(info, user)
	default:
		return len(asked) == 1 && asked[0] == user
	}
}

// Values of IMGroup.type. Source: storage.md.
const (
	groupNormal    = 1
	groupTemporary = 2
)

func isMember(info *store.GroupInfo, user im.UserID) bool {
	return slices.ContainsFunc(info.Members, func(m store.Member) bool { return m.User == user })
}

// existing keeps the users that have an account.
func (g *groupOps) existing(ctx context.Context, users []im.UserID) ([]im.UserID, error) {
	var out []im.UserID
	for _, id := range users {
		_, err := g.groups.User(ctx, id)
		switch {
		case err == nil:
			out = append(out, id)
		case im.CodeOf(err) != im.NotFound:
			return nil, err
		}
	}
	return out, nil
}

func (g *groupOps) answerChange(
	r *Request, req *group.IMGroupChangeMemberReq, result uint32, now []store.Member, changed []im.UserID,
) {
	res := &group.IMGroupChangeMemberRsp{
		UserId:        proto.Uint32(req.GetUserId()),
		ChangeType:    req.GetChangeType().Enum(),
		ResultCode:    proto.Uint32(result),
		GroupId:       proto.Uint32(req.GetGroupId()),
		ChgUserIdList: wireIDs(changed),
		AttachData:    req.GetAttachData(),
	}
	for _, m := range now {
		res.CurUserIdList = append(res.CurUserIdList, uint32(m.User))
	}
	r.Reply(wire.GroupChangeMemberRes, res)
}

// createGroup makes a group, 0405 to 0406.
//
// Source: flows.md §12.3. Clients make temporary groups only: a normal one is
// refused with an answer (defect F5). http_msg_server makes both: that of the
// original as user 0, ours also for a creator.
func (g *groupOps) createGroup(ctx context.Context, r *Request) (proto.Message, error) {
	req := new(group.IMGroupCreateReq)
	if err := proto.Unmarshal(r.Body, req); err != nil {
		return nil, im.Wrap(im.Invalid, "parse creation of group", err)
	}
	members := userIDs(req.GetMemberIdList())
	res := &group.IMGroupCreateRsp{
		UserId:     proto.Uint32(req.GetUserId()),
		ResultCode: proto.Uint32(1),
		GroupName:  proto.String(req.GetGroupName()),
		UserIdList: wireIDs(members),
		AttachData: req.GetAttachData(),
	}
	kind := uint8(req.GetGroupType())
	switch {
	case req.GetGroupName() == "" || len(members) == 0:
		return res, im.Errorf(im.Invalid, "group without a name or members")
	case len([]rune(req.GetGroupName())) > maxGroupName:
		return res, im.Errorf(im.TooLarge, "name of group")
	case kind != groupTemporary && req.GetUserId() != 0 && !r.API:
		return res, im.Errorf(im.Denied, "a client makes temporary groups only")
	}
	members, err := g.existing(ctx, members)
	if err != nil {
		return res, err
	}
	if len(members) == 0 {
		return res, im.Errorf(im.Invalid, "group of nobody")
	}
	id, err := g.store.CreateGroup(ctx, store.NewGroup{
		Name: req.GetGroupName(), Avatar: req.GetGroupAvatar(),
		Creator: im.UserID(req.GetUserId()), Type: kind, Members: members,
	})
	if err != nil {
		return res, err
	}
	g.groups.ForgetGroup(id)
	res.ResultCode, res.GroupId, res.UserIdList = proto.Uint32(0), proto.Uint32(uint32(id)), wireIDs(members)
	info, err := g.groups.Group(ctx, id)
	if err != nil { // the group is made, and who repeats this makes another one: ask again
		info, err = g.groups.Group(ctx, id)
	}
	if err == nil {
		err = g.mirror.SetMembers(ctx, id, info.Members)
	}
	if err != nil {
		g.log.Debug("member list not mirrored", "group_id", id, "error", err)
	}
	return res, nil
}

// maxGroupName is the width of IMGroup.name in characters.
const maxGroupName = 256

// userIDs returns the ids in ascending order, each once, without 0.
func userIDs(list []uint32) []im.UserID {
	out := make([]im.UserID, 0, len(list))
	for _, id := range list {
		if id != 0 {
			out = append(out, im.UserID(id))
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

func wireIDs(users []im.UserID) []uint32 {
	out := make([]uint32, len(users))
	for i, id := range users {
		out[i] = uint32(id)
	}
	return out
}

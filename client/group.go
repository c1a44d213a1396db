package client

import (
	"context"

	"google.golang.org/protobuf/proto"

	"teamtalk/internal/im"
	"teamtalk/internal/wire"
	"teamtalk/pb/basedefine"
	"teamtalk/pb/group"
)

// Groups returns the normal groups of this user with their versions (0x0401).
// Temporary groups are found in sessions.
func (c *Client) Groups(ctx context.Context) ([]*basedefine.GroupVersionInfo, error) {
	var res group.IMNormalGroupListRsp
	err := c.Do(ctx, wire.GroupListReq, &group.IMNormalGroupListReq{UserId: c.me()}, wire.GroupListRes, &res)
	return res.GetGroupVersionList(), err
}

// GroupInfo returns name, members and more of groups in any version; unknown
// ones are left out (0x0403).
func (c *Client) GroupInfo(ctx context.Context, ids ...im.GroupID) ([]*basedefine.GroupInfo, error) {
	known := make([]*basedefine.GroupVersionInfo, len(ids))
	for i, id := range ids {
		known[i] = &basedefine.GroupVersionInfo{GroupId: proto.Uint32(uint32(id)), Version: proto.Uint32(0)}
	}
	return c.GroupInfoSince(ctx, known)
}

// GroupInfoSince returns those groups that are newer than the versions known
// (0x0403).
func (c *Client) GroupInfoSince(ctx context.Context, known []*basedefine.GroupVersionInfo,
) ([]*basedefine.GroupInfo, error) {
	var res group.IMGroupInfoListRsp
	err := c.Do(ctx, wire.GroupInfoReq, &group.IMGroupInfoListReq{
		UserId: c.me(), GroupVersionList: known,
	}, wire.GroupInfoRes, &res)
	return res.GetGroupInfoList(), err
}

// CreateGroup creates a temporary group (0x0405). The server adds nobody on
// its own: members usually includes the own id.
func (c *Client) CreateGroup(ctx context.Context, name string, members ...uint32) (im.GroupID, error) {
	var res group.IMGroupCreateRsp
	err := c.Do(ctx, wire.GroupCreateReq, &group.IMGroupCreateReq{
		UserId: c.me(), GroupType: basedefine.GroupType_GROUP_TYPE_TMP.Enum(),
		GroupName: proto.String(name), GroupAvatar: proto.String(""), MemberIdList: members,
	}, wire.GroupCreateRes, &res)
	if err != nil {
		return 0, err
	}
	return im.GroupID(res.GetGroupId()), result(wire.GroupCreateRes, res.GetResultCode())
}

// AddMembers adds users to a group and returns all members (0x0407).
func (c *Client) AddMembers(ctx context.Context, id im.GroupID, users ...uint32) ([]uint32, error) {
	return c.changeMembers(ctx, id, basedefine.GroupModifyType_GROUP_MODIFY_TYPE_ADD, users)
}

// RemoveMembers removes users from a group and returns who is left (0x0407).
func (c *Client) RemoveMembers(ctx context.Context, id im.GroupID, users ...uint32) ([]uint32, error) {
	return c.changeMembers(ctx, id, basedefine.GroupModifyType_GROUP_MODIFY_TYPE_DEL, users)
}

// changeMembers adds or removes members.
func (c *Client) changeMembers(ctx context.Context, id im.GroupID, change basedefine.GroupModifyType,
	users []uint32,
) ([]uint32, error) {
	var res group.IMGroupChangeMemberRsp
	err := c.Do(ctx, wire.GroupChangeMemberReq, &group.IMGroupChangeMemberReq{
		UserId: c.me(), ChangeType: change.Enum(), GroupId: proto.Uint32(uint32(id)), MemberIdList: users,
	}, wire.GroupChangeMemberRes, &res)
	if err != nil {
		return nil, err
	}
	return res.GetCurUserIdList(), result(wire.GroupChangeMemberRes, res.GetResultCode())
}

// MuteGroup switches push notifications of a group off or on (0x0409).
func (c *Client) MuteGroup(ctx context.Context, id im.GroupID, mute bool) error {
	var res group.IMGroupShieldRsp
	err := c.Do(ctx, wire.GroupShieldReq, &group.IMGroupShieldReq{
		UserId: c.me(), GroupId: proto.Uint32(uint32(id)), ShieldStatus: flag(mute),
	}, wire.GroupShieldRes, &res)
	if err != nil {
		return err
	}
	return result(wire.GroupShieldRes, res.GetResultCode())
}

package httpserver

import (
	"fmt"
	"net/http"
	"slices"
	"unicode/utf8"

	"google.golang.org/protobuf/proto"

	"teamtalk/internal/im"
	"teamtalk/internal/wire"
	"teamtalk/pb/basedefine"
	"teamtalk/pb/extension"
	"teamtalk/pb/group"
)

// groupSummary is a group without its members.
type groupSummary struct {
	ID          uint32 `json:"group_id"`
	Name        string `json:"name"`
	Avatar      string `json:"avatar"`
	Type        string `json:"type"`       // normal or temporary
	CreatorID   uint32 `json:"creator_id"` // 0: made by a back end
	Version     uint32 `json:"version"`    // rises with every change of members
	MemberCount uint32 `json:"member_count"`
}

// groupFull is a group with its members.
type groupFull struct {
	groupSummary

	MemberIDs []uint32 `json:"member_ids"`
}

type groupPage struct {
	Groups     []groupSummary `json:"groups"`
	NextCursor string         `json:"next_cursor,omitempty"`
}

type groupList struct {
	Groups []groupSummary `json:"groups"`
}

type newGroup struct {
	Name      string   `json:"name"`
	Avatar    string   `json:"avatar,omitempty"`
	Type      string   `json:"type,omitempty"`       // normal (without it) or temporary
	CreatorID uint32   `json:"creator_id,omitempty"` // who may change the members; without it only back ends
	MemberIDs []uint32 `json:"member_ids"`
}

type newMembers struct {
	UserIDs []uint32 `json:"user_ids"`
}

type memberChange struct {
	Added     []uint32 `json:"added"`
	MemberIDs []uint32 `json:"member_ids"`
}

func groupOperations() []*operation {
	return []*operation{
		handle(operation{
			ID: "listGroups", Method: http.MethodGet, Path: "/groups", Scope: GroupsRead, Status: http.StatusOK,
			Summary: "Groups in ascending id.", Params: []param{cursorParam, limitParam},
		}, listGroups),
		handle(operation{
			ID: "listUserGroups", Method: http.MethodGet, Path: "/users/{user_id}/groups", Scope: GroupsRead,
			Status: http.StatusOK, Summary: "The groups a user is a member of.", Params: []param{userInPath},
		}, listUserGroups),
		handle(operation{
			ID: "createGroup", Method: http.MethodPost, Path: "/groups", Scope: GroupsWrite, Status: http.StatusCreated,
			Summary: "Make a group. The creator is a member only if he is among member_ids.",
		}, createGroup),
		handle(operation{
			ID: "getGroup", Method: http.MethodGet, Path: "/groups/{group_id}", Scope: GroupsRead, Status: http.StatusOK,
			Summary: "One group with its members.", Params: []param{groupInPath},
		}, getGroup),
		handle(operation{
			ID: "addMembers", Method: http.MethodPost, Path: "/groups/{group_id}/members", Scope: GroupsWrite,
			Status: http.StatusOK, Params: []param{groupInPath},
			Summary: "Add members. Who is one already stays one; the others are told.",
		}, addMembers),
		handle(operation{
			ID: "removeMember", Method: http.MethodDelete, Path: "/groups/{group_id}/members/{user_id}", Scope: GroupsWrite,
			Status: http.StatusNoContent, Params: []param{groupInPath, userInPath},
			Summary: "Remove a member. 404 if he is none.",
		}, removeMember),
	}
}

// Bounds of groups.
const (
	maxGroupName = 256 // characters
	maxAvatar    = 256 // characters
	maxMembers   = im.MaxMembers
)

// groupTypes are the words for IMGroup.type. Source: docs/protocol/storage.md.
var groupTypes = map[string]basedefine.GroupType{
	"normal": basedefine.GroupType_GROUP_TYPE_NORMAL, "temporary": basedefine.GroupType_GROUP_TYPE_TMP,
}

// check is called before the request is carried out.
func (g *newGroup) check() error {
	if err := checkName("name", g.Name, maxGroupName); err != nil {
		return err
	}
	if !utf8.ValidString(g.Avatar) || utf8.RuneCountInString(g.Avatar) > maxAvatar {
		return wrong("avatar", fmt.Sprintf("must have at most %d characters", maxAvatar))
	}
	if g.Type == "" {
		g.Type = "normal"
	}
	if groupTypes[g.Type] == 0 {
		return wrong("type", "must be normal or temporary")
	}
	return checkIDs("member_ids", g.MemberIDs)
}

// check is called before the request is carried out.
func (m *newMembers) check() error { return checkIDs("user_ids", m.UserIDs) }

func checkIDs(field string, ids []uint32) error {
	switch {
	case len(ids) == 0:
		return wrong(field, "must name somebody")
	case len(ids) > maxMembers:
		return tooLarge(field, fmt.Sprintf("must name at most %d users in one request", maxMembers))
	}
	if i := slices.Index(ids, 0); i >= 0 {
		return wrong(fmt.Sprintf("%s.%d", field, i), "must be a number from 1 to 4294967295")
	}
	return nil
}

// existing refuses a request that names users who do not exist, before
// anything is done.
func (c *call) existing(field string, ids []uint32) error {
	found, err := c.accounts(ids...)
	if err != nil {
		return err
	}
	if unknown := unknownOf(ids, found); len(unknown) > 0 {
		return missing(fmt.Sprintf("user %d", unknown[0]), field)
	}
	return nil
}

func summaryOf(g *basedefine.GroupInfo, members uint32) groupSummary {
	name := "temporary"
	if g.GetGroupType() == basedefine.GroupType_GROUP_TYPE_NORMAL {
		name = "normal"
	}
	return groupSummary{
		ID: g.GetGroupId(), Name: g.GetGroupName(), Avatar: g.GetGroupAvatar(), Type: name,
		CreatorID: g.GetGroupCreatorId(), Version: g.GetVersion(), MemberCount: members,
	}
}

func (c *call) groups(req *extension.IMApiGroupsReq) ([]groupSummary, *extension.IMApiGroupsRsp, error) {
	res := new(extension.IMApiGroupsRsp)
	if err := c.server.backend.API(c.ctx(), req, wire.APIGroupsReq, res); err != nil {
		return nil, nil, err
	}
	all := []groupSummary{}
	for i, g := range res.GetGroups() {
		all = append(all, summaryOf(g, res.GetMemberCounts()[i]))
	}
	return all, res, nil
}

func listGroups(c *call, _ *none) (*groupPage, error) {
	p, err := c.page("groups")
	if err != nil {
		return nil, err
	}
	all, res, err := c.groups(&extension.IMApiGroupsReq{AfterGroupId: proto.Uint32(p.after), Limit: proto.Uint32(p.limit)})
	if err != nil {
		return nil, err
	}
	out := &groupPage{Groups: all}
	if n := len(all); n > 0 {
		out.NextCursor = next(res.GetMore(), "groups", all[n-1].ID)
	}
	return out, nil
}

func listUserGroups(c *call, _ *none) (*groupList, error) {
	id, err := c.pathID(userInPath)
	if err != nil {
		return nil, err
	}
	if _, err := c.account(id, userInPath.Name); err != nil {
		return nil, err
	}
	all, _, err := c.groups(&extension.IMApiGroupsReq{UserId: proto.Uint32(id)})
	return &groupList{Groups: all}, err
}

// group returns a group with its members; 404 on field if there is none.
func (c *call) group(id uint32, field string) (*groupFull, error) {
	all, res, err := c.groups(&extension.IMApiGroupsReq{GroupIds: []uint32{id}})
	if err != nil {
		return nil, err
	}
	if len(all) == 0 {
		return nil, missing(fmt.Sprintf("group %d", id), field)
	}
	members := append([]uint32{}, res.GetGroups()[0].GetGroupMemberList()...)
	return &groupFull{groupSummary: all[0], MemberIDs: members}, nil
}

func getGroup(c *call, _ *none) (*groupFull, error) {
	id, err := c.pathID(groupInPath)
	if err != nil {
		return nil, err
	}
	return c.group(id, groupInPath.Name)
}

func createGroup(c *call, in *newGroup) (*groupFull, error) {
	if err := c.existing("member_ids", in.MemberIDs); err != nil {
		return nil, err
	}
	if in.CreatorID != 0 {
		if _, err := c.account(in.CreatorID, "creator_id"); err != nil {
			return nil, err
		}
	}
	c.subject = "group:" + in.Name
	res, err := c.server.createGroup(c.ctx(), &group.IMGroupCreateReq{
		UserId: proto.Uint32(in.CreatorID), GroupType: groupTypes[in.Type].Enum(),
		GroupName: proto.String(in.Name), GroupAvatar: proto.String(in.Avatar), MemberIdList: in.MemberIDs,
		AttemptRequest: c.once.Attempt().GetRequestId(), AttemptToken: c.once.Attempt().GetToken(),
	})
	if err != nil {
		return nil, err
	}
	if res.GetResultCode() != 0 {
		return nil, im.Errorf(im.Unavailable, "db_proxy did not make the group")
	}
	c.subject = fmt.Sprintf("group:%d", res.GetGroupId())
	return c.group(res.GetGroupId(), "")
}

// changeMembers adds or removes, and tells those concerned. ok is false if
// nothing was changed.
func (c *call) changeMembers(
	id uint32, how basedefine.GroupModifyType, ids []uint32,
) (res *group.IMGroupChangeMemberRsp, ok bool, err error) {
	c.subject = fmt.Sprintf("group:%d", id)
	res, err = c.server.changeMembers(c.ctx(), &group.IMGroupChangeMemberReq{
		UserId: proto.Uint32(0), ChangeType: how.Enum(), GroupId: proto.Uint32(id), MemberIdList: ids,
	})
	if err != nil {
		return nil, false, err
	}
	if res.GetResultCode() != 0 {
		c.subject = ""
		return res, false, nil
	}
	return res, true, nil
}

// containsAll reports whether all of the users are among the members.
func containsAll(members, users []uint32) bool {
	is := make(map[uint32]bool, len(members))
	for _, m := range members {
		is[m] = true
	}
	return !slices.ContainsFunc(users, func(u uint32) bool { return !is[u] })
}

func addMembers(c *call, in *newMembers) (*memberChange, error) {
	id, err := c.pathID(groupInPath)
	if err != nil {
		return nil, err
	}
	before, err := c.group(id, groupInPath.Name)
	if err != nil {
		return nil, err
	}
	if err := c.existing("user_ids", in.UserIDs); err != nil {
		return nil, err
	}
	if containsAll(before.MemberIDs, in.UserIDs) {
		return &memberChange{Added: []uint32{}, MemberIDs: before.MemberIDs}, nil
	}
	res, ok, err := c.changeMembers(id, basedefine.GroupModifyType_GROUP_MODIFY_TYPE_ADD, in.UserIDs)
	if err != nil {
		return nil, err
	}
	if ok && !containsAll(res.GetCurUserIdList(), in.UserIDs) {
		return nil, im.Errorf(im.Unavailable, "db_proxy added %d members to group %d and then failed",
			len(res.GetChgUserIdList()), id)
	}
	if ok {
		return &memberChange{Added: res.GetChgUserIdList(), MemberIDs: res.GetCurUserIdList()}, nil
	}
	after, err := c.group(id, groupInPath.Name)
	if err != nil {
		return nil, err
	}
	if !containsAll(after.MemberIDs, in.UserIDs) {
		return nil, im.Errorf(im.Unavailable, "db_proxy did not change group %d", id)
	}
	return &memberChange{Added: []uint32{}, MemberIDs: after.MemberIDs}, nil // somebody else was faster
}

func removeMember(c *call, _ *none) (*none, error) {
	id, err := c.pathID(groupInPath)
	if err != nil {
		return nil, err
	}
	member, err := c.pathID(userInPath)
	if err != nil {
		return nil, err
	}
	before, err := c.group(id, groupInPath.Name)
	if err != nil {
		return nil, err
	}
	if c.once.Again() && !slices.Contains(before.MemberIDs, member) {
		return &none{}, nil // the attempt before removed him, or somebody else did
	}
	gone := missing(fmt.Sprintf("member %d of group %d", member, id), userInPath.Name)
	if !slices.Contains(before.MemberIDs, member) {
		return nil, gone
	}
	_, ok, err := c.changeMembers(id, basedefine.GroupModifyType_GROUP_MODIFY_TYPE_DEL, []uint32{member})
	if err != nil {
		return nil, err
	}
	if !ok {
		if after, err := c.group(id, groupInPath.Name); err != nil || slices.Contains(after.MemberIDs, member) {
			return nil, im.Errorf(im.Unavailable, "db_proxy did not change group %d", id)
		}
		return nil, gone
	}
	return &none{}, nil
}

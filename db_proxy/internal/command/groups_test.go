package command

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"teamtalk/db_proxy/internal/store"
	"teamtalk/internal/im"
	"teamtalk/internal/wire"
	"teamtalk/pb/basedefine"
	"teamtalk/pb/group"
	"teamtalk/pb/server"
)

// versions makes the list of 0403 from pairs of group id and version.
func versions(pairs ...uint32) []*basedefine.GroupVersionInfo {
	var out []*basedefine.GroupVersionInfo
	for i := 0; i < len(pairs); i += 2 {
		out = append(out, &basedefine.GroupVersionInfo{GroupId: &pairs[i], Version: &pairs[i+1]})
	}
	return out
}

func TestGroupList(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	e.group(groupTemporary, e.alice, e.bob)
	first := e.group(groupNormal, e.alice, e.bob)
	e.pass(1e9)
	second := e.group(groupNormal, e.bob)
	e.changeMembers(second, []im.UserID{e.alice}, nil)
	for user, want := range map[im.UserID][]*basedefine.GroupVersionInfo{
		e.alice: versions(uint32(second), 2, uint32(first), 1),
		e.carol: nil,
	} {
		res := new(group.IMNormalGroupListRsp)
		id := proto.Uint32(uint32(user))
		e.ok(wire.GroupListReq, &group.IMNormalGroupListReq{UserId: id, AttachData: attach}, res)
		equal(t, fmt.Sprint("groups of ", user), res, &group.IMNormalGroupListRsp{UserId: id, GroupVersionList: want, AttachData: attach})
	}
}

func TestGroupInfo(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	g, other := uint32(e.group(groupTemporary, e.bob, e.alice)), uint32(e.group(groupNormal, e.bob, e.carol))
	e.changeMembers(im.GroupID(g), nil, []im.UserID{e.alice})
	e.changeMembers(im.GroupID(g), []im.UserID{e.alice}, nil)
	info := func(shield uint32) []*basedefine.GroupInfo {
		return []*basedefine.GroupInfo{{
			GroupId: &g, Version: proto.Uint32(3), GroupName: proto.String("group"), GroupAvatar: proto.String("g0/1.png"),
			GroupCreatorId: proto.Uint32(uint32(e.bob)), GroupType: basedefine.GroupType_GROUP_TYPE_TMP.Enum(),
			ShieldStatus: &shield, GroupMemberList: []uint32{uint32(e.alice), uint32(e.bob)},
		}}
	}
	ask := func(name string, user im.UserID, list []*basedefine.GroupVersionInfo, want []*basedefine.GroupInfo) {
		t.Helper()
		res := new(group.IMGroupInfoListRsp)
		id := proto.Uint32(uint32(user))
		e.ok(wire.GroupInfoReq, &group.IMGroupInfoListReq{UserId: id, GroupVersionList: list, AttachData: attach}, res)
		equal(t, name, res, &group.IMGroupInfoListRsp{UserId: id, GroupInfoList: want, AttachData: attach})
	}
	ask("in any case", e.alice, versions(g, 0), info(0))
	ask("older", e.alice, versions(g, 2), info(0))
	ask("up to date", e.alice, versions(g, 3), nil)
	ask("twice", e.alice, versions(g, 3, g, 0), info(0))
	ask("twice the other way", e.alice, versions(g, 0, g, 3), nil)
	ask("unknown, foreign and own", e.alice, versions(9999, 0, other, 0, g, 0), info(0))
	ask("stranger", e.carol, versions(g, 0), nil)
	ask("nobody", 0, versions(g, 0), nil)
	ask("nothing", e.alice, nil, nil)
	if err := e.store.SetGroupShield(t.Context(), e.alice, im.GroupID(g), true); err != nil {
		t.Fatal(err)
	}
	ask("muted", e.alice, versions(g, 0), info(1))
	ask("muted by another", e.bob, versions(g, 0), info(0))
}

// The group that changed last comes first, whatever the order of the request.
// Source: docs/protocol/flows.md §12.2.
func TestGroupInfoOrder(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	first, second := e.group(groupNormal, e.bob, e.alice), e.group(groupNormal, e.bob, e.alice)
	e.pass(time.Minute)
	e.changeMembers(second, []im.UserID{e.carol}, nil)
	res := new(group.IMGroupInfoListRsp)
	e.ok(wire.GroupInfoReq, &group.IMGroupInfoListReq{
		UserId: proto.Uint32(uint32(e.bob)), GroupVersionList: versions(uint32(first), 0, uint32(second), 0),
	}, res)
	var got []im.GroupID
	for _, info := range res.GetGroupInfoList() {
		got = append(got, im.GroupID(info.GetGroupId()))
	}
	if want := []im.GroupID{second, first}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

// Who may change a group: its creator everything, a member of a temporary one
// may add, everybody may leave. Source: docs/protocol/defects.md B19, D1, D9.
func TestMayChange(t *testing.T) {
	t.Parallel()
	const creator, member, stranger, other = 1, 2, 3, 4
	for name, tt := range map[string]struct {
		kind   uint8
		user   im.UserID
		adding bool
		asked  []im.UserID
		want   bool
	}{
		"creator adds":             {groupNormal, creator, true, []im.UserID{stranger, other}, true},
		"creator removes":          {groupTemporary, creator, false, []im.UserID{member, other}, true},
		"member adds":              {groupTemporary, member, true, []im.UserID{stranger}, true},
		"member adds to a normal":  {groupNormal, member, true, []im.UserID{stranger}, false},
		"member removes":           {groupTemporary, member, false, []im.UserID{creator}, false},
		"member leaves":            {groupNormal, member, false, []im.UserID{member}, true},
		"member takes others away": {groupTemporary, member, false, []im.UserID{member, creator}, false},
		"stranger invites himself": {groupTemporary, stranger, true, []im.UserID{stranger}, false},
		"stranger adds":            {groupTemporary, stranger, true, []im.UserID{other}, false},
		"stranger removes":         {groupTemporary, stranger, false, []im.UserID{member}, false},
		"http_msg_server":          {groupNormal, 0, true, []im.UserID{stranger}, true},
	} {
		st := store.Standing{Creator: creator, Type: tt.kind, Member: tt.user == creator || tt.user == member}
		if got := mayChange(st, tt.user, tt.adding, tt.asked); got != tt.want {
			t.Errorf("%s: %v, want %v", name, got, tt.want)
		}
	}
}

func TestGroupShield(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	g := uint32(e.group(groupTemporary, e.alice, e.bob))
	set := func(name string, user im.UserID, id, status, result uint32) {
		t.Helper()
		res := new(group.IMGroupShieldRsp)
		u := proto.Uint32(uint32(user))
		err := e.ask(wire.GroupShieldReq, &group.IMGroupShieldReq{UserId: u, GroupId: &id, ShieldStatus: &status, AttachData: attach}, res)
		equal(t, name, res, &group.IMGroupShieldRsp{UserId: u, GroupId: &id, ResultCode: &result, AttachData: attach})
		if (err == nil) != (result == 0) {
			t.Errorf("%s: %v", name, err)
		}
	}
	check := func(name string, want ...uint32) {
		t.Helper()
		res := new(server.IMGroupGetShieldRsp)
		users := []uint32{uint32(e.bob), uint32(e.alice), 9999}
		e.ok(wire.GroupShieldsReq, &server.IMGroupGetShieldReq{GroupId: &g, UserId: users, AttachData: attach}, res)
		list := make([]*basedefine.ShieldStatus, len(users))
		for i := range users {
			list[i] = &basedefine.ShieldStatus{UserId: &users[i], GroupId: &g, ShieldStatus: &want[i]}
		}
		equal(t, name, res, &server.IMGroupGetShieldRsp{GroupId: &g, ShieldStatusList: list, AttachData: attach})
	}
	check("at first", 0, 0, 0)
	set("mute", e.alice, g, 1, 0)
	set("mute again", e.alice, g, 1, 0)
	check("muted", 0, 1, 0)
	if got := e.redis.HGet(fmt.Sprint("group_set_", g), fmt.Sprint(e.alice, "_1")); got != "1" {
		t.Errorf("mirror says %q", got)
	}
	set("unmute", e.alice, g, 0, 0)
	check("unmuted", 0, 0, 0)
	set("no status", e.alice, g, 2, 1)
	set("stranger", e.carol, g, 1, 1)
	set("no group", e.alice, 9999, 1, 1)
}

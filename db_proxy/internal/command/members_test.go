package command

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"teamtalk/db_proxy/internal/lane"
	"teamtalk/db_proxy/internal/store"
	"teamtalk/internal/im"
	"teamtalk/internal/wire"
	"teamtalk/pb/basedefine"
	"teamtalk/pb/buddy"
	"teamtalk/pb/group"
	"teamtalk/pb/message"
)

const (
	adding   = basedefine.GroupModifyType_GROUP_MODIFY_TYPE_ADD
	removing = basedefine.GroupModifyType_GROUP_MODIFY_TYPE_DEL
)

// crowd makes accounts and returns their ids.
func (e *env) crowd(n int) []uint32 {
	e.t.Helper()
	list := make([]store.NewUser, n)
	for i := range list {
		list[i] = store.NewUser{Name: fmt.Sprint("member", i), Nick: "m"}
	}
	made, err := e.store.CreateUsers(e.t.Context(), list)
	if err != nil {
		e.t.Fatal(err)
	}
	ids := make([]uint32, n)
	for i := range made {
		ids[i] = uint32(made[i].ID)
	}
	return ids
}

func unknown(n int) []uint32 {
	ids := make([]uint32, n)
	for i := range ids {
		ids[i] = uint32(1_000_000 + i)
	}
	return ids
}

func (e *env) change(user im.UserID, g im.GroupID, how basedefine.GroupModifyType, ids []uint32) *group.IMGroupChangeMemberRsp {
	e.t.Helper()
	m, _ := e.try(faultCase{wire.GroupChangeMemberReq, &group.IMGroupChangeMemberReq{
		UserId: proto.Uint32(uint32(user)), ChangeType: how.Enum(), GroupId: proto.Uint32(uint32(g)), MemberIdList: ids,
	}})
	res, ok := m.(*group.IMGroupChangeMemberRsp)
	if !ok {
		e.t.Fatalf("answer %v", m)
	}
	return res
}

func (e *env) create(user im.UserID, ids []uint32) *group.IMGroupCreateRsp {
	e.t.Helper()
	m, _ := e.try(faultCase{wire.GroupCreateReq, &group.IMGroupCreateReq{
		UserId: proto.Uint32(uint32(user)), GroupType: basedefine.GroupType_GROUP_TYPE_TMP.Enum(),
		GroupName: proto.String("large"), GroupAvatar: proto.String(""), MemberIdList: ids,
	}})
	res, ok := m.(*group.IMGroupCreateRsp)
	if !ok {
		e.t.Fatalf("answer %v", m)
	}
	return res
}

// calls counts the statements, commits and round trips to Redis of do.
func (e *env) calls(do func()) int {
	e.t.Helper()
	e.faults.arm(0)
	do()
	return e.faults.disarm()
}

// A group of 10,000 is made in parts, each as large as one request may be, and
// no request costs a look-up per member.
func TestLargeGroups(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	e.noAPI = true
	ids := append(e.crowd(2*im.MaxMembers-1), uint32(e.alice))
	slices.Sort(ids)
	first, rest := append([]uint32{uint32(e.alice)}, ids[1:im.MaxMembers]...), ids[im.MaxMembers:]
	for name, res := range map[string]uint32{
		"one too many":  e.create(e.alice, append(first[:im.MaxMembers:im.MaxMembers], first[0])).GetResultCode(),
		"unknown ids":   e.create(e.alice, unknown(im.MaxMembers)).GetResultCode(),
		"20,000 ids":    e.create(e.alice, unknown(20_000)).GetResultCode(),
		"nobody at all": e.create(e.alice, nil).GetResultCode(),
	} {
		if res != 1 {
			t.Errorf("%s: result %d", name, res)
		}
	}
	var made *group.IMGroupCreateRsp
	if n := e.calls(func() { made = e.create(e.alice, first) }); n > 30 {
		t.Errorf("a group of %d takes %d calls", im.MaxMembers, n)
	}
	if made.GetResultCode() != 0 || len(made.GetUserIdList()) != im.MaxMembers {
		t.Fatalf("result %d, %d members", made.GetResultCode(), len(made.GetUserIdList()))
	}
	g := im.GroupID(made.GetGroupId())
	for name, res := range map[string]*group.IMGroupChangeMemberRsp{
		"one too many": e.change(e.alice, g, adding, append(slices.Clip(rest), ids[:im.MaxMembers+1-len(rest)]...)),
		"20,000 ids":   e.change(e.alice, g, removing, unknown(20_000)),
		"unknown ids":  e.change(e.alice, g, adding, unknown(im.MaxMembers)),
	} {
		if res.GetResultCode() != 1 || len(res.GetCurUserIdList()) != 0 {
			t.Errorf("%s: result %d, %d members", name, res.GetResultCode(), len(res.GetCurUserIdList()))
		}
	}
	most := 30 + len(rest)/changeSize*20
	for missing := len(rest); missing > 0; { // a slow machine does it in parts, and says so
		var added *group.IMGroupChangeMemberRsp
		if n := e.calls(func() { added = e.change(e.alice, g, adding, rest) }); n > most {
			t.Errorf("%d more take %d calls, at most %d", len(rest), n, most)
		}
		missing -= len(added.GetChgUserIdList())
		if added.GetResultCode() != 0 || len(added.GetCurUserIdList()) != len(ids)-missing {
			t.Fatalf("result %d, %d added, %d missing, %d members", added.GetResultCode(),
				len(added.GetChgUserIdList()), missing, len(added.GetCurUserIdList()))
		}
	}
	// One more costs the same in a large group as in a small one.
	if n := e.calls(func() { e.change(e.alice, g, removing, ids[:1]) }); n > 40 {
		t.Errorf("one member less takes %d calls", n)
	}
}

// What stands in a list is looked up by one statement, not by one each.
func TestNoLookUpPerElement(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	e.noAPI = true
	ids := append(e.crowd(300), uint32(e.alice))
	g := im.GroupID(e.create(e.alice, ids).GetGroupId())
	var versions []*basedefine.GroupVersionInfo
	for i := range 100 {
		other := e.group(groupTemporary, e.alice, im.UserID(ids[i]))
		e.send(e.alice, im.Single, ids[i], "x")
		e.send(e.alice, im.Group, uint32(other), "x")
		versions = append(versions, &basedefine.GroupVersionInfo{GroupId: proto.Uint32(uint32(other)), Version: proto.Uint32(0)})
	}
	e.settle()
	n := proto.Uint32
	alice := n(uint32(e.alice))
	for name, c := range map[string]struct {
		faultCase
		most int
	}{
		"users":    {faultCase{wire.UserInfoReq, &buddy.IMUsersInfoReq{UserId: alice, UserIdList: append(unknown(20_000), ids...)}}, 6},
		"sessions": {faultCase{wire.RecentSessionsReq, &buddy.IMRecentContactSessionReq{UserId: alice, LatestUpdateTime: n(0)}}, 12},
		"groups":   {faultCase{wire.GroupInfoReq, &group.IMGroupInfoListReq{UserId: alice, GroupVersionList: versions}}, 6},
		"by id": {faultCase{wire.MsgByIDReq, &message.IMGetMsgByIdReq{
			UserId: alice, SessionType: basedefine.SessionType_SESSION_TYPE_GROUP.Enum(), SessionId: n(uint32(g)), MsgIdList: unknown(20_000),
		}}, 6},
		"unread": {faultCase{wire.UnreadCountReq, &message.IMUnreadMsgCntReq{UserId: alice}}, 30},
	} {
		e.pass(11 * time.Second) // nothing is remembered
		if calls := e.calls(func() {
			if _, err := e.try(c.faultCase); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}); calls > c.most {
			t.Errorf("%s: %d calls, at most %d", name, calls, c.most)
		}
	}
}

// 40 requests with 20,000 unknown ids each, and 40 with as many as are looked
// at, do not keep anybody's messages waiting in the lanes.
func TestHugeListsStopNobody(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	e.noAPI = true
	g := e.group(groupTemporary, e.alice, e.bob)
	asked := make(chan uint32, 80)
	for i := range 80 {
		size := 20_000
		if i%2 == 0 {
			size = im.MaxMembers
		}
		body := e.encode(&group.IMGroupChangeMemberReq{
			UserId: proto.Uint32(uint32(e.alice)), ChangeType: adding.Enum(), GroupId: proto.Uint32(uint32(g)), MemberIdList: unknown(size),
		})
		_ = e.row(wire.GroupChangeMemberReq).Operation(&Request{
			Command: wire.GroupChangeMemberReq, Body: body,
			Reply: func(_ wire.Command, m proto.Message) { asked <- m.(*group.IMGroupChangeMemberRsp).GetResultCode() },
		})
	}
	stored := make(chan error, 20)
	for i := range 20 {
		err := e.lanes.Submit(&lane.Send{
			Conv: im.SingleOf(e.bob, e.carol), From: e.bob, Type: im.SingleText, Content: "x", Op: im.OperationID{2, byte(i)},
			Done: func(_ lane.Sent, err error) { stored <- err },
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	for range 20 {
		if err := <-stored; err != nil {
			t.Errorf("an unrelated message: %v", err)
		}
	}
	for range 80 {
		if result := <-asked; result != 1 {
			t.Errorf("result %d", result)
		}
	}
}

// Nobody who left governs a group, and what clients see is who does.
func TestGovernedGroups(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	e.noAPI = true
	g := e.group(groupTemporary, e.alice, e.bob, e.carol)
	creator := func(asker im.UserID) uint32 {
		t.Helper()
		res := new(group.IMGroupInfoListRsp)
		e.ok(wire.GroupInfoReq, &group.IMGroupInfoListReq{
			UserId: proto.Uint32(uint32(asker)), GroupVersionList: versions(uint32(g), 1),
		}, res)
		if len(res.GetGroupInfoList()) != 1 {
			t.Fatalf("answer %v", res)
		}
		return res.GetGroupInfoList()[0].GetGroupCreatorId()
	}
	if res := e.change(e.alice, g, removing, []uint32{uint32(e.alice)}); res.GetResultCode() != 0 {
		t.Fatalf("the creator may not leave: %v", res)
	}
	if got := creator(e.carol); got != uint32(e.bob) {
		t.Errorf("the creator is %d, want %d", got, e.bob)
	}
	if res := e.change(e.alice, g, removing, []uint32{uint32(e.carol)}); res.GetResultCode() != 1 {
		t.Error("who left removes others")
	}
	e.closeByHand(fmt.Sprintf("UPDATE IMUser SET status = 3 WHERE id = %d", e.bob))
	if res := e.change(e.carol, g, removing, []uint32{uint32(e.bob)}); res.GetResultCode() != 0 {
		t.Errorf("nobody governs the group: %v", res)
	}
	if got := creator(e.carol); got != uint32(e.carol) {
		t.Errorf("the creator is %d, want %d", got, e.carol)
	}
}

// A creator who removes more than one part holds, and leaves with them, leaves
// nobody behind for being gone before the rest.
func TestCreatorLeavesWithMany(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	e.noAPI = true
	crowd := e.crowd(changeSize + 50)
	creator := im.UserID(crowd[0]) // the lowest id: he would be in the first part
	g := im.GroupID(e.create(creator, append(crowd, uint32(e.alice))).GetGroupId())
	res := e.change(creator, g, removing, crowd)
	if res.GetResultCode() != 0 || len(res.GetChgUserIdList()) != len(crowd) {
		t.Errorf("result %d, %d of %d left", res.GetResultCode(), len(res.GetChgUserIdList()), len(crowd))
	}
	if !slices.Equal(res.GetCurUserIdList(), []uint32{uint32(e.alice)}) {
		t.Errorf("%d members stay", len(res.GetCurUserIdList()))
	}
}

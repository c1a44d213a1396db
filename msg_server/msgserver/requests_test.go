package msgserver

import (
	"bytes"
	"slices"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"teamtalk/internal/im"
	"teamtalk/internal/link/linktest"
	"teamtalk/internal/wire"
	"teamtalk/pb/basedefine"
	"teamtalk/pb/buddy"
	"teamtalk/pb/extension"
	"teamtalk/pb/group"
	"teamtalk/pb/login"
	"teamtalk/pb/message"
	"teamtalk/pb/switchservice"
)

// question is a request that a db_proxy answers.
type question struct {
	command wire.Command
	req     proto.Message
	answer  wire.Command
	res     proto.Message
	noDB    proto.Message // the answer without a db_proxy; nil: none
}

func n(v uint32) *uint32 { return proto.Uint32(v) }

// questions are all of them, sent by user 7 who calls himself 99.
// Source: docs/protocol/commands.md; docs/protocol/flows.md §20.
func questions() []question {
	one, gr := basedefine.SessionType_SESSION_TYPE_SINGLE.Enum(), basedefine.SessionType_SESSION_TYPE_GROUP.Enum()
	change := basedefine.GroupModifyType_GROUP_MODIFY_TYPE_ADD.Enum()
	tmp := basedefine.GroupType_GROUP_TYPE_TMP.Enum()
	return []question{
		{
			wire.PushShieldReq, &login.IMPushShieldReq{UserId: n(99), ShieldStatus: n(1)},
			wire.PushShieldRes, &login.IMPushShieldRsp{UserId: n(7), ResultCode: n(0), ShieldStatus: n(1)}, nil,
		},
		{
			wire.QueryPushShieldReq, &login.IMQueryPushShieldReq{UserId: n(99)},
			wire.QueryPushShieldRes, &login.IMQueryPushShieldRsp{UserId: n(7), ResultCode: n(0), ShieldStatus: n(1)}, nil,
		},
		{
			wire.RecentSessionsReq, &buddy.IMRecentContactSessionReq{UserId: n(99), LatestUpdateTime: n(5)},
			wire.RecentSessionsRes, &buddy.IMRecentContactSessionRsp{UserId: n(7)}, nil,
		},
		{
			wire.UserInfoReq, &buddy.IMUsersInfoReq{UserId: n(99), UserIdList: []uint32{1, 2}},
			wire.UserInfoRes, &buddy.IMUsersInfoRsp{UserId: n(7), UserInfoList: []*basedefine.UserInfo{account(1)}}, nil,
		},
		{
			wire.RemoveSessionReq, &buddy.IMRemoveSessionReq{UserId: n(99), SessionType: gr, SessionId: n(500)},
			wire.RemoveSessionRes, &buddy.IMRemoveSessionRsp{UserId: n(7), ResultCode: n(0), SessionType: gr, SessionId: n(500)}, nil,
		},
		{
			wire.AllUsersReq, &buddy.IMAllUserReq{UserId: n(99), LatestUpdateTime: n(5)},
			wire.AllUsersRes, &buddy.IMAllUserRsp{UserId: n(7), LatestUpdateTime: n(6), UserList: []*basedefine.UserInfo{account(1)}}, nil,
		},
		{
			wire.ChangeAvatarReq, &buddy.IMChangeAvatarReq{UserId: n(99), AvatarUrl: proto.String("g0/1.png")},
			wire.ChangeAvatarRes, &buddy.IMChangeAvatarRsp{UserId: n(7), ResultCode: n(0)}, nil,
		},
		{
			wire.DepartmentsReq, &buddy.IMDepartmentReq{UserId: n(99), LatestUpdateTime: n(5)},
			wire.DepartmentsRes, &buddy.IMDepartmentRsp{UserId: n(7), LatestUpdateTime: n(5)}, nil,
		},
		{
			wire.ChangeSignInfoReq, &buddy.IMChangeSignInfoReq{UserId: n(99), SignInfo: proto.String("s")},
			wire.ChangeSignInfoRes, &buddy.IMChangeSignInfoRsp{UserId: n(7), ResultCode: n(1)}, nil,
		},
		{
			wire.UnreadCountReq, &message.IMUnreadMsgCntReq{UserId: n(99)},
			wire.UnreadCountRes, &message.IMUnreadMsgCntRsp{UserId: n(7), TotalCnt: n(0)}, nil,
		},
		{
			wire.MsgListReq, &message.IMGetMsgListReq{UserId: n(99), SessionType: one, SessionId: n(9), MsgIdBegin: n(0), MsgCnt: n(20)},
			wire.MsgListRes, &message.IMGetMsgListRsp{UserId: n(7), SessionType: one, SessionId: n(9), MsgIdBegin: n(0)}, nil,
		},
		{
			wire.LatestMsgIDReq, &message.IMGetLatestMsgIdReq{UserId: n(99), SessionType: one, SessionId: n(9)},
			wire.LatestMsgIDRes, &message.IMGetLatestMsgIdRsp{UserId: n(7), SessionType: one, SessionId: n(9), LatestMsgId: n(3)}, nil,
		},
		{
			wire.MsgByIDReq, &message.IMGetMsgByIdReq{UserId: n(99), SessionType: one, SessionId: n(9), MsgIdList: []uint32{1}},
			wire.MsgByIDRes, &message.IMGetMsgByIdRsp{UserId: n(7), SessionType: one, SessionId: n(9)}, nil,
		},
		{
			wire.GroupListReq, &group.IMNormalGroupListReq{UserId: n(99)},
			wire.GroupListRes, &group.IMNormalGroupListRsp{UserId: n(7), GroupVersionList: []*basedefine.GroupVersionInfo{{GroupId: n(1), Version: n(1)}}},
			&group.IMNormalGroupListRsp{UserId: n(7)},
		},
		{
			wire.GroupInfoReq, &group.IMGroupInfoListReq{UserId: n(99), GroupVersionList: []*basedefine.GroupVersionInfo{{GroupId: n(1), Version: n(1)}}},
			wire.GroupInfoRes, &group.IMGroupInfoListRsp{UserId: n(7)}, &group.IMGroupInfoListRsp{UserId: n(7)},
		},
		{
			wire.GroupCreateReq, &group.IMGroupCreateReq{UserId: n(99), GroupType: tmp, GroupName: proto.String("g"), GroupAvatar: proto.String(""), MemberIdList: []uint32{7, 8}},
			wire.GroupCreateRes, &group.IMGroupCreateRsp{UserId: n(7), ResultCode: n(0), GroupId: n(1), GroupName: proto.String("g"), UserIdList: []uint32{7, 8}},
			&group.IMGroupCreateRsp{UserId: n(7), ResultCode: n(1), GroupName: proto.String("g")},
		},
		{
			wire.GroupChangeMemberReq, &group.IMGroupChangeMemberReq{UserId: n(99), ChangeType: change, GroupId: n(1), MemberIdList: []uint32{8}},
			wire.GroupChangeMemberRes, &group.IMGroupChangeMemberRsp{UserId: n(7), ChangeType: change, ResultCode: n(1), GroupId: n(1)},
			&group.IMGroupChangeMemberRsp{UserId: n(7), ChangeType: change, ResultCode: n(1), GroupId: n(1)},
		},
		{
			wire.GroupShieldReq, &group.IMGroupShieldReq{UserId: n(99), GroupId: n(1), ShieldStatus: n(1)},
			wire.GroupShieldRes, &group.IMGroupShieldRsp{UserId: n(7), GroupId: n(1), ResultCode: n(0)},
			&group.IMGroupShieldRsp{UserId: n(7), GroupId: n(1), ResultCode: n(1)},
		},
	}
}

func fieldOf(m proto.Message, number protoreflect.FieldNumber) protoreflect.Value {
	return m.ProtoReflect().Get(m.ProtoReflect().Descriptor().Fields().ByNumber(number))
}

// set returns a copy of m with a field changed.
func set(m proto.Message, number protoreflect.FieldNumber, v protoreflect.Value) proto.Message {
	changed := proto.Clone(m)
	changed.ProtoReflect().Set(changed.ProtoReflect().Descriptor().Fields().ByNumber(number), v)
	return changed
}

// Every request reaches a db_proxy under the user of the log-in, and its
// answer the one who asked, with his seq and without our note.
func TestRequestsPassThrough(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	asker, phone := w.login(7, im.Windows), w.login(7, im.IOS)
	for i, q := range questions() {
		seq := uint16(0xff01 + i)
		forged := set(q.req, fieldAttach, protoBytes([]byte("forged")))
		asker.send(q.command, seq, forged)
		r := w.db1.want(q.command)
		got := decode(t, r.Body, q.req.ProtoReflect().New().Interface())
		attach := fieldOf(got, fieldAttach).Bytes()
		want := set(set(q.req, fieldUser, protoUint32(7)), fieldAttach, protoBytes(attach))
		if r.Seq != seq || !proto.Equal(got, want) || bytes.Equal(attach, []byte("forged")) {
			t.Errorf("%v: seq %d, %v", q.command, r.Seq, got)
		}
		r.answer(t, q.answer, set(q.res, fieldAttach, protoBytes(attach)))
		res := q.res.ProtoReflect().New().Interface()
		if pdu := asker.want(q.answer, res); pdu.Seq != seq || !proto.Equal(res, q.res) {
			t.Errorf("%v: seq %d, %v", q.answer, pdu.Seq, res)
		}
		if q.command == wire.ChangeAvatarReq { // see TestAvatar
			phone.push(q.answer, res)
			phone.push(wire.AvatarChangedNotify, nil)
			asker.push(wire.AvatarChangedNotify, nil)
		}
		asker.sendBody(q.command, seq, []byte{0xff})
		asker.quiet()
		w.db1.quiet()
	}
	if int(w.dropped("bad_body")) != len(questions()) {
		t.Error("garbage is not counted")
	}
	phone.quiet()
	// Answers to somebody who is gone, and bodies that are none.
	for _, q := range questions() {
		w.db1.send(q.answer, 1, set(q.res, fieldAttach, protoBytes(attachConn(1<<40))))
		w.db1.send(q.answer, 1, q.res)
		w.db1.sendBody(q.answer, 1, []byte{0xff})
	}
	linktest.Eventually(t, "answers for nobody", func() bool {
		return int(w.dropped("client_gone")) == 2*len(questions()) && int(w.dropped("bad_body")) == 2*len(questions())
	})
	asker.quiet()
	phone.quiet()
}

// Before the log-in everything but log-in, log-out and heartbeat is dropped.
// Source: docs/protocol/defects.md C2, D1.
func TestNothingBeforeTheLogIn(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	u := w.connect()
	dropped := 0
	for _, q := range questions() {
		u.send(q.command, 1, set(q.req, fieldUser, protoUint32(0)))
		dropped++
	}
	for _, command := range []wire.Command{
		wire.MsgData, wire.MsgDataAck, wire.MsgReadAck, wire.TimeReq, wire.DeviceTokenReq, wire.KickPCReq,
		wire.UsersStatusReq, wire.P2PCommand,
	} {
		u.sendBody(command, 1, nil)
		dropped++
	}
	u.quiet()
	if got := int(w.dropped("before_login")); got != dropped {
		t.Errorf("%d dropped, want %d", got, dropped)
	}
	w.db1.quiet()
	w.route1.quiet()
}

// Without a db_proxy who has a result field is answered; nobody is told that
// there is nothing. Source: docs/protocol/flows.md §20;
// docs/protocol/defects.md F1 to F3, F6.
func TestRequestsWithoutDBProxy(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	u, phone := w.login(7, im.Windows), w.login(7, im.Android)
	w.db1.stop()
	linktest.Eventually(t, "no db_proxy", func() bool { return !w.db.Open() })
	for i, q := range questions() {
		u.send(q.command, uint16(i), q.req)
		if q.noDB == nil {
			u.quiet()
			continue
		}
		res := q.noDB.ProtoReflect().New().Interface()
		if pdu := u.want(q.answer, res); pdu.Seq != uint16(i) || !proto.Equal(res, q.noDB) {
			t.Errorf("%v: %v, want %v", q.answer, res, q.noDB)
		}
	}
	phone.send(wire.DeviceTokenReq, 3, &login.IMDeviceTokenReq{UserId: n(0), DeviceToken: proto.String("t")})
	res := new(login.IMDeviceTokenRsp)
	if pdu := phone.want(wire.DeviceTokenRes, res); pdu.Seq != 3 || res.GetUserId() != 7 {
		t.Errorf("0109: %v", res)
	}
	u.send(wire.MsgReadAck, 1, &message.IMMsgDataReadAck{
		UserId: n(0), SessionId: n(9), MsgId: n(4), SessionType: basedefine.SessionType_SESSION_TYPE_SINGLE.Enum(),
	})
	phone.push(wire.MsgReadNotify, nil)
	u.send(wire.RemoveSessionReq, 1, &buddy.IMRemoveSessionReq{
		UserId: n(0), SessionId: n(9), SessionType: basedefine.SessionType_SESSION_TYPE_SINGLE.Enum(),
	})
	phone.push(wire.RemoveSessionNotify, nil)
	u.send(wire.LogoutReq, 5, &login.IMLogoutReq{})
	u.want(wire.LogoutRes, nil)
}

// A device token is that of a phone. Source: docs/protocol/flows.md §14;
// docs/protocol/defects.md F1.
func TestDeviceToken(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	pc, phone := w.login(7, im.Mac), w.login(7, im.Android)
	req := &login.IMDeviceTokenReq{UserId: n(99), DeviceToken: proto.String("token"), ClientType: basedefine.ClientType_CLIENT_TYPE_IOS.Enum()}
	pc.send(wire.DeviceTokenReq, 3, req)
	pc.quiet()
	phone.sendBody(wire.DeviceTokenReq, 3, []byte{0xff})
	phone.send(wire.DeviceTokenReq, 4, req)
	res := new(login.IMDeviceTokenRsp)
	if pdu := phone.want(wire.DeviceTokenRes, res); pdu.Seq != 4 || res.GetUserId() != 7 {
		t.Errorf("0109: %v", res)
	}
	r := w.db1.want(wire.DeviceTokenReq)
	m := decode(t, r.Body, new(login.IMDeviceTokenReq))
	if m.GetUserId() != 7 || m.GetDeviceToken() != "token" || m.GetClientType() != basedefine.ClientType_CLIENT_TYPE_ANDROID {
		t.Errorf("0108: %v", m)
	}
	// Its answer is for nobody.
	r.answer(t, wire.DeviceTokenRes, &login.IMDeviceTokenRsp{UserId: n(7), AttachData: m.GetAttachData()})
	phone.quiet()
	w.db1.quiet()
}

// Read state and hidden sessions reach the user's other terminals, here and
// elsewhere, whatever the db_proxy says.
// Source: docs/protocol/flows.md §8.1, §10.2.
func TestOwnTerminals(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	u, phone, peer := w.login(7, im.Mac), w.login(7, im.IOS), w.login(9, im.Mac)
	one, gr := basedefine.SessionType_SESSION_TYPE_SINGLE.Enum(), basedefine.SessionType_SESSION_TYPE_GROUP.Enum()
	relayed := func(command wire.Command, want proto.Message) {
		t.Helper()
		m := decode(t, w.route1.want(wire.Relay).Body, new(extension.IMRelay))
		if wire.Command(m.GetCommand()) != command || !slices.Equal(m.GetTargets(), []uint32{7}) || m.GetOrder() != nil ||
			!proto.Equal(decode(t, m.GetBody(), want.ProtoReflect().New().Interface()), want) {
			t.Errorf("0783: %v", m)
		}
	}
	for _, kind := range []*basedefine.SessionType{one, gr} {
		u.send(wire.MsgReadAck, 8, &message.IMMsgDataReadAck{UserId: n(99), SessionId: n(9), MsgId: n(4), SessionType: kind})
		r := w.db1.want(wire.MsgReadAck)
		want := &message.IMMsgDataReadAck{UserId: n(7), SessionId: n(9), MsgId: n(4), SessionType: kind}
		if got := decode(t, r.Body, new(message.IMMsgDataReadAck)); !proto.Equal(got, want) {
			t.Errorf("0303: %v", got)
		}
		note, got := &message.IMMsgDataReadNotify{UserId: n(7), SessionId: n(9), MsgId: n(4), SessionType: kind}, new(message.IMMsgDataReadNotify)
		if phone.push(wire.MsgReadNotify, got); !proto.Equal(got, note) {
			t.Errorf("0304: %v", got)
		}
		relayed(wire.MsgReadNotify, note)
	}
	u.send(wire.RemoveSessionReq, 9, &buddy.IMRemoveSessionReq{UserId: n(99), SessionType: one, SessionId: n(9)})
	note, got := &buddy.IMRemoveSessionNotify{UserId: n(7), SessionType: one, SessionId: n(9)}, new(buddy.IMRemoveSessionNotify)
	if phone.push(wire.RemoveSessionNotify, got); !proto.Equal(got, note) {
		t.Errorf("020F: %v", got)
	}
	relayed(wire.RemoveSessionNotify, note)
	w.db1.want(wire.RemoveSessionReq)
	u.send(wire.RemoveSessionReq, 9, &buddy.IMRemoveSessionReq{UserId: n(99), SessionType: gr, SessionId: n(9)})
	w.db1.want(wire.RemoveSessionReq)
	for _, command := range []wire.Command{wire.MsgReadAck, wire.RemoveSessionReq} {
		u.sendBody(command, 1, []byte{0xff})
	}
	u.send(wire.RemoveSessionReq, 9, &buddy.IMRemoveSessionReq{UserId: n(7), SessionType: basedefine.SessionType(3).Enum(), SessionId: n(9)})
	u.send(wire.MsgReadAck, 8, &message.IMMsgDataReadAck{UserId: n(7), SessionId: n(9), MsgId: n(4), SessionType: basedefine.SessionType(0).Enum()})
	for _, c := range []*user{u, phone, peer} {
		c.quiet()
	}
	w.db1.quiet()
	w.route1.quiet()
}

// Who is on-line: asked of a route_server, answered to the one who asked.
// Source: docs/protocol/flows.md §4.2.
func TestUsersStatus(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	u := w.login(7, im.Mac)
	u.sendBody(wire.UsersStatusReq, 12, []byte{0xff})
	u.send(wire.UsersStatusReq, 12, &buddy.IMUsersStatReq{UserId: n(99), UserIdList: []uint32{3, 1, 3}, AttachData: []byte("x")})
	r := w.route1.want(wire.UsersStatusReq)
	req := decode(t, r.Body, new(buddy.IMUsersStatReq))
	if r.Seq != 12 || req.GetUserId() != 7 || !slices.Equal(req.GetUserIdList(), []uint32{3, 1, 3}) {
		t.Errorf("020A: seq %d, %v", r.Seq, req)
	}
	want := &buddy.IMUsersStatRsp{UserId: n(7), UserStatList: []*basedefine.UserStat{
		{UserId: n(3), Status: basedefine.UserStatType_USER_STATUS_ONLINE.Enum()},
	}}
	r.answer(t, wire.UsersStatusRes, set(want, fieldAttach, protoBytes(req.GetAttachData())))
	got := new(buddy.IMUsersStatRsp)
	if pdu := u.want(wire.UsersStatusRes, got); pdu.Seq != 12 || !proto.Equal(got, want) {
		t.Errorf("020B: %v", got)
	}
	w.route1.stop()
	linktest.Eventually(t, "no route_server", func() bool { return !w.routes.open() })
	u.send(wire.UsersStatusReq, 13, req)
	u.quiet()
	// What needs a route_server only for others goes on.
	// Source: docs/protocol/flows.md §20.
	w.db1.does(storing(t, nil))
	u.send(wire.MsgData, 14, say(single, 9, "x"))
	u.acked(14)
	u.send(wire.P2PCommand, 15, &switchservice.IMP2PCmdMsg{FromUserId: n(7), ToUserId: n(9), CmdMsgData: proto.String("{}")})
	u.quiet()
}

// Changed members: the answer to who asked, one notice to each connection of
// those who are or were members. Source: docs/protocol/flows.md §12.4;
// docs/protocol/defects.md B18.
func TestMembersChanged(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	asker, own := w.login(7, im.Mac), w.login(7, im.IOS)
	added, addedPhone, stays, stranger := w.login(8, im.Mac), w.login(8, im.Android), w.login(9, im.Mac), w.login(10, im.Mac)
	change := basedefine.GroupModifyType_GROUP_MODIFY_TYPE_ADD.Enum()
	req := &group.IMGroupChangeMemberReq{UserId: n(0), ChangeType: change, GroupId: n(1), MemberIdList: []uint32{8}}
	asker.send(wire.GroupChangeMemberReq, 4, req)
	r := w.db1.want(wire.GroupChangeMemberReq)
	attach := decode(t, r.Body, new(group.IMGroupChangeMemberReq)).GetAttachData()
	res := &group.IMGroupChangeMemberRsp{
		UserId: n(7), ChangeType: change, ResultCode: n(0), GroupId: n(1), CurUserIdList: []uint32{7, 8, 9, 55}, ChgUserIdList: []uint32{8},
	}
	r.answer(t, wire.GroupChangeMemberRes, set(res, fieldAttach, protoBytes(attach)))
	got := new(group.IMGroupChangeMemberRsp)
	if pdu := asker.want(wire.GroupChangeMemberRes, got); pdu.Seq != 4 || !proto.Equal(got, res) {
		t.Errorf("0408: %v", got)
	}
	want := &group.IMGroupChangeMemberNotify{
		UserId: n(7), ChangeType: change, GroupId: n(1), CurUserIdList: []uint32{7, 8, 9, 55}, ChgUserIdList: []uint32{8},
	}
	for _, u := range []*user{own, added, addedPhone, stays} {
		note := new(group.IMGroupChangeMemberNotify)
		if u.push(wire.GroupChangeMemberNotify, note); !proto.Equal(note, want) {
			t.Errorf("040B: %v", note)
		}
	}
	m := decode(t, w.route1.want(wire.Relay).Body, new(extension.IMRelay))
	if !slices.Equal(m.GetTargets(), []uint32{7, 8, 9, 55}) || wire.Command(m.GetCommand()) != wire.GroupChangeMemberNotify {
		t.Errorf("0783: %v", m)
	}
	// The one who asked is gone: the others hear of it all the same. A failure
	// is nobody else's business.
	w.db1.send(wire.GroupChangeMemberRes, 5, set(res, fieldAttach, protoBytes(attachConn(1<<40))))
	for _, u := range []*user{asker, own, added, addedPhone, stays} {
		u.push(wire.GroupChangeMemberNotify, nil)
	}
	w.route1.want(wire.Relay)
	failed := proto.Clone(res).(*group.IMGroupChangeMemberRsp)
	failed.ResultCode = n(1)
	w.db1.send(wire.GroupChangeMemberRes, 6, set(failed, fieldAttach, protoBytes(attach)))
	asker.want(wire.GroupChangeMemberRes, nil)
	for _, u := range []*user{asker, own, added, addedPhone, stays, stranger} {
		u.quiet()
	}
	w.route1.quiet()
	// A group of no kind, a change of no kind, a normal group.
	req.ChangeType = basedefine.GroupModifyType(3).Enum()
	asker.send(wire.GroupChangeMemberReq, 4, req)
	create := &group.IMGroupCreateReq{UserId: n(0), GroupType: basedefine.GroupType(3).Enum(), GroupName: proto.String("g"), GroupAvatar: proto.String("")}
	asker.send(wire.GroupCreateReq, 4, create)
	asker.quiet()
	create.GroupType = basedefine.GroupType_GROUP_TYPE_NORMAL.Enum()
	asker.send(wire.GroupCreateReq, 4, create)
	made := new(group.IMGroupCreateRsp)
	if asker.want(wire.GroupCreateRes, made); made.GetResultCode() != 1 || made.GetGroupName() != "g" {
		t.Errorf("0406: %v", made)
	}
	w.db1.quiet()
}

// Commands from user to user. Source: docs/protocol/flows.md §13;
// docs/protocol/defects.md A16, D7.
func TestP2PCommands(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	u, phone := w.login(7, im.Mac), w.login(7, im.IOS)
	peer, other := w.login(9, im.Windows), w.login(8, im.Mac)
	cases := []struct {
		to      uint32
		get     []*user
		targets []uint32
	}{{9, []*user{phone, peer}, []uint32{7, 9}}, {7, []*user{phone}, []uint32{7}}, {77, []*user{phone}, []uint32{7, 77}}}
	for _, tc := range cases {
		u.send(wire.P2PCommand, 99, &switchservice.IMP2PCmdMsg{FromUserId: n(5), ToUserId: n(tc.to), CmdMsgData: proto.String("{}")})
		want := &switchservice.IMP2PCmdMsg{FromUserId: n(7), ToUserId: n(tc.to), CmdMsgData: proto.String("{}")}
		for _, c := range tc.get {
			got := new(switchservice.IMP2PCmdMsg)
			if c.push(wire.P2PCommand, got); !proto.Equal(got, want) {
				t.Errorf("0601: %v", got)
			}
		}
		m := decode(t, w.route1.want(wire.Relay).Body, new(extension.IMRelay))
		if !slices.Equal(m.GetTargets(), tc.targets) {
			t.Errorf("0783: %v", m)
		}
	}
	u.sendBody(wire.P2PCommand, 99, []byte{0xff})
	for _, c := range []*user{u, phone, peer, other} {
		c.quiet()
	}
	w.route1.quiet()
}

// A new signature is told to everybody, once: an original route_server brings
// it back, ours does not. Source: docs/protocol/flows.md §11;
// docs/protocol/defects.md F8.
func TestSignature(t *testing.T) {
	t.Parallel()
	for name, route := range map[string]*neighbour{"ours": ourRoute(t), "original": originalRoute(t)} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorldOf(t, setup{routes: []*neighbour{route}})
			u, other := w.login(7, im.Mac), w.login(8, im.IOS)
			route.does(func(r received) bool {
				if r.Command == wire.SignInfoChangedNotify {
					r.from.SendPDU(r.Command, 0, r.Body)
				}
				return r.Command != wire.Relay
			})
			for _, gone := range []bool{false, true} {
				u.send(wire.ChangeSignInfoReq, 3, &buddy.IMChangeSignInfoReq{UserId: n(0), SignInfo: proto.String("new")})
				r := w.db1.want(wire.ChangeSignInfoReq)
				res := &buddy.IMChangeSignInfoRsp{UserId: n(7), ResultCode: n(0), SignInfo: proto.String("new")}
				res.AttachData = attachConn(1 << 40)
				if !gone {
					res.AttachData = decode(t, r.Body, new(buddy.IMChangeSignInfoReq)).GetAttachData()
				}
				r.answer(t, wire.ChangeSignInfoRes, res)
				if !gone {
					got := new(buddy.IMChangeSignInfoRsp)
					if pdu := u.want(wire.ChangeSignInfoRes, got); pdu.Seq != 3 || got.AttachData != nil {
						t.Errorf("0214: %v", got)
					}
				}
				for _, c := range []*user{u, other} {
					note := new(buddy.IMSignInfoChangedNotify)
					if c.push(wire.SignInfoChangedNotify, note); note.GetChangedUserId() != 7 || note.GetSignInfo() != "new" {
						t.Errorf("0215: %v", note)
					}
				}
				if name == "ours" {
					m := decode(t, route.want(wire.Relay).Body, new(extension.IMRelay))
					if len(m.GetTargets()) != 0 || wire.Command(m.GetCommand()) != wire.SignInfoChangedNotify {
						t.Errorf("0783: %v", m)
					}
				}
			}
			u.quiet()
			other.quiet()
			if w.dropped("bad_body") != 0 {
				t.Error("the news is taken for something else, too")
			}
		})
	}
}

// A new avatar is told to the user's terminals and to everybody, on every
// server of ours. Originals know neither between servers.
// Source: docs/protocol/flows.md §11; docs/protocol/defects.md F4.
func TestAvatar(t *testing.T) {
	t.Parallel()
	for name, route := range map[string]*neighbour{"ours": ourRoute(t), "original": originalRoute(t)} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorldOf(t, setup{routes: []*neighbour{route}})
			u, own, other := w.login(7, im.Mac), w.login(7, im.Android), w.login(8, im.Windows)
			ask := func(result uint32) {
				u.send(wire.ChangeAvatarReq, 3, &buddy.IMChangeAvatarReq{UserId: n(0), AvatarUrl: proto.String("g0/new.png")})
				r := w.db1.want(wire.ChangeAvatarReq)
				req := decode(t, r.Body, new(buddy.IMChangeAvatarReq))
				if req.GetUserId() != 7 || req.GetAvatarUrl() != "g0/new.png" {
					t.Errorf("020C: %v", req)
				}
				r.answer(t, wire.ChangeAvatarRes, &buddy.IMChangeAvatarRsp{
					UserId: n(7), ResultCode: n(result), AttachData: req.GetAttachData(),
				})
				res := new(buddy.IMChangeAvatarRsp)
				if pdu := u.want(wire.ChangeAvatarRes, res); pdu.Seq != 3 || res.GetResultCode() != result || res.AttachData != nil {
					t.Errorf("020D: seq %d, %v", pdu.Seq, res)
				}
			}
			ask(1)
			own.quiet()
			ask(0)
			own.push(wire.ChangeAvatarRes, nil)
			for _, c := range []*user{u, own, other} {
				note := new(buddy.IMAvatarChangedNotify)
				if c.push(wire.AvatarChangedNotify, note); note.GetChangedUserId() != 7 || note.GetAvatarUrl() != "g0/new.png" {
					t.Errorf("0212: %v", note)
				}
				c.quiet()
			}
			if name == "ours" {
				for _, want := range []struct {
					command wire.Command
					targets []uint32
				}{{wire.ChangeAvatarRes, []uint32{7}}, {wire.AvatarChangedNotify, nil}} {
					m := decode(t, route.want(wire.Relay).Body, new(extension.IMRelay))
					if wire.Command(m.GetCommand()) != want.command || !slices.Equal(m.GetTargets(), want.targets) {
						t.Errorf("0783: %v", m)
					}
				}
			}
			route.quiet()
		})
	}
}

// Heartbeats come back byte for byte, unknown ids are ignored, a broken length
// ends the connection. Source: docs/protocol/wire.md §1, §2;
// docs/protocol/commands.md.
func TestFrames(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, u := range []*user{w.connect(), w.login(7, im.Mac)} {
		beat := []byte{0, 0, 0, 19, 0, 6, 0, 1, 0, 7, 7, 1, 0x12, 0x34, 0, 0x30, 'a', 'b', 'c'}
		if _, err := u.Write(beat); err != nil {
			t.Fatal(err)
		}
		pdu := u.next()
		if got := append(frameOf(pdu.Header), pdu.Body...); !bytes.Equal(got, beat) {
			t.Errorf("sent %x, got %x", beat, got)
		}
		// Ids of old clients, of no client, of servers, and extensions.
		for _, command := range []wire.Command{
			0x0735, 0x0002, 0x0012, 0x0014, 0x000b, 0, 0xffff, wire.ValidateRes, wire.StopReceive, wire.Hello,
			wire.HelloProof, wire.Relay, wire.DeviceTokensReq, wire.ServerKickUser, wire.LoginRes, wire.MsgNack,
			wire.MsgDelivered,
		} {
			u.sendBody(command, 5, []byte("?"))
		}
		u.quiet()
		u.send(wire.TimeReq, 6, &message.IMClientTimeReq{})
	}
	res := new(message.IMClientTimeRsp)
	if pdu := w.users[1].want(wire.TimeRes, res); pdu.Seq != 6 || res.GetServerTime() != uint32(w.clock().Unix()) {
		t.Errorf("0306: seq %d, %v", pdu.Seq, res)
	}
	for _, length := range []uint32{0, 15, wire.MaxClientPDU + 1} {
		u := w.connect()
		if _, err := u.Write(frameOf(wire.Header{Length: length, Command: wire.Heartbeat})); err != nil {
			t.Fatal(err)
		}
		u.closed()
	}
	if w.dropped("unknown_command") != 33 || w.dropped("before_login") != 2 { // 0382 means something after a log-in
		t.Errorf("%v unknown commands", w.dropped("unknown_command"))
	}
	// From servers, too.
	for _, command := range []wire.Command{0x0735, wire.ValidateReq, wire.LoginReq, wire.DeviceTokensRes, wire.GroupShieldsRes} {
		for _, n := range []*neighbour{w.db1, w.route1, w.login1} {
			n.sendBody(command, 0, []byte("?"))
		}
	}
	linktest.Eventually(t, "unknown commands of servers", func() bool { return w.dropped("unknown_command") == 33+15 })
	if w.Ready() != nil {
		t.Error("not ready any more")
	}
}

func frameOf(h wire.Header) []byte {
	frame := wire.AppendHeader(nil, h.Command, h.Seq, h.Reserved, int(h.Length)-wire.HeaderSize)
	frame[4], frame[5] = byte(h.Version>>8), byte(h.Version)
	frame[6], frame[7] = byte(h.Flag>>8), byte(h.Flag)
	frame[8], frame[9] = byte(h.Service>>8), byte(h.Service)
	return frame
}

// The two fields that every request shares.
func TestFieldsOfRequests(t *testing.T) {
	t.Parallel()
	for _, q := range questions() {
		fields := q.req.ProtoReflect().Descriptor().Fields()
		if fields.ByNumber(fieldUser).Name() != "user_id" || fields.ByNumber(fieldAttach).Name() != "attach_data" {
			t.Errorf("%v: other fields", q.command)
		}
	}
}

package msgserver

import (
	"slices"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"teamtalk/internal/im"
	"teamtalk/internal/link/linktest"
	"teamtalk/internal/wire"
	"teamtalk/msg_server/internal/deliver"
	"teamtalk/pb/basedefine"
	"teamtalk/pb/extension"
	"teamtalk/pb/group"
	"teamtalk/pb/message"
	"teamtalk/pb/server"
)

// An original db_proxy gets and gives what it knows, and no more.
func TestOriginalDBProxy(t *testing.T) {
	t.Parallel()
	db := originalDB(t)
	db.does(nil)
	w := newWorldOf(t, setup{dbs: []*neighbour{db}})
	u := w.connect()
	u.id = 7
	u.send(wire.LoginReq, 1, loginOf(7, im.Mac, "client_msg_id", "nack"))
	r := db.want(wire.ValidateReq)
	if req := decode(t, r.Body, new(server.IMValidateReq)); extensions(req) != nil {
		t.Errorf("0703: %v", req)
	}
	letIn(t)(r)
	u.want(wire.LoginRes, nil)
	db.does(letIn(t))
	receiver := w.login(9, im.Mac)

	m := say(single, 9, "x")
	m.ClientMsgId = proto.String("01890a5d-ac96-774b-bcce-b302099a8057")
	u.send(wire.MsgData, 5, m)
	r, asked := db.stores()
	if extensions(asked) != nil || asked.GetFromUserId() != 7 || len(asked.GetAttachData()) != 12 {
		t.Errorf("0301: %v", asked)
	}
	r.keep(t, 3, nil)
	if ack := u.acked(5); ack.GetMsgId() != 3 || ack.ClientMsgId != nil {
		t.Errorf("0302: %v", ack)
	}
	receiver.gets(7, 9, 3)
	// What ours would read as a code or an order is nothing here.
	u.send(wire.MsgData, 6, m)
	r, _ = db.stores()
	r.keep(t, 0, nil)
	nack := new(extension.IMMsgNack)
	if u.want(wire.MsgNack, nack); im.Code(nack.GetReason()) != im.Internal {
		t.Errorf("0381: %v", nack)
	}
	u.send(wire.MsgData, 7, say(single, 9, "y"))
	r, _ = db.stores()
	r.keep(t, 9, func(m *message.IMMsgData) { m.SincePreviousMs = n(1) })
	u.acked(7)
	receiver.gets(7, 9, 9) // not held
}

// The members of a group are asked of it before a message is delivered.
// Source: docs/protocol/flows.md §7.
func TestGroupOfAnOriginalDBProxy(t *testing.T) {
	t.Parallel()
	w := newWorldOf(t, setup{dbs: []*neighbour{originalDB(t)}})
	sender, own, member := w.login(7, im.Mac), w.login(7, im.IOS), w.login(9, im.Android)
	store := func(seq uint16, id uint32) received {
		t.Helper()
		sender.send(wire.MsgData, seq, say(inside, 500, "x"))
		r, _ := w.db1.stores()
		r.keep(t, id, nil)
		if ack := sender.acked(seq); ack.GetSessionType() != 2 || ack.GetMsgId() != id {
			t.Errorf("0302: %v", ack)
		}
		return w.db1.want(wire.GroupInfoReq)
	}
	answer := func(r received, groups ...*basedefine.GroupInfo) {
		t.Helper()
		req := decode(t, r.Body, new(group.IMGroupInfoListReq))
		list := req.GetGroupVersionList()
		if r.Seq != 0 || req.GetUserId() != 7 || len(list) != 1 || list[0].GetGroupId() != 500 || list[0].GetVersion() != 0 {
			t.Errorf("0403: seq %d, %v", r.Seq, req)
		}
		r.answer(t, wire.GroupInfoRes, &group.IMGroupInfoListRsp{
			UserId: n(7), GroupInfoList: groups, AttachData: req.GetAttachData(),
		})
	}
	of := func(members ...uint32) *basedefine.GroupInfo {
		return &basedefine.GroupInfo{
			GroupId: n(500), Version: n(1), GroupName: proto.String("g"), GroupAvatar: proto.String(""),
			GroupCreatorId: n(7), GroupType: basedefine.GroupType_GROUP_TYPE_TMP.Enum(), ShieldStatus: n(0),
			GroupMemberList: members,
		}
	}
	answer(store(1, 1), of(9, 7, 55))
	for _, u := range []*user{own, member} {
		u.gets(7, 500, 1)
	}
	relay := decode(t, w.route1.want(wire.Relay).Body, new(extension.IMRelay))
	if !slices.Equal(relay.GetTargets(), []uint32{9, 7, 55}) || relay.GetOrder().SincePreviousMs != nil {
		t.Errorf("0783: %v", relay)
	}
	// Not a member, no such group, no answer: it reaches nobody.
	answer(store(2, 2), of(9, 55))
	answer(store(3, 3))
	late := store(4, 4)
	w.skip(asksFor + time.Second)
	linktest.Eventually(t, "unknown members", func() bool {
		return w.dropped("sender_not_member") == 1 && w.dropped("members_unknown") == 2
	})
	answer(late, of(9, 7))
	linktest.Eventually(t, "the late answer", func() bool { return w.dropped("members_unknown") == 3 })
	// A message of another original server, for a group: asked without relay.
	m := say(inside, 500, "elsewhere")
	m.FromUserId, m.MsgId = n(7), n(6)
	w.route1.send(wire.MsgData, 44, m)
	answer(w.db1.want(wire.GroupInfoReq), of(9, 7))
	for _, u := range []*user{sender, own, member} {
		u.gets(7, 500, 6)
		u.quiet()
	}
	w.route1.quiet()
	w.db1.quiet()
	if w.delivered(deliver.Pushed) != 2 {
		t.Error("more was delivered")
	}
}

// What an original db_proxy may have stored is not stored a second time.
func TestOriginalDBProxyDies(t *testing.T) {
	t.Parallel()
	dbs := []*neighbour{originalDB(t), originalDB(t)}
	w := newWorldOf(t, setup{dbs: dbs})
	owner, other := dbs[0], dbs[1]
	conv := im.SingleOf(7, 9)
	if w.db.Owner(conv).Addr() == w.addrOf(other) {
		owner, other = other, owner
	}
	u := w.login(7, im.Mac, "nack")
	u.send(wire.MsgData, 5, say(single, 9, "x"))
	owner.stores()
	owner.stop()
	nack := new(extension.IMMsgNack)
	if u.want(wire.MsgNack, nack); im.Code(nack.GetReason()) != im.Unavailable || !nack.GetRetryable() {
		t.Errorf("0381: %v", nack)
	}
	other.quiet()
	u.send(wire.MsgData, 6, say(single, 9, "x"))
	if r, _ := other.stores(); r.Seq != 6 {
		t.Errorf("seq %d", r.Seq)
	}
}

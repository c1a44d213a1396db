package dbproxy

import (
	"database/sql"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/protobuf/proto"

	"teamtalk/client/textcrypt"
	"teamtalk/internal/im"
	"teamtalk/internal/link/linktest"
	"teamtalk/internal/testenv"
	"teamtalk/internal/wire"
	"teamtalk/pb/basedefine"
	"teamtalk/pb/group"
	"teamtalk/pb/message"
	"teamtalk/pb/server"
)

// backends are what db_proxy can store in.
var backends = map[string]func(testing.TB) string{"sqlite": embedded, "mariadb": external}

// storedBefore stands in since_previous_ms of the answer to a repeat.
const storedBefore = 4294967295

func text(from uint32, kind basedefine.MsgType, to uint32, data string) *message.IMMsgData {
	return &message.IMMsgData{
		FromUserId: proto.Uint32(from), ToSessionId: proto.Uint32(to), MsgId: proto.Uint32(999),
		CreateTime: proto.Uint32(uint32(time.Now().Unix())), MsgType: kind.Enum(), MsgData: []byte(data),
		AttachData: []byte{1, 2, 3},
	}
}

const (
	single = basedefine.MsgType_MSG_TYPE_SINGLE_TEXT
	inside = basedefine.MsgType_MSG_TYPE_GROUP_TEXT // of a group
)

// send stores a message, which must work, and returns the answer.
func (p *peer) send(m *message.IMMsgData) *message.IMMsgData {
	p.t.Helper()
	res := new(message.IMMsgData)
	p.ask(wire.MsgData, m, wire.MsgData, res)
	want := proto.Clone(m).(*message.IMMsgData)
	want.MsgId, want.CreateTime, want.OperationId = res.MsgId, res.CreateTime, nil
	want.SincePreviousMs, want.Members = res.SincePreviousMs, res.GetMembers()
	if !proto.Equal(res, want) {
		p.t.Errorf("answer %v\nwant %v", res, want)
	}
	return res
}

func each(t *testing.T, f func(t *testing.T, conf string)) {
	t.Helper()
	for name, conf := range backends {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f(t, conf(t))
		})
	}
}

// Source: docs/protocol.md; docs/protocol/flows.md §3, §6 to §9, §12.
func TestCapableServer(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, conf string) {
		t.Helper()
		r := start(t, conf)
		ids := r.accounts("alice", "bob", "carol")
		alice, bob, carol := ids[0], ids[1], ids[2]
		p := r.capable()
		testLogIn(t, p, alice)

		first := text(alice, single, bob, "first")
		first.OperationId = []byte("operation-000001")
		a := p.send(first)
		if a.GetMsgId() != 1 || a.SincePreviousMs != nil || a.GetMembers() != nil {
			t.Errorf("first message: %v", a)
		}
		if again := p.send(first); again.GetMsgId() != 1 || again.GetSincePreviousMs() != storedBefore ||
			again.GetCreateTime() != a.GetCreateTime() {
			t.Errorf("repeat: %v", again)
		}
		b := p.send(text(bob, single, alice, "second"))
		if b.GetMsgId() != 2 || b.SincePreviousMs == nil || b.GetSincePreviousMs() > 60_000 {
			t.Errorf("second message: %v", b)
		}
		testUnreadAndHistory(t, p, alice, bob)
		testGroup(t, p, alice, bob, carol)
		testRefusals(t, p, r, alice, bob)
	})
}

func testLogIn(t *testing.T, p *peer, alice uint32) {
	t.Helper()
	cases := map[string]struct {
		password string
		code     uint32
	}{"alice": {"12345", 0}, "mallory": {"12345", 1}, "bob": {"wrong", 1}}
	for name, tc := range cases {
		res := new(server.IMValidateRsp)
		p.ask(wire.ValidateReq, &server.IMValidateReq{
			UserName: proto.String(name), Password: proto.String(clientMD5(tc.password)), AttachData: []byte("who"),
			ClientAddr: proto.String("192.0.2.1"),
		}, wire.ValidateRes, res)
		if res.GetResultCode() != tc.code || res.GetUserName() != name || string(res.GetAttachData()) != "who" {
			t.Errorf("log-in of %s: %v", name, res)
		}
		if tc.code == 0 && res.GetUserInfo().GetUserId() != alice || tc.code != 0 && res.GetUserInfo() != nil {
			t.Errorf("log-in of %s: user %v", name, res.GetUserInfo())
		}
	}
}

func (p *peer) unread(user uint32) *message.IMUnreadMsgCntRsp {
	p.t.Helper()
	res := new(message.IMUnreadMsgCntRsp)
	p.ask(wire.UnreadCountReq, &message.IMUnreadMsgCntReq{UserId: proto.Uint32(user), AttachData: []byte("u")},
		wire.UnreadCountRes, res)
	if string(res.GetAttachData()) != "u" {
		p.t.Errorf("attach_data of 0308: %q", res.GetAttachData())
	}
	return res
}

func (p *peer) history(user uint32, kind basedefine.SessionType, session uint32) (ids []uint32) {
	p.t.Helper()
	res := new(message.IMGetMsgListRsp)
	p.ask(wire.MsgListReq, &message.IMGetMsgListReq{
		UserId: proto.Uint32(user), SessionType: kind.Enum(), SessionId: proto.Uint32(session),
		MsgIdBegin: proto.Uint32(0), MsgCnt: proto.Uint32(100),
	}, wire.MsgListRes, res)
	for _, m := range res.GetMsgList() {
		ids = append(ids, m.GetMsgId())
	}
	return ids
}

func testUnreadAndHistory(t *testing.T, p *peer, alice, bob uint32) {
	t.Helper()
	// Counters are written behind the commits.
	linktest.Eventually(t, "bob's unread message", func() bool { return p.unread(bob).GetTotalCnt() == 1 })
	res := p.unread(bob)
	if len(res.GetUnreadinfoList()) != 1 || res.GetUnreadinfoList()[0].GetSessionId() != alice ||
		string(res.GetUnreadinfoList()[0].GetLatestMsgData()) != "second" {
		t.Errorf("0308: %v", res)
	}
	p.Send(wire.MsgReadAck, 0, &message.IMMsgDataReadAck{
		UserId: proto.Uint32(bob), SessionId: proto.Uint32(alice), MsgId: proto.Uint32(1),
		SessionType: basedefine.SessionType_SESSION_TYPE_SINGLE.Enum(),
	})
	if n := p.unread(bob).GetTotalCnt(); n != 0 { // behind his own read
		t.Errorf("%d unread", n)
	}
	if ids := p.history(bob, basedefine.SessionType_SESSION_TYPE_SINGLE, alice); !slices.Equal(ids, []uint32{2, 1}) {
		t.Errorf("history %v", ids)
	}
}

func (p *peer) create(user uint32, members ...uint32) uint32 {
	p.t.Helper()
	res := new(group.IMGroupCreateRsp)
	p.ask(wire.GroupCreateReq, &group.IMGroupCreateReq{
		UserId: proto.Uint32(user), GroupType: basedefine.GroupType_GROUP_TYPE_TMP.Enum(),
		GroupName: proto.String("team"), GroupAvatar: proto.String(""), MemberIdList: members,
	}, wire.GroupCreateRes, res)
	if res.GetResultCode() != 0 || res.GetGroupId() == 0 {
		p.t.Fatalf("group not created: %v", res)
	}
	return res.GetGroupId()
}

func (p *peer) remove(user, from uint32, members ...uint32) *group.IMGroupChangeMemberRsp {
	p.t.Helper()
	res := new(group.IMGroupChangeMemberRsp)
	p.ask(wire.GroupChangeMemberReq, &group.IMGroupChangeMemberReq{
		UserId: proto.Uint32(user), ChangeType: basedefine.GroupModifyType_GROUP_MODIFY_TYPE_DEL.Enum(),
		GroupId: proto.Uint32(from), MemberIdList: members,
	}, wire.GroupChangeMemberRes, res)
	return res
}

func testGroup(t *testing.T, p *peer, alice, bob, carol uint32) {
	t.Helper()
	team := p.create(alice, alice, bob, carol)
	m := p.send(text(alice, inside, team, "to all"))
	if m.GetMsgId() != 1 || !slices.Equal(m.GetMembers(), []uint32{alice, bob, carol}) {
		t.Errorf("group message: %v", m)
	}
	// In one go: what he sent before is stored, what he sends behind it is not.
	p.Send(wire.MsgData, 1, text(carol, inside, team, "before"))
	p.Send(wire.GroupChangeMemberReq, 2, &group.IMGroupChangeMemberReq{
		UserId: proto.Uint32(alice), ChangeType: basedefine.GroupModifyType_GROUP_MODIFY_TYPE_DEL.Enum(),
		GroupId: proto.Uint32(team), MemberIdList: []uint32{carol},
	})
	p.Send(wire.MsgData, 3, text(carol, inside, team, "behind"))
	p.Send(wire.MsgData, 4, text(bob, inside, team, "left"))
	answers := map[uint16]wire.PDU{}
	for range 4 {
		pdu := p.Next()
		answers[pdu.Seq] = pdu
	}
	stored := func(seq uint16) *message.IMMsgData {
		m := new(message.IMMsgData)
		if err := proto.Unmarshal(answers[seq].Body, m); err != nil {
			t.Fatal(err)
		}
		return m
	}
	if stored(1).GetMsgId() != 2 || stored(4).GetMsgId() != 3 || !slices.Equal(stored(4).GetMembers(), []uint32{alice, bob}) {
		t.Errorf("messages around the removal: %v, %v", stored(1), stored(4))
	}
	if m := stored(3); m.GetMsgId() != 0 || im.Code(m.GetSincePreviousMs()) != im.Denied {
		t.Errorf("message of a removed member: %v", m)
	}
	if ids := p.history(bob, basedefine.SessionType_SESSION_TYPE_GROUP, team); !slices.Equal(ids, []uint32{3, 2, 1}) {
		t.Errorf("history of the group: %v", ids)
	}
	if res := p.remove(bob, team, alice); res.GetResultCode() != 1 {
		t.Errorf("a member removed the creator: %v", res)
	}
}

func testRefusals(t *testing.T, p *peer, r *running, alice, bob uint32) {
	t.Helper()
	strangers := r.group("strangers", "", "bob")
	long := text(alice, single, bob, strings.Repeat("x", im.MaxText+1))
	audio := text(alice, basedefine.MsgType_MSG_TYPE_SINGLE_AUDIO, bob, "12345678")
	cases := map[string]struct {
		m    *message.IMMsgData
		code im.Code
	}{
		"to oneself":   {text(alice, single, alice, "x"), im.Invalid},
		"to nobody":    {text(alice, single, 0, "x"), im.Invalid},
		"to no user":   {text(alice, single, 999_999, "x"), im.NotFound},
		"from nobody":  {text(0, single, bob, "x"), im.Invalid},
		"empty":        {text(alice, single, bob, ""), im.Invalid},
		"too long":     {long, im.TooLarge},
		"voice":        {audio, im.Unavailable}, // without MsfsSite
		"not a member": {text(alice, inside, strangers, "x"), im.Denied},
		"no group":     {text(alice, inside, 999_999, "x"), im.NotFound},
	}
	for name, tc := range cases {
		if m := p.send(tc.m); m.GetMsgId() != 0 || im.Code(m.GetSincePreviousMs()) != tc.code {
			t.Errorf("%s: id %d, %v; want %v", name, m.GetMsgId(), im.Code(m.GetSincePreviousMs()), tc.code)
		}
	}
}

// An original msg_server gets what an original db_proxy_server says, and
// silence where that is silent. Source: docs/protocol/flows.md §6, §7, §12.
func TestOriginalServer(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, conf string) {
		t.Helper()
		r := start(t, conf)
		ids := r.accounts("alice", "bob", "carol")
		alice, bob, carol := ids[0], ids[1], ids[2]
		p := r.original()
		testLogIn(t, p, alice)
		for i := range uint32(3) {
			if m := p.send(text(alice, single, bob, "hi")); m.GetMsgId() != i+1 || extensions(m) != nil {
				t.Errorf("answer %v", m)
			}
		}
		team := p.create(alice, alice, bob)
		if m := p.send(text(bob, inside, team, "hi")); m.GetMsgId() != 1 || extensions(m) != nil {
			t.Errorf("answer in a group: %v", m)
		}
		if m := p.send(text(alice, single, alice, "x")); m.GetMsgId() != 0 || extensions(m) != nil {
			t.Errorf("to oneself: %v", m)
		}
		if m := p.send(text(alice, single, 999_999, "x")); m.GetMsgId() != 0 || extensions(m) != nil {
			t.Errorf("to nobody: %v", m)
		}
		// No answer to what follows, then the answer to something else.
		p.Send(wire.MsgData, 50, text(carol, inside, team, "not a member"))
		p.Send(wire.MsgData, 51, text(carol, inside, 999_999, "no group"))
		p.SendBody(wire.MsgData, 52, []byte{0xff})
		p.SendBody(wire.Relay, 53, nil)
		if res := p.remove(alice, team, bob); res.GetResultCode() != 0 || !slices.Equal(res.GetCurUserIdList(), []uint32{alice}) {
			t.Errorf("0408: %v", res)
		}
		p.Send(wire.MsgData, 54, text(bob, inside, team, "removed"))
		if m := p.send(text(alice, inside, team, "after")); m.GetMsgId() != 2 {
			t.Errorf("after a removal: %v", m)
		}
		testUnreadOfOriginal(t, p, alice, bob)
	})
}

func testUnreadOfOriginal(t *testing.T, p *peer, alice, bob uint32) {
	t.Helper()
	linktest.Eventually(t, "bob's unread messages", func() bool { return p.unread(bob).GetTotalCnt() == 3 })
	p.Send(wire.MsgReadAck, 0, &message.IMMsgDataReadAck{
		UserId: proto.Uint32(bob), SessionId: proto.Uint32(alice), MsgId: proto.Uint32(3),
		SessionType: basedefine.SessionType_SESSION_TYPE_SINGLE.Enum(),
	})
	if n := p.unread(bob).GetTotalCnt(); n != 0 { // behind his own read
		t.Errorf("%d unread", n)
	}
	if ids := p.history(alice, basedefine.SessionType_SESSION_TYPE_SINGLE, bob); !slices.Equal(ids, []uint32{3, 2, 1}) {
		t.Errorf("history %v", ids)
	}
}

// Two db_proxies on one database: either may be asked, ids go on without a
// gap, a repeat is found by the other, and what one changes the other sees
// within a second.
func TestTwoServersOneDatabase(t *testing.T) {
	t.Parallel()
	conf := external(t)
	first, second := start(t, conf), start(t, conf)
	ids := first.accounts("alice", "bob", "carol")
	alice, bob, carol := ids[0], ids[1], ids[2]
	peers := []*peer{first.capable(), second.capable()}
	for i := range uint32(20) {
		m := text(alice, single, bob, "x")
		m.OperationId = fmt.Appendf(nil, "operation-%06d", i)
		if a := peers[i%2].send(m); a.GetMsgId() != i+1 {
			t.Fatalf("message %d: id %d", i+1, a.GetMsgId())
		}
		if again := peers[(i+1)%2].send(m); again.GetMsgId() != i+1 || again.GetSincePreviousMs() != storedBefore {
			t.Fatalf("repeat over the other: %v", again)
		}
	}
	team := peers[0].create(alice, alice, bob, carol)
	if m := peers[1].send(text(carol, inside, team, "here")); m.GetMsgId() != 1 || len(m.GetMembers()) != 3 {
		t.Errorf("in a group made at the other: %v", m)
	}
	if res := peers[0].remove(alice, team, carol); res.GetResultCode() != 0 {
		t.Fatal(res)
	}
	changed := time.Now()
	linktest.Eventually(t, "the refusal of a member removed at the other", func() bool {
		m := peers[1].send(text(carol, inside, team, "still here?"))
		return m.GetMsgId() == 0 && im.Code(m.GetSincePreviousMs()) == im.Denied
	})
	t.Logf("seen after %v", time.Since(changed))
	first.stop()
	if m := peers[1].send(text(bob, single, alice, "y")); m.GetMsgId() != 21 {
		t.Errorf("after the other stopped: %v", m)
	}
}

// A stop says 0702, answers everything that came before, and ends.
func TestStopAnswersWhatItAccepted(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, conf string) {
		t.Helper()
		r := start(t, conf)
		ids := r.accounts("alice", "bob")
		p := linktest.DialOriginal(t, r.addr)
		const messages = 500
		var frames []byte
		for i := range uint16(messages) {
			var err error
			frames, err = wire.AppendMessage(frames, wire.MsgData, i+1, text(ids[0], single, ids[1], "x"))
			if err != nil {
				t.Fatal(err)
			}
		}
		if _, err := p.Write(frames); err != nil {
			t.Fatal(err)
		}
		// The first answer shows that all have been sent.
		seen := []wire.PDU{p.Next()}
		go r.stop()
		pdus := append(seen, drainTo(t, p.Conn)...)
		answered, told := map[uint16]bool{}, 0
		for _, pdu := range pdus {
			switch pdu.Command {
			case wire.StopReceive:
				told++
			case wire.MsgData:
				answered[pdu.Seq] = true
			default:
				t.Errorf("unexpected %v", pdu.Command)
			}
		}
		if told != 1 || len(answered) != messages {
			t.Errorf("%d of %d answered, 0702 %d times", len(answered), messages, told)
		}
		r.stop()
		if _, err := net.Dial("tcp", r.addr); err == nil {
			t.Error("still listening")
		}
		// All of them are there after a start on the same data.
		again := start(t, conf)
		if ids := again.capable().history(ids[0], basedefine.SessionType_SESSION_TYPE_SINGLE, ids[1]); len(ids) != 100 || ids[0] != messages {
			t.Errorf("%d messages, newest %v", len(ids), ids[:min(1, len(ids))])
		}
	})
}

// The cache of one process answers its own process only.
func TestCacheInTheProcess(t *testing.T) {
	t.Parallel()
	r := start(t, embedded(t))
	if r.redis == nil {
		t.Fatal("no cache in the process")
	}
	conn, err := net.Dial("tcp", r.redis.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.Write([]byte("*2\r\n$4\r\nKEYS\r\n$1\r\n*\r\n")); err != nil {
		t.Fatal(err)
	}
	answer := make([]byte, 100)
	if n, err := conn.Read(answer); err != nil || !strings.HasPrefix(string(answer[:n]), "-NOAUTH") {
		t.Errorf("a stranger gets %q, %v", answer[:n], err)
	}
	addr := r.redis.Addr()
	r.stop()
	if _, err := net.Dial("tcp", addr); err == nil {
		t.Error("the cache outlives the server")
	}
	_, err = New(t.Context(), Config{StoreDriver: "mysql"}, Deps{
		Log: slog.New(slog.DiscardHandler), Reg: prometheus.NewRegistry(), Clock: time.Now,
	})
	if err == nil {
		t.Error("MySQL without a Redis was accepted")
	}
}

// Lists show a constant for a voice message, encrypted with the configured
// key. Source: docs/protocol/wire.md §5.2.
func TestVoiceText(t *testing.T) {
	t.Parallel()
	const key = "another key, of thirty-two bytes"
	database := testenv.MariaDB(t)
	r := start(t, externalOn(t, database)+"aesKey="+key+"\n")
	ids := r.accounts("alice", "bob")
	p := r.capable()
	p.send(text(ids[0], single, ids[1], "x"))
	db, err := sql.Open("mysql", database.DSN())
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	for i := range im.Shards {
		if _, err := db.ExecContext(t.Context(), fmt.Sprintf("UPDATE IMMessage_%d SET type = 2", i)); err != nil {
			t.Fatal(err)
		}
	}
	texts, err := textcrypt.New([]byte(key))
	if err != nil {
		t.Fatal(err)
	}
	linktest.Eventually(t, "the unread message", func() bool { return p.unread(ids[1]).GetTotalCnt() == 1 })
	shown, err := texts.Decrypt(p.unread(ids[1]).GetUnreadinfoList()[0].GetLatestMsgData())
	if shown != "[语音]" || err != nil {
		t.Errorf("%q, %v", shown, err)
	}
}

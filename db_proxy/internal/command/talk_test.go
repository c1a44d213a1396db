package command

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"teamtalk/db_proxy/internal/store"
	"teamtalk/internal/im"
	"teamtalk/internal/wire"
	"teamtalk/pb/basedefine"
	"teamtalk/pb/buddy"
	"teamtalk/pb/message"
)

const (
	single  = basedefine.SessionType_SESSION_TYPE_SINGLE
	inGroup = basedefine.SessionType_SESSION_TYPE_GROUP
)

// history asks for a page and returns "id:from:content" of each message.
func (e *env) history(user im.UserID, kind im.Kind, peer uint32, begin, count uint32) []string {
	e.t.Helper()
	res := new(message.IMGetMsgListRsp)
	t := basedefine.SessionType(kind)
	e.ok(wire.MsgListReq, &message.IMGetMsgListReq{
		UserId: proto.Uint32(uint32(user)), SessionType: &t, SessionId: &peer, MsgIdBegin: &begin, MsgCnt: &count, AttachData: attach,
	}, res)
	if res.GetUserId() != uint32(user) || res.GetSessionType() != t || res.GetSessionId() != peer ||
		res.GetMsgIdBegin() != begin || string(res.GetAttachData()) != string(attach) {
		e.t.Errorf("history of %d: not what was asked: %v", user, res)
	}
	return texts(res.GetMsgList())
}

func (e *env) byID(user im.UserID, kind im.Kind, peer uint32, ids ...uint32) []string {
	e.t.Helper()
	res := new(message.IMGetMsgByIdRsp)
	t := basedefine.SessionType(kind)
	e.ok(wire.MsgByIDReq, &message.IMGetMsgByIdReq{
		UserId: proto.Uint32(uint32(user)), SessionType: &t, SessionId: &peer, MsgIdList: ids, AttachData: attach,
	}, res)
	if res.GetUserId() != uint32(user) || res.GetSessionId() != peer || string(res.GetAttachData()) != string(attach) {
		e.t.Errorf("messages of %d: not what was asked: %v", user, res)
	}
	return texts(res.GetMsgList())
}

func (e *env) latestID(user im.UserID, kind im.Kind, peer uint32) uint32 {
	e.t.Helper()
	res := new(message.IMGetLatestMsgIdRsp)
	t := basedefine.SessionType(kind)
	e.ok(wire.LatestMsgIDReq, &message.IMGetLatestMsgIdReq{
		UserId: proto.Uint32(uint32(user)), SessionType: &t, SessionId: &peer, AttachData: attach,
	}, res)
	return res.GetLatestMsgId()
}

func texts(list []*basedefine.MsgInfo) []string {
	out := []string{}
	for _, m := range list {
		out = append(out, fmt.Sprintf("%d:%d:%s", m.GetMsgId(), m.GetFromSessionId(), m.GetMsgData()))
	}
	return out
}

func TestHistory(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	a, b := uint32(e.alice), uint32(e.bob)
	for i := range 5 {
		from, to := e.alice, b
		if i%2 == 1 {
			from, to = e.bob, a
		}
		e.send(from, im.Single, to, fmt.Sprint("m", i+1))
	}
	for name, tt := range map[string]struct {
		begin, count uint32
		want         string
	}{
		"newest":     {0, 2, "5:1:m5 4:2:m4"},
		"all":        {0, 100, "5:1:m5 4:2:m4 3:1:m3 2:2:m2 1:1:m1"},
		"from":       {3, 2, "3:1:m3 2:2:m2"},
		"beyond":     {99, 1, "5:1:m5"},
		"far beyond": {1<<32 - 1, 1, "5:1:m5"},
		"first":      {1, 10, "1:1:m1"},
		"none":       {0, 0, ""},
		"huge":       {0, 1<<32 - 1, "5:1:m5 4:2:m4 3:1:m3 2:2:m2 1:1:m1"},
	} {
		for _, got := range [][]string{
			e.history(e.alice, im.Single, b, tt.begin, tt.count), e.history(e.bob, im.Single, a, tt.begin, tt.count),
		} {
			if strings.Join(got, " ") != tt.want {
				t.Errorf("%s: %v, want %s", name, got, tt.want)
			}
		}
	}
	for name, got := range map[string][]string{
		"never spoke":  e.history(e.alice, im.Single, uint32(e.carol), 0, 10),
		"unknown peer": e.history(e.alice, im.Single, 9999, 0, 10),
		"oneself":      e.history(e.alice, im.Single, a, 0, 10),
		"nobody":       e.history(e.alice, im.Single, 0, 0, 10),
		"no user":      e.history(0, im.Single, a, 0, 10),
		"no group":     e.history(e.alice, im.Group, 9999, 0, 10),
	} {
		if len(got) != 0 {
			t.Errorf("%s: %v", name, got)
		}
	}
}

func TestByID(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	b := uint32(e.bob)
	for i := range 120 {
		e.send(e.alice, im.Single, b, fmt.Sprint("m", i+1))
	}
	var all []uint32
	for id := range uint32(200) {
		all = append(all, id)
	}
	for name, tt := range map[string]struct {
		ids  []uint32
		want string
	}{
		"some":      {[]uint32{2, 7, 3}, "7:1:m7 3:1:m3 2:1:m2"},
		"twice":     {[]uint32{2, 2}, "2:1:m2"},
		"missing":   {[]uint32{1, 500, 0, 1<<32 - 1}, "1:1:m1"},
		"none":      {nil, ""},
		"only zero": {[]uint32{0}, ""},
	} {
		if got := e.byID(e.alice, im.Single, b, tt.ids...); strings.Join(got, " ") != tt.want {
			t.Errorf("%s: %v, want %s", name, got, tt.want)
		}
	}
	if got := e.byID(e.alice, im.Single, b, all...); len(got) > im.MaxHistory {
		t.Errorf("%d messages", len(got))
	}
	if got := e.byID(e.carol, im.Single, b, 1, 2); len(got) != 0 {
		t.Errorf("of others: %v", got)
	}
	if got := e.latestID(e.alice, im.Single, b); got != 120 {
		t.Errorf("latest id %d", got)
	}
	if got := e.latestID(e.carol, im.Single, b); got != 0 {
		t.Errorf("latest id of others %d", got)
	}
}

// A member reads what came since he joined; nobody else reads anything.
func TestGroupHistory(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	g := e.group(groupTemporary, e.alice, e.bob)
	e.send(e.alice, im.Group, uint32(g), "before")
	check := func(when string, user im.UserID, want string, latest uint32) {
		t.Helper()
		if got := strings.Join(e.history(user, im.Group, uint32(g), 0, 10), " "); got != want {
			t.Errorf("%s: history %q, want %q", when, got, want)
		}
		if got := strings.Join(e.byID(user, im.Group, uint32(g), 1, 2, 3), " "); got != want {
			t.Errorf("%s: by id %q, want %q", when, got, want)
		}
		if got := e.latestID(user, im.Group, uint32(g)); got != latest {
			t.Errorf("%s: latest id %d, want %d", when, got, latest)
		}
	}
	check("member", e.bob, "1:1:before", 1)
	check("stranger", e.carol, "", 0)
	e.pass(time.Minute)
	e.changeMembers(g, []im.UserID{e.carol}, nil)
	check("just joined", e.carol, "", 0)
	e.send(e.bob, im.Group, uint32(g), "after")
	check("joined later", e.carol, "2:2:after", 2)
	check("first member", e.alice, "2:2:after 1:1:before", 2)
	e.changeMembers(g, nil, []im.UserID{e.carol})
	check("left", e.carol, "", 0)
}

// A page of the largest messages stays below what Android reads.
func TestPageFitsAndroid(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	long := strings.Repeat("x", im.MaxText)
	for range im.MaxHistory {
		e.send(e.alice, im.Single, uint32(e.bob), long)
	}
	res := new(message.IMGetMsgListRsp)
	e.ok(wire.MsgListReq, &message.IMGetMsgListReq{
		UserId: proto.Uint32(uint32(e.bob)), SessionType: single.Enum(), SessionId: proto.Uint32(uint32(e.alice)),
		MsgIdBegin: proto.Uint32(0), MsgCnt: proto.Uint32(im.MaxHistory),
	}, res)
	n := len(res.GetMsgList())
	if size := proto.Size(res) + wire.HeaderSize; size >= wire.MaxAndroid || n < 95 || res.GetMsgList()[0].GetMsgId() != im.MaxHistory {
		t.Errorf("%d messages in %d bytes", n, size)
	}
}

// sessions asks for the recent list and returns
// "kind:peer:updated-noon:id:from:type:content" of each line.
func (e *env) sessions(user im.UserID, since uint32) []string {
	e.t.Helper()
	res := new(buddy.IMRecentContactSessionRsp)
	e.ok(wire.RecentSessionsReq, &buddy.IMRecentContactSessionReq{
		UserId: proto.Uint32(uint32(user)), LatestUpdateTime: &since, AttachData: attach,
	}, res)
	if res.GetUserId() != uint32(user) || string(res.GetAttachData()) != string(attach) {
		e.t.Errorf("sessions of %d: %v", user, res)
	}
	out := []string{}
	for _, s := range res.GetContactSessionList() {
		out = append(out, fmt.Sprintf("%d:%d:%d:%d:%d:%d:%s", s.GetSessionType(), s.GetSessionId(),
			int64(s.GetUpdatedTime())-noon.Unix(), s.GetLatestMsgId(), s.GetLatestMsgFromUserId(), s.GetLatestMsgType(), s.GetLatestMsgData()))
	}
	return out
}

func TestRecentSessions(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	check := func(when string, user im.UserID, since int64, want ...string) {
		t.Helper()
		if got := e.sessions(user, uint32(max(noon.Unix()+since, 0))); !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", when, got, want)
		}
	}
	const ever = -1 << 40
	check("nothing yet", e.alice, ever)
	e.pass(time.Second)
	e.send(e.alice, im.Single, uint32(e.bob), "hello")
	check("sender", e.alice, ever, "1:2:1:1:2:1:hello")
	check("receiver", e.bob, ever, "1:1:1:1:1:1:hello")
	e.pass(time.Second)
	g := e.group(groupTemporary, e.alice, e.bob)
	e.sendAs(im.GroupAudio, e.bob, uint32(g), "17")
	voice := fmt.Sprintf("2:%d:2:1:2:18:%s", g, standardVoice)
	check("group, voice", e.alice, ever, voice, "1:2:1:1:2:1:hello")
	e.pass(time.Second)
	e.sendAs(im.SingleAudio, e.carol, uint32(e.alice), "18")
	check("newest first", e.alice, ever, "1:3:3:1:3:2:"+standardVoice, voice, "1:2:1:1:2:1:hello")
	check("since", e.alice, 1, "1:3:3:1:3:2:"+standardVoice, voice)
	check("up to date", e.alice, 3)
	// The time of the last message is written behind: it is there all the same.
	e.pass(time.Second)
	e.send(e.bob, im.Single, uint32(e.alice), "again")
	check("touched", e.alice, 3, "1:2:4:2:2:1:again")
	e.changeMembers(g, nil, []im.UserID{e.alice})
	check("left the group", e.alice, 1, "1:2:4:2:2:1:again", "1:3:3:1:3:2:"+standardVoice)
	empty := store.SessionTouch{
		SessionKey: store.SessionKey{User: e.bob, Kind: im.Single, Peer: uint32(e.carol)}, Updated: uint32(noon.Unix()) + 9,
	}
	if err := e.store.Commit(t.Context(), &store.Batch{Sessions: []store.SessionTouch{empty}}); err != nil {
		t.Fatal(err)
	}
	check("without a message", e.bob, 5)
}

func (e *env) removeSession(user im.UserID, kind im.Kind, peer uint32) uint32 {
	e.t.Helper()
	res := new(buddy.IMRemoveSessionRsp)
	t := basedefine.SessionType(kind)
	_ = e.ask(wire.RemoveSessionReq, &buddy.IMRemoveSessionReq{
		UserId: proto.Uint32(uint32(user)), SessionType: &t, SessionId: &peer, AttachData: attach,
	}, res)
	equal(e.t, "remove session", res, &buddy.IMRemoveSessionRsp{
		UserId: proto.Uint32(uint32(user)), ResultCode: res.ResultCode, SessionType: &t, SessionId: &peer, AttachData: attach,
	})
	return res.GetResultCode()
}

func TestRemoveSession(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	g := e.group(groupTemporary, e.alice, e.bob)
	for name, tt := range map[string]struct {
		kind     im.Kind
		me, peer uint32 // as bob, and as alice, name the conversation
	}{"single": {im.Single, uint32(e.bob), uint32(e.alice)}, "group": {im.Group, uint32(g), uint32(g)}} {
		e.pass(time.Second)
		e.send(e.alice, tt.kind, tt.me, "one")
		e.send(e.alice, tt.kind, tt.me, "two")
		if got := e.unread(e.bob); len(got) != 2 {
			t.Errorf("%s: unread %v", name, got)
		}
		if got := e.removeSession(e.bob, tt.kind, tt.peer); got != 0 {
			t.Errorf("%s: result %d", name, got)
		}
		if got := e.removeSession(e.bob, tt.kind, tt.peer); got != 1 {
			t.Errorf("%s: result %d for a removed session", name, got)
		}
		if s, u := e.sessions(e.bob, 0), e.unread(e.bob); len(s) != 0 || !slices.Equal(u, []string{"0"}) {
			t.Errorf("%s: left %v, %v", name, s, u)
		}
		if got := e.sessions(e.alice, 0); len(got) == 0 {
			t.Errorf("%s: the others' session is gone", name)
		}
		e.pass(time.Second)
		e.send(e.alice, tt.kind, tt.me, "three")
		if s, u := e.sessions(e.bob, 0), e.unread(e.bob); len(s) != 1 || u[0] != "1" {
			t.Errorf("%s: not back: %v, %v", name, s, u)
		}
		e.removeSession(e.bob, tt.kind, tt.peer)
	}
	if got := e.removeSession(e.carol, im.Single, uint32(e.bob)); got != 1 {
		t.Errorf("result %d for a session that never was", got)
	}
}

package command

import (
	"fmt"
	"slices"
	"strconv"
	"testing"

	"google.golang.org/protobuf/proto"

	"teamtalk/internal/im"
	"teamtalk/internal/wire"
	"teamtalk/pb/message"
)

// unread asks for the unread counts and returns the total and
// "kind:peer:count:id:from:type:content" of each session.
func (e *env) unread(user im.UserID) []string {
	e.t.Helper()
	res := new(message.IMUnreadMsgCntRsp)
	e.ok(wire.UnreadCountReq, &message.IMUnreadMsgCntReq{UserId: proto.Uint32(uint32(user)), AttachData: attach}, res)
	if res.GetUserId() != uint32(user) || string(res.GetAttachData()) != string(attach) {
		e.t.Errorf("unread of %d: %v", user, res)
	}
	out := []string{strconv.FormatUint(uint64(res.GetTotalCnt()), 10)}
	for _, u := range res.GetUnreadinfoList() {
		out = append(out, fmt.Sprintf("%d:%d:%d:%d:%d:%d:%s", u.GetSessionType(), u.GetSessionId(), u.GetUnreadCnt(),
			u.GetLatestMsgId(), u.GetLatestMsgFromUserId(), u.GetLatestMsgType(), u.GetLatestMsgData()))
	}
	return out
}

// checkUnread compares the answer with Redis as it is, after it was emptied,
// and without it.
func (e *env) checkUnread(when string, user im.UserID, want ...string) {
	e.t.Helper()
	check := func(how string) {
		e.t.Helper()
		if got := e.unread(user); !slices.Equal(got, want) {
			e.t.Errorf("%s, %s: %v, want %v", when, how, got, want)
		}
	}
	check("at first")
	check("again")
	e.redis.FlushAll()
	check("emptied")
	check("rebuilt")
}

func TestUnread(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	a, b := uint32(e.alice), uint32(e.bob)
	e.checkUnread("nothing", e.alice, "0")
	e.send(e.bob, im.Single, a, "one")
	e.send(e.bob, im.Single, a, "two")
	e.checkUnread("two", e.alice, "2", "1:2:2:2:2:1:two")
	e.checkUnread("the sender", e.bob, "0")
	// One's own message is the newest, and still the peer's id stands there.
	e.send(e.alice, im.Single, b, "mine")
	e.checkUnread("own message", e.alice, "2", "1:2:2:3:2:1:mine")
	e.read(e.alice, im.Single, b, 1)
	e.checkUnread("one read", e.alice, "1", "1:2:1:3:2:1:mine")
	e.sendAs(im.SingleAudio, e.carol, a, "17")
	e.checkUnread("voice", e.alice, "2", "1:2:1:3:2:1:mine", "1:3:1:1:3:2:"+standardVoice)
	e.read(e.alice, im.Single, b, 0)
	e.checkUnread("all read", e.alice, "1", "1:3:1:1:3:2:"+standardVoice)
	// A count that only Redis knows is not listed, and not in the total.
	e.redis.HSet(fmt.Sprint("unread_", e.alice), "9999", "5")
	if got := e.unread(e.alice); len(got) != 2 || got[0] != "1" {
		t.Errorf("without a message: %v", got)
	}
}

func TestUnreadGroups(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	g1, g2 := e.group(groupTemporary, e.alice, e.bob), e.group(groupNormal, e.alice, e.bob)
	e.checkUnread("no messages", e.alice, "0")
	for range 3 {
		e.send(e.bob, im.Group, uint32(g1), "one")
	}
	e.checkUnread("three", e.alice, "3", fmt.Sprintf("2:%d:3:3:2:17:one", g1))
	e.checkUnread("the sender", e.bob, "0")
	e.send(e.alice, im.Group, uint32(g2), "mine")
	e.checkUnread("own message", e.alice, "3", fmt.Sprintf("2:%d:3:3:2:17:one", g1))
	e.checkUnread("the other", e.bob, "1", fmt.Sprintf("2:%d:1:1:1:17:mine", g2))
	e.read(e.alice, im.Group, uint32(g1), 2)
	e.checkUnread("two read", e.alice, "1", fmt.Sprintf("2:%d:1:3:2:17:one", g1))
	e.changeMembers(g1, []im.UserID{e.carol}, nil)
	e.checkUnread("who joins", e.carol, "0")
	e.changeMembers(g1, nil, []im.UserID{e.alice})
	e.checkUnread("who leaves", e.alice, "0")
	e.send(e.bob, im.Group, uint32(g1), "two")
	e.checkUnread("who left", e.alice, "0")
	e.checkUnread("who joined", e.carol, "1", fmt.Sprintf("2:%d:1:4:2:17:two", g1))
}

func TestUnreadWithoutRedis(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	g := e.group(groupTemporary, e.alice, e.bob)
	e.send(e.bob, im.Single, uint32(e.alice), "one")
	want := []string{"2", "1:2:1:1:2:1:one", fmt.Sprintf("2:%d:1:1:2:17:two", g)}
	e.redis.Close()
	e.send(e.bob, im.Group, uint32(g), "two")
	for range 2 {
		if got := e.unread(e.alice); !slices.Equal(got, want) {
			t.Errorf("%v, want %v", got, want)
		}
	}
}

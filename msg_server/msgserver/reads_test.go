package msgserver

import (
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"teamtalk/internal/im"
	"teamtalk/internal/wire"
	"teamtalk/pb/basedefine"
	"teamtalk/pb/message"
)

// reads says that everything up to id of the messages with peer was read.
func (u *user) reads(peer, id uint32) {
	u.t.Helper()
	u.send(wire.MsgReadAck, 8, &message.IMMsgDataReadAck{
		UserId: n(u.id), SessionId: n(peer), MsgId: n(id), SessionType: basedefine.SessionType_SESSION_TYPE_SINGLE.Enum(),
	})
}

func (u *user) asksUnread(seq uint16) {
	u.t.Helper()
	u.send(wire.UnreadCountReq, seq, &message.IMUnreadMsgCntReq{UserId: n(u.id)})
}

// answers answers 0307 with a number of unread messages.
func answerUnread(t *testing.T, r received, total uint32) {
	t.Helper()
	req := decode(t, r.Body, new(message.IMUnreadMsgCntReq))
	r.answer(t, wire.UnreadCountRes, &message.IMUnreadMsgCntRsp{
		UserId: req.UserId, TotalCnt: proto.Uint32(total), AttachData: req.GetAttachData(),
	})
}

// told waits for the answer.
func (u *user) toldUnread(seq uint16, total uint32) {
	u.t.Helper()
	res := new(message.IMUnreadMsgCntRsp)
	if pdu := u.want(wire.UnreadCountRes, res); pdu.Seq != seq || res.GetTotalCnt() != total || res.AttachData != nil {
		u.t.Fatalf("0308: seq %d, %v", pdu.Seq, res)
	}
}

func TestUnreadFollowsOwnReads(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	u := w.login(7, im.Mac)
	u.reads(9, 4)
	u.asksUnread(5)
	read, asked := w.db1.want(wire.MsgReadAck), w.db1.want(wire.UnreadCountReq)
	if read.from != asked.from {
		t.Error("the question overtakes the read")
	}
	answerUnread(t, asked, 0)
	u.toldUnread(5, 0)
	// Later, or without a read, it is asked where clients ask at their start.
	w.skip(readsFor + 1)
	u.asksUnread(6)
	asked = w.db1.want(wire.UnreadCountReq)
	if read.from == asked.from {
		t.Error("asked on the link for conversations")
	}
	answerUnread(t, asked, 3)
	u.toldUnread(6, 3)
}

// Reads of conversations of two db_proxies: the question goes to one when the
// other has answered, or does not.
func TestUnreadFollowsReadsOnTwoLinks(t *testing.T) {
	t.Parallel()
	dbs := []*neighbour{ourDB(t), ourDB(t)}
	w := newWorldOf(t, setup{dbs: dbs})
	u := w.login(7, im.Mac)
	first, second := uint32(0), uint32(0)
	owner := func(peer uint32) *neighbour {
		if w.db.Owner(im.SingleOf(7, im.UserID(peer))).Addr() == w.addrOf(dbs[0]) {
			return dbs[0]
		}
		return dbs[1]
	}
	for peer := uint32(10); first == 0 || second == 0; peer++ {
		if owner(peer) == dbs[0] {
			first = peer
		} else {
			second = peer
		}
	}
	ask := func(seq uint16) received {
		t.Helper()
		u.reads(first, 1)
		u.reads(second, 1)
		dbs[0].want(wire.MsgReadAck)
		dbs[1].want(wire.MsgReadAck)
		u.asksUnread(seq)
		return dbs[0].want(wire.UnreadCountReq)
	}
	before := ask(5)
	u.quiet()
	dbs[1].quiet()
	answerUnread(t, before, 9)
	answerUnread(t, dbs[1].want(wire.UnreadCountReq), 1)
	u.toldUnread(5, 1)
	ask(6)
	w.skip(roundsFor + time.Millisecond)
	answerUnread(t, dbs[1].want(wire.UnreadCountReq), 2)
	u.toldUnread(6, 2)
	answerUnread(t, before, 9) // too late
	u.quiet()
}

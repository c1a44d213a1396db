package msgserver

import (
	"testing"
	"time"

	"teamtalk/internal/im"
	"teamtalk/internal/wire"
	"teamtalk/pb/basedefine"
	"teamtalk/pb/buddy"
	"teamtalk/pb/message"
)

// A client that asks more than it waits for is closed, and nobody else.
func TestFloodOfQuestions(t *testing.T) {
	t.Parallel()
	w := newWorldOf(t, setup{conf: "MaxQueries=3"})
	patient, flooding := w.login(7, im.Mac), w.login(8, im.Mac)
	for seq := uint16(1); seq <= 10; seq++ {
		patient.asksUnread(seq)
		answerUnread(t, w.db1.want(wire.UnreadCountReq), 1)
		patient.toldUnread(seq, 1)
	}
	// What is never answered counts for a while only.
	for range 3 {
		patient.asksUnread(20)
		w.db1.want(wire.UnreadCountReq)
	}
	w.skip(queryFor + time.Second)
	for range 3 {
		patient.asksUnread(21)
		w.db1.want(wire.UnreadCountReq)
	}
	patient.quiet()

	flooding.asksUnread(1)
	flooding.send(wire.UsersStatusReq, 2, &buddy.IMUsersStatReq{UserId: n(8), UserIdList: []uint32{7}})
	flooding.send(wire.RecentSessionsReq, 3, &buddy.IMRecentContactSessionReq{UserId: n(8), LatestUpdateTime: n(0)})
	flooding.send(wire.LatestMsgIDReq, 4, &message.IMGetLatestMsgIdReq{
		UserId: n(8), SessionType: basedefine.SessionType_SESSION_TYPE_SINGLE.Enum(), SessionId: n(7),
	})
	flooding.closed()
	w.db1.want(wire.UnreadCountReq)
	w.db1.want(wire.RecentSessionsReq)
	w.route1.want(wire.UsersStatusReq)
	if w.dropped("too_many_queries") != 1 {
		t.Errorf("%v questions dropped", w.dropped("too_many_queries"))
	}
	patient.quiet()
}

// A long question weighs as much as many short ones, and one of any size may be
// asked when nothing else is.
func TestQuestionsWeighBySize(t *testing.T) {
	t.Parallel()
	ask := func(seq uint16, size int) wire.PDU {
		return wire.PDU{Header: wire.Header{Seq: seq}, Body: make([]byte, size)}
	}
	now := time.Unix(1_700_000_000, 0)
	var q queries
	for i, step := range []struct {
		pdu  wire.PDU
		want bool
	}{
		{ask(1, 10), true},
		{ask(2, 1<<20), true}, // everybody's status, asked beside something short
		{ask(3, 10), false},
	} {
		if got := q.start(now, step.pdu, 256); got != step.want {
			t.Errorf("question %d: %v", i+1, got)
		}
	}
	q.end(1)
	if q.start(now, ask(4, 10), 256) {
		t.Error("the long one is not answered")
	}
	q.end(2)
	for seq := range uint16(40) { // 40 times 5,000 users
		if !q.start(now, ask(seq, 20_000), 256) {
			t.Errorf("question %d is refused", seq)
		}
	}
	q.end(999) // of no question: the oldest
	q.drop(func(query) bool { return true })
	if q.weight != 0 || len(q.asked) != 0 {
		t.Errorf("weight %d of %d questions", q.weight, len(q.asked))
	}
}

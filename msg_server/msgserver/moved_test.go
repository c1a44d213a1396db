package msgserver

import (
	"bytes"
	"testing"

	"google.golang.org/protobuf/proto"

	"teamtalk/internal/im"
	"teamtalk/internal/link"
	"teamtalk/internal/link/linktest"
	"teamtalk/internal/wire"
	"teamtalk/msg_server/internal/deliver"
	"teamtalk/pb/buddy"
	"teamtalk/pb/extension"
	"teamtalk/pb/message"
)

// stateful is a db_proxy of ours that says how its database is.
func stateful(t testing.TB, epoch string) *neighbour {
	t.Helper()
	n := ours(t, link.Config{Role: "db_proxy", Capabilities: []string{link.CapStore, link.CapState}})
	n.does(opening(t, true, epoch, letIn(t)))
	return n
}

// opening answers 0796 on top of handle.
func opening(t testing.TB, well bool, epoch string, handle func(received) bool) func(received) bool {
	t.Helper()
	return func(r received) bool {
		if r.Command != wire.StorageSeen {
			return handle(r)
		}
		r.answer(t, wire.StorageState, stateOf(well, epoch))
		return true
	}
}

func stateOf(well bool, epoch string) *extension.IMStorageState {
	return &extension.IMStorageState{Well: proto.Bool(well), Epoch: []byte(epoch)}
}

// says lets a neighbour say on all its links how its database is.
func (n *neighbour) says(well bool, epoch string) {
	n.t.Helper()
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, l := range n.links {
		l.SendPDU(wire.StorageState, 0, encode(n.t, stateOf(well, epoch)))
	}
}

// twoStateful is a world with two db_proxies, the owner of conv first.
func twoStateful(t *testing.T, conv im.Conversation) (w *world, owner, other *neighbour) {
	t.Helper()
	a, b := stateful(t, "e"), stateful(t, "e")
	w = newWorldOf(t, setup{dbs: []*neighbour{a, b}})
	if w.db.Owner(conv).Addr() == w.addrOf(a) {
		return w, a, b
	}
	return w, b, a
}

func (w *world) ownedBy(conv im.Conversation, n *neighbour) {
	w.t.Helper()
	linktest.Eventually(w.t, "the owner", func() bool {
		l := w.db.Owner(conv)
		return l != nil && l.Addr() == w.addrOf(n)
	})
}

// A db_proxy that loses its database gives its conversations to one that is
// well, and gets them back. What is under way stays with it, and what follows
// waits for its answers: it may store some of it yet.
func TestOwnerWithoutItsDatabase(t *testing.T) {
	t.Parallel()
	conv := im.SingleOf(7, 9)
	w, owner, other := twoStateful(t, conv)
	u := w.login(7, im.Windows, "nack")
	refused := func(seq uint16) {
		t.Helper()
		nack := new(extension.IMMsgNack)
		if pdu := u.want(wire.MsgNack, nack); pdu.Seq != seq || !nack.GetRetryable() {
			t.Errorf("seq %d, want %d: %v", pdu.Seq, seq, nack)
		}
	}
	u.send(wire.MsgData, 1, say(single, 9, "is refused"))
	u.send(wire.MsgData, 2, say(single, 9, "is stored yet"))
	first, _ := owner.stores()
	second, _ := owner.stores()
	owner.says(false, "e")
	w.ownedBy(conv, other)
	u.send(wire.MsgData, 3, say(single, 9, "follows"))
	first.refuse(t, im.Unavailable)
	refused(1)
	other.quiet()
	second.keep(t, 1, nil)
	u.acked(2)
	third, m := other.stores()
	if third.Seq != 3 || len(m.GetOperationId()) == 0 {
		t.Fatalf("seq %d came to the other db_proxy, want 3", third.Seq)
	}
	third.keep(t, 2, nil)
	u.acked(3)
	if l := w.db.Login(1); l.Addr() != w.addrOf(other) {
		t.Error("log-ins go to a db_proxy without a database")
	}
	if l := w.db.General(1); l.Addr() != w.addrOf(other) {
		t.Error("questions go to a db_proxy without a database")
	}

	// When the other one loses its own, too, nothing changes any more.
	other.says(false, "e")
	w.ownedBy(conv, owner)
	u.send(wire.MsgData, 4, say(single, 9, "nobody is well"))
	r, _ := owner.stores()
	r.refuse(t, im.Unavailable)
	refused(4)

	// The first that is well gets what comes then.
	other.says(true, "e")
	w.ownedBy(conv, other)
	u.send(wire.MsgData, 5, say(single, 9, "stored"))
	r, _ = other.stores()
	r.keep(t, 3, nil)
	u.acked(5)
	owner.says(true, "e")
	w.ownedBy(conv, owner)
}

// What a client waits for from a db_proxy that loses its database is asked of
// one that is well, if it changes nothing; the client has one answer, whoever
// answers first.
func TestQuestionsUnderWayMove(t *testing.T) {
	t.Parallel()
	w, first, other := twoStateful(t, im.SingleOf(7, 9))
	u := w.login(7, im.Windows)
	only := func(n, not *neighbour) {
		t.Helper()
		n.says(true, "e")
		not.says(false, "e")
		linktest.Eventually(t, "the one that is asked", func() bool {
			return w.db.General(1).Addr() == w.addrOf(n) && w.db.Login(1).Addr() == w.addrOf(n)
		})
	}
	only(first, other)
	u.send(wire.DepartmentsReq, 5, &buddy.IMDepartmentReq{UserId: proto.Uint32(7), LatestUpdateTime: proto.Uint32(1)})
	asked := first.want(wire.DepartmentsReq)
	u.send(wire.ChangeSignInfoReq, 6, &buddy.IMChangeSignInfoReq{UserId: proto.Uint32(7), SignInfo: proto.String("x")})
	first.want(wire.ChangeSignInfoReq)
	only(other, first)
	again := other.want(wire.DepartmentsReq)
	if again.Seq != 5 || !bytes.Equal(again.Body, asked.Body) {
		t.Errorf("seq %d, %x is asked again, want 5, %x", again.Seq, again.Body, asked.Body)
	}
	other.quiet() // whether the signature was changed nobody knows
	req := new(buddy.IMDepartmentReq)
	if err := proto.Unmarshal(again.Body, req); err != nil {
		t.Fatal(err)
	}
	for _, r := range []received{again, asked} {
		r.answer(t, wire.DepartmentsRes, &buddy.IMDepartmentRsp{
			UserId: proto.Uint32(7), LatestUpdateTime: proto.Uint32(2), AttachData: req.GetAttachData(),
		})
	}
	if pdu := u.want(wire.DepartmentsRes, new(buddy.IMDepartmentRsp)); pdu.Seq != 5 {
		t.Errorf("seq %d is answered, want 5", pdu.Seq)
	}
	linktest.Eventually(t, "the second answer", func() bool { return w.dropped("answered_before") == 1 })
	u.quiet()
}

// The owner is well again while a message is being stored at the one that
// stood in: what follows waits for it.
func TestOrderThroughARecovery(t *testing.T) {
	t.Parallel()
	conv := im.SingleOf(7, 9)
	w, owner, other := twoStateful(t, conv)
	u := w.login(7, im.Windows)
	owner.says(false, "e")
	w.ownedBy(conv, other)
	u.send(wire.MsgData, 1, say(single, 9, "first"))
	first, _ := other.stores()
	owner.says(true, "e")
	w.ownedBy(conv, owner)
	peer := w.peerOn(w.db.Owner(conv), 7, 9)
	u.send(wire.MsgData, 2, say(single, 9, "second"))
	u.send(wire.MsgData, 3, say(single, peer, "to somebody else"))
	apart, _ := owner.stores()
	if apart.Seq != 3 {
		t.Fatalf("seq %d overtook the first", apart.Seq)
	}
	apart.keep(t, 1, nil)
	u.acked(3)
	first.keep(t, 1, nil)
	u.acked(1)
	r, _ := owner.stores()
	if r.Seq != 2 {
		t.Fatalf("seq %d, want 2", r.Seq)
	}
	r.keep(t, 2, nil)
	u.acked(2)
}

// refuse answers a message with a code.
func (r received) refuse(t testing.TB, code im.Code) {
	t.Helper()
	m := decode(t, r.Body, say(single, 0, ""))
	m.MsgId, m.SincePreviousMs, m.OperationId = proto.Uint32(0), proto.Uint32(uint32(code)), nil
	r.answer(t, wire.MsgData, m)
}

// A database that went back gives ids again: they are pushed, to old terminals
// and to those that acknowledge, and what an old client repeats is stored.
func TestIDsThatGoBack(t *testing.T) {
	t.Parallel()
	db := stateful(t, "before")
	w := newWorldOf(t, setup{dbs: []*neighbour{db}})
	from, to := w.login(7, im.Windows), w.login(9, im.Windows)
	send := func(seq uint16, id uint32) {
		t.Helper()
		from.send(wire.MsgData, seq, say(single, 9, "text"))
		r, _ := db.stores()
		r.keep(t, id, nil)
		if got := from.acked(seq).GetMsgId(); got != id {
			t.Fatalf("acknowledged %d, want %d", got, id)
		}
		to.gets(7, 9, id)
	}
	for id := uint32(1); id <= 3; id++ {
		send(uint16(id), id)
	}
	db.says(true, "after")
	linktest.Eventually(t, "another epoch", func() bool { return w.epoch.Load() == 1 })
	send(1, 2) // the same seq and text as the first: a repeat, that is not stored any more
	send(4, 3)
	if late := w.delivered(deliver.Late); late != 0 {
		t.Errorf("%d messages were late", late)
	}
	db.says(true, "after") // said again: nothing new
	send(5, 4)
	if n := w.epoch.Load(); n != 1 {
		t.Errorf("%d epochs", n)
	}
}

// A db_proxy is told first what was stored, and asked nothing before it has
// answered.
func TestMarksAreToldFirst(t *testing.T) {
	t.Parallel()
	db := stateful(t, "e")
	w := newWorldOf(t, setup{dbs: []*neighbour{db}})
	u := w.login(7, im.Windows)
	u.send(wire.MsgData, 1, say(single, 9, "x"))
	r, sent := db.stores()
	r.keep(t, 41, nil)
	u.acked(1)
	// What had been stored before is no mark: nobody knows under which id.
	u.send(wire.MsgData, 2, say(single, 9, "y"))
	r, _ = db.stores()
	r.keep(t, 17, func(m *message.IMMsgData) { m.SincePreviousMs = proto.Uint32(storedBefore) })
	u.acked(2)
	db.does(letIn(t)) // says nothing of its database
	db.mu.Lock()
	links := len(db.links)
	for _, l := range db.links {
		l.Close("test")
	}
	db.mu.Unlock()
	var opened []received
	for len(opened) < links {
		r := linktest.Wait(t, db.pdus, "what the server has seen")
		if r.Command != wire.StorageSeen {
			t.Fatalf("%v before the state of the database was known", r.Command)
		}
		seen := decode(t, r.Body, new(extension.IMStorageSeen))
		if len(seen.GetMarks()) != 1 || string(seen.GetEpoch()) != "e" {
			t.Fatalf("seen %v", seen)
		}
		mark := seen.GetMarks()[0]
		if mark.GetMsgId() != 41 || mark.GetFromUserId() != 7 || mark.GetToSessionId() != 9 ||
			!bytes.Equal(mark.GetOperationId(), sent.GetOperationId()) {
			t.Errorf("mark %v", mark)
		}
		opened = append(opened, r)
	}
	if w.db.Open() {
		t.Error("a db_proxy is asked that has not said how its database is")
	}
	opened[0].answer(t, wire.StorageState, stateOf(true, "e"))
	linktest.Eventually(t, "the link", w.db.Open)
}

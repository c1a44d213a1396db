package msgserver

import (
	"bytes"
	"encoding/hex"
	"slices"
	"strconv"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"teamtalk/internal/im"
	"teamtalk/internal/link"
	"teamtalk/internal/link/linktest"
	"teamtalk/internal/wire"
	"teamtalk/pb/basedefine"
	"teamtalk/pb/extension"
	"teamtalk/pb/message"
)

// stored waits for a message at a db_proxy.
func (n *neighbour) stores() (received, *message.IMMsgData) {
	n.t.Helper()
	r := n.want(wire.MsgData)
	return r, decode(n.t, r.Body, new(message.IMMsgData))
}

// keep answers a message as stored under id.
func (r received) keep(t testing.TB, id uint32, change func(*message.IMMsgData)) {
	t.Helper()
	m := decode(t, r.Body, new(message.IMMsgData))
	m.MsgId, m.OperationId = proto.Uint32(id), nil
	if change != nil {
		change(m)
	}
	r.answer(t, wire.MsgData, m)
}

// extensions lists the fields of m that clients and originals do not know.
func extensions(m proto.Message) (found []string) {
	m.ProtoReflect().Range(func(f protoreflect.FieldDescriptor, _ protoreflect.Value) bool {
		if f.Number() >= 100 {
			found = append(found, string(f.Name()))
		}
		return true
	})
	return found
}

// One message, from the client to everybody who gets it.
// Source: docs/protocol/flows.md §6.
func TestSingleMessage(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	sender, phone := w.login(7, im.Windows), w.login(7, im.Android)
	receiver, other := w.login(9, im.Mac), w.login(8, im.Mac)
	m := say(single, 9, "text")
	m.FromUserId, m.MsgId, m.CreateTime = proto.Uint32(99), proto.Uint32(1_000_001), proto.Uint32(1)
	m.AttachData, m.ClientMsgId, m.OperationId = []byte("forged"), proto.String("not granted"), []byte("forged too, long")
	m.SincePreviousMs, m.Members = proto.Uint32(5), []uint32{8}
	sender.send(wire.MsgData, 77, m)
	r, asked := w.db1.stores()
	now := uint32(w.clock().Unix())
	want := &message.IMMsgData{
		FromUserId: proto.Uint32(7), ToSessionId: proto.Uint32(9), MsgId: proto.Uint32(0), CreateTime: proto.Uint32(now),
		MsgType: single.Enum(), MsgData: []byte("text"), AttachData: asked.GetAttachData(), OperationId: asked.GetOperationId(),
	}
	if r.Seq != 77 || !proto.Equal(asked, want) || len(asked.GetOperationId()) != 16 || string(asked.GetAttachData()) == "forged" ||
		bytes.HasPrefix(asked.GetOperationId(), []byte("forged")) {
		t.Errorf("to the db_proxy: seq %d, %v", r.Seq, asked)
	}
	r.keep(t, 5, func(m *message.IMMsgData) { m.CreateTime, m.SincePreviousMs = proto.Uint32(now+1), proto.Uint32(9000) })
	ack := sender.acked(77)
	if ack.GetSessionId() != 9 || ack.GetMsgId() != 5 || ack.GetSessionType() != 1 || extensions(ack) != nil {
		t.Errorf("0302: %v", ack)
	}
	want.MsgId, want.CreateTime, want.AttachData, want.OperationId = proto.Uint32(5), proto.Uint32(now+1), nil, nil
	for _, u := range []*user{phone, receiver} {
		if got := u.gets(7, 9, 5); !proto.Equal(got, want) {
			t.Errorf("0301: %v", got)
		}
	}
	relay := decode(t, w.route1.want(wire.Relay).Body, new(extension.IMRelay))
	if !slices.Equal(relay.GetTargets(), []uint32{7, 9}) || relay.GetCommand() != uint32(wire.MsgData) ||
		!proto.Equal(decode(t, relay.GetBody(), new(message.IMMsgData)), want) || !proto.Equal(relay.GetOrder(), &extension.Order{
		SessionType: basedefine.SessionType_SESSION_TYPE_SINGLE.Enum(), First: proto.Uint32(7), Second: proto.Uint32(9),
		MsgId: proto.Uint32(5), SincePreviousMs: proto.Uint32(9000),
	}) {
		t.Errorf("0783: %v", relay)
	}
	for _, u := range []*user{sender, phone, receiver, other} {
		u.quiet()
	}
	// The receiver's acknowledgement changes nothing.
	receiver.send(wire.MsgDataAck, 0, ack)
	receiver.sendBody(wire.MsgDataAck, 0, []byte{0xff})
	receiver.quiet()
}

// A group message reaches all terminals of all members but the sending one.
// Source: docs/protocol/flows.md §7.
func TestGroupMessage(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var members []*user
	for id := uint32(1); id <= 5; id++ {
		members = append(members, w.login(id, im.Windows), w.login(id, im.IOS))
	}
	outsider := w.login(6, im.Mac)
	sender := members[4]
	sender.send(wire.MsgData, 3, say(inside, 500, "text"))
	r, m := w.db1.stores()
	if m.GetToSessionId() != 500 || m.GetMsgType() != inside {
		t.Errorf("%v", m)
	}
	r.keep(t, 1, func(m *message.IMMsgData) { m.Members = []uint32{1, 2, 3, 4, 5, 77} })
	if ack := sender.acked(3); ack.GetSessionType() != 2 || ack.GetSessionId() != 500 {
		t.Errorf("0302: %v", ack)
	}
	for _, u := range members {
		if u != sender {
			if m := u.gets(3, 500, 1); extensions(m) != nil || m.AttachData != nil {
				t.Errorf("0301: %v", m)
			}
		}
	}
	relay := decode(t, w.route1.want(wire.Relay).Body, new(extension.IMRelay))
	if !slices.Equal(relay.GetTargets(), []uint32{1, 2, 3, 4, 5, 77}) || relay.GetOrder().GetFirst() != 500 ||
		relay.GetOrder().GetSessionType() != 2 || relay.GetOrder().SincePreviousMs != nil {
		t.Errorf("0783: %v", relay)
	}
	for _, u := range append(members, outsider) {
		u.quiet()
	}
}

// What is never stored. Source: docs/protocol.md, "What is sent to whom".
func TestRefusedMessages(t *testing.T) {
	t.Parallel()
	w := newWorldOf(t, setup{conf: "MaxTextBytes=100\n"})
	old, capable := w.login(7, im.Windows), w.login(7, im.IOS, "nack", "client_msg_id")
	named := func(m *message.IMMsgData, id string) *message.IMMsgData {
		m.ClientMsgId = proto.String(id)
		return m
	}
	cases := map[string]struct {
		m    *message.IMMsgData
		code im.Code
	}{
		"to oneself":        {say(single, 7, "x"), im.Invalid},
		"to nobody":         {say(single, 0, "x"), im.Invalid},
		"to no group":       {say(inside, 0, "x"), im.Invalid},
		"empty":             {say(single, 9, ""), im.Invalid},
		"too long":          {named(say(inside, 500, string(make([]byte, 101))), "mine"), im.TooLarge},
		"voice":             {say(basedefine.MsgType_MSG_TYPE_SINGLE_AUDIO, 9, "1234"), im.Invalid},
		"voice in a group":  {say(basedefine.MsgType_MSG_TYPE_GROUP_AUDIO, 500, "1234"), im.Invalid},
		"unknown type":      {say(3, 9, "x"), im.Invalid},
		"client_msg_id":     {named(say(single, 9, "x"), string(make([]byte, 37))), im.Invalid},
		"garbage elsewhere": {nil, im.OK},
	}
	seq := uint16(1)
	for name, tc := range cases {
		if tc.m == nil {
			old.sendBody(wire.MsgData, 1, []byte{0xff})
			capable.sendBody(wire.MsgData, 1, nil)
			continue
		}
		if name != "client_msg_id" {
			old.send(wire.MsgData, seq, tc.m)
			old.quiet()
		}
		seq++
		capable.send(wire.MsgData, seq, tc.m)
		nack := new(extension.IMMsgNack)
		pdu := capable.want(wire.MsgNack, nack)
		if pdu.Seq != seq || im.Code(nack.GetReason()) != tc.code || nack.GetRetryable() || nack.RetryAfterMs != nil ||
			nack.GetSessionId() != tc.m.GetToSessionId() || nack.GetClientMsgId() != tc.m.GetClientMsgId() {
			t.Errorf("%s: seq %d, %v; want %v", name, pdu.Seq, nack, tc.code)
		}
		if group := im.MsgType(tc.m.GetMsgType()).Kind() == im.Group; (nack.GetSessionType() == 2) != group {
			t.Errorf("%s: %v", name, nack)
		}
	}
	old.quiet()
	capable.quiet()
	w.db1.quiet()
	w.route1.quiet()
	if w.dropped("bad_body") != 2 {
		t.Error("garbage is not counted")
	}
}

// A client that sends seq 0 always means each of its messages, also equal ones.
func TestSeqZeroIsNoRepeat(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	u := w.login(7, im.Windows)
	ops := map[string]bool{}
	for id := uint32(1); id <= 3; id++ {
		u.send(wire.MsgData, 0, say(single, 9, "ok"))
		r, stored := w.db1.stores()
		ops[string(stored.GetOperationId())] = true
		r.keep(t, id, nil)
		if got := u.acked(0).GetMsgId(); got != id {
			t.Errorf("acknowledged as %d, want %d", got, id)
		}
	}
	if len(ops) != 3 {
		t.Errorf("%d operations, want 3", len(ops))
	}
}

// Old clients are believed to repeat a message when seq and body are the same.
// Source: docs/protocol/defects.md A7.
func TestRepeats(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	u := w.login(7, im.Windows)
	m := say(single, 9, "text")
	u.send(wire.MsgData, 50, m)
	u.send(wire.MsgData, 50, m) // while the first is under way
	u.quiet()
	first, _ := w.db1.stores()
	w.db1.quiet()
	first.keep(t, 1, nil)
	if u.acked(50).GetMsgId() != 1 {
		t.Error("not acknowledged")
	}
	for range 3 {
		u.send(wire.MsgData, 50, m)
		if u.acked(50).GetMsgId() != 1 {
			t.Error("the repeat has another id")
		}
	}
	w.db1.quiet()
	for i, again := range []struct {
		seq uint16
		m   *message.IMMsgData
	}{{51, m}, {50, say(single, 9, "other")}, {50, say(single, 8, "text")}} {
		u.send(wire.MsgData, again.seq, again.m)
		r, _ := w.db1.stores()
		r.keep(t, uint32(i+2), nil)
		u.acked(again.seq)
	}
	// A failed one is tried again.
	u.send(wire.MsgData, 60, m)
	r, failed := w.db1.stores()
	r.keep(t, 0, nil)
	linktest.Eventually(t, "the failure", func() bool { return w.sends.count() == 0 })
	u.quiet()
	u.send(wire.MsgData, 60, m)
	r, again := w.db1.stores()
	if r.Seq != 60 || !bytes.Equal(again.GetOperationId(), failed.GetOperationId()) {
		t.Error("not tried again as the same operation")
	}
	// After a minute it is a message of its own.
	w.skip(time.Minute + time.Second)
	u.send(wire.MsgData, 51, m)
	if r, _ = w.db1.stores(); r.Seq != 51 {
		t.Error("taken for a repeat of long ago")
	}
	// On another connection, too.
	other := w.login(7, im.IOS)
	other.send(wire.MsgData, 51, m)
	w.db1.stores()
}

// A client with ids of its own: the db_proxy finds its repeats.
func TestClientMsgIDs(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	u := w.login(7, im.Windows, "client_msg_id", "nack")
	receiver := w.login(9, im.Mac)
	const uuid = "01890a5d-ac96-774b-bcce-b302099a8057"
	m := say(single, 9, "text")
	m.ClientMsgId = proto.String(uuid)
	var ops [][]byte
	for i := range 2 {
		u.send(wire.MsgData, 5, m)
		r, asked := w.db1.stores()
		ops = append(ops, asked.GetOperationId())
		if former := hex.EncodeToString(asked.GetFormerOperationId()); former != "01890a5dac96774bbcceb302099a8057" {
			t.Errorf("former operation id %s", former)
		}
		if asked.ClientMsgId != nil {
			t.Errorf("to the db_proxy: %v", asked)
		}
		r.keep(t, 1, func(m *message.IMMsgData) {
			if i > 0 {
				m.SincePreviousMs = proto.Uint32(storedBefore)
			}
		})
		if ack := u.acked(5); ack.GetClientMsgId() != uuid || ack.GetMsgId() != 1 {
			t.Errorf("0302: %v", ack)
		}
	}
	want := im.OperationOf(im.OfClient, im.SingleOf(7, 9), uuid)
	if !bytes.Equal(ops[0], want[:]) || !bytes.Equal(ops[0], ops[1]) {
		t.Errorf("operation ids %x, want %x", ops, want)
	}
	// The repeat reaches nobody.
	receiver.gets(7, 9, 1)
	w.route1.want(wire.Relay)
	m.ClientMsgId = proto.String("42")
	u.send(wire.MsgData, 6, m)
	r, asked := w.db1.stores()
	if len(asked.GetOperationId()) != 16 || bytes.Equal(asked.GetOperationId(), ops[0]) {
		t.Errorf("operation id %x", asked.GetOperationId())
	}
	r.keep(t, 0, func(m *message.IMMsgData) { m.SincePreviousMs = proto.Uint32(uint32(im.Denied)) })
	nack := new(extension.IMMsgNack)
	if u.want(wire.MsgNack, nack); nack.GetClientMsgId() != "42" || im.Code(nack.GetReason()) != im.Denied || nack.GetRetryable() {
		t.Errorf("0381: %v", nack)
	}
	receiver.quiet()
	w.route1.quiet()
}

// The answers of a db_proxy that do not mean "stored".
func TestNotStored(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	old, capable, receiver := w.login(7, im.Windows), w.login(7, im.IOS, "nack"), w.login(9, im.Mac)
	cases := map[string]struct {
		id, since uint32
		want      im.Code
	}{
		"busy":              {0, uint32(im.Busy), im.Busy},
		"unavailable":       {0, uint32(im.Unavailable), im.Unavailable},
		"not found":         {0, uint32(im.NotFound), im.NotFound},
		"id over the range": {uint32(im.MaxMsgID) + 1, 0, im.Internal},
		"id of a failure":   {4294967295, 0, im.Internal},
	}
	seq := uint16(0)
	for name, tc := range cases {
		seq++
		for _, u := range []*user{old, capable} {
			u.send(wire.MsgData, seq, say(single, 9, name))
			r, _ := w.db1.stores()
			r.keep(t, tc.id, func(m *message.IMMsgData) { m.SincePreviousMs = proto.Uint32(tc.since) })
		}
		nack := new(extension.IMMsgNack)
		pdu := capable.want(wire.MsgNack, nack)
		if pdu.Seq != seq || im.Code(nack.GetReason()) != tc.want || nack.GetRetryable() != tc.want.Retryable() ||
			(nack.GetRetryAfterMs() > 0) != tc.want.Retryable() {
			t.Errorf("%s: %v", name, nack)
		}
	}
	linktest.Eventually(t, "all failures", func() bool { return w.sends.count() == 0 })
	for _, u := range []*user{old, capable, receiver} {
		u.quiet()
	}
	w.route1.quiet()
	// Answers that belong to nothing.
	for _, attach := range [][]byte{nil, attach(attachKindSend, 1<<40), attachConn(1)} {
		m := say(single, 9, "x")
		m.MsgId, m.AttachData = proto.Uint32(1), attach
		w.db1.send(wire.MsgData, 0, m)
	}
	w.db1.sendBody(wire.MsgData, 0, []byte{0xff})
	linktest.Eventually(t, "answers to nothing", func() bool {
		return w.dropped("send_unknown") == 3 && w.dropped("bad_body") == 1
	})
	receiver.quiet()
}

// More unanswered messages than allowed close the connection.
func TestInFlightCap(t *testing.T) {
	t.Parallel()
	w := newWorldOf(t, setup{conf: "MaxInFlight=4\n"})
	u, other := w.login(7, im.Windows), w.login(8, im.Windows)
	for seq := range uint16(4) {
		u.send(wire.MsgData, seq, say(single, 9, "x"))
	}
	r, _ := w.db1.stores()
	u.quiet()
	r.keep(t, 1, nil)
	u.acked(0)
	u.send(wire.MsgData, 4, say(single, 9, "x"))
	u.quiet()
	u.send(wire.MsgData, 5, say(single, 9, "x"))
	u.closed()
	other.send(wire.MsgData, 1, say(single, 9, "x"))
	for range 5 {
		r, _ = w.db1.stores()
		r.keep(t, 2, nil)
	}
	other.acked(1)
	linktest.Eventually(t, "an end of all", func() bool { return w.sends.count() == 0 })
}

// Above its rate a connection's messages are delayed, in order; nobody else's
// wait with them. Source: docs/protocol/defects.md A9.
func TestMessagesPerSecond(t *testing.T) {
	t.Parallel()
	w := newWorldOf(t, setup{conf: "MaxMsgsPerSec=2\n"})
	fast, slow := w.login(7, im.Windows), w.login(8, im.Windows)
	next := func(want string) {
		t.Helper()
		r, m := w.db1.stores()
		if string(m.GetMsgData()) != want {
			t.Fatalf("%s is stored, want %s", m.GetMsgData(), want)
		}
		r.keep(t, 1, func(m *message.IMMsgData) { m.Members = []uint32{7, 8} })
	}
	for i := range 6 {
		fast.send(wire.MsgData, uint16(i+1), say(inside, 500, strconv.Itoa(i)))
	}
	for i := range 3 { // a second's worth
		next(strconv.Itoa(i))
	}
	fast.quietAfterAcks(3)
	slow.send(wire.MsgData, 1, say(inside, 500, "from another"))
	next("from another")
	for i := 3; i < 6; i++ {
		w.skip(500 * time.Millisecond)
		next(strconv.Itoa(i))
	}
	fast.quietAfterAcks(3)
}

// quietAfterAcks takes acknowledgements, and pushes between them.
func (u *user) quietAfterAcks(n int) {
	u.t.Helper()
	for n > 0 {
		if u.next().Command == wire.MsgDataAck {
			n--
		}
	}
}

// Nobody answers: the send is given up before the client does.
func TestGivenUp(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	old, capable := w.login(7, im.Windows), w.login(7, im.IOS, "nack")
	for _, u := range []*user{old, capable} {
		u.send(wire.MsgData, 9, say(single, 9, "x"))
	}
	first, _ := w.db1.stores()
	w.db1.stores()
	w.skip(sendPatience + time.Millisecond)
	nack := new(extension.IMMsgNack)
	if pdu := capable.want(wire.MsgNack, nack); pdu.Seq != 9 || im.Code(nack.GetReason()) != im.Unavailable ||
		!nack.GetRetryable() || nack.GetRetryAfterMs() == 0 {
		t.Errorf("0381: %v", nack)
	}
	linktest.Eventually(t, "an end of all", func() bool { return w.sends.count() == 0 })
	old.quiet()
	// Its answer comes too late; the client's repeat is a new attempt.
	first.keep(t, 1, nil)
	linktest.Eventually(t, "the late answer", func() bool { return w.dropped("send_unknown") == 1 })
	old.quiet()
	old.send(wire.MsgData, 9, say(single, 9, "x"))
	w.db1.stores()
}

// Without a db_proxy a message waits for one, and no longer than the client.
func TestWaitsForDBProxy(t *testing.T) {
	t.Parallel()
	db := ourDB(t)
	w := newWorldOf(t, setup{dbs: []*neighbour{db}})
	u := w.login(7, im.Windows, "nack")
	w.db1.mu.Lock()
	for _, l := range w.db1.links {
		l.SendPDU(wire.StopReceive, 0, nil)
	}
	w.db1.mu.Unlock()
	linktest.Eventually(t, "no db_proxy", func() bool { return !w.db.Open() })
	u.send(wire.MsgData, 1, say(single, 9, "first"))
	u.send(wire.MsgData, 2, say(single, 9, "second"))
	u.quiet()
	w.db1.quiet()
	w.db1.mu.Lock()
	links := slices.Clone(w.db1.links)
	w.db1.mu.Unlock()
	for _, l := range links {
		l.Close("test")
	}
	for seq := range uint16(2) { // over new links
		if r, _ := w.db1.stores(); r.Seq != seq+1 {
			t.Fatalf("seq %d", r.Seq)
		}
	}
}

// twoDBs makes a world with two db_proxies that leave messages to the test,
// and returns the owner of the conversation first.
func twoDBs(t *testing.T, conv im.Conversation) (w *world, owner, other *neighbour) {
	t.Helper()
	dbs := []*neighbour{ourDB(t), ourDB(t)}
	w = newWorldOf(t, setup{dbs: dbs})
	owner, other = dbs[0], dbs[1]
	if w.db.Owner(conv).Addr() == w.addrOf(other) {
		owner, other = other, owner
	}
	return w, owner, other
}

// The owner dies: what it did not answer goes to its successor, in order and
// under the same operation ids. Source: docs/protocol/defects.md A1;
// docs/protocol.md, "Operation ids".
func TestFailOver(t *testing.T) {
	t.Parallel()
	w, owner, other := twoDBs(t, im.SingleOf(7, 9))
	u, receiver := w.login(7, im.Windows), w.login(9, im.Mac)
	const messages = 50
	ops := map[uint16][]byte{}
	for seq := uint16(1); seq <= messages; seq++ {
		u.send(wire.MsgData, seq, say(single, 9, strconv.Itoa(int(seq))))
		r, m := owner.stores()
		ops[r.Seq] = m.GetOperationId()
	}
	owner.stop()
	u.send(wire.MsgData, messages+1, say(single, 9, "later"))
	last := []byte(nil)
	for seq := uint16(1); seq <= messages+1; seq++ {
		r, m := other.stores()
		if r.Seq != seq || seq <= messages && !bytes.Equal(m.GetOperationId(), ops[seq]) {
			t.Fatalf("seq %d with another operation id, want %d", r.Seq, seq)
		}
		if op := m.GetOperationId(); bytes.Compare(op[:6], last) < 0 {
			t.Error("operation ids fall")
		}
		last = m.GetOperationId()[:6]
		// The first half was stored by the owner, which nobody heard of.
		r.keep(t, uint32(seq), func(m *message.IMMsgData) {
			if seq <= messages/2 {
				m.SincePreviousMs = proto.Uint32(storedBefore)
			}
		})
	}
	for seq := uint16(1); seq <= messages+1; seq++ {
		if ack := u.acked(seq); ack.GetMsgId() != uint32(seq) {
			t.Fatalf("0302: %v", ack)
		}
		receiver.gets(7, 9, uint32(seq))
		relay := decode(t, w.route1.want(wire.Relay).Body, new(extension.IMRelay))
		if relay.GetOrder().GetMsgId() != uint32(seq) {
			t.Fatalf("relayed %d", relay.GetOrder().GetMsgId())
		}
	}
	u.quiet()
	receiver.quiet()
}

// A db_proxy that stops is asked nothing more, and heard.
// Source: docs/protocol/flows.md §2; docs/protocol/defects.md A13.
func TestDBProxyStops(t *testing.T) {
	t.Parallel()
	w, owner, other := twoDBs(t, im.SingleOf(7, 9))
	u := w.login(7, im.Windows)
	u.send(wire.MsgData, 1, say(single, 9, "before"))
	r, _ := owner.stores()
	owner.mu.Lock()
	for _, l := range owner.links {
		l.SendPDU(wire.StopReceive, 0, nil)
	}
	owner.mu.Unlock()
	linktest.Eventually(t, "another owner", func() bool {
		return w.db.Owner(im.SingleOf(7, 9)).Addr() == w.addrOf(other)
	})
	u.send(wire.MsgData, 2, say(single, 9, "after"))
	r.keep(t, 1, nil)
	u.acked(1)
	later, _ := other.stores()
	later.keep(t, 2, nil)
	u.acked(2)
	owner.stop()
	owner.quiet()
}

// A db_proxy gets no more unanswered messages than it said it takes.
func TestCredit(t *testing.T) {
	t.Parallel()
	db := ours(t, link.Config{Role: "db_proxy", Capabilities: []string{link.CapStore}, Credit: 2})
	db.does(letIn(t))
	w := newWorldOf(t, setup{dbs: []*neighbour{db}})
	u := w.login(7, im.Windows)
	for seq := range uint16(6) {
		u.send(wire.MsgData, seq, say(single, 9, "x"))
	}
	u.quiet()
	var open []received
	for range 2 {
		r, _ := db.stores()
		open = append(open, r)
	}
	for seq := range uint16(6) {
		db.quiet()
		if open[0].Seq != seq {
			t.Fatalf("seq %d, want %d", open[0].Seq, seq)
		}
		open[0].keep(t, uint32(seq)+1, nil)
		u.acked(seq)
		open = open[1:]
		if seq < 4 {
			r, _ := db.stores()
			open = append(open, r)
		}
	}
}

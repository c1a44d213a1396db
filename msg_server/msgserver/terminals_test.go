package msgserver

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"google.golang.org/protobuf/proto"

	"teamtalk/internal/im"
	"teamtalk/internal/link"
	"teamtalk/internal/link/linktest"
	"teamtalk/internal/trace"
	"teamtalk/internal/wire"
	"teamtalk/pb/basedefine"
	"teamtalk/pb/extension"
	"teamtalk/pb/login"
	"teamtalk/pb/message"
)

// messageLog is what a db_proxy with delivery cursors keeps of the
// conversation of users 7 and 9, and of the terminals of 9.
type messageLog struct {
	mu      sync.Mutex
	newest  uint32
	cursors map[string]uint32
	asked   []string // "behind 3", "behind the cursor"
	mute    bool     // pages are not answered
}

func newLog() *messageLog { return &messageLog{cursors: map[string]uint32{}} }

// holds sets how many messages are stored.
func (m *messageLog) holds(n uint32) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.newest = n
}

func (m *messageLog) cursor(terminal string) uint32 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.cursors[terminal]
}

func (m *messageLog) questions() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	defer func() { m.asked = nil }()
	return strings.Join(m.asked, ", ")
}

func deliveringDB(t testing.TB, log *messageLog) *neighbour {
	t.Helper()
	n := ours(t, link.Config{Role: "db_proxy", Capabilities: []string{link.CapStore, link.CapDelivery}})
	store := storing(t, nil)
	n.does(func(r received) bool {
		log.mu.Lock()
		defer log.mu.Unlock()
		switch r.Command {
		case wire.TerminalReq:
			req := decode(t, r.Body, new(extension.IMTerminalReq))
			res := &extension.IMTerminalRsp{UserId: req.UserId, AttachData: req.GetAttachData()}
			cursor, known := log.cursors[req.GetTerminal()]
			if !known {
				log.cursors[req.GetTerminal()] = log.newest
			} else if cursor < log.newest {
				res.Backlog = []*extension.Backlog{{
					SessionType: basedefine.SessionType_SESSION_TYPE_SINGLE.Enum(), SessionId: proto.Uint32(7),
					Newest: proto.Uint32(log.newest),
				}}
			}
			r.answer(t, wire.TerminalRes, res)
		case wire.BacklogReq:
			req := decode(t, r.Body, new(extension.IMBacklogReq))
			after := log.cursors[req.GetTerminal()]
			if req.After == nil {
				log.asked = append(log.asked, "behind the cursor")
			} else {
				after = req.GetAfter()
				log.asked = append(log.asked, fmt.Sprint("behind ", after))
			}
			if log.mute {
				return true
			}
			res := &extension.IMBacklogRsp{
				UserId: req.UserId, SessionType: req.SessionType, SessionId: req.SessionId, After: proto.Uint32(after),
				Upto: req.Newest, AttachData: req.GetAttachData(),
			}
			for id := after + 1; id <= req.GetNewest(); id++ {
				res.MsgList = append(res.MsgList, &basedefine.MsgInfo{
					MsgId: proto.Uint32(id), FromSessionId: proto.Uint32(7), CreateTime: proto.Uint32(1),
					MsgType: single.Enum(), MsgData: []byte("stored"),
				})
			}
			r.answer(t, wire.BacklogRes, res)
		case wire.DeliveryCursors:
			for _, c := range decode(t, r.Body, new(extension.IMDeliveryCursors)).GetCursors() {
				log.cursors[c.GetTerminal()] = max(log.cursors[c.GetTerminal()], c.GetMsgId())
			}
		default:
			return store(r)
		}
		return true
	})
	return n
}

// acks says that everything up to id has arrived of the messages with peer.
func (u *user) acks(peer, id uint32) {
	u.t.Helper()
	u.send(wire.MsgDelivered, 9, &extension.IMMsgDelivered{
		SessionId: proto.Uint32(peer), SessionType: basedefine.SessionType_SESSION_TYPE_SINGLE.Enum(), MsgId: proto.Uint32(id),
	})
}

func TestDeliveredOrWaiting(t *testing.T) {
	t.Parallel()
	log := newLog()
	w := newWorldOf(t, setup{dbs: []*neighbour{deliveringDB(t, log)}})
	relay := func(id uint32, since *uint32) {
		log.holds(id)
		w.route1.sendBody(wire.Relay, 0, relayed(t, 7, 9, id, since, 9))
	}
	log.holds(3)
	pc := w.login(9, im.Mac, "delivered")
	old := w.login(9, im.Android)
	pc.quiet()
	relay(4, nil)
	pc.gets(7, 9, 4)
	old.gets(7, 9, 4)
	pc.acks(7, 4)
	// Two whose relay is lost are fetched with the next; an old client never
	// hears of them.
	relay(7, nil)
	for id := uint32(5); id <= 7; id++ {
		pc.gets(7, 9, id)
	}
	old.gets(7, 9, 7)
	pc.acks(7, 6)
	pc.acks(8, 1) // of nobody
	pc.quiet()
	if w.dropped("delivered_unknown") != 1 {
		t.Error("an acknowledgement of nothing counts")
	}
	// What was fetched is remembered as what was relayed, and who has it.
	for id, want := range map[im.MsgID]string{
		4: "confirmed delivered delivered", 6: "confirmed delivered", 7: "delivered delivered",
	} {
		var all []string
		for _, e := range w.trace.Find(trace.Query{Conv: im.SingleOf(7, 9), Msg: id}).Events {
			if e.Event == trace.Delivered || e.Event == trace.Confirmed && e.Client == im.Mac && e.User == 9 {
				all = append(all, e.Event.String())
			}
		}
		if slices.Sort(all); strings.Join(all, " ") != want {
			t.Errorf("remembered of %d: %s, want %s", id, all, want)
		}
	}
	if got := log.questions(); got != "behind the cursor, behind 4" {
		t.Errorf("asked %s", got)
	}
	pc.Close()
	linktest.Eventually(t, "the cursor", func() bool { return log.cursor("class:pc") == 6 })
	log.holds(9)
	pc = w.login(9, im.Windows, "delivered")
	for id := uint32(7); id <= 9; id++ {
		pc.gets(7, 9, id)
	}
	// What nobody acknowledged is sent again after a while, to nobody else.
	pc.tick(6 * time.Second)
	for id := uint32(7); id <= 9; id++ {
		pc.gets(7, 9, id)
	}
	pc.acks(7, 9)
	pc.quiet()
	pc.tick(7 * time.Second)
	linktest.Eventually(t, "the cursor", func() bool { return log.cursor("class:pc") == 9 })
	pc.tick(time.Minute)
	pc.quiet()
	old.quiet()
	if n := testutil.ToFloat64(w.metrics.resent); n != 1 {
		t.Errorf("%v conversations sent again", n)
	}
}

// A terminal begins before its log-in is answered: what is stored from then on
// waits for it, even if it loses this connection at once. Whatever db_proxy
// says so.
func TestTerminalsBeginWithTheirLogIn(t *testing.T) {
	t.Parallel()
	log := newLog()
	dbs := []*neighbour{deliveringDB(t, log), deliveringDB(t, log)}
	w := newWorldOf(t, setup{dbs: dbs})
	type held struct {
		received
		db int
	}
	asked := make(chan held, 10)
	deaf := func(i int) {
		in := dbs[i].handle
		dbs[i].does(func(r received) bool {
			if r.Command != wire.TerminalReq {
				return in(r)
			}
			asked <- held{r, i}
			return true
		})
	}
	hears := []func(received) bool{dbs[0].handle, dbs[1].handle}
	deaf(0)
	deaf(1)
	log.holds(3)
	pc := w.connect()
	pc.id = 9
	pc.send(wire.LoginReq, 1, loginOf(9, im.Mac, "delivered"))
	linktest.Wait(t, asked, "a question")
	pc.quiet()
	pc.tick(4 * time.Second) // it is asked again
	first := linktest.Wait(t, asked, "a question")
	log.holds(4)
	w.route1.sendBody(wire.Relay, 0, relayed(t, 7, 9, 4, nil, 9))
	pc.quiet()
	// With the db_proxy gone, the other one is asked.
	other := 1 - first.db
	dbs[other].does(hears[other])
	dbs[first.db].stop()
	if res := new(login.IMLoginRes); pc.want(wire.LoginRes, res).Seq != 1 || len(res.GetCapabilities()) != 1 {
		t.Errorf("0104: %v", res)
	}
	pc.gets(7, 9, 4)
	pc.Close()
	log.holds(6)
	pc = w.login(9, im.Mac, "delivered")
	for id := uint32(5); id <= 6; id++ {
		pc.gets(7, 9, id)
	}
	// One that nobody makes known is not let in.
	deaf(other)
	pc = w.connect()
	pc.send(wire.LoginReq, 1, loginOf(9, im.IOS, "delivered"))
	linktest.Wait(t, asked, "a question")
	pc.tick(loginDeadline + time.Second)
	pc.closed()
}

// A device is a terminal of its own; names that are none fall back.
func TestTerminalNames(t *testing.T) {
	t.Parallel()
	for device, want := range map[string]string{
		"a-b-c": "device:a-b-c", "": "class:phone", "\xff": "class:phone", strings.Repeat("x", 49): "class:phone",
	} {
		if got := terminalName(device, im.IOS); got != want {
			t.Errorf("%q: %s, want %s", device, got, want)
		}
	}
	if got := terminalName("", im.Windows); got != "class:pc" {
		t.Error(got)
	}
}

// What a terminal sends itself is not pushed to it, nor waited for; a page
// that is not answered is asked for again.
func TestOwnMessagesAndLostPages(t *testing.T) {
	t.Parallel()
	log := newLog()
	w := newWorldOf(t, setup{dbs: []*neighbour{deliveringDB(t, log)}})
	pc, phone := w.login(9, im.Mac, "delivered"), w.login(9, im.IOS, "delivered")
	for id := uint32(1); id <= 3; id++ {
		log.holds(id)
		pc.send(wire.MsgData, uint16(id), say(single, 7, "mine"))
		if ack := pc.acked(uint16(id)); ack.GetMsgId() != id {
			t.Fatal(ack)
		}
		m := new(message.IMMsgData)
		phone.push(wire.MsgData, m)
		if m.GetMsgId() != id {
			t.Fatalf("got %d, want %d", m.GetMsgId(), id)
		}
	}
	pc.quiet()
	log.questions()
	log.mu.Lock()
	log.mute = true
	log.mu.Unlock()
	log.holds(5)
	w.route1.sendBody(wire.Relay, 0, relayed(t, 7, 9, 5, nil, 9))
	linktest.Eventually(t, "two questions", func() bool {
		log.mu.Lock()
		defer log.mu.Unlock()
		return len(log.asked) == 2
	})
	log.mu.Lock()
	log.mute = false
	log.mu.Unlock()
	pc.tick(4 * time.Second)
	pc.gets(7, 9, 4)
	pc.gets(7, 9, 5)
	pc.quiet()
}

// The bound of pages under way: who waits comes next, each once.
func TestFetchesAreBounded(t *testing.T) {
	t.Parallel()
	var f fetches
	a, b := new(client), new(client)
	for range maxFetches {
		if !f.start(a) {
			t.Fatal("refused below the bound")
		}
	}
	if f.start(a) || f.start(b) || f.start(a) {
		t.Fatal("taken above the bound")
	}
	if f.done() != a || f.done() != b || f.done() != nil || !f.start(b) {
		t.Error("they do not take turns")
	}
}

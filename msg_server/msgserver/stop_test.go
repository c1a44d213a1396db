package msgserver

import (
	"net"
	"testing"

	"google.golang.org/protobuf/proto"

	"teamtalk/internal/im"
	"teamtalk/internal/link/linktest"
	"teamtalk/internal/wire"
	"teamtalk/msg_server/internal/deliver"
	"teamtalk/pb/extension"
	"teamtalk/pb/server"
)

// A stop: nobody new, what is under way is answered, who can move is told,
// and all are gone before the links end. Source: docs/architecture.md.
func TestStop(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	old, capable := w.login(7, im.Windows), w.login(8, im.Mac, "nack", "move")
	old.send(wire.MsgData, 1, say(single, 9, "under way"))
	r, _ := w.db1.stores()
	ended := make(chan struct{})
	go func() {
		w.stop()
		close(ended)
	}()
	linktest.Eventually(t, "the stop", func() bool { return w.Ready() != nil })
	linktest.Eventually(t, "the refusal of new connections", func() bool {
		conn, err := net.Dial("tcp", w.addr)
		if err != nil {
			return true
		}
		defer conn.Close()
		_, err = conn.Read(make([]byte, 1))
		return err != nil
	})
	w.login1.connected(0)
	capable.send(wire.MsgData, 2, say(single, 9, "too late"))
	nack := new(extension.IMMsgNack)
	if pdu := capable.want(wire.MsgNack, nack); pdu.Seq != 2 || im.Code(nack.GetReason()) != im.Unavailable || !nack.GetRetryable() {
		t.Errorf("0381: %v", nack)
	}
	old.quiet() // it still serves
	w.db1.quiet()
	news := make(chan received, 10)
	w.route1.does(func(r received) bool { news <- r; return true })
	r.keep(t, 1, nil)
	old.acked(1)
	old.closed()
	move := new(extension.IMMoveServer)
	if capable.push(wire.MoveServer, move); move.Ip != nil {
		t.Errorf("0181: %v", move)
	}
	capable.closed()
	gone := map[uint32]bool{}
	for len(gone) < 2 {
		if r := linktest.Wait(t, news, "the news"); r.Command == wire.UserStatusUpdate {
			m := decode(t, r.Body, new(server.IMUserStatusUpdate))
			gone[m.GetUserId()] = m.GetUserStatus() == 2
		}
	}
	if !gone[7] || !gone[8] {
		t.Errorf("off-line: %v", gone)
	}
	linktest.Wait(t, ended, "the end")
	w.db1.connected(0)
	w.route1.connected(0)
	if w.sessions.Len() != 0 {
		t.Error("sessions left")
	}
}

// What was relayed here before the stop is pushed, also what waited for its
// predecessor.
func TestStopOwesNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	u := w.login(9, im.Mac)
	w.route1.sendBody(wire.Relay, 0, relayed(t, 7, 9, 4, proto.Uint32(10), 9))
	w.route1.sendBody(wire.Relay, 0, relayed(t, 7, 9, 3, proto.Uint32(10), 9))
	linktest.Eventually(t, "two held messages", func() bool { return w.delivered(deliver.Held) == 2 })
	ended := make(chan struct{})
	go func() {
		w.stop()
		close(ended)
	}()
	u.gets(7, 9, 3)
	u.gets(7, 9, 4)
	u.closed()
	linktest.Wait(t, ended, "the end")
}

// A stop waits for nothing for ever.
func TestStopIsBounded(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	u := w.login(7, im.Windows)
	u.send(wire.MsgData, 1, say(single, 9, "never answered"))
	w.db1.stores()
	ended := make(chan struct{})
	go func() {
		w.stop()
		close(ended)
	}()
	u.closed()
	linktest.Wait(t, ended, "the end")
}

package fileserver

import (
	"net"
	"testing"

	"google.golang.org/protobuf/proto"

	"teamtalk/internal/link/linktest"
	"teamtalk/internal/wire"
	"teamtalk/pb/basedefine"
	"teamtalk/pb/file"
)

const (
	stateReady  = basedefine.ClientFileState_CLIENT_FILE_PEER_READY
	stateRefuse = basedefine.ClientFileState_CLIENT_FILE_REFUSE
)

// pair logs both sides of a new on-line task in.
func (w *world) pair(size int) (from, to *terminal) {
	w.t.Helper()
	id := w.task(size, online)
	from = w.enter(alice, id, sender)
	to = w.enter(bob, id, receiver)
	to.wantState(stateReady, alice)
	return from, to
}

func TestOnline(t *testing.T) {
	t.Parallel()
	w := start(t)
	data := content(200_000)
	id := w.task(len(data), online)
	to := w.enter(bob, id, receiver) // the receiver may be first
	from := w.enter(alice, id, sender)
	to.wantState(stateReady, alice)
	var got []byte
	for seq := uint16(0xfe00); len(got) < len(data); seq++ {
		size := min(34816, len(data)-len(got))
		to.pull(online, seq, len(got), size)
		req := from.wantPull()
		if req.GetUserId() != bob || int(req.GetOffset()) != len(got) || int(req.GetDataSize()) != size {
			t.Fatalf("asked for %v", req)
		}
		from.block(len(got), data[len(got):len(got)+size])
		got = append(got, to.wantBlock(seq).GetFileData()...)
	}
	equal(t, got, data)
	to.tellState(stateDone)
	from.wantState(stateDone, bob)
	from.wantClosed()
	to.wantClosed()
	linktest.Eventually(t, "the end of the task", func() bool { return w.tasks.Len() == 0 })
}

func TestOnlineEnds(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		act  func(from, to *terminal)
		want func(from, to *terminal)
	}{
		"the receiver refuses": {
			func(_, to *terminal) { to.tellState(stateRefuse) },
			func(from, to *terminal) { from.wantState(stateRefuse, bob); from.wantClosed(); to.wantClosed() },
		},
		"the sender cancels": {
			func(from, _ *terminal) { from.tellState(stateCancel) },
			func(from, to *terminal) { to.wantState(stateCancel, alice); from.wantClosed(); to.wantClosed() },
		},
		"the sender is cut off": {
			func(from, _ *terminal) { from.Close() },
			func(_, to *terminal) { to.wantState(stateCancel, alice); to.wantClosed() },
		},
		"the receiver is cut off": {
			func(_, to *terminal) { to.Close() },
			func(from, _ *terminal) { from.wantState(stateCancel, bob); from.wantClosed() },
		},
		"a block nobody asked for":     {func(from, _ *terminal) { from.block(0, content(10)) }, bothCancelled},
		"a pull of the sender":         {func(from, _ *terminal) { from.pull(online, 1, 0, 10) }, bothCancelled},
		"a block of the receiver":      {func(_, to *terminal) { to.block(0, content(10)) }, bothCancelled},
		"a pull beyond the end":        {func(_, to *terminal) { to.pull(online, 1, 100, 10) }, bothCancelled},
		"a pull of nothing":            {func(_, to *terminal) { to.pull(online, 1, 0, 0) }, bothCancelled},
		"a pull of too much":           {func(_, to *terminal) { to.pull(online, 1, 0, 1<<30) }, bothCancelled},
		"a state that is the server's": {func(_, to *terminal) { to.tellState(stateReady) }, bothCancelled},
		"more bytes than announced": {
			func(from, to *terminal) { to.pull(online, 1, 90, 10); from.wantPull(); from.block(90, content(11)) },
			bothCancelled,
		},
		"another's task": {
			func(from, _ *terminal) { from.id = "4b2d5f2e-9f63-4c0e-9b1a-1d2e3f405162"; from.tellState(stateDone) },
			func(from, to *terminal) { from.wantClosed(); to.wantState(stateCancel, alice); to.wantClosed() },
		},
		"too many pulls": {
			func(from, to *terminal) {
				for i := range maxPulls + 1 {
					to.pull(online, uint16(i), 0, 10)
				}
				for range maxPulls {
					from.wantPull()
				}
			},
			bothCancelled,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := start(t)
			from, to := w.pair(100)
			c.act(from, to)
			c.want(from, to)
			linktest.Eventually(t, "the end of the task", func() bool { return w.tasks.Len() == 0 })
			if n := len(w.relays.byID); n != 0 {
				t.Errorf("%d relays are left", n)
			}
		})
	}
}

func bothCancelled(from, to *terminal) {
	from.wantState(stateCancel, alice)
	to.wantState(stateCancel, alice)
	from.wantClosed()
	to.wantClosed()
}

// A receiver who waits alone may come again.
func TestComesAgain(t *testing.T) {
	t.Parallel()
	w := start(t)
	id := w.task(10, online)
	w.enter(bob, id, receiver).Close()
	linktest.Eventually(t, "a second log-in", func() bool {
		c := w.connect(bob, id)
		return c.login(receiver) == 0
	})
}

// A receiver who asks and never reads is closed; others go on.
func TestNeverReads(t *testing.T) {
	t.Parallel()
	w := start(t)
	from, to := w.pair(1 << 30)
	if err := to.Conn.(*net.TCPConn).SetReadBuffer(4096); err != nil {
		t.Fatal(err)
	}
	data := content(100_000)
	go func() { // asks on and on
		body, err := proto.Marshal(&file.IMFilePullDataReq{
			TaskId: proto.String(to.id), UserId: proto.Uint32(bob), TransMode: online.Enum(),
			Offset: proto.Uint32(0), DataSize: proto.Uint32(100_000),
		})
		if err != nil {
			t.Error(err)
		}
		for {
			if _, err := to.Write(wire.Append(nil, wire.FilePullDataReq, 1, body)); err != nil {
				return
			}
		}
	}()
	// The sender answers whatever reaches it until it is cut off.
	for {
		pdu := from.Next()
		if pdu.Command == wire.FileState {
			break
		}
		from.block(0, data)
	}
	from.wantClosed()
	equal(t, w.enter(bob, w.upload(data), downloader).download(len(data)), data)
}

func TestBeforeLogin(t *testing.T) {
	t.Parallel()
	w := start(t)
	id := w.task(10, online)
	c := w.connect(alice, id)
	c.pull(online, 1, 0, 10)
	c.block(0, []byte("x"))
	c.tellState(stateDone)
	c.SendBody(wire.LoginReq, 1, nil)
	c.SendBody(wire.Heartbeat, 77, nil)
	if c.login(sender) != 0 {
		t.Error("what came before the log-in did harm")
	}
	c.SendBody(wire.FilePullDataRes, 1, []byte{0xff})
	c.wantClosed()
	c = w.connect(alice, id)
	c.SendBody(wire.FileLoginReq, 1, []byte{0xff})
	c.wantClosed()
}

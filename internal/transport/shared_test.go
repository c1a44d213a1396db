package transport

import (
	"bytes"
	"io"
	"testing"
	"time"

	"teamtalk/internal/wire"
)

// A shared body reaches every connection whole and in its place between what
// is sent before and after, also when the peer reads late.
func TestSharedBodies(t *testing.T) {
	t.Parallel()
	const conns = 5
	body := bytes.Repeat([]byte("0123456789abcdef"), 1<<17) // 2 MiB
	r := newRecorder()
	s := start(t, r, Limits{MaxOutbound: 1 << 20, FlushTimeout: 8 * time.Second})
	var want []byte
	want = append(want, "before"...)
	want = append(append(append(want, "head"...), body...), "between"...)
	want = append(append(append(want, "head"...), body...), "after"...)
	for i := range conns {
		socket := s.dial(t)
		c := waitFor(t, r.opened, "OnOpen")
		c.Send([]byte("before"))
		if !c.SendShared([]byte("head"), body) {
			t.Fatal("a shared body over MaxOutbound was refused")
		}
		c.Send([]byte("between"))
		c.SendShared([]byte("head"), body)
		c.Send([]byte("after"))
		if i%2 == 0 {
			c.Close("bye")
			got, err := io.ReadAll(socket)
			if err != nil || !bytes.Equal(got, want) {
				t.Fatalf("read %d bytes, %v; want the %d sent and EOF", len(got), err, len(want))
			}
			continue
		}
		got := make([]byte, len(want))
		if _, err := io.ReadFull(socket, got); err != nil || !bytes.Equal(got, want) {
			t.Fatalf("read %d bytes, %v; want the %d sent", len(got), err, len(want))
		}
		socket.Close()
	}
	if !bytes.Equal(body, bytes.Repeat([]byte("0123456789abcdef"), 1<<17)) {
		t.Error("the shared body was changed")
	}
}

func TestSharedBodyToAPeerThatDoesNotRead(t *testing.T) {
	t.Parallel()
	r := newRecorder()
	s := start(t, r, Limits{SlowConsumer: 300 * time.Millisecond})
	socket := s.dial(t)
	defer socket.Close()
	c := waitFor(t, r.opened, "OnOpen")
	c.SendShared(wire.AppendHeartbeat(nil, 0), make([]byte, 64<<20))
	wantReason(t, r, ReasonSlowConsumer)
}

// Many small shared bodies that nobody reads are not kept without end.
func TestManySharedBodies(t *testing.T) {
	t.Parallel()
	r := newRecorder()
	s := start(t, r, Limits{MaxOutbound: 1 << 20})
	socket := s.dial(t)
	defer socket.Close()
	c := waitFor(t, r.opened, "OnOpen")
	body, taken := make([]byte, 1<<12), 0
	for taken < 100_000 && c.SendShared([]byte("head"), body) {
		taken++
	}
	if taken == 100_000 {
		t.Fatal("everything was taken")
	}
	wantReason(t, r, ReasonSlowConsumer)
}

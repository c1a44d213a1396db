package transport

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"testing"
	"time"

	"teamtalk/internal/wire"
)

func TestFraming(t *testing.T) {
	t.Parallel()
	big := bytes.Repeat([]byte("0123456789abcdef"), 20_000) // more than one read
	stream := wire.Append(nil, wire.MsgData, 1, []byte("first"))
	stream = wire.AppendHeartbeat(stream, wire.Mark)
	stream = wire.AppendHeartbeat(stream, 0)
	stream = wire.Append(stream, wire.MsgDataAck, 2, big)
	stream = wire.Append(stream, wire.LoginReq, 3, nil)

	cases := map[string]func(random *rand.Rand) int{ // size of the next write
		"in one write":      func(*rand.Rand) int { return len(stream) },
		"half a header":     func(*rand.Rand) int { return 8 },
		"one byte too many": func(*rand.Rand) int { return wire.HeaderSize + 6 },
		"at random":         func(r *rand.Rand) int { return 1 + r.IntN(70_000) },
	}
	for name, next := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRecorder()
			s := start(t, r, Limits{})
			socket := s.dial(t)
			random := rand.New(rand.NewPCG(1, 2))
			for rest := stream; len(rest) > 0; {
				n := min(next(random), len(rest))
				if len(stream)-len(rest) > 4096 {
					n = min(max(n, 10_000), len(rest)) // the small steps have done their work
				}
				write(t, socket, rest[:n])
				rest = rest[n:]
			}
			want := []struct {
				command wire.Command
				seq     uint16
				mark    uint16
				body    []byte
			}{
				{wire.MsgData, 1, 0, []byte("first")},
				{wire.Heartbeat, 0, wire.Mark, nil},
				{wire.Heartbeat, 0, 0, nil},
				{wire.MsgDataAck, 2, 0, big},
				{wire.LoginReq, 3, 0, nil},
			}
			for i, w := range want {
				got := waitFor(t, r.pdus, fmt.Sprintf("PDU %d", i))
				if got.Command != w.command || got.Seq != w.seq || got.Reserved != w.mark || !bytes.Equal(got.Body, w.body) {
					t.Errorf("PDU %d = %v seq %d reserved %x, %d bytes; want %v seq %d reserved %x, %d bytes",
						i, got.Command, got.Seq, got.Reserved, len(got.Body), w.command, w.seq, w.mark, len(w.body))
				}
			}
			socket.Close()
			wantReason(t, r, ReasonPeer)
			if got := s.metric(t, "im_pdus_received_total"); got != float64(len(want)) {
				t.Errorf("im_pdus_received_total = %v, want %d", got, len(want))
			}
			if got := s.metric(t, "im_received_bytes_total"); got != float64(len(stream)) {
				t.Errorf("im_received_bytes_total = %v, want %d", got, len(stream))
			}
		})
	}
}

func TestBadLengths(t *testing.T) {
	t.Parallel()
	r := newRecorder()
	s := start(t, r, Limits{MaxPDU: 1000})
	lengths := []uint32{1001, 1 << 30, 0xffffffff}
	for n := range uint32(wire.HeaderSize) {
		lengths = append(lengths, n)
	}
	for _, n := range lengths {
		header := wire.AppendHeartbeat(nil, 0)
		binary.BigEndian.PutUint32(header, n)
		socket := s.dial(t)
		write(t, socket, wire.Append(nil, wire.MsgData, 0, make([]byte, 984))) // as large as is allowed
		write(t, socket, header)
		if pdu := waitFor(t, r.pdus, "the PDU before"); len(pdu.Body) != 984 {
			t.Errorf("length %d: body of %d bytes before it, want 984", n, len(pdu.Body))
		}
		if got := waitFor(t, r.closed, "OnClose"); got != ReasonBadLength {
			t.Errorf("length %d: closed for %q, want %q", n, got, ReasonBadLength)
		}
		wantEOF(t, socket, true)
	}
	if got := s.metric(t, "im_connections_closed_total", "bad_length"); got != float64(len(lengths)) {
		t.Errorf("im_connections_closed_total = %v, want %d", got, len(lengths))
	}
}

// The number of a connection is never that of another, also when the socket's
// is used again. Source: docs/protocol/defects.md I5.
func TestNumbersAreNotUsedAgain(t *testing.T) {
	t.Parallel()
	r := newRecorder()
	s := start(t, r, Limits{})
	seen := map[uint64]bool{0: true}
	for range 10 {
		socket := s.dial(t)
		id := waitFor(t, r.opened, "OnOpen").ID()
		if seen[id] {
			t.Errorf("number %d is used again", id)
		}
		seen[id] = true
		socket.Close()
		wantReason(t, r, ReasonPeer)
	}
}

func TestSendKeepsOrder(t *testing.T) {
	t.Parallel()
	const sends = 100_000
	r := newRecorder()
	s := start(t, r, Limits{})
	socket := s.dial(t)
	c := waitFor(t, r.opened, "OnOpen")
	go func() {
		body := make([]byte, 4)
		for i := range uint32(sends) {
			binary.BigEndian.PutUint32(body, i)
			if !c.SendPDU(wire.MsgData, uint16(i), body) {
				t.Errorf("send %d refused", i)
				return
			}
		}
	}()
	in := bufio.NewReaderSize(socket, 1<<16)
	frame := make([]byte, wire.HeaderSize+4)
	for i := range uint32(sends) {
		if _, err := io.ReadFull(in, frame); err != nil {
			t.Fatal(err)
		}
		if got := binary.BigEndian.Uint32(frame[wire.HeaderSize:]); got != i {
			t.Fatalf("PDU %d came where %d was due", got, i)
		}
	}
}

func TestSendMessageRefusesWhatIsIncomplete(t *testing.T) {
	t.Parallel()
	r := newRecorder()
	s := start(t, r, Limits{})
	socket := s.dial(t)
	c := waitFor(t, r.opened, "OnOpen")
	if c.SendMessage(wire.MsgDataAck, 1, incomplete()) {
		t.Error("SendMessage took a message without its required fields")
	}
	c.SendHeartbeat(0)
	frame := make([]byte, wire.HeaderSize)
	if _, err := io.ReadFull(socket, frame); err != nil {
		t.Fatal(err)
	}
	if h := wire.ParseHeader(frame); h.Command != wire.Heartbeat {
		t.Errorf("received %v, want only the heartbeat", h.Command)
	}
	if !strings.Contains(s.log.String(), "message not sent") {
		t.Error("the refusal is not in the log")
	}
}

func TestSlowConsumer(t *testing.T) {
	t.Parallel()
	chunk := wire.Append(nil, wire.MsgData, 0, make([]byte, 64<<10))
	t.Run("bytes", func(t *testing.T) {
		t.Parallel()
		r := newRecorder()
		s := start(t, r, Limits{MaxOutbound: 1 << 20})
		s.dial(t) // and never reads
		c := waitFor(t, r.opened, "OnOpen")
		sent := 0
		for c.Send(chunk) {
			if sent += len(chunk); sent > 256<<20 {
				t.Fatal("256 MiB taken with a limit of 1 MiB")
			}
		}
		wantReason(t, r, ReasonSlowConsumer)
		if c.Send(chunk) || !c.Closing() {
			t.Error("a closed connection takes PDUs")
		}
	})
	t.Run("time", func(t *testing.T) {
		t.Parallel()
		r := newRecorder()
		s := start(t, r, Limits{MaxOutbound: 1 << 30, SlowConsumer: 10 * time.Millisecond})
		s.dial(t)
		c := waitFor(t, r.opened, "OnOpen")
		for range 512 { // 32 MiB, more than the kernel holds
			c.Send(chunk)
		}
		wantReason(t, r, ReasonSlowConsumer)
	})
}

// A reader that is slow but reads is not closed: the time counts for a byte,
// not for the backlog.
func TestSlowReaderThatReadsStays(t *testing.T) {
	t.Parallel()
	r := newRecorder()
	s := start(t, r, Limits{MaxOutbound: 1 << 30, SlowConsumer: 8 * time.Second})
	socket := s.dial(t)
	c := waitFor(t, r.opened, "OnOpen")
	const total = 24 << 20
	c.Send(make([]byte, total))
	if n, err := io.CopyN(io.Discard, socket, total); err != nil {
		t.Fatalf("read %d of %d bytes: %v", n, total, err)
	}
	if c.Closing() {
		t.Error("closed although everything was read")
	}
}

func TestCloseDeliversWhatIsQueued(t *testing.T) {
	t.Parallel()
	const total = 8 << 20
	r := newRecorder()
	r.onPDU = func(c *Conn, _ wire.PDU) {
		c.Send(make([]byte, total/2))
		c.Send(make([]byte, total/2))
		c.Close("bye")
		if c.Send([]byte("more")) {
			t.Error("a closing connection takes PDUs")
		}
	}
	s := start(t, r, Limits{FlushTimeout: 8 * time.Second})
	socket := s.dial(t)
	write(t, socket, wire.AppendHeartbeat(nil, 0))
	waitFor(t, r.opened, "OnOpen")
	// Bytes that nobody reads would turn the end into a reset.
	write(t, socket, bytes.Repeat(wire.AppendHeartbeat(nil, 0), 1000))
	got, err := io.Copy(io.Discard, socket)
	if err != nil || got != total {
		t.Errorf("read %d bytes and %v, want %d and EOF", got, err, total)
	}
	write(t, socket, bytes.Repeat(wire.AppendHeartbeat(nil, 0), 1000))
	socket.Close()
	wantReason(t, r, "bye")
}

func TestCloseGivesUpAfterFlushTimeout(t *testing.T) {
	t.Parallel()
	for name, reads := range map[string]bool{"peer reads but stays": true, "peer does not read": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRecorder()
			s := start(t, r, Limits{MaxOutbound: 1 << 30, FlushTimeout: 100 * time.Millisecond})
			socket := s.dial(t)
			c := waitFor(t, r.opened, "OnOpen")
			if reads {
				c.Send([]byte("last words"))
			} else {
				c.Send(make([]byte, 32<<20))
			}
			c.Close("bye")
			c.Close("a later reason does not count")
			if reads {
				if got, err := io.ReadAll(socket); err != nil || string(got) != "last words" {
					t.Errorf("read %q, %v", got, err)
				}
			}
			wantReason(t, r, "bye")
		})
	}
}

func TestPDUsAfterCloseAreNotHandled(t *testing.T) {
	t.Parallel()
	r := newRecorder()
	calls := make(chan uint16, 16)
	r.onPDU = func(c *Conn, pdu wire.PDU) {
		calls <- pdu.Seq
		c.Close("bye")
	}
	s := start(t, r, Limits{})
	socket := s.dial(t)
	two := wire.Append(wire.Append(nil, wire.LogoutReq, 1, nil), wire.MsgData, 2, nil)
	write(t, socket, two)
	wantEOF(t, socket, false)
	socket.Close()
	wantReason(t, r, "bye")
	if len(calls) != 1 {
		t.Errorf("%d PDUs handled, want 1", len(calls))
	}
}

func TestAbort(t *testing.T) {
	t.Parallel()
	r := newRecorder()
	s := start(t, r, Limits{MaxOutbound: 1 << 30})
	socket := s.dial(t)
	c := waitFor(t, r.opened, "OnOpen")
	c.Send(make([]byte, 64<<20))
	c.Abort("gone")
	wantReason(t, r, "gone") // at once, although nobody reads and FlushTimeout is 2 s
	if n, _ := io.Copy(io.Discard, socket); n == 64<<20 {
		t.Error("Abort delivered everything")
	}
}

func TestPanicClosesOneConnection(t *testing.T) {
	t.Parallel()
	cases := map[string]func(r *recorder, s *server, bad net.Conn){
		"OnPDU": func(_ *recorder, _ *server, bad net.Conn) {
			_, _ = bad.Write(wire.Append(nil, wire.LogoutReq, 0, nil))
		},
		"Do": func(r *recorder, _ *server, _ net.Conn) {
			c := <-r.opened
			c.Do(func() { panic("in a task") })
		},
	}
	for name, provoke := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRecorder()
			r.onPDU = func(c *Conn, pdu wire.PDU) {
				if pdu.Command == wire.LogoutReq {
					panic("in a handler")
				}
				c.SendHeartbeat(0)
			}
			s := start(t, r, Limits{}, func(c *Config) { c.Loops = 1 })
			bad := s.dial(t)
			provoke(r, s, bad)
			wantReason(t, r, ReasonPanic)
			wantEOF(t, bad, true)
			if !strings.Contains(s.log.String(), "handler panicked") {
				t.Error("the panic is not in the log")
			}
			good := s.dial(t)
			write(t, good, wire.AppendHeartbeat(nil, 0))
			if _, err := io.ReadFull(good, make([]byte, wire.HeaderSize)); err != nil {
				t.Errorf("another connection is broken: %v", err)
			}
		})
	}
}

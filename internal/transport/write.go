package transport

import (
	"sync"
	"syscall"
	"time"

	"google.golang.org/protobuf/proto"

	"teamtalk/internal/wire"
)

// buffers holds the output buffers of connections that have nothing to write.
var buffers = sync.Pool{New: func() any { return new([]byte) }}

// maxPooled keeps one large message from pinning memory for ever.
const maxPooled = 256 << 10

// piece is a stretch of outgoing bytes. A shared one belongs to many
// connections: it is never changed and never returned to the pool.
type piece struct {
	bytes  []byte
	shared bool
}

// pieceBytes is what keeping a piece takes, besides bytes of its own.
const pieceBytes = 128

// held is what a piece takes of the connection's memory.
func (p piece) held() int {
	if p.shared {
		return pieceBytes
	}
	return pieceBytes + len(p.bytes)
}

// How shared pieces are handed to gnet, which copies what the socket does not
// take at once: a slice at a time, while it holds little.
const (
	feedSlice = 256 << 10
	feedBelow = 64 << 10
)

// Send queues framed PDUs, which are copied, and reports whether they were
// taken: a connection that is closing, or whose peer does not read, takes
// nothing. Order is kept for each caller; everything queued while a run of the
// event loop is under way leaves in one write. Safe anywhere.
func (c *Conn) Send(frames []byte) bool {
	c.mu.Lock()
	if !c.room(len(frames)) {
		return false
	}
	c.out = append(c.buffer(), frames...)
	c.queued(len(frames))
	return true
}

// SendPDU queues one PDU with an encoded body. Safe anywhere.
func (c *Conn) SendPDU(command wire.Command, seq uint16, body []byte) bool {
	size := wire.HeaderSize + len(body)
	c.mu.Lock()
	if !c.room(size) {
		return false
	}
	c.out = wire.Append(c.buffer(), command, seq, body)
	c.queued(size)
	return true
}

// SendMessage encodes and queues one PDU. A message that lacks a required
// field is a fault of ours: it is logged and not sent. Safe anywhere.
func (c *Conn) SendMessage(command wire.Command, seq uint16, m proto.Message) bool {
	c.mu.Lock()
	if !c.room(wire.HeaderSize) {
		return false
	}
	before := c.buffer()
	out, err := wire.AppendMessage(before, command, seq, m)
	c.out = out
	c.queued(len(out) - len(before))
	if err != nil {
		c.engine.log.Error("message not sent", "command", command.String(), "error", err)
		return false
	}
	return true
}

// SendShared queues head, which is copied, and the parts of a body, which are
// not: they may be sent on many connections and must never change afterwards.
// All of it together is framed PDUs. The bytes of shared parts do not count
// against MaxOutbound, since they take no memory of the connection; that they
// are kept does. Safe anywhere.
func (c *Conn) SendShared(head []byte, parts ...[]byte) bool {
	c.mu.Lock()
	if !c.room(len(head)) {
		return false
	}
	if len(head) > 0 || len(c.out) > 0 {
		c.keep(piece{bytes: append(c.out, head...)})
		c.out = nil
	}
	size := len(head)
	for _, part := range parts {
		c.keep(piece{bytes: part, shared: true})
		size += len(part)
	}
	c.queued(size)
	return true
}

// keep is called with c.mu held.
func (c *Conn) keep(p piece) {
	c.pieces = append(c.pieces, p)
	c.held += p.held()
}

// SendHeartbeat queues a heartbeat; reserved is wire.Mark between our servers.
// Safe anywhere.
func (c *Conn) SendHeartbeat(reserved uint16) bool {
	var frame [wire.HeaderSize]byte
	return c.Send(wire.AppendHeartbeat(frame[:0], reserved))
}

// room is called with c.mu held and releases it when it answers false.
func (c *Conn) room(size int) bool {
	if c.closing {
		c.mu.Unlock()
		return false
	}
	if int64(len(c.out)+c.held+size)+c.backlog.Load() > int64(c.limits.MaxOutbound) {
		c.closing, c.abort, c.reason = true, true, ReasonSlowConsumer
		c.wake()
		return false
	}
	return true
}

// buffer is called with c.mu held.
func (c *Conn) buffer() []byte {
	if c.out == nil {
		return (*buffers.Get().(*[]byte))[:0]
	}
	return c.out
}

// queued is called with c.mu held and releases it.
func (c *Conn) queued(size int) {
	c.lastSend.Store(c.engine.now.Load())
	c.metrics.bytesOut.Add(float64(size))
	c.wake()
}

// wake is called with c.mu held and releases it.
func (c *Conn) wake() {
	first := !c.dirty
	c.dirty = true
	c.mu.Unlock()
	if first {
		c.loop.markDirty(c)
	}
}

// flush writes what is queued. It runs on the event loop.
func (c *Conn) flush() {
	c.mu.Lock()
	pieces, out, closing, abort := c.pieces, c.out, c.closing, c.abort
	c.feedHeld += c.held
	c.pieces, c.out, c.held, c.dirty = nil, nil, 0, false
	c.mu.Unlock()
	if c.detached {
		return
	}
	if abort {
		_ = c.loop.el.Close(c.gc)
		return
	}
	if len(pieces) == 0 && len(c.feed) == 0 {
		c.write(out)
		recycle(out)
	} else {
		if len(c.feed) == 0 {
			c.feed = pieces
		} else {
			c.feed = append(c.feed, pieces...)
		}
		if len(out) > 0 {
			last := piece{bytes: out}
			c.feed = append(c.feed, last)
			c.feedHeld += last.held()
		}
		c.feedSome()
	}
	if closing && !c.detached {
		if c.drainEnd.IsZero() {
			c.drainEnd = c.engine.clock().Add(c.limits.FlushTimeout)
			c.loop.draining[c] = struct{}{}
		}
		c.drain(c.engine.clock())
	}
}

func recycle(out []byte) {
	if out != nil && cap(out) <= maxPooled {
		buffers.Put(&out)
	}
}

func (c *Conn) write(out []byte) {
	if len(out) == 0 {
		return
	}
	c.handed += uint64(len(out))
	if _, err := c.gc.Write(out); err != nil || c.detached {
		return // gnet has closed the connection and told us
	}
	c.progress(c.engine.Now())
}

// feedSome hands gnet slices of the pieces while it holds little; the ticks
// of the loop hand it the rest.
func (c *Conn) feedSome() {
	for len(c.feed) > 0 && !c.detached && c.gc.OutboundBuffered() < feedBelow {
		first := &c.feed[0]
		n := min(len(first.bytes), feedSlice)
		if !first.shared { // from now on gnet's
			c.feedHeld -= n
		}
		if n == len(first.bytes) {
			c.feedHeld -= pieceBytes
		}
		c.write(first.bytes[:n])
		if c.detached {
			return
		}
		if n < len(first.bytes) {
			first.bytes = first.bytes[n:]
			continue
		}
		if !first.shared {
			recycle(first.bytes)
		}
		c.feed = c.feed[1:]
	}
	if len(c.feed) == 0 || c.detached {
		c.feed = nil
		delete(c.loop.feeding, c)
		return
	}
	c.loop.feeding[c] = struct{}{}
	c.progress(c.engine.Now())
}

// progress measures how old the oldest unwritten byte is.
func (c *Conn) progress(now time.Time) {
	backlog := c.gc.OutboundBuffered()
	c.backlog.Store(int64(backlog + c.feedHeld))
	written := c.handed - uint64(backlog)
	if backlog == 0 || written >= c.mark {
		c.mark, c.markedAt = c.handed, now
	}
}

// tick comes about once a second.
func (c *Conn) tick(now time.Time) {
	if c.detached {
		return
	}
	c.progress(now)
	if c.gc.OutboundBuffered() > 0 && now.Sub(c.markedAt) > c.limits.SlowConsumer {
		c.Abort(ReasonSlowConsumer)
		return
	}
	c.guard(func() { c.handler.OnTick(c, now) })
}

// drain ends a closing connection once its bytes are out: it shuts our side,
// waits for the peer to close, so that a reset cannot overtake the last PDU,
// and gives up at drainEnd.
func (c *Conn) drain(now time.Time) {
	if c.detached {
		return
	}
	if now.After(c.drainEnd) {
		_ = c.loop.el.Close(c.gc)
		return
	}
	if !c.halfDone && len(c.feed) == 0 && c.gc.OutboundBuffered() == 0 {
		c.halfDone = true
		if err := syscall.Shutdown(c.gc.Fd(), syscall.SHUT_WR); err != nil {
			_ = c.loop.el.Close(c.gc)
		}
	}
}

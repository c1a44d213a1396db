package transport

import (
	"fmt"
	"io"
	"net"
	"net/netip"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/panjf2000/gnet/v2"
	"google.golang.org/protobuf/proto"

	"teamtalk/internal/wire"
)

// CloseReason says in a word why a connection was closed. It is a metric
// label: roles add their own, all constants.
type CloseReason string

// The reasons this package knows.
const (
	ReasonPeer         CloseReason = "peer"          // the peer closed, or the network broke
	ReasonBadLength    CloseReason = "bad_length"    // length below a header or over the limit
	ReasonSlowConsumer CloseReason = "slow_consumer" // did not read what was sent
	ReasonPanic        CloseReason = "panic"         // a handler panicked
	ReasonStopping     CloseReason = "stopping"      // the server stops
	ReasonTooManyConns CloseReason = "too_many_conns"
	ReasonNotAllowed   CloseReason = "not_allowed" // the address is not on the allow-list
)

// Conn is one connection: a source of PDUs and a bounded writer.
type Conn struct {
	// Static after OnOpen.
	id       uint64
	name     string
	engine   *Engine
	loop     *loop
	gc       gnet.Conn
	handler  Handler
	limits   Limits
	metrics  *connMetrics
	peer     netip.AddrPort
	local    netip.AddrPort
	accepted bool

	// State belongs to the handler: set in OnOpen, read anywhere afterwards.
	State any

	// Owned by the event loop.
	need     int    // inbound bytes until the next PDU is whole
	aborted  bool   // close as soon as the current callback returns
	detached bool   // OnClose has run
	handed   uint64 // bytes handed to gnet in the life of the connection
	mark     uint64 // of handed: once these are written, the backlog is younger than markedAt
	markedAt time.Time
	drainEnd time.Time // when closing stops waiting for the last bytes
	halfDone bool      // our side of the socket is shut

	lastRecv atomic.Int64 // Unix nanoseconds
	lastSend atomic.Int64 // Unix nanoseconds
	backlog  atomic.Int64 // bytes gnet could not write yet

	mu      sync.Mutex // guards the fields below
	out     []byte     // framed PDUs that wait for the next run of the loop
	dirty   bool       // queued at the loop
	closing bool       // nothing more is accepted for writing
	abort   bool       // close without waiting for the last bytes
	reason  CloseReason
}

// buffers holds the output buffers of connections that have nothing to write.
var buffers = sync.Pool{New: func() any { return new([]byte) }}

// maxPooled keeps one large message from pinning memory for ever.
const maxPooled = 256 << 10

func (c *Conn) attach(e *Engine, gc gnet.Conn) {
	now := time.Now().UnixNano()
	c.id = e.nextID.Add(1)
	c.engine, c.gc, c.loop = e, gc, e.loopOf(gc.EventLoop())
	c.peer, c.local = addrPort(gc.RemoteAddr()), addrPort(gc.LocalAddr())
	c.lastRecv.Store(now)
	c.lastSend.Store(now)
}

func addrPort(a net.Addr) netip.AddrPort {
	if tcp, ok := a.(*net.TCPAddr); ok {
		ap := tcp.AddrPort()
		return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
	}
	return netip.AddrPort{}
}

// ID is unique in the life of the process and never 0. Safe anywhere.
func (c *Conn) ID() uint64 { return c.id }

// Peer is the address of the other side. Safe anywhere.
func (c *Conn) Peer() netip.AddrPort { return c.peer }

// LastReceived is when the last byte came in. Safe anywhere.
func (c *Conn) LastReceived() time.Time { return time.Unix(0, c.lastRecv.Load()) }

// LastSent is when something was last queued. Safe anywhere.
func (c *Conn) LastSent() time.Time { return time.Unix(0, c.lastSend.Load()) }

// Do runs fn on the event loop of the connection, also after its end. Safe
// anywhere.
func (c *Conn) Do(fn func()) { c.loop.do(func() { c.guard(fn) }) }

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
	if int64(len(c.out)+size)+c.backlog.Load() > int64(c.limits.MaxOutbound) {
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

// Close writes what is queued, shuts the connection and ends it when the peer
// has closed too, or FlushTimeout after. The first reason counts. Safe anywhere.
func (c *Conn) Close(reason CloseReason) { c.end(reason, false) }

// Abort ends the connection without waiting for queued bytes. Safe anywhere.
func (c *Conn) Abort(reason CloseReason) { c.end(reason, true) }

func (c *Conn) end(reason CloseReason, abort bool) {
	c.mu.Lock()
	if !c.closing {
		c.closing, c.reason = true, reason
	}
	c.abort = c.abort || abort
	c.wake()
}

// Closing reports whether Close or Abort was called, or the connection is
// gone. Safe anywhere.
func (c *Conn) Closing() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.closing
}

// read frames what has come in. It runs on the event loop.
func (c *Conn) read() {
	if c.detached {
		return
	}
	available := c.gc.InboundBuffered()
	c.lastRecv.Store(c.engine.now.Load())
	if c.Closing() {
		_, _ = c.gc.Discard(available)
		return
	}
	if available == 0 || available < c.need {
		return
	}
	buf, err := c.gc.Peek(available)
	if err != nil {
		c.fail(ReasonPeer)
		return
	}
	used, pdus := 0, 0
	for !c.aborted && !c.Closing() {
		pdu, size, need, err := wire.Next(buf[used:], c.limits.MaxPDU)
		if err != nil {
			c.engine.log.Info("connection closed: bad frame", "conn_id", c.id, "peer", c.peer.String(), "error", err)
			c.fail(ReasonBadLength)
			break
		}
		if size == 0 {
			c.need = need
			break
		}
		c.guard(func() { c.handler.OnPDU(c, pdu) })
		used += size
		pdus++
	}
	c.metrics.pdusIn.Add(float64(pdus))
	c.metrics.bytesIn.Add(float64(used))
	if used > 0 {
		_, _ = c.gc.Discard(used)
	}
}

// guard runs a callback; a panic ends this connection only.
func (c *Conn) guard(callback func()) {
	defer func() {
		if p := recover(); p != nil {
			c.engine.log.Error("handler panicked", "conn_id", c.id, "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
			c.fail(ReasonPanic)
		}
	}()
	callback()
}

// fail ends the connection from inside a callback.
func (c *Conn) fail(reason CloseReason) {
	c.aborted = true
	c.Abort(reason)
}

// flush writes what is queued. It runs on the event loop.
func (c *Conn) flush() {
	c.mu.Lock()
	out, closing, abort := c.out, c.closing, c.abort
	c.out, c.dirty = nil, false
	c.mu.Unlock()
	if c.detached {
		return
	}
	if abort {
		_ = c.loop.el.Close(c.gc)
		return
	}
	if len(out) > 0 {
		c.write(out)
	}
	if out != nil && cap(out) <= maxPooled {
		buffers.Put(&out)
	}
	if closing && !c.detached {
		if c.drainEnd.IsZero() {
			c.drainEnd = time.Now().Add(c.limits.FlushTimeout)
			c.loop.draining[c] = struct{}{}
		}
		c.drain(time.Now())
	}
}

func (c *Conn) write(out []byte) {
	c.handed += uint64(len(out))
	if _, err := c.gc.Write(out); err != nil || c.detached {
		return // gnet has closed the connection and told us
	}
	c.progress(c.engine.Now())
}

// progress measures how old the oldest unwritten byte is.
func (c *Conn) progress(now time.Time) {
	backlog := c.gc.OutboundBuffered()
	c.backlog.Store(int64(backlog))
	written := c.handed - uint64(backlog)
	if backlog == 0 || written >= c.mark {
		c.mark, c.markedAt = c.handed, now
	}
}

// tick comes about once a second.
func (c *Conn) tick(now time.Time) {
	if c.detached || c.handler == nil {
		return
	}
	c.progress(now)
	if c.backlog.Load() > 0 && now.Sub(c.markedAt) > c.limits.SlowConsumer {
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
	if !c.halfDone && c.gc.OutboundBuffered() == 0 {
		c.halfDone = true
		if err := syscall.Shutdown(c.gc.Fd(), syscall.SHUT_WR); err != nil {
			_ = c.loop.el.Close(c.gc)
		}
	}
}

// detach is the end, on the event loop.
func (c *Conn) detach(err error) {
	if c.detached {
		return
	}
	c.detached = true
	delete(c.loop.conns, c)
	delete(c.loop.draining, c)
	if c.accepted {
		c.engine.accepted.Add(-1)
	}
	c.mu.Lock()
	c.closing = true
	c.out = nil
	if c.reason == "" {
		c.reason = ReasonPeer
		if c.engine.stopping.Load() {
			c.reason = ReasonStopping
		}
	}
	reason := c.reason
	c.mu.Unlock()
	if c.metrics == nil || c.handler == nil {
		return // refused before it was opened
	}
	if err != nil && err != io.EOF && reason == ReasonPeer {
		c.engine.log.Debug("connection broke", "conn_id", c.id, "error", err)
	}
	c.metrics.opened.Dec()
	c.engine.metrics.closed.WithLabelValues(c.name, string(reason)).Inc()
	c.guard(func() { c.handler.OnClose(c, reason) })
}

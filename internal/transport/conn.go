package transport

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/panjf2000/gnet/v2"

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
	listener *listener // nil if it was dialled

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
	feed     []piece   // what gnet is not given yet, because it has enough
	feedHeld int       // what it takes

	lastRecv atomic.Int64 // as Engine.now
	lastSend atomic.Int64 // as Engine.now
	backlog  atomic.Int64 // bytes gnet could not write yet

	mu      sync.Mutex // guards the fields below
	pieces  []piece    // what comes before out, once something shared was sent
	held    int        // what they take
	out     []byte     // framed PDUs that wait for the next run of the loop
	dirty   bool       // queued at the loop
	closing bool       // nothing more is accepted for writing
	abort   bool       // close without waiting for the last bytes
	reason  CloseReason
}

func (c *Conn) attach(e *Engine, gc gnet.Conn) {
	now := e.elapsed(e.clock())
	c.id = e.nextID.Add(1)
	c.engine, c.gc, c.loop = e, gc, e.loopOf(gc.EventLoop())
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
func (c *Conn) LastReceived() time.Time { return c.engine.at(c.lastRecv.Load()) }

// LastSent is when something was last queued. Safe anywhere.
func (c *Conn) LastSent() time.Time { return c.engine.at(c.lastSend.Load()) }

// Do runs fn on the event loop of the connection, also after its end. Safe
// anywhere.
func (c *Conn) Do(fn func()) { c.loop.do(func() { c.guard(fn) }) }

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

// detach is the end, on the event loop.
func (c *Conn) detach(err error) {
	if c.detached {
		return
	}
	c.detached = true
	delete(c.loop.conns, c)
	delete(c.loop.draining, c)
	delete(c.loop.feeding, c)
	c.feed = nil
	if c.listener != nil {
		c.engine.count(c, -1)
		c.listener.sockets.Leave()
	}
	c.mu.Lock()
	c.closing = true
	c.out, c.pieces = nil, nil
	if c.reason == "" {
		c.reason = ReasonPeer
		if c.engine.stopping.Load() {
			c.reason = ReasonStopping
		}
	}
	reason := c.reason
	c.mu.Unlock()
	if err != nil && !errors.Is(err, io.EOF) && reason == ReasonPeer {
		c.engine.log.Debug("connection broke", "conn_id", c.id, "error", err)
	}
	c.metrics.opened.Dec()
	c.engine.metrics.closed.WithLabelValues(c.name, string(reason)).Inc()
	c.guard(func() { c.handler.OnClose(c, reason) })
}

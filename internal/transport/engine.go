// Package transport owns the sockets. It runs gnet's event loops, frames the
// PDUs of every connection, coalesces what is written to it, and closes what
// breaks a limit. It is the only package that knows gnet; TCP is its first
// front, and nothing in its interface says so.
//
// The callbacks of one connection run one after the other on its event loop
// and never block. Everything a Conn offers to other goroutines is marked so.
package transport

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/panjf2000/gnet/v2"
	"github.com/prometheus/client_golang/prometheus"

	"teamtalk/internal/admit"
	"teamtalk/internal/wire"
)

// Handler receives the events of a connection, all on its event loop, so it
// must not block. A panic closes the connection and nothing else.
type Handler interface {
	// OnOpen is the first event. It may keep its own state in c.State.
	OnOpen(c *Conn)
	// OnPDU gets every whole PDU. The body is valid only during the call.
	OnPDU(c *Conn, pdu wire.PDU)
	// OnTick comes about once a second.
	OnTick(c *Conn, now time.Time)
	// OnClose is the last event.
	OnClose(c *Conn, reason CloseReason)
}

// Limits bound one connection. Zero fields take the defaults of DefaultLimits.
type Limits struct {
	MaxPDU       int           // bytes of one inbound PDU, header included
	MaxOutbound  int           // bytes waiting to be written; more closes it
	SlowConsumer time.Duration // how long a byte may wait to be written
	FlushTimeout time.Duration // how long Close waits for the last bytes
}

// DefaultLimits are those of a client connection.
var DefaultLimits = Limits{
	MaxPDU:       wire.MaxClientPDU,
	MaxOutbound:  16 << 20,
	SlowConsumer: 10 * time.Second,
	FlushTimeout: 2 * time.Second,
}

// LinkLimits are those of a connection between servers.
var LinkLimits = Limits{
	MaxPDU:       wire.MaxServerPDU,
	MaxOutbound:  256 << 20,
	SlowConsumer: 30 * time.Second,
	FlushTimeout: 4 * time.Second,
}

func (l Limits) withDefaults() Limits {
	if l.MaxPDU == 0 {
		l.MaxPDU = DefaultLimits.MaxPDU
	}
	if l.MaxOutbound == 0 {
		l.MaxOutbound = DefaultLimits.MaxOutbound
	}
	if l.SlowConsumer == 0 {
		l.SlowConsumer = DefaultLimits.SlowConsumer
	}
	if l.FlushTimeout == 0 {
		l.FlushTimeout = DefaultLimits.FlushTimeout
	}
	return l
}

// Listener is one listening address and what serves it.
type Listener struct {
	Name    string // label of its metrics, such as "client"
	Addr    string // IP:port
	Handler Handler
	Limits  Limits
	// Allow refuses peers by address; nil allows everybody. A listener with
	// it is one for servers: its connections do not count as public ones.
	Allow func(netip.Addr) bool
}

// Config of an Engine.
type Config struct {
	Listeners []Listener // none: the engine only dials
	// Loops is the number of event loops; 0 means one per core.
	Loops int
	// MaxConns caps the accepted connections of listeners without Allow; 0 or
	// more than 80 % of the file descriptors means 80 % of the file
	// descriptors, which all listeners of the process share.
	MaxConns int

	// For tests; nil are the budget of the process, and no change.
	budget *admit.Budget
	wrap   func(net.Listener) net.Listener
}

// Deps of an Engine. Log and Reg are needed.
type Deps struct {
	Log *slog.Logger
	Reg prometheus.Registerer
	// Clock is time.Now if it is nil. Its times have a monotonic reading, which
	// alone decides how long a connection was idle: moving the clock of the
	// machine ends none.
	Clock func() time.Time
}

// Engine runs the event loops of one role.
type Engine struct {
	gnet.BuiltinEventEngine

	cfg       Config
	log       *slog.Logger
	metrics   *metrics
	listeners []*listener
	nextID    atomic.Uint64
	clock     func() time.Time
	start     time.Time
	now       atomic.Int64 // nanoseconds since start, advanced by the ticks
	accepted  atomic.Int64 // accepted connections now open
	public    atomic.Int64 // those of listeners without Allow
	refusing  atomic.Bool
	// The loops end: they must not be woken, since the descriptors of one that
	// has ended are closed and may be others'.
	stopping atomic.Bool
	booted   chan struct{} // closed when every loop runs
	ended    chan struct{} // closed when Run returns
	client   *gnet.Client  // valid after booted is closed

	entering chan struct{} // an element for each connection that is handed to gnet
	stopMu   sync.RWMutex  // held to read while one is; to write when stopping begins

	mu    sync.Mutex // guards loops
	loops map[gnet.EventLoop]*loop
}

// New checks the configuration and takes the ports. Connections wait until
// Run, or Close.
func New(cfg Config, deps Deps) (*Engine, error) {
	if cfg.Loops == 0 {
		cfg.Loops = runtime.GOMAXPROCS(0)
	}
	if cfg.budget == nil {
		cfg.budget = admit.Process()
	}
	if limit := cfg.budget.MaxPublic(); cfg.MaxConns <= 0 || cfg.MaxConns > limit {
		cfg.MaxConns = limit
	}
	e := &Engine{
		cfg:      cfg,
		log:      deps.Log,
		metrics:  newMetrics(deps.Reg),
		clock:    deps.Clock,
		booted:   make(chan struct{}),
		ended:    make(chan struct{}),
		entering: make(chan struct{}, maxEntering),
		loops:    map[gnet.EventLoop]*loop{},
	}
	if e.clock == nil {
		e.clock = time.Now
	}
	e.start = e.clock()
	for _, l := range cfg.Listeners {
		if err := e.listen(l, deps); err != nil {
			e.Close()
			return nil, err
		}
	}
	return e, nil
}

// Close gives the ports back when Run will not be called.
func (e *Engine) Close() {
	for _, l := range e.listeners {
		_ = l.sockets.Close() // served nobody
	}
}

// MaxConns returns how many connections the engine accepts at a time.
func (e *Engine) MaxConns() int { return e.cfg.MaxConns }

// Accepted returns how many accepted connections are open. Safe anywhere.
func (e *Engine) Accepted() int { return int(e.accepted.Load()) }

// Now returns the time of the last tick, at most 100 ms ago. Safe anywhere.
func (e *Engine) Now() time.Time { return e.at(e.now.Load()) }

// at turns nanoseconds since the start into a time.
func (e *Engine) at(sinceStart int64) time.Time { return e.start.Add(time.Duration(sinceStart)) }

// elapsed returns the nanoseconds from the start to a time.
func (e *Engine) elapsed(t time.Time) int64 { return int64(t.Sub(e.start)) }

// Booted is closed when the listeners accept and Dial may be called.
func (e *Engine) Booted() <-chan struct{} { return e.booted }

// RefuseNew closes every connection that is accepted from now on; those that
// are open stay. It is the first step of a graceful stop. Safe anywhere.
func (e *Engine) RefuseNew() { e.refusing.Store(true) }

// Run accepts and serves until ctx ends, then closes what is open at once: a
// graceful stop closes its connections before. Whoever dials stops before the
// engine does. Source: docs/guarantees.md §7: no error of accepting ends it.
func (e *Engine) Run(ctx context.Context) error {
	defer close(e.ended)
	defer e.Close()
	// gnet's own listeners end the engine when a connection cannot be
	// accepted. A gnet.Client has none: it serves what it is given.
	client, err := gnet.NewClient(e,
		gnet.WithNumEventLoop(e.cfg.Loops),
		gnet.WithTicker(true),
		gnet.WithTCPNoDelay(gnet.TCPDelay), // package net has set it
		gnet.WithLogger(gnetLogger{e.log}),
	)
	if err == nil {
		err = client.Start()
	}
	if err != nil {
		return fmt.Errorf("start event engine: %w", err)
	}
	e.client = client
	close(e.booted)
	var accepting sync.WaitGroup
	for _, l := range e.listeners {
		accepting.Go(func() { e.accept(l, &accepting) })
	}
	<-ctx.Done()
	e.Close()
	stopped := make(chan error, 1)
	go func() {
		accepting.Wait()
		e.stopMu.Lock()
		e.stopping.Store(true)
		e.stopMu.Unlock()
		stopped <- client.Stop()
	}()
	select {
	case err := <-stopped:
		return err
	case <-time.After(stopTimeout):
		return fmt.Errorf("event engine does not stop within %v: a handler blocks", stopTimeout)
	}
}

// stopTimeout is how long the callbacks that run when the engine stops may
// take.
const stopTimeout = 5 * time.Second

var (
	errNotServed = errors.New("the event loop does not take the connection")
	errEnded     = errors.New("event engine has ended")
)

// OnOpen is gnet's. Every connection arrives with its Conn as context.
func (e *Engine) OnOpen(gc gnet.Conn) ([]byte, gnet.Action) {
	c := gc.Context().(*Conn)
	c.attach(e, gc)
	c.loop.conns[c] = struct{}{}
	c.metrics = e.metrics.of(c.name)
	c.metrics.opened.Inc()
	if c.listener != nil && e.refusing.Load() {
		c.Abort(ReasonStopping) // it came just before the others were closed
	}
	c.guard(func() { c.handler.OnOpen(c) })
	return nil, gnet.None
}

// OnTraffic is gnet's.
func (e *Engine) OnTraffic(gc gnet.Conn) gnet.Action {
	c := gc.Context().(*Conn)
	c.read()
	if c.aborted {
		return gnet.Close
	}
	return gnet.None
}

// OnClose is gnet's.
func (e *Engine) OnClose(gc gnet.Conn, err error) gnet.Action {
	c, ok := gc.Context().(*Conn)
	if !ok {
		return gnet.None
	}
	c.detach(err)
	return gnet.None
}

// tickEvery is how often connections that are being closed are looked at;
// all others are looked at every ticksPerSecond-th time.
const (
	tickEvery      = 100 * time.Millisecond
	ticksPerSecond = 10
)

// OnTick is gnet's; it runs on a goroutine of its own, so it only posts.
func (e *Engine) OnTick() (time.Duration, gnet.Action) {
	now := e.clock()
	e.now.Store(e.elapsed(now))
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, l := range e.loops {
		l.postTick(now)
	}
	return tickEvery, gnet.None
}

func (e *Engine) loopOf(el gnet.EventLoop) *loop {
	e.mu.Lock()
	defer e.mu.Unlock()
	l := e.loops[el]
	if l == nil {
		l = &loop{
			el: el, stopping: &e.stopping,
			conns: map[*Conn]struct{}{}, draining: map[*Conn]struct{}{}, feeding: map[*Conn]struct{}{},
		}
		e.loops[el] = l
	}
	return l
}

// CloseAll closes every accepted connection after its buffers are flushed,
// and returns when all are gone or ctx ends.
func (e *Engine) CloseAll(ctx context.Context, reason CloseReason) {
	e.mu.Lock()
	for _, l := range e.loops {
		l.do(func() {
			for c := range l.conns {
				if c.listener != nil {
					c.Close(reason)
				}
			}
		})
	}
	e.mu.Unlock()
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for e.accepted.Load() > 0 {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

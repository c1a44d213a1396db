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
	// Allow refuses peers by address; nil allows everybody.
	Allow func(netip.Addr) bool
}

// Config of an Engine.
type Config struct {
	Listeners []Listener // none: the engine only dials
	// Loops is the number of event loops; 0 means one per core.
	Loops int
	// MaxConns caps accepted connections; 0 or more than 80 % of the file
	// descriptors means 80 % of the file descriptors.
	MaxConns int
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
	listeners map[uint16]*Listener // by local port
	nextID    atomic.Uint64
	clock     func() time.Time
	start     time.Time
	now       atomic.Int64 // nanoseconds since start, advanced by the ticks
	accepted  atomic.Int64 // accepted connections now open
	refusing  atomic.Bool
	stopping  atomic.Bool   // the loops end: nothing may be posted to them
	booted    chan struct{} // closed when every loop runs
	ended     chan struct{} // closed when Run returns
	eng       gnet.Engine   // valid after booted is closed

	// Owned by the ticker's goroutine.
	ticked bool

	mu    sync.Mutex // guards loops
	loops map[gnet.EventLoop]*loop
}

// New checks the configuration and that every port is free. A port that is
// taken is found here, by a plain bind, because the loops bind with
// SO_REUSEPORT and would share it silently.
func New(cfg Config, deps Deps) (*Engine, error) {
	if cfg.Loops == 0 {
		cfg.Loops = runtime.GOMAXPROCS(0)
	}
	limit := connectionLimit()
	if cfg.MaxConns <= 0 || cfg.MaxConns > limit {
		cfg.MaxConns = limit
	}
	e := &Engine{
		cfg:       cfg,
		log:       deps.Log,
		metrics:   newMetrics(deps.Reg),
		clock:     deps.Clock,
		listeners: map[uint16]*Listener{},
		booted:    make(chan struct{}),
		ended:     make(chan struct{}),
		loops:     map[gnet.EventLoop]*loop{},
	}
	if e.clock == nil {
		e.clock = time.Now
	}
	e.start = e.clock()
	for i := range cfg.Listeners {
		l := &cfg.Listeners[i]
		l.Limits = l.Limits.withDefaults()
		addr, err := netip.ParseAddrPort(l.Addr)
		if err != nil {
			return nil, fmt.Errorf("%s listener: address %q is not IP:port", l.Name, l.Addr)
		}
		if err := probe(l.Addr); err != nil {
			return nil, fmt.Errorf("%s listener: %w", l.Name, err)
		}
		// Connections are told apart by the port they came in at.
		if other := e.listeners[addr.Port()]; other != nil && other.Name != l.Name {
			return nil, fmt.Errorf("%s listener: port %d is that of the %s listener", l.Name, addr.Port(), other.Name)
		}
		e.listeners[addr.Port()] = l
	}
	return e, nil
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
// graceful stop closes its connections before. An engine that stops on its
// own, as gnet does when a listener fails, is an error. Whoever dials stops
// before the engine does.
func (e *Engine) Run(ctx context.Context) error {
	defer close(e.ended)
	addrs := make([]string, len(e.cfg.Listeners))
	for i, l := range e.cfg.Listeners {
		addrs[i] = "tcp://" + l.Addr
	}
	if len(addrs) == 0 {
		// A role that only dials: gnet registers nothing without a listener.
		// Whoever comes to this one is closed at once, as at any port that is
		// not in the table.
		addrs = []string{"tcp://127.0.0.1:0"}
	}
	stopped := make(chan error, 1)
	go func() {
		stopped <- gnet.Rotate(e, addrs,
			gnet.WithNumEventLoop(e.cfg.Loops),
			gnet.WithReusePort(true),
			gnet.WithReuseAddr(true),
			gnet.WithLoadBalancing(gnet.LeastConnections),
			gnet.WithTicker(true),
			gnet.WithTCPKeepAlive(2*time.Minute),
			gnet.WithLogger(gnetLogger{e.log}),
		)
	}()
	select {
	case err := <-stopped:
		return fmt.Errorf("event engine stopped on its own: %w", errors.Join(err, errUnexpectedStop))
	case <-ctx.Done():
	}
	select {
	case <-e.booted:
	case err := <-stopped:
		return err
	}
	// With an ended context Stop asks and does not wait: it would poll every
	// half second for what stopped tells at once.
	if err := e.eng.Stop(ctx); err != nil && !errors.Is(err, ctx.Err()) {
		return fmt.Errorf("stop event engine: %w", err)
	}
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
	errUnexpectedStop = errors.New("no stop was asked for")
	errEnded          = errors.New("event engine has ended")
)

// Dial opens a connection to another server and serves it with h on one of
// the event loops. It blocks until the connection is open or ctx ends and
// must not be called on an event loop.
func (e *Engine) Dial(ctx context.Context, addr string, h Handler, limits Limits) (*Conn, error) {
	select {
	case <-e.booted:
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-e.ended:
		return nil, errEnded
	}
	dialer := net.Dialer{Timeout: 5 * time.Second}
	socket, err := dialer.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	c := &Conn{handler: h, limits: limits.withDefaults(), name: "link"}
	enroll := gnet.NewContext(gnet.NewNetConnContext(ctx, socket), c)
	result, err := e.eng.Register(enroll)
	if err != nil {
		_ = socket.Close()
		return nil, fmt.Errorf("register connection to %s: %w", addr, err)
	}
	select {
	case registered := <-result:
		if registered.Err != nil {
			return nil, fmt.Errorf("register connection to %s: %w", addr, registered.Err)
		}
		return c, nil
	case <-e.ended: // a loop that has ended registers nothing
		return nil, errEnded
	}
}

// OnBoot is gnet's. The loops do not exist yet.
func (e *Engine) OnBoot(eng gnet.Engine) gnet.Action {
	e.eng = eng
	return gnet.None
}

// OnShutdown is gnet's, called before the loops end. A loop that has ended
// must not be woken: its file descriptors are closed and may be others' now.
func (e *Engine) OnShutdown(gnet.Engine) { e.stopping.Store(true) }

// OnOpen is gnet's. A dialled connection arrives with its Conn as context.
func (e *Engine) OnOpen(gc gnet.Conn) ([]byte, gnet.Action) {
	c, dialled := gc.Context().(*Conn)
	if !dialled {
		c = &Conn{accepted: true}
		e.accepted.Add(1)
	}
	c.attach(e, gc)
	gc.SetContext(c)
	c.loop.conns[c] = struct{}{}
	if !dialled {
		listener := e.listeners[c.local.Port()]
		if listener == nil {
			return nil, gnet.Close
		}
		c.handler, c.limits, c.name = listener.Handler, listener.Limits, listener.Name
		if reason := e.refusal(c, listener); reason != "" {
			e.metrics.refused.WithLabelValues(c.name, string(reason)).Inc()
			c.handler = nil
			return nil, gnet.Close
		}
	}
	c.metrics = e.metrics.of(c.name)
	c.metrics.opened.Inc()
	c.guard(func() { c.handler.OnOpen(c) })
	return nil, gnet.None
}

func (e *Engine) refusal(c *Conn, l *Listener) CloseReason {
	switch {
	case e.refusing.Load():
		return ReasonStopping
	case e.accepted.Load() > int64(e.cfg.MaxConns):
		return ReasonTooManyConns
	case l.Allow != nil && !l.Allow(c.peer.Addr()):
		return ReasonNotAllowed
	}
	return ""
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

// OnTick is gnet's; it runs on a goroutine of its own, so it only posts. The
// first tick comes when all loops run.
func (e *Engine) OnTick() (time.Duration, gnet.Action) {
	if !e.ticked {
		e.ticked = true
		close(e.booted)
	}
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
				if c.accepted {
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

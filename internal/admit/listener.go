package admit

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// TooManyConns is why a connection is refused that the budget has no room for:
// a label of im_connections_refused_total, to which others add their own.
const TooManyConns = "too_many_conns"

// How long a listener pauses after an error, and how often it says so.
const (
	minPause = 10 * time.Millisecond
	maxPause = time.Second
	sayEvery = 10 * time.Second
)

// Config of a Listener. Name is needed.
type Config struct {
	Name  string // label of its metrics, such as "client"
	Class Class
	// Room has a capacity of as many connections as are open at a time, at
	// all listeners that share it; the next ones wait in the system's queue.
	// nil leaves it to the budget, over which connections are closed at once.
	Room chan struct{}
	// Budget is Process() if it is nil.
	Budget *Budget
	// Wrap changes what Listen opens; it is where tests put errors in. It may
	// be nil.
	Wrap func(net.Listener) net.Listener
}

// Deps of a Listener. Log is needed.
type Deps struct {
	Log *slog.Logger
	Reg prometheus.Registerer // nil: its metrics are shown nowhere
}

// Listener is a net.Listener whose Accept, for one goroutine, fails only when
// it is closed.
type Listener struct {
	// Static after Wrap.
	inner   net.Listener
	cfg     Config
	log     *slog.Logger
	refused *prometheus.CounterVec
	errors  *prometheus.CounterVec
	closed  chan struct{}
	close   func() error

	// Owned by the goroutine that accepts.
	pause       time.Duration // 0 unless it pauses
	pausedSince time.Time
	said        time.Time // when it was last said that it pauses
	saying      bool      // that it goes on has yet to be said
}

// Listen takes a TCP address, "IP:port".
func Listen(ctx context.Context, addr string, cfg Config, deps Deps) (*Listener, error) {
	config := net.ListenConfig{KeepAliveConfig: net.KeepAliveConfig{
		Enable: true, Idle: 2 * time.Minute, Interval: 24 * time.Second, Count: 5,
	}}
	inner, err := config.Listen(ctx, "tcp", addr)
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return nil, fmt.Errorf("%s listener: address %s is taken by another process", cfg.Name, addr)
	case err != nil:
		return nil, fmt.Errorf("%s listener: %w", cfg.Name, err)
	}
	if cfg.Wrap != nil {
		inner = cfg.Wrap(inner)
	}
	deps.Log.Info("listening", "listener", cfg.Name, "addr", inner.Addr().String())
	return Wrap(inner, cfg, deps), nil
}

// Wrap makes a Listener of one that is open.
func Wrap(inner net.Listener, cfg Config, deps Deps) *Listener {
	if cfg.Budget == nil {
		cfg.Budget = Process()
	}
	l := &Listener{inner: inner, cfg: cfg, log: deps.Log, closed: make(chan struct{})}
	l.refused = counter(deps.Reg, "im_connections_refused_total", "Connections refused at once, by reason.")
	l.errors = counter(deps.Reg, "im_accept_errors_total", "Connections that could not be accepted, by reason.")
	l.close = sync.OnceValue(func() error {
		close(l.closed)
		return l.inner.Close()
	})
	return l
}

// counter registers a counter, or returns the one that another listener of
// the role has registered.
func counter(reg prometheus.Registerer, name, help string) *prometheus.CounterVec {
	vec := prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, []string{"listener", "reason"})
	if reg == nil {
		return vec
	}
	err := reg.Register(vec)
	if taken, ok := errors.AsType[prometheus.AlreadyRegisteredError](err); ok {
		if existing, ok := taken.ExistingCollector.(*prometheus.CounterVec); ok {
			return existing
		}
	}
	if err != nil {
		panic(err) //nolint:forbidigo // two metrics of one name are a fault of the program
	}
	return vec
}

// Addr implements net.Listener. Safe anywhere.
func (l *Listener) Addr() net.Addr { return l.inner.Addr() }

// Close implements net.Listener. Safe anywhere, more than once.
func (l *Listener) Close() error { return l.close() }

// Accept implements net.Listener. The connection gives its place back when it
// is closed; what it does for copying files stays that of TCP.
func (l *Listener) Accept() (net.Conn, error) {
	c, err := l.Take()
	if err != nil {
		return nil, err
	}
	leave := sync.OnceFunc(l.Leave)
	if tcp, ok := c.(*net.TCPConn); ok {
		return &tcpConn{TCPConn: tcp, leave: leave}, nil
	}
	return &conn{Conn: c, leave: leave}, nil
}

// Take waits for a connection that there is room for. Whoever takes it calls
// Leave once when it is gone. The only error is net.ErrClosed.
func (l *Listener) Take() (net.Conn, error) {
	if !l.enter() {
		return nil, net.ErrClosed
	}
	for {
		c, err := l.inner.Accept()
		if err != nil {
			if errors.Is(err, net.ErrClosed) || !l.rest(err) {
				l.exit()
				return nil, net.ErrClosed
			}
			continue
		}
		l.rested()
		if l.cfg.Budget.take(l.cfg.Class, descriptor(c)) {
			return c, nil
		}
		l.count(TooManyConns)
		_ = c.Close() // nothing was read or written
	}
}

// Leave gives the place of a connection back. Safe anywhere.
func (l *Listener) Leave() {
	l.cfg.Budget.leave(l.cfg.Class)
	l.exit()
}

// Refuse closes a connection that Take returned, gives its place back and
// counts why. Safe anywhere.
func (l *Listener) Refuse(c net.Conn, reason string) {
	l.count(reason)
	_ = c.Close() // nothing was read or written
	l.Leave()
}

func (l *Listener) count(reason string) { l.refused.WithLabelValues(l.cfg.Name, reason).Inc() }

// enter waits for a place in Room; false if the listener is closed.
func (l *Listener) enter() bool {
	if l.cfg.Room == nil {
		return true
	}
	select {
	case l.cfg.Room <- struct{}{}:
		return true
	case <-l.closed:
		return false
	}
}

func (l *Listener) exit() {
	if l.cfg.Room != nil {
		<-l.cfg.Room
	}
}

// rest waits after an error, longer each time; false if the listener is
// closed meanwhile.
func (l *Listener) rest(err error) bool {
	now := time.Now()
	l.errors.WithLabelValues(l.cfg.Name, reasonOf(err)).Inc()
	if l.pause == 0 {
		l.pausedSince = now
		if l.saying = now.Sub(l.said) >= sayEvery; l.saying {
			l.said = now
			l.log.Warn("listener pauses: connections cannot be accepted", slog.String("listener", l.cfg.Name),
				slog.String("reason", reasonOf(err)), slog.Any("error", err))
		}
	}
	l.pause = min(max(2*l.pause, minPause), maxPause)
	timer := time.NewTimer(l.pause)
	defer timer.Stop()
	select {
	case <-l.closed:
		return false
	case <-timer.C:
		return true
	}
}

// rested ends a pause: a connection was accepted.
func (l *Listener) rested() {
	if l.pause == 0 {
		return
	}
	l.pause = 0
	if l.saying {
		l.log.Info("listener goes on", slog.String("listener", l.cfg.Name),
			slog.Duration("after", time.Since(l.pausedSince)))
	}
}

// reasonOf names an error of accept for the metric.
func reasonOf(err error) string {
	switch {
	case errors.Is(err, syscall.EMFILE):
		return "process_descriptors"
	case errors.Is(err, syscall.ENFILE):
		return "system_descriptors"
	case errors.Is(err, syscall.ENOBUFS), errors.Is(err, syscall.ENOMEM):
		return "memory"
	case errors.Is(err, syscall.ECONNABORTED), errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPROTO):
		return "aborted"
	}
	return "other"
}

// descriptor returns the number of a connection's descriptor, -1 if it has
// none.
func descriptor(c net.Conn) int {
	number := -1
	if sc, ok := c.(syscall.Conn); ok {
		if raw, err := sc.SyscallConn(); err == nil {
			_ = raw.Control(func(fd uintptr) { number = int(fd) }) // -1 if it is closed
		}
	}
	return number
}

type tcpConn struct {
	*net.TCPConn
	leave func()
}

// Close implements net.Conn.
func (c *tcpConn) Close() error {
	defer c.leave()
	return c.TCPConn.Close()
}

type conn struct {
	net.Conn
	leave func()
}

// Close implements net.Conn.
func (c *conn) Close() error {
	defer c.leave()
	return c.Conn.Close()
}

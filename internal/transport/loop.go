package transport

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/panjf2000/gnet/v2"
)

// loop is what we keep for one event loop of gnet.
type loop struct {
	// Static after construction.
	el       gnet.EventLoop
	stopping *atomic.Bool // the engine's

	// Owned by the event loop.
	conns    map[*Conn]struct{}
	draining map[*Conn]struct{} // closing, waiting for their last bytes
	feeding  map[*Conn]struct{} // with pieces that gnet is not given yet
	ticks    int

	mu      sync.Mutex // guards the fields below; taken after a Conn's
	dirty   []*Conn    // have something to write or to close
	tasks   []func()
	armed   bool // a run of work is posted
	ticking bool // a tick is posted
	spare   []*Conn
}

// markDirty asks for c to be looked at in the next run. The first call since
// the last run wakes the loop; all others only append. Safe anywhere.
func (l *loop) markDirty(c *Conn) {
	l.mu.Lock()
	l.dirty = append(l.dirty, c)
	l.arm()
}

// do runs fn on the event loop. Safe anywhere.
func (l *loop) do(fn func()) {
	l.mu.Lock()
	l.tasks = append(l.tasks, fn)
	l.arm()
}

// arm is called with l.mu held and releases it.
func (l *loop) arm() {
	post := !l.armed
	l.armed = true
	l.mu.Unlock()
	if post {
		l.post(l.work)
	}
}

// post runs fn on the event loop; an engine that stops runs nothing more.
func (l *loop) post(fn gnet.RunnableFunc) {
	if !l.stopping.Load() {
		_ = l.el.Execute(context.Background(), fn)
	}
}

// work writes, in one go for each connection, what was queued since the last
// run. It is the only place that writes to sockets.
func (l *loop) work(context.Context) error {
	l.mu.Lock()
	dirty, tasks := l.dirty, l.tasks
	l.dirty, l.tasks, l.armed = l.spare[:0], nil, false
	l.spare = nil
	l.mu.Unlock()
	for _, task := range tasks {
		task()
	}
	for i, c := range dirty {
		c.flush()
		dirty[i] = nil
	}
	l.mu.Lock()
	if l.spare == nil && cap(dirty) <= 1<<16 {
		l.spare = dirty[:0]
	}
	l.mu.Unlock()
	return nil
}

func (l *loop) postTick(now time.Time) {
	l.mu.Lock()
	busy := l.ticking
	l.ticking = true
	l.mu.Unlock()
	if busy {
		return // the loop is behind; one tick in its queue is enough
	}
	l.post(func(context.Context) error {
		l.tick(now)
		l.mu.Lock()
		l.ticking = false
		l.mu.Unlock()
		return nil
	})
}

func (l *loop) tick(now time.Time) {
	for c := range l.feeding {
		c.feedSome()
	}
	for c := range l.draining {
		c.drain(now)
	}
	if l.ticks++; l.ticks%ticksPerSecond != 0 {
		return
	}
	for c := range l.conns {
		c.tick(now)
	}
}

package proxy

import (
	"net"
	"sync"
	"time"
)

// conn is one connection that goes through.
type conn struct {
	// Static after construction.
	peer      string
	near, far *net.TCPConn // to the peer and to the target

	mu       sync.Mutex // guards the fields below
	weather  Weather
	changed  chan struct{} // closed when any of these changes
	dead     bool          // cut
	halfOpen bool          // one end has vanished
}

// state returns what holds now, and what is closed when it does not any more.
func (c *conn) state() (w Weather, dead, halfOpen bool, changed <-chan struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.weather, c.dead, c.halfOpen, c.changed
}

// change runs with mu held.
func (c *conn) change() {
	close(c.changed)
	c.changed = make(chan struct{})
}

func (c *conn) setWeather(w Weather) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.weather != w {
		c.weather = w
		c.change()
	}
}

// cut resets both ends. It may be called more than once.
func (c *conn) cut() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.dead {
		c.dead = true
		c.change()
	}
	reset(c.near)
	reset(c.far)
}

// cutHalf cuts what has but one end.
func (c *conn) cutHalf() {
	c.mu.Lock()
	half := c.halfOpen
	c.mu.Unlock()
	if half {
		c.cut()
	}
}

// half resets one end and keeps the other.
func (c *conn) half(deadPeer bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.dead || c.halfOpen {
		return
	}
	c.halfOpen = true
	c.change()
	if deadPeer {
		reset(c.near)
	} else {
		reset(c.far)
	}
}

// reset closes as a machine that lost its power and came back does: what was
// under way is gone.
func reset(c *net.TCPConn) {
	_ = c.SetLinger(0)
	_ = c.Close()
}

// piece is the most that is passed on at once.
const piece = 32 << 10

// pass carries one direction until either end is gone.
func (p *Proxy) pass(c *conn, from, to *net.TCPConn) {
	buf := make([]byte, piece)
	for {
		n, err := from.Read(buf)
		if n > 0 && !p.carry(c, to, buf[:n]) {
			return
		}
		if err == nil {
			continue
		}
		if _, _, halfOpen, _ := c.state(); halfOpen {
			return // if this is the end that vanished, the other must not learn of it
		}
		// An orderly end is passed on; the other direction goes on.
		if to.CloseWrite() != nil {
			_ = to.Close()
		}
		return
	}
}

// carry brings one piece through the weather; false when the connection ended.
func (p *Proxy) carry(c *conn, to *net.TCPConn, data []byte) bool {
	w, dead, halfOpen, changed := c.state()
	for w.Still && !dead && !halfOpen {
		<-changed
		w, dead, halfOpen, changed = c.state()
	}
	if dead {
		return false
	}
	if halfOpen {
		return true // taken, and never to be seen again
	}
	wait := w.Delay
	if w.Rate > 0 {
		wait += time.Duration(len(data)) * time.Second / time.Duration(w.Rate)
	}
	if to == c.far {
		wait += p.turn(len(data))
	}
	if wait > 0 && !hold(c, wait) {
		return false
	}
	if _, err := to.Write(data); err != nil {
		if _, dead, halfOpen, _ := c.state(); halfOpen && !dead {
			return true
		}
		_ = to.Close()
		return false
	}
	p.moved.Add(int64(len(data)))
	return true
}

// hold waits, less when the weather changes; false when the connection ended.
func hold(c *conn, wait time.Duration) bool {
	_, dead, _, changed := c.state()
	if dead {
		return false
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-changed:
		_, dead, _, _ := c.state()
		return !dead
	}
}

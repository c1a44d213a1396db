// Package proxy is a TCP proxy that harms what goes through it on command: it
// cuts, delays, throttles and freezes connections, or lets one side believe
// that they live. A command names the peer whose connections it is for, so
// that of two servers behind one address each can be harmed alone.
package proxy

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// Everybody names all peers in a command.
const Everybody = ""

// Weather is what a peer's connections go through.
type Weather struct {
	Delay time.Duration // each piece comes so much later
	Rate  int           // bytes a second in each direction; 0 is no limit
	Still bool          // nothing moves, nothing is lost
}

// Proxy listens on one address and passes on to another. Its methods are safe
// from any goroutine.
type Proxy struct {
	who      func(from, to net.Addr) string
	listener net.Listener
	moved    atomic.Int64
	running  sync.WaitGroup

	mu      sync.Mutex // guards the fields below
	target  string
	closed  bool
	conns   map[*conn]bool
	weather map[string]Weather
	refused map[string]time.Time // no connections until then
	limit   int                  // bytes a second towards the target, of all connections together; 0: none
	free    time.Time            // when the next byte may go under limit
}

// Listen starts a proxy for target on addr. who names the peer that connects
// from an address to the proxy's; nil names nobody.
func Listen(ctx context.Context, addr, target string, who func(from, to net.Addr) string) (*Proxy, error) {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("proxy for %s: %w", target, err)
	}
	if who == nil {
		who = func(_, _ net.Addr) string { return "?" }
	}
	p := &Proxy{
		target: target, who: who, listener: l,
		conns: map[*conn]bool{}, weather: map[string]Weather{}, refused: map[string]time.Time{},
	}
	p.running.Go(p.accept)
	return p, nil
}

// Addr returns where the proxy listens.
func (p *Proxy) Addr() string { return p.listener.Addr().String() }

// Moved returns how many bytes have gone through.
func (p *Proxy) Moved() int64 { return p.moved.Load() }

// Retarget leads new connections to another address. Those that are there go
// on as they are; it returns how many.
func (p *Proxy) Retarget(target string) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.target = target
	return len(p.conns)
}

// Limit bounds what all connections together bring to the target, in bytes a
// second; 0 does not.
func (p *Proxy) Limit(rate int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.limit = rate
}

// turn returns how long n bytes have to wait under the limit.
func (p *Proxy) turn(n int) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.limit == 0 {
		return 0
	}
	now := time.Now()
	if p.free.Before(now) {
		p.free = now
	}
	p.free = p.free.Add(time.Duration(n) * time.Second / time.Duration(p.limit))
	return p.free.Sub(now)
}

// Close ends every connection and waits until nothing is left.
func (p *Proxy) Close() error {
	p.mu.Lock()
	p.closed = true
	for c := range p.conns {
		c.cut()
	}
	p.mu.Unlock()
	err := p.listener.Close()
	p.running.Wait()
	return err
}

// Set changes the weather of a peer until the next Set, and returns how many
// connections it has now. What Everybody has holds for those that have none of
// their own.
func (p *Proxy) Set(peer string, w Weather) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	if w == (Weather{}) {
		delete(p.weather, peer)
	} else {
		p.weather[peer] = w
	}
	for c := range p.conns {
		p.apply(c)
	}
	return p.each(peer, func(*conn) {})
}

// apply runs with mu held.
func (p *Proxy) apply(c *conn) {
	w, ok := p.weather[c.peer]
	if !ok {
		w = p.weather[Everybody]
	}
	c.setWeather(w)
}

// Cut resets the connections of a peer and refuses new ones for a while. It
// returns how many there were.
func (p *Proxy) Cut(peer string, refuse time.Duration) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	if refuse > 0 {
		p.refused[peer] = time.Now().Add(refuse)
	}
	return p.each(peer, (*conn).cut)
}

// HalfOpen makes one end of a peer's connections vanish: the other keeps an
// open connection that takes everything and never answers, until Cut or Close.
// With deadPeer the end that connected is the one that vanishes.
func (p *Proxy) HalfOpen(peer string, deadPeer bool) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.each(peer, func(c *conn) { c.half(deadPeer) })
}

// CutHalf ends the connections of a peer that HalfOpen left.
func (p *Proxy) CutHalf(peer string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.each(peer, (*conn).cutHalf)
}

// each runs with mu held.
func (p *Proxy) each(peer string, do func(*conn)) int {
	n := 0
	for c := range p.conns {
		if peer == Everybody || c.peer == peer {
			do(c)
			n++
		}
	}
	return n
}

func (p *Proxy) accept() {
	for {
		nc, err := p.listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			<-time.After(10 * time.Millisecond) // no descriptors left: others will be closed
			continue
		}
		p.running.Go(func() { p.serve(nc) })
	}
}

// serve carries one connection to its end.
func (p *Proxy) serve(nc net.Conn) {
	near, ok := nc.(*net.TCPConn)
	if !ok {
		_ = nc.Close()
		return
	}
	c := &conn{peer: p.who(near.RemoteAddr(), near.LocalAddr()), near: near, changed: make(chan struct{})}
	target, ok := p.leads(c.peer)
	if !ok {
		reset(near)
		return
	}
	far, err := (&net.Dialer{Timeout: 5 * time.Second}).Dial("tcp", target)
	if err != nil {
		reset(near)
		return
	}
	c.far, ok = far.(*net.TCPConn)
	if !ok || !p.add(c) {
		reset(near)
		_ = far.Close()
		return
	}
	var both sync.WaitGroup
	both.Go(func() { p.pass(c, c.near, c.far) })
	both.Go(func() { p.pass(c, c.far, c.near) })
	both.Wait()
	p.mu.Lock()
	delete(p.conns, c)
	p.mu.Unlock()
	c.cut()
}

// leads returns where a new connection of a peer goes; false if it is refused.
func (p *Proxy) leads(peer string) (target string, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	return p.target, !now.Before(p.refused[peer]) && !now.Before(p.refused[Everybody])
}

func (p *Proxy) add(c *conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.closed {
		p.conns[c] = true
		p.apply(c)
	}
	return !p.closed
}

package main

import (
	"context"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
)

// proxy stands between clients and the file_server. It counts what passes in
// each direction and cuts the connection, on one side or the other, when a
// number of bytes has passed.
type proxy struct {
	listener net.Listener
	target   string
	up, down atomic.Int64

	mu   sync.Mutex // guards the fields below
	next int64      // bytes after which the next cut comes; 0 = never
	gap  int64      // mean number of bytes between cuts
	cuts int        // left
}

func newProxy(ctx context.Context, target string) (*proxy, error) {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	p := &proxy{listener: l, target: target}
	go p.serve()
	return p, nil
}

// plan has n connections cut while about size bytes pass.
func (p *proxy) plan(n int, size int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cuts, p.gap = n, size/int64(n+1)
	p.up.Store(0)
	p.down.Store(0)
	p.next = p.at(0)
}

// at chooses the next cut; called with mu held.
func (p *proxy) at(now int64) int64 { return now + p.gap/2 + rand.Int64N(p.gap) }

// due reports whether it is time for a cut.
func (p *proxy) due() bool {
	total := p.up.Load() + p.down.Load()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cuts == 0 || total < p.next {
		return false
	}
	p.cuts--
	p.next = p.at(total)
	return true
}

func (p *proxy) left() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.cuts
}

func (p *proxy) serve() {
	for {
		c, err := p.listener.Accept()
		if err != nil {
			return
		}
		go p.pass(c.(*net.TCPConn))
	}
}

func (p *proxy) pass(client *net.TCPConn) {
	conn, err := net.Dial("tcp", p.target)
	if err != nil {
		_ = client.Close()
		return
	}
	server := conn.(*net.TCPConn)
	go p.copy(client, server, &p.down)
	p.copy(server, client, &p.up)
}

func (p *proxy) copy(to, from *net.TCPConn, count *atomic.Int64) {
	defer to.Close()
	defer from.Close()
	buf := make([]byte, 64<<10)
	for {
		n, err := from.Read(buf)
		if n > 0 {
			if _, err := to.Write(buf[:n]); err != nil {
				return
			}
			count.Add(int64(n))
			if p.due() {
				side := to
				if rand.IntN(2) == 0 {
					side = from
				}
				_ = side.SetLinger(0) // one side sees a reset, the other an end
				return
			}
		}
		if err != nil {
			return
		}
	}
}

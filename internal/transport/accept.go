package transport

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"

	"teamtalk/internal/admit"
)

func (l *Listener) class() admit.Class {
	if l.Allow != nil {
		return admit.Link
	}
	return admit.Public
}

// listener is a Listener that is open.
type listener struct {
	Listener
	sockets *admit.Listener
}

// maxEntering bounds the connections that are handed to gnet at a time: each
// has two descriptors for that moment.
const maxEntering = 16

func (e *Engine) listen(l Listener, deps Deps) error {
	l.Limits = l.Limits.withDefaults()
	if _, err := netip.ParseAddrPort(l.Addr); err != nil {
		return fmt.Errorf("%s listener: address %q is not IP:port", l.Name, l.Addr)
	}
	sockets, err := admit.Listen(context.Background(), l.Addr, admit.Config{
		Name: l.Name, Class: l.class(), Budget: e.cfg.budget, Wrap: e.cfg.wrap,
	}, admit.Deps{Log: deps.Log, Reg: deps.Reg})
	if err != nil {
		return err
	}
	e.listeners = append(e.listeners, &listener{Listener: l, sockets: sockets})
	return nil
}

// accept runs until the listener is closed.
func (e *Engine) accept(l *listener, accepting *sync.WaitGroup) {
	for {
		socket, err := l.sockets.Take()
		if err != nil {
			return
		}
		c := &Conn{
			listener: l, handler: l.Handler, limits: l.Limits, name: l.Name, peer: addrPort(socket.RemoteAddr()),
		}
		if reason := e.refusal(c); reason != "" {
			l.sockets.Refuse(socket, string(reason))
			continue
		}
		e.count(c, 1)
		e.entering <- struct{}{}
		accepting.Go(func() {
			defer func() { <-e.entering }()
			if err := e.enter(socket, c); err != nil {
				e.log.Debug("connection not served", "listener", c.name, "error", err)
				e.count(c, -1)
				l.sockets.Refuse(socket, "not_served")
			}
		})
	}
}

// count notes that an accepted connection came, or went.
func (e *Engine) count(c *Conn, n int64) {
	e.accepted.Add(n)
	if c.listener.class() == admit.Public {
		e.public.Add(n)
	}
}

func (e *Engine) refusal(c *Conn) CloseReason {
	switch {
	case e.refusing.Load():
		return ReasonStopping
	case c.listener.Allow != nil && !c.listener.Allow(c.peer.Addr()):
		return ReasonNotAllowed
	case c.listener.class() == admit.Public && e.public.Load() >= int64(e.cfg.MaxConns):
		return ReasonTooManyConns
	}
	return ""
}

// enter has a socket served by one of the event loops, and closes it if that
// fails. It returns after OnOpen.
func (e *Engine) enter(socket net.Conn, c *Conn) error {
	e.stopMu.RLock()
	defer e.stopMu.RUnlock()
	if e.stopping.Load() { // a loop that has ended opens nothing
		_ = socket.Close()
		return errEnded
	}
	c.peer = addrPort(socket.RemoteAddr())
	// gnet gives the text of a zone to a pool of its own when the connection
	// ends; this one is package net's.
	for _, addr := range []net.Addr{socket.RemoteAddr(), socket.LocalAddr()} {
		if tcp, ok := addr.(*net.TCPAddr); ok {
			tcp.Zone = ""
		}
	}
	if _, err := e.client.EnrollContext(socket, c); err != nil {
		return err
	}
	if c.loop == nil { // gnet could not watch it, and has closed it
		return errNotServed
	}
	return nil
}

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
	if err := e.enter(socket, c); err != nil {
		return nil, fmt.Errorf("serve connection to %s: %w", addr, err)
	}
	return c, nil
}

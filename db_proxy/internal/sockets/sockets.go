// Package sockets knows the connections of a pool to a server, so that they can
// be ended from outside the client library that uses them.
package sockets

import (
	"context"
	"errors"
	"net"
	"sync"
	"syscall"
	"time"
)

// Set is the connections of a pool. The zero value is ready. Safe from any
// goroutine.
type Set struct {
	// DialTimeout is the longest wait for a connection; 0: what ctx allows.
	DialTimeout time.Duration

	mu   sync.Mutex // guards the field below; a leaf
	open map[*socket]struct{}
}

type socket struct {
	net.Conn
	of *Set
}

// Dial opens a connection that is in the set until it is closed.
func (s *Set) Dial(ctx context.Context, network, addr string) (net.Conn, error) {
	d := net.Dialer{Timeout: s.DialTimeout, KeepAlive: 5 * time.Minute}
	conn, err := d.DialContext(ctx, network, addr)
	if err != nil {
		return nil, err //nolint:wrapcheck // the client library's, as from its own dialler
	}
	made := &socket{Conn: conn, of: s}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.open == nil {
		s.open = map[*socket]struct{}{}
	}
	s.open[made] = struct{}{}
	return made, nil
}

// Len returns how many connections are open.
func (s *Set) Len() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.open)
}

// CloseAll ends every connection; calls under way on them fail.
func (s *Set) CloseAll() {
	s.mu.Lock()
	all := s.open
	s.open = nil
	s.mu.Unlock()
	for c := range all {
		_ = c.Conn.Close() // it is of no use
	}
}

// Close is net.Conn's.
func (c *socket) Close() error {
	c.of.mu.Lock()
	delete(c.of.open, c)
	c.of.mu.Unlock()
	return c.Conn.Close()
}

// SyscallConn is syscall.Conn's: client libraries find by it that an idle
// connection is dead.
func (c *socket) SyscallConn() (syscall.RawConn, error) {
	if raw, ok := c.Conn.(syscall.Conn); ok {
		return raw.SyscallConn()
	}
	return nil, errors.ErrUnsupported
}

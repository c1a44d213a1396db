package cache

import (
	"context"
	"errors"
	"net"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/redis/go-redis/v9"
)

// sockets are the connections of a pool. The client library keeps those to a
// server that was demoted, as long as they answer: they are closed here, so that
// the next ones lead to where the address leads now. The zero value is ready.
type sockets struct {
	mu   sync.Mutex // guards the field below; a leaf
	open map[*socket]struct{}
}

type socket struct {
	net.Conn
	of *sockets
}

// dial is redis.Options.Dialer.
func (s *sockets) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	d := net.Dialer{Timeout: dialTimeout, KeepAlive: 5 * time.Minute}
	conn, err := d.DialContext(ctx, network, addr)
	if err != nil {
		return nil, err
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

// Close is net.Conn's.
func (c *socket) Close() error {
	c.of.mu.Lock()
	delete(c.of.open, c)
	c.of.mu.Unlock()
	return c.Conn.Close()
}

// SyscallConn is syscall.Conn's: the client library finds by it that an idle
// connection is dead.
func (c *socket) SyscallConn() (syscall.RawConn, error) {
	if raw, ok := c.Conn.(syscall.Conn); ok {
		return raw.SyscallConn()
	}
	return nil, errors.ErrUnsupported
}

// closeAll ends every connection.
func (s *sockets) closeAll() {
	s.mu.Lock()
	all := s.open
	s.open = nil
	s.mu.Unlock()
	for c := range all {
		_ = c.Conn.Close() // it is of no use
	}
}

// demoted reports whether err is the answer of a Redis that is none to write to
// any more: READONLY of a replica, MASTERDOWN of one that lost its master.
func demoted(err error) bool {
	if _, ok := errors.AsType[redis.Error](err); !ok {
		return false
	}
	msg := err.Error()
	return strings.HasPrefix(msg, "READONLY") || strings.HasPrefix(msg, "MASTERDOWN")
}

package fileserver

import (
	"net"
	"sync"
)

// limit bounds the connections of a listener. They stay *net.TCPConn inside,
// so that the kernel can send files to them without copying.
func limit(l net.Listener, n int) net.Listener {
	return &limited{Listener: l, free: make(chan struct{}, n), closed: make(chan struct{})}
}

type limited struct {
	net.Listener
	free   chan struct{} // one entry for each connection
	once   sync.Once
	closed chan struct{}
}

// Accept waits for a connection, and for its place.
func (l *limited) Accept() (net.Conn, error) {
	select {
	case l.free <- struct{}{}:
	case <-l.closed:
		return nil, net.ErrClosed
	}
	conn, err := l.Listener.Accept()
	if err != nil {
		<-l.free
		return nil, err
	}
	leave := sync.OnceFunc(func() { <-l.free })
	if tcp, ok := conn.(*net.TCPConn); ok {
		return &limitedTCP{TCPConn: tcp, leave: leave}, nil
	}
	return &limitedConn{Conn: conn, leave: leave}, nil
}

// Close also ends an Accept that waits for a place.
func (l *limited) Close() error {
	l.once.Do(func() { close(l.closed) })
	return l.Listener.Close()
}

type limitedTCP struct {
	*net.TCPConn
	leave func()
}

func (c *limitedTCP) Close() error {
	defer c.leave()
	return c.TCPConn.Close()
}

type limitedConn struct {
	net.Conn
	leave func()
}

func (c *limitedConn) Close() error {
	defer c.leave()
	return c.Conn.Close()
}

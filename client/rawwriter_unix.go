//go:build unix

package client

import (
	"net"
	"syscall"
)

// rawWriter writes to a socket without ever waiting for it. Not safe for
// concurrent use.
type rawWriter struct {
	*rawState
}

// rawState is what one write and its callback share. It is allocated once, as
// a closure per write would be garbage.
type rawState struct {
	conn syscall.RawConn // nil: not a socket
	try  func(fd uintptr) bool
	buf  []byte
	n    int
	err  error
}

// newRawWriter returns the writer of nc.
func newRawWriter(nc net.Conn) rawWriter {
	s := &rawState{}
	if sc, ok := nc.(syscall.Conn); ok {
		if conn, err := sc.SyscallConn(); err == nil {
			s.conn = conn
		}
	}
	s.try = func(fd uintptr) bool {
		for s.n < len(s.buf) {
			n, err := syscall.Write(int(fd), s.buf[s.n:])
			switch {
			case err == syscall.EINTR:
			case err == syscall.EAGAIN:
				return true
			case err != nil:
				s.err = err
				return true
			default:
				s.n += n
			}
		}
		return true
	}
	return rawWriter{s}
}

// write writes as much of buf as the socket takes at once.
func (w rawWriter) write(buf []byte) (int, error) {
	if w.conn == nil {
		return 0, nil
	}
	w.buf, w.n, w.err = buf, 0, nil
	if err := w.conn.Write(w.try); err != nil {
		return 0, err
	}
	w.buf = nil
	return w.n, w.err
}

package client

import (
	"context"
	"fmt"
	"net"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"

	"teamtalk/internal/wire"
)

// RawConn is a bare connection for tests of bad input: it sends any bytes,
// receives PDU by PDU and does nothing on its own. It is not safe for
// concurrent use, except that one goroutine may send while another receives.
type RawConn struct {
	nc  net.Conn
	buf []byte // received and not yet returned
}

// DialRaw connects to addr and sends nothing. localAddr is the source address,
// as in Options; empty leaves the choice to the system.
func DialRaw(ctx context.Context, addr, localAddr string) (*RawConn, error) {
	nc, err := dial(ctx, addr, localAddr)
	if err != nil {
		return nil, err
	}
	return &RawConn{nc: nc}, nil
}

// dial opens a TCP connection from localAddr ("ip" or "ip:port"; may be
// empty).
func dial(ctx context.Context, addr, localAddr string) (net.Conn, error) {
	var d net.Dialer
	if localAddr != "" {
		if _, _, err := net.SplitHostPort(localAddr); err != nil {
			localAddr = net.JoinHostPort(localAddr, "0")
		}
		la, err := net.ResolveTCPAddr("tcp", localAddr)
		if err != nil {
			return nil, fmt.Errorf("client: local address: %w", err)
		}
		d.LocalAddr = la
	}
	nc, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("client: connect: %w", err)
	}
	return nc, nil
}

// Write sends bytes as they are.
func (c *RawConn) Write(p []byte) (int, error) { return c.nc.Write(p) }

// SendPDU sends a PDU with an encoded body.
func (c *RawConn) SendPDU(command wire.Command, seq uint16, body []byte) error {
	_, err := c.nc.Write(wire.Append(nil, command, seq, body))
	return err
}

// Send sends a PDU.
func (c *RawConn) Send(command wire.Command, seq uint16, m proto.Message) error {
	pdu, err := wire.AppendMessage(nil, command, seq, m)
	if err != nil {
		return err
	}
	_, err = c.nc.Write(pdu)
	return err
}

// Receive returns the next PDU; its body belongs to the caller. It returns
// io.EOF after the server closed, a wire error for bytes that are no PDU, and
// a time-out (os.ErrDeadlineExceeded) when ctx ends first.
func (c *RawConn) Receive(ctx context.Context) (wire.PDU, error) {
	interrupted := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		_ = c.nc.SetReadDeadline(time.Unix(1, 0))
		close(interrupted)
	})
	defer func() {
		if !stop() {
			<-interrupted
			_ = c.nc.SetReadDeadline(time.Time{})
		}
	}()
	for {
		pdu, size, need, err := wire.Next(c.buf, wire.MaxServerPDU)
		if err != nil {
			return wire.PDU{}, err
		}
		if size > 0 {
			pdu.Body = slices.Clone(pdu.Body)
			c.buf = append(c.buf[:0], c.buf[size:]...)
			return pdu, nil
		}
		c.buf = slices.Grow(c.buf, need-len(c.buf))
		n, err := c.nc.Read(c.buf[len(c.buf):cap(c.buf)])
		c.buf = c.buf[:len(c.buf)+n]
		if n == 0 && err != nil {
			return wire.PDU{}, err
		}
	}
}

// Expect receives until a PDU of the command comes, skips all others, and
// decodes it into m.
func (c *RawConn) Expect(ctx context.Context, command wire.Command, m proto.Message) error {
	for {
		pdu, err := c.Receive(ctx)
		if err != nil {
			return fmt.Errorf("client: wait for %v: %w", command, err)
		}
		if pdu.Command != command {
			continue
		}
		if err := proto.Unmarshal(pdu.Body, m); err != nil {
			return fmt.Errorf("client: decode %v: %w", command, err)
		}
		return nil
	}
}

// LocalAddr returns the own address.
func (c *RawConn) LocalAddr() net.Addr { return c.nc.LocalAddr() }

// Close closes the connection.
func (c *RawConn) Close() { _ = c.nc.Close() }

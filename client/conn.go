package client

import (
	"errors"
	"io"
	"slices"

	"teamtalk/internal/wire"
)

// Sizes of the buffers of one connection in bytes. An idle client holds
// minRead; a busy one grows, and gives back what exceeds keepBuffer.
const (
	minRead    = 1 << 10
	keepBuffer = 64 << 10
)

// read frames what arrives and dispatches it until the connection ends.
func (c *Client) read() {
	defer c.finish()
	buf := make([]byte, 0, minRead)
	for {
		n, err := c.nc.Read(buf[len(buf):cap(buf)])
		full := n == cap(buf)-len(buf)
		buf = buf[:len(buf)+n]
		if n > 0 {
			c.alive.Store(true)
			rest, need, ferr := c.batch(buf)
			if ferr != nil {
				c.fail(ferr)
				return
			}
			buf = resize(buf, rest, need, full)
		}
		if err != nil {
			if errors.Is(err, io.EOF) && len(buf) > 0 {
				err = io.ErrUnexpectedEOF
			}
			c.fail(err)
			return
		}
	}
}

// batch dispatches every whole PDU in buf. What is sent meanwhile is written
// once, afterwards: a burst of messages costs one write for all receipts. It
// returns what is left and the size the PDU there needs.
func (c *Client) batch(buf []byte) (rest []byte, need int, err error) {
	c.hold(true)
	defer c.flush()
	defer c.hold(false)
	for {
		pdu, size, need, err := wire.Next(buf, c.opts.Profile.MaxPDU)
		if err != nil || size == 0 {
			c.flushReceipts()
			return buf, need, err
		}
		buf = buf[size:]
		c.dispatch(pdu)
	}
}

// hold starts or ends holding back what is sent.
func (c *Client) hold(on bool) {
	c.mu.Lock()
	c.held = on
	c.mu.Unlock()
}

// resize moves the rest of buf to the front of a buffer that holds need bytes
// at least, larger than before after a full read, smaller when all is quiet.
func resize(buf, rest []byte, need int, full bool) []byte {
	size := cap(buf)
	switch {
	case need > size:
		// By steps: a length field alone must not cost much memory.
		size = min(need, max(2*size, 1<<20))
	case full && size < keepBuffer:
		size *= 2
	case len(rest) == 0 && size > keepBuffer:
		size = minRead
	}
	if size == cap(buf) {
		return buf[:copy(buf, rest)]
	}
	return append(make([]byte, 0, size), rest...)
}

// flush writes what is queued, as far as the socket takes it without blocking;
// a goroutine writes the rest. One writer is active at a time, and takes what
// others queue meanwhile.
func (c *Client) flush() {
	c.mu.Lock()
	for len(c.out) > 0 && !c.writing && !c.held && c.err == nil {
		buf := c.take()
		c.mu.Unlock()
		n, err := c.raw.write(buf)
		if err == nil && n < len(buf) {
			go c.finishWrite(buf, n)
			return
		}
		c.mu.Lock()
		c.giveBack(buf)
		if err != nil {
			c.mu.Unlock()
			c.fail(err)
			return
		}
	}
	c.mu.Unlock()
}

// finishWrite writes what a full socket did not take, and whatever is queued
// until it has caught up.
func (c *Client) finishWrite(buf []byte, written int) {
	for {
		_, err := c.nc.Write(buf[written:])
		c.mu.Lock()
		c.giveBack(buf)
		if err != nil {
			c.mu.Unlock()
			c.fail(err)
			return
		}
		if len(c.out) == 0 || c.err != nil {
			c.mu.Unlock()
			return
		}
		buf, written = c.take(), 0
		c.mu.Unlock()
	}
}

// take makes the caller the writer of all that is queued. Caller holds c.mu.
func (c *Client) take() []byte {
	buf := c.out
	c.out, c.spare, c.writing = c.spare[:0], nil, true
	return buf
}

// giveBack ends being the writer and keeps the buffer for reuse. Caller holds
// c.mu.
func (c *Client) giveBack(buf []byte) {
	c.writing = false
	if cap(buf) <= keepBuffer {
		c.spare = buf[:0]
	}
}

// clip returns a copy of data that a Handler may keep.
func clip(data []byte) []byte { return slices.Clip(slices.Clone(data)) }

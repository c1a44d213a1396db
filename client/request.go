package client

import (
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"time"

	"google.golang.org/protobuf/proto"

	"teamtalk/internal/im"
	"teamtalk/internal/wire"
	"teamtalk/pb/extension"
)

// AckFunc receives the outcome of a SendAsync with the token it was given. It
// is called once, on the reading goroutine or, after a time-out, on another;
// it must not block. id is 0 when err is not nil.
type AckFunc func(token uint64, id im.MsgID, err error)

// pending is a request that waits for its reply.
type pending struct {
	want wire.Command

	wait *waiter // a caller waits; nil for an asynchronous send

	ack      AckFunc // nil when wait is set
	token    uint64
	session  uint32 // the reply must name it
	deadline time.Time
}

// end completes a request without a reply.
func (p pending) end(err error) {
	if p.wait != nil {
		p.wait.finish(err)
		return
	}
	p.ack(p.token, 0, err)
}

// waiter is where a caller waits for a reply.
type waiter struct {
	reply proto.Message             // decoded into on the reader; nil: body not wanted
	then  func(proto.Message) error // runs on the reader after decoding; may be nil
	keep  bool                      // stays registered for more replies; done gets the first
	done  chan error                // capacity 1
}

// newWaiter returns a waiter that decodes the reply into m.
func newWaiter(m proto.Message) *waiter {
	return &waiter{reply: m, done: make(chan error, 1)}
}

// receive takes one reply. It runs on the reader.
func (w *waiter) receive(pdu wire.PDU) {
	w.finish(w.decode(pdu))
}

// finish lets the caller go on.
func (w *waiter) finish(err error) {
	select {
	case w.done <- err:
	default: // a kept waiter that has its first reply already
	}
}

// decode decodes a reply and runs what follows it.
func (w *waiter) decode(pdu wire.PDU) error {
	if w.reply == nil {
		return nil
	}
	if err := proto.Unmarshal(pdu.Body, w.reply); err != nil {
		return fmt.Errorf("client: decode %v: %w", pdu.Command, err)
	}
	if w.then != nil {
		return w.then(w.reply)
	}
	return nil
}

// Do sends a request and waits for the reply of command want, which it decodes
// into reply; nil ignores the body. It is the way to requests that have no
// method of their own.
func (c *Client) Do(ctx context.Context, command wire.Command, req proto.Message,
	want wire.Command, reply proto.Message,
) error {
	return c.wait(ctx, command, req, want, newWaiter(reply))
}

// wait sends a request and waits until w is done or ctx ends.
func (c *Client) wait(ctx context.Context, command wire.Command, req proto.Message,
	want wire.Command, w *waiter,
) error {
	seq, err := c.post(command, req, pending{want: want, wait: w})
	if err != nil {
		return fmt.Errorf("%v: %w", command, err)
	}
	return c.await(ctx, command, seq, w)
}

// await waits for the reply to a request that was sent.
func (c *Client) await(ctx context.Context, command wire.Command, seq uint16, w *waiter) error {
	select {
	case err := <-w.done:
		return err
	case <-ctx.Done():
	}
	if c.forget(seq, w) {
		return fmt.Errorf("client: wait for answer to %v: %w", command, ctx.Err())
	}
	// The reader has the reply in its hands and is about to finish.
	return <-w.done
}

// forget removes a request and reports whether it was still waiting.
func (c *Client) forget(seq uint16, w *waiter) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if p, ok := c.pending[seq]; !ok || p.wait != w {
		return false
	}
	delete(c.pending, seq)
	return true
}

// post registers a request and queues its PDU.
func (c *Client) post(command wire.Command, req proto.Message, p pending) (uint16, error) {
	c.mu.Lock()
	seq, err := c.register(command, p)
	if err == nil {
		if err = c.appendMessage(command, seq, req); err != nil {
			delete(c.pending, seq)
		}
	}
	c.mu.Unlock()
	if err != nil {
		return 0, err
	}
	c.flush()
	return seq, nil
}

// Notify sends a PDU that has no reply.
func (c *Client) Notify(command wire.Command, m proto.Message) error {
	c.mu.Lock()
	err := c.writable()
	if err == nil {
		err = c.appendMessage(command, c.nextSeq(command), m)
	}
	c.mu.Unlock()
	if err != nil {
		return fmt.Errorf("%v: %w", command, err)
	}
	c.flush()
	return nil
}

// register gives a request a seq and enters it. Caller holds c.mu.
func (c *Client) register(command wire.Command, p pending) (uint16, error) {
	if err := c.writable(); err != nil {
		return 0, err
	}
	if len(c.pending) >= c.opts.MaxPending {
		return 0, ErrQueueFull
	}
	seq := c.nextSeq(command)
	if command == wire.LoginReq {
		c.loginSeq = seq
	}
	c.pending[seq] = p
	return seq, nil
}

// writable reports why nothing can be sent. Caller holds c.mu.
func (c *Client) writable() error {
	switch {
	case c.err != nil:
		return c.err
	case c.pending == nil:
		return ErrClosed
	case len(c.out) >= c.opts.MaxQueued:
		return ErrQueueFull
	}
	return nil
}

// Markers of the Windows client in message list requests.
// Source: docs/protocol/wire.md §1.3.
const (
	seqHistory     = 0xFF01
	seqHistoryNext = 0xFF02
)

// nextSeq chooses the seq of a request; no pending one has it, as MaxPending
// is far below the range. Caller holds c.mu.
func (c *Client) nextSeq(command wire.Command) uint16 {
	p := &c.opts.Profile
	if p.RandomSeq && command == wire.MsgListReq {
		for _, marker := range [...]uint16{seqHistory, seqHistoryNext} {
			if _, taken := c.pending[marker]; !taken {
				return marker
			}
		}
	}
	for {
		switch {
		case p.RandomSeq && command != wire.LoginReq:
			c.seq = uint16(1 + rand.UintN(uint(p.LastSeq)))
		case c.seq < p.FirstSeq || c.seq >= p.LastSeq:
			c.seq = p.FirstSeq
		default:
			c.seq++
		}
		_, taken := c.pending[c.seq]
		// Windows takes any PDU with the number of its log-in for the answer to it.
		if !taken && (!p.RandomSeq || c.seq != c.loginSeq) {
			return c.seq
		}
	}
}

// complete hands a PDU to the request it answers and reports whether there is
// one. It runs on the reader.
func (c *Client) complete(pdu wire.PDU) bool {
	c.mu.Lock()
	p, ok := c.pending[pdu.Seq]
	fits := ok && (pdu.Command == p.want || (pdu.Command == wire.MsgNack && p.want == wire.MsgDataAck))
	if !ok || (!fits && !c.opts.Profile.MatchSeqOnly) {
		c.mu.Unlock()
		return false
	}
	if p.wait == nil {
		c.async--
	}
	if p.wait == nil || !p.wait.keep || !fits {
		delete(c.pending, pdu.Seq)
	}
	c.mu.Unlock()
	switch {
	case !fits:
		p.end(fmt.Errorf("%w: %v", ErrWrongReply, pdu.Command))
	case pdu.Command == wire.MsgNack:
		p.end(parseNack(pdu.Body))
	case p.wait != nil:
		p.wait.receive(pdu)
	default:
		id, err := parseAck(pdu.Body, p.session)
		p.ack(p.token, id, err)
	}
	return true
}

// parseNack turns 0x0381 into an error.
func parseNack(body []byte) error {
	var m extension.IMMsgNack
	if err := proto.Unmarshal(body, &m); err != nil {
		return fmt.Errorf("client: decode %v: %w", wire.MsgNack, err)
	}
	return &NackError{
		Code:      im.Code(m.GetReason()),
		Retryable: m.GetRetryable(),
		After:     time.Duration(m.GetRetryAfterMs()) * time.Millisecond,
	}
}

// appendMessage queues a PDU. Caller holds c.mu.
func (c *Client) appendMessage(command wire.Command, seq uint16, m proto.Message) error {
	start := len(c.out)
	out, err := wire.AppendMessage(c.out, command, seq, m)
	if err != nil {
		return err
	}
	c.out = out
	c.stamp(start)
	return nil
}

// appendHeartbeat queues a heartbeat. Caller holds c.mu.
func (c *Client) appendHeartbeat() {
	start := len(c.out)
	c.out = wire.AppendHeader(c.out, wire.Heartbeat, c.nextSeq(wire.Heartbeat), 0, 0)
	c.stamp(start)
}

// stamp writes the profile's header fields into the PDU at start and its
// length, which ends where the queue ends. Caller holds c.mu.
func (c *Client) stamp(start int) {
	pdu := c.out[start:]
	binary.BigEndian.PutUint32(pdu, uint32(len(pdu)))
	binary.BigEndian.PutUint16(pdu[4:], c.opts.Profile.Version)
	binary.BigEndian.PutUint16(pdu[14:], c.opts.Profile.Reserved)
}

// SendRaw queues bytes as they are, for tests.
func (c *Client) SendRaw(p []byte) error {
	c.mu.Lock()
	err := c.writable()
	if err == nil {
		c.out = append(c.out, p...)
	}
	c.mu.Unlock()
	if err != nil {
		return err
	}
	c.flush()
	return nil
}

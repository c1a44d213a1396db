package bench

import (
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"teamtalk/client"
	"teamtalk/client/textcrypt"
	"teamtalk/internal/im"
)

// terminal is one logged-in connection and the load it makes.
type terminal struct {
	// Static once the load starts.
	run    *run
	index  int
	user   string
	client *client.Client
	conv   *conversation
	flow   *flow  // nil for one that only listens
	order  int    // place among the senders, for pacing
	to     uint32 // whom it writes to: a user or a group
	deaf   bool   // pushed messages are not looked at

	gone atomic.Bool // the connection was lost

	// Owned by the reader.
	view  view
	plain []byte

	mu       sync.Mutex // guards the fields below
	inFlight int
	text     []byte
	data     []byte
	ack      client.AckFunc // t.acknowledged, made once
}

// handle takes the events of the connection.
func (t *terminal) handle(c *client.Client, e client.Event) {
	switch e := e.(type) {
	case *client.Message:
		if !t.deaf {
			t.received(e)
		}
	case *client.Closed:
		if !t.run.closing.Load() {
			t.gone.Store(true)
			t.run.lost.add(fmt.Errorf("%s at %s: %w", t.user, c.Addr(), e.Err))
		}
	}
}

// received checks a pushed message.
func (t *terminal) received(m *client.Message) {
	r := t.run
	f, s, ok := r.identify(m, &t.plain)
	switch {
	case !ok:
		return
	case f.conv != t.conv || f.sender == t:
		r.found.misdelivered.Add(1)
		return
	}
	known, same := f.note(s.seq, m.ID, 0)
	if !known {
		r.found.corrupt.Add(1)
		return
	}
	fresh, ordered := t.view.mark(f.slot, s.seq, m.ID)
	switch {
	case !fresh:
		r.found.duplicated.Add(1)
		return
	case !same:
		r.found.mismatched.Add(1)
	case !ordered:
		r.found.reordered.Add(1)
	}
	r.meter.record(deliveryEvent, t.index, s.at, r.now())
}

// identify finds the flow and the stamp of a message. It counts what is not of
// this run, or changed on the way. plain is a scratch buffer.
func (r *run) identify(m *client.Message, plain *[]byte) (*flow, stamp, bool) {
	text, err := textcrypt.Standard().AppendDecrypt((*plain)[:0], m.Data)
	*plain = text
	s, ok := parseStamp(text)
	if err != nil || !ok || s.run != r.id {
		r.found.foreign.Add(1)
		return nil, s, false
	}
	if len(text) != r.cfg.Size || int64(s.flow) >= int64(len(r.flows)) ||
		r.flows[s.flow].sender.client.User() != m.From {
		r.found.corrupt.Add(1)
		return nil, s, false
	}
	return r.flows[s.flow], s, true
}

// pump sends what the window and the schedule allow. It is called when either
// may have opened: at the start, by an acknowledgement, by the pacer.
func (t *terminal) pump() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for t.inFlight < t.run.cfg.Window && !t.run.stopped.Load() && !t.gone.Load() {
		at, due := t.run.due(t.order, t.flow.sent())
		if !due || t.flow.sent() >= maxSeq || !t.send(at) {
			return
		}
	}
}

// send sends one message that was due at a time. Caller holds t.mu.
func (t *terminal) send(at time.Duration) bool {
	seq := t.flow.next()
	s := stamp{run: t.run.id, flow: t.flow.index, seq: seq, at: at}
	t.text = s.appendText(t.text[:0], t.run.cfg.Size)
	t.data = textcrypt.Standard().AppendEncrypt(t.data[:0], t.text)
	m := client.Message{To: t.to, Type: im.SingleText, Data: t.data}
	if t.conv.kind == im.Group {
		m.Type = im.GroupText
	}
	t.run.sent.Add(1)
	if err := t.client.SendAsync(&m, token(seq, at), t.ack); err != nil {
		t.run.refuse(err)
		return false
	}
	t.inFlight++
	return true
}

// acknowledged takes the outcome of one message.
func (t *terminal) acknowledged(tok uint64, id im.MsgID, err error) {
	seq, at := untoken(tok)
	if err != nil {
		t.run.refuse(err)
	} else {
		if _, same := t.flow.note(seq, id, bitAcked); !same {
			t.run.found.mismatched.Add(1)
		}
		t.run.meter.record(ackEvent, t.index, at, t.run.now())
	}
	t.mu.Lock()
	t.inFlight--
	t.mu.Unlock()
	if t.client.Err() == nil {
		t.pump()
	}
}

// A token carries a seq in its upper 24 bits and the send time in
// microseconds in the other 40, so that a send needs no memory.
const tokenTimeBits = 40

// token packs seq and send time.
func token(seq uint32, at time.Duration) uint64 {
	return uint64(seq)<<tokenTimeBits | uint64(at/time.Microsecond)&(1<<tokenTimeBits-1)
}

// untoken unpacks a token.
func untoken(tok uint64) (seq uint32, at time.Duration) {
	return uint32(tok >> tokenTimeBits), time.Duration(tok&(1<<tokenTimeBits-1)) * time.Microsecond
}

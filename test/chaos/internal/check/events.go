package check

import (
	"errors"
	"fmt"
	"slices"

	"teamtalk/internal/im"
	"teamtalk/test/chaos/internal/event"
)

// Event takes the next event of the log.
func (c *Checker) Event(e *event.Event) error {
	switch e.Name {
	case event.Pulse:
		c.stood = c.stoodUntil(e.T)
		c.pulse, c.pulsed = e.T, true
		return nil
	case event.Fault:
		c.fault(e)
		return nil
	case event.Healed:
		c.healedFault(e)
		return nil
	case event.Restored:
		if !c.result.SQL {
			return errors.New("what went back only SQL can tell")
		}
		c.restored(e)
		return nil
	case event.Group:
		if in := c.conversation(e.Conv); in != nil {
			in.users = slices.Clone(e.Users)
		}
		return nil
	case event.Terminal:
		if c.clients[e.C] != nil {
			return fmt.Errorf("terminal %q is introduced twice", e.C)
		}
		c.clients[e.C] = &terminal{
			name: e.C, user: e.User, pc: e.PC, acks: e.Acks, delivers: e.Delivers, first: -1, flows: map[*conv]*flow{},
		}
		return nil
	default:
	}
	visit, ok := visits[e.Name]
	if !ok {
		return fmt.Errorf("unknown event %q", e.Name)
	}
	t := c.client(e)
	if t == nil {
		return nil
	}
	var in *conv
	if e.Conv != "" {
		if in = c.conversation(e.Conv); in == nil {
			return nil
		}
	}
	if in == nil && needsConv[e.Name] {
		return fmt.Errorf("%q without a conversation", e.Name)
	}
	visit(c, t, in, e)
	return nil
}

// visits says what each event of a terminal means.
var visits = map[event.Name]func(*Checker, *terminal, *conv, *event.Event){
	event.Connected: (*Checker).connected,
	event.Closed:    func(c *Checker, t *terminal, _ *conv, e *event.Event) { c.closed(t, e) },
	event.Sent:      (*Checker).sent,
	event.Acked:     (*Checker).ackedEvent,
	event.Nacked:    (*Checker).nacked,
	event.Received:  (*Checker).received,
	event.Marked:    (*Checker).marked,
	event.History:   (*Checker).history,
	event.Read:      (*Checker).read,
	event.Unread:    (*Checker).unread,
	event.Presence:  (*Checker).presence,
}

var needsConv = map[event.Name]bool{
	event.Sent: true, event.Acked: true, event.Nacked: true, event.Received: true, event.Marked: true,
	event.History: true, event.Read: true,
}

func (c *Checker) connected(t *terminal, _ *conv, e *event.Event) {
	c.endConnection(t, e.T)
	t.up, t.conn, t.since, t.capable = true, e.N, e.T, e.Delivers
	t.pushed = map[*conv]im.MsgID{}
	if t.capable && t.first < 0 {
		t.first = e.T
	}
}

func (c *Checker) closed(t *terminal, e *event.Event) {
	c.drops(t, e)
	if e.N == t.conn {
		c.endConnection(t, e.T)
	}
}

func (c *Checker) sent(t *terminal, in *conv, e *event.Event) {
	i := c.message(e.Key, in)
	m := &c.messages[i]
	if m.client != nil && (m.client != t || m.conv != in) {
		c.violate(Violation{Rule: BadLog, T: e.T, Conv: in.name, Key: e.Key, Client: t.name},
			"%s sends %s, which is another message's", t.name, e.Key)
		return
	}
	if m.client == nil { // the first time
		c.result.Sent++
		m.client, m.sentAt, m.floor = t, e.T, in.acked
		if !m.stored {
			m.user = t.user
		}
	} else {
		c.result.Repeats++
		if m.open && t.acks { // an old client repeats with the same seq: one answer is for both
			c.fail(m, m.lastAt)
		}
	}
	c.awaits(t, in, i, e.T)
	m.attempts++
	m.open, m.lastAt = true, e.T
	m.attempt = len(t.attempts)
	// A client may notice the end of its connection before it notes what it was
	// about to send there: nobody owes an answer to that.
	t.attempts = append(t.attempts, attempt{message: i, at: e.T, stood: c.stoodUntil(e.T), again: e.Again, ended: !t.up})
}

// lag is how late a pulse may be, in microseconds, before everything is taken
// to have stood still: the clients, and the servers beside them.
const lag = 3e6

// stoodUntil returns how long everything stood still so far, in microseconds.
func (c *Checker) stoodUntil(now int64) int64 {
	if c.pulsed && now-c.pulse > lag {
		return c.stood + now - c.pulse
	}
	return c.stood
}

// fail notes an attempt that ended without an acknowledgement.
func (c *Checker) fail(m *message, sentAt int64) {
	c.result.Failed++
	m.conv.hurt = append(m.conv.hurt, sentAt)
}

// soon is the time, in microseconds, in which an acknowledgement comes when
// nothing is wrong. One that takes longer may have been stored in two attempts,
// by two servers: ids that were set aside for the first are then left out.
const soon = 50e3

// answered finds the attempt that an answer belongs to; nil for an answer to
// nothing.
func (c *Checker) answered(t *terminal, e *event.Event) (*message, *attempt) {
	i, ok := c.keys[e.Key]
	if !ok || c.messages[i].client != t {
		c.violate(Violation{Rule: BadLog, T: e.T, Conv: e.Conv, Key: e.Key, Client: t.name},
			"%s has an answer to %s, which it never sent", t.name, e.Key)
		return nil, nil
	}
	m := &c.messages[i]
	m.open = false
	if e.N == t.conn && m.attempt < len(t.attempts) && t.attempts[m.attempt].message == i {
		return m, &t.attempts[m.attempt]
	}
	return m, nil
}

func (c *Checker) ackedEvent(t *terminal, in *conv, e *event.Event) {
	m, a := c.answered(t, e)
	if m == nil {
		return
	}
	c.stall(in, c.keys[e.Key], e.T)
	if a != nil {
		a.ended, a.acked = true, e.ID
	}
	was := c.wasThere(in, e.ID, e.Key, e.T, ackLate)
	if was && c.back != 0 {
		if m.lastAt < c.back { // under way when ids went back
			a.forget()
			return
		}
		was = false // it was asked again, and the answer is not true any more
	}
	if e.T-m.lastAt > soon {
		m.conv.hurt = append(m.conv.hurt, m.lastAt)
	}
	at := Violation{T: e.T, Conv: in.name, ID: e.ID, Key: e.Key, Client: t.name}
	switch {
	case m.acked == 0:
		c.result.Acked++
		m.acked, m.ackedAt = e.ID, e.T
	case m.acked != e.ID:
		at.Rule = AckChanged
		c.violate(at, "%s was acknowledged as %s #%d, now as #%d", e.Key, in.name, m.acked, e.ID)
		return
	}
	in.acked = max(in.acked, e.ID)
	t.see(in, e.ID)
	switch {
	case was:
	case m.conv != in:
		at.Rule = Lost
		c.violate(at, "%s was sent to %s and acknowledged in %s", e.Key, m.conv.name, in.name)
	case !c.result.SQL:
		c.claim(t, in, e.T, e.ID, e.Key, Twice)
	case !m.stored:
		at.Rule = Lost
		c.violate(at, "%s was acknowledged as %s #%d and is not stored", e.Key, in.name, e.ID)
	case m.id != e.ID:
		at.Rule = Lost
		c.violate(at, "%s was acknowledged as %s #%d and is stored as #%d", e.Key, in.name, e.ID, m.id)
	}
}

func (c *Checker) nacked(t *terminal, _ *conv, e *event.Event) {
	m, a := c.answered(t, e)
	if m == nil {
		return
	}
	if a != nil {
		a.ended = true
	}
	m.refused = !e.Retry
	c.fail(m, m.lastAt)
}

func (c *Checker) received(t *terminal, in *conv, e *event.Event) {
	c.result.Received++
	if c.back != 0 && c.wasThere(in, e.ID, e.Key, e.T, showLate) {
		return // under way when ids went back
	}
	if t.pushed != nil && e.N == t.conn {
		if before := t.pushed[in]; before >= e.ID {
			c.violate(Violation{Rule: PushOrder, T: e.T, Conv: in.name, ID: e.ID, Key: e.Key, Client: t.name},
				"%s was pushed %s #%d after #%d on connection %d", t.name, in.name, e.ID, before, t.conn)
		}
		if t.capable {
			c.result.Capable++
			t.flow(in).push(t.pushed[in], e.ID, e.T)
		}
		t.pushed[in] = max(t.pushed[in], e.ID)
	}
	t.see(in, e.ID)
	c.claim(t, in, e.T, e.ID, e.Key, Phantom)
}

// claim compares what a client was shown with what is stored; without SQL,
// with what clients were shown before.
func (c *Checker) claim(t *terminal, in *conv, at int64, id im.MsgID, key string, rule Rule) {
	v := Violation{Rule: rule, T: at, Conv: in.name, ID: id, Key: key, Client: t.name}
	i, ok := in.at(id)
	switch {
	case c.wasThere(in, id, key, at, showLate):
	case ok && c.messages[i].key == key:
	case ok:
		c.violate(v, "%s was shown %s as %s #%d, which is %s", t.name, key, in.name, id, c.messages[i].key)
	case c.result.SQL:
		c.violate(v, "%s was shown %s as %s #%d, which is not stored", t.name, key, in.name, id)
	default:
		i := c.message(key, in)
		if m := &c.messages[i]; m.id != 0 {
			v.Rule = Twice
			c.violate(v, "%s was shown as %s #%d and now to %s as %s #%d", key, m.conv.name, m.id, t.name, in.name, id)
			return
		}
		c.messages[i].id = id
		in.put(id, i)
	}
}

// history compares a page with what is stored, and with what had been
// acknowledged when it was asked for.
func (c *Checker) history(t *terminal, in *conv, e *event.Event) {
	for i, item := range e.Page {
		if i > 0 && item.ID >= e.Page[i-1].ID {
			c.violate(Violation{Rule: Hidden, T: e.T, Conv: in.name, ID: item.ID, Client: t.name},
				"%s was shown a page of %s with #%d before #%d", t.name, in.name, e.Page[i-1].ID, item.ID)
		}
		if c.back != 0 && c.wasThere(in, item.ID, item.Key, e.T, showLate) {
			continue
		}
		if t.see(in, item.ID) {
			c.result.Late++
		}
		c.claim(t, in, e.T, item.ID, item.Key, Phantom)
	}
	c.complete(t, in, e)
}

// complete looks for what had been acknowledged when a page was asked for:
// nothing may be missing between its ends.
func (c *Checker) complete(t *terminal, in *conv, e *event.Event) {
	top, bottom := e.ID, im.MsgID(1)
	if len(e.Page) >= e.Count && len(e.Page) > 0 {
		bottom = e.Page[len(e.Page)-1].ID
	}
	if top == 0 {
		top = in.acked
	}
	at := 0
	for id := min(top, in.max); id >= bottom && id > 0; id-- {
		for at < len(e.Page) && e.Page[at].ID > id {
			at++
		}
		if at < len(e.Page) && e.Page[at].ID == id {
			continue
		}
		if i, ok := in.at(id); ok && c.messages[i].acked == id && c.messages[i].ackedAt < e.Asked {
			c.violate(Violation{Rule: Hidden, T: e.T, Conv: in.name, ID: id, Key: c.messages[i].key, Client: t.name},
				"%s asked for %s from #%d down and was not shown #%d", t.name, in.name, e.ID, id)
		}
	}
}

func (c *Checker) read(t *terminal, in *conv, e *event.Event) {
	r := reader{t.user, in.name}
	c.reads[r] = max(c.reads[r], e.ID)
	if e.Final {
		c.finalReads[r] = max(c.finalReads[r], e.ID)
	}
}

package check

import (
	"teamtalk/internal/im"
	"teamtalk/test/chaos/internal/event"
)

// terminal is one client.
type terminal struct {
	name  string
	user  uint32
	pc    bool
	acks  bool // is told of failures
	final bool // was asked at rest

	delivers bool  // acknowledges what arrives
	first    int64 // when it logged in as one that does for the first time; -1: never
	flows    map[*conv]*flow

	conn    int   // the connection of now
	since   int64 // when it logged in
	up      bool
	capable bool // it was granted what delivers means
	// On this connection:
	attempts []attempt
	pushed   map[*conv]im.MsgID // the highest; of a capable one, or marked

	seen map[*conv]*idSet
}

// attempt is one sending of a message.
type attempt struct {
	message int32
	at      int64
	stood   int64 // how long everything had stood still before
	again   bool
	acked   im.MsgID
	ended   bool // answered in any way
}

// forget lets an acknowledgement not count for the order; a may be nil.
func (a *attempt) forget() {
	if a != nil {
		a.acked = 0
	}
}

// patience is how long a server may take to say that a message was not
// stored, in microseconds: its own four seconds, those of a process that was
// stopped, and more for a machine that has other things to do.
const patience = 20e6

// never is the end of a connection that the log does not tell of.
const never = int64(1) << 62

// endConnection judges what happened on the connection of now.
func (c *Checker) endConnection(t *terminal, at int64) {
	if !t.up {
		return
	}
	t.up = false
	c.order(t)
	if t.acks {
		c.silence(t, at)
	}
	t.attempts, t.pushed = t.attempts[:0], nil
}

// order looks for messages of the connection of now that changed places.
func (c *Checker) order(t *terminal) {
	newest := map[*conv]int32{} // the last acknowledged of each conversation
	for i := range t.attempts {
		a := &t.attempts[i]
		m := &c.messages[a.message]
		if a.acked == 0 || a.again || m.attempts > 1 {
			continue
		}
		if before, ok := newest[m.conv]; ok && c.messages[before].acked >= a.acked {
			b := &c.messages[before]
			c.violate(Violation{Rule: SenderOrder, T: a.at, Conv: m.conv.name, ID: a.acked, Key: m.key, Client: t.name},
				"%s sent %s before %s on connection %d; they are %s #%d and #%d",
				t.name, b.key, m.key, t.conn, m.conv.name, b.acked, a.acked)
		}
		newest[m.conv] = a.message
	}
}

// silence looks for attempts without any answer although the server answered
// later ones, and had the time.
func (c *Checker) silence(t *terminal, end int64) {
	last := int64(-1)
	for i := range t.attempts {
		if a := &t.attempts[i]; a.ended {
			last = max(last, a.at)
		}
	}
	stood := c.stoodUntil(end)
	if end == never {
		stood = c.stood
	}
	for i := range t.attempts {
		a := &t.attempts[i]
		if !a.ended && a.at < last && end-a.at-(stood-a.stood) > patience {
			m := &c.messages[a.message]
			c.violate(Violation{Rule: Silence, T: a.at, Conv: m.conv.name, Key: m.key, Client: t.name},
				"%s heard nothing about %s for %.1f s on connection %d, which went on",
				t.name, m.key, float64(end-a.at)/1e6, t.conn)
		}
	}
}

// see notes that a terminal knows a message; false if it did already.
func (t *terminal) see(in *conv, id im.MsgID) bool {
	set := t.seen[in]
	if set == nil {
		if t.seen == nil {
			t.seen = map[*conv]*idSet{}
		}
		set = &idSet{}
		t.seen[in] = set
	}
	return set.add(id)
}

// idSet is a set of message ids, dense from 1.
type idSet struct{ words []uint64 }

func (s *idSet) add(id im.MsgID) bool {
	if id > im.MaxMsgID {
		return false
	}
	w, bit := int(id/64), uint64(1)<<(id%64)
	for len(s.words) <= w {
		s.words = append(s.words, make([]uint64, w+1-len(s.words))...)
	}
	fresh := s.words[w]&bit == 0
	s.words[w] |= bit
	return fresh
}

// cut removes the ids from one on.
func (s *idSet) cut(from im.MsgID) {
	w := int(from / 64)
	if w >= len(s.words) {
		return
	}
	s.words[w] &= 1<<(from%64) - 1
	clear(s.words[w+1:])
}

func (s *idSet) has(id im.MsgID) bool {
	w := int(id / 64)
	return s != nil && w < len(s.words) && s.words[w]&(1<<(id%64)) != 0
}

// client returns the terminal that logged an event; nil if it never said who
// it is.
func (c *Checker) client(e *event.Event) *terminal {
	t := c.clients[e.C]
	if t == nil {
		c.violate(Violation{Rule: BadLog, T: e.T, Client: e.C}, "terminal %q was not introduced", e.C)
	}
	return t
}

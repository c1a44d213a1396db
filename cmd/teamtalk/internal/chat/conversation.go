package chat

import (
	"cmp"
	"slices"
	"time"

	"teamtalk/internal/im"
)

const (
	// maxKept bounds the stored messages one conversation keeps in memory;
	// older ones are fetched again when somebody scrolls back to them.
	maxKept = 5000
	// maxHeld bounds the pushed messages that wait for their turn.
	maxHeld = 1000
)

// Key names a conversation as this user knows it: a peer or a group. The zero
// value is none.
type Key struct {
	Kind im.Kind
	ID   uint32
}

// Status says how far a message has come.
type Status int

// The states of a message.
const (
	Stored  Status = iota // it has an id
	Pending               // on its way; the id will come
	Failed                // given up; Retry sends it again
)

// Message is one message of a conversation. Received ones never change; an own
// one goes from Pending to Stored or Failed.
type Message struct {
	ID     im.MsgID // 0 unless Stored
	From   im.UserID
	Mine   bool
	At     time.Time // by the server's clock once stored
	Text   string    // as sent; not safe for a terminal
	Status Status
	Reason string // why it Failed

	clientMsgID string // names an own message through all its attempts
	attempts    int    // refusals that asked to come back
	attempted   bool   // it may have reached a server
}

// Conversation is what is known of one conversation.
type Conversation struct {
	Key
	Unread  int
	Updated time.Time // of the newest message; zero: none known

	stored []*Message // ascending ids, no duplicates
	held   []*Message // pushed ahead of their turn: ascending ids above solid
	outbox []*Message // Pending and Failed, in the order written

	// Once watched, solid is the greatest id up to which nothing is missing of
	// what came since.
	watched  bool
	solid    im.MsgID
	latest   im.MsgID  // the greatest id heard of
	readTo   im.MsgID  // the greatest id marked as read
	counted  im.MsgID  // the server's count of unread messages covers ids up to it
	since    time.Time // what is older is not news, though not known
	opened   bool      // somebody looks at it, so its newest page is wanted
	loaded   bool      // the newest page has been fetched
	complete bool      // nothing older than stored exists
	loading  bool      // a page is being fetched
	filling  bool      // a gap is being fetched
	checking bool      // a gap is looked at shortly
	inFlight *Message  // of outbox: sent and not answered yet
}

// Messages returns the messages in the order to show: stored ones by id, then
// what is on its way or failed. The caller must not change the slice.
func (c *Conversation) Messages() []*Message {
	if len(c.outbox) == 0 {
		return c.stored
	}
	return slices.Concat(c.stored, c.outbox)
}

// Loaded reports whether the newest page of history has been fetched.
func (c *Conversation) Loaded() bool { return c.loaded }

// Complete reports whether no older message exists than the first one.
func (c *Conversation) Complete() bool { return c.complete }

// Loading reports whether a page of history is being fetched.
func (c *Conversation) Loading() bool { return c.loading }

// search returns where the message with an id is or belongs in a list that
// ascends by id.
func search(list []*Message, id im.MsgID) (at int, found bool) {
	return slices.BinarySearchFunc(list, id, func(m *Message, id im.MsgID) int { return cmp.Compare(m.ID, id) })
}

// insert adds a stored message in its place and reports whether it is new.
func (c *Conversation) insert(m *Message) bool {
	at, known := search(c.stored, m.ID)
	if known || m.ID == 0 {
		return false
	}
	c.stored = slices.Insert(c.stored, at, m)
	c.latest = max(c.latest, m.ID)
	if m.At.After(c.Updated) {
		c.Updated = m.At
	}
	if len(c.stored) > maxKept {
		// A fresh slice lets go of the memory; half leaves room to grow.
		c.stored = slices.Clone(c.stored[len(c.stored)-maxKept/2:])
		c.complete = false
	}
	return true
}

// oldest returns the smallest id stored, 0 if there is none.
func (c *Conversation) oldest() im.MsgID {
	if len(c.stored) == 0 {
		return 0
	}
	return c.stored[0].ID
}

// watch starts watching for gaps behind id; what came before counts as known.
func (c *Conversation) watch(id im.MsgID) {
	c.watched = true
	c.latest = max(c.latest, id)
	c.solid = max(c.solid, id)
	c.advance()
}

// advance moves solid over the messages that follow it without a gap.
func (c *Conversation) advance() {
	if !c.watched {
		return
	}
	at, found := search(c.stored, c.solid+1)
	for found && at < len(c.stored) && c.stored[at].ID == c.solid+1 {
		c.solid++
		at++
	}
}

// hold keeps a pushed message until its turn comes. One too many is forgotten:
// its id is remembered, so it is fetched like any other that is missing.
func (c *Conversation) hold(m *Message) {
	c.latest = max(c.latest, m.ID)
	at, known := search(c.held, m.ID)
	if !known && len(c.held) < maxHeld {
		c.held = slices.Insert(c.held, at, m)
	}
}

// gap returns the range (after, upTo] that is missing between what is complete
// and the next message known of, if there is one.
func (c *Conversation) gap() (after, upTo im.MsgID, missing bool) {
	upTo = c.latest
	if at, _ := search(c.stored, c.solid+1); at < len(c.stored) {
		upTo = c.stored[at].ID - 1
	}
	if len(c.held) > 0 {
		upTo = min(upTo, c.held[0].ID-1)
	}
	return c.solid, upTo, c.watched && upTo > c.solid
}

// compose adds an own message to the outbox.
func (c *Conversation) compose(m *Message) {
	m.Mine, m.Status = true, Pending
	c.outbox = append(c.outbox, m)
}

// next takes the message to send now: the first Pending one, unless one is
// already under way. One at a time keeps their order through every failure.
func (c *Conversation) next() *Message {
	if c.inFlight != nil {
		return nil
	}
	for _, m := range c.outbox {
		if m.Status == Pending {
			c.inFlight = m
			return m
		}
	}
	return nil
}

// outgoing returns the message of the outbox with a client_msg_id.
func (c *Conversation) outgoing(clientMsgID string) *Message {
	for _, m := range c.outbox {
		if m.clientMsgID == clientMsgID {
			return m
		}
	}
	return nil
}

// settle moves a message of the outbox to the stored ones. It reports whether
// the message was unknown by its id until now: it may have come from history
// before its acknowledgement.
func (c *Conversation) settle(m *Message, id im.MsgID) bool {
	c.outbox = slices.DeleteFunc(c.outbox, func(o *Message) bool { return o == m })
	m.ID, m.Status, m.Reason = id, Stored, ""
	fresh := c.insert(m)
	c.latest = max(c.latest, id)
	return fresh
}

// retry makes every failed message pending again, in the old order, and
// returns how many there were. That one may have arrived is the user's risk.
func (c *Conversation) retry() int {
	n := 0
	for _, m := range c.outbox {
		if m.Status == Failed {
			m.Status, m.Reason, m.attempts, m.attempted = Pending, "", 0, false
			n++
		}
	}
	return n
}

// unreadAfter counts the received messages above an id among those known.
func (c *Conversation) unreadAfter(id im.MsgID) int {
	n := 0
	for _, m := range slices.Backward(c.stored) {
		if m.ID <= id {
			break
		}
		if !m.Mine {
			n++
		}
	}
	return n
}

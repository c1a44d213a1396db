package chat

import (
	"teamtalk/client"
	"teamtalk/cmd/teamtalk/internal/words"
	"teamtalk/internal/im"
)

// received takes a pushed message. Its turn comes when the roster is known, its
// sender is, and everything before it is there.
func (m *Model) received(e Received) {
	if !m.fresh {
		if len(m.early) < maxHeld {
			m.early = append(m.early, e)
		}
		return
	}
	c := m.conversation(e.Key)
	msg := e.Message
	if !c.watched {
		m.meet(c, &msg)
	}
	c.hold(&msg)
	m.learn(e.Key, msg.From)
	m.release(c)
}

// meet starts to watch a conversation that the roster did not show: it is new,
// or its first messages may have been missed, or it is an old one that was
// taken off the list and whose messages are no news.
func (m *Model) meet(c *Conversation, first *Message) {
	c.since = first.At.Add(-newsWindow)
	c.watch(first.ID - min(first.ID, newsMessages))
}

// release takes the held messages whose turn has come.
func (m *Model) release(c *Conversation) {
	for len(c.held) > 0 && c.held[0].ID <= c.solid+1 && m.named(c.held[0].From) {
		msg := c.held[0]
		c.held = c.held[1:]
		if msg.ID > c.solid && c.insert(msg) {
			m.arrived(c, msg)
		}
		c.advance()
	}
	m.watchGap(c)
	m.markShown(c.Key)
}

// named reports whether the name of a user is known, or will not be.
func (m *Model) named(id im.UserID) bool {
	return m.contacts[id] != nil || id == m.Me || !m.asked[id]
}

// watchGap has a gap looked at a little later, as what is missing may be on
// its way.
func (m *Model) watchGap(c *Conversation) {
	if _, _, missing := c.gap(); missing && !c.filling && !c.checking {
		c.checking = true
		m.do(DoLater{gapPatience, checkGap{c.Key}})
	}
}

// progress follows the ids of a conversation after some were stored.
func (m *Model) progress(c *Conversation) {
	if !c.watched {
		c.watch(c.latest)
	}
	c.advance()
	m.release(c)
}

// arrived counts and reports a message that is new.
func (m *Model) arrived(c *Conversation, msg *Message) {
	switch {
	case msg.At.Before(c.since):
	case msg.Mine:
		m.say(SentNotice{c.Key, msg})
	default:
		if msg.ID > max(c.readTo, c.counted) {
			c.Unread++
		}
		m.say(MessageNotice{c.Key, msg})
	}
}

// learn asks for accounts and groups that are not known yet.
func (m *Model) learn(k Key, from im.UserID) {
	m.ask(from)
	if k.Kind == im.Single {
		m.ask(im.UserID(k.ID))
	}
	if id := im.GroupID(k.ID); k.Kind == im.Group && m.groups[id] == nil {
		m.groups[id] = &Group{ID: id}
		m.do(DoGroups{[]im.GroupID{id}})
	}
}

// ask asks for an account that is not known, once per log-in.
func (m *Model) ask(id im.UserID) {
	if m.contacts[id] == nil && !m.asked[id] && id != m.Me && id != 0 {
		m.asked[id] = true
		m.do(DoUsers{[]im.UserID{id}})
	}
}

// fillGap asks for what is missing in a conversation, if it still is.
func (m *Model) fillGap(c *Conversation) {
	c.checking = false
	if after, upTo, missing := c.gap(); missing && !c.filling && m.State == client.Online {
		c.filling = true
		m.do(DoFill{c.Key, after, upTo})
	}
}

// filled takes missed messages.
func (m *Model) filled(e Filled) {
	c := m.conversation(e.Key)
	c.filling = false
	if e.Err != nil {
		if m.State == client.Online && !c.checking {
			c.checking = true
			m.trouble(e.Err, words.LoadMissed)
			m.do(DoLater{syncPatience, checkGap{e.Key}})
		}
		return
	}
	for i := range e.Messages {
		if msg := &e.Messages[i]; c.insert(msg) {
			m.learn(e.Key, msg.From)
			m.arrived(c, msg)
		}
	}
	c.watch(e.UpTo) // what did not come does not exist
	m.release(c)
}

package chat

import (
	"teamtalk/client"
	"teamtalk/cmd/teamtalk/internal/words"
	"teamtalk/internal/im"
)

// page takes a page of history.
func (m *Model) page(e Page) {
	c := m.conversation(e.Key)
	c.loading = false
	if e.Err != nil {
		m.trouble(e.Err, words.LoadHistory)
		return
	}
	if len(e.Messages) == 0 && (e.Begin == 0 || e.Begin < c.oldest()) {
		c.complete = true
	}
	kept := e.Messages
	if e.Begin == 0 && c.watched && len(kept) > 0 && kept[len(kept)-1].ID > c.latest {
		c.latest = kept[len(kept)-1].ID // ahead of its push, which comes or is a gap
	}
	for i := range kept {
		if msg := kept[i]; m.belongs(c, e, msg.ID) {
			c.insert(&msg)
		}
	}
	if e.Begin == 0 {
		c.loaded = true
	}
	m.progress(c)
	m.say(HistoryNotice{e.Key, kept})
	m.markShown(e.Key)
}

// belongs reports whether a message of a page may be kept: what is above
// solid would count as received without having been reported, and what does
// not touch the messages known would leave a hole.
func (m *Model) belongs(c *Conversation, e Page, id im.MsgID) bool {
	if c.watched && id > c.solid {
		return false
	}
	return e.Begin == 0 || c.oldest() == 0 || e.Begin+1 >= c.oldest()
}

// open makes a conversation the current one.
func (m *Model) open(k Key) {
	m.Current = k
	c := m.conversation(k)
	c.opened = true
	if !c.loaded && !c.loading && m.State == client.Online {
		c.loading = true
		m.do(DoHistory{k, 0, pageSize})
	}
	m.markShown(k)
}

// older asks for the page before the oldest message.
func (m *Model) older(k Key) {
	c := m.conversation(k)
	if c.loading || c.complete || m.State != client.Online {
		return
	}
	begin := c.oldest()
	if begin == 1 {
		c.complete = true
		return
	}
	c.loading = true
	if begin > 0 {
		begin--
	}
	m.do(DoHistory{k, begin, pageSize})
}

// markShown marks the current conversation as read while its newest messages
// are displayed.
func (m *Model) markShown(k Key) {
	if k != (Key{}) && k == m.Current && m.watching && m.conversation(k).loaded {
		m.markRead(k)
	}
}

// markRead marks everything known of a conversation as read.
func (m *Model) markRead(k Key) {
	c := m.conversation(k)
	if m.State != client.Online || c.latest == 0 {
		return
	}
	if c.Unread > 0 || (c.latest > c.readTo && c.unreadAfter(c.readTo) > 0) {
		m.do(DoRead{k, c.latest})
	}
	c.Unread, c.readTo = 0, max(c.readTo, c.latest)
}

// readElsewhere follows the own other terminals.
func (m *Model) readElsewhere(e ReadElsewhere) {
	c := m.conversation(e.Key)
	c.readTo = max(c.readTo, e.ID)
	c.Unread = min(c.Unread, c.unreadAfter(c.readTo))
	m.say(ReadNotice(e))
}
